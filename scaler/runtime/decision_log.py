# SPDX-License-Identifier: Apache-2.0
"""Decisions as JSON lines on standard output, and the last ones kept for HTTP."""

from __future__ import annotations

import json
import traceback
from collections import deque
from collections.abc import Callable
from datetime import datetime
from typing import TextIO

from scaler.core.record import Json
from scaler.runtime.report import Report, decision_line, fleet_view, rfc3339

KEPT = 500


class DecisionLog:
    """A listener that writes a line a decision and remembers the last `kept`."""

    def __init__(self, environment: str, out: TextIO, wall: Callable[[], datetime], *, kept: int = KEPT) -> None:
        self._environment = environment
        self._out = out
        self._wall = wall
        self._decisions: deque[Json] = deque(maxlen=kept)
        self._fleets: dict[str, Report] = {}

    def ticked(self, report: Report) -> None:
        """Write and keep the decision."""
        line = decision_line(report, self._environment)
        self._decisions.append(line)
        self._fleets[report.tick.fleet.name] = report
        self._write(line)

    def failed(self, fleet: str, error: BaseException) -> None:
        """Write why a tick was not finished."""
        where = traceback.extract_tb(error.__traceback__)[-1:]
        self.event(
            "tick_failed", fleet=fleet, error=f"{type(error).__name__}: {error}", where=[str(at) for at in where]
        )

    def event(self, event: str, **values: Json) -> None:
        """Write a line that is no decision."""
        self._write({"event": event, "at": rfc3339(self._wall()), "environment": self._environment, **values})

    def decisions(self, limit: int) -> list[Json]:
        """Return the last decisions, newest last."""
        return [*self._decisions][-limit:] if limit > 0 else []

    def fleets(self) -> list[Json]:
        """Return the latest view of each fleet."""
        return [fleet_view(report) for _, report in sorted(self._fleets.items())]

    def _write(self, line: dict[str, Json]) -> None:
        self._out.write(json.dumps(line, separators=(",", ":")) + "\n")
        self._out.flush()
