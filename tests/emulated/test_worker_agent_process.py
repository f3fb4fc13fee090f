# SPDX-License-Identifier: Apache-2.0
"""A real Celery worker on SQS with the agent in it: protected first, drained whole, never more than its slots."""

import contextlib
import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.support.emulator import free_port
from tests.support.fake_ecs_agent import FakeEcsAgent
from tests.support.sqs_queue import SqsQueue
from tests.support.sqs_recorder import SqsRecorder
from tests.support.worker import Worker, finished, ledger, start_worker, wait_for

pytestmark = [pytest.mark.emulated, pytest.mark.filterwarnings("default::DeprecationWarning")]

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

        def start_one(**environment: str) -> Worker:
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

        yield start_one


def test_nothing_is_received_before_the_task_is_protected(
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
    assert before is None, "the worker received while ECS refused to protect it"

    ecs.mode = "grant"
    wait_for("all 8 tasks", lambda: finished(tmp_path) == 8, log=worker.log)
    granted = next(call.at for call in ecs.calls if call.mode == "grant")
    assert sqs.first_poll_at is not None
    assert granted <= sqs.first_poll_at, "the first receive began before the protection was asked for"


def test_a_drain_releases_after_the_last_task_and_a_kill_then_loses_nothing(
    start: StartWorker, ecs: FakeEcsAgent, sqs: SqsRecorder, queue: SqsQueue, tmp_path: Path
) -> None:
    worker = start()
    worker.wait_for_phase("consuming")
    publish(queue, range(40), 0.3)
    wait_for("a burst under way", lambda: finished(tmp_path) >= 4, log=worker.log)
    assert worker.command("drain")["phase"] == "draining"
    wait_for("released", lambda: not ecs.protected, log=worker.log)
    worker.kill()

    ends = finished(tmp_path)
    starts = sum(1 for event, _ in ledger(tmp_path) if event == "start")
    assert starts == ends, "protection was released while a task ran"
    visible, hidden = queue.counts()
    assert hidden == 0, f"{hidden} messages are hidden for a whole visibility timeout"
    assert visible + ends == 40, "messages were lost"
    assert visible > 0, "the drain came too late to prove anything"

    successor = start()
    wait_for("the next worker finishes", lambda: finished(tmp_path) == 40, log=successor.log)
    assert all(count == 1 for count in ledger(tmp_path).values()), "a task ran twice"


@pytest.mark.fault(
    "drain and resume 100 times",
    "One receive in flight at most, and never more messages held than slots.",
)
def test_a_hundred_cycles_never_leave_a_second_poll_behind(
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
    assert sqs.most_polls == 1, f"{sqs.most_polls} receives were in flight at once"
    assert sqs.most_held <= SLOTS, f"the worker held {sqs.most_held} messages on {SLOTS} slots"
    assert most_reserved <= SLOTS
    assert all(count == 1 for count in ledger(tmp_path).values()), "a task ran twice"


@pytest.mark.parametrize("prefetch", ["1", "0"], ids=["prefetch-1", "prefetch-unlimited"])
def test_early_acknowledgement_takes_messages_for_free_slots_only(
    start: StartWorker, sqs: SqsRecorder, queue: SqsQueue, tmp_path: Path, prefetch: str
) -> None:
    held: list[int] = []
    sqs.on_delivery = lambda received: held.append(received - finished(tmp_path))
    publish(queue, range(24), 0.2)
    worker = start(TEST_ACKS_LATE="0", TEST_PREFETCH=prefetch)
    wait_for("all 24 tasks", lambda: finished(tmp_path) == 24, log=worker.log)
    assert max(held) <= SLOTS, f"{max(held)} unfinished messages on {SLOTS} slots"
    assert max(held) == SLOTS, "the slots were never all used"


def test_a_receive_that_fails_is_tried_again_and_the_worker_lives(
    start: StartWorker, sqs: SqsRecorder, queue: SqsQueue, tmp_path: Path
) -> None:
    worker = start()
    worker.wait_for_phase("consuming")
    for status in (403, 503):
        sqs.failed_receives = 0
        sqs.fail_receives_with = status
        wait_for(f"a receive answered with {status}", lambda: sqs.failed_receives >= 2, log=worker.log)
        sqs.fail_receives_with = None
        before = finished(tmp_path)
        publish(queue, range(before, before + 4), 0.05)
        wait_for("the tasks after it", partial(all_finished, tmp_path, before + 4), log=worker.log)
    assert worker.process.poll() is None


def test_a_lease_that_ends_protects_first_and_consumes_again(
    start: StartWorker, ecs: FakeEcsAgent, queue: SqsQueue, tmp_path: Path
) -> None:
    worker = start(TEST_WAIT_S="1")  # a drain waits for the long poll under way
    worker.wait_for_phase("consuming")
    worker.command("drain", lease_s=8)
    worker.wait_for_phase("released")
    publish(queue, range(4), 0.05)
    worker.wait_for_phase("consuming")
    assert ecs.protected
    wait_for("the tasks", lambda: finished(tmp_path) == 4, log=worker.log)
    assert [call.enabled for call in ecs.calls] == [True, False, True]


def test_sigterm_lets_running_tasks_finish_and_leaves_nothing_hidden(
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


def test_what_arrives_after_sigterm_is_given_back_at_once_while_a_task_runs_on(
    start: StartWorker, sqs: SqsRecorder, queue: SqsQueue, tmp_path: Path
) -> None:
    worker = start(TEST_WAIT_S="5")
    publish(queue, range(1), 8)
    wait_for("a task that runs, and a receive in flight", lambda: ledger(tmp_path) and sqs.polls, log=worker.log)
    worker.process.terminate()
    wait_for("the worker heard it", lambda: worker.phase() == "stopping", log=worker.log)
    publish(queue, range(1, SLOTS), 0.05)  # the open receive brings them
    wait_for("an open receive brings messages", lambda: sqs.received > 1, log=worker.log)
    wait_for("they are given back", lambda: queue.counts() == (SLOTS - 1, 1), seconds=4, log=worker.log)
    assert ledger(tmp_path) == {("start", 0): 1}, "a task began after SIGTERM, or the running one had ended before"
    wait_for("the end", lambda: worker.process.poll() is not None, log=worker.log)
    assert (worker.process.returncode, finished(tmp_path), queue.counts()) == (0, 1, (SLOTS - 1, 0))


def test_an_idle_worker_does_not_end_before_its_open_receive(
    start: StartWorker, sqs: SqsRecorder, queue: SqsQueue, tmp_path: Path
) -> None:
    worker = start(TEST_WAIT_S="5")
    wait_for("a receive in flight", lambda: sqs.polls, log=worker.log)
    worker.process.terminate()
    wait_for("the end", lambda: worker.process.poll() is not None, log=worker.log)
    assert sqs.polls == 0, "SQS may answer a receive whose worker is gone: what it hands over is hidden for minutes"


def test_two_queues_share_the_slots_and_neither_waits_for_ever(
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


def test_outside_ecs_the_worker_works_as_if_the_agent_were_not_there(
    start: StartWorker, queue: SqsQueue, tmp_path: Path
) -> None:
    publish(queue, range(4), 0.05)
    worker = start(ECS_AGENT_URI="")
    wait_for("the tasks", lambda: finished(tmp_path) == 4, log=worker.log)
    assert worker.log.read_text().count("no ECS_AGENT_URI") == 1
    assert worker.state() is None
