# SPDX-License-Identifier: Apache-2.0
"""A Celery worker with the agent on Redis: protection before the first BRPOP, a complete drain, free slots only.

Redis removes a message when it answers a BRPOP. Until the worker has written it to `unacked`, the only copy is on the
network. So a worker is not drained while a BRPOP is in flight, which is the main subject of these tests.
"""

import contextlib
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.support.emulator import free_port
from tests.support.fake_ecs_agent import FakeEcsAgent
from tests.support.redis_queue import RedisQueue
from tests.support.redis_recorder import RedisRecorder
from tests.support.redis_server import RedisServer
from tests.support.worker import Worker, finished, ledger, start_worker, wait_for

pytestmark = [pytest.mark.emulated, pytest.mark.filterwarnings("default::DeprecationWarning")]

SLOTS = 4
StartWorker = Callable[..., Worker]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path, "--appendonly", "yes") as running:
        yield running


@pytest.fixture
def recorder(server: RedisServer) -> Iterator[RedisRecorder]:
    with RedisRecorder(server.port) as running:
        yield running


@pytest.fixture
def ecs() -> Iterator[FakeEcsAgent]:
    with FakeEcsAgent() as fake:
        yield fake


@pytest.fixture
def queue(server: RedisServer) -> Iterator[RedisQueue]:
    made = RedisQueue.of_its_own(server.port, "worker-agent")
    with contextlib.closing(made.client):
        yield made


@pytest.fixture
def start(recorder: RedisRecorder, ecs: FakeEcsAgent, queue: RedisQueue, tmp_path: Path) -> Iterator[StartWorker]:
    with contextlib.ExitStack() as workers:

        def start_process(*more_queues: RedisQueue, **environment: str) -> Worker:
            worker = start_worker(
                folder=tmp_path,
                sqs_url="",
                queues={source.name: source.url for source in (queue, *more_queues)},
                concurrency=SLOTS,
                task_arn=ecs.task_arn,
                TEST_BROKER=recorder.url,
                **({"WORKER_AGENT_PORT": str(free_port())} | ecs.environment | environment),
            )
            workers.callback(worker.kill)
            return worker

        yield start_process


def publish(queue: RedisQueue, numbers: range, seconds: float, *, priority: int = 0) -> None:
    arguments = ((number, seconds) for number in numbers)
    queue.publish("tests.support.celery_app.work", arguments, priority=priority)


def all_finished(folder: Path, count: int) -> bool:
    return finished(folder) == count


def assert_each_ran_once(folder: Path) -> None:
    assert all(count == 1 for count in ledger(folder).values()), "a task ran twice"


def test_the_worker_starts_no_brpop_before_its_task_is_protected(
    start: StartWorker, ecs: FakeEcsAgent, recorder: RedisRecorder, queue: RedisQueue, tmp_path: Path
) -> None:
    ecs.mode = "refuse"
    publish(queue, range(8), 0.05)
    worker = start()
    worker.wait_for_phase("refused")
    wait_for("three refusals", lambda: len(ecs.calls) >= 3, log=worker.log)
    before = recorder.first_poll_at
    assert before is None, "the worker polled without protection"
    assert queue.counts() == (8, 0)

    ecs.mode = "grant"
    wait_for("all 8 tasks", lambda: finished(tmp_path) == 8, log=worker.log)
    granted = next(call.at for call in ecs.calls if call.mode == "grant")
    assert recorder.first_poll_at is not None
    assert granted <= recorder.first_poll_at, "the first BRPOP began before the protection was requested"


@pytest.mark.parametrize("late", ["1", "0"], ids=["late acknowledgement", "early acknowledgement"])
def test_tasks_that_are_not_due_are_reported_apart_and_run_when_due(
    start: StartWorker, queue: RedisQueue, tmp_path: Path, late: str
) -> None:
    task = "tests.support.celery_app.work"
    worker = start(TEST_ACKS_LATE=late)
    worker.wait_for_phase("consuming")
    queue.publish(task, ((number, 0.05) for number in range(6)), countdown=3600.0)

    def scheduled() -> tuple[int, int]:
        state = worker.state()
        return (state["scheduled"], state["reserved"]) if state else (-1, -1)

    wait_for("six held messages", lambda: scheduled() == (6, 6), log=worker.log)
    assert queue.counts() == (0, 6), "the broker counts them as in flight"
    queue.publish(task, [(6, 0.05)], countdown=1.0)
    wait_for("the task that is due", lambda: finished(tmp_path) == 1, log=worker.log)
    wait_for("six held messages", lambda: scheduled() == (6, 6), log=worker.log)
    assert ledger(tmp_path)["end", 6] == 1


def test_a_drain_releases_after_the_last_task_and_a_kill_then_loses_no_message(
    start: StartWorker, ecs: FakeEcsAgent, queue: RedisQueue, tmp_path: Path
) -> None:
    worker = start()
    worker.wait_for_phase("consuming")
    publish(queue, range(40), 0.3)
    wait_for("several finished tasks", lambda: finished(tmp_path) >= 4, log=worker.log)
    assert worker.command("drain")["phase"] == "draining"
    wait_for("released", lambda: not ecs.protected, log=worker.log)
    worker.kill()

    ends = finished(tmp_path)
    starts = sum(1 for event, _ in ledger(tmp_path) if event == "start")
    assert starts == ends, "protection was released while a task ran"
    visible, in_flight = queue.counts()
    assert in_flight == 0, f"{in_flight} messages are in flight for a whole visibility timeout"
    assert visible + ends == 40, "messages were lost"
    assert visible > 0, "the queue was empty before the drain, so the test shows nothing"

    successor = start()
    wait_for("the next worker finishes", lambda: finished(tmp_path) == 40, log=successor.log)
    assert_each_ran_once(tmp_path)


def test_a_message_in_the_answer_to_a_brpop_runs_before_a_draining_worker_is_released(
    start: StartWorker, ecs: FakeEcsAgent, recorder: RedisRecorder, queue: RedisQueue, tmp_path: Path
) -> None:
    worker = start()
    worker.wait_for_phase("consuming")
    wait_for("a BRPOP", lambda: recorder.polls == 1, log=worker.log)
    recorder.deliver.clear()
    publish(queue, range(1), 0.05)
    wait_for("the message on its way from Redis", lambda: recorder.under_way, log=worker.log)
    assert queue.counts() == (0, 0), "the message is in Redis, so this test shows nothing"

    worker.command("drain")
    wait_for("a poll in flight with a closed gate", lambda: _polls_with_closed_gate(worker) == 1, log=worker.log)
    until = time.monotonic() + 1.5  # for six snapshots
    while time.monotonic() < until:
        assert (worker.phase(), _polls_with_closed_gate(worker)) == ("draining", 1)
        assert ecs.protected, "the worker was released with a message in flight"
    recorder.deliver.set()
    worker.wait_for_phase("released")
    assert finished(tmp_path) == 1
    worker.kill()
    assert queue.counts() == (0, 0)
    assert_each_ran_once(tmp_path)


def _polls_with_closed_gate(worker: Worker) -> int | None:
    state = worker.state() or {}
    return state["polls_in_flight"] if state.get("gate") == "closed" else None


@pytest.mark.fault(
    "drain and resume 100 times",
    "Redis: one BRPOP at a time for any number of openings of the gate, and never more messages than slots",
)
def test_a_hundred_drains_and_resumes_never_cause_a_second_poll(
    start: StartWorker, ecs: FakeEcsAgent, recorder: RedisRecorder, queue: RedisQueue, tmp_path: Path
) -> None:
    worker = start()
    worker.wait_for_phase("consuming")
    publish(queue, range(60), 0.2)
    most_reserved = 0
    for cycle in range(100):
        most_reserved = max(most_reserved, worker.command("drain")["reserved"])
        if cycle % 10 == 9:
            worker.wait_for_phase("released")
            assert not ecs.protected
        most_reserved = max(most_reserved, worker.command("resume")["reserved"])
        if cycle % 5 == 4:
            worker.wait_for_phase("consuming")
    wait_for("all 60 tasks", lambda: finished(tmp_path) == 60, log=worker.log)
    assert recorder.most_polls == 1, f"{recorder.most_polls} BRPOPs were in flight at the same time"
    assert recorder.most_held <= SLOTS, f"the worker held {recorder.most_held} messages on {SLOTS} slots"
    assert most_reserved <= SLOTS
    assert_each_ran_once(tmp_path)


@pytest.mark.parametrize("prefetch", ["1", "0"], ids=["prefetch-1", "prefetch-unlimited"])
def test_with_early_acknowledgement_the_worker_takes_messages_for_free_slots_only(
    start: StartWorker, recorder: RedisRecorder, queue: RedisQueue, tmp_path: Path, prefetch: str
) -> None:
    held: list[int] = []
    recorder.on_delivery = lambda received: held.append(received - finished(tmp_path))
    publish(queue, range(24), 0.2)
    worker = start(TEST_ACKS_LATE="0", TEST_PREFETCH=prefetch)
    wait_for("all 24 tasks", lambda: finished(tmp_path) == 24, log=worker.log)
    assert max(held) <= SLOTS, f"{max(held)} unfinished messages on {SLOTS} slots"
    assert max(held) == SLOTS, "not all slots were used"


@pytest.mark.fault(
    "broker restarts",
    "Redis: the worker stays protected. Its tasks continue and are acknowledged once, on the next connection",
)
def test_after_a_restart_of_the_broker_no_message_is_lost_and_no_task_runs_twice(
    start: StartWorker,
    ecs: FakeEcsAgent,
    recorder: RedisRecorder,
    server: RedisServer,
    queue: RedisQueue,
    tmp_path: Path,
) -> None:
    worker = start()
    worker.wait_for_phase("consuming")
    for restart in range(3):
        first = restart * 12
        publish(queue, range(first, first + 12), 1.0)
        # If Redis ends between removing a message and its answer, the message is lost. No client can prevent that.
        wait_for("all slots busy and no BRPOP", lambda: _running(tmp_path) == SLOTS and not recorder.polls)
        server.kill()
        assert ecs.protected
        server.start()
        wait_for("the tasks", partial(all_finished, tmp_path, first + 12), log=worker.log)
    assert recorder.most_polls == 1
    worker.command("drain")
    worker.wait_for_phase("released")
    assert queue.counts() == (0, 0)
    assert_each_ran_once(tmp_path)


def _running(folder: Path) -> int:
    events = ledger(folder)
    return sum(count if event == "start" else -count for (event, _), count in events.items())


def test_at_the_end_of_a_lease_the_worker_is_protected_and_then_consumes(
    start: StartWorker, ecs: FakeEcsAgent, queue: RedisQueue, tmp_path: Path
) -> None:
    worker = start()
    worker.wait_for_phase("consuming")
    worker.command("drain", lease_s=8)
    worker.wait_for_phase("released")
    publish(queue, range(4), 0.05)
    worker.wait_for_phase("consuming")
    assert ecs.protected
    wait_for("the tasks", lambda: finished(tmp_path) == 4, log=worker.log)
    assert [call.enabled for call in ecs.calls] == [True, False, True]


def test_after_sigterm_running_tasks_finish_and_the_other_messages_are_returned(
    start: StartWorker, queue: RedisQueue, tmp_path: Path
) -> None:
    worker = start()
    worker.wait_for_phase("consuming")
    publish(queue, range(12), 0.5)
    wait_for("four running", lambda: len(ledger(tmp_path)) >= SLOTS, log=worker.log)
    worker.process.terminate()
    wait_for("the end", lambda: worker.process.poll() is not None, log=worker.log)
    visible, in_flight = queue.counts()
    assert worker.process.returncode == 0
    assert (visible + finished(tmp_path), in_flight) == (12, 0)


def test_a_message_in_the_answer_to_a_brpop_returns_to_its_queue_after_sigterm(
    start: StartWorker, recorder: RedisRecorder, queue: RedisQueue, tmp_path: Path
) -> None:
    worker = start()
    worker.wait_for_phase("consuming")
    wait_for("a BRPOP", lambda: recorder.polls == 1, log=worker.log)
    recorder.deliver.clear()
    publish(queue, range(1), 0.05)
    wait_for("the message on its way from Redis", lambda: recorder.under_way, log=worker.log)
    worker.process.terminate()
    wait_for("the gate is closed", lambda: (worker.state() or {}).get("phase") == "stopping", log=worker.log)
    recorder.deliver.set()
    wait_for("the end", lambda: worker.process.poll() is not None, log=worker.log)
    assert queue.counts() == (1, 0), "the message is lost, or hidden for a whole visibility timeout"
    assert finished(tmp_path) == 0


@pytest.mark.fault(
    "worker SIGKILLed",
    "Redis: its started tasks are delivered again after the visibility timeout, and each task ends once",
)
def test_the_tasks_of_a_killed_worker_are_delivered_again_after_the_visibility_timeout(
    start: StartWorker, queue: RedisQueue, tmp_path: Path
) -> None:
    worker = start(TEST_VISIBILITY_S="4")
    worker.wait_for_phase("consuming")
    publish(queue, range(6), 2.0)
    wait_for("four running", lambda: len(ledger(tmp_path)) >= SLOTS, log=worker.log)
    worker.kill()
    assert queue.counts() == (2, SLOTS)
    successor = start(TEST_VISIBILITY_S="4")
    wait_for("all tasks", lambda: finished(tmp_path) == 6, log=successor.log)
    found = ledger(tmp_path)
    assert sum(found[("start", number)] for number in range(6)) == 6 + SLOTS
    assert all(found[("end", number)] == 1 for number in range(6))


def test_two_queues_share_the_slots_and_the_lower_priority_number_is_first(
    start: StartWorker, recorder: RedisRecorder, server: RedisServer, queue: RedisQueue, tmp_path: Path
) -> None:
    other = RedisQueue(server.port, f"{queue.name}-other")
    with contextlib.closing(other.client):
        publish(queue, range(8), 0.1, priority=9)
        publish(queue, range(8, 16), 0.1)
        publish(other, range(16, 24), 0.1)
        worker = start(other)
        wait_for("all 24 tasks", lambda: finished(tmp_path) == 24, log=worker.log)
    assert recorder.most_held <= SLOTS, f"the worker held {recorder.most_held} messages on {SLOTS} slots"
    assert recorder.most_polls == 1
    begun = [int(line.split()[1]) for line in (tmp_path / "ledger").read_text().splitlines() if "start" in line]
    assert set(begun[:12]) <= set(range(8, 24)), "a message of the last priority was delivered before the first"
