# SPDX-License-Identifier: Apache-2.0
"""The virtual environments that the local environment runs in: Airflow's and the emulator's, built from lock files.

They live in the user's cache by the hash of their lock and Python, so that every environment of one version shares one.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from local_ecs.runtime.process_tree import CONTAINER_MARK, ENVIRONMENT_MARK
from openmwaa.local.errors import InstallError
from openmwaa.local.subprocesses import COMMAND

COMPLETE = ".complete"
BUILD_WITHIN_S = 1800.0
_LAST_LINES = 15

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Venv:
    """A virtual environment that a lock file describes."""

    name: str
    lock: Path
    python: Path
    """The interpreter it is made with."""
    cache: Path

    @property
    def folder(self) -> Path:
        """Where it lives."""
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        key = hashlib.sha256(self.lock.read_bytes() + f"{version} {self.python}".encode()).hexdigest()[:12]
        return self.cache / f"{self.name}-py{version}-{key}"

    @property
    def interpreter(self) -> Path:
        """Its own Python."""
        return self.folder / "bin" / "python"

    @property
    def is_complete(self) -> bool:
        """Whether it was built to the end and its Python is still there."""
        return (self.folder / COMPLETE).exists() and self.interpreter.exists()


def airflow_venv(version: str) -> Venv:
    """Airflow as the image has it."""
    name = f"airflow-{version}"
    return Venv(name, lock_file(f"{name}.txt"), _base_python(), cache_folder())


def emulator_venv() -> Venv:
    """The emulator; it pins botocore, so it needs its own."""
    return Venv("emulator", lock_file("emulator.txt"), _base_python(), cache_folder())


def checkout_venv(name: str) -> Venv:
    """A tool of this repository that must not meet other packages, such as checkov: its lock is in requirements/."""
    return Venv(name, lock_file(f"{name}.txt"), _base_python(), cache_folder())


def _base_python() -> Path:
    """The interpreter behind this process's own virtual environment: every checkout then shares what is built."""
    return Path(sys.executable).resolve()


def cache_folder() -> Path:
    """`${XDG_CACHE_HOME:-~/.cache}/openmwaa`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "openmwaa"


def lock_file(name: str) -> Path:
    """A lock file, from the installed package or from a checkout.

    Raises:
        InstallError: there is none of that name.
    """
    here = Path(__file__).resolve()
    checkout = here.parents[3]
    places = (here.parents[1] / "requirements", checkout / "images/airflow/requirements", checkout / "requirements")
    for place in places:
        if (place / name).is_file():
            return place / name
    raise InstallError(f"The lock file {name} is missing from this installation of openmwaa; install it again.")


def ensure(venv: Venv, *, say: Progress, environment_id: str = "", cancelled: threading.Event | None = None) -> Path:
    """Build a virtual environment unless it is there, and return its Python.

    Several `up` may ask at once: one builds, the others wait. An interrupted build is begun anew. Once `cancelled` is
    set no further program is started; whoever sets it ends the one that runs, by its marks.

    Raises:
        InstallError: it could not be built.
    """
    if venv.is_complete:
        return venv.interpreter
    try:
        venv.cache.mkdir(parents=True, exist_ok=True)
        with _lock(venv.folder.with_name(venv.folder.name + ".lock"), say=say, what=venv.name):
            if not venv.is_complete:
                _build(venv, say=say, environment_id=environment_id, cancelled=cancelled or threading.Event())
    except OSError as error:
        raise InstallError(f"The virtual environment {venv.folder} could not be built: {error}.") from error
    return venv.interpreter


def _build(venv: Venv, *, say: Progress, environment_id: str, cancelled: threading.Event) -> None:
    started = time.monotonic()
    say(f"Installing {venv.name} into {venv.folder} (once; kept for every environment)")
    failures = []
    for attempt in _ways(venv):
        shutil.rmtree(venv.folder, ignore_errors=True)
        failure = _run_all(attempt, environment_id)
        if failure is None:
            (venv.folder / COMPLETE).touch()
            say(f"Installed {venv.name} in {time.monotonic() - started:.0f} s")
            return
        if cancelled.is_set():
            raise InstallError(f"Installing {venv.name} was interrupted.")
        failures.append(failure)
        say(f"Installing {venv.name} with {Path(attempt[0][0]).name} failed")
    shutil.rmtree(venv.folder, ignore_errors=True)
    raise InstallError(
        f"{venv.name} could not be installed from {venv.lock}. Check that a Python package index is within reach.\n"
        + "\n".join(failures)
    )


def _ways(venv: Venv) -> Iterator[Sequence[tuple[str, ...]]]:
    """Command sequences that build it, best first: uv takes 10 s where pip takes 100."""
    folder, python, lock = str(venv.folder), str(venv.python), str(venv.lock)
    if uv := _find_uv():
        yield (
            (uv, "venv", "--quiet", "--no-project", "--python", python, folder),
            (
                *(uv, "pip", "install", "--quiet", "--require-hashes", "--compile-bytecode"),
                *("--python", str(venv.interpreter), "-r", lock),
            ),
        )
    yield (
        (python, "-m", "venv", folder),
        (str(venv.interpreter), "-m", "pip", "install", "--quiet", "--require-hashes", "-r", lock),
    )


def _find_uv() -> str | None:
    beside = Path(sys.executable).parent / "uv"
    return str(beside) if beside.exists() else shutil.which("uv")


def _run_all(commands: Sequence[tuple[str, ...]], environment_id: str) -> str | None:
    """Run commands one after the other; None, or the end of what the first that failed printed."""
    marks = {ENVIRONMENT_MARK: environment_id, CONTAINER_MARK: COMMAND} if environment_id else {}
    environment = {**os.environ, **marks}
    environment.setdefault("UV_HTTP_TIMEOUT", "60")
    environment.setdefault("PIP_DISABLE_PIP_VERSION_CHECK", "1")
    # pip takes for installed what a PYTHONPATH shows it.
    for name in ("PYTHONPATH", "VIRTUAL_ENV"):
        environment.pop(name, None)
    if index := environment.get("PIP_INDEX_URL"):
        environment.setdefault("UV_DEFAULT_INDEX", index)
    if bundle := environment.get("PIP_CERT"):
        environment.setdefault("SSL_CERT_FILE", bundle)
    for command in commands:
        try:
            done = subprocess.run(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                check=False,
                timeout=BUILD_WITHIN_S,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return str(error)
        if done.returncode:
            return "\n".join(done.stdout.strip().splitlines()[-_LAST_LINES:])
    return None


@contextmanager
def _lock(path: Path, *, say: Progress, what: str) -> Iterator[None]:
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"Another command installs {what}; waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
