# SPDX-License-Identifier: Apache-2.0
"""Installed requirements: built once by `prepare-artefacts`, unpacked by every component.

The archive is an object of the bucket, and its hash a row of the database. Only the database's master user can write
the row. So DAG code that could write the bucket, such as in a DAG processor that shares its task with the scheduler,
cannot give its own packages to another component.
"""

import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from importlib.metadata import distributions
from pathlib import Path

from openmwaa_runtime.artefacts.objects import ArtefactError, Bucket
from openmwaa_runtime.artefacts.resolver import own_architecture
from openmwaa_runtime.database import POLL_S, Login, PostgresConnection
from openmwaa_runtime.errors import DatabaseError, NotPreparedError

WAIT_S = 900.0
UNPACK_S = 300.0
_TOOLS = frozenset({"pip", "setuptools", "uv", "wheel"})
_CHUNK = 1 << 20


class RequirementsNotBuiltError(NotPreparedError):
    """`prepare-artefacts` failed, or has not ended in time."""


def installed_pins() -> list[str]:
    """Return the packages of this image, which keep their versions."""
    found = {distribution.name: distribution.version for distribution in distributions()}
    return sorted(f"{name}=={version}" for name, version in found.items() if name.lower() not in _TOOLS)


def archive_key(environment: str, text: str, pins: Sequence[str], plugins: str, architecture: str) -> str:
    """Return the key of the archive: the same for the same content, packages, Python, and architecture."""
    python = f"cp{sys.version_info.major}{sys.version_info.minor}"
    content = json.dumps([text, list(pins), plugins, python, architecture])
    digest = hashlib.sha256(content.encode()).hexdigest()
    return f"openmwaa/{environment}/requirements/{python}-{architecture.lower()}-{digest[:32]}.tar.gz"


def key_for(bucket: Bucket, text: str, architecture: str) -> str:
    """Return the key for the requirements of this container."""
    plugins = bucket.environ.get("OPENMWAA_PLUGINS_VERSION", "")  # may contain packages
    return archive_key(bucket.environ["OPENMWAA_ENVIRONMENT"], text, installed_pins(), plugins, architecture)


def install(bucket: Bucket, text: str, login: Login, folder: Path, *, log: Callable[[str], None] = print) -> Path:
    """Wait for the archive and unpack it; return the folder of the packages.

    Raises:
        RequirementsNotBuiltError: there is none.
        ArtefactError: it is not what was built.
    """
    key, began = key_for(bucket, text, own_architecture()), time.monotonic()
    digest = wait_until_built(login, key, log=log)
    archive = bucket.download(key, folder / "requirements.tar.gz")
    if sha256(archive) != digest:
        raise ArtefactError(
            f"s3://{bucket.name}/{key} has changed since it was built. Delete the object and restart the scheduler"
        )
    packages = folder / "requirements"
    unpack(archive, packages, f"s3://{bucket.name}/{key}")
    archive.unlink()
    log(f"requirements of s3://{bucket.name}/{key} installed in {time.monotonic() - began:.1f} s")
    return packages


def unpack(archive: Path, folder: Path, name: str) -> None:
    """Unpack the archive `name`; raise ArtefactError if it cannot be unpacked."""
    # `tar` takes half of the time of Python's module: it took 11 s instead of 19.5 s for 40 packages on two cores.
    folder.mkdir(exist_ok=True)
    command = ["tar", "-xzf", str(archive), "--no-same-owner", "-C", str(folder)]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=UNPACK_S)
    except subprocess.CalledProcessError as error:
        raise ArtefactError(f"{name} cannot be unpacked: {error.stderr.strip()}") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ArtefactError(f"{name} cannot be unpacked: {error}") from error


def sha256(file: Path) -> str:
    """Return the hash of a file."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def wait_until_built(
    login: Login,
    key: str,
    *,
    log: Callable[[str], None],
    deadline_s: float = WAIT_S,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
    open_connection: Callable[[Login], PostgresConnection] = PostgresConnection,
) -> str:
    """Return the hash of the archive as soon as it is built.

    Raises:
        RequirementsNotBuiltError: a build failed since the call, or none ended in time.
    """
    end, since, state = clock() + deadline_s, None, ""
    while True:
        try:
            with open_connection(login) as connection:
                # An older error is of a build that `prepare-artefacts` is about to repeat.
                since = since or (connection.execute("SELECT now()") or (None,))[0]
                query = (
                    "SELECT sha256, error FROM openmwaa.requirements"
                    " WHERE key = %s AND (sha256 IS NOT NULL OR (error IS NOT NULL AND at > %s))"
                )
                row = connection.execute(query, (key, since))
            found = "prepare-artefacts has not built them yet"
        except DatabaseError as error:  # also: the table does not exist yet
            row, found = None, str(error)
        if row and row[0]:
            return str(row[0])
        if row or clock() >= end:
            raise RequirementsNotBuiltError(
                f"the requirements are not installed: {row[1] if row else found}. "
                "See the log stream requirements_install of the scheduler"
            )
        if found != state:
            log(f"waiting for the requirements: {found}")
            state = found
        sleep(POLL_S)
