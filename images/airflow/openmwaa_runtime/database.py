# SPDX-License-Identifier: Apache-2.0
"""PostgreSQL before Airflow runs: connections with deadlines, and the note that says the database is prepared.

`prepare-database` leaves one row in `openmwaa.prepared` of both databases, naming the Airflow version they are ready
for. All other components wait for it here, without importing Airflow (3 s and 150 MiB a try).
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from types import TracebackType
from typing import Any, Protocol, Self

from openmwaa_runtime.errors import DatabaseProblem, NotPrepared

CONNECT_TIMEOUT_S = 5
STATEMENT_TIMEOUT_MS = 30_000
WAIT_S = 600.0
POLL_S = 1.0


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


class Connection(Protocol):
    """A session with one database; a context manager that closes it."""

    def one(self, query: str, parameters: tuple[Any, ...] = ()) -> tuple[Any, ...] | None:
        """Run one statement, which is committed; the first row of its result."""

    def __enter__(self) -> Self:
        """Return itself."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the session."""


class PostgresConnection:
    """A Connection over psycopg2, whose errors become DatabaseProblem here and nowhere else."""

    def __init__(self, login: Login, *, statement_timeout_ms: int = STATEMENT_TIMEOUT_MS) -> None:
        import psycopg2  # noqa: PLC0415 - lives in the image; everything around it is tested without

        self._error: type[Exception] = psycopg2.Error
        try:
            self.raw: Any = psycopg2.connect(
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
        except psycopg2.Error as error:
            raise DatabaseProblem(f"{login!r} does not answer: {_first_line(error)}") from error
        self._login = login
        self.raw.autocommit = True

    def one(self, query: Any, parameters: tuple[Any, ...] = ()) -> tuple[Any, ...] | None:
        """Run one statement, which is committed; the first row of its result.

        Raises:
            DatabaseProblem: PostgreSQL refuses it, or has gone.
        """
        try:
            with self.raw.cursor() as cursor:
                cursor.execute(query, parameters or None)
                row: tuple[Any, ...] | None = cursor.fetchone() if cursor.description else None
                return row
        except self._error as error:
            raise DatabaseProblem(f"{self._login!r} refuses: {_first_line(error)}") from error

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the session."""
        self.raw.close()


def connect(login: Login) -> Connection:
    """Open a session; every wait on it ends by itself.

    Raises:
        DatabaseProblem: no server, or it refuses this login.
    """
    return PostgresConnection(login)


def installed_airflow() -> str:
    """The version of Airflow in this image, read without importing it."""
    try:
        return version("apache-airflow-core")
    except PackageNotFoundError:
        return version("apache-airflow")  # Airflow 2 had no separate core


def prepared_for(connection: Connection) -> str | None:
    """The Airflow version this database is prepared for; None when it is not prepared at all.

    Raises:
        DatabaseProblem: it cannot be read, which a database half prepared may answer for a moment.
    """
    found = connection.one("SELECT to_regclass('openmwaa.prepared') IS NOT NULL")
    if found is None or not found[0]:
        return None
    row = connection.one("SELECT airflow_version FROM openmwaa.prepared")
    return None if row is None else str(row[0])


def wait_until_prepared(
    login: Login,
    wanted: str,
    *,
    deadline_s: float = WAIT_S,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
    open_connection: Callable[[Login], Connection] = connect,
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


def _look(login: Login, wanted: str, open_connection: Callable[[Login], Connection]) -> str | None:
    """What is not ready yet; None when all is."""
    try:
        with open_connection(login) as connection:
            found = prepared_for(connection)
    except DatabaseProblem as problem:
        return str(problem)
    if found is None:
        return f"{login!r} is not prepared yet"
    return None if found == wanted else f"{login!r} is prepared for Airflow {found}, not for {wanted}"


def _first_line(error: Exception) -> str:
    # libpq says the same thing over several lines, once for each address.
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
