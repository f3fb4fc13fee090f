# SPDX-License-Identifier: Apache-2.0
"""UpdateTaskProtection: what is refused, and when protection ends."""

import pytest

from local_ecs.model import EcsSettings
from tests.unit.local_ecs.model.world import CLUSTER, World, code_of


def test_setting_is_refused_beyond_the_desired_count() -> None:
    world = World()
    world.service(2)
    first, second = world.live
    world.protect(first)
    world.update(desired_count=1)
    world.ecs.services.update("w", cluster=CLUSTER, desired_count=2)
    world.settle()
    third = next(t for t in world.live if t.arn != first.arn)
    world.ecs.services.update("w", cluster=CLUSTER, desired_count=1)
    _, failures = world.ecs.protection.update([third.arn], enabled=True, cluster=CLUSTER)
    assert [(f.arn, f.reason) for f in failures] == [(third.arn, "DEPLOYMENT_BLOCKED")]
    assert second.arn != third.arn


def test_renewing_is_refused_beyond_the_desired_count() -> None:
    world = World()
    world.service(2)
    world.protect(*world.live)
    world.update(desired_count=1)
    before = world.live[0].protected_until
    assert world.protect(world.live[0], minutes=60) == ["DEPLOYMENT_BLOCKED"]
    assert world.live[0].protected_until == before, "a refused renewal leaves the old expiry"


def test_renewing_at_the_desired_count_is_granted_and_moves_the_expiry() -> None:
    world = World()
    world.service(2)
    world.protect(*world.live, minutes=10)
    world.settle(300)
    assert world.protect(world.live[0], minutes=10) == []
    assert world.live[0].protected_until == 900


def test_clearing_is_never_refused() -> None:
    world = World()
    world.service(2)
    world.protect(*world.live)
    world.update(desired_count=0)
    assert world.protect(world.live[0], enabled=False) == []
    assert world.counts == (1, 0)


def test_a_call_may_be_refused_in_part() -> None:
    world = World()
    world.service(2)
    tasks = world.live
    world.protect(tasks[0])
    world.ecs.services.update("w", cluster=CLUSTER, desired_count=1)
    done, failures = world.ecs.protection.update([tasks[0].arn, tasks[1].arn, "unknown"], enabled=True, cluster=CLUSTER)
    assert [t.arn for t in done] == [tasks[0].arn]
    assert {f.reason for f in failures} == {"DEPLOYMENT_BLOCKED", "MISSING"}


def test_old_deployments_count_for_the_refusal() -> None:
    world = World()
    world.service(1)
    world.protect(world.live[0])
    world.update(force_new_deployment=True)
    new = world.live[1]
    assert world.protect(new) == ["DEPLOYMENT_BLOCKED"]
    world.update(desired_count=2)
    assert world.protect(new) == []


def test_protection_expires_and_the_surplus_is_stopped() -> None:
    world = World()
    world.service(2)
    world.protect(*world.live, minutes=1)
    world.update(desired_count=0)
    assert world.counts == (2, 0)
    world.settle(59)
    assert world.counts == (2, 0)
    world.settle(1)
    assert world.counts == (0, 0)


def test_protection_lasts_two_hours_by_default() -> None:
    world = World()
    world.service(1)
    world.protect(world.live[0])
    assert world.live[0].protected_until == 7200


@pytest.mark.parametrize(
    ("minutes", "code"), [(0, "InvalidParameterException"), (1, ""), (2880, ""), (2881, "InvalidParameterException")]
)
def test_bounds_of_the_expiry(minutes: int, code: str) -> None:
    world = World()
    world.service(1)
    arn = world.live[0].arn
    assert code_of(lambda: world.ecs.protection.update([arn], enabled=True, minutes=minutes, cluster=CLUSTER)) == code


def test_a_standalone_task_cannot_be_protected() -> None:
    world = World()
    (task,) = world.ecs.tasks.run("worker", cluster=CLUSTER)
    world.settle()
    assert world.protect(task) == ["TASK_NOT_VALID"]
    _, failures = world.ecs.protection.get([task.arn], cluster=CLUSTER)
    assert [f.reason for f in failures] == ["TASK_NOT_VALID"]


def test_a_task_that_does_not_run_yet_cannot_be_protected() -> None:
    world = World(settings=EcsSettings(provisioning_s=10))
    world.service(1)
    assert world.protect(world.live[0]) == ["TASK_NOT_VALID"]


def test_a_container_may_protect_its_task_before_ecs_shows_it_running() -> None:
    world = World(runs=False)
    world.service(1)
    assert world.counts == (0, 1)
    assert world.protect(world.live[0]) == []


def test_stopping_a_task_by_hand_ignores_protection() -> None:
    world = World()
    world.service(1)
    task = world.live[0]
    world.protect(task)
    stopped = world.ecs.tasks.stop(task.arn, cluster=CLUSTER, reason="by hand")
    assert (stopped.stop_code, stopped.stopped_reason) == ("UserInitiated", "by hand")
    world.settle()
    assert world.counts == (1, 0), "the service replaces it"


def test_a_stop_ends_protection() -> None:
    world = World(lazy_stops=True)
    world.service(2)
    first, second = world.live
    world.protect(first, second)
    world.ecs.tasks.stop(first.arn, cluster=CLUSTER)
    world.settle()
    replacement = next(t for t in world.live if t.arn != second.arn)
    assert world.protect(replacement) == [], "a stopping task no longer counts as protected"
    assert world.protect(first) == ["TASK_NOT_VALID"]


def test_too_many_tasks_in_one_call() -> None:
    world = World()
    world.service(11)
    arns = [t.arn for t in world.live]
    assert (
        code_of(lambda: world.ecs.protection.update(arns, enabled=True, cluster=CLUSTER)) == "InvalidParameterException"
    )
