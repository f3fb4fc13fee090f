# SPDX-License-Identifier: Apache-2.0
"""`retries=0` and lost workers, with real Airflow and the image's own settings; heartbeats time out after 20 s.

The environment has `core.default_task_retries`, as a user may set it.
"""

import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.airflow_stack import Stack

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(1800)]

PATIENCE_S = 300.0
ENDED = {"success", "failed"}
SETTINGS = {
    "AIRFLOW__CORE__DEFAULT_TASK_RETRIES": "1",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "20",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
    "OPENMWAA_STOP_TIMEOUT_S": "16",
}
DAGS = """
import os, pathlib, threading, time
from datetime import timedelta
from airflow.sdk import BaseOperator, dag, get_current_context, task

def write(event):
    context = get_current_context()
    with pathlib.Path(context["dag_run"].conf["journal"]).open("a") as lines:
        print(event, context["ti"].task_id, context["ti"].try_number, file=lines, flush=True)

def wait():
    print("environment:", dict(os.environ), pathlib.Path("/proc/self/environ").read_bytes())
    write("start")
    time.sleep(300 if get_current_context()["ti"].try_number == 1 else 0.1)

class Stoppable(BaseOperator):
    def __init__(self, value=0, **arguments):
        super().__init__(**arguments)
        self.value = value
    def execute(self, context):
        self.stop = threading.Event()
        write("start")
        if context["ti"].try_number == 1 and self.stop.wait(300):
            raise RuntimeError("stopped by on_kill")
    def on_kill(self):
        self.stop.set()

DELAY = {"retry_delay": timedelta(seconds=1)}

@dag(schedule=None, default_args=DELAY)
def failing():
    @task
    def zero_mapped(value):
        write("start")
        raise ValueError(value)
    @task
    def unsaid(value):
        write("start")
        raise ValueError(value)
    zero_mapped.override(retries=0).expand(value=[1, 2])
    unsaid(1)

@dag(schedule=None, default_args={**DELAY, "retries": 0})
def lost():
    @task
    def waiting(value):
        wait()
    waiting.expand(value=[1])
    def never(context):
        write("failure_callback")
    Stoppable.partial(task_id="operator", on_failure_callback=never).expand(value=[1])

failing()
lost()
"""


class DagRun:
    def __init__(self, stack: Stack, dag_id: str) -> None:
        self._journal = stack.folder / f"journal-{dag_id}-{time.monotonic_ns()}"
        self._journal.touch(mode=0o666)
        self._stack, self._dag_id = stack, dag_id
        self._run_id = stack.trigger(dag_id, {"journal": str(self._journal)})

    def tasks(self) -> list[dict[str, Any]]:
        return self._stack.tasks(self._dag_id, self._run_id)

    def ended(self) -> bool:
        tasks = self.tasks()
        return bool(tasks) and all(task["map_index"] is not None and task["state"] in ENDED for task in tasks)

    def results(self) -> set[tuple[str, str, int]]:
        return {(task["task_id"], task["state"], task["try_number"]) for task in self.tasks()}

    def log(self, task_id: str, number: int) -> str:
        (task,) = [task for task in self.tasks() if task["task_id"] == task_id]
        return self._stack.task_log(self._dag_id, self._run_id, task, number)

    def journal(self) -> Counter[str]:
        return Counter(self._journal.read_text().splitlines())


def until(what: str, condition: Callable[[], Any], stack: Stack) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        logs = "\n".join(stack.log(name).read_text(errors="replace")[-3000:] for name in ("scheduler", "worker"))
        assert time.monotonic() < deadline, f"not within {PATIENCE_S:.0f} s: {what}\n{logs}"
        time.sleep(0.5)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder: Path = tmp_path_factory.mktemp("retries")
    for path in (folder, *folder.parents[:2]):
        path.chmod(0o755)  # PostgreSQL runs as another user
    with Stack(folder, block=42, visibility_timeout_s=60, slots=4) as made:
        made.upload("retries.py", DAGS)
        made.start_airflow(SETTINGS)
        yield made


def test_a_mapped_task_with_retries_0_that_fails_runs_once(stack: Stack) -> None:
    run = DagRun(stack, "failing")
    until("all tasks end", run.ended, stack)
    assert run.results() == {("zero_mapped", "failed", 1), ("unsaid", "failed", 2)}
    assert run.journal() == {"start zero_mapped 1": 2, "start unsaid 1": 1, "start unsaid 2": 1}


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "stopped"])
def test_a_task_with_retries_0_whose_worker_is_lost_is_tried_again(stack: Stack, how: signal.Signals) -> None:
    run = DagRun(stack, "lost")
    until("both run", lambda: run.journal() == {"start waiting 1": 1, "start operator 1": 1}, stack)
    until("the log of a running task is readable", lambda: "environment:" in run.log("waiting", 1), stack)
    assert not [word for word in ("8793", "served logs", "celery-password") if word in run.log("waiting", 1)]
    process = stack.processes["worker"]
    if how is signal.SIGTERM:
        process.terminate()  # as ECS stops a task: SIGKILL follows only after the stopTimeout
        process.wait(PATIENCE_S)
    stack.stop("worker", signal.SIGKILL)
    stack.component("worker", "worker", "1.6", SETTINGS)
    until("both end", run.ended, stack)
    assert run.results() == {("waiting", "success", 2), ("operator", "success", 2)}
    assert "environment:" in run.log("waiting", 1), "the log is lost with its worker"
    assert run.journal() == {f"start {name} {number}": 1 for name in ("waiting", "operator") for number in (1, 2)}
