# SPDX-License-Identifier: Apache-2.0
"""Faults of ECS: its API, its launches, its deployments, and other clients."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from scaler.adapters.ecs import EcsClusterAdapter
from scaler.errors import DeadlineError
from simulation.fake_ecs import CLUSTER
from simulation.fault_injection import FaultRates
from tests.support.fault_scenario import CONFIG, FLEET, FaultScenario, run_scenario
from tests.support.model_client import ModelClient

ONE = replace(CONFIG, generations=1)


@pytest.mark.fault(
    "API throttled",
    "A fleet ticks in every second interval while ECS throttles. An incomplete answer lowers nothing",
)
def test_api_throttled() -> None:
    async def steps(scenario: FaultScenario) -> None:
        await scenario.works(3, work_s=150.0)
        scenario.faults.rates["ecs"] = FaultRates(
            fails=1.0, throttled=True, reason="ThrottlingException: Rate exceeded"
        )
        before = scenario.reports.ticks
        await scenario.ticks(24)
        assert scenario.reports.ticks - before <= 14, "it called as often as before"
        assert not scenario.reductions
        scenario.faults.clear("ecs")
        scenario.send([20.0] * 6)
        await scenario.rests()

    run_scenario(steps)


@pytest.mark.parametrize(
    "rates",
    [FaultRates(silent=1.0), FaultRates(late=1.0), FaultRates(answer_lost=1.0)],
    ids=["silent", "done late", "answer lost"],
)
@pytest.mark.fault(
    "API times out",
    "The scaler reads the count again after a timeout, and writes the same absolute count until it shows",
)
def test_api_times_out(rates: FaultRates) -> None:
    async def steps(scenario: FaultScenario) -> None:
        await scenario.works(2, work_s=200.0)
        scenario.faults.rates["ecs"] = rates
        scenario.fake_ecs.excused_until = dict.fromkeys(scenario.topology.services, scenario.loop.time() + 90.0)
        scenario.send([30.0] * 8)
        await scenario.stays(lambda: len(scenario.busy) >= 2 and not scenario.reductions, 60.0, "no worker may go")
        scenario.faults.clear("ecs")
        await scenario.becomes(lambda: scenario.total >= 4, 30.0, "it was to grow once ECS answers")
        await scenario.rests()

    run_scenario(steps)


@pytest.mark.fault(
    "API 5xx", "The tick does what is possible without the answer: drains continue, and no count is lowered"
)
def test_api_5xx() -> None:
    async def steps(scenario: FaultScenario) -> None:
        await scenario.works(4, work_s=40.0)
        scenario.faults.rates["ecs"] = FaultRates(fails=0.5, reason="500 ServerException")
        scenario.send([30.0] * 6)
        await scenario.ticks(40)
        scenario.clean()
        scenario.faults.rates["ecs"] = FaultRates(fails=1.0, reason="503 ServiceUnavailable")
        await scenario.ticks(2)
        written = len(scenario.cluster.writes)
        await scenario.ticks(10)
        assert len(scenario.cluster.writes) == written
        assert scenario.decision.kind == "blind"
        await scenario.rests()

    run_scenario(steps)


def half(names: Sequence[str]) -> Sequence[str]:
    return names[::2]


@pytest.mark.parametrize("operation", ["describe_services", "describe_tasks", "get_task_protection"])
@pytest.mark.fault(
    "partial failures in a 200",
    "A name in `failures` is an error although the answer is HTTP 200: the service or task is unknown, so no count "
    "is lowered",
)
def test_partial_failures_in_a_200(operation: str) -> None:
    async def steps(scenario: FaultScenario) -> None:
        client = ModelClient(scenario.fake_ecs)
        scenario.cluster = EcsClusterAdapter(client, CLUSTER)  # type: ignore[assignment]
        scenario.start_scaler()
        await scenario.works(4, work_s=25.0)
        client.failing[operation] = half
        await scenario.becomes(lambda: not scenario.busy, 60.0, "the work was to end")
        await scenario.stays(lambda: scenario.total >= 4, 90.0, f"half of {operation} failed, and the fleet shrank")
        assert any("failure in the answer" in str(error) for error in scenario.reports.last["default"].errors)
        client.failing.clear()
        await scenario.rests()

    run_scenario(steps, begin=False)


@pytest.mark.fault(
    "UpdateService accepted but not applied",
    "The next tick reads the count. If it did not change, the scaler writes it again and counts the attempts",
)
def test_update_service_accepted_but_not_applied() -> None:
    async def steps(scenario: FaultScenario) -> None:
        await scenario.ticks(3)
        scenario.fake_ecs.ecs.faults.ignore_updates(scenario.service, 3)
        scenario.send([60.0] * 8)
        await scenario.becomes(lambda: "2 attempts" in scenario.why, 30.0, "the attempts were to be counted")
        await scenario.becomes(lambda: scenario.total == 4, 30.0, "it was to be written until it shows")
        await scenario.rests()

    run_scenario(steps)


@pytest.mark.fault(
    "tasks stuck PENDING",
    "A task that does not start is expected capacity until the launch deadline. After that it does not count, "
    "is replaced within the maximum, and does not block a scale-in",
)
def test_tasks_stuck_pending() -> None:
    async def steps(scenario: FaultScenario) -> None:
        await scenario.works(2, work_s=200.0)
        scenario.fake_ecs.ecs.faults.hold_launches(scenario.topology.family)
        numbers = scenario.send([20.0] * 4)
        await scenario.becomes(lambda: scenario.total == 4, 15.0, "two more workers are needed")
        await scenario.ticks(int(FLEET.launch_deadline_s / FLEET.interval_s) + 4)
        assert "not consuming after 120 s" in scenario.why
        await scenario.becomes(
            lambda: set(numbers) <= scenario.ledger.done, 300.0, "the two that run were to do it all"
        )
        await scenario.becomes(lambda: scenario.total == 1, 300.0, "tasks that never start were to block no scale-in")
        scenario.fake_ecs.ecs.faults.hold_launches(scenario.topology.family, held=False)
        scenario.fake_ecs.advance()
        await scenario.rests()

    run_scenario(steps)


async def nothing_can_be_placed(scenario: FaultScenario, reason: str) -> None:
    await scenario.works(2, work_s=100.0)
    scenario.fake_ecs.ecs.faults.refuse_launches(scenario.service, reason)
    scenario.send([20.0] * 8)
    await scenario.becomes(lambda: scenario.total == 6, 20.0, "desired must reach what is needed")
    written = len(scenario.cluster.writes)
    await scenario.ticks(20)
    assert len(scenario.cluster.writes) == written, "it wrote repeatedly, or more than is needed"
    assert len(scenario.workers()) == 2
    await scenario.becomes(lambda: scenario.total == 1, 600.0, "tasks that do not exist were to block no scale-in")
    scenario.fake_ecs.ecs.faults.refuse_launches(scenario.service, None)
    await scenario.rests()


@pytest.mark.fault(
    "launches failing: quota",
    "The count stays at the need and does not grow further. After the launch deadline missing tasks do not "
    "block a scale-in",
)
def test_launches_failing_quota() -> None:
    run_scenario(lambda scenario: nothing_can_be_placed(scenario, "You've reached the limit on the number of vCPUs"))


@pytest.mark.fault(
    "launches failing: capacity",
    "The count stays at the need and does not grow further. After the launch deadline missing tasks do not "
    "block a scale-in",
)
def test_launches_failing_capacity() -> None:
    run_scenario(lambda scenario: nothing_can_be_placed(scenario, "Capacity is unavailable at this time"))


@pytest.mark.fault(
    "launches failing: image",
    "ECS tries again at growing intervals. Running workers continue, and tasks that never ran do not block a scale-in",
)
def test_launches_failing_image() -> None:
    async def steps(scenario: FaultScenario) -> None:
        await scenario.works(2, work_s=150.0)
        scenario.fake_ecs.ecs.faults.fail_launches(scenario.topology.family, 1000)
        scenario.send([20.0] * 8)
        await scenario.becomes(lambda: scenario.total == 6, 20.0, "desired must reach what is needed")
        await scenario.stays(lambda: scenario.total <= 6 and len(scenario.workers()) == 2, 100.0, "no more than that")
        await scenario.becomes(lambda: scenario.total == 1, 900.0, "launches that fail were to block no scale-in")
        scenario.fake_ecs.ecs.faults.fail_launches(scenario.topology.family, 0)
        await scenario.rests()

    run_scenario(steps)


@pytest.mark.parametrize("hand", [0, 1, 6], ids=["to zero", "below what works", "above what is needed"])
@pytest.mark.fault(
    "someone else writes desiredCount",
    "The next tick shows the drift. Protected workers survive it, a count too low is raised at once, and a "
    "count too high ends with the ordinary drain",
)
def test_someone_else_writes_desired_count(hand: int) -> None:
    async def steps(scenario: FaultScenario) -> None:
        await scenario.works(4, work_s=120.0)
        await scenario.ticks(2)
        scenario.fake_ecs.write_by_hand(scenario.service, hand, repair_s=12.0)
        await scenario.ticks(1)
        assert scenario.decision.desired_count_drift == hand
        assert f"Desired count drift: {hand}" in scenario.why
        if hand < 4:
            await scenario.becomes(lambda: scenario.total >= 4, 10.0, "a count too low was to be raised")
        assert len(scenario.busy) == 4
        await scenario.rests()

    run_scenario(steps)


@pytest.mark.fault(
    "service deleted",
    "A service that is MISSING or INACTIVE does not exist: it is not written, and the fleet's other service continues "
    "and grows",
)
def test_idle_service_deleted() -> None:
    async def steps(scenario: FaultScenario) -> None:
        await scenario.works(2, work_s=120.0)
        gone = scenario.topology.services[1]
        scenario.fake_ecs.deleted.add(gone)
        scenario.fake_ecs.ecs.services.delete(gone, cluster=CLUSTER, force=True)
        scenario.fake_ecs.advance()
        scenario.send([30.0] * 6)
        await scenario.becomes(lambda: scenario.desired()[scenario.service] >= 4, 20.0, "the other was to grow")
        await scenario.becomes(lambda: gone not in scenario.decision.services, 60.0, "it was to be left out")
        assert not scenario.reports.failures
        await scenario.becomes(lambda: scenario.ledger.sent == scenario.ledger.done, 400.0, "all was to be done")
        scenario.clean()

    run_scenario(steps)


@pytest.mark.parametrize("gone", [0, 1], ids=["the first", "the second"])
@pytest.mark.fault(
    "service deleted", "A scaler that starts while one of two services is missing grows the other at once"
)
def test_a_scaler_starts_while_a_service_is_missing(gone: int) -> None:
    async def steps(scenario: FaultScenario) -> None:
        name, other = scenario.topology.services[gone], scenario.topology.services[1 - gone]
        scenario.fake_ecs.deleted.add(name)
        scenario.fake_ecs.ecs.services.delete(name, cluster=CLUSTER, force=True)
        scenario.fake_ecs.advance()
        scenario.send([30.0] * 200)
        scenario.start_scaler()
        await scenario.becomes(lambda: scenario.desired()[other] == FLEET.maximum, 60.0, "the other was to grow")
        await scenario.becomes(lambda: scenario.ledger.sent == scenario.ledger.done, 900.0, "all was to be done")
        await scenario.becomes(lambda: scenario.total == 1, FLEET.scale_in_window_s + 180.0, "it was to shrink")
        scenario.clean()

    run_scenario(steps, begin=False)


@pytest.mark.fault(
    "service deleted", "If ECS reports a working service as MISSING for a minute, its workers keep their tasks"
)
def test_a_working_service_is_reported_missing_for_a_minute() -> None:
    def hide(answer: dict[str, Any]) -> None:
        hidden, answer["services"] = answer["services"][:1], answer["services"][1:]
        answer["failures"] += [{"arn": f"service/{service['serviceName']}", "reason": "MISSING"} for service in hidden]

    async def steps(scenario: FaultScenario) -> None:
        client = ModelClient(scenario.fake_ecs)
        scenario.cluster = EcsClusterAdapter(client, CLUSTER)  # type: ignore[assignment]
        scenario.start_scaler()
        await scenario.works(4, work_s=120.0)
        client.bend["describe_services"] = hide
        await scenario.stays(lambda: len(scenario.busy) >= 4 <= scenario.total, 60.0, "no worker may go")
        client.bend.clear()
        await scenario.rests()

    run_scenario(steps, begin=False)


@pytest.mark.fault(
    "service deleted",
    "ECS ends its workers, protected or not. After the service is created again, the scaler scales it",
)
def test_working_service_deleted_and_created_again() -> None:
    async def steps(scenario: FaultScenario) -> None:
        await scenario.works(2, work_s=100.0)
        scenario.fake_ecs.deleted.add(scenario.service)
        scenario.fake_ecs.ecs.services.delete(scenario.service, cluster=CLUSTER, force=True)
        scenario.fake_ecs.advance()
        await scenario.becomes(lambda: not scenario.workers(), 60.0, "ECS was to end them")
        await scenario.ticks(3)
        assert scenario.decision.kind == "blind"
        scenario.fake_ecs.ecs.services.create(
            scenario.service, cluster=CLUSTER, task_definition=scenario.topology.family, minimum_healthy_percent=0
        )
        scenario.fake_ecs.deleted.clear()
        scenario.fake_ecs.advance()
        numbers = scenario.send([20.0] * 4)
        await scenario.becomes(lambda: set(numbers) <= scenario.ledger.done, 200.0, "the new one was to work")
        assert not scenario.ledger.lost - scenario.ledger.explained

    run_scenario(steps, config=ONE)


@pytest.mark.parametrize("generations", [1, 2], ids=["one rolling service", "two generations"])
@pytest.mark.fault(
    "deployment in progress",
    "The new revision consumes within one launch, also while old tasks run long. Each old worker finishes and "
    "is released by the ordinary drain",
)
def test_deployment_in_progress(generations: int) -> None:
    async def steps(scenario: FaultScenario) -> None:
        await scenario.works(4, work_s=400.0)
        scenario.fake_ecs.roll_out(scenario.topology)
        old = {worker.arn for worker in scenario.busy}
        scenario.send([30.0] * 4)
        newest = f"{scenario.topology.family}:{scenario.topology.revision}"

        def consumes() -> bool:
            found = [scenario.fake_ecs.ecs.task(worker.arn) for worker in scenario.busy]
            return any(task is not None and task.task_definition_arn.endswith(newest) for task in found)

        await scenario.becomes(consumes, 10.0 + 4.0 + 4 * 5.0, "the new revision was to consume within one launch")
        assert old <= {worker.arn for worker in scenario.busy}, "an old worker was taken from its task"
        assert scenario.total <= 4 + FLEET.maximum
        await scenario.rests()
        assert not old & {worker.arn for worker in scenario.workers()}

    run_scenario(steps, generations=generations)


@pytest.mark.fault(
    "five unfinished deployments",
    "ECS refuses the sixth. The scaler releases no worker for it, and the next deployment is accepted after "
    "the old workers are done",
)
def test_five_unfinished_deployments() -> None:
    async def steps(scenario: FaultScenario) -> None:
        for _ in range(4):
            scenario.send([900.0] * 2)
            await scenario.ticks(8)
            assert scenario.fake_ecs.roll_out(scenario.topology) is not None
        scenario.send([900.0] * 2)
        await scenario.ticks(8)
        assert scenario.fake_ecs.roll_out(scenario.topology) is None, "the model was to refuse the sixth"
        assert len(scenario.busy) >= 4, "a worker was taken from its task"
        scenario.send([20.0] * 2)
        await scenario.becomes(lambda: scenario.ledger.sent == scenario.ledger.done, 1500.0, "all was to be done")
        await scenario.ticks(10)
        assert scenario.fake_ecs.roll_out(scenario.topology) is not None
        await scenario.rests()

    run_scenario(steps, config=ONE)


@pytest.mark.parametrize("deadline_s", [pytest.param(2.0, id="before the deadline"), pytest.param(0.5, id="after it")])
@pytest.mark.parametrize(
    "read",
    [
        pytest.param(lambda ecs, scenario: ecs.service(scenario.service), id="service"),
        pytest.param(lambda ecs, scenario: ecs.tasks(scenario.service), id="tasks"),
        pytest.param(lambda ecs, scenario: ecs.protected([scenario.workers()[0].arn]), id="protection"),
    ],
)
def test_an_answer_after_the_deadline_is_rejected(
    read: Callable[[EcsClusterAdapter, FaultScenario], Awaitable[object]], deadline_s: float
) -> None:
    async def steps(scenario: FaultScenario) -> None:
        await scenario.becomes(lambda: bool(scenario.workers()), 60.0, "a worker was to start")
        # The call itself is fast, but it is sent only after 0.6 s.
        ecs = EcsClusterAdapter(ModelClient(scenario.fake_ecs), CLUSTER, deadline_s=deadline_s, window_s=0.6)
        if deadline_s < 0.6:
            with pytest.raises(DeadlineError):
                await read(ecs, scenario)
        else:
            assert await read(ecs, scenario)

    run_scenario(steps)
