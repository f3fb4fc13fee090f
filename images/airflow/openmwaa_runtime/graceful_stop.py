# SPDX-License-Identifier: Apache-2.0
"""Ends running tasks through Airflow shortly before the container's stopTimeout.

ECS sends SIGKILL after the stopTimeout, which is at most two minutes (as on Spot). If a task is killed with its worker,
Airflow detects it after twelve minutes without heartbeats, the operator's `on_kill` never runs, and the log is
incomplete. So tasks continue after SIGTERM for three quarters of the stopTimeout. Then each task's process gets
SIGTERM. Airflow calls `on_kill`, an operator that stops its work fails, and the task gets another try (`lost_worker`).
A task that ignores SIGTERM (a Python function does: Airflow 3.3 continues after `on_kill`) is killed at seven eighths,
with its process group only. Its supervisor then reports the end and uploads the log before the worker ends.
"""

import contextlib
import logging
import mmap
import os
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from openmwaa_runtime.release import installed_release

logger = logging.getLogger(__name__)

STOP_TIMEOUT_VARIABLE: Final = "OPENMWAA_STOP_TIMEOUT_S"
STOP_TIMEOUT_S: Final = 120.0
"""As in the task definition; Fargate's maximum."""
TERMINATE_AFTER: Final = 0.75
KILL_AFTER: Final = 0.875
_UID: Final = "openmwaa-graceful-stop"


@dataclass(frozen=True, order=True)
class TaskProcess:
    """The process of a running task. The start time distinguishes it from a later process with the same pid."""

    pid: int
    started: int


class WorkerProcesses:
    """The task processes of a Celery worker, found in /proc.

    The main process forks pool processes. Airflow's supervisor in a pool process forks the task, which is the leader of
    its own process group. In Airflow 2 the supervisor itself is a fork of the pool process.
    """

    def __init__(self, main: int) -> None:
        self._main = main

    def tasks(self) -> set[TaskProcess]:
        """Return the first process group leaders below the pool processes."""
        found = set()
        below = [pid for child in _children(self._main) for pid in _children(child)]
        while below:
            pid = below.pop()
            with contextlib.suppress(OSError):
                if os.getpgid(pid) == pid:
                    found.add(TaskProcess(pid, _started(pid)))
                else:
                    below += _children(pid)
        return found

    def terminate(self, task: TaskProcess) -> None:
        """Send SIGTERM to the task only, as its supervisor would. The operator stops the child processes."""
        self._send(task, os.kill, signal.SIGTERM)

    def kill(self, task: TaskProcess) -> None:
        """Send SIGKILL to the task's process group."""
        self._send(task, os.killpg, signal.SIGKILL)

    def _send(self, task: TaskProcess, send: Callable[[int, int], None], number: signal.Signals) -> None:
        with contextlib.suppress(OSError):
            if _started(task.pid) == task.started:
                send(task.pid, number)


def _children(pid: int) -> Iterable[int]:
    found: list[int] = []
    with contextlib.suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            found += [int(child) for child in (thread / "children").read_text().split()]
    return found


def _started(pid: int) -> int:
    # Field 22 of stat, in clock ticks since boot. Field 2 is a name in brackets that may contain any character.
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])


def end_tasks(
    processes: WorkerProcesses,
    stop_timeout_s: float,
    *,
    sleep: Callable[[float], None],
    before_terminate: Callable[[], object] = lambda: None,
) -> None:
    """Run the sequence after SIGTERM: wait, terminate, wait, kill."""
    sleep(stop_timeout_s * TERMINATE_AFTER)
    before_terminate()
    tasks = processes.tasks()
    if tasks:
        logger.warning(
            "the container ends in %.0f s: terminating %d tasks", stop_timeout_s * (1 - TERMINATE_AFTER), len(tasks)
        )
    for task in sorted(tasks):
        processes.terminate(task)
    sleep(stop_timeout_s * (KILL_AFTER - TERMINATE_AFTER))
    for task in sorted(processes.tasks()):
        processes.kill(task)


def start_waiting(
    processes: WorkerProcesses,
    stop_timeout_s: float,
    *,
    sleep: Callable[[float], None] = time.sleep,
    before_terminate: Callable[[], object] = lambda: None,
) -> Callable[[], None]:
    """Wait for SIGTERM in a thread. Return the function to call on SIGTERM, which is safe inside a signal handler."""
    signals: queue.SimpleQueue[None] = queue.SimpleQueue()

    def wait() -> None:
        signals.get()
        end_tasks(processes, stop_timeout_s, sleep=sleep, before_terminate=before_terminate)

    threading.Thread(target=wait, name="openmwaa-graceful-stop", daemon=True).start()
    return lambda: signals.put(None)


def install() -> Callable[[], None]:
    """Start the thread in a worker's main process. Return the function to call on SIGTERM."""
    from celery.signals import worker_init  # noqa: PLC0415 - only workers need Celery here

    flag = mmap.mmap(-1, 1)  # shared with pool processes and tasks, which are forks

    def on_worker_init(**_: Any) -> None:
        installed_release().hooks.keep_lost_tasks(lambda: flag[0] != 0)

    def before_terminate() -> None:
        flag[0] = 1

    worker_init.connect(on_worker_init, weak=False, dispatch_uid=_UID)
    stop_timeout_s = _stop_timeout_s(os.environ.get(STOP_TIMEOUT_VARIABLE, ""))
    return start_waiting(WorkerProcesses(os.getpid()), stop_timeout_s, before_terminate=before_terminate)


def _stop_timeout_s(text: str) -> float:
    with contextlib.suppress(ValueError):
        if (seconds := float(text)) > 0:
            return seconds
    return STOP_TIMEOUT_S
