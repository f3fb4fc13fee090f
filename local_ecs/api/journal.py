# SPDX-License-Identifier: Apache-2.0
"""A bounded journal of events, for the demo and `openmwaa status`."""

import logging
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Entry:
    """One event; `at` is in seconds since the epoch.

    Kinds: the changing API operations by their names (`UpdateService`: service, desired_before, desired, deployed,
    applied, caller), `Protection` (task, group, enabled, until, refused, by), `TaskStarted`, `TaskRunning`,
    `TaskHealth`, `TaskStopping`, `TaskStopped`, `ServiceEvent`, `Throttled`.
    """

    at: float
    kind: str
    detail: Mapping[str, Any]


class Journal:
    """The last entries, and listeners for new ones."""

    def __init__(self, now: Callable[[], float], *, length: int) -> None:
        self._now = now
        self._entries: deque[Entry] = deque(maxlen=length)
        self._listeners: list[Callable[[Entry], None]] = []

    def add(self, kind: str, /, **detail: Any) -> None:
        """Add an entry with the current time."""
        entry = Entry(self._now(), kind, detail)
        self._entries.append(entry)
        for listener in self._listeners:
            listener(entry)

    def listen(self, listener: Callable[[Entry], None]) -> None:
        """Call `listener` with every new entry."""
        self._listeners.append(listener)

    def entries(self, *kinds: str) -> list[Entry]:
        """Return the stored entries of these kinds or of all, oldest first."""
        return [e for e in self._entries if not kinds or e.kind in kinds]


class EventLog:
    """Appends every service event to a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __call__(self, entry: Entry) -> None:
        """Write the entry if it is a service event. A full disk must not stop the local ECS."""
        if entry.kind != "ServiceEvent":
            return
        at = datetime.fromtimestamp(entry.at, UTC).isoformat(timespec="milliseconds")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a", encoding="utf-8") as file:
                file.write(f"{at} {entry.detail['message']}\n")
        except OSError as error:
            logger.warning("cannot write %s: %s", self._path, error)
