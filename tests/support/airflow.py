# SPDX-License-Identifier: Apache-2.0
"""Finds the virtual environment that holds Airflow as the image has it."""

import os
from pathlib import Path

from openmwaa.local.venvs import airflow_venv

VERSION = "3.3.2"
DEVELOPMENT_CACHE = Path.home() / ".cache" / "openmwaa-dev" / "airflow"


def find_airflow() -> Path | None:
    """$OPENMWAA_AIRFLOW, else the one `openmwaa local` built, else the development cache; None when there is none."""
    built = airflow_venv(VERSION)
    places = [Path(os.environ["OPENMWAA_AIRFLOW"])] if os.environ.get("OPENMWAA_AIRFLOW") else []
    places += [built.folder] if built.is_complete else []
    return next((place for place in (*places, DEVELOPMENT_CACHE) if (place / "bin" / "python").exists()), None)
