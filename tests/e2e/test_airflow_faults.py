# SPDX-License-Identifier: Apache-2.0
"""Faults between Airflow, its workers and its execution API, with real Airflow and the image's own settings.

One Airflow with one worker for all tests; no ECS, no scaler. The tests read a journal that the tasks write, Airflow's
states, and the worker's log.
"""

import json
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.airflow_stack import Stack
from tests.support.celery_message import with_expired_token

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(2400)]

SLOTS = 2
VISIBILITY_S = 15
STOP_TIMEOUT_S = 24
JWT_SECRET = "j" * 64
PATIENCE_S = 400.0
ENDED = {"success", "failed"}
DAGS = '''
import pathlib, threading, time
from datetime import timedelta
from airflow.sdk import BaseOperator, dag, get_current_context, task

def write(event, name):
    context = get_current_context()
    with pathlib.Path(context["dag_run"].conf["journal"]).open("a") as lines:
        print(event, name, context["ti"].try_number, file=lines, flush=True)

def seconds():
    """Long at the first try only, so that a retry is fast."""
    context = get_current_context()
    return context["dag_run"].conf["seconds"] if context["ti"].try_number == 1 else 0.1

class Stoppable(BaseOperator):
    def execute(self, context):
        self.journal, self.stop = context["dag_run"].conf["journal"], threading.Event()
        write("start", self.task_id)
        if self.stop.wait(seconds()):
            raise RuntimeError("stopped by on_kill")
        write("end", self.task_id)

    def on_kill(self):
        with pathlib.Path(self.journal).open("a") as lines:
            print("on_kill", self.task_id, 1, file=lines, flush=True)
        self.stop.set()

def make(dag_id, functions, operators=0, queue="default"):
    @dag(dag_id=dag_id, schedule=None, default_args={"retry_delay": timedelta(seconds=1), "queue": queue})
    def tasks():
        for index in range(functions):
            @task(task_id=f"function{index}")
            def work(name):
                write("start", name)
                time.sleep(seconds())
                write("end", name)
            work(f"function{index}")
        for index in range(operators):
            Stoppable(task_id=f"operator{index}")
    return tasks()

make("one", 1)
make("two", 2)
make("parked", 1, queue="parking")
make("both", 1, operators=1)
'''


class AirflowUnderTest:
    """Airflow with one worker, and the journals of its tasks."""

    def __init__(self, stack: Stack, settings: dict[str, str], parking: str) -> None:
        self.stack = stack
        self.settings = settings
        self.parking = parking
        self._journals = 0

    def run(self, dag_id: str, seconds: float) -> "DagRun":
        """Trigger a DAG; the first try of each task takes `seconds`."""
        self._journals += 1
        journal = self.stack.folder / f"journal{self._journals}"
        journal.touch(mode=0o666)
        return DagRun(
            self.stack, dag_id, self.stack.trigger(dag_id, {"journal": str(journal), "seconds": seconds}), journal
        )

    def log(self) -> str:
        return self.stack.log("worker").read_text(errors="replace")

    def hidden(self) -> int:
        """The number of messages that were received and not deleted."""
        name = "ApproximateNumberOfMessagesNotVisible"
        answer = self.stack.client("sqs").get_queue_attributes(QueueUrl=self.stack.queue_url, AttributeNames=[name])
        return int(answer["Attributes"][name])

    def start_worker(self) -> None:
        self.stack.component("worker", "worker", "1.6", self.settings)

    def kill_worker(self) -> None:
        """SIGKILL the worker with all its processes; the sync of its DAGs continues."""
        self.stack.stop("worker", signal.SIGKILL)

    @contextmanager
    def api_down(self) -> Iterator[None]:
        """Kill the execution API, and start it again at the end."""
        self.stack.stop("execution-api", signal.SIGKILL)
        yield
        self.stack.component("execution-api", "execution-api", "1.1", self.settings)


class DagRun:
    """One run of a DAG."""

    def __init__(self, stack: Stack, dag_id: str, run_id: str, journal: Path) -> None:
        self._stack, self._dag_id, self._run_id, self._journal = stack, dag_id, run_id, journal

    def tasks(self) -> list[dict[str, Any]]:
        return self._stack.tasks(self._dag_id, self._run_id)

    def states(self) -> set[str]:
        return {str(task["state"]) for task in self.tasks()}

    def tries(self) -> list[int]:
        return [task["try_number"] for task in self.tasks()]

    def journal(self) -> Counter[str]:
        """The number of lines per EVENT and TRY."""
        lines = (line.split() for line in self._journal.read_text().splitlines())
        return Counter(f"{event} {number}" for event, _name, number in lines)


def until(what: str, condition: Callable[[], Any], world: AirflowUnderTest, *, seconds: float = PATIENCE_S) -> Any:
    """Return the first true value of a condition."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}\n{world.log()[-6000:]}"
        time.sleep(0.2)
    return value


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AirflowUnderTest]:
    folder = tmp_path_factory.mktemp("airflow")
    for path in (folder, *folder.parents[:2]):
        path.chmod(0o755)  # PostgreSQL runs as another user
    with Stack(folder, block=41, visibility_timeout_s=VISIBILITY_S, slots=SLOTS) as stack:
        parking = stack.client("sqs").create_queue(QueueName="airflow-celery-bench-parking")["QueueUrl"]
        settings = {
            "OPENMWAA_QUEUES": json.dumps({"default": stack.queue_url, "parking": parking}),
            "OPENMWAA_STOP_TIMEOUT_S": str(STOP_TIMEOUT_S),
        }
        stack.upload("faults.py", DAGS)
        stack.start_airflow(settings)
        yield AirflowUnderTest(stack, settings, parking)


@pytest.mark.fault(
    "message redelivered with an expired token", "The copy is dropped without a call to Airflow; the task continues."
)
def test_a_copy_of_a_message_with_an_expired_token_does_not_affect_the_running_task(world: AirflowUnderTest) -> None:
    sqs, parking = world.stack.client("sqs"), world.parking
    run = world.run("parked", 12)
    (message,) = until(
        "the message is sent",
        lambda: sqs.receive_message(QueueUrl=parking, WaitTimeSeconds=2).get("Messages"),
        world,
    )
    sqs.send_message(QueueUrl=world.stack.queue_url, MessageBody=message["Body"])
    until("the task starts", lambda: run.journal()["start 1"], world)
    sqs.send_message(QueueUrl=world.stack.queue_url, MessageBody=with_expired_token(message["Body"], JWT_SECRET))
    until("the copy is dropped", lambda: "the token in a message has expired" in world.log(), world)
    assert run.journal()["end 1"] == 0, "the task had ended before its copy arrived, so the test is not valid"
    until("the task ends", lambda: run.states() <= ENDED, world)
    assert (run.states(), run.tries(), dict(run.journal())) == ({"success"}, [1], {"start 1": 1, "end 1": 1})


@pytest.mark.fault(
    "worker dies between receive and start",
    "The message is deleted once the execution API accepts the task, so it returns after the visibility timeout.",
)
def test_a_message_returns_if_its_worker_dies_before_the_api_accepts_the_task(world: AirflowUnderTest) -> None:
    before = world.log().count("Executing workload in Celery")
    with world.api_down():
        run = world.run("one", 0.1)
        until("a worker receives it", lambda: world.log().count("Executing workload in Celery") > before, world)
        assert world.hidden() == 1, "the message was deleted before the task started"
        world.kill_worker()
        assert run.states() == {"queued"}
    world.start_worker()
    until("another worker runs it", lambda: run.states() <= ENDED, world)
    assert (run.states(), run.tries(), dict(run.journal())) == ({"success"}, [1], {"start 1": 1, "end 1": 1})


def test_a_task_whose_message_is_lost_is_queued_again_and_keeps_its_try(world: AirflowUnderTest) -> None:
    sqs = world.stack.client("sqs")
    run = world.run("parked", 0.1)
    (message,) = until(
        "the message is sent",
        lambda: sqs.receive_message(QueueUrl=world.parking, WaitTimeSeconds=2).get("Messages"),
        world,
    )
    sqs.delete_message(QueueUrl=world.parking, ReceiptHandle=message["ReceiptHandle"])
    (again,) = until(
        "the task is queued again",
        lambda: sqs.receive_message(QueueUrl=world.parking, WaitTimeSeconds=2).get("Messages"),
        world,
    )
    assert run.states() == {"queued"}
    for body in (again["Body"], message["Body"]):  # the lost message is found again
        sqs.send_message(QueueUrl=world.stack.queue_url, MessageBody=body)
    until("the task ends", lambda: run.states() <= ENDED, world)
    assert (run.states(), run.tries(), dict(run.journal())) == ({"success"}, [1], {"start 1": 1, "end 1": 1})


def test_on_sigterm_tasks_are_ended_by_airflow_and_retried(world: AirflowUnderTest) -> None:
    run = world.run("both", 120)
    until("both run", lambda: run.journal()["start 1"] == 2, world)
    until("their messages are deleted", lambda: world.hidden() == 0, world)
    process = world.stack.processes["worker"]
    process.terminate()  # ECS sends SIGTERM to a Spot task
    until("the worker ends", lambda: process.poll() is not None, world)
    assert process.returncode == 0
    assert run.journal() == {"start 1": 2, "on_kill 1": 1}, "on_kill was not called, or a task ended normally"
    until(
        "the scheduler handles their end without waiting for heartbeats", lambda: "running" not in run.states(), world
    )
    assert "failed" not in run.states()
    world.kill_worker()  # the rest of its session
    world.start_worker()
    until("both are retried", lambda: run.states() <= ENDED, world)
    assert (run.states(), run.tries()) == ({"success"}, [2, 2])


@pytest.mark.parametrize("outage_s", [60, 300])
@pytest.mark.fault(
    "execution API gone", "Running tasks continue; their heartbeats and results are retried until it runs again."
)
def test_running_tasks_survive_an_outage_of_the_execution_api(world: AirflowUnderTest, outage_s: int) -> None:
    run = world.run("two", outage_s / 2)  # ends in the middle of the outage
    until("both run", lambda: run.journal()["start 1"] == 2, world)
    with world.api_down():
        time.sleep(outage_s)
        assert run.journal()["end 1"] == 2, "a task stopped without the API"
    until("the results arrive", lambda: run.states() <= ENDED, world)
    assert (run.states(), run.tries(), dict(run.journal())) == ({"success"}, [1, 1], {"start 1": 2, "end 1": 2})
