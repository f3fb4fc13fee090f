# SPDX-License-Identifier: Apache-2.0
"""Instances of WfCommons (WfFormat 1.5 and 1.6, https://wfcommons.org/format): each becomes one DAG."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from graphlib import CycleError, TopologicalSorter
from typing import Annotated, Final

from pydantic import BaseModel, Field, ValidationError

from simulation.workloads.document import WorkloadError, problems_of
from simulation.workloads.generator import DAY_S, cron_starts
from simulation.workloads.model import Workload, WorkloadDag, WorkloadRun, WorkloadTask

START: Final = datetime(2026, 3, 2, tzinfo=UTC)


class _Specified(BaseModel):
    id: str
    parents: tuple[str, ...] = ()
    children: tuple[str, ...] = ()


class _Executed(BaseModel):
    id: str
    runtime_s: Annotated[float, Field(alias="runtimeInSeconds", ge=0, allow_inf_nan=False)]


class _Specification(BaseModel):
    tasks: Annotated[tuple[_Specified, ...], Field(min_length=1)]


class _Execution(BaseModel):
    tasks: tuple[_Executed, ...]


class _Workflow(BaseModel):
    specification: _Specification
    execution: _Execution


class _Instance(BaseModel):
    """The fields of an instance that a DAG needs; others may be present."""

    workflow: _Workflow


def is_instance(text: str | bytes) -> bool:
    """Return whether the text is an instance of WfCommons, and not a workload."""
    try:
        content = json.loads(text)
    except ValueError:
        return False
    return isinstance(content, dict) and "workflow" in content


def read_instance(text: str | bytes, dag_id: str, cron: str | None = None) -> WorkloadDag:
    """Return the DAG of an instance; an edge may be named by the parent, the child, or both.

    Raises:
        WorkloadError: with all problems.
    """
    try:
        workflow = _Instance.model_validate_json(text).workflow
    except ValidationError as error:
        raise WorkloadError(dag_id, problems_of(error)) from None
    specified = workflow.specification.tasks
    times = {task.id: task.runtime_s for task in workflow.execution.tasks}
    parents: dict[str, dict[str, None]] = {task.id: {} for task in specified}
    problems = []
    if len(parents) < len(specified):
        problems.append("workflow.specification.tasks: two tasks have the same id")
    for number, task in enumerate(specified):
        path = f"workflow.specification.tasks[{number}]"
        unknown = [other for other in (*task.parents, *task.children) if other not in parents]
        problems += [f"{path}: unknown task {other!r}" for other in unknown]
        if task.id not in times:
            problems.append(f"workflow.execution.tasks: no runtimeInSeconds of {task.id!r}")
        parents[task.id].update(dict.fromkeys(task.parents))
        for child in task.children:
            parents.get(child, {})[task.id] = None
    if problems:
        raise WorkloadError(dag_id, problems)
    try:
        order = list(TopologicalSorter(parents).static_order())
    except CycleError as error:
        raise WorkloadError(dag_id, [f"workflow.specification.tasks: a cycle: {' -> '.join(error.args[1])}"]) from None
    index = {task_id: node for node, task_id in enumerate(order)}
    tasks = tuple(
        WorkloadTask(task_id, ((times[task_id], 0.0),), tuple(sorted(index[parent] for parent in parents[task_id])))
        for task_id in order
    )
    return WorkloadDag(dag_id, (tasks,), cron)


def instances_workload(instances: Mapping[str, str | bytes], crons: Sequence[str] = (), days: int = 3) -> Workload:
    """Return some days of instances by DAG id, at the crons in turn; by default hourly, each 7 minutes after the last.

    Raises:
        WorkloadError: with the problems of the first instance that cannot be read.
    """
    crons = crons or [f"{7 * number % 60} * * * *" for number in range(len(instances))]
    horizon_s = days * DAY_S
    dags, runs = {}, []
    for number, (dag_id, text) in enumerate(instances.items()):
        cron = crons[number % len(crons)]
        dags[dag_id] = read_instance(text, dag_id, cron)
        runs += [WorkloadRun(dag_id, "scheduled", start_s) for start_s in cron_starts(cron, "UTC", START, horizon_s)]
    runs.sort(key=lambda run: run.start_s or 0.0)
    return Workload("+".join(instances), horizon_s, DAY_S, dags, tuple(runs), start=START)
