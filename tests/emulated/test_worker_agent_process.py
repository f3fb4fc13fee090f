# SPDX-License-Identifier: Apache-2.0
"""A Celery worker with the agent on SQS: protection before the first poll, a complete drain, free slots only."""

import contextlib
import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.support.emulator import free_port
from tests.support.fake_ecs_agent import FakeEcsAgent
from tests.support.localstack import on_localstack_too
from tests.support.sqs_queue import SqsQueue
from tests.support.sqs_recorder import SqsRecorder
from tests.support.worker import Worker, finished, ledger, start_worker, wait_for

pytestmark = [
    pytest.mark.emulated,
    pytest.mark.filterwarnings("default::DeprecationWarning"),
    on_localstack_too(pytest.mark.slow),
]

SLOTS = 4
StartWorker = Callable[..., Worker]


@pytest.fixture
def sqs(emulator: str) -> Iterator[SqsRecorder]:
    with SqsRecorder(emulator) as recorder:
        yield recorder


@pytest.fixture
def ecs() -> Iterator[FakeEcsAgent]:
    with FakeEcsAgent() as fake:
        yield fake


def all_finished(folder: Path, count: int) -> bool:
    return finished(folder) == count


def publish(queue: SqsQueue, numbers: range, seconds: float) -> None:
    queue.publish("tests.support.celery_app.work", ((number, seconds) for number in numbers))


@pytest.fixture
def queue(emulator: str) -> SqsQueue:
    return SqsQueue.of_its_own(emulator, "worker-agent", visibility_s=600)


@pytest.fixture
def start(sqs: SqsRecorder, ecs: FakeEcsAgent, queue: SqsQueue, tmp_path: Path) -> Iterator[StartWorker]:
    with contextlib.ExitStack() as workers:

        def start_process(**environment: str) -> Worker:
            worker = start_worker(
                folder=tmp_path,
                sqs_url=sqs.url,
                queues=json.loads(environment.pop("QUEUES", "null")) or {queue.name: queue.url},
                concurrency=SLOTS,
                task_arn=ecs.task_arn,
                **({"WORKER_AGENT_PORT": str(free_port())} | ecs.environment | environment),
            )
            workers.callback(worker.kill)
            return worker

        yield start_process


def test_the_worker_starts_no_poll_before_its_task_is_protected(
    start: StartWorker, ecs: FakeEcsAgent, sqs: SqsRecorder, queue: SqsQueue, tmp_path: Path
) -> None:
    ecs.mode = "refuse"
    publish(queue, range(8), 0.05)
    worker = start()
    worker.wait_for_phase("refused")
    wait_for("three refusals", lambda: len(ecs.calls) >= 3, log=worker.log)
    state = worker.state()
    assert state is not None
    assert (state["gate"], state["protected_until"]) == ("closed", None)
    assert "DEPLOYMENT_BLOCKED" in state["protection_refusal"]
    before = sqs.first_poll_at
    assert before is None, "the worker polled without protection"

    ecs.mode = "grant"
    wait_for("all 8 tasks", lambda: finished(tmp_path) == 8, log=worker.log)
    granted = next(call.at for call in ecs.calls if call.mode == "grant")
    assert sqs.first_poll_at is not None
    assert granted <= sqs.first_poll_at, "the first poll began before the protection was requested"


def test_a_drain_releases_after_the_last_task_and_a_kill_then_loses_no_message(
    start: StartWorker, ecs: FakeEcsAgent, sqs: SqsRecorder, queue: SqsQueue, tmp_path: Path
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
    visible, hidden = queue.counts()
    assert hidden == 0, f"{hidden} messages are hidden for a whole visibility timeout"
    assert visible + ends == 40, "messages were lost"
    assert visible > 0, "the queue was empty before the drain, so the test shows nothing"

    successor = start()
    wait_for("the next worker finishes", lambda: finished(tmp_path) == 40, log=successor.log)
    assert all(count == 1 for count in ledger(tmp_path).values()), "a task ran twice"


@pytest.mark.fault(
    "drain and resume 100 times",
    "At most one poll in flight, and never more messages than slots.",
)
def test_a_hundred_drains_and_resumes_never_cause_a_second_poll(
    start: StartWorker, ecs: FakeEcsAgent, sqs: SqsRecorder, queue: SqsQueue, tmp_path: Path
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
    assert sqs.most_polls == 1, f"{sqs.most_polls} polls were in flight at the same time"
    assert sqs.most_held <= SLOTS, f"the worker held {sqs.most_held} messages on {SLOTS} slots"
    assert most_reserved <= SLOTS
    assert all(count == 1 for count in ledger(tmp_path).values()), "a task ran twice"


@pytest.mark.parametrize("prefetch", ["1", "0"], ids=["prefetch-1", "prefetch-unlimited"])
def test_with_early_acknowledgement_the_worker_takes_messages_for_free_slots_only(
    start: StartWorker, sqs: SqsRecorder, queue: SqsQueue, tmp_path: Path, prefetch: str
) -> None:
    held: list[int] = []
    sqs.on_delivery = lambda received: held.append(received - finished(tmp_path))
    publish(queue, range(24), 0.2)
    worker = start(TEST_ACKS_LATE="0", TEST_PREFETCH=prefetch)
    wait_for("all 24 tasks", lambda: finished(tmp_path) == 24, log=worker.log)
    assert max(held) <= SLOTS, f"{max(held)} unfinished messages on {SLOTS} slots"
    assert max(held) == SLOTS, "not all slots were used"


def test_a_failed_poll_is_repeated_and_the_worker_continues(
    start: StartWorker, sqs: SqsRecorder, queue: SqsQueue, tmp_path: Path
) -> None:
    worker = start()
    worker.wait_for_phase("consuming")
    for status in (403, 503):
        sqs.failed_receives = 0
        sqs.fail_receives_with = status
        wait_for(f"polls with HTTP {status}", lambda: sqs.failed_receives >= 2, log=worker.log)
        sqs.fail_receives_with = None
        before = finished(tmp_path)
        publish(queue, range(before, before + 4), 0.05)
        wait_for("the tasks after it", partial(all_finished, tmp_path, before + 4), log=worker.log)
    assert worker.process.poll() is None


def test_at_the_end_of_a_lease_the_worker_is_protected_and_then_consumes(
    start: StartWorker, ecs: FakeEcsAgent, queue: SqsQueue, tmp_path: Path
) -> None:
    worker = start(TEST_WAIT_S="1")  # a drain waits for the long poll in flight
    worker.wait_for_phase("consuming")
    worker.command("drain", lease_s=8)
    worker.wait_for_phase("released")
    publish(queue, range(4), 0.05)
    worker.wait_for_phase("consuming")
    assert ecs.protected
    wait_for("the tasks", lambda: finished(tmp_path) == 4, log=worker.log)
    assert [call.enabled for call in ecs.calls] == [True, False, True]


def test_after_sigterm_running_tasks_finish_and_no_message_is_hidden(
    start: StartWorker, queue: SqsQueue, tmp_path: Path
) -> None:
    worker = start()
    worker.wait_for_phase("consuming")
    publish(queue, range(12), 0.5)
    wait_for("four running", lambda: len(ledger(tmp_path)) >= SLOTS, log=worker.log)
    worker.process.terminate()
    wait_for("the end", lambda: worker.process.poll() is not None, log=worker.log)
    visible, hidden = queue.counts()
    assert worker.process.returncode == 0
    assert (visible + finished(tmp_path), hidden) == (12, 0)


def test_messages_that_arrive_after_sigterm_are_returned_at_once_while_a_task_runs(
    start: StartWorker, sqs: SqsRecorder, queue: SqsQueue, tmp_path: Path
) -> None:
    worker = start(TEST_WAIT_S="5")
    publish(queue, range(1), 20)
    wait_for("a running task and a poll in flight", lambda: ledger(tmp_path) and sqs.polls, log=worker.log)
    worker.process.terminate()
    wait_for("phase stopping", lambda: worker.phase() == "stopping", log=worker.log)
    publish(queue, range(1, SLOTS), 0.05)  # for the poll in flight
    wait_for("messages in the poll's answer", lambda: sqs.received > 1, log=worker.log)
    wait_for("the returned messages", lambda: queue.counts() == (SLOTS - 1, 1), log=worker.log)
    assert ledger(tmp_path) == {("start", 0): 1}, "a task started after SIGTERM, or the running one had ended before"
    wait_for("the end", lambda: worker.process.poll() is not None, log=worker.log)
    assert (worker.process.returncode, finished(tmp_path), queue.counts()) == (0, 1, (SLOTS - 1, 0))


def test_an_idle_worker_ends_after_its_poll_in_flight(
    start: StartWorker, sqs: SqsRecorder, queue: SqsQueue, tmp_path: Path
) -> None:
    worker = start(TEST_WAIT_S="5")
    wait_for("a poll in flight", lambda: sqs.polls, log=worker.log)
    worker.process.terminate()
    wait_for("the end", lambda: worker.process.poll() is not None, log=worker.log)
    assert sqs.polls == 0, "SQS may answer a poll of an ended worker: its messages are hidden for minutes"


def test_two_queues_share_the_slots_and_both_are_consumed(
    start: StartWorker, sqs: SqsRecorder, queue: SqsQueue, emulator: str, tmp_path: Path
) -> None:
    other = SqsQueue(emulator, f"{queue.name}-high", visibility_s=600)
    worker = start(QUEUES=json.dumps({queue.name: queue.url, other.name: other.url}))
    worker.wait_for_phase("consuming")
    publish(queue, range(20), 0.3)
    publish(other, range(20, 26), 0.3)
    wait_for("all 26 tasks", lambda: finished(tmp_path) == 26, log=worker.log)
    assert sqs.most_held <= SLOTS, f"the worker held {sqs.most_held} messages on {SLOTS} slots"
    assert sqs.most_polls <= 2


def test_outside_ecs_the_worker_runs_without_the_agent(start: StartWorker, queue: SqsQueue, tmp_path: Path) -> None:
    publish(queue, range(4), 0.05)
    worker = start(ECS_AGENT_URI="")
    wait_for("the tasks", lambda: finished(tmp_path) == 4, log=worker.log)
    assert worker.log.read_text().count("ECS_AGENT_URI is not set") == 1
    assert worker.state() is None


def test_a_fifo_queue_runs_each_task_once_and_drains(
    start: StartWorker, ecs: FakeEcsAgent, emulator: str, tmp_path: Path
) -> None:
    """SQS counts the messages of a group that may not be received yet as visible: the scaler sees them as demand."""
    fifo = SqsQueue(emulator, f"worker-agent-{ecs.task_arn[-8:]}.fifo", visibility_s=600)
    with contextlib.closing(fifo.client):
        publish(fifo, range(20), 0.2)
        assert fifo.counts() == (20, 0)
        worker = start(QUEUES=json.dumps({fifo.name: fifo.url}))
        wait_for("several finished tasks", lambda: finished(tmp_path) >= 4, log=worker.log)
        assert sum(fifo.counts()) > SLOTS, "messages of the group that waits are not counted"
        worker.command("drain")
        worker.wait_for_phase("released")
        visible, hidden = fifo.counts()
        assert (visible + finished(tmp_path), hidden) == (20, 0)
        worker.command("resume")
        wait_for("the others", partial(all_finished, tmp_path, 20), log=worker.log)
        assert all(count == 1 for count in ledger(tmp_path).values()), "a task ran twice"
