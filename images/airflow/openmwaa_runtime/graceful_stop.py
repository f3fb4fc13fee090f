# SPDX-License-Identifier: Apache-2.0
"""What runs shortly before a container's stopTimeout is ended through Airflow.

Spot gives two minutes, and ECS never more: then SIGKILL. A task that is killed with its worker is noticed when its
heartbeats have been missing for twelve minutes, its operator's `on_kill` never runs, and its log ends in the middle. So
tasks go on after SIGTERM for three quarters of the stopTimeout. Then each task's process gets SIGTERM, on which
Airflow calls `on_kill`; an operator that stops its work fails, and with a retry left the task is up for retry. A task
that ignores it (a Python function does: Airflow 3.3 goes on after `on_kill`) is killed at seven eighths, its process
group only. Its supervisor lives, reports the end, and uploads the log, before the worker ends by itself.
"""

import contextlib
import logging
import os
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

logger = logging.getLogger(__name__)

STOP_TIMEOUT_VARIABLE: Final = "OPENMWAA_STOP_TIMEOUT_S"
STOP_TIMEOUT_S: Final = 120.0
"""As in the task definition, and the most that Fargate allows."""
ASK_AFTER: Final = 0.75
KILL_AFTER: Final = 0.875


@dataclass(frozen=True, order=True)
class TaskProcess:
    """The process of a running task; its start tells it from a later one with the same number."""

    pid: int
    started: int


class Machine(Protocol):
    """The processes of this worker."""

    def tasks(self) -> set[TaskProcess]:
        """Return those that run an Airflow task now."""
        ...

    def ask(self, task: TaskProcess) -> None:
        """Have a task's `on_kill` called."""
        ...

    def kill(self, task: TaskProcess) -> None:
        """Kill a task with all it started."""
        ...


def end_tasks(machine: Machine, stop_timeout_s: float, *, sleep: Callable[[float], None]) -> None:
    """From SIGTERM on: wait, ask, wait, kill."""
    sleep(stop_timeout_s * ASK_AFTER)
    asked = machine.tasks()
    if asked:
        logger.warning("the container ends in %.0f s: %d tasks are ended", stop_timeout_s * (1 - ASK_AFTER), len(asked))
    for task in sorted(asked):
        machine.ask(task)
    sleep(stop_timeout_s * (KILL_AFTER - ASK_AFTER))
    for task in sorted(machine.tasks()):
        machine.kill(task)


class Ending:
    """Waits for SIGTERM in a thread of its own; `begin` is safe inside a signal handler."""

    def __init__(self, machine: Machine, stop_timeout_s: float, *, sleep: Callable[[float], None] = time.sleep) -> None:
        self._machine = machine
        self._stop_timeout_s = stop_timeout_s
        self._sleep = sleep
        self._told: queue.SimpleQueue[None] = queue.SimpleQueue()

    def start(self) -> None:
        """Begin to wait."""
        threading.Thread(target=self._wait, name="openmwaa-ending", daemon=True).start()

    def begin(self) -> None:
        """The container was told to stop."""
        self._told.put(None)

    def _wait(self) -> None:
        self._told.get()
        end_tasks(self._machine, self._stop_timeout_s, sleep=self._sleep)


def install() -> Callable[[], None]:
    """Start waiting; call what this returns when SIGTERM comes, in a worker's main process."""
    ending = Ending(Processes(os.getpid()), _stop_timeout_s(os.environ.get(STOP_TIMEOUT_VARIABLE, "")))
    ending.start()
    return ending.begin


def _stop_timeout_s(text: str) -> float:
    with contextlib.suppress(ValueError):
        if (seconds := float(text)) > 0:
            return seconds
    return STOP_TIMEOUT_S


class Processes:
    """The tasks below a Celery worker's main process, by /proc.

    The main process forks pool processes; Airflow's supervisor in a pool process forks the task, which leads a process
    group of its own.
    """

    def __init__(self, main: int) -> None:
        self._main = main

    def tasks(self) -> set[TaskProcess]:
        """Return the grandchildren that lead a process group."""
        grandchildren = (pid for child in _children(self._main) for pid in _children(child))
        found = set()
        for pid in grandchildren:
            with contextlib.suppress(OSError):
                if os.getpgid(pid) == pid:
                    found.add(TaskProcess(pid, _started(pid)))
        return found

    def ask(self, task: TaskProcess) -> None:
        """Send SIGTERM to the task itself, as its supervisor would; what it started is its operator's business."""
        self._send(task, os.kill, signal.SIGTERM)

    def kill(self, task: TaskProcess) -> None:
        """Send SIGKILL to the task's process group."""
        self._send(task, os.killpg, signal.SIGKILL)

    def _send(self, task: TaskProcess, how: Callable[[int, int], None], what: signal.Signals) -> None:
        with contextlib.suppress(OSError):
            if _started(task.pid) == task.started:
                how(task.pid, what)


def _children(pid: int) -> Iterable[int]:
    found: list[int] = []
    with contextlib.suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            found += [int(child) for child in (thread / "children").read_text().split()]
    return found


def _started(pid: int) -> int:
    # Field 22 of stat, in clock ticks since boot; the second field is a name in brackets that may hold anything.
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
