# SPDX-License-Identifier: Apache-2.0
"""Under every continuous fault a fleet grows within a minute and reaches its minimum; `make bench` has more runs."""

import pytest

from simulation.liveness_run import CONTINUOUS_FAULTS, play
from simulation.loop import run

SEEDS = range(9001, 9004)
"""Other runs than those of the benchmark, which begins at 1."""


@pytest.mark.parametrize("fault", CONTINUOUS_FAULTS)
def test_no_fleet_sticks_under_a_continuous_fault(fault: str) -> None:
    runs = [run(play(fault, seed)) for seed in SEEDS[: 1 if "60" in fault else 3]]
    assert not [found for found in runs if found.stuck]
