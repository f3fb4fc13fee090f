# SPDX-License-Identifier: Apache-2.0
"""Running tasks are terminated shortly before the stopTimeout, then killed, in virtual time with real processes."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from openmwaa_runtime.graceful_stop import TaskProcess, WorkerProcesses, end_tasks, start_waiting

POOL_PROCESS = """
import subprocess, sys
task = subprocess.Popen([sys.executable, "-c", {task!r}], stdout=subprocess.PIPE, start_new_session={group})
task.stdout.readline()
print(task.pid, flush=True)
print(task.wait(), flush=True)
"""
STOPS = "print(flush=True); import time; time.sleep(60)"
IGNORES = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {STOPS}"


class FakeProcesses(WorkerProcesses):
    """Tasks by pid, and the signals with their times."""

    def __init__(self, *pids: int, stopping: frozenset[int] = frozenset()) -> None:
        self.now = 0.0
        self.running = {TaskProcess(pid, 1) for pid in pids}
        self.stopping = stopping
        self.signals: list[tuple[float, str, int]] = []

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def tasks(self) -> set[TaskProcess]:
        return set(self.running)

    def terminate(self, task: TaskProcess) -> None:
        self.signals.append((self.now, "terminate", task.pid))
        if task.pid in self.stopping:
            self.running.discard(task)

    def kill(self, task: TaskProcess) -> None:
        self.signals.append((self.now, "kill", task.pid))

    def _send(self, *_: object) -> None:
        raise AssertionError("a test must not send signals to other processes")


def test_tasks_are_terminated_after_90_s_of_120_and_killed_after_105_s() -> None:
    processes = FakeProcesses(1, 2, stopping=frozenset({1}))
    end_tasks(processes, 120.0, sleep=processes.sleep)
    assert processes.signals == [(90.0, "terminate", 1), (90.0, "terminate", 2), (105.0, "kill", 2)]


def test_tasks_and_supervisors_know_of_the_stop_before_the_first_signal() -> None:
    processes = FakeProcesses(1)
    known: list[float] = []
    end_tasks(processes, 120.0, sleep=processes.sleep, before_terminate=lambda: known.append(len(processes.signals)))
    assert known == [0]


def test_a_worker_without_tasks_sends_no_signal() -> None:
    processes = FakeProcesses()
    end_tasks(processes, 120.0, sleep=processes.sleep)
    assert processes.signals == []


def test_no_task_ends_before_sigterm() -> None:
    processes, slept = FakeProcesses(1), threading.Event()

    def sleep(seconds: float) -> None:
        processes.sleep(seconds)
        if processes.now == 105.0:
            slept.set()

    on_sigterm = start_waiting(processes, 120.0, sleep=sleep)
    assert processes.now == 0.0
    on_sigterm()
    assert slept.wait(120), "the sequence did not run after the signal"


@pytest.fixture(params=[STOPS, IGNORES], ids=["stops", "ignores"])
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
            for leftover in (pid, process.pid):
                if process.poll() is None:
                    os.kill(leftover, signal.SIGKILL)


def test_a_task_is_found_terminated_and_killed_and_its_supervisor_survives(
    pool_process: tuple["subprocess.Popen[str]", int, str],
) -> None:
    process, pid, task = pool_process
    processes = WorkerProcesses(os.getpid())
    (found,) = (found for found in processes.tasks() if found.pid == pid)
    processes.terminate(TaskProcess(pid, found.started - 1))  # an earlier process with the same pid
    processes.terminate(found)
    if task == IGNORES:
        assert found in processes.tasks()
        processes.kill(found)
    assert process.stdout is not None
    assert int(process.stdout.readline()) == (-signal.SIGKILL if task == IGNORES else -signal.SIGTERM)
    assert process.wait(120) == 0, "the supervisor did not detect the end of its task"


def test_a_process_that_is_not_a_group_leader_is_not_a_task() -> None:
    for _process, pid, _task in _pool_process(STOPS, group=False):
        assert pid not in {task.pid for task in WorkerProcesses(os.getpid()).tasks()}
