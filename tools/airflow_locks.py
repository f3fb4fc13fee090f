# SPDX-License-Identifier: Apache-2.0
"""Writes the lock file of each version of Airflow, with hashes; `make lock` calls it.

Airflow's own constraints files are only on GitHub. The date in the version's row gives the same set from the package
index. A package that is in the lock file keeps its version; without the file, each gets the newest one of that date.
"""

import subprocess
import sys
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Final

from openmwaa.config.airflow_versions import AIRFLOW_VERSIONS, AirflowVersion

ROOT: Final = Path(__file__).parents[1]
FOLDER: Final = "images/airflow/requirements"
NEWER: Final[Mapping[str, date]] = dict.fromkeys(("amqp", "kombu", "vine"), date(2026, 11, 20))
"""Packages with a later date: docs/decisions/0015-celery-and-kombu-pins.md has the reason."""


def command(row: AirflowVersion) -> list[str]:
    """Return the command, whose standard input is the requirement of Airflow itself."""
    newer = [f"--exclude-newer-package={package}={day}" for package, day in NEWER.items()]
    return [
        *(str(Path(sys.executable).with_name("uv")), "pip", "compile", "--quiet", "--no-header", "--generate-hashes"),
        # For the images and for `openmwaa local`, which runs with the user's Python.
        *("--universal", "--python-version", row.pythons[0], f"--exclude-newer={row.packages_until}", *newer),
        *(f"{FOLDER}/airflow.in", "-", "-o", f"{FOLDER}/{row.lock}.txt"),
    ]


if __name__ == "__main__":
    for version in AIRFLOW_VERSIONS.values():
        subprocess.run(command(version), cwd=ROOT, check=True, text=True, input=f"apache-airflow=={version.version}\n")
