# SPDX-License-Identifier: Apache-2.0
"""`prepare-database`: databases, roles, tables and rights, before anything else runs.

It runs at each start of a scheduler, so it is idempotent and takes 0.3 s when nothing is to be done: Airflow is started
(12 s on an empty database) only if the note in `openmwaa.prepared` names another version. An advisory lock makes two of
them take turns. The master of RDS is no superuser: it may create roles and databases, and may give a database only to a
role it is a member of. Passwords travel as SCRAM verifiers, for a server may log statements.

| role             | database           | may                                                     |
|------------------|--------------------|---------------------------------------------------------|
| `airflow`        | `airflow` (owner)  | everything there                                        |
| `celery_results` | `celery` (owner)   | everything there, but only read the scaler's public key |
| `scaler`         | `airflow`          | read some columns of `task_instance` and of `job`       |
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from psycopg2 import sql
from psycopg2.extensions import encrypt_password

from openmwaa_runtime.credentials import Credentials
from openmwaa_runtime.database import WAIT_S, Connection, Login, PostgresConnection, installed_airflow, prepared_for
from openmwaa_runtime.errors import DatabaseProblem, PreparationFailed, UsageProblem
from openmwaa_runtime.ownership import mark, refuse_strangers
from openmwaa_runtime.settings import airflow_environment
from openmwaa_runtime.signing import public_key

ADVISORY_LOCK = 0x6F70656E6D776161  # "openmwaa"
MIGRATION_S = 1800
"""`airflow db migrate` of a large environment rewrites tables; AWS's own upgrades may take longer than this."""
SCALER_COLUMNS = (
    "id",
    "dag_id",
    "task_id",
    "run_id",
    "map_index",
    "try_number",
    "state",
    "queue",
    "executor",
    "pool",
    "pool_slots",
    "priority_weight",
    "hostname",
    "external_executor_id",
    "queued_dttm",
    "scheduled_dttm",
    "start_date",
    "end_date",
    "last_heartbeat_at",
    "updated_at",
)
"""What the scaler may read of `task_instance`: no arguments, no results, nothing a DAG's author wrote."""
SCALER_JOB_COLUMNS = ("id", "job_type", "state", "hostname", "start_date", "end_date", "latest_heartbeat")
"""And of `job`: which schedulers live."""


@dataclass(frozen=True)
class Secrets:
    """What prepare-database was given; never shown."""

    master: str
    master_password: str
    logins: Mapping[str, Credentials]
    signing_seed: str

    def __repr__(self) -> str:
        return "Secrets(…)"

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> "Secrets":
        """Take them from the environment.

        Raises:
            UsageProblem: OPENMWAA_DATABASE_MASTER is not what RDS writes.
        """
        try:
            master = json.loads(environ["OPENMWAA_DATABASE_MASTER"])
            name, password = str(master["username"]), str(master["password"])
        except (ValueError, KeyError, TypeError):
            problem = 'OPENMWAA_DATABASE_MASTER must be {"username": …, "password": …}, as RDS writes it'
            raise UsageProblem(problem) from None
        logins = {
            "airflow": environ["OPENMWAA_AIRFLOW_DATABASE_PASSWORD"],
            "celery_results": environ["OPENMWAA_CELERY_DATABASE_PASSWORD"],
            "scaler": environ["OPENMWAA_SCALER_DATABASE_PASSWORD"],
        }
        found = {owner: Credentials.read(secret, owner) for owner, secret in logins.items()}
        return cls(name, password, found, environ["OPENMWAA_SCALER_SIGNING_SEED"])


def main(environ: Mapping[str, str], *, say: Callable[[str], None] = print) -> None:
    """Prepare the database; return when it is ready.

    Raises:
        UsageProblem: a variable is missing or wrong.
        DatabaseProblem: the server is out of reach for 10 minutes, or refuses.
        PreparationFailed: Airflow's migration failed, or would be a downgrade.
    """
    additions = airflow_environment("prepare-database", environ, "")
    preparation = Preparation(environ, Secrets.read(environ), {**additions, **environ}, say)
    started = time.monotonic()
    with _connect_patiently(preparation.master("postgres"), say) as server:
        preparation.run(server)
    say(f"the database is prepared for Airflow {installed_airflow()} ({time.monotonic() - started:.1f} s)")


def _connect_patiently(login: Login, say: Callable[[str], None]) -> PostgresConnection:
    """Wait for a server that is being created or failing over; a refused password is refused at once."""
    end = time.monotonic() + WAIT_S
    while True:
        try:
            return PostgresConnection(login, statement_timeout_ms=int(WAIT_S * 1000))
        except DatabaseProblem as problem:
            if "password authentication failed" in str(problem) or time.monotonic() >= end:
                raise
            say(f"waiting: {problem}")
            time.sleep(2.0)


class Preparation:
    """One run; the steps in their order are in `run`."""

    def __init__(
        self, environ: Mapping[str, str], secrets: Secrets, airflow: Mapping[str, str], say: Callable[[str], None]
    ) -> None:
        self._environ = environ
        self._secrets = secrets
        self._airflow = airflow
        self._say = say
        self._mark = mark(environ)

    def master(self, database: str) -> Login:
        """The master's login to one database."""
        name, password = self._secrets.master, self._secrets.master_password
        return Login.read(self._environ, database=database, role=name, password=password)

    def run(self, server: PostgresConnection) -> None:
        """Do everything, holding the advisory lock on `server` (which its end releases)."""
        server.one("SELECT pg_advisory_lock(%s)", (ADVISORY_LOCK,))
        roles = {*self._secrets.logins, *(login.role for login in self._secrets.logins.values())}
        refuse_strangers(server, self._mark, sorted(roles), self._is_prepared)
        for owner, login in self._secrets.logins.items():
            self._role(server, owner, login)
        self._database(server, "airflow", owner="airflow")
        self._database(server, "celery", owner="celery_results")
        server.one("GRANT CONNECT ON DATABASE airflow TO scaler")
        with PostgresConnection(self.master("airflow")) as metadata:
            self._metadata(metadata)
        with PostgresConnection(self.master("celery")) as results:
            self._results(results)

    def _is_prepared(self, database: str) -> bool:
        with PostgresConnection(self.master(database)) as connection:
            return prepared_for(connection) is not None

    def _role(self, server: PostgresConnection, owner: str, login: Credentials) -> None:
        verifier = encrypt_password(login.password, login.role, scope=server.raw, algorithm="scram-sha-256")
        if login.role != owner:
            self._create_or_alter(server, owner, "NOLOGIN")
        self._create_or_alter(server, login.role, "LOGIN PASSWORD {}", sql.Literal(verifier))
        if login.role != owner:
            server.one(_with("GRANT {} TO {}", sql.Identifier(owner), sql.Identifier(login.role)))
            # What one of the two makes is the owner's, and so the other one's too.
            server.one(_with("ALTER ROLE {} SET role TO {}", sql.Identifier(login.role), sql.Identifier(owner)))
        self._let_the_master_become(server, owner)

    def _create_or_alter(self, server: PostgresConnection, role: str, options: str, *parts: sql.Composable) -> None:
        known = server.one("SELECT 1 FROM pg_roles WHERE rolname = %s", (role,))
        verb, name = "ALTER" if known else "CREATE", sql.Identifier(role)
        # One string is one transaction: no role is ever there without its mark.
        comment = _with("COMMENT ON ROLE {} IS {}", name, sql.Literal(self._mark))
        server.one(sql.SQL("; ").join((_with(f"{verb} ROLE {{}} {options}", name, *parts), comment)))

    @staticmethod
    def _let_the_master_become(server: PostgresConnection, role: str) -> None:
        if role == "scaler":
            return  # it owns nothing, so the master need not be able to become it
        # MEMBER is not enough: who creates a role is its member (PostgreSQL 16), without its rights.
        usable = server.one("SELECT pg_has_role(current_user, %s, 'USAGE')", (role,))
        if not (usable and usable[0]):
            server.one(_with("GRANT {} TO CURRENT_USER", sql.Identifier(role)))

    def _database(self, server: PostgresConnection, name: str, *, owner: str) -> None:
        if server.one("SELECT 1 FROM pg_database WHERE datname = %s", (name,)) is None:
            # Every template but template0 may carry what someone put there, and another encoding.
            create = "CREATE DATABASE {} OWNER {} TEMPLATE template0 ENCODING 'UTF8'"
            server.one(_with(create, sql.Identifier(name), sql.Identifier(owner)))
            self._say(f"created database {name}")
        server.one(_with("COMMENT ON DATABASE {} IS {}", sql.Identifier(name), sql.Literal(self._mark)))
        server.one(_with("REVOKE ALL ON DATABASE {} FROM PUBLIC", sql.Identifier(name)))

    def _metadata(self, metadata: PostgresConnection) -> None:
        wanted, found = installed_airflow(), prepared_for(metadata)
        if found != wanted:
            self._refuse_downgrade(found, wanted)
            self._say(f"migrating the metadata database from {found or 'nothing'} to Airflow {wanted}")
            self._migrate()
        # Each time, for a migration may have made a table anew, without the rights.
        metadata.one("GRANT USAGE ON SCHEMA public TO scaler")
        for table, readable in (("task_instance", SCALER_COLUMNS), ("job", SCALER_JOB_COLUMNS)):
            present = _present_columns(metadata, table)
            columns = sql.SQL(", ").join(sql.Identifier(name) for name in readable if name in present)
            metadata.one(_with("GRANT SELECT ({}) ON public.{} TO scaler", columns, sql.Identifier(table)))
        write_note(metadata, wanted, reader="airflow")

    @staticmethod
    def _refuse_downgrade(found: str | None, wanted: str) -> None:
        if found is not None and _order(found) > _order(wanted):
            raise PreparationFailed(
                f"the database is prepared for Airflow {found}, and {wanted} is older: Airflow cannot go back; "
                "restore a snapshot of the database, or run the newer image"
            )

    def _migrate(self) -> None:
        command = [sys.executable, "-m", "airflow", "db", "migrate"]
        try:
            done = subprocess.run(command, env=dict(self._airflow), check=False, timeout=MIGRATION_S)
        except subprocess.TimeoutExpired:
            raise PreparationFailed(f"airflow db migrate did not end within {MIGRATION_S} s") from None
        if done.returncode != 0:
            raise PreparationFailed(f"airflow db migrate ended with status {done.returncode}; its messages are above")

    def _results(self, results: PostgresConnection) -> None:
        wanted = installed_airflow()
        if prepared_for(results) != wanted:
            self._create_result_tables()
        results.one("CREATE SCHEMA IF NOT EXISTS openmwaa")
        results.one("GRANT USAGE ON SCHEMA openmwaa TO celery_results")
        results.one("CREATE TABLE IF NOT EXISTS openmwaa.public_key (name text PRIMARY KEY, value text NOT NULL)")
        results.one("GRANT SELECT ON openmwaa.public_key TO celery_results")
        results.one(
            "INSERT INTO openmwaa.public_key VALUES ('scaler', %s) ON CONFLICT (name) DO UPDATE"
            " SET value = excluded.value WHERE public_key.value <> excluded.value",
            (public_key(self._secrets.signing_seed),),
        )
        write_note(results, wanted, reader="celery_results")

    def _create_result_tables(self) -> None:
        # Celery makes them at a worker's start, where several first workers race for it.
        from celery.backends.database import models  # noqa: F401, PLC0415 - defines the tables
        from celery.backends.database.session import ResultModelBase  # type: ignore[attr-defined] # noqa: PLC0415
        from sqlalchemy import create_engine  # noqa: PLC0415

        found = self._secrets.logins["celery_results"]
        login = Login.read(self._environ, database="celery", role=found.role, password=found.password)
        engine = create_engine("postgresql+psycopg2://", creator=lambda: _transactional(login))
        ResultModelBase.metadata.create_all(engine)
        engine.dispose()


def _transactional(login: Login) -> Any:
    connection = PostgresConnection(login).raw
    connection.autocommit = False
    return connection


def _with(statement: str, *parts: sql.Composable) -> sql.Composed:
    return sql.SQL(statement).format(*parts)


def _present_columns(metadata: Connection, table: str) -> set[str]:
    row = metadata.one(
        "SELECT array_agg(attname::text) FROM pg_attribute"
        " WHERE attrelid = to_regclass('public.' || %s) AND attnum > 0 AND NOT attisdropped",
        (table,),
    )
    return set(row[0]) if row and row[0] else set()


def write_note(connection: PostgresConnection, airflow_version: str, *, reader: str) -> None:
    """Say in this database which Airflow version it is prepared for; `reader` may read it, and no more."""
    connection.one("CREATE SCHEMA IF NOT EXISTS openmwaa")
    connection.one(
        "CREATE TABLE IF NOT EXISTS openmwaa.prepared (one boolean PRIMARY KEY DEFAULT true CHECK (one),"
        " airflow_version text NOT NULL, at timestamptz NOT NULL DEFAULT now())"
    )
    connection.one(_with("GRANT USAGE ON SCHEMA openmwaa TO {}", sql.Identifier(reader)))
    connection.one(_with("GRANT SELECT ON openmwaa.prepared TO {}", sql.Identifier(reader)))
    connection.one(
        "INSERT INTO openmwaa.prepared (airflow_version) VALUES (%s) ON CONFLICT (one) DO UPDATE"
        " SET airflow_version = excluded.airflow_version, at = now()"
        " WHERE prepared.airflow_version <> excluded.airflow_version",
        (airflow_version,),
    )


def _order(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".")[:3] if part.isdecimal())
