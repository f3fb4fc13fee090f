# SPDX-License-Identifier: Apache-2.0
"""Counts lost, duplicated and interrupted tasks, independently of Airflow and Celery.

Every try of a task appends one JSON line at its start and one at its end; the count uses these lines only. They are
appended with O_APPEND and are shorter than a page, so lines of different processes never mix.

    {"event": "start", "task": "work[3]", "try": 1, "at": 1766000000.1, "worker": "127.40.1.7"}
    {"event": "end",   "task": "work[3]", "try": 1, "at": 1766000010.1, "worker": "127.40.1.7"}
"""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class JournalEntry:
    """One line of the journal; `at` is in seconds since the epoch."""

    event: Literal["start", "end"]
    task: str
    try_number: int
    at: float
    worker: str


@dataclass(frozen=True)
class TaskJournal:
    """The lines of a journal, and the tasks that should be in it."""

    lines: tuple[JournalEntry, ...]
    expected: frozenset[str]

    @property
    def completions(self) -> Counter[str]:
        """Return the number of completions of each task."""
        return Counter(line.task for line in self.lines if line.event == "end")

    @property
    def lost(self) -> tuple[str, ...]:
        """Return the expected tasks without a completion."""
        done = self.completions
        return tuple(sorted(task for task in self.expected if not done[task]))

    @property
    def duplicated(self) -> tuple[str, ...]:
        """Return the tasks with more than one completion."""
        return tuple(sorted(task for task, times in self.completions.items() if times > 1))

    @property
    def interrupted(self) -> tuple[str, ...]:
        """Return the tries that started and did not end, as `task#try`, one entry per start."""
        started = Counter((line.task, line.try_number) for line in self.lines if line.event == "start")
        started.subtract(Counter((line.task, line.try_number) for line in self.lines if line.event == "end"))
        return tuple(sorted(f"{task}#{number}" for task, number in started.elements()))

    def worker_of(self, task: str) -> str | None:
        """Return the worker address of a task's last completion."""
        return next((line.worker for line in reversed(self.lines) if line.task == task and line.event == "end"), None)


def read(path: Path, expected: Iterable[str]) -> TaskJournal:
    """Return the journal at `path`; empty without a file, and without an incomplete last line."""
    lines: list[JournalEntry] = []
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    for written in text.splitlines(keepends=True):
        if written.endswith("\n"):
            entry = json.loads(written)
            lines.append(JournalEntry(entry["event"], entry["task"], entry["try"], entry["at"], entry["worker"]))
    return TaskJournal(tuple(lines), frozenset(expected))
