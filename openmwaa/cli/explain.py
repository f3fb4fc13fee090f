# SPDX-License-Identifier: Apache-2.0
"""`openmwaa explain`: why a fleet has, or had, its number of workers."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from openmwaa.cli.environment import DEFAULT_FILE, EnvironmentOption, EnvironmentPath, Local, connect
from openmwaa.cli.output import AsJson, console, print_progress, table, write_json
from openmwaa.operate import explanation, times
from openmwaa.operate.connection import Connection
from openmwaa.operate.decisions import DecisionsLog, LogLine, decided_at
from openmwaa.operate.explanation import FleetExplanation
from openmwaa.progress import reported
from scaler.reporting.explanation import overrides

EXIT_NO_DECISION = 3
_STATES = {
    "busy": "busy",
    "consuming_idle": "idle",
    "starting": "starting",
    "stuck": "of them late",
    "draining": "draining",
    "released": "released",
    "unknown": "unknown",
}


def explain(
    path: EnvironmentPath = DEFAULT_FILE,
    *,
    _environment: EnvironmentOption = None,
    at: Annotated[
        str | None, typer.Option("--at", help=f"The time, such as {times.FORMS}. Default: now.", metavar="TIME")
    ] = None,
    fleet: Annotated[str | None, typer.Option(help="The fleet. Default: all fleets.", metavar="NAME")] = None,
    as_json: AsJson = False,
    local: Local = None,
) -> None:
    """Explain the number of workers, now or at a time, from the scaler's logged decisions.

    Exit codes: 0 success, 1 log unavailable, 2 invalid option, 3 no decision at that time.
    """
    now = _now()
    time = now if at is None else _time(at, now)
    connection = connect(path, local=local)
    known = connection.environment.fleets
    if fleet is not None and fleet not in known:
        raise typer.BadParameter(f"no fleet {fleet} in the file; it has {', '.join(known)}", param_hint="--fleet")
    chosen = [fleet] if fleet is not None else list(known)
    with reported("Reading the scaler's log", print_progress):
        found = explanation.explain(DecisionsLog.of(connection), chosen, time, now)
    if as_json:
        fleets = [explanation.as_data(explained) for explained in found]
        write_json({"environment": connection.environment.name, "at": time.isoformat(), "fleets": fleets})
    elif len(found) == 1:
        _print_fleet(found[0], now, at is None, connection)
    else:
        _print_fleets(found, now, at)
    raise typer.Exit(0 if any(explained.decision for explained in found) else EXIT_NO_DECISION)


def _now() -> datetime:
    return datetime.now(UTC)


def _time(text: str, now: datetime) -> datetime:
    try:
        found = times.parse(text, now)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--at") from None
    if found > now:
        raise typer.BadParameter(f"{_clock(found, now)} is in the future", param_hint="--at")
    return found


def _print_fleet(explained: FleetExplanation, now: datetime, is_now: bool, connection: Connection) -> None:
    """Print one fleet in full: the summary, the numbers, the steps, and the changes before and after."""
    if explained.decision is None:
        return _print_no_decision(explained, now, connection)
    line, out = explained.decision, console()
    age = (now if is_now else explained.at) - decided_at(line)
    when = f"{_clock(decided_at(line), now)}, {_span(age)} {'ago' if is_now else 'before'}"
    running = _some(line.get("running"))
    out.print(Text(f"{explained.fleet}: {running} running", style="bold").append(f"  ({when})\n", style="not bold"))
    for sentence in explained.summary:
        out.print(f"  {sentence}", markup=False)
    out.print()
    out.print(f"  {_arithmetic(line)}", markup=False)
    out.print()
    rows = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    rows.add_column(no_wrap=True, style="dim")
    rows.add_column(overflow="fold")
    for name, text in _rows(explained, now, is_now):
        rows.add_row(Text(name), Text(text))
    out.print(Padding(rows, (0, 0, 0, 2)), markup=False)
    return None


def _rows(explained: FleetExplanation, now: datetime, is_now: bool) -> Iterator[tuple[str, str]]:
    line = explained.decision or {}
    workers = line.get("workers") or {}
    states = [f"{workers[state]} {word}" for state, word in _STATES.items() if workers.get(state)]
    none = "unknown" if "busy" in workers and workers["busy"] is None else "none"
    yield "workers", f"{', '.join(states) or none}; {_number(line.get('protected'))} protected"
    yield "bounds", _bounds(line)
    yield "overrides", " ".join(overrides(line)) or "none"
    for number, step in enumerate(line.get("explanation") or ()):
        yield "" if number else "steps", f"{step['name']}: {step['text']}"
    for error in line.get("errors") or ():
        yield "error", error["text"]
    for failure in explained.failures[-3:]:
        yield "failed", f"{_clock(decided_at(failure), now)}  {failure.get('error')}"
    yield "before", _change(explained.before, now) if explained.before else _no_change_before(explained, now)
    if not is_now:
        yield "after", _change(explained.after, now) if explained.after else _no_change_after(explained, now)
    yield "next", " ".join(explained.next_steps)
    for problem in explained.unread:
        yield "unread", problem


def _no_change_before(explained: FleetExplanation, now: datetime) -> str:
    since = explained.no_change_since
    if since is None:
        return "not known"
    if since == explained.at - explanation.BACKWARD[-1]:
        return "no change in the day before"
    return f"no change since {_clock(since, now)}; before that time the log has no decisions"


def _no_change_after(explained: FleetExplanation, now: datetime) -> str:
    until = explained.no_change_until
    return "not known" if until is None else f"no change until {_clock(until, now)}"


def _print_no_decision(explained: FleetExplanation, now: datetime, connection: Connection) -> None:
    out = console()
    span, time = _span(explanation.IN_FORCE), _clock(explained.at, now)
    out.print(f"{explained.fleet}: no decision in the log within {span} before {time}.", markup=False)
    for failure in explained.failures[-3:]:
        out.print(f"  Failed at {_clock(decided_at(failure), now)}: {failure.get('error')}", markup=False)
    last = _change(explained.before, now) if explained.before else "none in the log of the day before"
    out.print(f"  last decision   {last}", markup=False)
    if explained.after:
        out.print(f"  next decision   {_change(explained.after, now)}", markup=False)
    for problem in explained.unread:
        out.print(f"  {problem}", markup=False)
    status = f"ECS service `scaler` of the cluster {connection.resource_name} in {connection.place}"
    if connection.local:
        status = connection.command("status")
    out.print(f"  Check that the scaler runs: {status}", markup=False)


def _print_fleets(found: Sequence[FleetExplanation], now: datetime, at: str | None) -> None:
    counted = ("RUNNING", "DESIRED", "NEEDED")
    rows = table("FLEET", *counted, "BOUNDS", "DECIDED", "REASON", right=counted)
    for explained in found:
        line = explained.decision
        if line is None:
            rows.add_row(explained.fleet, "?", "?", "?", "", "", "no decision at that time")
            continue
        counts = (_number(line.get(key)) for key in ("running", "desired", "needed"))
        limits = f"{_number(line.get('min'))}-{_number(line.get('max'))}"
        reason = Text(str(line.get("reason", "")))
        rows.add_row(explained.fleet, *counts, limits, _clock(decided_at(line), now), reason)
    out = console()
    out.print(rows, markup=False)
    when = f' --at "{at}"' if at else ""
    out.print(f"\nDetails of one fleet: --fleet {found[0].fleet}{when}", markup=False)
    for problem in sorted({problem for explained in found for problem in explained.unread}):
        out.print(problem, markup=False)


def _arithmetic(line: LogLine) -> str:
    slots, per_worker = (line.get("demand") or {}).get("slots"), line.get("slots_per_worker")
    parts = [f"{_number(slots)} slots needed" + (f" / {per_worker} per worker" if per_worker else "")]
    parts.append(f"= {_number(line.get('needed'))} workers")
    limits = f"{_number(line.get('min'))} to {_number(line.get('max'))}"
    parts += [f"-> target {_number(line.get('target'))} ({limits})", f"-> desired {_number(line.get('desired'))}"]
    return " ".join([*parts, f"-> running {_number(line.get('running'))}"])


def _bounds(line: LogLine) -> str:
    text = f"{_number(line.get('min'))} to {_number(line.get('max'))} workers"
    bounds, schedule = line.get("bounds"), line.get("schedule")
    if bounds and (bounds["min"], bounds["max"]) != (line.get("min"), line.get("max")):
        text += f"; environment file: {bounds['min']} to {bounds['max']}"
    return text + (f"; schedule: {schedule['description']}" if schedule else "")


def _change(line: LogLine, now: datetime) -> str:
    before, after = line.get("desired_before"), line.get("desired")
    change = f"{_number(before)} -> {_number(after)}" if before != after else f"at {_number(after)}"
    return f"{_clock(decided_at(line), now)}  {change}  {line.get('kind')}: {line.get('reason')}"


def _some(count: int | None) -> str:
    return "unknown number of workers" if count is None else "1 worker" if count == 1 else f"{count} workers"


def _number(value: object) -> str:
    return "?" if value is None else str(value)


def _clock(at: datetime, now: datetime) -> str:
    """Return a time in this machine's time zone, with the date unless it is today."""
    here, today = at.astimezone(), now.astimezone()
    return here.strftime("%H:%M:%S" if here.date() == today.date() else "%Y-%m-%d %H:%M:%S")


def _span(time: timedelta) -> str:
    seconds = max(0, round(time.total_seconds()))
    return f"{seconds} s" if seconds < 120 else f"{seconds // 60} min"  # noqa: PLR2004
