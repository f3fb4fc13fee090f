# SPDX-License-Identifier: Apache-2.0
"""Which tasks stop after a lower desiredCount, and which do not."""

import random

import pytest

from local_ecs.model import EcsSettings, newest_first, oldest_first, shuffled, spread_then_oldest
from tests.unit.local_ecs.model.model_runtime import ModelRuntime


def test_desired_count_is_launched() -> None:
    runtime = ModelRuntime()
    runtime.service(3)
    assert runtime.counts == (3, 0)
    assert "has started 3 tasks" in runtime.messages[-1]
    assert runtime.messages[0].endswith("has reached a steady state.")


def test_an_operation_answers_before_the_scheduler_reacts() -> None:
    runtime = ModelRuntime()
    runtime.service(1)
    runtime.ecs.services.update("w", cluster="c", desired_count=3)
    assert runtime.counts == (1, 0)
    assert runtime.ecs.next_due() == runtime.ecs.now


def test_scale_in_stops_the_oldest_with_that_picker() -> None:
    runtime = ModelRuntime(picker=oldest_first)
    runtime.service(1)
    first = runtime.live[0]
    runtime.settle(10)
    runtime.update(desired_count=2)
    runtime.update(desired_count=1)
    assert first not in runtime.live


def test_scale_in_stops_the_newest_with_that_picker() -> None:
    runtime = ModelRuntime(picker=newest_first)
    runtime.service(1)
    first = runtime.live[0]
    runtime.settle(10)
    runtime.update(desired_count=2)
    runtime.update(desired_count=1)
    assert [t.arn for t in runtime.live] == [first.arn]


def test_scale_in_keeps_zones_balanced_by_default() -> None:
    runtime = ModelRuntime(picker=spread_then_oldest)
    runtime.service(6)
    runtime.update(desired_count=2)
    assert len({t.availability_zone for t in runtime.live}) == 2


def test_starting_tasks_stop_first() -> None:
    runtime = ModelRuntime()
    runtime.service(2)
    running = {t.arn for t in runtime.live}
    runtime.runs = False
    runtime.settle(10)
    runtime.update(desired_count=4)
    assert runtime.counts == (2, 2)
    runtime.update(desired_count=2)
    assert {t.arn for t in runtime.live} == running


@pytest.mark.parametrize("seed", range(5))
def test_a_protected_task_is_never_stopped(seed: int) -> None:
    runtime = ModelRuntime(picker=shuffled(random.Random(seed)))
    runtime.service(5)
    keep = runtime.live[seed]
    assert runtime.protect(keep) == []
    runtime.update(desired_count=1)
    assert [t.arn for t in runtime.live] == [keep.arn]


def test_more_protected_tasks_than_desired_continue_until_one_is_released() -> None:
    runtime = ModelRuntime()
    runtime.service(4)
    tasks = runtime.live
    runtime.protect(*tasks[:3])
    runtime.update(desired_count=1)
    assert runtime.counts == (3, 0), "the unprotected one goes, the protected ones run on"
    runtime.protect(tasks[0], enabled=False)
    assert tasks[0].arn not in {t.arn for t in runtime.live}
    assert runtime.counts == (2, 0)


def test_a_released_task_stays_within_the_desired_count() -> None:
    runtime = ModelRuntime()
    runtime.service(2)
    runtime.protect(*runtime.live)
    runtime.protect(*runtime.live, enabled=False)
    assert runtime.counts == (2, 0)


def test_a_task_that_was_not_launched_stops_at_once() -> None:
    runtime = ModelRuntime(settings=EcsSettings(provisioning_s=30))
    runtime.service(2)
    assert runtime.counts == (0, 2)
    runtime.update(desired_count=0)
    assert runtime.counts == (0, 0)
    assert runtime.stops == []


def test_stopping_tasks_are_not_counted() -> None:
    runtime = ModelRuntime(lazy_stops=True)
    runtime.service(2)
    runtime.update(desired_count=0)
    assert runtime.counts == (0, 0)
    assert len(runtime.stops) == 2
    assert runtime.stops[0].task.stop_code == "ServiceSchedulerInitiated"
    assert "Scaling activity initiated by" in runtime.stops[0].reason


def test_a_task_that_exits_is_replaced() -> None:
    runtime = ModelRuntime()
    runtime.service(1)
    gone = runtime.live[0]
    runtime.ecs.task_stopped(gone.arn, "EssentialContainerExited", "Essential container in task exited")
    runtime.settle()
    assert runtime.counts == (1, 0)
    stopped = runtime.ecs.task(gone.arn)
    assert stopped is not None
    assert (stopped.stop_code, stopped.status) == ("EssentialContainerExited", "STOPPED")


def test_an_unhealthy_task_is_replaced_even_if_protected() -> None:
    runtime = ModelRuntime()
    runtime.service(1)
    sick = runtime.live[0]
    runtime.protect(sick)
    runtime.ecs.task_health(sick.arn, "UNHEALTHY")
    runtime.settle()
    assert sick.arn not in {t.arn for t in runtime.live}
    assert runtime.counts == (1, 0)


def test_a_task_with_latency_is_provisioning_and_pending_first() -> None:
    runtime = ModelRuntime(settings=EcsSettings(provisioning_s=10, pending_s=20))
    runtime.service(1)
    seen = [runtime.live[0].status]
    for seconds in (10, 20):
        runtime.settle(seconds)
        seen.append(runtime.live[0].status)
    assert seen == ["PROVISIONING", "PENDING", "RUNNING"]
    assert runtime.live[0].started_at == 30


def test_stopped_tasks_are_removed_after_an_hour() -> None:
    runtime = ModelRuntime()
    runtime.service(1)
    task = runtime.live[0]
    runtime.update(desired_count=0)
    assert runtime.ecs.task(task.arn) is not None
    runtime.settle(3600)
    assert runtime.ecs.task(task.arn) is None


def test_a_service_that_cannot_place_tasks_has_an_event_and_launches_them_later() -> None:
    runtime = ModelRuntime()
    runtime.service(1)
    runtime.ecs.faults.refuse_launches("w", "You've reached the limit on the number of vCPUs you can run concurrently")
    runtime.update(desired_count=3)
    assert runtime.counts == (1, 0)
    assert "was unable to place a task. Reason: You've reached the limit" in runtime.messages[0]
    runtime.ecs.faults.refuse_launches("w", None)
    runtime.settle(1)
    assert runtime.counts == (3, 0)
