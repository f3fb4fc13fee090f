# SPDX-License-Identifier: Apache-2.0
"""`openmwaa scale`: manual scaling overrides, without a deployment."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any, TypeVar

import typer
from rich.table import Table

from openmwaa.cli.environment import DEFAULT_FILE, EnvironmentOption, EnvironmentPath, Local, connect
from openmwaa.cli.output import AsJson, console, error_console, print_progress, table, write_json
from openmwaa.config.environment import Environment
from openmwaa.config.fleet import ResolvedFleet
from openmwaa.operate.connection import Connection
from openmwaa.operate.override_request import (
    Bound,
    Duration,
    OverrideRefusedError,
    OverrideRequest,
    active_bounds,
    notes,
)
from openmwaa.operate.override_store import Override, OverrideStore, as_data, describe
from openmwaa.operate.times import rfc3339
from openmwaa.progress import reported
from scaler.config.overrides import OverrideDocument, Pause

T = TypeVar("T")

EXIT_REFUSED = 2
_APPLY = "The next `terraform apply` sets the file's bounds and keeps every override."


def _parser(parse: Callable[[str], T]) -> Callable[[str], T]:
    """Report the reason of a wrong value; click alone would report only the value."""

    def checked(text: str) -> T:
        try:
            return parse(text)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from None

    return checked


_bound = _parser(Bound.parse)
parse_duration = _parser(Duration.parse)


def scale(
    path: EnvironmentPath = DEFAULT_FILE,
    *,
    _environment: EnvironmentOption = None,
    fleet: Annotated[
        list[str] | None, typer.Option(help="A fleet; can be given more than once.", metavar="NAME")
    ] = None,
    all_fleets: Annotated[bool, typer.Option("--all", help="All fleets.")] = False,
    minimum: Annotated[
        Bound | None, typer.Option("--min", help="Minimum of workers, or `none`.", metavar="N", parser=_bound)
    ] = None,
    maximum: Annotated[
        Bound | None, typer.Option("--max", help="Maximum of workers, or `none`.", metavar="N", parser=_bound)
    ] = None,
    fixed: Annotated[
        Bound | None, typer.Option("--fixed", help="Fixed number of workers, or `none`.", metavar="N", parser=_bound)
    ] = None,
    pause: Annotated[
        Pause | None, typer.Option(help="in: no scale-in; out: no scale-out; both; none: end the pause.")
    ] = None,
    dry_run: Annotated[
        bool | None, typer.Option("--dry-run/--no-dry-run", help="The scaler decides and explains, but writes nothing.")
    ] = None,
    clear: Annotated[bool, typer.Option("--clear", help="Remove the existing override first.")] = False,
    duration: Annotated[
        Duration | None,
        typer.Option(
            help="How long the override is active, such as 2h; or `forever`.", metavar="TIME", parser=parse_duration
        ),
    ] = None,
    reason: Annotated[str | None, typer.Option(help="The reason, shown with the override.", metavar="TEXT")] = None,
    history: Annotated[bool, typer.Option("--history", help="Show the last 100 overrides, newest first.")] = False,
    as_json: AsJson = False,
    local: Local = None,
) -> None:
    """Show or set manual scaling overrides: bounds, fixed size, pause, dry run. They take effect within seconds.

    Without options, the command shows the current overrides. Exit codes: 0 success, 1 error, 2 invalid override.
    """
    try:
        request = OverrideRequest(
            minimum, maximum, fixed, pause, dry_run, clear=clear, duration=duration, reason=reason
        )
        connection = connect(path, local=local)
        fleets = _fleets(connection.environment, fleet, all_fleets=all_fleets, changes=request.changes)
        store = OverrideStore(connection)
        written = _write(store, fleets, request) if request.changes else []
    except OverrideRefusedError as error:
        error_console().print(str(error), style="red", markup=False)
        raise typer.Exit(EXIT_REFUSED) from None
    names = [fleet.name for fleet in fleets]
    with reported("Reading the overrides", print_progress):
        versions = {name: store.history(name) for name in names} if history else {}
        overrides = store.read(names)
    result = _Result(connection, fleets, overrides, written, versions, datetime.now(UTC))
    if as_json:
        write_json(result.as_data())
    else:
        result.print()


def _fleets(
    environment: Environment, names: Sequence[str] | None, *, all_fleets: bool, changes: bool
) -> list[ResolvedFleet]:
    known = environment.fleets
    if all_fleets and names:
        raise OverrideRefusedError("Use --fleet or --all, not both.")
    if unknown := [name for name in names or () if name not in known]:
        raise OverrideRefusedError(f"There is no fleet {', '.join(unknown)}; the file has {', '.join(known)}.")
    if changes and not names and not all_fleets and len(known) > 1:
        raise OverrideRefusedError(f"Which fleet? Add --fleet {' or --fleet '.join(known)}, or --all.")
    return [known[name] for name in dict.fromkeys(names or known)]


@dataclass(frozen=True)
class _Written:
    """A written override of one fleet."""

    fleet: ResolvedFleet
    after: Override
    others: Sequence[Override]
    """Overrides that other users wrote at the same time."""

    @property
    def document(self) -> OverrideDocument:
        return self.after.document or OverrideDocument()


@reported("Writing the overrides", print_progress)
def _write(store: OverrideStore, fleets: Sequence[ResolvedFleet], request: OverrideRequest) -> list[_Written]:
    """Write the override of every fleet, or of none if it is not valid for one of them."""
    now, by = datetime.now(UTC), store.user()
    overrides = store.read([fleet.name for fleet in fleets])

    def change(fleet: ResolvedFleet, before: OverrideDocument) -> OverrideDocument:
        return request.apply(before, fleet, by=by, now=now)

    for fleet in fleets:
        change(fleet, overrides[fleet.name].base(now, fresh=request.clear))
    return [
        _Written(fleet, *store.change(overrides[fleet.name], partial(change, fleet), fresh=request.clear))
        for fleet in fleets
    ]


@dataclass(frozen=True)
class _Result:
    """The output of the command."""

    connection: Connection
    fleets: Sequence[ResolvedFleet]
    overrides: Mapping[str, Override]
    written: Sequence[_Written]
    history: Mapping[str, Sequence[Override]]
    now: datetime

    def print(self) -> None:
        """Write sentences and tables."""
        out = console()
        for written in self.written:
            until = f" until {written.document.until}" if written.document.until else ""
            out.print(f"{written.fleet.name}: override set: {describe(written.document)}{until}.", markup=False)
            for other in written.others:
                out.print(f"  Another user wrote version {other.version} at the same time; both are active.")
            for note in notes(written.fleet, written.document):
                out.print(f"  {note}", markup=False)
        if self.written:
            seconds = self.connection.environment.scaler.interval_seconds
            out.print(f"The scaler reads overrides every {seconds:g} s.\n")
        out.print(self._table())
        for fleet in self.fleets:
            if sentence := self._sentence(fleet):
                out.print(sentence, markup=False)
        out.print(_APPLY)
        for name, versions in self.history.items():
            if versions:
                out.print(f"\nHistory of {name} (AWS keeps the last 100 versions):")
                out.print(_history_table(versions))
            else:
                out.print(f"\n{name} has no history.")

    def _table(self) -> Table:
        rows = table("FLEET", "FILE", "SCHEDULE", "OVERRIDE", "ACTIVE")
        for fleet in self.fleets:
            override = self.overrides[fleet.name]
            limits, schedule = active_bounds(fleet, override.document, self.now)
            rows.add_row(
                fleet.name,
                f"{fleet.min} to {fleet.max}",
                f"at least {schedule.minimum}" if schedule else "-",
                self._override_text(override),
                f"{limits.minimum} to {limits.maximum}",
            )
        return rows

    def _override_text(self, override: Override) -> str:
        if override.problem is not None:
            return "invalid"
        return describe(override.document) if override.document and override.state(self.now) == "active" else "none"

    def _sentence(self, fleet: ResolvedFleet) -> str | None:
        override = self.overrides[fleet.name]
        if override.problem is not None:
            return (
                f"{fleet.name}: invalid override in {override.parameter} ({override.problem}). The last valid one "
                "stays active. Replace it with --clear."
            )
        if override.document is None or not override.document.active:
            return None
        document = override.document
        if document.expired(self.now):
            return f"{fleet.name}: the override ({describe(document)}) expired at {document.until}."
        until = f"until {document.until}" if document.until else "without end"
        reason = f": {document.reason}" if document.reason else ""
        return (
            f"{fleet.name}: set by {document.by or 'an unknown user'} at {document.at or 'an unknown time'}, "
            f"{until}{reason}"
        )

    def as_data(self) -> dict[str, Any]:
        """Return all of it for programs."""
        return {
            "environment": self.connection.environment.name,
            "target": self.connection.target,
            "changed": [written.fleet.name for written in self.written],
            "notes": {written.fleet.name: notes(written.fleet, written.document) for written in self.written},
            "next_apply": _APPLY,
            "fleets": [self._fleet_data(fleet) for fleet in self.fleets],
        }

    def _fleet_data(self, fleet: ResolvedFleet) -> dict[str, Any]:
        override = self.overrides[fleet.name]
        limits, schedule = active_bounds(fleet, override.document, self.now)
        data: dict[str, Any] = {
            "fleet": fleet.name,
            "file": {"min": fleet.min, "max": fleet.max},
            "schedule": {"min": schedule.minimum, "description": schedule.description} if schedule else None,
            "override_state": override.state(self.now),
            "override": as_data(override.document),
            "problem": override.problem,
            "parameter": override.parameter,
            "version": override.version,
            "active": {"min": limits.minimum, "max": limits.maximum},
        }
        if fleet.name in self.history:
            data["history"] = [
                {
                    "version": version.version,
                    "at": version.at,
                    "user": version.user,
                    "override": as_data(version.document),
                    "problem": version.problem,
                }
                for version in self.history[fleet.name]
            ]
        return data


def _history_table(versions: Sequence[Override]) -> Table:
    rows = table("VERSION", "AT", "USER", "OVERRIDE", "UNTIL", "REASON")
    for version in versions:
        document = version.document or OverrideDocument()
        override = describe(document) if version.document else "invalid"
        at = rfc3339(version.at) if version.at else ""
        rows.add_row(str(version.version), at, version.user, override, document.until or "", document.reason)
    return rows
