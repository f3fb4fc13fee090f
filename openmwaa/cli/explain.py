# SPDX-License-Identifier: Apache-2.0
"""`openmwaa explain`: why there are, or were, so many workers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from openmwaa.cli.output import DEFAULT_FILE, AsJson, EnvironmentPath, Local, console, write_json
from openmwaa.operate import explanation, times
from openmwaa.operate.connection import Connection, connect
from openmwaa.operate.decisions import DecisionsLog, Line, moment
from openmwaa.operate.explanation import Explanation
from scaler.reporting.explanation import overrides

EXIT_NO_DECISION = 3
_STATES = {
    "busy": "busy",
    "consuming_idle": "idle",
    "starting": "starting",
    "stuck": "of them late",
    "draining": "in drain",
    "released": "released",
    "unknown": "not heard",
}


def explain(
    path: EnvironmentPath = DEFAULT_FILE,
    *,
    at: Annotated[
        str | None, typer.Option("--at", help=f"When; now if left out. Such as {times.FORMS}.", metavar="TIME")
    ] = None,
    fleet: Annotated[str | None, typer.Option(help="A fleet; all if left out.", metavar="NAME")] = None,
    as_json: AsJson = False,
    local: Local = False,
) -> None:
    """Tell why there are, or were, so many workers: from the decisions that the scaler logged.

    Exit code 0 told, 1 the log cannot be read, 2 a wrong option, 3 the scaler decided nothing at that time.
    """
    now = _now()
    asked = now if at is None else _time(at, now)
    connection = connect(path, local=local)
    known = connection.environment.fleets
    if fleet is not None and fleet not in known:
        raise typer.BadParameter(f"there is no fleet {fleet}; the file has {', '.join(known)}", param_hint="--fleet")
    chosen = [fleet] if fleet is not None else list(known)
    found = explanation.explain(DecisionsLog.of(connection), chosen, asked, now)
    if as_json:
        told = [explanation.as_data(one) for one in found]
        write_json({"environment": connection.environment.name, "asked": asked.isoformat(), "fleets": told})
    elif len(found) == 1:
        _tell(found[0], now, at is None, connection)
    else:
        _list(found, now, at)
    raise typer.Exit(0 if any(one.decision for one in found) else EXIT_NO_DECISION)


def _now() -> datetime:
    return datetime.now(UTC)


def _time(text: str, now: datetime) -> datetime:
    try:
        found = times.parse(text, now)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--at") from None
    if found > now:
        raise typer.BadParameter(f"{_clock(found, now)} is still to come", param_hint="--at")
    return found


def _tell(one: Explanation, now: datetime, is_now: bool, connection: Connection) -> None:
    """One fleet in full: the answer first, then the numbers, the steps, and what was around."""
    if one.decision is None:
        return _tell_nothing(one, now, connection)
    line, out = one.decision, console()
    age = now - moment(line) if is_now else one.asked - moment(line)
    running, when = line.get("running"), f"{_clock(moment(line), now)}, {_span(age)} {'ago' if is_now else 'before'}"
    be = ("is" if running == 1 else "are") if is_now else ("was" if running == 1 else "were")
    out.print(
        Text(f"{one.fleet}: why {be} there {_some(running)}?", style="bold").append(f"  ({when})\n", style="not bold")
    )
    for sentence in one.summary:
        out.print(f"  {sentence}", markup=False)
    out.print()
    out.print(f"  {_arithmetic(line)}", markup=False)
    out.print()
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, style="dim")
    table.add_column(overflow="fold")
    for name, text in _rows(one, now, is_now):
        table.add_row(Text(name), Text(text))
    out.print(Padding(table, (0, 0, 0, 2)), markup=False)
    return None


def _rows(one: Explanation, now: datetime, is_now: bool) -> Iterator[tuple[str, str]]:
    line = one.decision or {}
    workers = line.get("workers") or {}
    states = [f"{workers[key]} {word}" for key, word in _STATES.items() if workers.get(key)]
    nobody = "unknown" if "busy" in workers and workers["busy"] is None else "none"
    yield "workers", f"{', '.join(states) or nobody}; {_number(line.get('protected'))} protected"
    yield "bounds", _bounds(line)
    yield "overrides", " ".join(overrides(line)) or "none"
    for number, step in enumerate(line.get("explanation") or ()):
        yield "" if number else "steps", f"{step['name']}: {step['text']}"
    for error in line.get("errors") or ():
        yield "error", error["text"]
    for failure in one.failures[-3:]:
        yield "failed", f"{_clock(moment(failure), now)}  {failure.get('error')}"
    yield "before", _change(one.before, now) if one.before else "no change within a day before"
    if not is_now:
        yield "after", _change(one.after, now) if one.after else "no change within six hours after"
    yield "next", " ".join(one.next_steps)
    for what in one.unread:
        yield "unread", what


def _tell_nothing(one: Explanation, now: datetime, connection: Connection) -> None:
    out = console()
    reach = _span(explanation.IN_FORCE)
    out.print(
        f"{one.fleet}: the scaler logged no decision within {reach} before {_clock(one.asked, now)}, so the count was "
        "what it had been set to before.",
        markup=False,
    )
    for failure in one.failures[-3:]:
        out.print(f"  It failed at {_clock(moment(failure), now)}: {failure.get('error')}", markup=False)
    nobody = "none within a day before"
    out.print(f"  last decision   {_change(one.before, now) if one.before else nobody}", markup=False)
    if one.after:
        out.print(f"  next decision   {_change(one.after, now)}", markup=False)
    for what in one.unread:
        out.print(f"  {what}", markup=False)
    status = f"openmwaa local status {connection.file}" if connection.local else f"ECS service {_service(connection)}"
    out.print(f"  Did it run? {status}", markup=False)


def _list(found: Sequence[Explanation], now: datetime, at: str | None) -> None:
    table = Table(box=None, pad_edge=False)
    for heading in ("FLEET", "RUNNING", "DESIRED", "NEEDED", "BOUNDS", "DECIDED", "WHY"):
        table.add_column(heading, justify="right" if heading in {"RUNNING", "DESIRED", "NEEDED"} else "left")
    for one in found:
        line = one.decision
        if line is None:
            table.add_row(one.fleet, "?", "?", "?", "", "", "no decision at that time")
            continue
        counts = (_number(line.get(key)) for key in ("running", "desired", "needed"))
        limits = f"{_number(line.get('min'))}-{_number(line.get('max'))}"
        table.add_row(one.fleet, *counts, limits, _clock(moment(line), now), Text(str(line.get("reason", ""))))
    out = console()
    out.print(table, markup=False)
    when = f' --at "{at}"' if at else ""
    out.print(f"\nMore of one: --fleet {found[0].fleet}{when}", markup=False)


def _arithmetic(line: Line) -> str:
    demand, each = line.get("demand") or {}, line.get("slots_per_worker")
    slots = demand.get("slots")
    parts = [f"{_number(slots)} slots needed" + (f" / {each} per worker" if each else "")]
    parts.append(f"= {_number(line.get('needed'))} workers")
    limits = f"{_number(line.get('min'))} to {_number(line.get('max'))}"
    parts += [f"-> target {_number(line.get('target'))} ({limits})", f"-> desired {_number(line.get('desired'))}"]
    return " ".join([*parts, f"-> running {_number(line.get('running'))}"])


def _bounds(line: Line) -> str:
    told = f"{_number(line.get('min'))} to {_number(line.get('max'))} workers"
    bounds, schedule = line.get("bounds"), line.get("schedule")
    if bounds and (bounds["min"], bounds["max"]) != (line.get("min"), line.get("max")):
        told += f"; the file says {bounds['min']} to {bounds['max']}"
    return told + (f"; scheduled: {schedule['words']}" if schedule else "")


def _change(line: Line, now: datetime) -> str:
    before, after = line.get("desired_before"), line.get("desired")
    moved = f"{_number(before)} -> {_number(after)}" if before != after else f"at {_number(after)}"
    return f"{_clock(moment(line), now)}  {moved}  {line.get('kind')}: {line.get('reason')}"


def _service(connection: Connection) -> str:
    return f"`scaler` of the cluster {connection.resource_name} in {connection.place}"


def _some(count: int | None) -> str:
    return "an unknown number of workers" if count is None else "1 worker" if count == 1 else f"{count} workers"


def _number(value: object) -> str:
    return "?" if value is None else str(value)


def _clock(at: datetime, now: datetime) -> str:
    """Return a time of this machine; the date too when it is not today's."""
    here, today = at.astimezone(), now.astimezone()
    return here.strftime("%H:%M:%S" if here.date() == today.date() else "%Y-%m-%d %H:%M:%S")


def _span(time: timedelta) -> str:
    seconds = max(0, round(time.total_seconds()))
    return f"{seconds} s" if seconds < 120 else f"{seconds // 60} min"  # noqa: PLR2004
