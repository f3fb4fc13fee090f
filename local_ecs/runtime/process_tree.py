# SPDX-License-Identifier: Apache-2.0
"""Finding and ending every process of a container, a task or an environment.

A container runtime ends a process namespace; here there is none. Three traces find what belongs together, because
none suffices alone:

- *marker variables* in the initial environment (inherited by every child), lost by programs that write their title over
  it (`setproctitle`: Celery and Airflow do);
- the *session*: every container starts in its own, lost by children that call `setsid`;
- *descent*: children of what was found, lost when a parent in between has died.
"""

import asyncio
import contextlib
import os
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil

ENVIRONMENT_MARK = "OPENMWAA_LOCAL_ID"
TASK_MARK = "OPENMWAA_TASK_ID"
CONTAINER_MARK = "OPENMWAA_CONTAINER"


@dataclass(frozen=True)
class Trace:
    """By what to recognise processes; one match is enough."""

    marks: Mapping[str, str] = field(default_factory=dict)
    """Variables that the initial environment must hold, all of them; empty matches nothing."""
    sessions: Collection[int] = ()
    roots: Collection[int] = ()
    """Processes that match, with all their descendants."""
    spared: Mapping[str, str] = field(default_factory=dict)
    """Variables whose carriers do not match whatever else they have; empty spares nobody."""
    home: Path | None = None
    """Orphans adopted by this process whose working directory lies below it."""


@dataclass(frozen=True)
class _Seen:
    process: psutil.Process
    parent: int
    session: int


def find(trace: Trace) -> list[psutil.Process]:
    """Living processes (no zombies, never this one) that match the trace, and all their descendants."""
    seen = {entry.process.pid: entry for entry in _running()}
    wanted = _as_environment(trace.marks)
    matched = {pid for pid, entry in seen.items() if _matches(entry, trace, wanted)}
    children: dict[int, list[int]] = {}
    for pid, entry in seen.items():
        children.setdefault(entry.parent, []).append(pid)
    todo = list(matched)
    while todo:
        for child in children.get(todo.pop(), ()):
            if child not in matched:
                matched.add(child)
                todo.append(child)
    matched.discard(os.getpid())
    if spared := _as_environment(trace.spared):
        matched = {pid for pid in matched if not spared <= _initial_environment(pid)}
    return [seen[pid].process for pid in sorted(matched)]


async def kill_all(trace: Trace, *, within_s: float = 5.0) -> list[psutil.Process]:
    """SIGKILL all that the trace finds, again until nothing is found; what is left after `within_s` is returned.

    Again and again, because a process may fork between being listed and being killed.
    """
    return await _until_gone(lambda: find(trace), within_s)


async def _until_gone(list_processes: Callable[[], list[psutil.Process]], within_s: float) -> list[psutil.Process]:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within_s
    pause = 0.01
    while left := list_processes():
        for process in left:
            with contextlib.suppress(psutil.Error):
                process.kill()  # psutil compares the creation time first: a reused pid is not hit
        if loop.time() > deadline:
            return left
        await asyncio.sleep(pause)
        pause = min(pause * 2, 0.25)
    return []


def _running() -> Iterable[_Seen]:
    for process in psutil.process_iter(["ppid", "status"]):
        if process.info["status"] == psutil.STATUS_ZOMBIE:
            continue
        with contextlib.suppress(ProcessLookupError, PermissionError):
            yield _Seen(process=process, parent=process.info["ppid"] or 0, session=os.getsid(process.pid))


def _as_environment(marks: Mapping[str, str]) -> frozenset[bytes]:
    return frozenset(f"{name}={value}".encode() for name, value in marks.items())


def _matches(entry: _Seen, trace: Trace, wanted: frozenset[bytes]) -> bool:
    pid = entry.process.pid
    if pid in trace.roots or entry.session in trace.sessions:
        return True
    if wanted and wanted <= _initial_environment(pid):
        return True
    return trace.home is not None and entry.parent == os.getpid() and works_below(pid, trace.home)


def _initial_environment(pid: int) -> frozenset[bytes]:
    try:
        return frozenset(Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"))
    except OSError:  # gone, or another user's
        return frozenset()


def works_below(pid: int, home: Path) -> bool:
    """Whether the working directory of a process is in a folder, be it that the folder was deleted meanwhile."""
    try:
        folder = Path(f"/proc/{pid}/cwd").readlink()
    except OSError:  # gone, or another user's
        return False
    return Path(str(folder).removesuffix(" (deleted)")).is_relative_to(home)
