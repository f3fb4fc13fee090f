# SPDX-License-Identifier: Apache-2.0
"""The explanation of a fleet at a time: the decision in force, the change before it and the change after it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from openmwaa.operate.decisions import DecisionsLog, LogLine, decided_at
from openmwaa.operate.errors import UnreachableError
from scaler.reporting.explanation import LINE_VERSION, is_change, next_steps, summary

IN_FORCE = timedelta(minutes=3)
"""The scaler writes at least one line a minute; an older line is not in force."""
BACKWARD = tuple(timedelta(hours=hours) for hours in (0.5, 4, 24))
"""The ranges of the search for the change before: most are near, and each hour takes time to read."""
FORWARD = (timedelta(hours=0.5), timedelta(hours=6))


@dataclass(frozen=True)
class FleetExplanation:
    """One fleet at one time."""

    fleet: str
    at: datetime
    decision: LogLine | None = None
    """In force at that time; None if there is no decision."""
    failures: Sequence[LogLine] = ()
    """Unfinished ticks around that time."""
    before: LogLine | None = None
    """The last change up to that time; the last decision if none was in force."""
    after: LogLine | None = None
    no_change_since: datetime | None = None
    """Without a change before: from when on the log has decisions without a gap."""
    no_change_until: datetime | None = None
    """Without a change after: until when the log has decisions without a gap."""
    unread: Sequence[str] = ()
    """What could not be read, and why."""

    @property
    def summary(self) -> tuple[str, ...]:
        """The decision in sentences."""
        return summary(self.decision) if self.decision else ()

    @property
    def next_steps(self) -> tuple[str, ...]:
        """What happened next if nothing else changed, as of that time."""
        return next_steps(self.decision) if self.decision else ()


def explain(log: DecisionsLog, fleets: Sequence[str], at: datetime, now: datetime) -> list[FleetExplanation]:
    """Return the decision in force at `at` for each fleet; for a single fleet also the changes before and after.

    Raises:
        OperateError: the log cannot be read.
    """
    explained = in_force(log, fleets, at)
    if len(explained) == 1:
        explained = [_with_changes(log, explained[0], now)]
    if not log.other_versions:
        return explained
    versions = ", ".join(sorted(log.other_versions))
    skipped = f"Decisions of version {versions} in the log were skipped: this program reads version {LINE_VERSION}."
    return [replace(explanation, unread=(*explanation.unread, skipped)) for explanation in explained]


def in_force(log: DecisionsLog, fleets: Sequence[str], at: datetime) -> list[FleetExplanation]:
    """Return the decision in force at `at` for each fleet.

    Raises:
        OperateError: the log cannot be read.
    """
    found = {fleet: FleetExplanation(fleet, at) for fleet in fleets}
    for line in _sorted(log.read(at - IN_FORCE, at, fleets)):
        explanation = found[line["fleet"]]
        if line["event"] == "tick_failed":
            found[line["fleet"]] = replace(explanation, failures=(*explanation.failures, line))
        else:
            found[line["fleet"]] = replace(explanation, decision=line)
    return list(found.values())


def _with_changes(log: DecisionsLog, explanation: FleetExplanation, now: datetime) -> FleetExplanation:
    """Add the changes before and after, as far as the deadline allows."""
    try:
        explanation = replace(explanation, before=_before(log, explanation))
        explanation = replace(explanation, after=_after(log, explanation, now))
        return _with_gaps(log, explanation, now) if explanation.decision else explanation
    except UnreachableError as error:
        return replace(explanation, unread=(str(error),))


def _before(log: DecisionsLog, explanation: FleetExplanation) -> LogLine | None:
    end = explanation.at
    for reach in BACKWARD:
        start = explanation.at - reach
        lines = _decisions(log.read(start, end, [explanation.fleet], changes=explanation.decision is not None))
        if found := [line for line in lines if explanation.decision is None or is_change(line)]:
            return found[-1]
        end = start
    return None


def _after(log: DecisionsLog, explanation: FleetExplanation, now: datetime) -> LogLine | None:
    start = explanation.at + timedelta(milliseconds=1)
    for reach in FORWARD:
        end = min(now, explanation.at + reach)
        if start >= end:
            return None
        for line in _decisions(log.read(start, end, [explanation.fleet], changes=explanation.decision is not None)):
            if explanation.decision is None or is_change(line):
                return line
        start = end
    return None


def _with_gaps(log: DecisionsLog, explanation: FleetExplanation, now: datetime) -> FleetExplanation:
    """Add for which time the log shows that there is no change, where none was found."""
    if explanation.before is None:
        since = _without_gap(log, explanation, explanation.at - BACKWARD[-1])
        explanation = replace(explanation, no_change_since=since)
    if explanation.after is None:
        until = _without_gap(log, explanation, min(now, explanation.at + FORWARD[-1]))
        explanation = replace(explanation, no_change_until=until)
    return explanation


def _without_gap(log: DecisionsLog, explanation: FleetExplanation, end: datetime) -> datetime:
    """Return the time nearest to `end` up to which the log has a line at least every three minutes.

    A log may begin later, or lines may be lost: then it does not show that nothing changed.
    """
    known = explanation.at
    lines = _sorted(log.read(min(known, end), max(known, end), [explanation.fleet]))
    for line in lines if end > known else reversed(lines):
        if abs(decided_at(line) - known) > IN_FORCE:
            return known
        known = decided_at(line)
    return end if abs(end - known) <= IN_FORCE else known


def _decisions(lines: Iterable[LogLine]) -> Iterator[LogLine]:
    yield from (line for line in _sorted(lines) if line["event"] == "decision")


def _sorted(lines: Iterable[LogLine]) -> list[LogLine]:
    """Sort by time: during a deployment two scalers write to two log streams."""
    return sorted(lines, key=decided_at)


def as_data(explanation: FleetExplanation) -> Mapping[str, Any]:
    """Return an explanation as JSON-able values."""
    return {**asdict(explanation), "summary": explanation.summary, "next_steps": explanation.next_steps}
