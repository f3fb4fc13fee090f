# SPDX-License-Identifier: Apache-2.0
"""The virtual environments of Airflow and of the emulator, built from lock files.

They are in the user's cache folder. The folder name has the hash of lock file and Python, so that all environments of
one version share one.
"""

import fcntl
import hashlib
import os
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from openmwaa.errors import SubprocessError
from openmwaa.local.child_environment import command_marks
from openmwaa.local.errors import InstallError
from openmwaa.progress import Progress, reported
from openmwaa.subprocesses import Program, run
from openmwaa_runtime.artefacts.resolver import uv_environment

COMPLETE = ".complete"
BUILD_WITHIN_S = 1800.0
_LAST_LINES = 15


@dataclass(frozen=True)
class Venv:
    """A virtual environment that a lock file describes."""

    name: str
    lock: Path
    python: Path
    """The interpreter that creates it."""
    cache: Path
    version: str = f"{sys.version_info.major}.{sys.version_info.minor}"
    """Of the interpreter."""

    @property
    def folder(self) -> Path:
        """Its folder."""
        key = hashlib.sha256(self.lock.read_bytes() + f"{self.version} {self.python}".encode()).hexdigest()[:12]
        return self.cache / f"{self.name}-py{self.version}-{key}"

    @property
    def interpreter(self) -> Path:
        """Its own Python."""
        return self.folder / "bin" / "python"

    @property
    def is_complete(self) -> bool:
        """Whether the build has finished and the Python still exists."""
        return (self.folder / COMPLETE).exists() and self.interpreter.exists()


def venv_of(name: str) -> Venv:
    """The virtual environment of a lock file: `airflow-VERSION`; `emulator`, which pins botocore; or a tool's.

    The interpreter is the one below this process's own virtual environment, so that all checkouts share one build.

    Raises:
        InstallError: there is no lock file of this name.
    """
    return Venv(name, lock_file(f"{name}.txt"), Path(sys.executable).resolve(), cache_folder())


def cache_folder() -> Path:
    """`${XDG_CACHE_HOME:-~/.cache}/openmwaa`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "openmwaa"


def lock_file(name: str) -> Path:
    """A lock file, from the installed package or from a checkout.

    Raises:
        InstallError: there is no lock file of this name.
    """
    package = Path(__file__).resolve().parents[2]
    installed, checkout = package / "images", package.parent
    airflow = "images/airflow/requirements"
    folders = (installed, package / airflow, checkout / airflow, checkout / "requirements")
    for folder in folders:
        if (folder / name).is_file():
            return folder / name
    raise InstallError(f"The lock file {name} is missing from this installation of openmwaa; install it again.")


def ensure(
    venv: Venv, *, progress: Progress, environment_id: str = "", cancelled: threading.Event | None = None
) -> Path:
    """Build a virtual environment if it does not exist, and return its Python.

    If several `up` run at once, one builds and the others wait. An interrupted build starts again. Once `cancelled` is
    set, no further program is started; the caller that sets it ends the running one by its marks.

    Raises:
        InstallError: it could not be built.
    """
    if venv.is_complete:
        return venv.interpreter
    try:
        venv.cache.mkdir(parents=True, exist_ok=True)
        with _lock(venv.folder.with_name(venv.folder.name + ".lock"), progress=progress, name=venv.name):
            if not venv.is_complete:
                _build(venv, progress=progress, environment_id=environment_id, cancelled=cancelled)
    except OSError as error:
        raise InstallError(f"The virtual environment {venv.folder} could not be built: {error}.") from error
    return venv.interpreter


def _build(venv: Venv, *, progress: Progress, environment_id: str, cancelled: threading.Event | None) -> None:
    started = time.monotonic()
    progress(f"Installing {venv.name} into {venv.folder} (once; all environments share it)")
    shutil.rmtree(venv.folder, ignore_errors=True)
    for command in _commands(venv):
        if cancelled and cancelled.is_set():
            raise InstallError(f"Installing {venv.name} was interrupted.")
        with reported(f"Installing {venv.name}", progress):
            failure = _run(command, environment_id)
        if failure:
            shutil.rmtree(venv.folder, ignore_errors=True)
            if cancelled and cancelled.is_set():
                raise InstallError(f"Installing {venv.name} was interrupted.")
            raise InstallError(
                f"{venv.name} could not be installed from {venv.lock}. Check that a Python package index is reachable."
                f"\n{failure}"
            )
    (venv.folder / COMPLETE).touch()
    progress(f"Installed {venv.name} in {time.monotonic() - started:.0f} s")


def _commands(venv: Venv) -> tuple[tuple[str, ...], ...]:
    """The commands that build it: uv takes 10 s where pip takes 100 s."""
    uv = uv_program()
    return (
        (uv, "venv", "--quiet", "--no-project", "--python", str(venv.python), str(venv.folder)),
        (
            *(uv, "pip", "install", "--quiet", "--require-hashes", "--compile-bytecode"),
            *("--python", str(venv.interpreter), "-r", str(venv.lock)),
        ),
    )


def uv_program() -> str:
    """The path of uv.

    Raises:
        InstallError: it is missing.
    """
    beside = Path(sys.executable).parent / "uv"
    uv = str(beside) if beside.exists() else shutil.which("uv")
    if uv is None:
        raise InstallError("uv is missing from this installation: install openmwaa with its extra `local`")
    return uv


def _run(command: tuple[str, ...], environment_id: str) -> str | None:
    """Run a command; return None on success, else the end of its output."""
    environment = uv_environment(os.environ)
    if environment_id:
        environment |= command_marks(environment_id)
    environment.setdefault("UV_HTTP_TIMEOUT", "60")
    lines: list[str] = []
    try:
        code = run(Program(command, Path.cwd(), environment), on_line=lines.append, within_s=BUILD_WITHIN_S)
    except SubprocessError as error:
        return str(error)
    return "\n".join(lines[-_LAST_LINES:]) or f"exit code {code}" if code else None


@contextmanager
def _lock(path: Path, *, progress: Progress, name: str) -> Iterator[None]:
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with reported(f"Waiting for another command that installs {name}", progress, first_s=0):
                fcntl.flock(file, fcntl.LOCK_EX)
        yield
