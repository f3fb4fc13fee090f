# SPDX-License-Identifier: Apache-2.0
"""Reads and writes a workload as JSON; docs/reference/workloads.md describes the form."""

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError

from openmwaa.config.time_rules import CronExpression, TimeZone
from openmwaa.errors import MAX_SHOWN, OpenmwaaError, Problem
from simulation.workloads.measure import size_of
from simulation.workloads.model import RunKind, Workload, WorkloadDag, WorkloadRun, WorkloadTask

MAX_DAYS: Final = 400
MAX_DAGS: Final = 20_000
MAX_TASKS: Final = 20_000
"""Tasks of a DAG, instances of a mapped task, and segments of a task."""
MAX_RUNS: Final = 2_000_000
MAX_SLOT_USES: Final = 20_000_000
"""Of all runs: how often a task takes a slot."""


class WorkloadError(OpenmwaaError):
    """A workload cannot be read; the text has the problems, each with the path of its field."""

    def __init__(self, source: str, problems: Sequence[str]) -> None:
        lines = [str(Problem(Path(source), None, "", problem)) for problem in problems[:MAX_SHOWN]]
        if more := len(problems) - len(lines):
            lines.append(f"and {more} more")
        super().__init__("\n".join(lines))
        self.problems = tuple(problems)


def _options_last(length: int) -> BeforeValidator:
    """Let a list end before its options."""
    return BeforeValidator(lambda row: [*row, {}] if isinstance(row, list) and len(row) == length - 1 else row)


_Seconds = Annotated[float, Field(strict=True, ge=0, le=MAX_DAYS * 86400, allow_inf_nan=False)]
_Count = Annotated[int, Field(strict=True, ge=0, le=MAX_TASKS)]
_Slots = Annotated[int, Field(strict=True, ge=1)]
_Name = Annotated[str, StringConstraints(min_length=1, max_length=250)]
_Segments = Annotated[tuple[tuple[_Seconds, _Seconds], ...], Field(min_length=1, max_length=MAX_TASKS)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _TaskOptions(_Part):
    id: _Name | None = None
    queue: _Name = "default"
    pool: _Name = "default_pool"
    mapped: Annotated[float, Field(strict=True, ge=0, le=MAX_TASKS, allow_inf_nan=False)] | None = None
    segments: _Segments | None = None


_Task = Annotated[tuple[_Seconds, tuple[_Count, ...], _TaskOptions], _options_last(3)]
_Tasks = Annotated[tuple[_Task, ...], Field(max_length=MAX_TASKS)]


class _Dag(_Part):
    cron: CronExpression | None = None
    tasks: _Tasks
    timezone: TimeZone = "UTC"
    max_active_runs: _Slots | None = None
    max_active_tasks: _Slots | None = None
    after: tuple[_Name, _Count] | None = None
    versions: tuple[_Tasks, ...] = ()

    @property
    def all_versions(self) -> tuple[tuple[_Task, ...], ...]:
        return (self.tasks, *self.versions)


class _RunOptions(_Part):
    version: _Count = 0
    run_times: tuple[_Seconds, ...] | None = None
    mapped: dict[int, _Count] = {}
    segments: dict[int, _Segments] = {}


_Factor = Annotated[float, Field(strict=True, ge=0, le=1e6, allow_inf_nan=False)]
_Run = Annotated[tuple[_Seconds | None, _Name, RunKind, _Factor, _RunOptions], _options_last(5)]


class _Limits(_Part):
    parallelism: _Slots | None = None
    pools: dict[_Name, _Slots] = {}


class _Document(_Part):
    name: _Name
    description: str = ""
    horizon_s: Annotated[_Seconds, Field(gt=0)]
    measure_from_s: _Seconds
    start: AwareDatetime = datetime(2026, 1, 1, tzinfo=UTC)
    airflow: _Limits = _Limits()
    dags: Annotated[dict[_Name, _Dag], Field(max_length=MAX_DAGS)]
    runs: Annotated[tuple[_Run, ...], Field(max_length=MAX_RUNS)]


def read_workload(text: str | bytes, source: str) -> Workload:
    """Return the workload of a JSON document; `source` names it in errors.

    Raises:
        WorkloadError: with all problems.
    """
    try:
        document = _Document.model_validate_json(text)
    except ValidationError as error:
        raise WorkloadError(source, problems_of(error)) from None
    problems = [*_dag_problems(document), *_run_problems(document)]
    if document.measure_from_s >= document.horizon_s:
        problems.append("measure_from_s: must be before horizon_s")
    if problems:
        raise WorkloadError(source, problems)
    dags = {dag_id: _dag(dag_id, dag) for dag_id, dag in document.dags.items()}
    runs = [
        WorkloadRun(dag_id, kind, start_s, factor, run.version, run.run_times, run.mapped, run.segments)
        for start_s, dag_id, kind, factor, run in document.runs
    ]
    runs.sort(key=lambda run: (run.start_s is None, run.start_s or 0.0))
    workload = Workload(
        name=document.name,
        horizon_s=document.horizon_s,
        measure_from_s=document.measure_from_s,
        dags=dags,
        runs=tuple(runs),
        description=document.description,
        start=document.start.astimezone(UTC),
        parallelism=document.airflow.parallelism,
        pools=document.airflow.pools,
    )
    if (uses := size_of(workload).slot_uses) > MAX_SLOT_USES:
        raise WorkloadError(source, [f"runs: tasks take a slot {uses} times; at most {MAX_SLOT_USES}"])
    return workload


def problems_of(error: ValidationError) -> list[str]:
    """Return each problem with the path of its field."""
    found = error.errors(include_url=False, include_input=False)
    return [f"{_path(problem['loc'])}: {problem['msg'].removeprefix('Value error, ')}" for problem in found]


def _path(location: Sequence[str | int]) -> str:
    """Return `runs[12][1]` for ("runs", 12, 1)."""
    parts = [f"[{part}]" if isinstance(part, int) else f".{part}" for part in location]
    return "".join(parts).removeprefix(".") or "the file"


def _dag_problems(document: _Document) -> Iterator[str]:
    for dag_id, dag in document.dags.items():
        for number, tasks in enumerate(dag.all_versions):
            yield from _task_problems(f"dags.{dag_id}." + (f"versions[{number - 1}]" if number else "tasks"), tasks)
        if dag.after is not None:
            producer = document.dags.get(dag.after[0])
            if producer is None:
                yield f"dags.{dag_id}.after[0]: unknown DAG {dag.after[0]!r}"
            elif all(dag.after[1] >= len(tasks) for tasks in producer.all_versions):
                yield f"dags.{dag_id}.after[1]: DAG {dag.after[0]!r} has no task {dag.after[1]}"


def _task_problems(path: str, tasks: Sequence[_Task]) -> Iterator[str]:
    if not tasks:
        yield f"{path}: has no task"
    ids: set[str] = set()
    for node, (_, parents, options) in enumerate(tasks):
        for index, parent in enumerate(parents):
            if parent >= node or parent in parents[:index]:
                yield f"{path}[{node}][1][{index}]: {parent} must be an earlier task, named once"
        task_id = options.id or _default_id(node)
        if task_id in ids:
            yield f"{path}[{node}][2].id: {task_id!r} is the id of two tasks"
        ids.add(task_id)


def _run_problems(document: _Document) -> Iterator[str]:
    for number, (start_s, dag_id, kind, _, run) in enumerate(document.runs):
        path = f"runs[{number}]"
        dag = document.dags.get(dag_id)
        if dag is None:
            yield f"{path}[1]: unknown DAG {dag_id!r}"
            continue
        if (kind == "asset") != (start_s is None):
            yield f"{path}[0]: must be null for a run that an asset starts, and only for it"
        if kind == "asset" and dag.after is None:
            yield f"{path}[2]: DAG {dag_id!r} has no `after`"
        if run.version >= len(dag.all_versions):
            yield f"{path}[4].version: DAG {dag_id!r} has no version {run.version}"
            continue
        tasks = dag.all_versions[run.version]
        if run.run_times is not None and len(run.run_times) != len(tasks):
            yield f"{path}[4].run_times: {len(run.run_times)} times for {len(tasks)} tasks"
        for node in run.mapped:
            if not 0 <= node < len(tasks) or tasks[node][2].mapped is None:
                yield f"{path}[4].mapped.{node}: not a mapped task"
        yield from (f"{path}[4].segments.{node}: not a task" for node in run.segments if not 0 <= node < len(tasks))


def _default_id(node: int) -> str:
    return f"task_{node}"


def _dag(dag_id: str, dag: _Dag) -> WorkloadDag:
    versions = tuple(
        tuple(
            WorkloadTask(
                options.id or _default_id(node),
                options.segments or ((run_time_s, 0.0),),
                parents,
                options.queue,
                options.pool,
                options.mapped,
            )
            for node, (run_time_s, parents, options) in enumerate(tasks)
        )
        for tasks in dag.all_versions
    )
    return WorkloadDag(dag_id, versions, dag.cron, dag.timezone, dag.max_active_runs, dag.max_active_tasks, dag.after)


def write_workload(workload: Workload) -> str:
    """Return the workload as JSON, one DAG and one run a line."""
    head = {
        "name": workload.name,
        "description": workload.description,
        "horizon_s": workload.horizon_s,
        "measure_from_s": workload.measure_from_s,
        "start": workload.start.astimezone(UTC).isoformat(),
        "airflow": _given(_Limits(parallelism=workload.parallelism, pools=dict(workload.pools))),
    }
    lines = [f"{_json(key)}:{_json(value)}" for key, value in head.items()]
    dags = ",\n".join(f" {_json(dag_id)}:{_json(_written_dag(dag))}" for dag_id, dag in workload.dags.items())
    runs = ",\n".join(f" {_json(_written_run(run))}" for run in workload.runs)
    return "{" + ",\n".join([*lines, f'"dags":{{\n{dags}}}', f'"runs":[\n{runs}]']) + "}\n"


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _given(part: _Part) -> dict[str, Any]:
    return part.model_dump(exclude_defaults=True)


def _with_options(row: Sequence[Any], options: _Part) -> list[Any]:
    given = _given(options)
    return [*row, given] if given else list(row)


def _written_task(node: int, task: WorkloadTask) -> list[Any]:
    plain = len(task.segments) == 1 and not task.segments[0][1]
    options = _TaskOptions(
        id=None if task.task_id == _default_id(node) else task.task_id,
        queue=task.queue,
        pool=task.pool,
        mapped=task.mapped,
        segments=None if plain else task.segments,
    )
    return _with_options([sum(run_s for run_s, _ in task.segments), task.upstream], options)


def _written_dag(dag: WorkloadDag) -> dict[str, Any]:
    first, *later = ([_written_task(node, task) for node, task in enumerate(tasks)] for tasks in dag.versions)
    options = {key: getattr(dag, key) for key in ("timezone", "max_active_runs", "max_active_tasks", "after")}
    given = {key: value for key, value in options.items() if value not in (None, "UTC")}
    return {"cron": dag.cron, "tasks": first, **given} | ({"versions": later} if later else {})


def _written_run(run: WorkloadRun) -> list[Any]:
    options = _RunOptions(
        version=run.version, run_times=run.run_times_s, mapped=dict(run.mapped), segments=dict(run.segments)
    )
    return _with_options([run.start_s, run.dag_id, run.kind, run.factor], options)
