# SPDX-License-Identifier: Apache-2.0
"""`prepare-artefacts`: resolves and installs the requirements once, into an archive in the bucket.

It runs beside the scheduler at each start, under a lock of the database, and takes a second if the archive exists.
"""

import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from psycopg2 import sql

from openmwaa_runtime.artefacts import requirements, requirements_file
from openmwaa_runtime.artefacts.install import script_variables, unpacked_plugins
from openmwaa_runtime.artefacts.objects import ArtefactError, Bucket
from openmwaa_runtime.artefacts.resolver import INDEX_STRATEGY, PLATFORMS, Platform, Resolver, own_architecture, run_uv
from openmwaa_runtime.database import Login, PostgresConnection, installed_airflow
from openmwaa_runtime.errors import StartupError
from openmwaa_runtime.prepare_database import DatabaseSecrets

LOCK = 0x6F70656E6D776162  # next to that of prepare-database
LOCKED_MS = 600_000
INSTALLED_WITHIN_S = 300.0
OWNERS = {"airflow": "airflow", "celery": "celery_results"}
"""Database -> the role that reads it."""


def main(environ: Mapping[str, str], *, log: Callable[[str], None] = print) -> None:
    """Build what is missing. Returns when every architecture has its archive.

    Raises:
        StartupError: it cannot be built; the database has the error too, so that no component waits for it.
    """
    bucket = Bucket(environ)
    master = DatabaseSecrets.master_of(environ)
    logins = [Login.read(environ, database=name, credentials=master) for name in OWNERS]
    with tempfile.TemporaryDirectory(prefix="openmwaa-artefacts-") as name, _tables(logins) as tables:
        file = bucket.artefact("REQUIREMENTS", Path(name, "requirements.txt"))
        text = file.read_text(encoding="utf-8", errors="replace") if file else ""
        builder: Builder | None = None
        for architecture in environ["OPENMWAA_ARCHITECTURES"].split(","):
            key = requirements.key_for(bucket, text, architecture)
            folder = Path(name, architecture)
            if _is_built(bucket, tables, key, folder):
                log(f"{architecture}: s3://{bucket.name}/{key} exists")
                continue
            for table in tables:
                _record(table, key, sha256=None, error=None)
            try:
                builder = builder or Builder(bucket, text, Path(name), log)
                archive = builder.build(architecture, folder)
                bucket.upload(key, archive)
            except (StartupError, OSError) as error:  # such as a full disk
                for table in tables:
                    _record(table, key, sha256=None, error=str(error))
                raise error if isinstance(error, StartupError) else ArtefactError(str(error)) from error
            for table in tables:
                _record(table, key, sha256=requirements.sha256(archive), error=None)


class Builder:
    """Installs the requirements into a folder and packs it."""

    def __init__(self, bucket: Bucket, text: str, folder: Path, log: Callable[[str], None]) -> None:
        self._log = log
        self._environ = script_variables("prepare-artefacts", bucket, folder, log=log)
        plugins = unpacked_plugins(bucket, folder)
        folders = {requirements_file.PLUGINS_OF_MWAA: str(plugins)} if plugins else {}
        self._file = requirements_file.read(
            text, airflow_version=installed_airflow(), folders=folders, environ=self._environ
        )
        for note in self._file.notes:
            log(note)

    def build(self, architecture: str, folder: Path) -> Path:
        """Build the archive of one architecture.

        Raises:
            StartupError: there is no solution, or a package cannot be installed.
        """
        began, pins = time.monotonic(), requirements.installed_pins()
        own = architecture == own_architecture()
        platform = Platform() if own else Platform(("--python-platform", PLATFORMS[architecture]))
        program = self._environ.get("OPENMWAA_UV") or "uv"
        resolver = Resolver(program, self._file, platform, self._environ)
        known = [word for pin in pins for word in ("--no-emit-package", pin.partition("==")[0])]
        form = ("--generate-hashes", "--no-annotate", "--no-header")
        wanted = [requirement.text for requirement in self._file.requirements]
        # Packages of the image are resolved too, and left out: no file of the image is ever replaced.
        found = resolver.compile(wanted, pins, *known, *form)
        folder.mkdir(exist_ok=True)
        lines, packages = folder / "packages.txt", folder / "packages"
        lines.write_text("\n".join((*self._file.options, found)))
        words = ("--target", str(packages), "--python", sys.executable, "--no-deps", "--compile-bytecode")
        foreign = () if own else (*platform.arguments, "--only-binary", ":all:")
        if any(line[:1].isalnum() for line in found.splitlines()):
            run_uv(
                (program, "pip", "install", *INDEX_STRATEGY, *words, *foreign, *self._file.arguments, "-r", str(lines)),
                folder=folder,
                environ=self._environ,
                within_s=INSTALLED_WITHIN_S,
            )
        packages.mkdir(exist_ok=True)
        archive = folder / "packages.tar.gz"
        with tarfile.open(archive, "w:gz", compresslevel=1) as opened:
            opened.add(packages, arcname=".")
        for line in found.splitlines():
            if line[:1].isalnum():
                self._log(requirements_file.redacted(line.removesuffix("\\").strip()))
        size = archive.stat().st_size / 1e6
        self._log(f"{architecture}: {size:.1f} MB in {time.monotonic() - began:.1f} s")
        return archive


@contextmanager
def _tables(logins: list[Login]) -> Iterator[list[PostgresConnection]]:
    """Connect to both databases, and hold the lock in the first one; another start waits here."""
    first, second = (PostgresConnection(login, statement_timeout_ms=LOCKED_MS) for login in logins)
    with first, second:
        first.execute("SELECT pg_advisory_lock(%s)", (LOCK,))
        for table, reader in zip((first, second), OWNERS.values(), strict=True):
            table.execute(
                "CREATE TABLE IF NOT EXISTS openmwaa.requirements"
                " (key text PRIMARY KEY, sha256 text, error text, at timestamptz NOT NULL)"
            )
            table.execute(sql.SQL("GRANT SELECT ON openmwaa.requirements TO {}").format(sql.Identifier(reader)))
        yield [first, second]


def _is_built(bucket: Bucket, tables: list[PostgresConnection], key: str, folder: Path) -> bool:
    query = "SELECT sha256 FROM openmwaa.requirements WHERE key = %s"
    rows = {(table.execute(query, (key,)) or (None,))[0] for table in tables}
    if len(rows) != 1 or None in rows:
        return False
    try:
        return rows == {requirements.sha256(bucket.download(key, folder / "existing.tar.gz"))}
    except ArtefactError:
        return False


def _record(table: PostgresConnection, key: str, *, sha256: str | None, error: str | None) -> None:
    table.execute(
        "INSERT INTO openmwaa.requirements VALUES (%s, %s, %s, now()) ON CONFLICT (key) DO UPDATE"
        " SET sha256 = excluded.sha256, error = excluded.error, at = now()",
        (key, sha256, error),
    )
