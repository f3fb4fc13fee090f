# SPDX-License-Identifier: Apache-2.0
"""Checks DAGs in a process with the environment's Airflow, with the database of the environment if it runs here."""

import contextlib
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from openmwaa.config.environment import Environment
from openmwaa.local.airflow_command import author_variables, python_of, running_variables, without_airflow
from openmwaa.local.child_environment import child_environment
from openmwaa.local.errors import DaemonError, LocalError
from openmwaa.local.paths import LocalPaths
from openmwaa.progress import Progress, reported
from openmwaa.subprocesses import Program, run

CHECKED_WITHIN_S = 900.0
REFERENCES = "OPENMWAA_CHECK_REFERENCES"  # as in openmwaa_runtime.check_dags
# The whole traceback, so that it has the line in the DAG's file.
_OPTIONS = {"AIRFLOW__CORE__DAGBAG_IMPORT_ERROR_TRACEBACK_DEPTH": "100"}


def check_dags(file: Path, environment: Environment, folder: Path, progress: Progress) -> Mapping[str, Any]:
    """Return the findings of `openmwaa_runtime.check_dags`; names are checked if the environment runs here.

    Raises:
        LocalError: the check itself failed.
    """
    python, running = python_of(environment, progress), None
    with contextlib.suppress(DaemonError):  # it is starting
        running = running_variables(LocalPaths.of(file, environment.name))
    with tempfile.TemporaryDirectory(prefix="openmwaa-check-") as home:
        result = Path(home) / "result.json"
        if running:
            more = {**running, **_OPTIONS, "AIRFLOW_HOME": home, REFERENCES: "1"}
            variables = child_environment(more, base=without_airflow())
        else:
            own = author_variables(environment, Path(home), Path(home), folder)
            variables = {**without_airflow(), **own, **_OPTIONS}
        words = ("check-dags", str(folder), json.dumps(environment.queues), str(result))
        argv = (str(python), "-m", "openmwaa_runtime", *words)
        lines: list[str] = []
        with reported(f"Importing the DAGs of {folder}", progress):
            code = run(Program(argv, folder, variables), on_line=lines.append, within_s=CHECKED_WITHIN_S)
        if code or not result.exists():
            last = "\n".join(lines[-15:])
            raise LocalError(f"The check ended with exit code {code}. A DAG may have ended the process. {last}")
        found: Mapping[str, Any] = json.loads(result.read_text(encoding="utf-8"))
        return found
