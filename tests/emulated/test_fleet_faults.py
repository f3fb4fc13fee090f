# SPDX-License-Identifier: Apache-2.0
"""Faults of what is around a fleet, for real: one fleet of plain Celery workers lives through them one after the other.

Each test begins and ends with one idle worker. Judged by the journal that the tasks write and by what ECS did.
"""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from openmwaa.config.broker import Sqs
from tests.support.breakable_proxy import BreakableProxy
from tests.support.celery_fleet import CeleryFleet, assert_nothing_was_hurt
from tests.support.local_fleet import CLUSTER, SCALER, LocalFleetSettings
from tests.support.sqs_queue import SqsQueue

pytestmark = [pytest.mark.emulated, pytest.mark.filterwarnings("default::DeprecationWarning")]

READS = ("DescribeServices", "ListTasks", "DescribeTasks", "GetTaskProtection")


class BreakableWorld(CeleryFleet):
    """A fleet whose SQS can be taken away: from the workers, from the scaler."""

    def __init__(self, emulator: str, tmp_path_factory: pytest.TempPathFactory) -> None:
        with ExitStack() as stack:
            self.workers_sqs = stack.enter_context(BreakableProxy(emulator))
            self.scaler_sqs = stack.enter_context(BreakableProxy(emulator))
            settings = LocalFleetSettings(
                workers_sqs=self.workers_sqs.url, scaler_sqs=self.scaler_sqs.url, max_receives=Sqs().max_receive_count
            )
            super().__init__(emulator, tmp_path_factory.mktemp("fleet"), settings)
            self._stack = stack.pop_all()

    def close(self) -> None:
        super().close()
        self._stack.close()


@pytest.fixture(scope="module")
def fleet(emulator: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BreakableWorld]:
    with BreakableWorld(emulator, tmp_path_factory) as world:
        yield world


@pytest.fixture
def world(fleet: BreakableWorld) -> Iterator[BreakableWorld]:
    """The fleet, idle at first; and in the end, nothing hurt."""
    fleet.until_fleet_is(1)
    yield fleet
    fleet.let_go()  # also after a failure: the next test begins with an idle worker
    fleet.until_fleet_is(1)
    assert_nothing_was_hurt(fleet)


def finish(world: CeleryFleet, tasks: list[str]) -> None:
    world.let_go(tasks)
    world.until_finished(tasks)


@pytest.mark.fault("source down", "The fleet is held: what is not known lowers nothing, however long it is idle.")
def test_a_fleet_whose_queue_cannot_be_read_is_not_shrunk(world: BreakableWorld) -> None:
    held = world.hold(6)
    world.until_started(held)
    with world.scaler_sqs.down():
        world.until("the scaler reports that SQS is away", lambda: world.decisions()[-1]["errors"])
        desired = world.desired()  # two; once, on a busy machine, three
        assert desired >= 2
        finish(world, held)  # the workers' own SQS is there
        world.until_ticks(3 * world.settings.scale_in_window_s)
        assert world.desired() >= desired, "a fleet shrank while the demand was unknown"
        assert set(world.phases().values()) == {"consuming"}, "a worker was drained while the demand was unknown"


@pytest.mark.fault(
    "broker restarts", "Workers stay, their tasks run on, and they consume again when the broker is back."
)
def test_workers_live_through_a_broker_that_is_away(world: BreakableWorld) -> None:
    held = world.hold(4)
    world.until_started(held)
    workers = set(world.addresses())
    with world.workers_sqs.down(), world.scaler_sqs.down():
        away = "workers and scaler cannot reach SQS"
        world.until(away, lambda: world.workers_sqs.refused >= 4 and world.scaler_sqs.refused >= 4)
        more = world.burst(8, 0.2)
    world.until_finished(more)
    assert set(world.addresses()) >= workers, "a worker ended with its connection"
    finish(world, held)


@pytest.mark.fault("API throttled", "Nothing is decided blindly, and the fleet grows as soon as ECS answers again.")
def test_a_backlog_is_answered_when_ecs_answers_again(world: BreakableWorld) -> None:
    held = world.hold(3)
    world.until_started(held)
    with world.throttled(*READS, "UpdateService"):
        world.until("the scaler sees nothing", lambda: world.decisions()[-1]["kind"] == "blind")
        more = world.burst(9, 0.5)
        world.until_ticks(2 * world.settings.interval_s)
    world.until_finished(more)
    assert max(after for _, after in world.audit().scale_outs[-2:]) >= 2, "the backlog was not answered"
    finish(world, held)


@pytest.mark.fault("max lowered below what is protected", "No count below the protected workers; idle ones go first.")
def test_a_lower_maximum_stops_no_busy_worker(world: BreakableWorld) -> None:
    held = world.hold(12)
    world.until_started(held)
    world.configure_scaler(maximum=2)
    try:
        world.until("the scaler has the lower maximum", lambda: world.decisions()[-1]["max"] == 2)
        world.until_ticks(2 * world.settings.scale_in_window_s)
        assert (world.desired(), len(world.protected())) == (4, 4)
        world.let_go(held[:6])
        world.until_finished(held[:6])
        assert len(world.under_way()) >= 2, "nothing runs, so nothing was proven"
        finish(world, held[6:])
    finally:
        world.configure_scaler(maximum=4)


@pytest.mark.fault(
    "two scalers at once",
    "Both write the same absolute counts, and agents execute the orders of both: no task is lost.",
)
def test_two_scalers_at_once_are_harmless(world: BreakableWorld) -> None:
    before = {decision["task"] for decision in world.decisions()}
    world.client.update_service(cluster=CLUSTER, service=SCALER, desiredCount=2)
    world.until("a second scaler decides", lambda: {d["task"] for d in world.decisions()} - before)
    tasks = world.burst(40, 0.4, 0.6, 0.8)
    world.until_fleet_is(4)
    world.until_finished(tasks)
    world.until_fleet_is(1)
    assert len(world.addresses(SCALER)) == 2, "one of the two ended"
    world.client.update_service(cluster=CLUSTER, service=SCALER, desiredCount=1)


@pytest.mark.fault("message given back 20 times", "Only 100 receives make a dead letter, so it runs.")
def test_a_message_given_back_20_times_still_runs(world: BreakableWorld) -> None:
    held = world.hold(3)  # every slot is taken
    world.until_started(held)
    assert isinstance(world.queue, SqsQueue)
    with world.scaler_frozen():
        late = world.burst(1, 0.1)
        world.queue.give_back(20)
    world.until_finished(late)
    finish(world, held)
