# SPDX-License-Identifier: Apache-2.0
"""Finds the virtual environment that holds Airflow as the image has it: $OPENMWAA_AIRFLOW, else the product's own."""

import os
from pathlib import Path

from openmwaa.local.install import venvs

VERSION = "3.3.2"


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
