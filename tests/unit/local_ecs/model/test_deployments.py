# SPDX-License-Identifier: Apache-2.0
"""Rolling deployments: percentages, protected tasks, the limit of five, the circuit breaker."""

import pytest

from local_ecs.model import CircuitBreaker
from tests.unit.local_ecs.model.world import CLUSTER, World, code_of


def states(world: World) -> list[str]:
    return [d.rollout_state for d in world.shown.deployments]


def test_the_same_desired_count_is_no_deployment() -> None:
    world = World()
    world.service(2)
    before = world.shown.primary.id
    world.update(desired_count=2)
    world.update(desired_count=3, minimum_healthy_percent=50, details={"propagateTags": "SERVICE"})
    assert [d.id for d in world.shown.deployments] == [before]


def test_an_equal_template_is_no_deployment_and_a_changed_one_is() -> None:
    world = World()
    world.service(1, template={"platformVersion": "1.4.0"})
    before = world.shown.primary.id
    world.update(template={"platformVersion": "1.4.0"})
    assert world.shown.primary.id == before
    world.update(template={"platformVersion": "LATEST"})
    assert world.shown.primary.id != before


def test_a_new_task_definition_replaces_all_tasks() -> None:
    world = World()
    world.service(3)
    old = {t.arn for t in world.live}
    second = world.definition(image="2")
    world.update(task_definition="worker")
    assert not old & {t.arn for t in world.live}
    assert {t.task_definition_arn for t in world.live} == {second}
    assert states(world) == ["COMPLETED"]
    assert world.shown.steady


def test_old_tasks_serve_until_new_ones_run() -> None:
    world = World()
    world.service(2)
    old = {t.arn for t in world.live}
    world.runs = False
    world.update(force_new_deployment=True)
    assert old <= {t.arn for t in world.live}
    assert world.counts == (2, 2)
    assert len(world.shown.deployments) == 2
    new = [t for t in world.live if t.arn not in old]
    world.ecs.task_running(new[0].arn)
    world.settle()
    assert len(old & {t.arn for t in world.live}) == 1


def test_a_minimum_below_100_stops_old_tasks_first() -> None:
    world = World(runs=True)
    world.service(4, minimum_healthy_percent=50, maximum_percent=100)
    world.runs = False
    world.update(force_new_deployment=True)
    assert world.counts == (2, 2), "two old ones stopped to make room for two new ones"


def test_100_and_100_can_never_deploy() -> None:
    world = World()
    world.service(2, minimum_healthy_percent=100, maximum_percent=100)
    old = {t.arn for t in world.live}
    world.update(force_new_deployment=True)
    assert {t.arn for t in world.live} == old
    assert states(world)[0] == "IN_PROGRESS"


def test_protected_old_tasks_stay_until_released_while_new_ones_start() -> None:
    world = World()
    world.service(2)
    old = world.live
    world.protect(*old)
    world.update(force_new_deployment=True)
    assert world.counts == (4, 0)
    assert states(world) == ["IN_PROGRESS", "COMPLETED"]
    world.protect(old[0], enabled=False)
    assert world.counts == (3, 0)
    world.protect(old[1], enabled=False)
    assert world.counts == (2, 0)
    assert states(world) == ["COMPLETED"]


def test_protected_old_tasks_count_for_the_maximum() -> None:
    world = World()
    world.service(2, maximum_percent=150)
    world.protect(*world.live)
    world.update(force_new_deployment=True)
    assert world.counts == (3, 0)


def test_five_unfinished_deployments_block_the_sixth() -> None:
    world = World()
    world.service(8)
    for _ in range(4):
        newest = [t for t in world.live if t.deployment_id == world.shown.primary.id]
        world.protect(newest[0])
        world.update(force_new_deployment=True)
    assert len(world.shown.deployments) == 5
    before = world.shown
    refusal = code_of(lambda: world.ecs.services.update("w", cluster=CLUSTER, force_new_deployment=True))
    assert refusal == "InvalidParameterException"
    assert world.shown == before, "a refused update changes nothing"
    world.update(desired_count=9)
    assert world.shown.desired_count == 9, "the count may still change"


def test_scaling_in_during_a_deployment_takes_old_tasks_first() -> None:
    world = World()
    world.service(4)
    world.runs = False
    world.update(force_new_deployment=True)
    world.update(desired_count=1)
    # healthy are only the four old ones: one must stay until the new one runs
    assert world.counts == (1, 1)


def test_failing_launches_back_off() -> None:
    world = World()
    world.ecs.faults.fail_launches("w", 3)
    world.service(1)
    assert world.counts == (0, 0)
    assert world.shown.next_launch_at == 2
    world.settle(2)
    assert world.shown.next_launch_at == 6
    world.settle(4)
    assert world.shown.next_launch_at == 14
    assert any("unable to consistently start tasks" in m for m in world.messages)
    world.settle(8)
    assert world.counts == (1, 0)
    assert world.shown.failed_launches == 0


def test_a_failing_batch_is_one_failed_attempt() -> None:
    world = World()
    world.ecs.faults.fail_launches("w", 10)
    world.service(10)
    assert world.shown.next_launch_at == 2


def test_the_back_off_is_capped() -> None:
    world = World()
    world.ecs.faults.fail_launches("w", 1000)
    world.service(1)
    world.settle(8000)
    assert 0 < world.shown.next_launch_at - world.ecs.now <= 900


def test_a_task_that_ran_does_not_back_off() -> None:
    world = World()
    world.service(1)
    world.ecs.task_stopped(world.live[0].arn)
    world.settle()
    assert world.counts == (1, 0)
    assert world.shown.next_launch_at == 0


@pytest.mark.parametrize("rollback", [False, True])
def test_the_circuit_breaker(rollback: bool) -> None:
    world = World()
    world.service(2, circuit_breaker=CircuitBreaker(enable=True, rollback=rollback))
    first = world.shown.primary
    world.definition(image="broken")
    world.ecs.faults.fail_launches("w", 100)
    world.update(task_definition="worker")
    world.settle(60)
    assert world.counts == (2, 0), "the old tasks serve on"
    assert any("deployment failed" in m for m in world.messages)
    if rollback:
        assert world.shown.primary.id == first.id
        assert world.shown.primary.rollout_state == "COMPLETED"
        assert len(world.shown.deployments) == 1
    else:
        assert states(world) == ["FAILED", "COMPLETED"]
        launches = len(world.launches)
        world.settle(3600)
        assert len(world.launches) == launches, "a failed deployment launches nothing"


def test_without_the_circuit_breaker_the_rollout_goes_on_for_ever() -> None:
    world = World()
    world.service(1)
    world.ecs.faults.fail_launches("w", 4)
    world.update(force_new_deployment=True)
    world.settle(120)
    assert states(world) == ["COMPLETED"]


def test_a_sidecars_health_check_delays_nothing() -> None:
    world = World()
    world.definition(healthCheck={"command": ["CMD", "true"]}, essential=False)
    world.service(1)
    world.update(force_new_deployment=True)
    assert world.counts == (1, 0)
    assert states(world) == ["COMPLETED"]


def test_a_steady_state_is_announced_each_time_it_is_reached() -> None:
    world = World()
    world.service(1)
    world.update(desired_count=2)
    world.update(desired_count=2)
    assert sum("steady state" in m for m in world.messages) == 2


def test_health_checks_delay_the_old_tasks_end() -> None:
    world = World()
    world.definition(healthCheck={"command": ["CMD", "true"]})
    world.service(1)
    old = world.live[0]
    world.ecs.task_health(old.arn, "HEALTHY")
    world.settle()
    world.update(force_new_deployment=True)
    new = world.live[1]
    assert world.counts == (2, 0), "running is not yet healthy"
    world.ecs.task_health(new.arn, "HEALTHY")
    world.settle()
    assert [t.arn for t in world.live] == [new.arn]
