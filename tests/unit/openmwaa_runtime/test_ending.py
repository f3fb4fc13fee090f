# SPDX-License-Identifier: Apache-2.0
"""What runs shortly before the stopTimeout is asked to end, then killed; time is virtual, the processes are real."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from openmwaa_runtime.graceful_stop import Ending, Processes, TaskProcess, end_tasks

POOL_PROCESS = """
import subprocess, sys
task = subprocess.Popen([sys.executable, "-c", {task!r}], stdout=subprocess.PIPE, start_new_session={group})
task.stdout.readline()
print(task.pid, flush=True)
print(task.wait(), flush=True)
"""
OBEYS = "print(flush=True); import time; time.sleep(60)"
IGNORES = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {OBEYS}"


class Recorded:
    """Tasks by name, and what was done with them when."""

    def __init__(self, *pids: int, obeying: frozenset[int] = frozenset()) -> None:
        self.now = 0.0
        self.running = {TaskProcess(pid, 1) for pid in pids}
        self.obeying = obeying
        self.done: list[tuple[float, str, int]] = []

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def tasks(self) -> set[TaskProcess]:
        return set(self.running)

    def ask(self, task: TaskProcess) -> None:
        self.done.append((self.now, "ask", task.pid))
        if task.pid in self.obeying:
            self.running.discard(task)

    def kill(self, task: TaskProcess) -> None:
        self.done.append((self.now, "kill", task.pid))


def test_tasks_are_asked_after_90_s_of_120_and_those_that_run_on_are_killed_after_105() -> None:
    machine = Recorded(1, 2, obeying=frozenset({1}))
    end_tasks(machine, 120.0, sleep=machine.sleep)
    assert machine.done == [(90.0, "ask", 1), (90.0, "ask", 2), (105.0, "kill", 2)]


def test_a_worker_without_tasks_ends_nobody() -> None:
    machine = Recorded()
    end_tasks(machine, 120.0, sleep=machine.sleep)
    assert machine.done == []


def test_nothing_is_ended_before_the_signal() -> None:
    machine, slept = Recorded(1), threading.Event()

    def sleep(seconds: float) -> None:
        machine.sleep(seconds)
        if machine.now == 105.0:
            slept.set()

    ending = Ending(machine, 120.0, sleep=sleep)
    ending.start()
    assert machine.now == 0.0
    ending.begin()
    assert slept.wait(10), "the signal was not heard"


@pytest.fixture(params=[OBEYS, IGNORES], ids=["obeys", "ignores"])
def pool_process(request: pytest.FixtureRequest) -> Iterator[tuple["subprocess.Popen[str]", int, str]]:
    yield from _pool_process(request.param, group=True)


def _pool_process(task: str, group: bool) -> Iterator[tuple["subprocess.Popen[str]", int, str]]:
    code = POOL_PROCESS.format(task=task, group=group)
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        try:
            yield process, pid, task
        finally:
            for each in (pid, process.pid):
                if process.poll() is None:
                    os.kill(each, signal.SIGKILL)


def test_a_task_is_found_asked_and_killed_and_its_supervisor_lives(
    pool_process: tuple["subprocess.Popen[str]", int, str],
) -> None:
    process, pid, task = pool_process
    machine = Processes(os.getpid())
    (found,) = (each for each in machine.tasks() if each.pid == pid)
    machine.ask(TaskProcess(pid, found.started - 1))  # an earlier process of the same number
    machine.ask(found)
    if task == IGNORES:
        assert found in machine.tasks()
        machine.kill(found)
    assert process.stdout is not None
    assert int(process.stdout.readline()) == (-signal.SIGKILL if task == IGNORES else -signal.SIGTERM)
    assert process.wait(10) == 0, "the supervisor did not see the end of its task"


def test_what_leads_no_process_group_is_no_task() -> None:
    for _process, pid, _task in _pool_process(OBEYS, group=False):
        assert pid not in {each.pid for each in Processes(os.getpid()).tasks()}
