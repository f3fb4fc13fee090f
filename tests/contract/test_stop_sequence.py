# SPDX-License-Identifier: Apache-2.0
"""How a task ends: SIGTERM, stopTimeout, SIGKILL."""

import pytest

from tests.contract.world import OBEDIENT, STUBBORN, World

pytestmark = pytest.mark.contract


@pytest.mark.parametrize(
    ("script", "exit_code"),
    [
        (OBEDIENT, 0),
        ("trap 'exit 143' TERM; while true; do sleep 1 & wait $!; done", 143),
        (STUBBORN, 137),
    ],
    ids=["ends well", "ends by the signal", "is killed"],
)
def test_scale_in_sends_sigterm_and_then_sigkill(world: World, script: str, exit_code: int) -> None:
    service = world.service(1, script=script)
    (task,) = world.running(service)
    world.place.until_it_traps(task)
    world.update(service, desiredCount=0)
    stopped = world.until_stopped(task)
    assert stopped["containers"][0]["exitCode"] == exit_code
    assert stopped["stopCode"] == "ServiceSchedulerInitiated"


def test_a_task_may_use_its_whole_stop_timeout(world: World) -> None:
    script = "trap 'sleep 2; exit 9' TERM; while true; do sleep 1 & wait $!; done"
    service = world.service(1, script=script, stop_timeout=20)
    (task,) = world.running(service)
    world.place.until_it_traps(task)
    world.client.stop_task(cluster=world.cluster, task=task)
    assert world.until_stopped(task)["containers"][0]["exitCode"] == 9


def test_a_stopping_task_counts_no_longer(world: World) -> None:
    service = world.service(1, script=STUBBORN, stop_timeout=5)
    (task,) = world.running(service)
    world.place.until_it_traps(task)
    world.update(service, desiredCount=0)
    world.until_running(service, 0)
    assert world.task(task)["desiredStatus"] == "STOPPED"
    assert world.tasks(service) == [], "ListTasks asks for desiredStatus RUNNING by default"
    world.until_stopped(task)
