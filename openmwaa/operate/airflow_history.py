# SPDX-License-Identifier: Apache-2.0
"""A workload from the history of an Airflow, read through its REST API: version 1 or 2, with Airflow 2 or 3.

What the API does not have is left out: tries before the last one, and the time of a task without a slot, which counts
as time in a slot. A run starts when it started, so an asset's run is one that nothing announces.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from graphlib import CycleError, TopologicalSorter
from statistics import fmean, median
from typing import Any, Final
from urllib.parse import quote

from openmwaa.operate.airflow_http import AirflowRefusedError
from openmwaa.operate.errors import OperateError
from simulation.workloads.model import RunKind, Workload, WorkloadDag, WorkloadRun, WorkloadTask

Get = Callable[[str, Mapping[str, str]], Any]
"""Returns the JSON of a path with parameters; raises AirflowRefusedError for an answer of 4xx."""

PAGE: Final = 100
"""Airflow's largest page."""
LEAD_S: Final = 600.0
"""Before the first run."""
LEARN_S: Final = 86400.0
KINDS: Final[Mapping[str, RunKind]] = {"scheduled": "scheduled", "backfill": "backfill"}
"""By run type; other runs, of people and of assets, come without notice."""


@dataclass(slots=True)
class _DagHistory:
    """What the history has of one DAG."""

    runs: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    times_s: dict[str, dict[str, list[float]]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(list)))
    """By task and run: seconds in a slot of each instance."""
    instances: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    """One of each task."""


@dataclass(frozen=True, slots=True)
class HistoryReader:
    """Reads the runs that started and ended in some days; changes nothing."""

    get: Get
    most_rows: int
    """Of task instances."""

    def workload(self, name: str, end: datetime, days: float) -> Workload:
        """Return the runs as a workload; the first third, at most a day, is there to learn from.

        Raises:
            OperateError: there are no runs, or too many task instances, or the API does not answer.
        """
        begin = end - timedelta(days=days)
        ended = {"start_date_gte": begin.isoformat(), "end_date_lte": end.isoformat()}
        dags: dict[str, _DagHistory] = defaultdict(_DagHistory)
        for run in self._rows("/dags/~/dagRuns", "dag_runs", ended):
            dags[run["dag_id"]].runs[run["dag_run_id"]] = run
        if not dags:
            raise OperateError(f"No run of the last {days:g} days has ended; use more --days.")
        for row in self._rows("/dags/~/dagRuns/~/taskInstances", "task_instances", ended):
            _note(row, dags)
        first = min(_time(run["start_date"]) for dag in dags.values() for run in dag.runs.values())
        begin = max(begin, first - timedelta(seconds=LEAD_S))
        limits = {row["dag_id"]: row.get("max_active_tasks") for row in self._rows("/dags", "dags", {})}
        pools = {row["name"]: row["slots"] for row in self._rows("/pools", "pools", {}) if row["slots"] > 0}
        found: dict[str, WorkloadDag] = {}
        runs: list[WorkloadRun] = []
        for dag_id, dag in dags.items():
            tasks = _tasks(dag, self._structure(dag_id))
            if tasks:
                found[dag_id] = WorkloadDag(dag_id, (tasks,), max_active_tasks=limits.get(dag_id))
                runs += _runs(dag_id, dag, tasks, begin)
        runs.sort(key=lambda run: run.start_s or 0.0)
        horizon_s = (end - begin).total_seconds()
        learn_s = min(LEARN_S, horizon_s / 3)
        return Workload(name, horizon_s, learn_s, found, tuple(runs), start=begin, pools=pools)

    def _rows(self, path: str, key: str, parameters: Mapping[str, str]) -> Iterator[Mapping[str, Any]]:
        """Yield all rows of a list.

        Pages have no order in Airflow 2.11, so a change between two of them may repeat a row and omit another.
        """
        seen: set[tuple[Any, ...]] = set()
        read, total = 0, 1
        while read < total:
            answer = self.get(path, {**parameters, "limit": str(PAGE), "offset": str(read)})
            rows, total = answer[key], answer["total_entries"]
            if total > self.most_rows:
                raise OperateError(
                    f"{path} has {total} rows in these days, above {self.most_rows}: use fewer --days or more --rows."
                )
            if not rows:
                break
            read += len(rows)
            for row in rows:
                identity = tuple(row.get(part) for part in ("name", "dag_id", "dag_run_id", "task_id", "map_index"))
                if identity not in seen:
                    seen.add(identity)
                    yield row
        if len(seen) < total and read:
            raise OperateError(f"{path} changed while it was read ({len(seen)} of {total} rows). Try again.")

    def _structure(self, dag_id: str) -> Sequence[Mapping[str, Any]]:
        """Return the tasks of the newest version; none for a DAG that was removed."""
        try:
            return list(self.get(f"/dags/{quote(dag_id, safe='')}/tasks", {})["tasks"])
        except AirflowRefusedError:
            return ()


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _note(row: Mapping[str, Any], dags: Mapping[str, _DagHistory]) -> None:
    """Keep an instance that a worker ran; others, such as skipped ones, never took a slot."""
    dag = dags.get(row["dag_id"])
    if dag is None or row["dag_run_id"] not in dag.runs or not row["hostname"] or row["duration"] is None:
        return
    dag.instances[row["task_id"]] = row
    dag.times_s[row["task_id"]][row["dag_run_id"]].append(max(0.0, float(row["duration"])))


def _tasks(dag: _DagHistory, structure: Sequence[Mapping[str, Any]]) -> tuple[WorkloadTask, ...]:
    """Return the tasks that ran; one that ran in some runs, or with several instances, counts as mapped.

    A task that is no longer in the DAG has no dependencies. A task that never ran passes its upstream tasks on.
    """
    upstream: dict[str, set[str]] = {task["task_id"]: set() for task in structure}
    for task in structure:
        for child in task["downstream_task_ids"] or ():
            upstream.setdefault(child, set()).add(task["task_id"])
    for task_id in dag.times_s:
        upstream.setdefault(task_id, set())
    try:
        order = list(TopologicalSorter(upstream).static_order())
    except CycleError as error:
        raise OperateError(f"The tasks of a DAG form a circle: {' -> '.join(error.args[1])}.") from None
    index: dict[str, int] = {}
    effective: dict[str, set[int]] = {}
    tasks: list[WorkloadTask] = []
    for task_id in order:
        parents = set().union(*(effective[parent] for parent in upstream[task_id]))
        if task_id not in dag.times_s:
            effective[task_id] = parents
            continue
        index[task_id] = len(tasks)
        effective[task_id] = {index[task_id]}
        tasks.append(_task(task_id, dag, tuple(sorted(parents))))
    return tuple(tasks)


def _task(task_id: str, dag: _DagHistory, parents: tuple[int, ...]) -> WorkloadTask:
    row, by_run = dag.instances[task_id], dag.times_s[task_id]
    usual_s = median(seconds for times in by_run.values() for seconds in times)
    counts = [len(by_run[run_id]) if run_id in by_run else 0 for run_id in dag.runs]
    mapped = None if set(counts) == {1} else fmean(counts)
    return WorkloadTask(task_id, ((usual_s, 0.0),), parents, row["queue"] or "default", row["pool"], mapped)


def _runs(dag_id: str, dag: _DagHistory, tasks: Sequence[WorkloadTask], begin: datetime) -> Iterable[WorkloadRun]:
    for run_id, run in dag.runs.items():
        times = [dag.times_s[task.task_id].get(run_id, []) for task in tasks]
        yield WorkloadRun(
            dag_id,
            KINDS.get(run["run_type"], "manual"),
            (_time(run["start_date"]) - begin).total_seconds(),
            run_times_s=tuple(fmean(seconds) if seconds else 0.0 for seconds in times),
            mapped={node: len(times[node]) for node, task in enumerate(tasks) if task.mapped is not None},
        )
