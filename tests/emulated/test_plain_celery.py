# SPDX-License-Identifier: Apache-2.0
"""Plain Celery on SQS as ECS services, scaled by the real scaler: what happens when things go right, and wrong.

Judged by the journal that the tasks write and by what ECS did; never by what Celery or the scaler believe.
"""

import pytest

from tests.support.celery_fleet import CeleryFleet, StartWorld, assert_nothing_was_hurt
from tests.support.local_fleet import CLUSTER, A
from tests.support.localstack import on_localstack_too

pytestmark = [pytest.mark.emulated, pytest.mark.filterwarnings("default::DeprecationWarning")]


@on_localstack_too(pytest.mark.slow)
def test_a_burst_grows_the_fleet_and_every_scale_in_is_a_drain(start: StartWorld) -> None:
    world = start()
    with world.scaler_frozen():  # else it may look when half of them are sent
        tasks = world.burst(60, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
    world.until_fleet_is(4)
    world.until_finished(tasks)
    world.until_fleet_is(1)

    assert_nothing_was_hurt(world)
    audit = world.audit()
    assert audit.scale_outs == [(1, 4)], "60 tasks on 3 slots need the maximum at once"
    assert audit.most_running == 4
    drained = {arn for decision in world.decisions() for arn in decision["drain"]}
    released = {arn for scale_in in audit.scale_ins for arn in scale_in.released}
    assert audit.stopped_by_ecs == released
    assert released <= drained, "a worker was released without a drain"
    assert len(released) == 3


@on_localstack_too(pytest.mark.slow)
@pytest.mark.fault(
    "scaler SIGKILLed at every step of a drain",
    "The next scaler reads the drain from ECS and the agents, and continues it.",
)
def test_a_scaler_killed_between_any_two_steps_of_a_drain_loses_nothing(start: StartWorld) -> None:
    world = start()
    held = world.hold(12)
    world.until_started(held)
    by_worker = world.under_way()
    assert [len(tasks) for tasks in by_worker.values()] == [3, 3, 3, 3]
    rest = {worker: tasks[0] for worker, tasks in by_worker.items()}
    world.let_go(set(held) - set(rest.values()))  # four slots are wanted now, two workers are too many

    victims = world.until("two workers drain", lambda: _in(world, "draining", 2))
    assert world.desired() == 4
    world.kill_scaler()
    adopted = "the next scaler goes on with their drain"
    world.until(adopted, lambda: _lives(world) == 2 and set(world.decisions()[-1]["drain"]) == victims)

    addresses = world.addresses()
    with world.throttled("UpdateService"):
        world.let_go(rest[addresses[arn]] for arn in victims)
        world.until("both are let go", lambda: _in(world, "released", 2) == victims)
        world.until("the lower count is refused", lambda: world.journal("Throttled"))
        assert world.desired() == 4
        world.kill_scaler()  # between release and write
    world.until("a third scaler decides", lambda: _lives(world) == 3)

    world.let_go(held)
    world.until_finished(held)
    world.until_fleet_is(1)
    assert_nothing_was_hurt(world)


@on_localstack_too(pytest.mark.slow)
@pytest.mark.fault(
    "someone else writes desiredCount",
    "ECS stops no worker, because all are protected; the scaler raises the count to the protected workers.",
)
def test_a_count_lowered_by_another_client_stops_no_worker_and_is_raised_again(start: StartWorld) -> None:
    world = start()
    held = world.hold(6)
    world.until_started(held)
    with world.scaler_frozen():
        world.client.update_service(cluster=CLUSTER, service=A, desiredCount=1)
        world.until_ecs_acted()
        assert world.service()["runningCount"] == 2
        assert len(world.protected()) == 2
    world.until("the scaler raises it", lambda: world.desired() == 2)
    protects = [(line["desired_before"], line["desired"]) for line in world.decisions() if line["kind"] == "protect"]
    assert protects == [(1, 2)], "the scaler raised the count, but not because two workers are protected"
    assert world.audit().stopped_by_ecs == set()

    world.let_go(held)
    world.until_finished(held)
    world.until_fleet_is(1)
    assert_nothing_was_hurt(world)


@on_localstack_too(pytest.mark.slow)
@pytest.mark.fault(
    "protection refused",
    "The worker takes no message until the scaler has raised the count for it.",
)
def test_a_worker_that_ecs_refuses_to_protect_takes_nothing_until_the_scaler_makes_room(start: StartWorld) -> None:
    world = start()
    held = world.hold(3)
    world.until_started(held)
    (old,) = world.addresses()
    revision = world.register_worker()
    with world.scaler_frozen():  # the count is not raised for the deployment's new worker
        world.client.update_service(cluster=CLUSTER, service=A, taskDefinition=revision)
        more = world.burst(3, 0.1)
        (new,) = world.until("ECS refuses a worker twice", lambda: _refused(world, 2))
        assert new != old
        state = world.states()[new]
        assert (state["phase"], state["gate"], state["protected_until"]) == ("refused", "closed", None)
        assert "DEPLOYMENT_BLOCKED" in state["protection_refusal"]
        assert world.queue.counts()[0] == 3, "a refused worker took a message"
    world.until_finished(more)
    assert world.addresses()[old] in world.under_way(), "the old worker works on"

    world.let_go(held)
    world.until_finished(held)
    world.until_fleet_is(1)
    assert_nothing_was_hurt(world)
    assert old in world.audit().stopped_by_ecs


@on_localstack_too(pytest.mark.slow)
@pytest.mark.fault(
    "worker SIGKILLed",
    "ECS replaces the worker; its messages come back after the visibility timeout and run again.",
)
def test_the_tasks_of_a_killed_worker_come_back_after_the_visibility_timeout(start: StartWorld) -> None:
    """A killed worker's tasks run again: each was interrupted once, and none is lost or completed twice."""
    world = start(visibility_s=8)
    held = world.hold(3)
    world.until_started(held)
    (victim,) = world.addresses()
    others = world.burst(12, 0.5)
    world.kill(victim)
    world.let_go(held)
    world.until_finished([*held, *others])
    world.until_fleet_is(1)

    found = world.task_journal()
    assert (found.lost, found.duplicated) == ((), ())
    assert set(found.interrupted) == {f"{task}#1" for task in held}
    audit = world.audit()
    assert audit.violations == []
    assert audit.tasks[victim].exit_codes == {"worker": 137}
    assert world.queue.counts() == (0, 0)


def _in(world: CeleryFleet, phase: str, number: int) -> set[str]:
    """The workers in a phase, once there are so many."""
    found = {arn for arn, now in world.phases().items() if now == phase}
    return found if len(found) == number else set()


def _lives(world: CeleryFleet) -> int:
    """How many scalers have decided anything."""
    return len({decision["task"] for decision in world.decisions()})


def _refused(world: CeleryFleet, times: int) -> list[str]:
    """The workers that ECS refused to protect so often."""
    return [task.arn for task in world.audit().tasks.values() if len(task.refusals) >= times]
