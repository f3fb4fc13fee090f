# SPDX-License-Identifier: Apache-2.0
"""Packages of npm that tests need, each of one version and one hash, installed once into the user's cache.

`npm pack` fetches the archive as the user's npm is set up to; nothing of the package is run.
"""

import base64
import fcntl
import hashlib
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from openmwaa.local.install.venvs import cache_folder

FETCHED_WITHIN_S = 600


@dataclass(frozen=True)
class Package:
    """A package, with the hash of `npm view NAME@VERSION dist.integrity`."""

    name: str
    version: str
    sha512: str

    @property
    def folder(self) -> Path:
        """Where it is once it is installed."""
        return cache_folder() / "npm" / f"{self.name.replace('/', '-').lstrip('@')}-{self.version}"


def node() -> str:
    """Node.js; tests that need it are skipped where it or npm is missing."""
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            pytest.skip(f"there is no {program} on the PATH: Node.js 20 or newer is what the browser comes through")
    return str(shutil.which("node"))


def installed(package: Package, finish: Callable[[Path], None] = lambda _: None) -> Path:
    """The package's folder; fetched, checked and finished first where it is not there yet."""
    if package.folder.is_dir():
        return package.folder
    package.folder.parent.mkdir(parents=True, exist_ok=True)
    with (package.folder.parent / f"{package.folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not package.folder.is_dir():
            with tempfile.TemporaryDirectory(dir=package.folder.parent) as made:
                _fetch(package, Path(made))
                finish(Path(made) / "package")
                (Path(made) / "package").rename(package.folder)
    return package.folder


def _fetch(package: Package, into: Path) -> None:
    node()
    wanted = f"{package.name}@{package.version}"
    command = ["npm", "pack", "--silent", "--ignore-scripts", wanted]
    done = subprocess.run(command, cwd=into, capture_output=True, text=True, check=False, timeout=FETCHED_WITHIN_S)
    archives = list(into.glob("*.tgz"))
    assert done.returncode == 0, f"npm could not fetch {wanted}: {done.stderr}"
    digest = base64.b64encode(hashlib.sha512(archives[0].read_bytes()).digest()).decode()
    assert digest == package.sha512, f"{wanted} is not what it was: sha512-{digest}"
    with tarfile.open(archives[0]) as archive:
        archive.extractall(into, filter="data")
    archives[0].unlink()
