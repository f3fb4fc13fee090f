# SPDX-License-Identifier: Apache-2.0
"""Airflow's plan as a live scaler reads it: structures, states, past durations, and the next run of each DAG.

Nothing of the workload's future is used: no factor, no duration of a task that has not ended, no manual run to come.
"""

from collections import Counter, defaultdict, deque

from scaler.core.forecast.plan import (
    ActiveTask,
    AirflowPlan,
    Arrivals,
    DagShape,
    NextRun,
    Pace,
    RunInProgress,
    arrival_rate,
    days_ago,
    duration_of,
)
from simulation.engine.airflow import DagRun, EngineTask, ProgressListener, children_of
from simulation.engine.fleet import EngineWorker
from simulation.workloads.model import Workload

PAST_RUNS = 20
ARRIVALS_S = 60.0
"""The interval at which the rates of manual runs are read."""
HELD_S = 10.0
"""A task that is not queued after this time is held back by a limit; it starts at an unknown time."""


class _Progress:
    """The run as read: the view is made again after a change."""

    __slots__ = ("active", "pace", "run", "view")

    def __init__(self, run: DagRun) -> None:
        self.run = run
        self.active: dict[EngineTask, ActiveTask] = {}
        self.pace = Pace()
        self.view: RunInProgress | None = None


class ObservedPlan(ProgressListener):
    """Follows the engine's Airflow."""

    def __init__(self, workload: Workload, queues: tuple[str, ...], *, headroom: bool = False) -> None:
        self._workload = workload
        self._queues = frozenset(queues)
        self._runs: dict[int, _Progress] = {}
        self._past: dict[tuple[str, str], deque[float]] = defaultdict(lambda: deque(maxlen=PAST_RUNS))
        self._counts: dict[tuple[str, str], deque[int]] = defaultdict(lambda: deque(maxlen=PAST_RUNS))
        self._shapes: dict[tuple[str, int], DagShape] = {}
        self._newest: dict[str, int] = {}
        self._now_shapes: dict[str, DagShape] = {}
        self._changed = set(workload.dags)
        """DAGs whose newest shape is no longer that of `_now_shapes`."""
        self._due: dict[str, deque[NextRun]] = {}
        self._queued: dict[EngineTask, float] = {}
        self._present = 0
        self._headroom = headroom
        self._manual: dict[str, list[float]] = defaultdict(list)
        self._known_arrivals: tuple[Arrivals, ...] = ()
        self._arrivals_at = 0.0
        for run in workload.runs:
            if run.kind == "scheduled" and run.start_s is not None:
                self._due.setdefault(run.dag_id, deque()).append(NextRun(run.dag_id, run.start_s))

    def plan(self, now: float) -> AirflowPlan:
        """Return the plan at `now`."""
        next_runs = [due[0] for due in self._due.values() if due and due[0].at >= now - HELD_S]
        for dag_id in self._changed:
            self._now_shapes[dag_id] = self._shape(dag_id, self._newest.get(dag_id, 0))
        self._changed.clear()
        runs = tuple(self._view(progress, now) for progress in self._runs.values())
        return AirflowPlan(
            runs=runs,
            next_runs=tuple(next_runs),
            shapes=self._now_shapes,
            present=self._present,
            waiting_since=next(iter(self._queued.values()), None),
            arrivals=self._arrivals(now) if self._headroom else (),
        )

    def _arrivals(self, now: float) -> tuple[Arrivals, ...]:
        if now - self._arrivals_at >= ARRIVALS_S:
            rates = {}
            for dag_id, starts in self._manual.items():
                by_day = Counter(day for start in starts if (day := days_ago(now - start)))
                rates[dag_id] = arrival_rate(by_day, now)
            self._arrivals_at = now
            self._known_arrivals = tuple(Arrivals(dag_id, rate) for dag_id, rate in rates.items() if rate)
        return self._known_arrivals

    def _view(self, progress: _Progress, now: float) -> RunInProgress:
        run, view = progress.run, progress.view
        shape = self._shape(run.dag.dag_id, run.version)
        if view is None or view.shape is not shape:
            active = tuple(
                task
                for instance, task in progress.active.items()
                if task.running or instance in self._queued or now - task.since <= HELD_S
            )
            view = RunInProgress(str(run.number), shape, run.ended, active, progress.pace.factor)
            progress.view = view
        return view

    def _served(self, queue: str) -> bool:
        return not self._queues or queue in self._queues

    def _shape(self, dag_id: str, version: int) -> DagShape:
        found = self._shapes.get((dag_id, version))
        if found is not None:
            return found
        tasks = self._workload.dags[dag_id].versions[version]
        instances, starts = [], defaultdict(list)
        for task in tasks:
            counts = self._counts.get((dag_id, task.task_id))
            usual = sum(counts) / len(counts) if counts and task.mapped is not None else 1.0
            instances.append(usual if self._served(task.queue) else 0.0)
        for other in self._workload.dags.values():
            if other.after is not None and other.after[0] == dag_id:
                starts[other.after[1]].append(other.dag_id)
        shape = DagShape(
            dag_id=dag_id,
            upstream=tuple(sum(1 << parent for parent in set(task.upstream)) for task in tasks),
            downstream=tuple(tuple(children) for children in children_of(tasks)),
            instances=tuple(instances),
            durations=tuple(duration_of(self._past[dag_id, task.task_id]) for task in tasks),
            starts={task: tuple(dags) for task, dags in starts.items()},
        )
        self._shapes[dag_id, version] = shape
        return shape

    # --- what Airflow's database shows

    def run_started(self, run: DagRun, now: float) -> None:
        """A run is in progress."""
        self._runs[run.number] = _Progress(run)
        self._newest[run.dag.dag_id] = max(run.version, self._newest.get(run.dag.dag_id, 0))
        self._changed.add(run.dag.dag_id)
        if run.source.kind == "manual":
            self._manual[run.dag.dag_id].append(now)
        if run.source.kind == "scheduled":
            self._due[run.dag.dag_id].popleft()

    def run_ended(self, run: DagRun, now: float) -> None:
        """All tasks of a run ended: its durations are history."""
        del self._runs[run.number]
        self._changed.add(run.dag.dag_id)
        for version in range(len(run.dag.versions)):
            self._shapes.pop((run.dag.dag_id, version), None)

    def _set(self, instance: EngineTask, task: ActiveTask | None) -> None:
        progress = self._runs[instance.run.number]
        progress.view = None
        if task is None:
            progress.active.pop(instance, None)
        else:
            progress.active[instance] = task

    def task_scheduled(self, instance: EngineTask, now: float) -> None:
        """All upstream tasks of the instance ended."""
        self._set(instance, ActiveTask(instance.node, now + 1.0, running=False))

    def task_queued(self, instance: EngineTask, now: float) -> None:
        """An instance was queued."""
        self._queued[instance] = now
        if self._served(instance.task.queue):
            self._present += 1
        self._set(instance, ActiveTask(instance.node, now, running=False))

    def task_started(self, instance: EngineTask, now: float) -> None:
        """An instance runs."""
        worker = instance.worker
        number = str(worker.number) if isinstance(worker, EngineWorker) else None
        self._queued.pop(instance, None)
        self._set(instance, ActiveTask(instance.node, now, running=True, worker=number))

    def task_waits(self, instance: EngineTask, now: float, until: float) -> None:
        """A segment ended; when the next one begins is not known."""
        self._note(instance, now)
        self._set(instance, None)

    def task_ended(self, instance: EngineTask, now: float) -> None:
        """An instance ended."""
        self._note(instance, now)
        self._set(instance, None)

    def _note(self, instance: EngineTask, now: float) -> None:
        run, seconds = instance.run, now - instance.started_at
        if self._served(instance.task.queue):
            self._present -= 1
        progress = self._runs[run.number]
        shape = self._shape(run.dag.dag_id, run.version)
        progress.pace = progress.pace.with_task(seconds, shape.durations[instance.node])
        self._past[run.dag.dag_id, instance.task.task_id].append(seconds)
        if instance.task.mapped is not None and instance.run.left[instance.node] == 1:
            count = instance.run.source.mapped.get(instance.node, max(0, round(instance.task.mapped)))
            self._counts[run.dag.dag_id, instance.task.task_id].append(count)
