# SPDX-License-Identifier: Apache-2.0
"""The numbers, times and texts of failures, rollbacks, deletions and restarts."""

import json
from dataclasses import replace

import pytest

from local_ecs.model import (
    CircuitBreaker,
    EcsFailure,
    EcsModel,
    EcsSettings,
    RolloutState,
)
from local_ecs.model.rollout import breaker_threshold
from local_ecs.model.state import Agenda
from tests.unit.local_ecs.model.model_runtime import CLUSTER, ModelRuntime
from tests.unit.local_ecs.model.test_records import ACCOUNT, model, with_service


@pytest.mark.parametrize("rollback", [False, True])
def test_a_failed_deployment_names_its_reason(*, rollback: bool) -> None:
    runtime = ModelRuntime()
    breaker = CircuitBreaker(enable=True, rollback=rollback)
    runtime.service(1, template={"x": 1}, circuit_breaker=breaker)
    first = runtime.shown.primary
    runtime.settle(5)
    runtime.ecs.faults.fail_launches("w", 3)
    runtime.ecs.services.update("w", cluster=CLUSTER, template={"x": 2})
    failed = runtime.shown.primary
    runtime.lazy_stops = True
    for _ in range(20):
        if runtime.shown.primary.rollout_state is not RolloutState.IN_PROGRESS or runtime.shown.primary.id == first.id:
            break
        runtime.settle(1)
    failed_at = runtime.ecs.now
    found = {deployment.id: deployment for deployment in runtime.shown.deployments}
    assert any(f"(deployment {failed.id}) deployment failed: tasks failed to start." in m for m in runtime.messages)
    assert (runtime.shown.failed_launches, runtime.shown.next_launch_at > failed_at) == (
        (0, False) if rollback else (3, True)
    )
    if rollback:
        assert runtime.shown.primary.id == first.id
        assert runtime.shown.template == {"x": 1}
        assert any(f"rolling back to deployment {first.id}." in m for m in runtime.messages)
        assert list(found) == [first.id]
        assert (runtime.shown.primary.updated_at, runtime.shown.primary.failed_tasks) == (failed_at, 0)
    else:
        reason = "ECS deployment circuit breaker: tasks failed to start."
        assert (found[failed.id].rollout_state, found[failed.id].rollout_state_reason) == (RolloutState.FAILED, reason)
        assert (found[failed.id].failed_tasks, found[failed.id].updated_at) == (3, failed_at)
        assert runtime.shown.template == {"x": 2}


def test_each_failed_task_updates_its_deployment() -> None:
    runtime = ModelRuntime()
    runtime.settle(5)
    runtime.ecs.faults.fail_launches("w", 1)
    runtime.ecs.services.create("w", cluster=CLUSTER, task_definition="worker", desired_count=1)
    runtime.settle(1)
    primary = runtime.shown.primary
    assert (primary.failed_tasks, primary.created_at, primary.updated_at) == (1, 5.0, 5.0)
    assert (runtime.shown.failed_launches, runtime.shown.next_launch_at) == (1, 7.0)
    assert runtime.ecs.next_due() == 7.0
    runtime.settle(1)
    assert runtime.shown.primary.failed_tasks == 0, "a task that runs resets the number"
    assert (runtime.shown.failed_launches, runtime.shown.next_launch_at) == (0, 0.0)


def test_launches_that_fail_wait_2_4_8_seconds_and_the_third_is_an_event() -> None:
    runtime = ModelRuntime(EcsSettings(backoff_max_s=5.0))
    runtime.ecs.faults.fail_launches("w", 100)
    runtime.service(1)
    waits = []
    for _ in range(4):
        waits.append(runtime.shown.next_launch_at - runtime.ecs.now)
        runtime.settle(waits[-1])
    assert waits == [2.0, 4.0, 5.0, 5.0]
    message = "(service w) is unable to consistently start tasks successfully."
    assert runtime.messages.count(message) == 1


@pytest.mark.parametrize(
    ("desired", "threshold"), [(0, 3), (1, 3), (6, 3), (7, 4), (8, 4), (399, 200), (400, 200), (1000, 200)]
)
def test_the_circuit_breaker_counts_half_of_the_tasks_within_3_and_200(desired: int, threshold: int) -> None:
    ecs = model()
    service = replace(with_service(ecs), desired_count=desired)
    assert breaker_threshold(service) == threshold


def test_an_unplaceable_service_has_the_reason_and_starts_when_it_ends() -> None:
    runtime = ModelRuntime()
    runtime.ecs.faults.refuse_launches("w", "RESOURCE:CPU")
    runtime.service(1)
    assert runtime.messages == ["(service w) was unable to place a task. Reason: RESOURCE:CPU."]
    runtime.ecs.faults.refuse_launches("other", None)
    assert runtime.ecs.next_due() is None
    runtime.ecs.faults.refuse_launches("w", None)
    runtime.settle()
    assert runtime.counts == (1, 0)


def test_several_updates_may_be_ignored() -> None:
    runtime = ModelRuntime()
    runtime.service(1)
    runtime.ecs.faults.ignore_updates("w", 2)
    for _ in range(2):
        runtime.update(desired_count=3)
        assert runtime.shown.desired_count == 1
    runtime.update(desired_count=3)
    assert runtime.shown.desired_count == 3


def test_an_unhealthy_task_is_replaced_with_the_reason() -> None:
    runtime = ModelRuntime()
    runtime.service(2)
    bad, good = runtime.live
    runtime.ecs.task_health(bad.arn, "UNHEALTHY")
    runtime.settle()
    stopped = runtime.ecs.task(bad.arn)
    assert stopped is not None
    assert (stopped.stop_code, stopped.stopped_reason) == (
        "ServiceSchedulerInitiated",
        "Task failed container health checks",
    )
    assert good.arn in {task.arn for task in runtime.live}
    assert runtime.counts == (2, 0)


def test_unhealthy_tasks_fail_a_rollout_with_the_circuit_breaker() -> None:
    runtime = ModelRuntime()
    runtime.service(1, circuit_breaker=CircuitBreaker(enable=True))
    runtime.definition(healthCheck={"command": ["CMD", "true"]})
    runtime.runs = False
    runtime.update(task_definition="worker")
    for number in range(3):
        assert runtime.shown.primary.failed_tasks == number
        newest = [task for task in runtime.live if task.deployment_id == runtime.shown.primary.id]
        runtime.ecs.task_health(newest[0].arn, "UNHEALTHY")
        runtime.settle()
    assert runtime.shown.primary.rollout_state is RolloutState.FAILED


def test_a_deleted_service_stops_its_tasks_with_the_reason() -> None:
    runtime = ModelRuntime(lazy_stops=True)
    runtime.service(1)
    (task,) = runtime.live
    deleted = runtime.ecs.services.delete("w", cluster=CLUSTER, force=True)
    assert (deleted.status, deleted.desired_count) == ("DRAINING", 0)
    with pytest.raises(Exception, match="still Draining"):
        runtime.ecs.services.create("w", cluster=CLUSTER, task_definition="worker")
    runtime.settle()
    stopping = runtime.ecs.task(task.arn)
    assert stopping is not None
    assert (stopping.stop_code, stopping.stopped_reason) == ("ServiceSchedulerInitiated", "Service is being deleted")


def test_services_are_described_by_name_and_arn() -> None:
    ecs = model()
    service = with_service(ecs)
    found, failures = ecs.services.describe([service.arn, "x/nothing"], cluster=CLUSTER)
    assert (found, failures) == ([service], [EcsFailure(f"{ACCOUNT}service/c/nothing", "MISSING")])
    assert len(ecs.services.describe([str(number) for number in range(10)], cluster=CLUSTER)[1]) == 10
    for names in ([], [str(number) for number in range(11)]):
        with pytest.raises(Exception, match="between 1 and 10"):
            ecs.services.describe(names, cluster=CLUSTER)
    with pytest.raises(Exception, match="not idempotent"):
        with_service(ecs)
    with pytest.raises(Exception, match="cannot be negative"):
        ecs.services.update("w", cluster=CLUSTER, desired_count=-1)


def test_the_tasks_of_one_deployment_are_counted() -> None:
    runtime = ModelRuntime(runs=False)
    runtime.service(2)
    first = runtime.shown.primary
    runtime.ecs.task_running(runtime.live[0].arn)
    runtime.update(force_new_deployment=True)
    second = runtime.shown.primary
    for deployment, expected in ((first, (1, 0)), (second, (0, 2))):
        counts = runtime.ecs.services.counts(runtime.shown, deployment.id)
        assert (counts.running, counts.pending) == expected


def test_a_restored_service_has_every_field_but_its_tasks() -> None:
    runtime = ModelRuntime()
    breaker = CircuitBreaker(enable=True, rollback=True)
    runtime.service(1, circuit_breaker=breaker, details={"y": 1})
    runtime.update(force_new_deployment=True)
    before = runtime.shown
    restored = ModelRuntime()
    restored.ecs = EcsModel(now=50.0)
    snapshot = json.loads(json.dumps(runtime.ecs.snapshot()))
    assert snapshot["version"] == 1
    restored.ecs.restore(snapshot)
    assert restored.shown == replace(before, steady=False)
    assert restored.ecs.next_due() == 50.0
    assert restored.ecs.clusters.get(CLUSTER) == runtime.ecs.clusters.get(CLUSTER)
    assert restored.ecs.task_definitions.get("worker") == runtime.ecs.task_definitions.get("worker")


def test_a_service_that_was_draining_is_restored_as_deleted() -> None:
    runtime = ModelRuntime()
    runtime.service(1)
    runtime.ecs.services.delete("w", cluster=CLUSTER, force=True)
    restored = ModelRuntime()
    restored.ecs = EcsModel()
    restored.ecs.restore(json.loads(json.dumps(runtime.ecs.snapshot())))
    assert restored.shown.status == "INACTIVE"
    assert restored.ecs.next_due() is None


def test_only_the_earliest_time_of_a_task_or_service_is_due() -> None:
    agenda = Agenda()
    for at in (5.0, 3.0, 4.0, 3.0):
        agenda.schedule(("task", "a"), at)
    agenda.schedule(("task", "b"), 3.0)
    assert agenda.next_at() == 3.0
    assert agenda.pop(2.9) is None
    assert [agenda.pop(3.0), agenda.pop(3.0), agenda.pop(9.0)] == [(3.0, ("task", "a")), (3.0, ("task", "b")), None]
    assert agenda.next_at() is None
    agenda.schedule(("task", "a"), 8.0)
    assert agenda.pop(8.0) == (8.0, ("task", "a"))
