# SPDX-License-Identifier: Apache-2.0
"""Finds and kills every process of a container, a task or an environment.

A container runtime ends a process namespace, which does not exist here. Three criteria find the processes, because none
is sufficient:

- *marker variables* in the initial environment, which children inherit. Programs that write their title over it lose
  them (`setproctitle`, as in Celery and Airflow);
- the *session*: every container starts in its own. Children that call `setsid` leave it;
- *descent*: children of found processes. They are lost if a parent in between has ended.
"""

import asyncio
import contextlib
import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil

ENVIRONMENT_MARK = "OPENMWAA_LOCAL_ID"
TASK_MARK = "OPENMWAA_TASK_ID"
CONTAINER_MARK = "OPENMWAA_CONTAINER"


@dataclass(frozen=True)
class Trace:
    """Criteria of processes; one match is sufficient."""

    marks: Mapping[str, str] = field(default_factory=dict)
    """Variables of the initial environment; all must match. Empty: no match."""
    sessions: Collection[int] = ()
    roots: Collection[int] = ()
    """Processes that match, with all their descendants."""
    spared: Collection[str] = ()
    """Values of `CONTAINER_MARK` of processes that never match."""
    home: Path | None = None
    """Adopted orphans of this process match if their working directory is below this folder."""


@dataclass(frozen=True)
class _Entry:
    process: psutil.Process
    parent: int
    session: int


def find(trace: Trace) -> list[psutil.Process]:
    """Running processes (no zombies, not this one) that match the trace, and all their descendants."""
    running = {entry.process.pid: entry for entry in _running()}
    variables = _as_environment(trace.marks)
    matched = {pid for pid, entry in running.items() if _matches(entry, trace, variables)}
    children: dict[int, list[int]] = {}
    for pid, entry in running.items():
        children.setdefault(entry.parent, []).append(pid)
    todo = list(matched)
    while todo:
        for child in children.get(todo.pop(), ()):
            if child not in matched:
                matched.add(child)
                todo.append(child)
    matched.discard(os.getpid())
    if spared := {f"{CONTAINER_MARK}={value}".encode() for value in trace.spared}:
        matched = {pid for pid in matched if not spared & _initial_environment(pid)}
    return [running[pid].process for pid in sorted(matched)]


async def kill_all(trace: Trace, *, within_s: float = 5.0) -> list[psutil.Process]:
    """Kill all processes of the trace, repeatedly, and return those that remain after `within_s`.

    It repeats because a process may fork after it was listed and before it is killed.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within_s
    pause = 0.01
    while remaining := find(trace):
        for process in remaining:
            with contextlib.suppress(psutil.Error):
                process.kill()  # psutil compares the creation time, so a reused pid is safe
        if loop.time() > deadline:
            return remaining
        await asyncio.sleep(pause)
        pause = min(pause * 2, 0.25)
    return []


def _running() -> Iterable[_Entry]:
    for process in psutil.process_iter(["ppid", "status"]):
        if process.info["status"] == psutil.STATUS_ZOMBIE:
            continue
        with contextlib.suppress(ProcessLookupError, PermissionError):
            yield _Entry(process=process, parent=process.info["ppid"] or 0, session=os.getsid(process.pid))


def _as_environment(marks: Mapping[str, str]) -> frozenset[bytes]:
    return frozenset(f"{name}={value}".encode() for name, value in marks.items())


def _matches(entry: _Entry, trace: Trace, variables: frozenset[bytes]) -> bool:
    pid = entry.process.pid
    if pid in trace.roots or entry.session in trace.sessions:
        return True
    if variables and variables <= _initial_environment(pid):
        return True
    return trace.home is not None and entry.parent == os.getpid() and works_below(pid, trace.home)


def _initial_environment(pid: int) -> frozenset[bytes]:
    try:
        return frozenset(Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"))
    except OSError:  # ended, or of another user
        return frozenset()


def works_below(pid: int, home: Path) -> bool:
    """Whether the working directory of a process is in a folder, even if the folder was deleted."""
    try:
        folder = Path(f"/proc/{pid}/cwd").readlink()
    except OSError:  # ended, or of another user
        return False
    return Path(str(folder).removesuffix(" (deleted)")).is_relative_to(home)
