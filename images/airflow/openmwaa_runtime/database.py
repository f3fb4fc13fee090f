# SPDX-License-Identifier: Apache-2.0
"""PostgreSQL before Airflow starts: connections with time-outs, and the wait for prepare-database.

`prepare-database` writes one row to `openmwaa.prepared` of both databases, with the Airflow version they are prepared
for. All other components wait for that row, without importing Airflow (3 s and 150 MiB for each try).
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Self
from urllib.parse import quote

from openmwaa_runtime.credentials import Credentials
from openmwaa_runtime.errors import DatabaseError, NotPreparedError

CONNECT_TIMEOUT_S = 5
STATEMENT_TIMEOUT_MS = 30_000
WAIT_S = 600.0
POLL_S = 1.0


@dataclass(frozen=True)
class Login:
    """Address, database, role and password of a connection."""

    host: str
    port: int
    sslmode: str
    database: str
    role: str
    password: str

    def __repr__(self) -> str:
        return f"Login({self.role}@{self.host}:{self.port}/{self.database})"

    @classmethod
    def read(cls, environ: Mapping[str, str], *, database: str, credentials: Credentials) -> "Login":
        """Read host, port and sslmode from the container's variables."""
        return cls(
            host=environ["OPENMWAA_DATABASE_HOST"],
            port=int(environ.get("OPENMWAA_DATABASE_PORT") or "5432"),
            sslmode=environ.get("OPENMWAA_DATABASE_SSLMODE") or "require",
            database=database,
            role=credentials.role,
            password=credentials.password,
        )

    def url(self, driver: str) -> str:
        """The SQLAlchemy URL of the connection."""
        # asyncpg's name of the option `sslmode` is `ssl`.
        option = "ssl" if driver == "asyncpg" else "sslmode"
        user = f"{quote(self.role, safe='')}:{quote(self.password, safe='')}"
        return f"postgresql+{driver}://{user}@{self.host}:{self.port}/{self.database}?{option}={self.sslmode}"


class PostgresConnection:
    """A connection to one database. Every wait on it has a time-out. As a context manager it closes itself.

    Raises:
        DatabaseError: the server cannot be reached or refused the login.
    """

    def __init__(self, login: Login, *, statement_timeout_ms: int = STATEMENT_TIMEOUT_MS) -> None:
        import psycopg2  # noqa: PLC0415 - installed in the image only

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
            raise DatabaseError(f"{login!r}: connection failed: {_first_line(error)}") from error
        self._login = login
        self.raw.autocommit = True

    def execute(self, query: Any, parameters: tuple[Any, ...] = ()) -> tuple[Any, ...] | None:
        """Execute and commit one statement. Returns the first row of the result.

        Raises:
            DatabaseError: PostgreSQL refused the statement, or the connection broke.
        """
        try:
            with self.raw.cursor() as cursor:
                cursor.execute(query, parameters or None)
                row: tuple[Any, ...] | None = cursor.fetchone() if cursor.description else None
                return row
        except self._error as error:
            raise DatabaseError(f"{self._login!r}: statement failed: {_first_line(error)}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.raw.close()


def installed_airflow() -> str:
    """The version of Airflow in this image, read without importing it."""
    try:
        return version("apache-airflow-core")
    except PackageNotFoundError:
        return version("apache-airflow")  # Airflow 2 had no separate core


def prepared_for(connection: PostgresConnection) -> str | None:
    """The Airflow version that this database is prepared for; None if it is not prepared.

    Raises:
        DatabaseError: it cannot be read, which also happens during the preparation.
    """
    found = connection.execute("SELECT to_regclass('openmwaa.prepared') IS NOT NULL")
    if found is None or not found[0]:
        return None
    row = connection.execute("SELECT airflow_version FROM openmwaa.prepared")
    return None if row is None else str(row[0])


def wait_until_prepared(
    login: Login,
    airflow_version: str,
    *,
    deadline_s: float = WAIT_S,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
    open_connection: Callable[[Login], PostgresConnection] = PostgresConnection,
    log: Callable[[str], None] = print,
) -> None:
    """Return as soon as the database is prepared for Airflow `airflow_version`.

    Raises:
        NotPreparedError: it is not prepared after `deadline_s` seconds. The message has the last state.
    """
    end = clock() + deadline_s
    logged = None
    while True:
        state = _missing(login, airflow_version, open_connection)
        if state is None:
            return
        if clock() >= end:
            raise NotPreparedError(
                f"the database is not prepared after {deadline_s:.0f} s: {state}. See the log of prepare-database"
            )
        if state != logged:
            log(f"waiting for prepare-database: {state}")
            logged = state
        sleep(POLL_S)


def _missing(login: Login, airflow_version: str, open_connection: Callable[[Login], PostgresConnection]) -> str | None:
    """What is missing; None if the database is prepared."""
    try:
        with open_connection(login) as connection:
            found = prepared_for(connection)
    except DatabaseError as error:
        return str(error)
    if found is None:
        return f"{login!r} is not prepared yet"
    return None if found == airflow_version else f"{login!r} is prepared for Airflow {found}, not for {airflow_version}"


def _first_line(error: Exception) -> str:
    # libpq repeats the message for each address, one line each.
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
