# SPDX-License-Identifier: Apache-2.0
"""Checks for a running daemon, and ends the processes that a dead one left."""

import asyncio
import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from local_ecs.runtime.process_tree import CONTAINER_MARK, ENVIRONMENT_MARK, Trace, find, kill_all
from local_ecs.runtime.sessions import SessionRegister
from openmwaa.local.child_environment import COMMAND, command_marks
from openmwaa.local.errors import DaemonError
from openmwaa.local.paths import LocalPaths

LOCK_WITHIN_S = 2.0
"""A command that checks for a daemon holds its lock for microseconds, on a busy machine for longer."""


@contextmanager
def daemon_lock(paths: LocalPaths) -> Iterator[None]:
    """Hold the daemon's lock; the kernel releases it at the end of the daemon, however it ends.

    Raises:
        DaemonError: a daemon of this environment runs.
    """
    message = f"The environment {paths.name} is running already."
    with _lock(paths.daemon_lock, message, wait_s=LOCK_WITHIN_S):
        yield


@contextmanager
def command_lock(paths: LocalPaths) -> Iterator[None]:
    """Be the only `up` or `down` of this environment; first ends programs of a killed `up`, such as Terraform.

    Raises:
        DaemonError: another `up` or `down` runs, or the programs do not end.
    """
    with _lock(
        paths.root / "up.lock",
        f"Another `openmwaa local up` or `down` of {paths.name} runs; wait for it, or end it with Ctrl-C.",
    ):
        asyncio.run(end_commands(paths))
        yield


async def end_commands(paths: LocalPaths) -> None:
    """End the programs that an `up` of this environment started, such as Terraform and installers.

    Raises:
        DaemonError: some do not end.
    """
    if left := await kill_all(Trace(marks=command_marks(paths.environment_id)), within_s=10):
        raise DaemonError(f"Processes of `openmwaa local up` do not end: {left[0].pid}. End them with kill -9.")


@contextmanager
def _lock(file: Path, message: str, *, wait_s: float = 0.0) -> Iterator[None]:
    file.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + wait_s
    with file.open("w") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise DaemonError(message) from None
                time.sleep(0.02)
        yield


def daemon_is_running(paths: LocalPaths) -> bool:
    """Whether a process holds the daemon's lock."""
    # A shared lock, for microseconds: several commands can check at once, and a starting daemon waits for it.
    try:
        with paths.daemon_lock.open("r") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    return False


def traces(paths: LocalPaths, *, spare_commands: bool = False) -> Trace:
    """The marks of the environment's processes; `spare_commands` leaves out the programs of commands."""
    return Trace(
        marks={ENVIRONMENT_MARK: paths.environment_id},
        sessions=SessionRegister(paths.tasks).trace().sessions,
        spared={CONTAINER_MARK: COMMAND} if spare_commands else {},
    )


def remaining(paths: LocalPaths, *, spare_commands: bool = False) -> list[psutil.Process]:
    """The environment's processes except this one; `spare_commands` leaves out the programs of commands."""
    return find(traces(paths, spare_commands=spare_commands))


async def end_orphans(paths: LocalPaths, *, spare_commands: bool = False) -> int:
    """End the processes that a dead daemon left, and return their number.

    The daemon spares the programs of commands: `up` installs Airflow while the daemon starts.

    Raises:
        DaemonError: some do not end.
    """
    trace = traces(paths, spare_commands=spare_commands)
    found = find(trace)
    if left := await kill_all(trace, within_s=10):
        pids = ", ".join(str(process.pid) for process in left)
        raise DaemonError(
            f"Processes of an earlier run do not end: {pids}. End them with kill -9, then run the command again."
        )
    SessionRegister(paths.tasks).clear()
    return len(found)
