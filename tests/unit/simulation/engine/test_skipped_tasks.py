# SPDX-License-Identifier: Apache-2.0
"""A mapped task over nothing is skipped: what follows it begins once, and its run ends once."""

import pytest

from simulation.comparison import SimulationCase, simulate_case
from simulation.engine.fleet import EngineFleetSettings
from simulation.workloads.model import Workload, WorkloadDag, WorkloadRun, WorkloadTask


@pytest.mark.parametrize("skipped", [{0}, {1}, {2}, {1, 2}, {0, 1}, {0, 1, 2}])
def test_the_other_tasks_run_once_each(skipped: set[int]) -> None:
    tasks = tuple(WorkloadTask(f"t{node}", ((5.0, 0.0),), (node - 1,) if node else (), mapped=1.0) for node in range(3))
    runs = tuple(
        WorkloadRun("chain", "manual", start_s, mapped={node: int(node not in skipped) for node in range(3)})
        for start_s in (10.0, 400.0)
    )
    workload = Workload("skips", 1000.0, 0.0, {"chain": WorkloadDag("chain", (tasks,), max_active_runs=1)}, runs)
    result = simulate_case(SimulationCase(workload, "always", EngineFleetSettings()))
    assert result.unfinished_runs == 0
    assert result.fleets[0].tasks == 2 * (3 - len(skipped))
