# SPDX-License-Identifier: Apache-2.0
"""Checks for a running daemon, and ends the processes that a dead one left."""

import asyncio
import contextlib
import fcntl
import os
import shutil
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from local_ecs.runtime.process_tree import CONTAINER_MARK, ENVIRONMENT_MARK, Trace, find, kill_all
from local_ecs.runtime.sessions import SessionRegister
from openmwaa.local.child_environment import EMULATOR, POSTGRESQL, command_marks
from openmwaa.local.errors import DaemonError
from openmwaa.local.paths import LocalPaths, runtime_folder

LOCK_WITHIN_S = 2.0
"""A command that checks for a daemon holds its lock for microseconds, on a busy machine for longer."""
WATCHDOG_WITHIN_S = 60.0
"""A watchdog that ends the processes of a killed daemon holds a shared lock."""
EMULATOR_WITHIN_S = 20.0


@contextmanager
def daemon_lock(paths: LocalPaths) -> Iterator[None]:
    """Hold the daemon's lock; the kernel releases it at the end of the daemon, however it ends.

    Raises:
        DaemonError: a daemon of this environment runs.
    """
    message = f"The environment {paths.name} is running already."
    wait_s = LOCK_WITHIN_S if daemon_is_running(paths) else WATCHDOG_WITHIN_S
    with _lock(paths.daemon_lock, message, wait_s=wait_s):
        yield


@contextmanager
def wait_for_end_of_daemon(paths: LocalPaths) -> Iterator[None]:
    """Wait until the daemon has ended, however it ends; until the exit, no other daemon starts."""
    with paths.daemon_lock.open("r") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
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


def running_environments() -> list[tuple[str, Path]]:
    """The environments of this user that run, each with its name and its file."""
    folder = runtime_folder()
    if not folder.is_dir() or folder.stat().st_uid != os.getuid():
        return []
    found = []
    for link in folder.glob("*/*.yaml"):
        with contextlib.suppress(OSError):  # `down` removes it
            if daemon_is_running(LocalPaths.of(file := link.readlink(), link.stem)):
                found.append((link.stem, file))
    return sorted(found)


def traces(paths: LocalPaths, *, spare: Collection[str] = ()) -> Trace:
    """The marks of the environment's processes, without those whose `CONTAINER_MARK` is in `spare`."""
    return Trace(
        marks={ENVIRONMENT_MARK: paths.environment_id},
        sessions=SessionRegister(paths.tasks).trace().sessions,
        spared=spare,
    )


def remaining(paths: LocalPaths, *, spare: Collection[str] = ()) -> list[psutil.Process]:
    """The environment's processes except this one, without those in `spare`; see `traces`."""
    return find(traces(paths, spare=spare))


async def end_orphans(paths: LocalPaths, *, spare: Collection[str] = ()) -> int:
    """End the processes that a dead daemon left, remove their folders, and return the number of processes.

    All stop before the first is killed, so that none reports the end of another to Airflow as a failed task. The
    emulator ends last and by itself: it saves the messages of the queued tasks.

    Raises:
        DaemonError: some do not end.
    """
    trace = traces(paths, spare=spare)
    emulators = _with_mark(paths, EMULATOR)
    kept = emulators | _with_mark(paths, POSTGRESQL)
    stopped: set[psutil.Process] = set()
    while fresh := set(find(trace)) - stopped - kept:  # again: one may have forked before it stopped
        for process in fresh:
            with contextlib.suppress(psutil.Error):
                process.suspend()
        stopped |= fresh
    for process in stopped:
        with contextlib.suppress(psutil.Error):
            process.kill()
    for process in emulators:
        with contextlib.suppress(psutil.Error):
            process.terminate()
    await asyncio.to_thread(psutil.wait_procs, emulators, timeout=EMULATOR_WITHIN_S)
    if left := await kill_all(trace, within_s=10):
        pids = ", ".join(str(process.pid) for process in left)
        raise DaemonError(
            f"Processes of an earlier run do not end: {pids}. End them with kill -9, then run the command again."
        )
    for folder in (*paths.tasks.glob("*"), paths.runtime / "tmp"):
        shutil.rmtree(folder, ignore_errors=True)
    return len(stopped | kept)


def _with_mark(paths: LocalPaths, container: str) -> set[psutil.Process]:
    return set(find(Trace(marks={ENVIRONMENT_MARK: paths.environment_id, CONTAINER_MARK: container})))
