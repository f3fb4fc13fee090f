# SPDX-License-Identifier: Apache-2.0
"""Finds the virtual environment that holds Airflow as the image has it: $OPENMWAA_AIRFLOW, else the product's own."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from openmwaa.config.airflow_versions import DEFAULT_VERSION
from openmwaa.local.install import venvs

VERSION = DEFAULT_VERSION

_REPOSITORY = Path(__file__).resolve().parents[2]


def find_airflow() -> Path | None:
    """The environment, None where nothing has installed it yet."""
    if chosen := os.environ.get("OPENMWAA_AIRFLOW"):
        return Path(chosen)
    own = venvs.venv_of(f"airflow-{VERSION}")
    return own.folder if own.is_complete else None


def install_airflow(version: str = VERSION) -> Path:
    """The environment, installed if need be.

    Raises:
        InstallError: it could not be installed.
    """
    found = find_airflow() if version == VERSION else None
    return found or venvs.ensure(venvs.venv_of(f"airflow-{version}"), progress=print).parent.parent


def run_airflow_program(program: str, folder: Path, version: str = VERSION, **options: str) -> Any:
    """Run a program with Airflow's Python and our runtime, without any service. Returns its last line, read as JSON."""
    database = f"sqlite:///{folder}/airflow.db"
    connection = {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database}
    with airflow_process(program, folder, version, **{**connection, **options}) as process:
        return result_of(process)


def airflow_process(program: str, folder: Path, version: str = VERSION, **options: str) -> "subprocess.Popen[str]":
    """Start a program with Airflow's Python and our runtime, in a session of its own."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "AIRFLOW_HOME": str(folder),
        "PYTHONPATH": f"{_REPOSITORY / 'images' / 'airflow'}:{_REPOSITORY}",
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        **options,
    }
    command = [str(install_airflow(version) / "bin" / "python"), "-c", program]
    pipe = subprocess.PIPE
    return subprocess.Popen(
        command, env=environment, cwd=folder, stdout=pipe, stderr=pipe, text=True, start_new_session=True
    )


def result_of(process: "subprocess.Popen[str]", timeout_s: float = 300) -> Any:
    """Wait for a program; return its last line, read as JSON."""
    try:
        stdout, stderr = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    assert process.returncode == 0, stderr[-3000:]
    return json.loads(stdout.splitlines()[-1])
