# SPDX-License-Identifier: Apache-2.0
"""What a simulation measures; waits and worker hours of the measured days."""

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FleetResult:
    """Wait and waste of one fleet, always together."""

    fleet: str
    tasks: int
    mean_wait_s: float
    p95_wait_s: float
    worker_hours: float
    """From the request of each worker to its stop."""
    killed: int
    writes: int
    """Calls of UpdateService."""
    commands: int
    """Commands to workers: drain and resume."""
    under_time: float
    """Share of the time in which a task waited for a slot."""
    under_slots: float
    """The mean number of slots that were missing."""
    over_time: float
    """Share of the time in which a whole worker was not needed."""
    over_slots: float
    """The mean number of slots without a task."""


@dataclass(frozen=True, slots=True)
class SimulationResult:
    """The fleets, and the runs that had not ended at the horizon."""

    fleets: tuple[FleetResult, ...]
    unfinished_runs: int


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return the nearest-rank percentile of sorted values; 0 without values."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else 0.0
