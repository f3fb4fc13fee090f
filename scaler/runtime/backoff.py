# SPDX-License-Identifier: Apache-2.0
"""When a fleet ticks: on a grid of its interval, with an offset of its own, and less often while AWS throttles."""

import math
import zlib

SLOWEST_S = 60.0
COHORT = 20
"""Fleets that tick at the same time share calls (ten services, a hundred tasks each). Twenty of them keep the event
loop busy for 0.2 s."""


def offset_s(name: str, interval_s: float, fleets: int) -> float:
    """Return the fleet's offset in the interval: it never changes, and about twenty fleets share one."""
    cohorts = math.ceil(fleets / COHORT)
    return interval_s * (zlib.crc32(name.encode()) % max(1, cohorts)) / max(1, cohorts)


class Backoff:
    """The number of intervals between two ticks."""

    def __init__(self, interval_s: float) -> None:
        self.interval_s = interval_s
        self.intervals = 1

    @property
    def seconds(self) -> float:
        """Time between two ticks."""
        return self.intervals * self.interval_s

    def on_tick(self, *, throttled: bool, urgent: bool) -> None:
        """Double the interval after a throttled tick, up to a minute; shorten it by one after any other tick.

        A fleet that protects workers (`urgent`) never slows down: a worker without protection takes no tasks.
        """
        if urgent:
            self.intervals = 1
        elif throttled:
            self.intervals = min(self.intervals * 2, self._limit)
        else:
            self.intervals = max(1, self.intervals - 1)

    def on_failure(self) -> None:
        """Slow down a fleet whose ticks end in an error of the scaler itself."""
        self.intervals = min(self.intervals * 2, self._limit)

    @property
    def _limit(self) -> int:
        return max(1, int(SLOWEST_S / self.interval_s))
