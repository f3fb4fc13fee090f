# SPDX-License-Identifier: Apache-2.0
"""PostgreSQL before Airflow runs: connections with deadlines, and the note that says the database is prepared.

`prepare-database` leaves one row in `openmwaa.prepared` of both databases, naming the Airflow version they are ready
for. All other components wait for it here, without importing Airflow (3 s and 150 MiB a try).
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import psycopg2
from psycopg2 import errors as pg

from openmwaa_runtime.errors import NotPrepared

CONNECT_TIMEOUT_S = 5
STATEMENT_TIMEOUT_MS = 30_000
WAIT_S = 600.0
POLL_S = 1.0
READ_NOTE = "SELECT airflow_version FROM openmwaa.prepared"


@dataclass(frozen=True)
class Login:
    """How to reach one database as one role."""

    host: str
    port: int
    sslmode: str
    database: str
    role: str
    password: str

    def __repr__(self) -> str:
        return f"Login({self.role}@{self.host}:{self.port}/{self.database})"

    @classmethod
    def read(cls, environ: Mapping[str, str], *, database: str, role: str, password: str) -> "Login":
        """Take host, port and sslmode from the container's variables."""
        return cls(
            host=environ["OPENMWAA_DATABASE_HOST"],
            port=int(environ.get("OPENMWAA_DATABASE_PORT") or "5432"),
            sslmode=environ.get("OPENMWAA_DATABASE_SSLMODE") or "require",
            database=database,
            role=role,
            password=password,
        )


def connect(login: Login, *, statement_timeout_ms: int = STATEMENT_TIMEOUT_MS) -> Any:
    """Open a connection that commits each statement; every wait on it ends by itself.

    Raises:
        psycopg2.OperationalError: no server, or it refuses this login.
    """
    connection = psycopg2.connect(
        host=login.host,
        port=login.port,
        dbname=login.database,
        user=login.role,
        password=login.password,
        sslmode=login.sslmode,
        connect_timeout=CONNECT_TIMEOUT_S,
        options=f"-c statement_timeout={statement_timeout_ms}",
        keepalives_idle=10,
        keepalives_interval=5,
        keepalives_count=3,
        application_name="openmwaa_runtime",
    )
    connection.autocommit = True
    return connection


def installed_airflow() -> str:
    """The version of Airflow in this image, read without importing it."""
    try:
        return version("apache-airflow-core")
    except PackageNotFoundError:
        return version("apache-airflow")  # Airflow 2 had no separate core


def prepared_for(connection: Any) -> str | None:
    """The Airflow version this database is prepared for; None when it is not prepared at all."""
    try:
        with connection.cursor() as cursor:
            cursor.execute(READ_NOTE)
            row = cursor.fetchone()
    except (pg.UndefinedTable, pg.InvalidSchemaName, pg.InsufficientPrivilege):
        return None
    return None if row is None else str(row[0])


def wait_until_prepared(
    login: Login,
    wanted: str,
    *,
    deadline_s: float = WAIT_S,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
    open_connection: Callable[[Login], Any] = connect,
    say: Callable[[str], None] = print,
) -> None:
    """Return once the database is prepared for the Airflow version `wanted`.

    Raises:
        NotPrepared: it is not after `deadline_s` seconds; the message says what was seen last.
    """
    end = clock() + deadline_s
    said = None
    while True:
        seen = _look(login, wanted, open_connection)
        if seen is None:
            return
        if clock() >= end:
            raise NotPrepared(
                f"the database is not prepared after {deadline_s:.0f} s: {seen}. See prepare-database's log"
            )
        if seen != said:
            say(f"waiting for prepare-database: {seen}")
            said = seen
        sleep(POLL_S)


def _look(login: Login, wanted: str, open_connection: Callable[[Login], Any]) -> str | None:
    """What is not ready yet; None when all is."""
    try:
        connection = open_connection(login)
    except psycopg2.OperationalError as error:
        return f"{login!r} does not answer ({first_line(error)})"
    try:
        found = prepared_for(connection)
    except psycopg2.Error as error:
        return f"{login!r} failed ({first_line(error)})"
    finally:
        connection.close()
    if found is None:
        return f"{login!r} is not prepared yet"
    return None if found == wanted else f"{login!r} is prepared for Airflow {found}, not for {wanted}"


def first_line(error: Exception) -> str:
    """The first line of a database error; libpq repeats itself over several."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
