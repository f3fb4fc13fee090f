# SPDX-License-Identifier: Apache-2.0
"""Rolling deployments: percentages, protected tasks, the limit of five, the circuit breaker."""

import pytest

from local_ecs.model import CircuitBreaker
from tests.unit.local_ecs.model.model_runtime import CLUSTER, ModelRuntime, code_of


def states(runtime: ModelRuntime) -> list[str]:
    return [d.rollout_state for d in runtime.shown.deployments]


def test_the_same_desired_count_starts_no_deployment() -> None:
    runtime = ModelRuntime()
    runtime.service(2)
    before = runtime.shown.primary.id
    runtime.update(desired_count=2)
    runtime.update(desired_count=3, minimum_healthy_percent=50, details={"propagateTags": "SERVICE"})
    assert [d.id for d in runtime.shown.deployments] == [before]


def test_a_changed_template_starts_a_deployment_and_an_equal_one_does_not() -> None:
    runtime = ModelRuntime()
    runtime.service(1, template={"platformVersion": "1.4.0"})
    before = runtime.shown.primary.id
    runtime.update(template={"platformVersion": "1.4.0"})
    assert runtime.shown.primary.id == before
    runtime.update(template={"platformVersion": "LATEST"})
    assert runtime.shown.primary.id != before


def test_a_new_task_definition_replaces_all_tasks() -> None:
    runtime = ModelRuntime()
    runtime.service(3)
    old = {t.arn for t in runtime.live}
    second = runtime.definition(image="2")
    runtime.update(task_definition="worker")
    assert not old & {t.arn for t in runtime.live}
    assert {t.task_definition_arn for t in runtime.live} == {second}
    assert states(runtime) == ["COMPLETED"]
    assert runtime.shown.steady


def test_old_tasks_stay_until_new_ones_run() -> None:
    runtime = ModelRuntime()
    runtime.service(2)
    old = {t.arn for t in runtime.live}
    runtime.runs = False
    runtime.update(force_new_deployment=True)
    assert old <= {t.arn for t in runtime.live}
    assert runtime.counts == (2, 2)
    assert len(runtime.shown.deployments) == 2
    new = [t for t in runtime.live if t.arn not in old]
    runtime.ecs.task_running(new[0].arn)
    runtime.settle()
    assert len(old & {t.arn for t in runtime.live}) == 1


def test_a_minimum_below_100_stops_old_tasks_first() -> None:
    runtime = ModelRuntime(runs=True)
    runtime.service(4, minimum_healthy_percent=50, maximum_percent=100)
    runtime.runs = False
    runtime.update(force_new_deployment=True)
    assert runtime.counts == (2, 2), "two old ones stopped to make room for two new ones"


def test_100_and_100_can_never_deploy() -> None:
    runtime = ModelRuntime()
    runtime.service(2, minimum_healthy_percent=100, maximum_percent=100)
    old = {t.arn for t in runtime.live}
    runtime.update(force_new_deployment=True)
    assert {t.arn for t in runtime.live} == old
    assert states(runtime)[0] == "IN_PROGRESS"


def test_protected_old_tasks_stay_until_released_while_new_ones_start() -> None:
    runtime = ModelRuntime()
    runtime.service(2)
    old = runtime.live
    runtime.protect(*old)
    runtime.update(force_new_deployment=True)
    assert runtime.counts == (4, 0)
    assert states(runtime) == ["IN_PROGRESS", "COMPLETED"]
    runtime.protect(old[0], enabled=False)
    assert runtime.counts == (3, 0)
    runtime.protect(old[1], enabled=False)
    assert runtime.counts == (2, 0)
    assert states(runtime) == ["COMPLETED"]


def test_protected_old_tasks_count_for_the_maximum() -> None:
    runtime = ModelRuntime()
    runtime.service(2, maximum_percent=150)
    runtime.protect(*runtime.live)
    runtime.update(force_new_deployment=True)
    assert runtime.counts == (3, 0)


def test_five_unfinished_deployments_block_the_sixth() -> None:
    runtime = ModelRuntime()
    runtime.service(8)
    for _ in range(4):
        newest = [t for t in runtime.live if t.deployment_id == runtime.shown.primary.id]
        runtime.protect(newest[0])
        runtime.update(force_new_deployment=True)
    assert len(runtime.shown.deployments) == 5
    before = runtime.shown
    refusal = code_of(lambda: runtime.ecs.services.update("w", cluster=CLUSTER, force_new_deployment=True))
    assert refusal == "InvalidParameterException"
    assert runtime.shown == before, "a refused update changes nothing"
    runtime.update(desired_count=9)
    assert runtime.shown.desired_count == 9, "the count may still change"


def test_scaling_in_during_a_deployment_stops_old_tasks_first() -> None:
    runtime = ModelRuntime()
    runtime.service(4)
    runtime.runs = False
    runtime.update(force_new_deployment=True)
    runtime.update(desired_count=1)
    # healthy are only the four old ones: one must stay until the new one runs
    assert runtime.counts == (1, 1)


def test_failing_launches_back_off() -> None:
    runtime = ModelRuntime()
    runtime.ecs.faults.fail_launches("w", 3)
    runtime.service(1)
    assert runtime.counts == (0, 0)
    assert runtime.shown.next_launch_at == 2
    runtime.settle(2)
    assert runtime.shown.next_launch_at == 6
    runtime.settle(4)
    assert runtime.shown.next_launch_at == 14
    assert any("unable to consistently start tasks" in m for m in runtime.messages)
    runtime.settle(8)
    assert runtime.counts == (1, 0)
    assert runtime.shown.failed_launches == 0


def test_a_failed_batch_counts_as_one_failed_launch() -> None:
    runtime = ModelRuntime()
    runtime.ecs.faults.fail_launches("w", 10)
    runtime.service(10)
    assert runtime.shown.next_launch_at == 2


def test_the_back_off_is_limited() -> None:
    runtime = ModelRuntime()
    runtime.ecs.faults.fail_launches("w", 1000)
    runtime.service(1)
    runtime.settle(8000)
    assert 0 < runtime.shown.next_launch_at - runtime.ecs.now <= 900


def test_a_task_that_ran_does_not_back_off() -> None:
    runtime = ModelRuntime()
    runtime.service(1)
    runtime.ecs.task_stopped(runtime.live[0].arn)
    runtime.settle()
    assert runtime.counts == (1, 0)
    assert runtime.shown.next_launch_at == 0


@pytest.mark.parametrize("rollback", [False, True])
def test_the_circuit_breaker(rollback: bool) -> None:
    runtime = ModelRuntime()
    runtime.service(2, circuit_breaker=CircuitBreaker(enable=True, rollback=rollback))
    first = runtime.shown.primary
    runtime.definition(image="broken")
    runtime.ecs.faults.fail_launches("w", 100)
    runtime.update(task_definition="worker")
    runtime.settle(60)
    assert runtime.counts == (2, 0), "the old tasks serve on"
    assert any("deployment failed" in m for m in runtime.messages)
    if rollback:
        assert runtime.shown.primary.id == first.id
        assert runtime.shown.primary.rollout_state == "COMPLETED"
        assert len(runtime.shown.deployments) == 1
    else:
        assert states(runtime) == ["FAILED", "COMPLETED"]
        launches = len(runtime.launches)
        runtime.settle(3600)
        assert len(runtime.launches) == launches, "a failed deployment launches nothing"


def test_without_the_circuit_breaker_the_rollout_never_fails() -> None:
    runtime = ModelRuntime()
    runtime.service(1)
    runtime.ecs.faults.fail_launches("w", 4)
    runtime.update(force_new_deployment=True)
    runtime.settle(120)
    assert states(runtime) == ["COMPLETED"]


def test_a_sidecars_health_check_does_not_delay_a_deployment() -> None:
    runtime = ModelRuntime()
    runtime.definition(healthCheck={"command": ["CMD", "true"]}, essential=False)
    runtime.service(1)
    runtime.update(force_new_deployment=True)
    assert runtime.counts == (1, 0)
    assert states(runtime) == ["COMPLETED"]


def test_each_steady_state_is_an_event() -> None:
    runtime = ModelRuntime()
    runtime.service(1)
    runtime.update(desired_count=2)
    runtime.update(desired_count=2)
    assert sum("steady state" in m for m in runtime.messages) == 2


def test_old_tasks_stay_until_new_ones_are_healthy() -> None:
    runtime = ModelRuntime()
    runtime.definition(healthCheck={"command": ["CMD", "true"]})
    runtime.service(1)
    old = runtime.live[0]
    runtime.ecs.task_health(old.arn, "HEALTHY")
    runtime.settle()
    runtime.update(force_new_deployment=True)
    new = runtime.live[1]
    assert runtime.counts == (2, 0), "running is not yet healthy"
    runtime.ecs.task_health(new.arn, "HEALTHY")
    runtime.settle()
    assert [t.arn for t in runtime.live] == [new.arn]
