# SPDX-License-Identifier: Apache-2.0
"""Which tasks go when desiredCount falls, and which never do."""

import random

import pytest

from local_ecs.model import EcsSettings, newest_first, oldest_first, shuffled, spread_then_oldest
from tests.unit.local_ecs.model.world import World


def test_desired_count_is_launched() -> None:
    world = World()
    world.service(3)
    assert world.counts == (3, 0)
    assert "has started 3 tasks" in world.messages[-1]
    assert world.messages[0].endswith("has reached a steady state.")


def test_a_verb_answers_before_the_scheduler_reacts() -> None:
    world = World()
    world.service(1)
    world.ecs.services.update("w", cluster="c", desired_count=3)
    assert world.counts == (1, 0)
    assert world.ecs.next_due() == world.ecs.now


def test_scale_in_takes_the_oldest_when_told_so() -> None:
    world = World(picker=oldest_first)
    world.service(1)
    first = world.live[0]
    world.settle(10)
    world.update(desired_count=2)
    world.update(desired_count=1)
    assert first not in world.live


def test_scale_in_takes_the_newest_when_told_so() -> None:
    world = World(picker=newest_first)
    world.service(1)
    first = world.live[0]
    world.settle(10)
    world.update(desired_count=2)
    world.update(desired_count=1)
    assert [t.arn for t in world.live] == [first.arn]


def test_scale_in_keeps_zones_balanced_by_default() -> None:
    world = World(picker=spread_then_oldest)
    world.service(6)
    world.update(desired_count=2)
    assert len({t.availability_zone for t in world.live}) == 2


def test_tasks_that_do_not_run_yet_go_first() -> None:
    world = World()
    world.service(2)
    running = {t.arn for t in world.live}
    world.runs = False
    world.settle(10)
    world.update(desired_count=4)
    assert world.counts == (2, 2)
    world.update(desired_count=2)
    assert {t.arn for t in world.live} == running


@pytest.mark.parametrize("seed", range(5))
def test_a_protected_task_is_never_taken(seed: int) -> None:
    world = World(picker=shuffled(random.Random(seed)))
    world.service(5)
    keep = world.live[seed]
    assert world.protect(keep) == []
    world.update(desired_count=1)
    assert [t.arn for t in world.live] == [keep.arn]


def test_more_protected_than_desired_run_on_until_one_is_released() -> None:
    world = World()
    world.service(4)
    tasks = world.live
    world.protect(*tasks[:3])
    world.update(desired_count=1)
    assert world.counts == (3, 0), "the unprotected one goes, the protected ones run on"
    world.protect(tasks[0], enabled=False)
    assert tasks[0].arn not in {t.arn for t in world.live}
    assert world.counts == (2, 0)


def test_a_released_task_stays_when_the_count_wants_it() -> None:
    world = World()
    world.service(2)
    world.protect(*world.live)
    world.protect(*world.live, enabled=False)
    assert world.counts == (2, 0)


def test_a_task_that_was_not_launched_is_stopped_without_the_world() -> None:
    world = World(settings=EcsSettings(provisioning_s=30))
    world.service(2)
    assert world.counts == (0, 2)
    world.update(desired_count=0)
    assert world.counts == (0, 0)
    assert world.stops == []


def test_stopping_tasks_are_not_counted() -> None:
    world = World(lazy_stops=True)
    world.service(2)
    world.update(desired_count=0)
    assert world.counts == (0, 0)
    assert len(world.stops) == 2
    assert world.stops[0].task.stop_code == "ServiceSchedulerInitiated"
    assert "Scaling activity initiated by" in world.stops[0].reason


def test_a_task_that_ends_by_itself_is_replaced() -> None:
    world = World()
    world.service(1)
    gone = world.live[0]
    world.ecs.task_stopped(gone.arn, "EssentialContainerExited", "Essential container in task exited")
    world.settle()
    assert world.counts == (1, 0)
    stopped = world.ecs.task(gone.arn)
    assert stopped is not None
    assert (stopped.stop_code, stopped.status) == ("EssentialContainerExited", "STOPPED")


def test_an_unhealthy_task_is_replaced_though_protected() -> None:
    world = World()
    world.service(1)
    sick = world.live[0]
    world.protect(sick)
    world.ecs.task_health(sick.arn, "UNHEALTHY")
    world.settle()
    assert sick.arn not in {t.arn for t in world.live}
    assert world.counts == (1, 0)


def test_latency_passes_through_provisioning_and_pending() -> None:
    world = World(settings=EcsSettings(provisioning_s=10, pending_s=20))
    world.service(1)
    seen = [world.live[0].status]
    for seconds in (10, 20):
        world.settle(seconds)
        seen.append(world.live[0].status)
    assert seen == ["PROVISIONING", "PENDING", "RUNNING"]
    assert world.live[0].started_at == 30


def test_stopped_tasks_are_forgotten_after_their_hour() -> None:
    world = World()
    world.service(1)
    task = world.live[0]
    world.update(desired_count=0)
    assert world.ecs.task(task.arn) is not None
    world.settle(3600)
    assert world.ecs.task(task.arn) is None


def test_a_service_that_may_place_no_task_says_so_and_fills_up_later() -> None:
    world = World()
    world.service(1)
    world.ecs.faults.refuse_launches("w", "You've reached the limit on the number of vCPUs you can run concurrently")
    world.update(desired_count=3)
    assert world.counts == (1, 0)
    assert "was unable to place a task. Reason: You've reached the limit" in world.messages[0]
    world.ecs.faults.refuse_launches("w", None)
    world.settle(1)
    assert world.counts == (3, 0)
