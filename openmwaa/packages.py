# SPDX-License-Identifier: Apache-2.0
"""The folders of the packages that the container images hold, from an installation or from a checkout."""

from importlib.util import find_spec
from pathlib import Path

from openmwaa.errors import OpenmwaaError


def package_folder(name: str) -> Path:
    """Return the folder of a package.

    Raises:
        OpenmwaaError: it is missing from this installation.
    """
    spec = find_spec(name)
    if spec and spec.submodule_search_locations:
        return Path(next(iter(spec.submodule_search_locations))).resolve()
    checkout = Path(__file__).resolve().parents[1]
    for folder in (checkout / name, checkout / "images" / "airflow" / name):
        if folder.is_dir():
            return folder
    raise OpenmwaaError(f"The package {name} is missing from this installation of openmwaa; install it again.")
