# SPDX-License-Identifier: Apache-2.0
"""Which tasks `openmwaa dags test` runs, and when it ends."""

import sys
from types import SimpleNamespace

import pytest

from openmwaa_runtime.run_dag import others, watch_tasks


@pytest.mark.parametrize("task", ["load", "a.b", "group[1]", "load(", "x$"])
def test_one_task_runs_and_every_other_one_is_marked(task: str) -> None:
    pattern = others(task)
    assert pattern is not None
    assert not pattern.fullmatch(task)
    assert all(pattern.fullmatch(other) for other in (f"{task}2", f"pre{task}", task[:-1], "", "a\nb", f"{task}\n"))


def test_without_a_task_every_task_runs() -> None:
    assert others(None) is None


@pytest.mark.parametrize("debug", [False, True])
def test_ctrl_c_in_a_task_ends_the_run(monkeypatch: pytest.MonkeyPatch, debug: bool) -> None:
    supervisor = SimpleNamespace(run_task_in_process=lambda: SimpleNamespace(error=KeyboardInterrupt()))
    monkeypatch.setitem(sys.modules, "airflow.sdk.execution_time", SimpleNamespace(supervisor=supervisor))
    watch_tasks(debug=debug)
    with pytest.raises(KeyboardInterrupt):
        supervisor.run_task_in_process()


def test_a_failure_without_a_debugger_is_a_result(monkeypatch: pytest.MonkeyPatch) -> None:
    failed = SimpleNamespace(error=ValueError("no"))
    supervisor = SimpleNamespace(run_task_in_process=lambda: failed)
    monkeypatch.setitem(sys.modules, "airflow.sdk.execution_time", SimpleNamespace(supervisor=supervisor))
    watch_tasks(debug=False)
    assert supervisor.run_task_in_process() is failed
