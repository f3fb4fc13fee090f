# SPDX-License-Identifier: Apache-2.0
"""Airflow in the engine: runs, tasks with dependencies, and the limits that hold tasks back.

A task is queued one scheduler latency after all upstream tasks ended, if parallelism, its pool and its DAG's limits
allow it. Between two segments of a task (a deferral, a retry delay) it holds no slot and is queued again after it.
"""

from collections import deque
from collections.abc import Callable, Iterable, Sequence

from simulation.workloads.model import Segment, Workload, WorkloadDag, WorkloadRun, WorkloadTask


def children_of(tasks: Sequence[WorkloadTask]) -> list[list[int]]:
    """Return the downstream tasks of each task, as indexes."""
    children: list[list[int]] = [[] for _ in tasks]
    for node, task in enumerate(tasks):
        for parent in task.upstream:
            children[parent].append(node)
    return children


class EngineTask:
    """One instance of a task; each segment waits for a slot."""

    __slots__ = ("node", "queued_at", "run", "segment", "segments", "started_at", "worker")

    def __init__(self, run: "DagRun", node: int, segments: Sequence[Segment]) -> None:
        self.run = run
        self.node = node
        self.segments = segments
        self.segment = 0
        self.queued_at = 0.0
        self.started_at = 0.0
        self.worker: object | None = None

    @property
    def task(self) -> WorkloadTask:
        """The task of the DAG."""
        return self.run.tasks[self.node]

    @property
    def work_s(self) -> float:
        """Seconds in a slot of the present segment."""
        return self.segments[self.segment][0] * self.run.source.factor


class DagRun:
    """One run of a DAG in progress."""

    __slots__ = ("dag", "ended", "left", "missing", "number", "source", "started_at", "tasks", "tasks_left", "version")

    def __init__(self, number: int, dag: WorkloadDag, source: WorkloadRun, now: float) -> None:
        self.number = number
        self.dag = dag
        self.source = source
        self.version = source.version
        self.tasks = dag.versions[source.version]
        self.missing = [len(task.upstream) for task in self.tasks]
        """By task: upstream tasks that have not ended."""
        self.left = [0] * len(self.tasks)
        """By task: instances that have not ended."""
        self.tasks_left = len(self.tasks)
        self.ended = 0
        """Bits of the ended tasks."""
        self.started_at = now

    def instances(self, node: int) -> list[EngineTask]:
        """Return the instances of a task, which starts now."""
        task, source = self.tasks[node], self.source
        segments = source.segments.get(node)
        if segments is None:
            times = source.run_times_s
            segments = task.segments if times is None or len(task.segments) > 1 else ((times[node], 0.0),)
        count = 1 if task.mapped is None else source.mapped.get(node, max(0, round(task.mapped)))
        self.left[node] = count
        return [EngineTask(self, node, segments) for _ in range(count)]


class ProgressListener:
    """What a rule may see of Airflow's database; by default it looks at nothing."""

    def run_started(self, run: DagRun, now: float) -> None:
        """A run is in progress."""

    def run_ended(self, run: DagRun, now: float) -> None:
        """All tasks of a run ended."""

    def task_scheduled(self, instance: EngineTask, now: float) -> None:
        """All upstream tasks ended: the instance is queued next, if the limits allow it."""

    def task_queued(self, instance: EngineTask, now: float) -> None:
        """An instance was queued."""

    def task_started(self, instance: EngineTask, now: float) -> None:
        """An instance runs."""

    def task_waits(self, instance: EngineTask, now: float, until: float) -> None:
        """A segment ended and another one follows at `until`."""

    def task_ended(self, instance: EngineTask, now: float) -> None:
        """An instance ended."""


class Airflow:
    """The scheduler: starts runs, queues tasks, and starts the runs of assets."""

    def __init__(
        self,
        workload: Workload,
        call_at: Callable[[float, Callable[[float], None]], None],
        send: Callable[[EngineTask, float], None],
        *,
        latency_s: float,
        listeners: Iterable[ProgressListener] = (),
    ) -> None:
        self._call_at = call_at
        self._send = send
        self._latency_s = latency_s
        self.listeners = tuple(listeners)
        self._dags = workload.dags
        self._numbers = 0
        self._parallelism = workload.parallelism
        self._pools = dict(workload.pools)
        self._limited = self._parallelism is not None or bool(self._pools)
        self._limited |= any(dag.max_active_tasks is not None for dag in workload.dags.values())
        self._in_progress = 0
        self._in_pool: dict[str, int] = {}
        self._in_dag: dict[str, int] = {}
        self._held: deque[EngineTask] = deque()
        self.active: dict[int, DagRun] = {}
        self._active_runs: dict[str, int] = {}
        self._waiting_runs: dict[str, deque[WorkloadRun]] = {}
        self._consumers: dict[tuple[str, int], list[str]] = {}
        for dag in workload.dags.values():
            if dag.after is not None:
                self._consumers.setdefault(dag.after, []).append(dag.dag_id)
        self._children = {name: [children_of(tasks) for tasks in dag.versions] for name, dag in workload.dags.items()}
        self._asset_runs: dict[str, deque[WorkloadRun]] = {}
        for run in workload.runs:
            if run.start_s is None:
                self._asset_runs.setdefault(run.dag_id, deque()).append(run)
            else:
                call_at(run.start_s, lambda now, run=run: self.start_run(run, now))  # type: ignore[misc]

    # --- runs

    def start_run(self, source: WorkloadRun, now: float) -> None:
        """Start a run, or keep it until its DAG has fewer active runs than its limit."""
        dag = self._dags[source.dag_id]
        active = self._active_runs.get(dag.dag_id, 0)
        if dag.max_active_runs is not None and active >= dag.max_active_runs:
            self._waiting_runs.setdefault(dag.dag_id, deque()).append(source)
            return
        self._active_runs[dag.dag_id] = active + 1
        self._numbers += 1
        run = DagRun(self._numbers, dag, source, now)
        self.active[run.number] = run
        for listener in self.listeners:
            listener.run_started(run, now)
        for node in [node for node, missing in enumerate(run.missing) if not missing]:
            self._begin(run, node, now)

    def _end_run(self, run: DagRun, now: float) -> None:
        del self.active[run.number]
        for listener in self.listeners:
            listener.run_ended(run, now)
        dag_id = run.dag.dag_id
        self._active_runs[dag_id] -= 1
        waiting = self._waiting_runs.get(dag_id)
        if waiting:
            self.start_run(waiting.popleft(), now)

    # --- tasks

    def _begin(self, run: DagRun, node: int, now: float) -> None:
        instances = run.instances(node)
        if not instances:  # a mapped task over an empty list is skipped
            self._end_node(run, node, now)
            return
        for listener in self.listeners:
            for instance in instances:
                listener.task_scheduled(instance, now)
        self._call_at(now + self._latency_s, lambda then: self._queue(instances, then))

    def _queue(self, instances: Sequence[EngineTask], now: float) -> None:
        if not self._limited:
            for instance in instances:
                self._enqueue(instance, now)
            return
        self._held.extend(instances)
        self._admit(now)

    def _enqueue(self, instance: EngineTask, now: float) -> None:
        instance.queued_at = now
        for listener in self.listeners:
            listener.task_queued(instance, now)
        self._send(instance, now)

    def _admit(self, now: float) -> None:
        """Queue the held tasks that the limits allow, the oldest first."""
        for _ in range(len(self._held)):
            instance = self._held.popleft()
            dag, pool = instance.run.dag, instance.task.pool
            if (
                (self._parallelism is not None and self._in_progress >= self._parallelism)
                or self._in_pool.get(pool, 0) >= self._pools.get(pool, 1 << 30)
                or (dag.max_active_tasks is not None and self._in_dag.get(dag.dag_id, 0) >= dag.max_active_tasks)
            ):
                self._held.append(instance)
                continue
            self._in_progress += 1
            self._in_pool[pool] = self._in_pool.get(pool, 0) + 1
            self._in_dag[dag.dag_id] = self._in_dag.get(dag.dag_id, 0) + 1
            self._enqueue(instance, now)

    def started(self, instance: EngineTask, now: float) -> None:
        """A worker started the instance."""
        for listener in self.listeners:
            listener.task_started(instance, now)

    def worked(self, instance: EngineTask, now: float) -> None:
        """A worker finished a segment of the instance."""
        if self._limited:
            self._in_progress -= 1
            self._in_pool[instance.task.pool] -= 1
            self._in_dag[instance.run.dag.dag_id] -= 1
        pause_s = instance.segments[instance.segment][1]
        if instance.segment + 1 < len(instance.segments):
            instance.segment += 1
            until = now + pause_s
            for listener in self.listeners:
                listener.task_waits(instance, now, until)
            self._call_at(until, lambda then: self._queue((instance,), then))
        else:
            for listener in self.listeners:
                listener.task_ended(instance, now)
            run, node = instance.run, instance.node
            run.left[node] -= 1
            if not run.left[node]:
                self._end_node(run, node, now)
        if self._limited:
            self._admit(now)

    def _end_node(self, run: DagRun, node: int, now: float) -> None:
        run.ended |= 1 << node
        run.tasks_left -= 1
        for consumer in self._consumers.get((run.dag.dag_id, node), ()):
            waiting = self._asset_runs.get(consumer)
            if waiting:
                self.start_run(waiting.popleft(), now)
        if not run.tasks_left:
            self._end_run(run, now)
        for child in self._children[run.dag.dag_id][run.version][node]:
            run.missing[child] -= 1
            if not run.missing[child]:
                self._begin(run, child, now)
