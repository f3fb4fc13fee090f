# SPDX-License-Identifier: Apache-2.0
"""Decisions as JSON lines on standard output, and the last decisions for HTTP.

Log storage costs money: a fleet with a tick every 5 s has 17 280 decisions a day. A decision that differs from the
last one is written at once; an unchanged one is written once a minute, so that the log has a line near any time.
"""

import heapq
import json
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import TextIO

from scaler.ports import rfc3339
from scaler.reporting.decision_line import decision_line
from scaler.reporting.explanation import next_steps, summary
from scaler.reporting.history import History, change_key
from scaler.reporting.tick_codec import Json
from scaler.runtime.tick_result import TickResult

KEPT = 300
"""Entries of one fleet; with many fleets each gets its share of `KEPT_IN_ALL`."""
KEPT_IN_ALL = 20_000
KEPT_AT_LEAST = 50
WRITE_EVERY_S = 60.0
_BRIEF = frozenset(
    {
        *("fleet", "at", "since", "interval_s", "kind", "reason", "desired", "running", "pending", "needed", "target"),
        *("min", "max", "workers", "demand", "slots", "overrides", "overrides_state", "errors", "failed"),
    }
)


@dataclass(slots=True)
class _Fleet(History):
    view: dict[str, Json] = field(default_factory=dict)
    written_at: datetime | None = None
    failed: dict[str, Json] | None = None


class DecisionLog:
    """A listener that writes changed decisions to the log and keeps the last decisions of each fleet."""

    def __init__(self, environment: str, out: TextIO, wall: Callable[[], datetime], *, kept: int = KEPT) -> None:
        self.environment = environment
        self._out = out
        self._wall = wall
        self._kept = kept
        self._fleets: dict[str, _Fleet] = {}
        self.prices: Mapping[str, float | None] = {}
        """USD of a worker-hour by fleet; None or absent: unknown."""
        self.links: Mapping[str, str] = {}
        """The addresses of `airflow` and `log`, for the page."""
        self.history: dict[str, Json] = {}
        self.history_known(wall(), "none")

    def on_tick(self, result: TickResult) -> None:
        """Keep the decision; write it if it has changed or the last line is a minute old."""
        fleet = result.tick.fleet
        view: dict[str, Json] = {"slots_per_worker": fleet.slots, "interval_s": fleet.interval_s}
        self.decided(result.at, decision_line(result, self.environment), view)

    def decided(self, at: datetime, line: dict[str, Json], view: dict[str, Json]) -> None:
        """Keep and write a decision line; `view` has the further values of /v1/fleets."""
        fleet = self._fleets.setdefault(str(line["fleet"]), _Fleet())
        fleet.view, fleet.failed = view, None
        fleet.timeline.add(at, line)
        fleet.day.add(at, line)
        new = fleet.decisions.add(line, change_key(line), limit=self._limit())
        # A clock that went back must not stop the log of a fleet.
        age_s = abs((at - fleet.written_at).total_seconds()) if fleet.written_at else WRITE_EVERY_S
        if new or age_s >= WRITE_EVERY_S:
            fleet.written_at = at
            self._write(line)

    def failed(self, fleet: str, error: BaseException) -> None:
        """Write the error of an unfinished tick."""
        where = traceback.extract_tb(error.__traceback__)[-1:]
        text = f"{type(error).__name__}: {error}"
        if fleet in self._fleets:
            self._fleets[fleet].failed = {"at": rfc3339(self._wall()), "error": text}
        self.event("tick_failed", fleet=fleet, error=text, where=[str(at) for at in where])

    def older(self, fleet: str) -> History:
        """Return an empty history for older decisions of the fleet, with the fleet's day."""
        return History(day=self._fleets.setdefault(fleet, _Fleet()).day)

    def restored(self, older: Mapping[str, History]) -> None:
        """Put older decisions before those of each fleet."""
        for name in older.keys() & self._fleets.keys():
            self._fleets[name].prepend(older[name], limit=self._limit())

    def history_known(self, since: datetime, state: str, problem: str | None = None) -> None:
        """Note since when the history is known, and how far the log is read: `none`, `reading`, `read`, `failed`."""
        self.history = {"since": rfc3339(since), "state": state, "problem": problem}

    def removed(self, fleet: str) -> None:
        """Remove a fleet that is no longer configured; the log keeps its decisions."""
        self._fleets.pop(fleet, None)

    def event(self, event: str, **values: Json) -> None:
        """Write a line of another event than a decision."""
        self._write({"event": event, "at": rfc3339(self._wall()), "environment": self.environment, **values})

    def now(self) -> str:
        """Return the time of the clock that dates the lines."""
        return rfc3339(self._wall())

    def names(self) -> list[str]:
        """Return the fleets with at least one decision."""
        return sorted(name for name, fleet in self._fleets.items() if fleet.view)  # others have only an older history

    def decisions(
        self, limit: int, *, fleet: str | None = None, since: str = "", before: str = "", changes: bool = False
    ) -> list[Json]:
        """Return the last `limit` entries, newest last; `changes` selects decisions with a change."""
        if limit <= 0:
            return []
        chosen = [self._fleets[name] for name in self._fleets if fleet is None or name == fleet]
        found = [kept.decisions.last(limit, since=since, before=before, changes=changes)[::-1] for kept in chosen]
        newest = heapq.merge(*found, key=lambda entry: str(entry["at"]), reverse=True)
        last: list[Json] = [*islice(newest, limit)]
        return last[::-1]

    def timeline(self, fleet: str, since: int = 0) -> list[Json]:
        """Return the fleet's numbers over the last hours; see `history.SERIES`."""
        return self._fleets[fleet].timeline.points(since)

    def fleets(self, fleet: str | None = None, *, brief: bool = False) -> list[Json]:
        """Return the latest state of each fleet; `brief` has only the values of a list."""
        found: list[Json] = []
        for name in self.names():
            if fleet is None or name == fleet:
                whole = self._whole(self._fleets[name])
                found.append({key: value for key, value in whole.items() if key in _BRIEF} if brief else whole)
        return found

    def _whole(self, fleet: _Fleet) -> dict[str, Json]:
        latest = fleet.decisions.latest
        whole = {key: value for key, value in latest.items() if key not in {"event", "environment"}}
        texts: dict[str, Json] = {"summary": [*summary(latest)], "next_steps": [*next_steps(latest)]}
        if latest.get("slots_per_worker") is not None:
            texts["slots_per_worker"] = latest["slots_per_worker"]
        interval_s, usd = fleet.view.get("interval_s"), self.prices.get(str(latest["fleet"]))
        today = fleet.day.use(self._wall(), interval_s if isinstance(interval_s, float) else 0.0, usd)
        return whole | fleet.view | texts | {"failed": fleet.failed, "today": today}

    def _limit(self) -> int:
        return min(self._kept, max(KEPT_AT_LEAST, KEPT_IN_ALL // max(1, len(self._fleets))))

    def _write(self, line: dict[str, Json]) -> None:
        self._out.write(json.dumps(line, separators=(",", ":")) + "\n")
        self._out.flush()
