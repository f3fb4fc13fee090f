# SPDX-License-Identifier: Apache-2.0
"""Why a fleet had so many workers at a moment: the decision in force then, the change before it and the one after."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from openmwaa.operate.decisions import DecisionsLog, Line, moment
from openmwaa.operate.errors import UnreachableError
from scaler.reporting.explanation import answer, is_change, outlook

IN_FORCE = timedelta(minutes=3)
"""The scaler writes at least a line a minute; an older one no longer tells what held."""
BACKWARD = tuple(timedelta(hours=hours) for hours in (0.5, 4, 24))
"""How far back the change before is looked for, step by step: most are near, and every hour read takes time."""
FORWARD = (timedelta(hours=0.5), timedelta(hours=6))


@dataclass(frozen=True)
class Explanation:
    """One fleet at one moment."""

    fleet: str
    asked: datetime
    decision: Line | None = None
    """In force at that moment; None when the scaler decided nothing then."""
    failures: Sequence[Line] = ()
    """Ticks around that moment that were not finished."""
    before: Line | None = None
    """The last decision up to then that changed something, or the last at all when none was in force."""
    after: Line | None = None
    unread: Sequence[str] = field(default=())
    """What could not be found out, and why."""

    @property
    def answer(self) -> tuple[str, ...]:
        """Why, in sentences."""
        return answer(self.decision) if self.decision else ()

    @property
    def outlook(self) -> tuple[str, ...]:
        """What was to happen next, as seen then."""
        return outlook(self.decision) if self.decision else ()


def explain(log: DecisionsLog, fleets: Sequence[str], asked: datetime, now: datetime) -> list[Explanation]:
    """Return what was in force at `asked`, for each fleet; one fleet alone is told with what was before and after.

    Raises:
        OperateError: the log cannot be read.
    """
    found = {fleet: Explanation(fleet, asked) for fleet in fleets}
    for line in _sorted(log.read(asked - IN_FORCE, asked, fleets)):
        known = found[line["fleet"]]
        if line["event"] == "tick_failed":
            found[line["fleet"]] = replace(known, failures=(*known.failures, line))
        else:
            found[line["fleet"]] = replace(known, decision=line)
    if len(fleets) > 1:
        return list(found.values())
    (one,) = found.values()
    return [_surrounded(log, one, now)]


def _surrounded(log: DecisionsLog, one: Explanation, now: datetime) -> Explanation:
    """Add the changes around, as far as the deadline lets look for them."""
    try:
        one = replace(one, before=_before(log, one))
        return replace(one, after=_after(log, one, now))
    except UnreachableError as error:
        return replace(one, unread=(str(error),))


def _before(log: DecisionsLog, one: Explanation) -> Line | None:
    end = one.asked
    for reach in BACKWARD:
        start = one.asked - reach
        lines = _decisions(log.read(start, end, [one.fleet], changes=one.decision is not None))
        if found := [line for line in lines if one.decision is None or is_change(line)]:
            return found[-1]
        end = start
    return None


def _after(log: DecisionsLog, one: Explanation, now: datetime) -> Line | None:
    start = one.asked + timedelta(milliseconds=1)
    for reach in FORWARD:
        end = min(now, one.asked + reach)
        if start >= end:
            return None
        for line in _decisions(log.read(start, end, [one.fleet], changes=one.decision is not None)):
            if one.decision is None or is_change(line):
                return line
        start = end
    return None


def _decisions(lines: Iterable[Line]) -> Iterator[Line]:
    yield from (line for line in _sorted(lines) if line["event"] == "decision")


def _sorted(lines: Iterable[Line]) -> list[Line]:
    """Two scalers at once, during a deployment, write into two streams."""
    return sorted(lines, key=moment)


def as_data(one: Explanation) -> Mapping[str, Any]:
    """Return an explanation for a program."""
    return {
        "fleet": one.fleet,
        "asked": one.asked,
        "decision": one.decision,
        "answer": one.answer,
        "outlook": one.outlook,
        "before": one.before,
        "after": one.after,
        "failures": one.failures,
        "unread": one.unread,
    }
