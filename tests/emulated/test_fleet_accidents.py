# SPDX-License-Identifier: Apache-2.0
"""Unplanned ends of real workers: plain Celery, late acknowledgement, a short visibility timeout.

One fleet runs all the accidents in sequence; each starts with one idle worker.
"""

from collections.abc import Iterator

import pytest

from tests.support.celery_fleet import CeleryFleet
from tests.support.local_fleet import LocalFleetSettings

pytestmark = [pytest.mark.emulated, pytest.mark.filterwarnings("default::DeprecationWarning")]

VISIBILITY_S = 15


@pytest.fixture(scope="module")
def fleet(emulator: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CeleryFleet]:
    settings = LocalFleetSettings(visibility_s=VISIBILITY_S)
    with CeleryFleet(emulator, tmp_path_factory.mktemp("fleet"), settings) as world:
        yield world


@pytest.fixture
def world(fleet: CeleryFleet) -> Iterator[CeleryFleet]:
    fleet.until_fleet_is(1)
    fleet.until("it consumes", lambda: [*fleet.phases().values()] == ["consuming"])
    yield fleet
    fleet.let_go()  # also after a failure: the next test begins with an idle worker
    fleet.until_fleet_is(1)
    found = fleet.task_journal()
    assert (found.lost, found.duplicated) == ((), ())
    # On a busy machine the worker deletes the last messages some time after their tasks end.
    fleet.until("the queue is empty", lambda: fleet.queue.counts() == (0, 0))


def ended(world: CeleryFleet, arn: str) -> bool:
    return any(entry.detail["task"] == arn for entry in world.journal("TaskStopped"))


def test_a_spot_interruption_takes_nothing_new_and_lets_finish_what_fits_into_the_notice(world: CeleryFleet) -> None:
    interrupted = set(world.task_journal().interrupted)
    held = world.hold(3)
    world.until_started(held)
    (victim,) = world.addresses()
    with world.scaler_frozen():
        more = world.burst(3, 0.1)  # it waits: every slot is taken
        world.interrupt(victim)
        world.until("another worker takes it", lambda: set(more) <= set(world.task_journal().completions))
    world.let_go(held)
    world.until("the worker ends", lambda: ended(world, victim))
    assert world.audit().tasks[victim].exit_codes == {"worker": 0}, "it was killed before it had finished"
    world.until_finished(held)
    assert set(world.task_journal().interrupted) == interrupted


@pytest.mark.fault(
    "worker dies between receive and start",
    "Late acknowledgement: the message comes back. Airflow: it is deleted only when the execution API took the task.",
)
def test_messages_of_a_worker_that_dies_before_it_begins_them_come_back(world: CeleryFleet) -> None:
    (victim,) = world.addresses()
    world.freeze_pool(victim)
    tasks = world.burst(3, 0.1)
    world.until("they are received", lambda: world.states()[victim]["reserved"] == 3)
    starts = {line.task for line in world.task_journal().lines}
    world.kill(victim)
    assert not starts & set(tasks), "they had begun, so nothing was proven"
    world.until_finished(tasks)


@pytest.mark.slow
@pytest.mark.fault(
    "agent restarts in drain", "The drain ends with the worker; its successor is protected, then consumes."
)
def test_a_worker_killed_in_its_drain_is_replaced_and_its_task_runs_again(world: CeleryFleet) -> None:
    held = world.hold(6)
    world.until_started(held)
    busy = world.under_way()
    rest = {address: tasks[0] for address, tasks in busy.items()}
    world.let_go(set(held) - set(rest.values()))
    (victim,) = world.until("one drains", lambda: {a for a, p in world.phases().items() if p == "draining"})
    address = world.addresses()[victim]
    world.kill(victim)
    world.let_go(held)
    world.until_finished(held)
    assert rest[address] in {name.partition("#")[0] for name in world.task_journal().interrupted}
    assert not world.audit().stopped_by_ecs & {victim}
