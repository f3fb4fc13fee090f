# SPDX-License-Identifier: Apache-2.0
"""Celery workers with the agent on Redis: two workers in one ECS task, an autoscaled pool, other pools than prefork."""

import contextlib
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.support.emulator import free_port
from tests.support.fake_ecs_agent import FakeEcsAgent
from tests.support.redis_queue import RedisQueue
from tests.support.redis_server import RedisServer, program
from tests.support.worker import Worker, finished, ledger, start_worker, wait_for

pytestmark = [pytest.mark.emulated, pytest.mark.filterwarnings("default::DeprecationWarning")]

SLOTS = 2
StartWorker = Callable[..., Worker]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path, "--appendonly", "yes") as running:
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
def start(ecs: FakeEcsAgent, queue: RedisQueue, tmp_path: Path) -> Iterator[StartWorker]:
    with contextlib.ExitStack() as workers:

        def start_process(*options: str, **environment: str) -> Worker:
            worker = start_worker(
                folder=tmp_path,
                sqs_url="",
                queues={queue.name: queue.url},
                concurrency=SLOTS,
                task_arn=ecs.task_arn,
                options=options,
                **(
                    {"WORKER_AGENT_PORT": str(free_port()), "TEST_BROKER": queue.broker} | ecs.environment | environment
                ),
            )
            workers.callback(worker.kill)
            return worker

        yield start_process


def publish(queue: RedisQueue, numbers: range, seconds: float) -> None:
    queue.publish("tests.support.celery_app.work", ((number, seconds) for number in numbers))


def most_at_once(folder: Path) -> int:
    """Return the largest number of tasks that ran at the same time."""
    running = most = 0
    for line in (folder / "ledger").read_text().splitlines():
        running += 1 if line.startswith("start") else -1
        most = max(most, running)
    return most


def all_finished(folder: Path, count: int) -> bool:
    return finished(folder) == count


def assert_each_ran_once(folder: Path) -> None:
    assert all(count == 1 for count in ledger(folder).values()), "a task ran twice"


@pytest.mark.parametrize("same_port", [True, False], ids=["one port", "two ports"])
def test_one_worker_of_an_ecs_task_consumes_and_the_next_one_takes_over(
    start: StartWorker, ecs: FakeEcsAgent, queue: RedisQueue, tmp_path: Path, same_port: bool
) -> None:
    first = start("-n", "first@%h")
    first.wait_for_phase("consuming")
    port = first.url.rpartition(":")[2] if same_port else str(free_port())
    second = start("-n", "second@%h", WORKER_AGENT_PORT=port)
    wait_for("the reason", lambda: b"Run one Celery worker" in second.log.read_bytes(), log=second.log)
    wait_for("its event loop", lambda: b"ready." in second.log.read_bytes(), log=second.log)
    assert second.log.read_bytes().count(b"cannot lock the ECS task") == 1
    publish(queue, range(8), 0.3)
    wait_for("all 8 tasks", partial(all_finished, tmp_path, 8), log=first.log)
    assert most_at_once(tmp_path) <= SLOTS, "both workers consumed"
    calls = len(ecs.calls)
    first.command("drain")
    first.wait_for_phase("released")
    wait_for("no protection", lambda: not ecs.protected, log=first.log)
    assert len(ecs.calls) == calls + 1, "the second worker protected a task that the scaler has drained"
    publish(queue, range(8, 10), 0.05)
    first.kill()
    wait_for("the tasks on the second worker", partial(all_finished, tmp_path, 10), log=second.log)
    assert ecs.protected
    second.wait_for_phase("consuming")
    second.command("drain")
    second.wait_for_phase("released")
    assert_each_ran_once(tmp_path)


def running(folder: Path) -> int:
    """Return the number of tasks that run now."""
    return sum(count if event == "start" else -count for (event, _), count in ledger(folder).items())


def six_running(folder: Path) -> bool:
    return running(folder) == 6


@pytest.mark.parametrize("grown", [True, False], ids=["with six processes", "with one process"])
def test_an_autoscaled_worker_uses_its_maximum_also_after_a_lost_connection(
    start: StartWorker, server: RedisServer, queue: RedisQueue, tmp_path: Path, grown: bool
) -> None:
    worker = start("--autoscale=6,1")
    worker.wait_for_phase("consuming")
    wait_for("six slots", lambda: (worker.state() or {}).get("concurrency") == 6, log=worker.log)
    if grown:
        publish(queue, range(6), 10.0)
        wait_for("six at once", partial(six_running, tmp_path), log=worker.log)
        wait_for("their end", partial(all_finished, tmp_path, 6), log=worker.log)
        wait_for("no task", lambda: (worker.state() or {}).get("reserved") == 0, log=worker.log)
    server.kill()
    wait_for("the loss", lambda: b"Connection to broker lost" in worker.log.read_bytes(), log=worker.log)
    server.start()
    publish(queue, range(6, 12), 10.0)
    wait_for("six at once", partial(six_running, tmp_path), log=worker.log)
    worker.command("drain")
    worker.wait_for_phase("released")
    assert queue.counts() == (0, 0)
    assert_each_ran_once(tmp_path)


@pytest.mark.parametrize(
    ("pool", "slots", "late"),
    [
        pytest.param("threads", SLOTS, "0", id="threads-early acknowledgement"),
        pytest.param("solo", 1, "1", id="solo-late acknowledgement"),
        pytest.param("threads", SLOTS, "1", id="threads-late acknowledgement", marks=pytest.mark.slow),
        pytest.param("solo", 1, "0", id="solo-early acknowledgement", marks=pytest.mark.slow),
    ],
)
def test_a_worker_with_another_pool_reports_its_tasks_and_drains_after_the_last_one(
    start: StartWorker, ecs: FakeEcsAgent, queue: RedisQueue, tmp_path: Path, pool: str, slots: int, late: str
) -> None:
    worker = start("--pool", pool, TEST_ACKS_LATE=late)
    worker.wait_for_phase("consuming")
    publish(queue, range(10), 2.0)

    def state() -> tuple[int, int]:
        found = worker.state() or {}
        return found.get("running", 0), found.get("concurrency", 0)

    wait_for("all slots busy", lambda: state() == (slots, slots), log=worker.log)
    assert worker.command("drain")["phase"] == "draining"
    assert ecs.protected
    wait_for("released", lambda: not ecs.protected, log=worker.log)
    ends = finished(tmp_path)
    starts = sum(1 for event, _ in ledger(tmp_path) if event == "start")
    assert starts == ends, "protection was released while a task ran"
    assert queue.counts() == (10 - ends, 0)
    assert most_at_once(tmp_path) == slots
    worker.command("resume")
    wait_for("the others", partial(all_finished, tmp_path, 10), seconds=60, log=worker.log)
    worker.process.terminate()
    wait_for("the end", lambda: worker.process.poll() is not None, log=worker.log)
    assert (worker.process.returncode, queue.counts()) == (0, (0, 0))
    assert_each_ran_once(tmp_path)


@pytest.mark.parametrize("pool", ["gevent", "eventlet"])
def test_a_worker_without_an_event_loop_consumes_stays_protected_and_refuses_to_drain(
    start: StartWorker, ecs: FakeEcsAgent, queue: RedisQueue, tmp_path: Path, pool: str
) -> None:
    pytest.importorskip(pool, reason="an app that uses this pool installs it")
    worker = start("--pool", pool)
    worker.wait_for_phase("consuming")
    publish(queue, range(4), 1.0)
    wait_for("a task", lambda: finished(tmp_path) > 0, log=worker.log)
    worker.command("drain")
    wait_for("all 4 tasks", partial(all_finished, tmp_path, 4), log=worker.log)
    wait_for("no task", lambda: queue.counts() == (0, 0), log=worker.log)
    assert worker.phase() == "draining", "a worker whose polls are not known was released"
    assert ecs.protected
    assert b"this worker stays protected and cannot drain" in worker.log.read_bytes()
    assert_each_ran_once(tmp_path)


@pytest.fixture
def sentinel(server: RedisServer, tmp_path: Path) -> Iterator[str]:
    """Run a Sentinel of the server; yield Celery's broker URL."""
    port, config = free_port(), tmp_path / "sentinel.conf"
    config.write_text(f"port {port}\nbind 127.0.0.1\nsentinel monitor main 127.0.0.1 {server.port} 1\n")
    with (tmp_path / "sentinel.log").open("wb") as log:
        process = subprocess.Popen([program(), config, "--sentinel"], cwd=tmp_path, stdout=log, stderr=log)
    yield f"sentinel://127.0.0.1:{port}/0"
    process.kill()
    process.wait(120)


def test_a_worker_on_sentinel_drains_after_its_last_task(
    start: StartWorker, ecs: FakeEcsAgent, queue: RedisQueue, tmp_path: Path, sentinel: str
) -> None:
    """The scaler refuses the URL of Sentinel, and reads the primary by its own address."""
    worker = start(TEST_BROKER=sentinel)
    worker.wait_for_phase("consuming")
    publish(queue, range(12), 0.5)
    wait_for("two tasks", lambda: finished(tmp_path) >= SLOTS, log=worker.log)
    worker.command("drain")
    worker.wait_for_phase("released")
    assert not ecs.protected
    ends = finished(tmp_path)
    assert queue.counts() == (12 - ends, 0)
    worker.command("resume")
    wait_for("the others", partial(all_finished, tmp_path, 12), log=worker.log)
    assert_each_ran_once(tmp_path)
