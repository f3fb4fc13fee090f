# SPDX-License-Identifier: Apache-2.0
"""Faults of ECS: its API, its launches, its deployments, and people who use it too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from scaler.adapters.ecs import EcsCluster
from simulation.fake_ecs import CLUSTER
from simulation.fault_injection import FaultRates
from tests.support.fault_scenario import CONFIG, FLEET, FaultScenario, stage
from tests.support.model_client import ModelClient

ONE = replace(CONFIG, generations=1)


@pytest.mark.fault(
    "API throttled", "Ticks become rarer while ECS throttles, up to one a minute; nothing shrinks on half an answer"
)
def test_api_throttled() -> None:
    async def play(scene: FaultScenario) -> None:
        await scene.works(3, work_s=150.0)
        scene.faults.rates["ecs"] = FaultRates(fails=1.0, throttled=True, reason="ThrottlingException: Rate exceeded")
        before = scene.reports.ticks
        await scene.ticks(24)
        assert scene.reports.ticks - before <= 12, "it asked as often as before"
        assert not scene.reductions
        scene.faults.clear("ecs")
        scene.send([20.0] * 6)
        await scene.rests()

    stage(play)


@pytest.mark.parametrize(
    "rates",
    [FaultRates(silent=1.0), FaultRates(late=1.0), FaultRates(unheard=1.0)],
    ids=["silent", "done late", "answer lost"],
)
@pytest.mark.fault(
    "API times out",
    "Whether a write was done is read again, never assumed: the same absolute count is written until it shows",
)
def test_api_times_out(rates: FaultRates) -> None:
    async def play(scene: FaultScenario) -> None:
        await scene.works(2, work_s=200.0)
        scene.faults.rates["ecs"] = rates
        scene.fake_ecs.excused_until = dict.fromkeys(scene.topology.services, scene.loop.time() + 90.0)
        scene.send([30.0] * 8)
        await scene.stays(lambda: len(scene.busy) >= 2 and not scene.reductions, 60.0, "nobody may go")
        scene.faults.clear("ecs")
        await scene.becomes(lambda: scene.total >= 4, 30.0, "it was to grow once ECS answers")
        await scene.rests()

    stage(play)


@pytest.mark.fault(
    "API 5xx", "The tick does what can be done without the answer: drains are kept alive, nothing is lowered"
)
def test_api_5xx() -> None:
    async def play(scene: FaultScenario) -> None:
        await scene.works(4, work_s=40.0)
        scene.faults.rates["ecs"] = FaultRates(fails=0.5, reason="500 ServerException")
        scene.send([30.0] * 6)
        await scene.ticks(40)
        scene.clean()
        scene.faults.rates["ecs"] = FaultRates(fails=1.0, reason="503 ServiceUnavailable")
        await scene.ticks(2)
        written = len(scene.cluster.writes)
        await scene.ticks(10)
        assert len(scene.cluster.writes) == written
        assert scene.decision.kind == "blind"
        await scene.rests()

    stage(play)


def half(asked: Sequence[str]) -> Sequence[str]:
    return asked[::2]


@pytest.mark.parametrize("operation", ["describe_services", "describe_tasks", "get_task_protection"])
@pytest.mark.fault(
    "partial failures in a 200",
    "A name in `failures` is an error although the answer is HTTP 200: what was not answered for is unknown, not "
    "absent, so nothing is lowered",
)
def test_partial_failures_in_a_200(operation: str) -> None:
    async def play(scene: FaultScenario) -> None:
        client = ModelClient(scene.fake_ecs)
        scene.cluster = EcsCluster(client, CLUSTER)  # type: ignore[assignment]
        scene.start_scaler()
        await scene.works(4, work_s=25.0)
        client.failing[operation] = half
        await scene.becomes(lambda: not scene.busy, 60.0, "the work was to end")
        await scene.stays(lambda: scene.total >= 4, 90.0, f"half of {operation} failed, and the fleet shrank")
        assert any("failure in the answer" in str(error) for error in scene.reports.last["default"].errors)
        client.failing.clear()
        await scene.rests()

    stage(play, begin=False)


@pytest.mark.fault(
    "UpdateService accepted but not applied",
    "The count is read in the next tick; one that did not change is written again and the attempts are counted",
)
def test_update_service_accepted_but_not_applied() -> None:
    async def play(scene: FaultScenario) -> None:
        await scene.ticks(3)
        scene.fake_ecs.ecs.faults.ignore_updates(scene.service, 3)
        scene.send([60.0] * 8)
        await scene.becomes(lambda: "2 attempts" in scene.why, 30.0, "the attempts were to be counted")
        await scene.becomes(lambda: scene.total == 4, 30.0, "it was to be written until it shows")
        await scene.rests()

    stage(play)


@pytest.mark.fault(
    "tasks stuck PENDING",
    "A task that does not start is capacity on its way until the launch deadline; then it is counted for nothing, "
    "replaced within the maximum, and blocks no scale-in",
)
def test_tasks_stuck_pending() -> None:
    async def play(scene: FaultScenario) -> None:
        await scene.works(2, work_s=200.0)
        scene.fake_ecs.ecs.faults.hold_launches(scene.topology.family)
        numbers = scene.send([20.0] * 4)
        await scene.becomes(lambda: scene.total == 4, 15.0, "two more were to be asked for")
        await scene.ticks(int(FLEET.launch_deadline_s / FLEET.interval_s) + 4)
        assert "not consuming after 120 s" in scene.why
        await scene.becomes(lambda: set(numbers) <= scene.ledger.done, 300.0, "the two that run were to do it all")
        await scene.becomes(lambda: scene.total == 1, 300.0, "tasks that never start were to block no scale-in")
        scene.fake_ecs.ecs.faults.hold_launches(scene.topology.family, held=False)
        scene.fake_ecs.poke()
        await scene.rests()

    stage(play)


async def nothing_can_be_placed(scene: FaultScenario, reason: str) -> None:
    await scene.works(2, work_s=100.0)
    scene.fake_ecs.ecs.faults.refuse_launches(scene.service, reason)
    scene.send([20.0] * 8)
    await scene.becomes(lambda: scene.total == 6, 20.0, "what is needed was to be asked for")
    written = len(scene.cluster.writes)
    await scene.ticks(20)
    assert len(scene.cluster.writes) == written, "it asked again and again, or for more than is needed"
    assert len(scene.workers()) == 2
    await scene.becomes(lambda: scene.total == 1, 600.0, "tasks that do not exist were to block no scale-in")
    scene.fake_ecs.ecs.faults.refuse_launches(scene.service, None)
    await scene.rests()


@pytest.mark.fault(
    "launches failing: quota",
    "The count stays what is needed, no more is asked for, and after the launch deadline missing tasks block nothing",
)
def test_launches_failing_quota() -> None:
    stage(lambda scene: nothing_can_be_placed(scene, "You've reached the limit on the number of vCPUs"))


@pytest.mark.fault(
    "launches failing: capacity",
    "The count stays what is needed, no more is asked for, and after the launch deadline missing tasks block nothing",
)
def test_launches_failing_capacity() -> None:
    stage(lambda scene: nothing_can_be_placed(scene, "Capacity is unavailable at this time"))


@pytest.mark.fault(
    "launches failing: image",
    "ECS tries again ever more rarely; the workers that run go on, and tasks that never ran block no scale-in",
)
def test_launches_failing_image() -> None:
    async def play(scene: FaultScenario) -> None:
        await scene.works(2, work_s=150.0)
        scene.fake_ecs.ecs.faults.fail_launches(scene.topology.family, 1000)
        scene.send([20.0] * 8)
        await scene.becomes(lambda: scene.total == 6, 20.0, "what is needed was to be asked for")
        await scene.stays(lambda: scene.total <= 6 and len(scene.workers()) == 2, 100.0, "no more than that")
        await scene.becomes(lambda: scene.total == 1, 900.0, "launches that fail were to block no scale-in")
        scene.fake_ecs.ecs.faults.fail_launches(scene.topology.family, 0)
        await scene.rests()

    stage(play)


@pytest.mark.parametrize("hand", [0, 1, 6], ids=["to zero", "below what works", "above what is needed"])
@pytest.mark.fault(
    "someone else writes desiredCount",
    "Noticed in the next tick and said; protected workers survive it, a count too low is raised at once, one too high "
    "goes by the ordinary drain",
)
def test_someone_else_writes_desired_count(hand: int) -> None:
    async def play(scene: FaultScenario) -> None:
        await scene.works(4, work_s=120.0)
        await scene.ticks(2)
        scene.fake_ecs.write_by_hand(scene.service, hand, repair_s=12.0)
        await scene.ticks(1)
        assert scene.decision.desired_count_drift == hand
        assert f"Desired count drift: {hand}" in scene.why
        if hand < 4:
            await scene.becomes(lambda: scene.total >= 4, 10.0, "a count too low was to be raised")
        assert len(scene.busy) == 4
        await scene.rests()

    stage(play)


@pytest.mark.fault(
    "service deleted",
    "An absent service is unknown, not empty: nothing is written to it, the fleet's other service goes on and may grow",
)
def test_idle_service_deleted() -> None:
    async def play(scene: FaultScenario) -> None:
        await scene.works(2, work_s=120.0)
        gone = scene.topology.services[1]
        scene.fake_ecs.deleted.add(gone)
        scene.fake_ecs.ecs.services.delete(gone, cluster=CLUSTER, force=True)
        scene.fake_ecs.poke()
        scene.send([30.0] * 6)
        await scene.becomes(lambda: scene.desired()[scene.service] >= 4, 20.0, "the other was to grow")
        assert scene.decision.services[gone].desired is None
        assert not scene.reports.failures
        await scene.becomes(lambda: scene.ledger.sent == scene.ledger.done, 400.0, "all was to be done")
        scene.clean()

    stage(play)


@pytest.mark.fault("service deleted", "ECS ends its workers, protected or not; when it is created again it is scaled")
def test_working_service_deleted_and_created_again() -> None:
    async def play(scene: FaultScenario) -> None:
        await scene.works(2, work_s=100.0)
        scene.fake_ecs.deleted.add(scene.service)
        scene.fake_ecs.ecs.services.delete(scene.service, cluster=CLUSTER, force=True)
        scene.fake_ecs.poke()
        await scene.becomes(lambda: not scene.workers(), 60.0, "ECS was to end them")
        await scene.ticks(3)
        assert scene.decision.kind == "blind"
        scene.fake_ecs.ecs.services.create(
            scene.service, cluster=CLUSTER, task_definition=scene.topology.family, minimum_healthy_percent=0
        )
        scene.fake_ecs.deleted.clear()
        scene.fake_ecs.poke()
        numbers = scene.send([20.0] * 4)
        await scene.becomes(lambda: set(numbers) <= scene.ledger.done, 200.0, "the new one was to work")
        assert not scene.ledger.lost - scene.ledger.explained

    stage(play, config=ONE)


@pytest.mark.parametrize("generations", [1, 2], ids=["one rolling service", "two generations"])
@pytest.mark.fault(
    "deployment in progress",
    "The new revision consumes within one launch however long old tasks run; each old worker finishes and is let go "
    "by the ordinary drain",
)
def test_deployment_in_progress(generations: int) -> None:
    async def play(scene: FaultScenario) -> None:
        await scene.works(4, work_s=400.0)
        scene.fake_ecs.roll_out(scene.topology)
        old = {worker.arn for worker in scene.busy}
        scene.send([30.0] * 4)
        newest = f"{scene.topology.family}:{scene.topology.revision}"

        def consumes() -> bool:
            found = [scene.fake_ecs.ecs.task(worker.arn) for worker in scene.busy]
            return any(task is not None and task.task_definition_arn.endswith(newest) for task in found)

        await scene.becomes(consumes, 10.0 + 4.0 + 4 * 5.0, "the new revision was to consume within one launch")
        assert old <= {worker.arn for worker in scene.busy}, "an old worker was taken from its task"
        assert scene.total <= 4 + FLEET.maximum
        await scene.rests()
        assert not old & {worker.arn for worker in scene.workers()}

    stage(play, generations=generations)


@pytest.mark.fault(
    "five unfinished deployments",
    "ECS refuses the sixth; the scaler lets no worker go for it, and the next one is taken once old workers are done",
)
def test_five_unfinished_deployments() -> None:
    async def play(scene: FaultScenario) -> None:
        for _ in range(4):
            scene.send([900.0] * 2)
            await scene.ticks(8)
            assert scene.fake_ecs.roll_out(scene.topology) is not None
        scene.send([900.0] * 2)
        await scene.ticks(8)
        assert scene.fake_ecs.roll_out(scene.topology) is None, "the model was to refuse the sixth"
        assert len(scene.busy) >= 4, "a worker was taken from its task"
        scene.send([20.0] * 2)
        await scene.becomes(lambda: scene.ledger.sent == scene.ledger.done, 1500.0, "all was to be done")
        await scene.ticks(10)
        assert scene.fake_ecs.roll_out(scene.topology) is not None
        await scene.rests()

    stage(play, config=ONE)
