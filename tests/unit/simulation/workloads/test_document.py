# SPDX-License-Identifier: Apache-2.0
"""The JSON form of a workload: round trips, defaults, and errors with the path of the field."""

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulation.workloads import document
from simulation.workloads.document import WorkloadError, read_workload, write_workload
from simulation.workloads.model import RunKind, Segment, Workload, WorkloadDag, WorkloadRun, WorkloadTask

SECONDS = st.floats(0, 100_000, allow_nan=False)
NAMES = st.sampled_from(["default", "task_0", "task_1", 'é"\\', "sales daily", "0"])
SEGMENTS: st.SearchStrategy[tuple[Segment, ...]] = st.lists(
    st.tuples(SECONDS, SECONDS), min_size=1, max_size=3
).map(tuple)  # fmt: skip


@st.composite
def _tasks(draw: st.DrawFn) -> tuple[WorkloadTask, ...]:
    names = draw(st.lists(NAMES, min_size=1, max_size=4, unique=True))
    upstream = [draw(st.lists(st.integers(0, node - 1), unique=True)) if node else [] for node in range(len(names))]
    mapped = st.none() | st.floats(0, 50)
    return tuple(
        WorkloadTask(name, draw(SEGMENTS), tuple(parents), draw(NAMES), draw(NAMES), draw(mapped))
        for name, parents in zip(names, upstream, strict=True)
    )


@st.composite
def _dag(draw: st.DrawFn, dag_id: str, after: tuple[str, int] | None) -> WorkloadDag:
    limit = st.none() | st.integers(1, 99)
    versions = tuple(draw(st.lists(_tasks(), min_size=1, max_size=2)))
    cron = draw(st.sampled_from([None, "*/5 * * * 1-5"]))
    zone = draw(st.sampled_from(["UTC", "Europe/Berlin"]))
    return WorkloadDag(dag_id, versions, cron, zone, draw(limit), draw(limit), after)


@st.composite
def _run(draw: st.DrawFn, dag: WorkloadDag) -> WorkloadRun:
    version = draw(st.integers(0, len(dag.versions) - 1))
    tasks = dag.versions[version]
    mapped = [node for node, task in enumerate(tasks) if task.mapped is not None]
    kinds: list[RunKind] = ["scheduled", "manual", "backfill"]
    kind: RunKind = "asset" if dag.after else draw(st.sampled_from(kinds))
    return WorkloadRun(
        dag.dag_id,
        kind,
        None if kind == "asset" else draw(SECONDS),
        draw(st.floats(0, 10)),
        version,
        draw(st.none() | st.tuples(*[SECONDS] * len(tasks))),
        {node: draw(st.integers(0, 9)) for node in mapped},
        draw(st.dictionaries(st.integers(0, len(tasks) - 1), SEGMENTS)),
    )


@st.composite
def workloads(draw: st.DrawFn) -> Workload:
    first, second = draw(st.lists(NAMES, min_size=2, max_size=2, unique=True))
    dags = {first: draw(_dag(first, None)), second: draw(_dag(second, draw(st.none() | st.just((first, 0)))))}
    runs = [draw(_run(dags[draw(st.sampled_from([first, second]))])) for _ in range(draw(st.integers(0, 3)))]
    return Workload(
        draw(NAMES),
        200_000.0,
        draw(SECONDS),
        dags,
        tuple(sorted(runs, key=lambda run: (run.start_s is None, run.start_s or 0.0))),
        draw(NAMES),
        datetime(2026, 3, 28, tzinfo=UTC) + timedelta(seconds=draw(st.integers(0, 10**6))),
        draw(st.none() | st.integers(1, 999)),
        draw(st.dictionaries(NAMES, st.integers(1, 99), max_size=2)),
    )


@settings(max_examples=20)
@given(workloads())
def test_a_workload_is_read_as_it_was_written(workload: Workload) -> None:
    assert read_workload(write_workload(workload), "written") == workload


MINIMUM: dict[str, Any] = {
    "name": "days",
    "horizon_s": 259200,
    "measure_from_s": 86400,
    "dags": {
        "sales": {"cron": "5 5 * * *", "tasks": [[41, []], [1.5, [0]], [7, [0, 1], {"id": "load", "mapped": 3}]]},
        "marts": {"cron": None, "after": ["sales", 2], "tasks": [[1, []]], "versions": [[[2, []], [2, [0]]]]},
    },
    "runs": [[18300, "sales", "scheduled", 0.975], [None, "marts", "asset", 1, {"version": 1}]],
}


def changed(**changes: Any) -> str:
    """Return the document above with other values; `__` leads into a value."""
    copy = json.loads(json.dumps(MINIMUM))
    for path, value in changes.items():
        *parents, last = path.split("__")
        part = copy
        for key in parents:
            part = part[int(key) if key.isdigit() else key]
        part[int(last) if last.isdigit() else last] = value
    return json.dumps(copy)


def test_the_sample_of_the_page_is_read_and_written() -> None:
    page = (Path(__file__).parents[4] / "docs/reference/workloads.md").read_text(encoding="utf-8")
    (sample,) = re.findall(r"^```json\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert json.loads(write_workload(read_workload(sample, "sample"))) == json.loads(sample.replace("00Z", "00+00:00"))


def test_options_have_defaults() -> None:
    workload = read_workload(changed(), "days.json")
    assert workload.dags["sales"].versions[0] == (
        WorkloadTask("task_0", ((41.0, 0.0),)),
        WorkloadTask("task_1", ((1.5, 0.0),), (0,)),
        WorkloadTask("load", ((7.0, 0.0),), (0, 1), mapped=3.0),
    )
    assert workload.runs[0] == WorkloadRun("sales", "scheduled", 18300.0, 0.975)
    assert workload.runs[1] == WorkloadRun("marts", "asset", None, 1.0, version=1)
    assert workload.parallelism is None


def test_runs_are_put_in_the_order_of_their_starts() -> None:
    text = changed(runs=[[9, "sales", "manual", 1], [None, "marts", "asset", 1], [3, "sales", "manual", 2]])
    assert [run.start_s for run in read_workload(text, "days.json").runs] == [3.0, 9.0, None]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"runs__0__1": "x"}, "runs[0][1]: unknown DAG 'x'"),
        ({"runs__0__0": None}, "runs[0][0]: must be null for a run that an asset starts, and only for it"),
        ({"runs__1__4": {"version": 2}}, "runs[1][4].version: DAG 'marts' has no version 2"),
        ({"runs__1": [None, "sales", "asset", 1]}, "runs[1][2]: DAG 'sales' has no `after`"),
        ({"runs__1__4": {"run_times": [1, 2]}}, "runs[1][4].run_times: 2 times for 1 tasks"),
        ({"runs__1__4": {"mapped": {"0": 4}}}, "runs[1][4].mapped.0: not a mapped task"),
        ({"runs__1__4": {"segments": {"1": [[1, 2]]}}}, "runs[1][4].segments.1: not a task"),
        ({"runs__0__2": "sometimes"}, "runs[0][2]: Input should be 'scheduled', 'manual', 'backfill' or 'asset'"),
        ({"dags__sales__tasks__1__1": [2]}, "dags.sales.tasks[1][1][0]: 2 must be an earlier task, named once"),
        ({"dags__sales__tasks__2__1": [0, 0]}, "dags.sales.tasks[2][1][1]: 0 must be an earlier task, named once"),
        ({"dags__sales__tasks__2__2": {"id": "task_0"}}, "dags.sales.tasks[2][2].id: 'task_0' is the id of two tasks"),
        ({"dags__sales__tasks__0__0": -1}, "dags.sales.tasks[0][0]: Input should be greater than or equal to 0"),
        ({"dags__sales__tasks__0__0": "1"}, "dags.sales.tasks[0][0]: Input should be a valid number"),
        ({"dags__marts__tasks": []}, "dags.marts.tasks: has no task"),
        ({"dags__marts__versions": [[]]}, "dags.marts.versions[0]: has no task"),
        ({"dags__marts__after": ["stock", 0]}, "dags.marts.after[0]: unknown DAG 'stock'"),
        ({"dags__marts__after": ["sales", 3]}, "dags.marts.after[1]: DAG 'sales' has no task 3"),
        ({"dags__sales__timezone": "Berlin"}, "dags.sales.timezone: is 'Berlin', which is not in the IANA database"),
        ({"dags__sales__cron": "5 5"}, "dags.sales.cron: is '5 5', which has 2 fields"),
        ({"dags__sales__crom": "5 5"}, "dags.sales.crom: Extra inputs are not permitted"),
        ({"measure_from_s": 259200}, "measure_from_s: must be before horizon_s"),
        ({"horizon_s": 1e12}, "horizon_s: Input should be less than or equal to"),
        ({"start": "2026-03-28T00:00:00"}, "start: Input should have timezone info"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_an_error_has_the_path_of_its_field(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(WorkloadError) as raised:
        read_workload(changed(**changes), "days.json")
    (found,) = raised.value.problems
    assert found.startswith(problem)
    assert str(raised.value) == f"days.json: {found}"


def test_all_problems_are_counted_and_the_first_ones_shown() -> None:
    text = changed(runs=[[0, "x", "manual", 1]] * 60)
    with pytest.raises(WorkloadError) as raised:
        read_workload(text, "days.json")
    assert len(raised.value.problems) == 60
    assert str(raised.value).splitlines()[-1] == "and 10 more"


def test_an_error_shows_control_characters_as_text() -> None:
    with pytest.raises(WorkloadError) as raised:
        read_workload(changed(runs__0__1="\x1b[2J"), "days.json")
    assert "\x1b" not in str(raised.value)


def test_text_that_is_not_json_is_an_error() -> None:
    with pytest.raises(WorkloadError, match=r"days\.json: the file: Invalid JSON"):
        read_workload('{"name": ', "days.json")


def test_the_work_of_all_runs_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = [[0, "sales", "manual", 1, {"mapped": {"2": 40}}]]
    monkeypatch.setattr(document, "MAX_SLOT_USES", 42)
    assert read_workload(changed(runs=runs), "days.json").runs
    monkeypatch.setattr(document, "MAX_SLOT_USES", 41)
    with pytest.raises(WorkloadError, match="runs: tasks take a slot 42 times; at most 41"):
        read_workload(changed(runs=runs), "days.json")
