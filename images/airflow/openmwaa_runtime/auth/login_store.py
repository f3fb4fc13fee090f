# SPDX-License-Identifier: Apache-2.0
"""Used tokens and revoked sessions, in the database that all web servers share."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Protocol

from openmwaa_runtime.auth.errors import AuthUnavailableError
from openmwaa_runtime.credentials import Credentials
from openmwaa_runtime.database import Login, PostgresConnection
from openmwaa_runtime.errors import DatabaseError

TABLES = (
    "CREATE TABLE IF NOT EXISTS openmwaa.used_tokens (id text PRIMARY KEY, expires_at timestamptz NOT NULL)",
    "CREATE INDEX IF NOT EXISTS used_tokens_expires_at ON openmwaa.used_tokens (expires_at)",
    "GRANT SELECT, INSERT, DELETE ON openmwaa.used_tokens TO airflow",
    "CREATE TABLE IF NOT EXISTS openmwaa.revoked_sessions (principal text PRIMARY KEY, before timestamptz NOT NULL)",
    "GRANT SELECT, INSERT, UPDATE ON openmwaa.revoked_sessions TO airflow",
)
"""Executed by prepare-database."""
_KEPT = "1 day"  # of expired ids: longer than any difference of clocks


class LoginStore(Protocol):
    """The shared memory of logins. All methods raise AuthUnavailableError without a database."""

    def use(self, token_id: str, expires_at: float) -> bool:
        """Record a single-use token; False if it was used before. `expires_at` is in seconds since 1970."""
        ...

    def revoke(self, principal: str, before: float) -> None:
        """Revoke all sessions of the principal's ARN that began before the time."""
        ...

    def revoked(self) -> Mapping[str, float]:
        """Principal -> the time before which all its sessions are revoked."""
        ...


class PostgresLoginStore:
    """The store in the schema `openmwaa` of Airflow's database."""

    def __init__(
        self, login: Login, open_connection: Callable[[Login], PostgresConnection] = PostgresConnection
    ) -> None:
        self._login = login
        self._open = open_connection

    @classmethod
    def of_web_server(cls, environ: Mapping[str, str]) -> "PostgresLoginStore":
        """The store that the variables of the web server's container name."""
        airflow = Credentials.read(environ["OPENMWAA_AIRFLOW_DATABASE_PASSWORD"], "airflow")
        return cls(Login.read(environ, database="airflow", credentials=airflow))

    def use(self, token_id: str, expires_at: float) -> bool:
        """Insert the id; the primary key decides between two servers."""
        found = self._execute(
            "WITH expired AS (DELETE FROM openmwaa.used_tokens WHERE expires_at < now() - %s::interval)"
            " INSERT INTO openmwaa.used_tokens VALUES (%s, %s) ON CONFLICT DO NOTHING RETURNING id",
            (_KEPT, token_id, datetime.fromtimestamp(expires_at, UTC)),
        )
        return found is not None

    def revoke(self, principal: str, before: float) -> None:
        """Insert or update the row of the principal."""
        self._execute(
            "INSERT INTO openmwaa.revoked_sessions VALUES (%s, %s)"
            " ON CONFLICT (principal) DO UPDATE SET before = greatest(revoked_sessions.before, excluded.before)",
            (principal, datetime.fromtimestamp(before, UTC)),
        )

    def revoked(self) -> Mapping[str, float]:
        """Read all rows."""
        row = self._execute(
            "SELECT coalesce(jsonb_object_agg(principal, extract(epoch FROM before)::float8), '{}')"
            " FROM openmwaa.revoked_sessions"
        )
        return dict(row[0]) if row else {}

    def _execute(self, query: str, parameters: tuple[object, ...] = ()) -> tuple[Any, ...] | None:
        try:
            with self._open(self._login) as connection:
                return connection.execute(query, parameters)
        except DatabaseError as error:
            raise AuthUnavailableError("the database does not answer; try again") from error
