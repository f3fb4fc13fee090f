# SPDX-License-Identifier: Apache-2.0
"""The history of one fleet: its last decisions, a compact series for a plot, and the present day. All are bounded.

An unchanged fleet has the same decision 17 280 times a day. Consecutive equal decisions are one entry: the last of
them, the first time, and the count. So the history of a quiet fleet covers days and that of a busy one hours, and
the fleets do not displace each other. Entries are compressed JSON (about 0.8 KB instead of 3 KB).
"""

import json
import math
import zlib
from array import array
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from scaler.core.state import total
from scaler.reporting.explanation import is_change
from scaler.reporting.tick_codec import Json

Line = Mapping[str, Any]

BUCKET_S = 20
HOURS = 6
POINTS = HOURS * 3600 // BUCKET_S
"""Six hours with a point every 20 s: 70 KB per fleet."""
SERIES = ("at", "queued", "slots", "needed", "desired", "running", "protected", "draining")
_LARGEST = frozenset({"queued", "slots", "needed", "protected", "draining"})
"""A bucket has the largest of these values, so that a short peak is visible; of the other series it has the last."""
_ABSENT = -1
_MINUTES = 24 * 60


def change_key(line: Line) -> str:
    """Return the part of a decision that counts as a change: without times, ages and the numbers of tasks.

    Queued and running tasks of a busy fleet change in every tick. Their effects (`needed`, `target`, `desired`,
    drains) are written at once; the rest follows with the next line, a minute later.
    """
    workers = line.get("workers") or {}
    key: dict[str, Any] = {name: line.get(name) for name in _KEYS}
    demand = line.get("demand") or {}
    key["source"] = [demand.get("source"), demand.get("stale")]
    key["workers"] = {state: number for state, number in workers.items() if state not in {"busy", "consuming_idle"}}
    key["consuming"] = (workers.get("busy") or 0) + (workers.get("consuming_idle") or 0)
    key["slots"] = (line.get("slots") or {}).get("total")
    key["errors"] = sorted({(error["source"], error["kind"]) for error in line.get("errors") or ()})
    # On a busy fleet the larger of two sources alternates; `source` above has the one that the decision used. What is
    # expected changes as often as the demand.
    key["steps"] = sorted({step["name"] for step in line.get("explanation") or ()} - {"demand", "expected"})
    key["update_service"] = _write(line.get("update_service"))
    services = line.get("services") or {}
    key["services"] = {
        name: {**service, "update_service": _write(service.get("update_service"))} for name, service in services.items()
    }
    readings = line.get("readings") or {}
    key["unknown"] = sorted(source for source, age in readings.items() if age is None)
    return json.dumps(key, sort_keys=True, default=str)


_KEYS = (
    *("event", "environment", "fleet", "current", "kind", "desired_before", "desired", "needed", "target", "min"),
    *("max", "running", "pending", "protected", "overrides", "overrides_state", "drain", "resume", "bounds"),
    "schedule",
)


def _write(update: object) -> object:
    if not isinstance(update, Mapping):
        return update
    return {key: value for key, value in update.items() if key not in {"answered_at", "duration_s"}}


@dataclass(frozen=True, slots=True)
class _Kept:
    since: str
    at: str
    change: bool
    packed: bytes


class Decisions:
    """The last decisions of one fleet."""

    def __init__(self) -> None:
        self._kept: deque[_Kept] = deque()
        self._line: dict[str, Json] = {}
        self._key = ""
        self._since = ""
        self._ticks = 0

    def add(self, line: dict[str, Json], key: str, *, limit: int) -> bool:
        """Add a decision and return whether it has changed. `limit` counts the entries, including this one."""
        new = key != self._key
        if new:
            if self._ticks:
                self._kept.append(self._keep())
            self._since, self._ticks, self._key = str(line["at"]), 0, key
        self._line = line
        self._ticks += 1
        while len(self._kept) >= max(1, limit):
            self._kept.popleft()
        return new

    def prepend(self, older: "Decisions", *, limit: int) -> None:
        """Put older decisions before these, as far as `limit` allows."""
        last = [older._keep()] if older._ticks else []  # noqa: SLF001  of the same class
        for kept in reversed([*older._kept, *last]):  # noqa: SLF001
            if len(self._kept) + 1 < limit:
                self._kept.appendleft(kept)

    @property
    def latest(self) -> dict[str, Json]:
        """Return the newest entry; empty before the first."""
        return {**self._line, "since": self._since, "ticks": self._ticks} if self._ticks else {}

    def last(self, limit: int, *, since: str = "", before: str = "", changes: bool = False) -> list[dict[str, Json]]:
        """Return at most `limit` entries, newest last: after `since`, and begun before `before`."""
        found: list[dict[str, Json]] = []
        for at, begun, change, entry in self._newest_first():
            if len(found) >= limit or (since and at <= since):
                break
            if (not before or begun < before) and (change or not changes):
                found.append(entry if isinstance(entry, dict) else json.loads(zlib.decompress(entry)))
        return found[::-1]

    def _newest_first(self) -> Iterator[tuple[str, str, bool, dict[str, Json] | bytes]]:
        if self._ticks:
            yield str(self._line["at"]), self._since, is_change(self._line), self.latest
        for kept in reversed(self._kept):
            yield kept.at, kept.since, kept.change, kept.packed

    def _keep(self) -> _Kept:
        packed = zlib.compress(json.dumps(self.latest, separators=(",", ":")).encode(), level=1)
        return _Kept(self._since, str(self._line["at"]), is_change(self._line), packed)


class Timeline:
    """The numbers of one fleet over the last hours, a point every `BUCKET_S` seconds."""

    def __init__(self, points: int = POINTS) -> None:
        self._points = points
        self._values = array("q")

    def add(self, at: datetime, line: Line) -> None:
        """Add the numbers of a decision."""
        demand, workers = line.get("demand") or {}, line.get("workers") or {}
        bucket = int(at.timestamp()) // BUCKET_S * BUCKET_S
        found = (
            *(demand.get("queued"), demand.get("slots"), line.get("needed"), line.get("desired"), line.get("running")),
            *(line.get("protected"), total((workers.get("draining"), workers.get("released")))),
        )
        values = [bucket, *(_ABSENT if value is None else int(value) for value in found)]
        width = len(SERIES)
        if self._values and bucket <= self._values[-width]:  # the same bucket, or a clock that went back
            before = self._values[-width:]
            values = [
                old if name == "at" else max(old, new) if name in _LARGEST else new
                for name, old, new in zip(SERIES, before, values, strict=True)
            ]
            self._values[-width:] = array("q", values)
            return
        self._values.extend(values)
        if len(self._values) > 2 * self._points * width:
            del self._values[: -self._points * width]

    def prepend(self, older: "Timeline") -> None:
        """Put older points before these."""
        width = len(SERIES)
        first = self._values[0] if self._values else None
        before = older._values  # noqa: SLF001  of the same class
        while before and first is not None and before[-width] >= first:
            del before[-width:]
        self._values = (before + self._values)[-2 * self._points * width :]

    def points(self, since: int = 0) -> list[Json]:
        """Return the points from `since` (seconds of the epoch) on, oldest first; None for an unknown value."""
        width = len(SERIES)
        start = max(0, len(self._values) - self._points * width)
        rows = (self._values[index : index + width] for index in range(start, len(self._values), width))
        return [[None if value == _ABSENT else value for value in row] for row in rows if row[0] >= since]


class Day:
    """The running workers of each minute since 00:00 UTC, and the configured maximum: 12 KB per fleet."""

    def __init__(self) -> None:
        self._date: date | None = None
        self._running = array("i")
        self._maximum = array("i")

    def add(self, at: datetime, line: Line) -> None:
        """Add a decision, in any order; a decision of an older day is left out."""
        if self._date is None or at.date() > self._date:
            self._date = at.date()
            self._running = array("i", [_ABSENT]) * _MINUTES
            self._maximum = array("i", [_ABSENT]) * _MINUTES
        running, maximum = line.get("running"), (line.get("bounds") or {}).get("max")
        if at.date() == self._date and running is not None and maximum is not None:
            minute = at.hour * 60 + at.minute
            self._running[minute], self._maximum[minute] = running, maximum

    def use(self, now: datetime, interval_s: float, usd: float | None) -> dict[str, Json]:
        """Return the worker-hours and their price, beside those of a fleet at its maximum, of the known minutes.

        The log has a line a minute, or one a tick if ticks are rarer, so a value is good until the next line is due.
        """
        ended = now.hour * 60 + now.minute
        good_for = 1 + math.ceil(2 * interval_s / 60)
        known = actual = full = 0
        last = -good_for - 1
        for minute in range(ended if self._date == now.date() else 0):
            if self._running[minute] != _ABSENT:
                last = minute
            if minute - last <= good_for:
                known, actual, full = known + 1, actual + self._running[last], full + self._maximum[last]
        hours: tuple[float | None, float | None] = (actual / 60, full / 60) if known else (None, None)
        prices = [None if number is None or usd is None else round(number * usd, 4) for number in hours]
        return {
            "known_minutes": known,
            "minutes": ended,
            "worker_hours": hours[0],
            "worker_hours_at_maximum": hours[1],
            "usd": prices[0],
            "usd_at_maximum": prices[1],
            "worker_hour_usd": usd,
        }


@dataclass(slots=True)
class History:
    """All parts of a fleet's history."""

    decisions: Decisions = field(default_factory=Decisions)
    timeline: Timeline = field(default_factory=Timeline)
    day: Day = field(default_factory=Day)

    def restore(self, at: datetime, line: dict[str, Json]) -> None:
        """Add a line of the log; unchanged decisions have a line a minute there, so their ticks cannot be counted."""
        self.timeline.add(at, line)
        self.day.add(at, line)
        if is_change(line):
            self.decisions.add(line, change_key(line), limit=POINTS)

    def prepend(self, older: "History", *, limit: int) -> None:
        """Put an older history, which has the same day, before this one."""
        self.timeline.prepend(older.timeline)
        self.decisions.prepend(older.decisions, limit=limit)
