# SPDX-License-Identifier: Apache-2.0
"""The engine and the test bed with the scaler's whole runtime agree on a burst: workers, shrinking, and waits.

The engine reads all counts at one time. The test bed reads them one after the other, so a task that starts meanwhile
may count twice, which may take one worker more.
"""

import asyncio
import math
from dataclasses import dataclass

import pytest

from scaler.core.model import FleetPolicy
from simulation.engine.day import Engine, EngineSettings
from simulation.engine.fleet import EngineFleetSettings
from simulation.engine.policy import EngineFleetView
from simulation.loop import run
from simulation.policies.openmwaa import Openmwaa
from simulation.simulation import Simulation, SimulationConfig
from simulation.worker import WorkerProfile
from simulation.workloads.model import Workload, WorkloadDag, WorkloadRun, WorkloadTask

SLOTS, MOST = 4, 8
LAUNCH_S = (19.0, 21.0)
COLD_START_S = (21.5, 27.0)
"""The launch, 2 s until the task is pending, and 0.5 to 4 s until the worker consumes."""
INTERVAL_S = 5.0
WORK_S = 90.0
AT_S = 300.0


@dataclass(frozen=True)
class BurstResult:
    most_workers: int
    workers_at_end: int
    mean_wait_s: float


class Recorded(Openmwaa):
    """Keeps the desired counts."""

    desired: list[int]

    def tick(self, view: EngineFleetView) -> None:
        super().tick(view)
        self.desired = [*getattr(self, "desired", []), view.desired]


def in_engine(tasks: int, seed: int) -> BurstResult:
    dag = WorkloadDag("burst", (tuple(WorkloadTask(f"t{node}", ((WORK_S, 0.0),)) for node in range(tasks)),))
    workload = Workload("burst", 1200.0, 0.0, {"burst": dag}, (WorkloadRun("burst", "manual", AT_S),))
    middle = sum(COLD_START_S) / 2
    fleet = EngineFleetSettings(
        slots=SLOTS, minimum=1, maximum=MOST, cold_start_s=middle, cold_start_sigma=(COLD_START_S[1] / middle - 1) / 2
    )
    rule = Recorded()
    (result,) = Engine(workload, rule, (fleet,), EngineSettings(seed=seed)).run().fleets
    assert (result.tasks, result.killed) == (tasks, 0)
    return BurstResult(max(rule.desired), rule.desired[-1], result.mean_wait_s)


async def _in_test_bed(tasks: int, seed: int) -> BurstResult:
    fleet = FleetPolicy("default", ("default",), SLOTS, 1, MOST)
    profile = WorkerProfile(slots=SLOTS)
    config = SimulationConfig((fleet,), generations=1, profile=profile, launch_s=LAUNCH_S, lag_s=0.0)
    sim = Simulation(config, seed)
    sim.start_scaler()
    await asyncio.sleep(AT_S)
    sim.send([WORK_S] * tasks)
    most, waited_s = 0, 0.0
    for _ in range(900):
        waited_s += len(sim.queues["default"].rows.queued)
        most = max(most, sum(sim.desired().values()))
        await asyncio.sleep(1.0)
    await sim.end()
    assert (len(sim.ledger.done), sim.ledger.lost, sim.ledger.interrupted) == (tasks, set(), set())
    assert len(sim.workers()) == sum(sim.desired().values())
    return BurstResult(most, sum(sim.desired().values()), waited_s / tasks)


@pytest.mark.parametrize("tasks", [3, 14, 60])
def test_a_burst_takes_the_same_workers_and_waits_as_long(tasks: int) -> None:
    bed, engine = run(_in_test_bed(tasks, 1)), in_engine(tasks, 1)
    assert engine.most_workers == min(MOST, math.ceil(tasks / SLOTS))
    assert bed.most_workers - engine.most_workers in (0, 1)
    assert engine.workers_at_end == bed.workers_at_end == 1
    assert abs(engine.mean_wait_s - bed.mean_wait_s) <= COLD_START_S[1] - COLD_START_S[0] + INTERVAL_S
