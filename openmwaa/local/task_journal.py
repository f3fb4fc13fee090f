# SPDX-License-Identifier: Apache-2.0
"""Counts tasks that were lost, duplicated or interrupted, outside Airflow and Celery.

Every try of a task appends one JSON line when it starts and one when it ends; nothing that Airflow, Celery or the
broker believes goes into the count. Lines are appended with O_APPEND and are shorter than a page, so that tries of
different processes never mix.

    {"event": "start", "task": "work[3]", "try": 1, "at": 1766000000.1, "worker": "127.40.1.7"}
    {"event": "end",   "task": "work[3]", "try": 1, "at": 1766000010.1, "worker": "127.40.1.7"}
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class JournalEntry:
    """One line of a journal; `at` is seconds since the epoch."""

    event: Literal["start", "end"]
    task: str
    try_number: int
    at: float
    worker: str


@dataclass(frozen=True)
class TaskJournal:
    """What a journal says of the tasks that were expected in it."""

    lines: tuple[JournalEntry, ...]
    expected: frozenset[str]

    @property
    def completions(self) -> Counter[str]:
        """Return how often each task ended."""
        return Counter(line.task for line in self.lines if line.event == "end")

    @property
    def lost(self) -> tuple[str, ...]:
        """Return the expected tasks that never ended."""
        done = self.completions
        return tuple(sorted(task for task in self.expected if not done[task]))

    @property
    def duplicated(self) -> tuple[str, ...]:
        """Return the tasks that ended more than once."""
        return tuple(sorted(task for task, times in self.completions.items() if times > 1))

    @property
    def interrupted(self) -> tuple[str, ...]:
        """Return the tries that started and did not end, as `task#try`, one entry a start."""
        started = Counter((line.task, line.try_number) for line in self.lines if line.event == "start")
        started.subtract(Counter((line.task, line.try_number) for line in self.lines if line.event == "end"))
        return tuple(sorted(f"{task}#{number}" for (task, number), open_ in started.items() for _ in range(open_)))

    def worker_of(self, task: str) -> str | None:
        """Return the address of the worker on which a task ended last."""
        return next((line.worker for line in reversed(self.lines) if line.task == task and line.event == "end"), None)


def read(path: Path, expected: Iterable[str]) -> TaskJournal:
    """Return the journal at `path`; a file that is not there yet has no lines, and a torn last line is not a line."""
    lines: list[JournalEntry] = []
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    for written in text.splitlines(keepends=True):
        if written.endswith("\n"):
            entry = json.loads(written)
            lines.append(JournalEntry(entry["event"], entry["task"], entry["try"], entry["at"], entry["worker"]))
    return TaskJournal(tuple(lines), frozenset(expected))
