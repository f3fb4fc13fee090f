# SPDX-License-Identifier: Apache-2.0
"""One run, played forward: when each task is expected to hold a slot.

Only the duration of the task itself is uncertain. Tasks that wait for the same task start together, early or late: to
spread each of them in time would hide the peak.

Every task starts as soon as its upstream tasks are expected to end: the forecast is the demand of a fleet without wait.
"""

import heapq
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from scaler.core.forecast.plan import ActiveTask, DagShape, RunInProgress, TaskDuration

SCHEDULER_LATENCY_S = 1.0
"""From the end of the last upstream task to the message."""
LATER_SHARE = 0.3
"""A task that is later than expected is expected to take this share of its delay more."""
SMALLEST_REST_S = 0.5


class ExpectedTask(NamedTuple):
    """A task that holds a slot between two uncertain times."""

    start: float
    end: float
    spread_s: float
    """The standard deviation of its own duration."""
    instances: float
    runs: bool
    """It holds a slot already."""
    worker: str | None


@dataclass(frozen=True, slots=True)
class Outlook:
    """The limits of a forecast, and what stands in for a duration without history."""

    now: float
    until: float
    unknown: TaskDuration
    shapes: Mapping[str, DagShape]


def expect_run(run: RunInProgress, outlook: Outlook) -> list[ExpectedTask]:
    """Return the tasks of a run in progress that are expected to hold a slot before `until`."""
    return _Play(run.shape, run.ended, run.pace, outlook, outlook.now, 0).forward(run.active)


def expect_new_run(shape: DagShape, at: float, outlook: Outlook, depth: int = 0) -> list[ExpectedTask]:
    """Return the same for a run that starts at `at`."""
    first = at + SCHEDULER_LATENCY_S
    active = [ActiveTask(task, first, running=False) for task, upstream in enumerate(shape.upstream) if not upstream]
    return _Play(shape, 0, 1.0, outlook, at, depth).forward(active)


MAX_DEPTH = 3
"""Runs that start runs: deeper ones start after the forecast ends, or for ever."""


class _Play:
    """Plays one run forward, in the order of the expected ends."""

    def __init__(self, shape: DagShape, ended: int, pace: float, outlook: Outlook, now: float, depth: int) -> None:
        self._shape = shape
        self._ended = ended
        self._pace = pace
        self._outlook = outlook
        self._now = now
        self._depth = depth
        self._expected: list[ExpectedTask] = []
        self._ends: list[tuple[float, int]] = []
        self._left: dict[int, int] = {}
        """Instances that have begun and not ended, by task."""

    def forward(self, active: Iterable[ActiveTask]) -> list[ExpectedTask]:
        """Return all expected tasks."""
        for item in active:
            self._begin(item.task, item.since, 1.0, item)
        while self._ends:
            end, task = heapq.heappop(self._ends)
            if end > self._outlook.until:
                break
            self._left[task] -= 1
            if not self._left[task]:  # else other instances of a mapped task run
                self._end(task, end)
        return self._expected

    def _begin(self, task: int, start: float, instances: float, item: ActiveTask | None = None) -> None:
        usual = self._shape.durations[task] or self._outlook.unknown
        seconds = usual.typical_s * self._pace
        spread_s = usual.spread * seconds
        runs = item is not None and item.running
        if not runs:
            start = max(start, self._now)
        end = start + seconds
        if runs and end < self._now + SMALLEST_REST_S:
            end = self._now + max(SMALLEST_REST_S, LATER_SHARE * (self._now - end) + spread_s / 2)
        if self._shape.instances[task]:
            worker = None if item is None else item.worker
            self._expected.append(ExpectedTask(start, end, spread_s, instances, runs, worker))
        self._left[task] = self._left.get(task, 0) + 1
        heapq.heappush(self._ends, (end, task))

    def _end(self, task: int, end: float) -> None:
        shape = self._shape
        self._ended |= 1 << task
        if self._depth < MAX_DEPTH:
            for dag_id in shape.starts.get(task, ()):
                if dag_id in self._outlook.shapes:
                    self._expected += expect_new_run(self._outlook.shapes[dag_id], end, self._outlook, self._depth + 1)
        for child in shape.downstream[task]:
            if child not in self._left and not shape.upstream[child] & ~self._ended:
                self._begin(child, end + SCHEDULER_LATENCY_S, shape.instances[child])
