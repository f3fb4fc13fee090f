# SPDX-License-Identifier: Apache-2.0
"""What happened, in order and bounded: the demo and `openmwaa local status` read it."""

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
    """One thing that happened; `at` is seconds since the epoch.

    Kinds: the changing API operations by their names (`UpdateService`: service, desired_before, desired, deployed,
    applied, who), `Protection` (task, group, enabled, until, refused, by), `TaskStarted`, `TaskRunning`, `TaskHealth`,
    `TaskStopping`, `TaskStopped`, `ServiceEvent`, `Throttled`.
    """

    at: float
    kind: str
    detail: Mapping[str, Any]


class Journal:
    """The last entries, and those who want to hear of each at once."""

    def __init__(self, now: Callable[[], float], *, length: int) -> None:
        self._now = now
        self._entries: deque[Entry] = deque(maxlen=length)
        self._listeners: list[Callable[[Entry], None]] = []

    def add(self, kind: str, /, **detail: Any) -> None:
        """Add an entry; its time is now."""
        entry = Entry(self._now(), kind, detail)
        self._entries.append(entry)
        for listener in self._listeners:
            listener(entry)

    def listen(self, listener: Callable[[Entry], None]) -> None:
        """Call `listener` with every entry from now on."""
        self._listeners.append(listener)

    def entries(self, *kinds: str) -> list[Entry]:
        """Return the entries that are kept, oldest first, of the given kinds or of all."""
        return [e for e in self._entries if not kinds or e.kind in kinds]


class EventLog:
    """Appends a line to a file for every service event."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __call__(self, entry: Entry) -> None:
        """Write the entry if it is a service event; a full disk must not stop ECS."""
        if entry.kind != "ServiceEvent":
            return
        at = datetime.fromtimestamp(entry.at, UTC).isoformat(timespec="milliseconds")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a", encoding="utf-8") as file:
                file.write(f"{at} {entry.detail['message']}\n")
        except OSError as error:
            logger.warning("cannot write %s: %s", self._path, error)
