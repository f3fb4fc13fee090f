# SPDX-License-Identifier: Apache-2.0
"""`prepare-artefacts`: resolves and installs the requirements once, into an archive in the bucket.

It runs beside the scheduler at each start, under a lock of the database, and takes a second if the archive exists.
"""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from psycopg2 import sql

from openmwaa_runtime.artefacts import requirements
from openmwaa_runtime.artefacts.build import Builder
from openmwaa_runtime.artefacts.objects import ArtefactError, Bucket
from openmwaa_runtime.database import Login, PostgresConnection
from openmwaa_runtime.errors import StartupError
from openmwaa_runtime.prepare_database import DatabaseSecrets

LOCK = 0x6F70656E6D776162  # next to that of prepare-database
LOCKED_MS = 600_000
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
