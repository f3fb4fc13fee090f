# SPDX-License-Identifier: Apache-2.0
"""When a fleet ticks, on a grid of its interval with an offset of its own, and how much a throttled source slows."""

import math
import zlib

SLOWED = 2
"""Intervals between two reads of a source that throttles: with more of them a fleet would hardly shrink."""
COHORT = 20
"""Fleets that tick at the same time share calls (ten services, a hundred tasks each). Twenty of them keep the event
loop busy for 0.2 s."""


def offset_s(name: str, interval_s: float, fleets: int) -> float:
    """Return the fleet's offset in the interval: it never changes, and about twenty fleets share one."""
    cohorts = math.ceil(fleets / COHORT)
    return interval_s * (zlib.crc32(name.encode()) % max(1, cohorts)) / max(1, cohorts)
