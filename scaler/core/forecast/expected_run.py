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
    return _play(run.shape, run.active, run.ended, run.pace, outlook, outlook.now, 0)


def expect_new_run(shape: DagShape, at: float, outlook: Outlook, depth: int = 0) -> list[ExpectedTask]:
    """Return the same for a run that starts at `at`."""
    first = at + SCHEDULER_LATENCY_S
    active = [ActiveTask(task, first, running=False) for task, upstream in enumerate(shape.upstream) if not upstream]
    return _play(shape, active, 0, 1.0, outlook, at, depth)


MAX_DEPTH = 3
"""Runs that start runs: deeper ones start after the forecast ends, or for ever."""


def _play(
    shape: DagShape,
    active: Iterable[ActiveTask],
    ended: int,
    pace: float,
    outlook: Outlook,
    now: float,
    depth: int,
) -> list[ExpectedTask]:
    durations, instances, upstream, until = shape.durations, shape.instances, shape.upstream, outlook.until
    expected: list[ExpectedTask] = []
    ends: list[tuple[float, int]] = []
    left: dict[int, int] = {}
    for item in active:
        task = item.task
        usual = durations[task] or outlook.unknown
        seconds = usual.typical_s * pace
        start, spread_s = item.since, usual.spread * seconds
        if item.running:
            end = start + seconds
            if end < now + SMALLEST_REST_S:
                end = now + max(SMALLEST_REST_S, LATER_SHARE * (now - end) + spread_s / 2)
        else:
            start = max(now, start)
            end = start + seconds
        if instances[task]:
            expected.append(ExpectedTask(start, end, spread_s, 1.0, item.worker))
        left[task] = left.get(task, 0) + 1
        ends.append((end, task))
    heapq.heapify(ends)
    while ends:
        end, task = heapq.heappop(ends)
        if end > until:
            break
        left[task] -= 1
        if left[task]:
            continue  # other instances of a mapped task
        ended |= 1 << task
        if task in shape.starts and depth < MAX_DEPTH:
            for dag_id in shape.starts[task]:
                if dag_id in outlook.shapes:
                    expected += expect_new_run(outlook.shapes[dag_id], end, outlook, depth + 1)
        start = end + SCHEDULER_LATENCY_S
        for child in shape.downstream[task]:
            if upstream[child] & ~ended or child in left:
                continue
            usual = durations[child] or outlook.unknown
            seconds = usual.typical_s * pace
            if instances[child]:
                spread_s = usual.spread * seconds
                expected.append(ExpectedTask(start, start + seconds, spread_s, instances[child], None))
            left[child] = 1
            heapq.heappush(ends, (start + seconds, child))
    return expected
