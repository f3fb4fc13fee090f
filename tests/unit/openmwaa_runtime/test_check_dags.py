# SPDX-License-Identifier: Apache-2.0
"""The findings of `openmwaa dags check`: import errors with their line, queues, literal names."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from openmwaa_runtime.check_dags import (
    Finding,
    Reference,
    import_finding,
    queue_findings,
    reference_findings,
    references,
)

IN_HELPER = """Traceback (most recent call last):
  File "/venv/airflow/importer.py", line 9, in parse
    loader.exec_module(new_module)
  File "{folder}/broken.py", line 3, in <module>
    import helper
  File "{folder}/lib/helper.py", line 7, in <module>
    import pandas
ModuleNotFoundError: No module named 'pandas'
"""
OWN = """Traceback (most recent call last):
  File "{folder}/broken.py", line 3
    if True
           ^
SyntaxError: expected ':'
"""
IN_LIBRARY = """Traceback (most recent call last):
  File "{folder}/broken.py", line 12, in <module>
    DAG(schedule="nonsense")
  File "/venv/airflow/sdk/dag.py", line 400, in __init__
    raise ValueError
ValueError: nonsense is no cron expression:
two lines
"""
NO_TRACEBACK = "AirflowDagCycleException: Cycle detected in Dag: loop. Faulty task: a"


@pytest.mark.parametrize(
    ("text", "file", "line", "message"),
    [
        (OWN, "broken.py", 3, "SyntaxError: expected ':'"),
        (
            IN_HELPER,
            "lib/helper.py",
            7,
            "ModuleNotFoundError: No module named 'pandas' (imported by broken.py)",
        ),
        (IN_LIBRARY, "broken.py", 12, "ValueError: nonsense is no cron expression:\ntwo lines"),
        (NO_TRACEBACK, "broken.py", None, NO_TRACEBACK),
        ("", "broken.py", None, "no message"),
    ],
    ids=["syntax error", "helper", "library", "without traceback", "empty"],
)
@pytest.mark.parametrize("absolute", [True, False])
def test_an_import_error_has_the_line_in_the_author_s_file(
    tmp_path: Path, text: str, file: str, line: int | None, message: str, absolute: bool
) -> None:
    key = str(tmp_path / "broken.py") if absolute else "broken.py"
    found = import_finding(tmp_path, key, text.format(folder=tmp_path))
    assert found == Finding("import", file, line, message)


SOURCE = """
from airflow.sdk import Variable, BaseHook, Connection, task
PostgresHook(postgres_conn_id="warehouse")
Op(task_id="a", pool="small", conn_id=name, sql="{{ var.value.schema }} {{ conn.lake.host }}", other_conn_id="{{ x }}")
default_args = {"aws_conn_id": "aws_team", "retries": 1}
Variable.get("stage")
Variable.get("optional", default="x")
Variable.get("old", "x")
BaseHook.get_connection("by_hook")
Connection.get("by_sdk")
{"pool": None, **default_args}
hook.get("stage")
"""


def test_names_that_stand_literally_in_a_file_are_found_with_their_line() -> None:
    assert set(references(SOURCE)) == {
        Reference("connection", "warehouse", 3),
        Reference("connection", "lake", 4),
        Reference("variable", "schema", 4),
        Reference("pool", "small", 4),
        Reference("connection", "aws_team", 5),
        Reference("variable", "stage", 6),
        Reference("connection", "by_hook", 9),
        Reference("connection", "by_sdk", 10),
    }


def test_only_names_that_the_environment_does_not_have_are_findings(tmp_path: Path) -> None:
    file = tmp_path / "one.py"
    file.write_text(SOURCE)
    (tmp_path / "broken.py").write_text("if True")
    asked: list[tuple[str, str]] = []

    def exists(kind: str, name: str) -> bool:
        asked.append((kind, name))
        return name not in {"warehouse", "small"}

    found = list(reference_findings(tmp_path, [file, tmp_path / "broken.py"], exists))
    assert [(finding.kind, finding.file, finding.line) for finding in found] == [
        ("connection", "one.py", 3),
        ("pool", "one.py", 4),
    ]
    assert found[0].text == "there is no connection warehouse in the environment"
    assert len(asked) == len(set(asked)), "a name is looked up twice"


def test_a_queue_that_no_fleet_serves_is_found_at_its_line(tmp_path: Path) -> None:
    file = tmp_path / "one.py"
    file.write_text('x = 1\nOp(queue="gpu")\n')
    tasks = [SimpleNamespace(task_id="a", queue="gpu"), SimpleNamespace(task_id="b", queue="default")]
    dag = SimpleNamespace(fileloc=str(file), tasks=tasks)
    assert list(queue_findings(tmp_path, {"d": dag}, ["default", "etl"])) == [
        Finding("queue", "one.py", 2, "no fleet serves the queue gpu of d.a. Queues of the environment: default, etl")
    ]
