# SPDX-License-Identifier: Apache-2.0
"""The pattern of the tasks that `openmwaa dags test DAG TASK` does not run."""

import pytest

from openmwaa_runtime.run_dag import others


@pytest.mark.parametrize("task", ["load", "a.b", "group[1]", "load(", "x$"])
def test_one_task_runs_and_every_other_one_is_marked(task: str) -> None:
    pattern = others(task)
    assert pattern is not None
    assert not pattern.fullmatch(task)
    assert all(pattern.fullmatch(other) for other in (f"{task}2", f"pre{task}", task[:-1], "", "a\nb", f"{task}\n"))


def test_without_a_task_every_task_runs() -> None:
    assert others(None) is None
