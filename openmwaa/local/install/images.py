# SPDX-License-Identifier: Apache-2.0
"""The two container images on this machine: the same code, run by a Python of this machine."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from local_ecs.runtime.api import LocalImage, LocalImages
from openmwaa.local.install.venvs import uv_program
from openmwaa.packages import package_folder


def local_images(airflow_python: Path, packages: Path) -> LocalImages:
    """The images `airflow` and `scaler`; `packages` gets links to exactly the packages of each image.

    Raises:
        OpenmwaaError: a package is missing from this installation.
    """
    airflow = airflow_packages(packages)
    scaler = _links(packages / "scaler", ("scaler",))
    # For `prepare-artefacts`: uv, which is no package of Airflow's environment, and the user's package index.
    index = {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "UV_", "SSL_CERT_"))}
    cache = {"UV_CACHE_DIR": str(Path.home() / ".cache" / "uv")}  # the home of a container ends with it
    variables = {**_environment(airflow), "OPENMWAA_UV": uv_program(), **cache, **index}
    return LocalImages(
        by_label={
            "airflow": LocalImage("airflow", (str(airflow_python), "-m", "openmwaa_runtime"), variables),
            "scaler": LocalImage("scaler", (sys.executable, "-m", "scaler.main"), _environment(scaler)),
        }
    )


def airflow_packages(packages: Path) -> Path:
    """Return a folder with links to the packages of Airflow's image, for PYTHONPATH.

    Raises:
        OpenmwaaError: a package is missing from this installation.
    """
    return _links(packages / "airflow", ("openmwaa_runtime", "worker_agent"))


def _environment(packages: Path) -> dict[str, str]:
    return {"PYTHONPATH": str(packages), "PYTHONUNBUFFERED": "1", "PYTHONSAFEPATH": "1"}


def _links(folder: Path, packages: Sequence[str]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in packages:
        link, target = folder / name, package_folder(name)
        if link.is_symlink() and link.readlink() == target:
            continue  # a program may import it at this moment
        link.unlink(missing_ok=True)
        link.symlink_to(target)
    return folder
