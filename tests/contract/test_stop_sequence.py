# SPDX-License-Identifier: Apache-2.0
"""The stop sequence of a task: SIGTERM, stopTimeout, SIGKILL."""

import pytest

from tests.contract.ecs_under_test import IGNORES_SIGTERM, STOPS_AT_SIGTERM, EcsUnderTest

pytestmark = pytest.mark.contract


@pytest.mark.parametrize(
    ("script", "exit_code"),
    [
        (STOPS_AT_SIGTERM, 0),
        ("trap 'exit 143' TERM; while true; do sleep 1 & wait $!; done", 143),
        (IGNORES_SIGTERM, 137),
    ],
    ids=["ends well", "ends by the signal", "is killed"],
)
def test_scale_in_sends_sigterm_and_then_sigkill(ecs: EcsUnderTest, script: str, exit_code: int) -> None:
    service = ecs.service(1, script=script)
    (task,) = ecs.running(service)
    ecs.platform.until_trap_is_set(task)
    ecs.update(service, desiredCount=0)
    stopped = ecs.until_stopped(task)
    assert stopped["containers"][0]["exitCode"] == exit_code
    assert stopped["stopCode"] == "ServiceSchedulerInitiated"


def test_a_task_may_use_its_whole_stop_timeout(ecs: EcsUnderTest) -> None:
    script = "trap 'sleep 2; exit 9' TERM; while true; do sleep 1 & wait $!; done"
    service = ecs.service(1, script=script, stop_timeout=20)
    (task,) = ecs.running(service)
    ecs.platform.until_trap_is_set(task)
    ecs.client.stop_task(cluster=ecs.cluster, task=task)
    assert ecs.until_stopped(task)["containers"][0]["exitCode"] == 9


def test_a_stopping_task_does_not_count(ecs: EcsUnderTest) -> None:
    service = ecs.service(1, script=IGNORES_SIGTERM, stop_timeout=5)
    (task,) = ecs.running(service)
    ecs.platform.until_trap_is_set(task)
    ecs.update(service, desiredCount=0)
    ecs.until_running(service, 0)
    assert ecs.task(task)["desiredStatus"] == "STOPPED"
    assert ecs.tasks(service) == [], "ListTasks uses desiredStatus RUNNING by default"
    ecs.until_stopped(task)
