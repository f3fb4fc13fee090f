# SPDX-License-Identifier: Apache-2.0
"""The committed options of the version are those of the locked Airflow."""

import json
from pathlib import Path

import pytest

from openmwaa.config.airflow_versions import AIRFLOW_VERSIONS
from tests.support.airflow import run_airflow_program
from tools.airflow_schema import FOLDER

PROGRAM = "import json; from tools.airflow_schema import schema; print(json.dumps(schema()))"


@pytest.mark.parametrize("version", AIRFLOW_VERSIONS)
def test_the_committed_schema_is_that_of_the_locked_airflow(tmp_path: Path, version: str) -> None:
    committed = json.loads((FOLDER / f"airflow-{version}.json").read_text("utf-8"))
    assert run_airflow_program(PROGRAM, tmp_path, version=version) == committed, (
        "run tools/airflow_schema.py with Airflow's Python"
    )
