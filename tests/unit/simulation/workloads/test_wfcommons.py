# SPDX-License-Identifier: Apache-2.0
"""Instances of WfCommons as DAGs."""

import json
from typing import Any

import pytest

from simulation.workloads.document import WorkloadError
from simulation.workloads.wfcommons import instances_workload, is_instance, read_instance


def instance(edges: dict[str, tuple[list[str], list[str]]], times: dict[str, float]) -> str:
    """Return an instance in WfFormat 1.5; `edges` has parents and children by task."""
    specified = [
        {"name": task, "id": task, "parents": parents, "children": children, "inputFiles": []}
        for task, (parents, children) in edges.items()
    ]
    executed = [{"id": task, "runtimeInSeconds": seconds, "coreCount": 1} for task, seconds in times.items()]
    execution = {"makespanInSeconds": 30, "executedAt": "20260101T000000Z", "tasks": executed, "machines": []}
    return json.dumps({
        "name": "pipeline",
        "schemaVersion": "1.5",
        "workflow": {"specification": {"tasks": specified, "files": []}, "execution": execution},
    })  # fmt: skip


DIAMOND = instance(
    {
        "join": (["left", "right"], []),
        "left": (["split"], []),
        "right": ([], ["join"]),
        "split": ([], ["right", "left"]),
    },
    {"split": 2.5, "left": 10, "right": 20, "join": 1},
)


def test_tasks_come_in_topological_order_with_the_edges_of_parents_and_children() -> None:
    (tasks,) = read_instance(DIAMOND, "pipeline").versions
    found = {task.task_id: ({tasks[parent].task_id for parent in task.upstream}, task.segments) for task in tasks}
    assert found == {
        "split": (set(), ((2.5, 0.0),)),
        "left": ({"split"}, ((10.0, 0.0),)),
        "right": ({"split"}, ((20.0, 0.0),)),
        "join": ({"left", "right"}, ((1.0, 0.0),)),
    }
    assert all(parent < node for node, task in enumerate(tasks) for parent in task.upstream)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (instance({"a": ([], [])}, {}), "workflow.execution.tasks: no runtimeInSeconds of 'a'"),
        (instance({"a": (["b"], [])}, {"a": 1}), "workflow.specification.tasks[0]: unknown task 'b'"),
        (instance({"a": (["b"], []), "b": (["a"], [])}, {"a": 1, "b": 1}), "workflow.specification.tasks: a cycle: "),
        (instance({}, {}), "workflow.specification.tasks: Tuple should have at least 1 item"),
        (
            instance({"a": ([], [])}, {"a": -1}),
            "workflow.execution.tasks[0].runtimeInSeconds: Input should be greater than or equal to 0",
        ),
        ('{"workflow": {"tasks": []}}', "workflow.specification: Field required"),
    ],
    ids=["no run time", "unknown parent", "cycle", "no task", "negative time", "an older format"],
)
def test_an_error_has_the_path_of_its_field(text: str, problem: str) -> None:
    with pytest.raises(WorkloadError) as raised:
        read_instance(text, "pipeline")
    assert raised.value.problems[0].startswith(problem)


@pytest.mark.parametrize("text", ['{"dags": {}}', "[]", "no JSON"], ids=["a workload", "a list", "no JSON"])
def test_another_text_is_no_instance(text: str) -> None:
    assert not is_instance(text)
    assert is_instance(DIAMOND)


def test_two_tasks_with_one_id_are_an_error() -> None:
    content: dict[str, Any] = json.loads(DIAMOND)
    tasks = content["workflow"]["specification"]["tasks"]
    tasks.append(tasks[0])
    with pytest.raises(WorkloadError, match="two tasks have the same id"):
        read_instance(json.dumps(content), "pipeline")


def test_instances_run_hourly_by_default_each_seven_minutes_after_the_last() -> None:
    workload = instances_workload({"first": DIAMOND, "second": DIAMOND})
    assert [(run.start_s, run.dag_id) for run in workload.runs[:4]] == [
        (0.0, "first"),
        (420.0, "second"),
        (3600.0, "first"),
        (4020.0, "second"),
    ]
    assert len(workload.runs) == 2 * 72


def test_instances_run_at_the_crons_that_are_given() -> None:
    workload = instances_workload({"first": DIAMOND, "second": DIAMOND}, ["0 6 * * *", "30 */12 * * *"], days=1)
    assert [(run.start_s, run.dag_id) for run in workload.runs] == [
        (1800.0, "second"),
        (21600.0, "first"),
        (45000.0, "second"),
    ]
    assert workload.dags["second"].cron == "30 */12 * * *"
