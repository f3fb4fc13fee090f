# SPDX-License-Identifier: Apache-2.0
"""A task for a queue that no fleet serves is an import error of its file, in real Airflow without any service."""

from pathlib import Path
from typing import Any

import pytest

from tests.support.airflow import run_airflow_program

PROGRAM = """
import json, sys
from pathlib import Path
from airflow.dag_processing.dagbag import DagBag
from openmwaa_runtime.dag_bundle import NewestVersionDagBundle

for _ in range(2):  # the DAG processor creates its bundle more than once
    NewestVersionDagBundle(name="dags", path="dags")
bag = DagBag(Path("dags"), bundle_path=Path("dags"))
errors = {Path(file).stem: error for file, error in bag.import_errors.items()}
queues = {dag.dag_id: [task.queue for task in dag.tasks] for dag in bag.dags.values()}
print(json.dumps({"errors": errors, "queues": queues}))
"""
FILE = """
from airflow.sdk import DAG, task, TaskGroup
from airflow.providers.standard.operators.empty import EmptyOperator

with DAG({name!r}, schedule=None):
    {tasks}
"""
FILES = {
    "served": 'EmptyOperator(task_id="a"); EmptyOperator(task_id="b", queue="gpu")',
    "unserved": 'EmptyOperator(task_id="a", queue="gqu")',
    "mapped": 'task(queue="gqu", task_id="a")(lambda x: x).expand(x=[1, 2])',
    "in_a_group": 'with TaskGroup("g", default_args={"queue": "gqu"}): EmptyOperator(task_id="a")',
}
QUEUES = '{"default": "https://sqs/default", "gpu": "https://sqs/gpu"}'


def _parse(folder: Path, local_settings: str) -> Any:
    dags, config = folder / "dags", folder / "config"
    dags.mkdir()
    config.mkdir()
    for name, tasks in FILES.items():
        (dags / f"{name}.py").write_text(FILE.format(name=name, tasks=tasks))
    (config / "airflow_local_settings.py").write_text(local_settings)
    return run_airflow_program(PROGRAM, folder, OPENMWAA_QUEUES=QUEUES)


OTHER_POLICY = "def task_policy(task):\n    task.retries = 3\n"
SETS_QUEUE = "def task_policy(task):\n    task.queue = {'gqu': 'gpu'}.get(task.queue, task.queue)\n"
SETS_QUEUE_OF_RUNS = "def task_instance_mutation_hook(task_instance):\n    task_instance.queue = 'gpu'\n"


def test_a_queue_that_no_fleet_serves_is_an_import_error_of_the_file(tmp_path: Path) -> None:
    found = _parse(tmp_path, OTHER_POLICY)
    assert found["queues"] == {"served": ["default", "gpu"]}
    assert set(found["errors"]) == {"unserved", "mapped", "in_a_group"}
    message = "No fleet serves the queue 'gqu' of the task a. Fleets serve: default, gpu. Set `queue` of the task"
    assert message in found["errors"]["unserved"]
    assert "of the task g.a." in found["errors"]["in_a_group"]


@pytest.mark.parametrize("local_settings", [SETS_QUEUE, SETS_QUEUE_OF_RUNS], ids=["of tasks", "of each run"])
def test_the_users_own_policies_may_set_another_queue(local_settings: str, tmp_path: Path) -> None:
    assert _parse(tmp_path, local_settings)["errors"] == {}
