# SPDX-License-Identifier: Apache-2.0
"""`openmwaa scale`: what a person orders a fleet to do, live, without a deployment."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any, TypeVar

import typer
from rich.table import Table

from openmwaa.cli.output import DEFAULT_FILE, AsJson, EnvironmentPath, Local, console, error_console, write_json
from openmwaa.config.environment import Environment
from openmwaa.config.fleet import ResolvedFleet
from openmwaa.operate.connection import Connection, connect
from openmwaa.operate.override_request import Bound, Duration, OrderRefusedError, Request, in_force, notes
from openmwaa.operate.override_store import ControlsStore, Order, Version, as_data, describe
from scaler.config.overrides import ControlsDocument, Pause

T = TypeVar("T")

EXIT_REFUSED = 2
_APPLY = "The next `terraform apply` changes the file's bounds alone and leaves every order as it is."


def _told(parse: Callable[[str], T]) -> Callable[[str], T]:
    """Let a wrong value say what is wrong with it; click alone would say the value."""

    def checked(text: str) -> T:
        try:
            return parse(text)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from None

    return checked


_bound = _told(Bound.parse)
_duration = _told(Duration.parse)


def scale(
    path: EnvironmentPath = DEFAULT_FILE,
    *,
    fleet: Annotated[
        list[str] | None, typer.Option(help="A fleet; may be given more than once.", metavar="NAME")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="All fleets.")] = False,
    minimum: Annotated[
        Bound | None, typer.Option("--min", help="Fewest workers, or `none`.", metavar="N", parser=_bound)
    ] = None,
    maximum: Annotated[
        Bound | None, typer.Option("--max", help="Most workers, or `none`.", metavar="N", parser=_bound)
    ] = None,
    fixed: Annotated[
        Bound | None, typer.Option("--fixed", help="Exactly so many, or `none`.", metavar="N", parser=_bound)
    ] = None,
    pause: Annotated[
        Pause | None, typer.Option(help="in: let no worker go; out: start none; both; none: end the pause.")
    ] = None,
    dry_run: Annotated[
        bool | None, typer.Option("--dry-run/--no-dry-run", help="Decide and explain, and do nothing.")
    ] = None,
    clear: Annotated[bool, typer.Option("--clear", help="Take every earlier order back first.")] = False,
    duration: Annotated[
        Duration | None,
        typer.Option("--for", help="For how long, such as 2h; or `forever`.", metavar="TIME", parser=_duration),
    ] = None,
    why: Annotated[str | None, typer.Option(help="A reason, for whoever asks.", metavar="TEXT")] = None,
    history: Annotated[bool, typer.Option("--history", help="Who ordered what, newest first.")] = False,
    as_json: AsJson = False,
    local: Local = False,
) -> None:
    """Show or change what a person orders: bounds, fixed size, pause, dry run. In force within seconds.

    Without an order it shows what holds. Exit code 0 done, 1 not done, 2 an order that makes no sense.
    """
    try:
        request = Request(minimum, maximum, fixed, pause, dry_run, clear=clear, duration=duration, why=why)
        connection = connect(path, local=local)
        chosen = _chosen(connection.environment, fleet, every=every, changes=request.changes)
        store = ControlsStore(connection)
        done = _change(store, chosen, request) if request.changes else []
    except OrderRefusedError as error:
        error_console().print(str(error), style="red", markup=False)
        raise typer.Exit(EXIT_REFUSED) from None
    names = [one.name for one in chosen]
    past = {name: store.history(name) for name in names} if history else {}
    shown = _Shown(connection, chosen, store.read(names), done, past, datetime.now(UTC))
    if as_json:
        write_json(shown.as_data())
    else:
        shown.print()


def _chosen(
    environment: Environment, names: Sequence[str] | None, *, every: bool, changes: bool
) -> list[ResolvedFleet]:
    known = environment.fleets
    if every and names:
        raise OrderRefusedError("Give --fleet or --all, not both.")
    if wrong := [name for name in names or () if name not in known]:
        raise OrderRefusedError(f"There is no fleet {', '.join(wrong)}; the file has {', '.join(known)}.")
    if changes and not names and not every and len(known) > 1:
        raise OrderRefusedError(f"Which fleet? --fleet {' or --fleet '.join(known)}, or --all.")
    return [known[name] for name in dict.fromkeys(names or known)]


@dataclass(frozen=True)
class _Done:
    """One fleet's order was written."""

    fleet: ResolvedFleet
    after: Order
    others: Sequence[Order]
    """What somebody else wrote at the same moment."""


def _change(store: ControlsStore, fleets: Sequence[ResolvedFleet], request: Request) -> list[_Done]:
    """Write the order for every fleet, or for none where it makes no sense for one."""
    now, by = datetime.now(UTC), store.who()
    orders = store.read([fleet.name for fleet in fleets])

    def change(fleet: ResolvedFleet, before: ControlsDocument) -> ControlsDocument:
        return request.apply(before, fleet, by=by, now=now)

    for fleet in fleets:
        change(fleet, orders[fleet.name].base(now, fresh=request.clear))
    return [
        _Done(fleet, *store.change(orders[fleet.name], partial(change, fleet), fresh=request.clear)) for fleet in fleets
    ]


@dataclass(frozen=True)
class _Shown:
    """What the command says in the end."""

    connection: Connection
    fleets: Sequence[ResolvedFleet]
    orders: Mapping[str, Order]
    done: Sequence[_Done]
    past: Mapping[str, Sequence[Version]]
    now: datetime

    def print(self) -> None:
        """Write sentences and tables."""
        out = console()
        for one in self.done:
            document = one.after.document or ControlsDocument()
            until = f" until {document.until}" if document.until else ""
            out.print(f"{one.fleet.name}: ordered {describe(document)}{until}.", markup=False)
            for other in one.others:
                out.print(f"  Somebody else ordered at the same moment (version {other.version}); both count.")
            for note in notes(one.fleet, document):
                out.print(f"  {note}", markup=False)
        if self.done:
            seconds = self.connection.environment.scaler.interval_seconds
            out.print(f"The scaler looks every {seconds:g} s.\n")
        out.print(self._table())
        for fleet in self.fleets:
            for line in self._lines(fleet):
                out.print(line, markup=False)
        out.print(_APPLY)
        for name, versions in self.past.items():
            out.print(
                f"\nHistory of {name}, kept by AWS (the last hundred):" if versions else f"\n{name} has no history."
            )
            if versions:
                out.print(_history_table(versions))

    def _table(self) -> Table:
        table = Table(box=None, pad_edge=False)
        for heading in ("FLEET", "FILE", "SCHEDULE", "ORDERED", "IN FORCE"):
            table.add_column(heading)
        for fleet in self.fleets:
            holds = in_force(fleet, self.orders[fleet.name].document, self.now)
            schedule = f"at least {holds.schedule.minimum}" if holds.schedule else "-"
            table.add_row(
                fleet.name,
                f"{fleet.min} to {fleet.max}",
                schedule,
                self._ordered(self.orders[fleet.name]),
                f"{holds.minimum} to {holds.maximum}",
            )
        return table

    def _ordered(self, order: Order) -> str:
        return {"none": "nothing", "over": "nothing"}.get(_state(order, self.now)) or (
            describe(order.document) if order.document else "cannot be read"
        )

    def _lines(self, fleet: ResolvedFleet) -> list[str]:
        order = self.orders[fleet.name]
        if order.problem is not None:
            why = f"{order.parameter} holds no order ({order.problem})"
            return [f"{fleet.name}: {why}. The scaler obeys the last one it could read. --clear replaces it."]
        if order.document is None or not order.document.orders:
            return []
        document = order.document
        if document.expired(self.now):
            return [f"{fleet.name}: the last order ({describe(document)}) was over at {document.until}."]
        until = f"until {document.until}" if document.until else "until it is taken back"
        reason = f": {document.why}" if document.why else ""
        return [
            f"{fleet.name}: ordered by {document.by or 'somebody'} at {document.at or 'some time'}, {until}{reason}"
        ]

    def as_data(self) -> dict[str, Any]:
        """Return all of it for programs."""
        return {
            "environment": self.connection.environment.name,
            "place": "local" if self.connection.local else self.connection.environment.region,
            "changed": [one.fleet.name for one in self.done],
            "notes": {one.fleet.name: notes(one.fleet, one.after.document or ControlsDocument()) for one in self.done},
            "next_apply": _APPLY,
            "fleets": [self._fleet_data(fleet) for fleet in self.fleets],
        }

    def _fleet_data(self, fleet: ResolvedFleet) -> dict[str, Any]:
        order = self.orders[fleet.name]
        holds = in_force(fleet, order.document, self.now)
        found: dict[str, Any] = {
            "fleet": fleet.name,
            "file": {"min": fleet.min, "max": fleet.max},
            "schedule": {"min": holds.schedule.minimum, "words": holds.schedule.words} if holds.schedule else None,
            "controls_state": _state(order, self.now),
            "controls": as_data(order.document),
            "problem": order.problem,
            "parameter": order.parameter,
            "version": order.version,
            "in_force": {"min": holds.minimum, "max": holds.maximum},
        }
        if fleet.name in self.past:
            found["history"] = [
                {"version": each.number, "at": each.at, "who": each.who, "controls": as_data(each.document)}
                | {"problem": each.problem}
                for each in self.past[fleet.name]
            ]
        return found


def _state(order: Order, now: datetime) -> str:
    if order.problem is not None:
        return "unreadable"
    if order.document is None or not order.document.orders:
        return "none"
    return "over" if order.document.expired(now) else "in force"


def _history_table(versions: Sequence[Version]) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in ("VERSION", "AT", "WHO", "ORDERED", "UNTIL", "WHY"):
        table.add_column(heading)
    for each in versions:
        document = each.document or ControlsDocument()
        ordered = describe(document) if each.document else "cannot be read"
        at = each.at.astimezone(UTC).isoformat(timespec="seconds")
        table.add_row(str(each.number), at, each.who, ordered, document.until or "", document.why)
    return table
