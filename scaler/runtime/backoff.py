# SPDX-License-Identifier: Apache-2.0
"""When a fleet ticks: on a grid of its interval, at an offset of its own, and more rarely while AWS throttles."""

from __future__ import annotations

import math
import zlib

SLOWEST_S = 60.0
COHORT = 20
"""Fleets that tick together share calls (ten services, a hundred tasks each); twenty of them keep the loop busy for a
fifth of a second."""


def offset_s(name: str, interval_s: float, fleets: int) -> float:
    """Return the fleet's place in the interval: the same one always, and some twenty fleets in each."""
    cohorts = math.ceil(fleets / COHORT)
    return interval_s * (zlib.crc32(name.encode()) % max(1, cohorts)) / max(1, cohorts)


class Pace:
    """How many intervals lie between two ticks."""

    def __init__(self, interval_s: float) -> None:
        self.interval_s = interval_s
        self.intervals = 1

    @property
    def seconds(self) -> float:
        """Time between two ticks."""
        return self.intervals * self.interval_s

    def ticked(self, *, throttled: bool, urgent: bool) -> None:
        """Twice as slow after a throttled tick, up to a minute; an interval faster after any other.

        A fleet that protects workers (`urgent`) never waits: a worker that is refused does nothing until it is heard.
        """
        if urgent:
            self.intervals = 1
        elif throttled:
            self.intervals = min(self.intervals * 2, self._most)
        else:
            self.intervals = max(1, self.intervals - 1)

    def failed(self) -> None:
        """Slow down a fleet whose ticks end in errors of our own; the first one may be an accident."""
        self.intervals = min(self.intervals * 2, self._most)

    @property
    def _most(self) -> int:
        return max(1, int(SLOWEST_S / self.interval_s))
