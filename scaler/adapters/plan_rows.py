# SPDX-License-Identifier: Apache-2.0
"""The plan of one fleet, made from what was read of Airflow's database.

- `deferred`, `up_for_retry`, `up_for_reschedule`: such a task holds no slot and has not ended. What follows it is not
  expected before it runs again.
- `scheduled`: it is about to be queued. After 10 s a limit of Airflow holds it back, and it is not expected.
- No state, and all upstream tasks ended: the scheduler has not seen it yet. The same 10 s hold.
- A mapped task that is not expanded counts by the past mean of its instances.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from typing import Any, NamedTuple

from scaler.core.forecast.expected_run import SCHEDULER_LATENCY_S
from scaler.core.forecast.plan import (
    ActiveTask,
    AirflowPlan,
    Arrivals,
    DagShape,
    NextRun,
    Pace,
    RunInProgress,
    TaskDuration,
    duration_of,
)
from scaler.errors import BadAnswerError

HELD_S = 10.0
"""A task that is not queued after this time is held back by a limit, and a run that is not created too."""
RUNNING = ("running", "restarting")
NO_TIME = TaskDuration(0.1, 0.0)
"""The scheduler itself ends a task without work."""
MAX_TASKS = 5000
"""Tasks of one DAG."""
MAX_READY = 1000
"""Instances of one mapped task that is not expanded yet."""


class DagStructure(NamedTuple):
    """The tasks of one version of a DAG, in topological order."""

    number: Mapping[str, int]
    """By task id."""
    upstream: tuple[int, ...]
    downstream: tuple[tuple[int, ...], ...]
    queues: tuple[str | None, ...]
    """None: the task holds no slot of a Celery worker."""
    empty: int
    """The set of tasks that the scheduler ends itself."""
    mapped: int
    """The set of tasks whose instances depend on data."""
    triggers: Mapping[int, str]
    """By task: the DAG that it triggers."""


def structure_of(source: str, tasks: Sequence[Mapping[str, Any]], executors: Collection[str]) -> DagStructure:
    """Return the structure of a serialized DAG; raise BadAnswerError if it is none, or is too large."""
    if len(tasks) > MAX_TASKS:
        raise BadAnswerError(source, f"a DAG has {len(tasks)} tasks; the limit is {MAX_TASKS}")
    try:
        by_id = {str(task["task_id"]): task for task in tasks}
        graph: dict[str, set[str]] = {task_id: set() for task_id in by_id}
        for task_id, task in by_id.items():
            for child in task.get("downstream_task_ids") or ():
                graph[child].add(task_id)
        number = {task_id: at for at, task_id in enumerate(TopologicalSorter(graph).static_order())}
    except (AttributeError, CycleError, KeyError, TypeError) as error:
        raise BadAnswerError(source, f"a serialized DAG cannot be read: {type(error).__name__}: {error}") from error
    ordered = [by_id[task_id] for task_id in number]
    trigger_of = {number[task_id]: task.get("trigger_dag_id") for task_id, task in by_id.items()}
    return DagStructure(
        number=number,
        upstream=tuple(sum(1 << number[parent] for parent in graph[task_id]) for task_id in number),
        downstream=tuple(
            tuple(sorted(number[child] for child in task.get("downstream_task_ids") or ())) for task in ordered
        ),
        queues=tuple(_queue(task, executors) for task in ordered),
        empty=_set(task.get("_is_empty") for task in ordered),
        mapped=_set(task.get("_is_mapped") or task.get("_needs_expansion") for task in ordered),
        # A template is known only when the task runs.
        triggers={task: dag for task, dag in trigger_of.items() if isinstance(dag, str) and "{" not in dag},
    )


def _queue(task: Mapping[str, Any], executors: Collection[str]) -> str | None:
    options = {**(task.get("partial_kwargs") or {}), **{key: value for key, value in task.items() if value is not None}}
    elsewhere = options.get("executor") is not None and options["executor"] not in executors
    return None if options.get("_is_empty") or elsewhere else str(options.get("queue") or "default")


def _set(values: Iterable[object]) -> int:
    return sum(1 << task for task, value in enumerate(values) if value)


@dataclass(frozen=True, slots=True)
class DagHistory:
    """What past runs of a DAG show, and the DAGs that its assets start."""

    at: float
    seconds: Mapping[str, Sequence[float]]
    """By task id: the durations of the last successes."""
    instances: Mapping[str, float]
    """By task id: the mean number of instances of a run."""
    consumers: Mapping[str, Sequence[str]]
    """By task id: the DAGs that its assets start."""
    ran: Sequence[Mapping[str, int]] = ()
    """By ended run: the task instances that ran on Celery's workers, by queue."""


class KnownDag:
    """One version of a DAG with its history."""

    def __init__(self, dag_id: str, structure: DagStructure, history: DagHistory) -> None:
        self.dag_id = dag_id
        self.structure = structure
        self.history = history
        self.durations = tuple(
            duration_of(history.seconds.get(task_id, ())) or (NO_TIME if structure.empty >> task & 1 else None)
            for task_id, task in structure.number.items()
        )
        self.starts: dict[int, tuple[str, ...]] = {}
        for task_id, task in structure.number.items():
            started = [*history.consumers.get(task_id, ())]
            started += [structure.triggers[task]] if task in structure.triggers else []
            if started:
                self.starts[task] = tuple(started)
        self._shapes: dict[frozenset[str], DagShape] = {}

    def shape(self, queues: frozenset[str]) -> DagShape:
        """Return the DAG as the fleet of these queues sees it."""
        if queues not in self._shapes:
            structure, usual = self.structure, self.history.instances
            self._shapes[queues] = DagShape(
                dag_id=self.dag_id,
                upstream=structure.upstream,
                downstream=structure.downstream,
                instances=tuple(
                    0.0
                    if structure.queues[task] not in queues
                    else usual.get(task_id, 1.0)
                    if structure.mapped >> task & 1
                    else 1.0
                    for task_id, task in structure.number.items()
                ),
                durations=self.durations,
                starts=self.starts,
                past_tasks=tuple(
                    sum(tasks for queue, tasks in run.items() if queue in queues) for run in self.history.ran
                ),
            )
        return self._shapes[queues]


class OpenTask(NamedTuple):
    """A task instance that has a state and has not ended."""

    run: int
    task_id: str
    state: str
    queue: str
    at: float
    """The start, or since when it waits, on the server's clock."""
    hostname: str | None
    ours: bool
    """Celery's workers run it."""


@dataclass(slots=True)
class OpenRun:
    """A run in progress."""

    run_id: str
    dag: KnownDag
    ended: int
    pace: float
    changed_at: float
    """When its last task ended, or its start, on the server's clock."""
    tasks: list[OpenTask] = field(default_factory=list)


def ended_of(dag: KnownDag, rows: Sequence[tuple[str, bool, Sequence[float] | None]]) -> tuple[int, float]:
    """Return the set of ended tasks and the pace of a run, from its tasks."""
    ended, pace = 0, Pace()
    for task_id, over, seconds in rows:
        task = dag.structure.number.get(task_id)
        if task is None:
            continue
        ended |= bool(over) << task
        for value in seconds or ():
            pace = pace.with_task(value, dag.durations[task])
    return ended, pace.factor


Made = dict[str, tuple[tuple[object, ...], RunInProgress]]
"""By run: what a view was made of, and the view. The forecaster keeps its work on a view that stays the same."""


@dataclass(frozen=True, slots=True)
class ReadPlan:
    """One reading of Airflow's database, for all fleets."""

    at: float
    """The server's time."""
    ahead_s: float
    """The clock of `decide`, minus the server's."""
    runs: Sequence[OpenRun]
    due: Sequence[tuple[str, float]]
    dags: Mapping[str, KnownDag]
    """The newest version of each DAG that runs or may start."""
    arrivals: tuple[Arrivals, ...]

    def plan(self, queues: frozenset[str], made: Made) -> AirflowPlan:
        """Return the plan of the fleet that serves these queues; `made` has the views of the reading before."""
        before = dict(made)
        made.clear()
        present, waiting = 0, []
        for run in self.runs:
            shape = run.dag.shape(queues)
            if not any(shape.instances) and not shape.starts:
                continue  # nothing of it uses this fleet
            key = (shape, run.ended, run.pace, self._active(run, shape))
            found = before.get(run.run_id)
            if found is None or found[0] != key:
                found = key, RunInProgress(run.run_id, shape, run.ended, key[3], run.pace)
            made[run.run_id] = found
            for task in run.tasks:
                number = run.dag.structure.number.get(task.task_id)
                if number is None or not shape.instances[number] or not task.ours or task.queue not in queues:
                    continue
                present += task.state == "queued" or task.state in RUNNING
                waiting += [task.at + self.ahead_s] if task.state == "queued" else []
        return AirflowPlan(
            runs=tuple(view for _, view in made.values()),
            next_runs=tuple(NextRun(dag_id, at + self.ahead_s) for dag_id, at in self.due),
            shapes={dag_id: dag.shape(queues) for dag_id, dag in self.dags.items()},
            present=present,
            waiting_since=min(waiting, default=None),
            arrivals=self.arrivals,
        )

    def _active(self, run: OpenRun, shape: DagShape) -> tuple[ActiveTask, ...]:
        active, opened = [], 0
        for row in run.tasks:
            task = run.dag.structure.number.get(row.task_id)
            if task is None:
                continue
            opened |= 1 << task
            since = row.at + self.ahead_s
            if row.state in RUNNING:
                active.append(ActiveTask(task, since, running=True, worker=row.hostname or None))
            elif row.state == "queued":
                active.append(ActiveTask(task, since, running=False))
            elif row.state == "scheduled" and self.at - row.at <= HELD_S:
                active.append(ActiveTask(task, since + SCHEDULER_LATENCY_S, running=False))
        if self.at - run.changed_at <= HELD_S:
            since, over = run.changed_at + self.ahead_s + SCHEDULER_LATENCY_S, run.ended | opened
            for task, upstream in enumerate(shape.upstream):
                if not over >> task & 1 and not upstream & ~run.ended:
                    instances = min(MAX_READY, max(1, round(shape.instances[task])))
                    active += [ActiveTask(task, since, running=False)] * instances
        return tuple(active)
