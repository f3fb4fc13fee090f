# SPDX-License-Identifier: Apache-2.0
"""The committed options of the version are those of the locked Airflow."""

import json
from pathlib import Path

from tests.support.airflow import VERSION, run_airflow_program
from tools.airflow_schema import FOLDER

PROGRAM = "import json; from tools.airflow_schema import schema; print(json.dumps(schema()))"


def test_the_committed_schema_is_that_of_the_locked_airflow(tmp_path: Path) -> None:
    committed = json.loads((FOLDER / f"airflow-{VERSION}.json").read_text("utf-8"))
    assert run_airflow_program(PROGRAM, tmp_path) == committed, "run tools/airflow_schema.py with Airflow's Python"
