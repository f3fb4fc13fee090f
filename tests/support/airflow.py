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


def install_airflow() -> Path:
    """The environment, installed if need be.

    Raises:
        InstallError: it could not be installed.
    """
    return find_airflow() or venvs.ensure(venvs.venv_of(f"airflow-{VERSION}"), progress=print).parent.parent


def run_airflow_program(program: str, folder: Path, **options: str) -> Any:
    """Run a program with Airflow's Python and our runtime, without any service. Returns its last line, read as JSON."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "AIRFLOW_HOME": str(folder),
        "PYTHONPATH": f"{_REPOSITORY / 'images' / 'airflow'}:{_REPOSITORY}",
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{folder}/airflow.db",
        **options,
    }
    command = [str(install_airflow() / "bin" / "python"), "-c", program]
    done = subprocess.run(
        command, env=environment, cwd=folder, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])
