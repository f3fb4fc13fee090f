# SPDX-License-Identifier: Apache-2.0
"""UpdateTaskProtection: its refusals and the end of protection."""

import pytest

from local_ecs.model import EcsSettings
from tests.unit.local_ecs.model.model_runtime import CLUSTER, ModelRuntime, code_of


def test_setting_is_refused_beyond_the_desired_count() -> None:
    runtime = ModelRuntime()
    runtime.service(2)
    first, second = runtime.live
    runtime.protect(first)
    runtime.update(desired_count=1)
    runtime.ecs.services.update("w", cluster=CLUSTER, desired_count=2)
    runtime.settle()
    third = next(t for t in runtime.live if t.arn != first.arn)
    runtime.ecs.services.update("w", cluster=CLUSTER, desired_count=1)
    _, failures = runtime.ecs.protection.update([third.arn], enabled=True, cluster=CLUSTER)
    assert [(f.arn, f.reason) for f in failures] == [(third.arn, "DEPLOYMENT_BLOCKED")]
    assert second.arn != third.arn


def test_renewing_is_refused_beyond_the_desired_count() -> None:
    runtime = ModelRuntime()
    runtime.service(2)
    runtime.protect(*runtime.live)
    runtime.update(desired_count=1)
    before = runtime.live[0].protected_until
    assert runtime.protect(runtime.live[0], minutes=60) == ["DEPLOYMENT_BLOCKED"]
    assert runtime.live[0].protected_until == before, "a refused renewal leaves the old expiry"


def test_renewing_at_the_desired_count_extends_the_expiry() -> None:
    runtime = ModelRuntime()
    runtime.service(2)
    runtime.protect(*runtime.live, minutes=10)
    runtime.settle(300)
    assert runtime.protect(runtime.live[0], minutes=10) == []
    assert runtime.live[0].protected_until == 900


def test_clearing_is_never_refused() -> None:
    runtime = ModelRuntime()
    runtime.service(2)
    runtime.protect(*runtime.live)
    runtime.update(desired_count=0)
    assert runtime.protect(runtime.live[0], enabled=False) == []
    assert runtime.counts == (1, 0)


def test_a_call_may_be_refused_in_part() -> None:
    runtime = ModelRuntime()
    runtime.service(2)
    tasks = runtime.live
    runtime.protect(tasks[0])
    runtime.ecs.services.update("w", cluster=CLUSTER, desired_count=1)
    done, failures = runtime.ecs.protection.update(
        [tasks[0].arn, tasks[1].arn, "unknown"], enabled=True, cluster=CLUSTER
    )
    assert [t.arn for t in done] == [tasks[0].arn]
    assert {f.reason for f in failures} == {"DEPLOYMENT_BLOCKED", "MISSING"}


def test_old_deployments_count_for_the_refusal() -> None:
    runtime = ModelRuntime()
    runtime.service(1)
    runtime.protect(runtime.live[0])
    runtime.update(force_new_deployment=True)
    new = runtime.live[1]
    assert runtime.protect(new) == ["DEPLOYMENT_BLOCKED"]
    runtime.update(desired_count=2)
    assert runtime.protect(new) == []


def test_protection_expires_and_the_surplus_is_stopped() -> None:
    runtime = ModelRuntime()
    runtime.service(2)
    runtime.protect(*runtime.live, minutes=1)
    runtime.update(desired_count=0)
    assert runtime.counts == (2, 0)
    runtime.settle(59)
    assert runtime.counts == (2, 0)
    runtime.settle(1)
    assert runtime.counts == (0, 0)


def test_protection_lasts_two_hours_by_default() -> None:
    runtime = ModelRuntime()
    runtime.service(1)
    runtime.protect(runtime.live[0])
    assert runtime.live[0].protected_until == 7200


@pytest.mark.parametrize(
    ("minutes", "code"), [(0, "InvalidParameterException"), (1, ""), (2880, ""), (2881, "InvalidParameterException")]
)
def test_bounds_of_the_expiry(minutes: int, code: str) -> None:
    runtime = ModelRuntime()
    runtime.service(1)
    arn = runtime.live[0].arn
    assert code_of(lambda: runtime.ecs.protection.update([arn], enabled=True, minutes=minutes, cluster=CLUSTER)) == code


def test_a_standalone_task_cannot_be_protected() -> None:
    runtime = ModelRuntime()
    (task,) = runtime.ecs.tasks.run("worker", cluster=CLUSTER)
    runtime.settle()
    assert runtime.protect(task) == ["TASK_NOT_VALID"]
    _, failures = runtime.ecs.protection.get([task.arn], cluster=CLUSTER)
    assert [f.reason for f in failures] == ["TASK_NOT_VALID"]


def test_a_task_that_does_not_run_cannot_be_protected() -> None:
    runtime = ModelRuntime(settings=EcsSettings(provisioning_s=10))
    runtime.service(1)
    assert runtime.protect(runtime.live[0]) == ["TASK_NOT_VALID"]


def test_a_container_may_protect_its_task_before_ecs_shows_it_running() -> None:
    runtime = ModelRuntime(runs=False)
    runtime.service(1)
    assert runtime.counts == (0, 1)
    assert runtime.protect(runtime.live[0]) == []


def test_stopping_a_task_by_hand_ignores_protection() -> None:
    runtime = ModelRuntime()
    runtime.service(1)
    task = runtime.live[0]
    runtime.protect(task)
    stopped = runtime.ecs.tasks.stop(task.arn, cluster=CLUSTER, reason="by hand")
    assert (stopped.stop_code, stopped.stopped_reason) == ("UserInitiated", "by hand")
    runtime.settle()
    assert runtime.counts == (1, 0), "the service replaces it"


def test_a_stop_ends_protection() -> None:
    runtime = ModelRuntime(lazy_stops=True)
    runtime.service(2)
    first, second = runtime.live
    runtime.protect(first, second)
    runtime.ecs.tasks.stop(first.arn, cluster=CLUSTER)
    runtime.settle()
    replacement = next(t for t in runtime.live if t.arn != second.arn)
    assert runtime.protect(replacement) == [], "a stopping task no longer counts as protected"
    assert runtime.protect(first) == ["TASK_NOT_VALID"]


def test_too_many_tasks_in_one_call() -> None:
    runtime = ModelRuntime()
    runtime.service(11)
    arns = [t.arn for t in runtime.live]
    assert (
        code_of(lambda: runtime.ecs.protection.update(arns, enabled=True, cluster=CLUSTER))
        == "InvalidParameterException"
    )
