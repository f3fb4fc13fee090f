# SPDX-License-Identifier: Apache-2.0
"""Workers that end at their start: ECS replaces each of them at once, so every task is young."""

from collections.abc import Callable

import pytest

from simulation.fake_ecs import Topology
from tests.support.fault_scenario import FLEET, FaultScenario, run_scenario


def crash_at_start(scenario: FaultScenario, revision: str = "") -> Callable[[], None]:
    """Let the workers of a revision (by default all) end when their container starts, until the result is called."""
    ecs, boot = scenario.fake_ecs, scenario.fake_ecs._boot

    def crash(arn: str, topology: Topology) -> None:
        task = ecs.ecs.task(arn)
        if task is not None and task.task_definition_arn.endswith(revision):
            ecs._gone(arn, "EssentialContainerExited")
        else:
            boot(arn, topology)

    def repair() -> None:
        ecs._boot = boot  # type: ignore[method-assign]

    ecs._boot = crash  # type: ignore[method-assign]
    return repair


@pytest.mark.fault(
    "launches failing: crash at start",
    "After the launch deadline without a start that succeeds, starting tasks are no capacity and block no scale-in, "
    "however often ECS tries again",
)
def test_workers_that_crash_at_their_start() -> None:
    async def steps(scenario: FaultScenario) -> None:
        numbers = await scenario.works(2, work_s=60.0)
        repair = crash_at_start(scenario)
        numbers += scenario.send([20.0] * 8)
        await scenario.becomes(lambda: scenario.total == 6, 20.0, "desired must reach what is needed")
        await scenario.becomes(lambda: set(numbers) <= scenario.ledger.done, 300.0, "two workers were to do it all")
        limit_s = FLEET.scale_in_window_s + FLEET.launch_deadline_s + 180.0
        await scenario.becomes(lambda: scenario.total == 1, limit_s, "it was to shrink")
        repair()
        await scenario.works(3, work_s=20.0)
        await scenario.rests()

    run_scenario(steps)


@pytest.mark.fault(
    "launches failing: crash at start",
    "If no worker of a new revision starts, the old workers keep their tasks. After the launch deadline drained ones "
    "resume and the older service grows. The first start that succeeds continues the deployment",
)
def test_a_new_revision_that_crashes_at_its_start() -> None:
    async def steps(scenario: FaultScenario) -> None:
        await scenario.works(2, work_s=60.0)
        scenario.fake_ecs.roll_out(scenario.topology)
        scenario.topology.rolled_at.clear()  # it cannot consume within one launch
        broken = f"{scenario.topology.family}:{scenario.topology.revision}"
        repair = crash_at_start(scenario, broken)
        numbers = scenario.send([40.0] * 60)
        await scenario.becomes(
            lambda: len(scenario.busy) == FLEET.maximum, FLEET.launch_deadline_s + 60.0, "the old service was to grow"
        )
        await scenario.becomes(lambda: set(numbers) <= scenario.ledger.done, 600.0, "old workers were to do it all")
        repair()
        await scenario.works(2, work_s=20.0)
        await scenario.rests()
        tasks = [scenario.fake_ecs.ecs.task(worker.arn) for worker in scenario.workers()]
        assert all(task is not None and task.task_definition_arn.endswith(broken) for task in tasks)

    run_scenario(steps)
