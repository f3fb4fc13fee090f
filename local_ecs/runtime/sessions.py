# SPDX-License-Identifier: Apache-2.0
"""Which sessions an environment's containers have, written down so that they are found when the daemon was killed.

Programs that write their title over their initial environment (Celery, Airflow) cannot be found by a marker variable.
"""

import contextlib
import json
from pathlib import Path

import psutil

from local_ecs.runtime.process_tree import Trace, find, works_below

FOLDER = "sessions"


class SessionRegister:
    """One small file a container under `work_dir/sessions`: pid and creation time of the session's leader."""

    def __init__(self, work_dir: Path) -> None:
        self._work_dir = work_dir
        self._folder = work_dir / FOLDER

    def add(self, task_id: str, container: str, pid: int) -> None:
        """Note a started container."""
        with contextlib.suppress(OSError, psutil.Error):  # a full disk must not stop a task
            created = psutil.Process(pid).create_time()
            self._folder.mkdir(parents=True, exist_ok=True)
            (self._folder / f"{task_id}.{container}.json").write_text(json.dumps({"pid": pid, "created": created}))

    def forget(self, task_id: str) -> None:
        """The task has ended and left nothing."""
        with contextlib.suppress(OSError):
            for file in self._folder.glob(f"{task_id}.*.json"):
                file.unlink(missing_ok=True)

    def clear(self) -> None:
        """Nothing is left of any task."""
        with contextlib.suppress(OSError):
            for file in self._folder.glob("*.json"):
                file.unlink(missing_ok=True)

    def trace(self) -> Trace:
        """Finds what is left of the noted sessions.

        A session's number is trusted when its leader is the noted process, or when the leader is gone and a member
        works in the environment's folder; a number that was given anew belongs to somebody else.
        """
        sessions = set()
        for file in self._folder.glob("*.json") if self._folder.is_dir() else ():
            with contextlib.suppress(OSError, ValueError, KeyError):
                noted = json.loads(file.read_text())
                if self._is_ours(noted["pid"], noted["created"]):
                    sessions.add(noted["pid"])
        return Trace(sessions=frozenset(sessions))

    def _is_ours(self, pid: int, created: float) -> bool:
        try:
            return abs(psutil.Process(pid).create_time() - created) < 1.0
        except psutil.NoSuchProcess:
            members = find(Trace(sessions=(pid,)))
            return any(works_below(member.pid, self._work_dir) for member in members)
