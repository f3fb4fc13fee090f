# SPDX-License-Identifier: Apache-2.0
"""A workload: DAGs with their tasks, and the runs of some days. Times are seconds since the workload's start."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal, TypeAlias

Segment: TypeAlias = tuple[float, float]
"""Seconds in a slot, and seconds without one after it: a deferral, a reschedule, a retry delay, the pause of a loop."""

RunKind = Literal["scheduled", "manual", "backfill", "asset"]


@dataclass(frozen=True, slots=True)
class WorkloadTask:
    """A task of a DAG; it waits for all tasks of `upstream` (indexes of earlier tasks)."""

    task_id: str
    segments: tuple[Segment, ...]
    """What it does at a factor of 1; one segment for a plain task."""
    upstream: tuple[int, ...] = ()
    queue: str = "default"
    pool: str = "default_pool"
    mapped: float | None = None
    """The usual number of its instances; None: it is not mapped."""


@dataclass(frozen=True, slots=True)
class WorkloadDag:
    """A DAG and its versions, oldest first; tasks in topological order."""

    dag_id: str
    versions: tuple[tuple[WorkloadTask, ...], ...]
    cron: str | None = None
    timezone: str = "UTC"
    max_active_runs: int | None = None
    max_active_tasks: int | None = None
    after: tuple[str, int] | None = None
    """A run starts when this task (DAG, index) succeeds: an asset."""


@dataclass(frozen=True, slots=True)
class WorkloadRun:
    """A run of a DAG; every segment's seconds in a slot are multiplied by `factor`."""

    dag_id: str
    kind: RunKind
    start_s: float | None
    """None for a run that an asset starts."""
    factor: float = 1.0
    version: int = 0
    run_times_s: tuple[float, ...] | None = None
    """By task, before the factor; None: the times of the version. Not for tasks with several segments."""
    mapped: Mapping[int, int] = field(default_factory=dict)
    """By index of a mapped task: the number of its instances in this run."""
    segments: Mapping[int, tuple[Segment, ...]] = field(default_factory=dict)
    """By index of a task: what it does in this run, instead of the version's segments."""


@dataclass(frozen=True, slots=True)
class Workload:
    """Some days of an environment; the first ones, before `measure_from_s`, are there to learn from."""

    name: str
    horizon_s: float
    measure_from_s: float
    dags: Mapping[str, WorkloadDag]
    runs: tuple[WorkloadRun, ...]
    """In the order of their starts; runs that an asset starts come in order, one for each success of its task."""
    description: str = ""
    start: datetime = datetime(2026, 1, 1, tzinfo=UTC)
    parallelism: int | None = None
    pools: Mapping[str, int] = field(default_factory=dict)
