# SPDX-License-Identifier: Apache-2.0
"""Whether a daemon lives, and ending what a dead one left behind."""

from __future__ import annotations

import asyncio
import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from local_ecs.runtime.process_tree import CONTAINER_MARK, ENVIRONMENT_MARK, Trace, find, kill_all
from local_ecs.runtime.sessions import SessionRegister
from openmwaa.local.errors import DaemonError
from openmwaa.local.paths import LocalPaths
from openmwaa.local.subprocesses import COMMAND

PROBES_PASS_WITHIN_S = 2.0
"""A command that looks whether a daemon lives holds its lock for microseconds, on a busy machine for longer."""


@contextmanager
def daemon_lock(paths: LocalPaths) -> Iterator[None]:
    """Hold what the daemon holds for its whole life; the kernel lets go of it however the daemon ends.

    Raises:
        DaemonError: a daemon of this environment lives.
    """
    taken = f"The environment {paths.name} is running already."
    with _lock(_daemon_lock(paths), taken, patience_s=PROBES_PASS_WITHIN_S):
        yield


@contextmanager
def command_lock(paths: LocalPaths) -> Iterator[None]:
    """Be the only `up` or `down` of this environment, after ending what a killed `up` left: its Terraform runs on.

    Raises:
        DaemonError: an `up` or `down` is at work, or a dead one's remains do not end.
    """
    with _lock(
        paths.root / "up.lock",
        f"Another `openmwaa local up` or `down` works on {paths.name}; wait for it, or end it with Ctrl-C.",
    ):
        asyncio.run(end_commands(paths))
        yield


async def end_commands(paths: LocalPaths) -> None:
    """End the programs that an `up` of this environment started: Terraform, installers.

    Raises:
        DaemonError: some do not end.
    """
    marks = {ENVIRONMENT_MARK: paths.environment_id, CONTAINER_MARK: COMMAND}
    if left := await kill_all(Trace(marks=marks), within_s=10):
        raise DaemonError(f"Processes of `openmwaa local up` do not end: {left[0].pid}. End them with kill -9.")


@contextmanager
def _lock(file: Path, taken: str, *, patience_s: float = 0.0) -> Iterator[None]:
    file.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + patience_s
    with file.open("w") as held:
        while True:
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise DaemonError(taken) from None
                time.sleep(0.02)
        yield


def _daemon_lock(paths: LocalPaths) -> Path:
    return paths.root / "daemon.lock"


def daemon_lives(paths: LocalPaths) -> bool:
    """Whether some process holds the daemon's lock."""
    # Who looks takes a shared lock for an instant: others may look too, and a daemon that starts waits for it.
    try:
        with _daemon_lock(paths).open("r") as looked_at:
            fcntl.flock(looked_at, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    return False


def traces(paths: LocalPaths, *, spare_commands: bool = False) -> Trace:
    """Everything by which the environment's processes are found; a command's own programs among them or not."""
    return Trace(
        marks={ENVIRONMENT_MARK: paths.environment_id},
        sessions=SessionRegister(paths.tasks).trace().sessions,
        spared={CONTAINER_MARK: COMMAND} if spare_commands else {},
    )


def remains(paths: LocalPaths, *, spare_commands: bool = False) -> list[psutil.Process]:
    """The environment's living processes, this one excepted; a command's own programs among them or not."""
    return find(traces(paths, spare_commands=spare_commands))


async def sweep(paths: LocalPaths, *, spare_commands: bool = False) -> int:
    """End every process that a dead daemon left; how many there were.

    The daemon spares what a command runs beside it: `up` installs Airflow while the daemon starts.

    Raises:
        DaemonError: some do not end.
    """
    trace = traces(paths, spare_commands=spare_commands)
    found = find(trace)
    if left := await kill_all(trace, within_s=10):
        pids = ", ".join(str(process.pid) for process in left)
        raise DaemonError(f"Processes of an earlier run do not end: {pids}. End them (kill -9), then try again.")
    SessionRegister(paths.tasks).clear()
    return len(found)
