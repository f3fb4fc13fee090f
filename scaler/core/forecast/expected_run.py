# SPDX-License-Identifier: Apache-2.0
"""One run, played forward: when each task is expected to hold a slot.

Only the duration of the task itself is uncertain. Tasks that wait for the same task start together, early or late: to
spread each of them in time would hide the peak.

Every task starts as soon as its upstream tasks are expected to end: the forecast is the demand of a fleet without wait.
"""

import heapq
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from scaler.core.forecast.plan import DagShape, RunInProgress, TaskDuration

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
    now = outlook.now
    begun = [
        (item.task, item.since if item.running else max(item.since, now), 1.0, item.running, item.worker)
        for item in run.active
    ]
    return _play(run.shape, run.ended, run.pace, begun, outlook, 0)


def expect_new_run(shape: DagShape, at: float, outlook: Outlook, depth: int = 0) -> list[ExpectedTask]:
    """Return the same for a run that starts at `at`."""
    first = at + SCHEDULER_LATENCY_S
    roots = [(task, first, shape.instances[task], False, None) for task, up in enumerate(shape.upstream) if not up]
    return _play(shape, 0, 1.0, roots, outlook, depth)


Begun: TypeAlias = tuple[int, float, float, bool, str | None]
"""A task that begins, its start and instances, whether it runs already, and the worker."""
MAX_DEPTH = 3
"""Runs that start runs: deeper ones start after the forecast ends, or for ever."""


def _play(
    shape: DagShape, ended: int, pace: float, begun: Iterable[Begun], outlook: Outlook, depth: int
) -> list[ExpectedTask]:
    """Play one run forward, in the order of the expected ends, and return all expected tasks."""
    now = outlook.now
    durations, usual_instances, upstream, until = shape.durations, shape.instances, shape.upstream, outlook.until
    expected: list[ExpectedTask] = []
    ends: list[tuple[float, int]] = []
    left: dict[int, int] = {}  # instances that have begun and not ended, by task

    def begin(task: int, start: float, instances: float, runs: bool = False, worker: str | None = None) -> None:
        usual = durations[task] or outlook.unknown
        seconds = usual.typical_s * pace
        spread_s = usual.spread * seconds
        end = start + seconds
        late = runs and end < now + SMALLEST_REST_S
        end = now + max(SMALLEST_REST_S, LATER_SHARE * (now - end) + spread_s / 2) if late else end
        if usual_instances[task]:
            # The constructor of a named tuple takes twice the time, and this line runs most often of all.
            expected.append(tuple.__new__(ExpectedTask, (start, end, spread_s, instances, runs, worker)))
        left[task] = left.get(task, 0) + 1
        if end <= until:
            heapq.heappush(ends, (end, task))

    for item in begun:
        begin(*item)
    while ends:
        end, task = heapq.heappop(ends)
        left[task] -= 1
        if left[task]:  # other instances of a mapped task run
            continue
        ended |= 1 << task
        if task in shape.starts:
            expected += _started(shape.starts[task], end, outlook, depth)
        for child in shape.downstream[task]:
            if child not in left and not upstream[child] & ~ended:
                begin(child, end + SCHEDULER_LATENCY_S, usual_instances[child])
    return expected


def _started(dag_ids: Iterable[str], at: float, outlook: Outlook, depth: int) -> list[ExpectedTask]:
    """Return the expected tasks of the runs that the end of a task starts."""
    shapes = [outlook.shapes[dag_id] for dag_id in dag_ids if depth < MAX_DEPTH and dag_id in outlook.shapes]
    return [expected for shape in shapes for expected in expect_new_run(shape, at, outlook, depth + 1)]
