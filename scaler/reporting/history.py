# SPDX-License-Identifier: Apache-2.0
"""What the scaler remembers of one fleet: its last decisions, and a compact series for a plot. Both are bounded.

A fleet that stands still decides the same thing 17 280 times a day. Decisions in a row that say the same are one
entry: the last of them, since when, and how often. So a quiet fleet's memory reaches back for days and a busy one's
for hours, and no fleet pushes out another's. Entries are kept as compressed JSON (about 0.8 KB for 3 KB).
"""

from __future__ import annotations

import json
import zlib
from array import array
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from scaler.core.state import total
from scaler.reporting.explanation import is_change
from scaler.reporting.tick_codec import Json

Line = Mapping[str, Any]

BUCKET_S = 20
POINTS = 1080
"""Six hours at one point in 20 s: 35 KB a fleet."""
SERIES = ("at", "queued", "slots", "needed", "desired", "running", "protected", "draining")
_LARGEST = frozenset({"queued", "slots", "needed", "protected", "draining"})
"""Within one bucket the largest value counts, so that a short peak is seen; of counts that are set, the last."""
_ABSENT = -1


def change_key(line: Line) -> str:
    """Return what a decision says apart from times, ages and numbers that change nothing.

    Queued and running tasks of a busy fleet change with every look; what they lead to (`needed`, `target`, `desired`,
    who drains) is what a reader of the log wants to see at once. The rest follows with the next line, a minute later.
    """
    workers = line.get("workers") or {}
    told: dict[str, Any] = {key: line.get(key) for key in _TOLD}
    demand = line.get("demand") or {}
    told["source"] = [demand.get("source"), demand.get("stale")]
    told["workers"] = {key: value for key, value in workers.items() if key not in {"busy", "consuming_idle"}}
    told["consuming"] = (workers.get("busy") or 0) + (workers.get("consuming_idle") or 0)
    told["slots"] = (line.get("slots") or {}).get("total")
    told["errors"] = sorted({(error["source"], error["kind"]) for error in line.get("errors") or ()})
    # Which source says more flickers on a busy fleet; the source above says whom the decision believed.
    told["steps"] = sorted({step["name"] for step in line.get("explanation") or ()} - {"demand"})
    told["update_service"] = _write(line.get("update_service"))
    generations = line.get("services") or {}
    told["services"] = {
        name: {**each, "update_service": _write(each.get("update_service"))} for name, each in generations.items()
    }
    unread = line.get("readings") or {}
    told["unread"] = sorted(source for source, age in unread.items() if age is None)
    return json.dumps(told, sort_keys=True, default=str)


_TOLD = (
    *("event", "environment", "fleet", "current", "kind", "desired_before", "desired", "needed", "target", "min"),
    *(
        "max",
        "running",
        "pending",
        "protected",
        "overrides",
        "overrides_state",
        "drain",
        "resume",
        "bounds",
        "schedule",
    ),
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
        self._essence = ""
        self._since = ""
        self._ticks = 0

    def add(self, line: dict[str, Json], says: str, *, limit: int) -> bool:
        """Remember a decision; whether it says something new. `limit` counts the entries to keep, this one too."""
        new = says != self._essence
        if new:
            if self._ticks:
                self._kept.append(_Kept(self._since, str(self._line["at"]), is_change(self._line), self._packed()))
            self._since, self._ticks, self._essence = str(line["at"]), 0, says
        self._line = line
        self._ticks += 1
        while len(self._kept) >= max(1, limit):
            self._kept.popleft()
        return new

    @property
    def latest(self) -> dict[str, Json]:
        """Return the newest entry; empty before the first."""
        return {**self._line, "since": self._since, "ticks": self._ticks} if self._ticks else {}

    def last(self, limit: int, *, since: str = "", before: str = "", changes: bool = False) -> list[dict[str, Json]]:
        """Return at most `limit` entries, newest last: later than `since`, begun earlier than `before`."""
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

    def _packed(self) -> bytes:
        return zlib.compress(json.dumps(self.latest, separators=(",", ":")).encode(), level=1)


class Timeline:
    """The numbers of one fleet over the last hours, a point in `BUCKET_S` seconds."""

    def __init__(self, points: int = POINTS) -> None:
        self._points = points
        self._values = array("q")

    def add(self, at: datetime, line: Line) -> None:
        """Take over a decision's numbers."""
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

    def points(self, since: int = 0) -> list[Json]:
        """Return the points from `since` (seconds of the epoch) on, oldest first; None where nothing is known."""
        width = len(SERIES)
        start = max(0, len(self._values) - self._points * width)
        rows = (self._values[index : index + width] for index in range(start, len(self._values), width))
        return [[None if value == _ABSENT else value for value in row] for row in rows if row[0] >= since]
