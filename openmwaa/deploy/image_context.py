# SPDX-License-Identifier: Apache-2.0
"""The files of an image: its build context is a folder with exactly these, and its tag is their hash.

They come from a checkout or from the installed packages. An unchanged image has an unchanged tag, so it is built once.
"""

import hashlib
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from openmwaa.errors import OpenmwaaError
from openmwaa.packages import package_folder

_PACKAGES: Final[Mapping[str, Mapping[str, str]]] = {
    "airflow": {"worker_agent": "worker_agent", "openmwaa_runtime": "images/airflow/openmwaa_runtime"},
    "scaler": {"scaler": "scaler"},
}
"""Package -> its place in the context."""
_PLACED: Final = frozenset(package for packages in _PACKAGES.values() for package in packages)
_LEFT_OUT: Final = frozenset({"__pycache__", "py.typed", "wire.schema.json", "rules", "Dockerfile.dockerignore"})
"""As in the `.dockerignore` files."""


def files(kind: str) -> dict[str, Path]:
    """Return the files of the image by their path in the context, sorted.

    Raises:
        OpenmwaaError: a file is missing from this installation.
    """
    folders = {place: package_folder(package) for package, place in _PACKAGES[kind].items()}
    found = dict(_files(f"images/{kind}", _own_folder(kind)))
    for place, folder in folders.items():
        found |= dict(_files(place, folder))
    return dict(sorted(found.items()))


def tag(kind: str, version: str, platform: str, dockerfile: Path | None = None) -> str:
    """Return the tag of the image: its version, and a hash of its platform and its files.

    `dockerfile` builds the user's image on top of it, with all files of its folder.
    """
    digest = hashlib.sha256(platform.encode())
    found = files(kind)
    if dockerfile:
        digest.update(dockerfile.name.encode())
        own = (file for file in sorted(dockerfile.parent.rglob("*")) if file.is_file())
        found |= {f"own/{file.relative_to(dockerfile.parent).as_posix()}": file for file in own}
    for place, file in found.items():
        data = file.read_bytes()
        digest.update(f"\n{place} {len(data)}\n".encode() + data)
    return f"{version}-{digest.hexdigest()[:12]}"


def write(kind: str, folder: Path) -> None:
    """Copy the files of the image to the folder."""
    for place, file in files(kind).items():
        target = folder / place
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)


def _own_folder(kind: str) -> Path:
    """Return the folder with Dockerfile and lock files: in the wheel below `openmwaa`, else in the checkout."""
    here = Path(__file__).resolve()
    for folder in (here.parents[1] / "images" / kind, here.parents[2] / "images" / kind):
        if (folder / "Dockerfile").is_file():
            return folder
    raise OpenmwaaError(f"images/{kind}/Dockerfile is missing from this installation of openmwaa; install it again.")


def _files(place: str, folder: Path) -> Iterator[tuple[str, Path]]:
    for file in folder.rglob("*"):
        parts = file.relative_to(folder).parts
        # In a checkout the runtime's package is below the folder of the Dockerfile; here it is a package of its own.
        if file.is_file() and file.suffix != ".in" and not _LEFT_OUT & {*parts} and parts[0] not in _PLACED:
            yield f"{place}/{'/'.join(parts)}", file
