# SPDX-License-Identifier: Apache-2.0
"""Stores the sessions of an environment's containers, to find them after the daemon was killed.

A marker variable does not find programs that write their title over their initial environment (Celery, Airflow).
"""

import contextlib
import json
from pathlib import Path

import psutil

from local_ecs.runtime.process_tree import Trace, find, works_below

FOLDER = "sessions"


class SessionRegister:
    """One file for each container in `work_dir/sessions`: pid and creation time of the session's leader."""

    def __init__(self, work_dir: Path) -> None:
        self._work_dir = work_dir
        self._folder = work_dir / FOLDER

    def add(self, task_id: str, container: str, pid: int) -> None:
        """Store a started container."""
        with contextlib.suppress(OSError, psutil.Error):  # a full disk must not stop a task
            created = psutil.Process(pid).create_time()
            self._folder.mkdir(parents=True, exist_ok=True)
            (self._folder / f"{task_id}.{container}.json").write_text(json.dumps({"pid": pid, "created": created}))

    def forget(self, task_id: str) -> None:
        """Remove the entries of a task that has ended."""
        with contextlib.suppress(OSError):
            for file in self._folder.glob(f"{task_id}.*.json"):
                file.unlink(missing_ok=True)

    def trace(self) -> Trace:
        """The criteria of the stored sessions that still exist.

        A session counts if its leader is the stored process, or if the leader has ended and the working directory of a
        member is in the environment's folder. Otherwise the session id was reused by another program.
        """
        sessions = set()
        for file in self._folder.glob("*.json") if self._folder.is_dir() else ():
            with contextlib.suppress(OSError, ValueError, KeyError):
                stored = json.loads(file.read_text())
                if self._is_ours(stored["pid"], stored["created"]):
                    sessions.add(stored["pid"])
        return Trace(sessions=frozenset(sessions))

    def _is_ours(self, pid: int, created: float) -> bool:
        try:
            return abs(psutil.Process(pid).create_time() - created) < 1.0
        except psutil.NoSuchProcess:
            members = find(Trace(sessions=(pid,)))
            return any(works_below(member.pid, self._work_dir) for member in members)
