# SPDX-License-Identifier: Apache-2.0
"""The plan: what Airflow's database shows of runs in progress, of runs that are due soon, and of past durations.

Tasks of a DAG are numbered in topological order. A set of tasks is an integer with one bit a task. Times are seconds on
the clock of `decide`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class TaskDuration:
    """How long a task held a slot in the past."""

    typical_s: float
    """The median."""
    spread: float
    """The standard deviation of the logarithm: 0.1 is regular, 1.0 is hardly known."""


@dataclass(frozen=True, slots=True)
class DagShape:
    """One version of a DAG."""

    dag_id: str
    upstream: tuple[int, ...]
    """By task: the set of tasks that it waits for."""
    downstream: tuple[tuple[int, ...], ...]
    """By task: the tasks that wait for it."""
    instances: tuple[float, ...]
    """By task: the expected instances on this fleet: the past mean of a mapped task, 0 for a queue of another fleet."""
    durations: tuple[TaskDuration | None, ...]
    """By task; None without a past run."""
    starts: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    """By task: the DAGs that a run of it starts, through an asset or a trigger."""
    past_tasks: tuple[int, ...] = ()
    """By ended run: the task instances that held a slot of this fleet."""


class ActiveTask(NamedTuple):
    """An instance that runs, waits for a slot, or is about to be queued."""

    task: int
    since: float
    """The start, or the earliest start."""
    running: bool
    worker: str | None = None
    """The worker that runs it, if known."""


@dataclass(frozen=True, slots=True)
class RunInProgress:
    """A run that is not over."""

    run_id: str
    shape: DagShape
    ended: int
    """The set of ended tasks."""
    active: tuple[ActiveTask, ...]
    pace: float = 1.0
    """Its tasks take this times the typical duration: see `Pace`."""


class NextRun(NamedTuple):
    """A run that the scheduler will create."""

    dag_id: str
    at: float


@dataclass(frozen=True, slots=True)
class Arrivals:
    """How often people start a DAG at this time."""

    dag_id: str
    per_s: float
    """Runs a second: see `arrival_rate`."""


@dataclass(frozen=True, slots=True)
class AirflowPlan:
    """All that is known of the near future."""

    runs: tuple[RunInProgress, ...]
    next_runs: tuple[NextRun, ...]
    shapes: Mapping[str, DagShape]
    """The newest version of each DAG that may start."""
    present: int
    """Tasks that run or wait for a slot of the fleet."""
    waiting_since: float | None
    """Since when the oldest of those that wait has waited."""
    arrivals: tuple[Arrivals, ...] = ()
    """Of the DAGs that people start; empty without headroom."""


SPREAD_OF_ONE = 0.2
"""One run shows no spread."""
PACE_DOUBT = 4.0
"""Square roots of seconds that count for the usual pace: one task of 16 s, or four of 1 s."""


DAY_S = 86400.0
HOUR_S = 3600.0
WEEK = 7
MOST_DAYS = 28


def days_ago(age_s: float) -> int | None:
    """Return how many days ago it was if that was within half an hour of this time of the day."""
    day = round(age_s / DAY_S)
    return day if day and abs(age_s - day * DAY_S) <= HOUR_S / 2 else None


def arrival_rate(by_day: Mapping[int, int], known_s: float) -> float:
    """Return the runs a second at this time, from the runs in the hour around it by `days_ago`, and the known past.

    From the same weekdays once a week is known, and from all days before that.
    """
    days = int((known_s - HOUR_S / 2) / DAY_S)
    step = WEEK if days >= WEEK else 1
    chosen = range(step, min(days, MOST_DAYS) + 1, step)
    if not chosen:
        return 0.0
    return sum(by_day.get(day, 0) for day in chosen) / (len(chosen) * HOUR_S)


def duration_of(seconds: Sequence[float]) -> TaskDuration | None:
    """Return the typical duration and its spread; None without a past duration."""
    known = [math.log(max(value, 0.1)) for value in seconds]
    if not known:
        return None
    middle = median(known)
    if len(known) == 1:
        return TaskDuration(math.exp(middle), SPREAD_OF_ONE)
    return TaskDuration(math.exp(middle), math.sqrt(sum((value - middle) ** 2 for value in known) / len(known)))


@dataclass(frozen=True, slots=True)
class Pace:
    """How much longer the tasks of a run take than usual, from those that ended.

    The mean of the logarithms, weighted by the square root of the seconds: a long task shows more than a short one, and
    the first one does not decide alone.
    """

    total: float = 0.0
    weights: float = 0.0

    def with_task(self, seconds: float, usual: TaskDuration | None) -> Pace:
        """Return the pace with one more ended task."""
        if usual is None:
            return self
        weight = math.sqrt(usual.typical_s)
        return Pace(self.total + weight * math.log(max(seconds, 0.1) / usual.typical_s), self.weights + weight)

    @property
    def factor(self) -> float:
        """The factor of the usual duration."""
        return math.exp(self.total / (self.weights + PACE_DOUBT))
