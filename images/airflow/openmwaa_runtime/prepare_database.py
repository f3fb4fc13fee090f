# SPDX-License-Identifier: Apache-2.0
"""`prepare-database`: creates databases, roles, tables and permissions, before other components start.

It runs at each start of a scheduler. It is idempotent and takes 0.3 s if nothing changes: it starts Airflow (12 s on an
empty database) only if `openmwaa.prepared` has another version. An advisory lock serialises concurrent runs. RDS's
master user is not a superuser: it can create roles and databases, and can make only a role of which it is a member the
owner of a database. Passwords are sent as SCRAM verifiers, because the server may log statements.

| role             | database           | permissions                                             |
|------------------|--------------------|---------------------------------------------------------|
| `airflow`        | `airflow` (owner)  | everything there                                        |
| `celery_results` | `celery` (owner)   | everything there, but only read the scaler's public key |
| `scaler`         | `airflow`          | read the columns of `SCALER_READS`                      |
| `airflow_worker` | `airflow`          | with Airflow 2: `airflow_2.worker_rights`               |
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from psycopg2 import sql
from psycopg2.extensions import encrypt_password

from openmwaa_runtime.airflow_2.worker_rights import WORKER_RIGHTS
from openmwaa_runtime.auth.login_store import TABLES as LOGIN_TABLES
from openmwaa_runtime.credentials import Credentials
from openmwaa_runtime.database import WAIT_S, Login, PostgresConnection, installed_airflow, prepared_for
from openmwaa_runtime.errors import DatabaseError, PreparationError, UsageError
from openmwaa_runtime.ownership import check_ownership, ownership_comment
from openmwaa_runtime.settings import airflow_environment
from openmwaa_runtime.signing import public_key

ADVISORY_LOCK = 0x6F70656E6D776161  # "openmwaa"
MIGRATION_S = 1800
"""`airflow db migrate` rewrites tables, which takes long in a large environment."""
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
"""Columns of `task_instance` that the scaler may read: no arguments and no results."""
SCALER_JOB_COLUMNS = ("id", "job_type", "state", "hostname", "start_date", "end_date", "latest_heartbeat")
"""Columns of `job` that the scaler may read: the heartbeats of schedulers."""
SCALER_READS = {
    "task_instance": SCALER_COLUMNS,
    "job": SCALER_JOB_COLUMNS,
    "import_error": ("filename", "stacktrace", "timestamp"),
    "dag_run": (
        *("id", "dag_id", "run_id", "run_type", "triggered_by", "state", "start_date"),
        *("bundle_version", "created_dag_version_id"),
    ),
    "dag": ("dag_id", "is_paused", "is_stale", "is_active", "next_dagrun_create_after"),
    "dag_version": ("id", "dag_id", "version_number"),
    "serialized_dag": ("dag_id", "dag_version_id", "dag_hash", "data", "data_compressed"),
    "dag_schedule_asset_reference": ("asset_id", "dag_id"),
    "task_outlet_asset_reference": ("asset_id", "dag_id", "task_id"),
    "dag_schedule_dataset_reference": ("dataset_id", "dag_id"),
    "task_outlet_dataset_reference": ("dataset_id", "dag_id", "task_id"),
}
"""All tables and columns that the scaler may read, of Airflow 2 and 3; rights have no finer grain than a column, and
the structure of a DAG is in one with the arguments of its tasks."""
WORKER = "airflow_worker"
READERS = frozenset({"scaler", WORKER})
"""Roles that own nothing."""
_ROLE = "SELECT 1 FROM pg_roles WHERE rolname = %s"


@dataclass(frozen=True)
class DatabaseSecrets:
    """The secrets of prepare-database; `repr` does not show them."""

    master: Credentials
    logins: Mapping[str, Credentials]
    signing_seed: str = field(repr=False)

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> "DatabaseSecrets":
        """Read the environment variables.

        Raises:
            UsageError: OPENMWAA_DATABASE_MASTER is not a secret of RDS.
        """
        logins = {
            "airflow": environ["OPENMWAA_AIRFLOW_DATABASE_PASSWORD"],
            "celery_results": environ["OPENMWAA_CELERY_DATABASE_PASSWORD"],
            "scaler": environ["OPENMWAA_SCALER_DATABASE_PASSWORD"],
        }
        if worker := environ.get("OPENMWAA_WORKER_DATABASE_PASSWORD"):
            logins[WORKER] = worker
        found = {owner: Credentials.read(secret, owner) for owner, secret in logins.items()}
        return cls(cls.master_of(environ), found, environ["OPENMWAA_SCALER_SIGNING_SEED"])

    @staticmethod
    def master_of(environ: Mapping[str, str]) -> Credentials:
        """Read the credentials of the master user.

        Raises:
            UsageError: OPENMWAA_DATABASE_MASTER is not a secret of RDS.
        """
        try:
            master = json.loads(environ["OPENMWAA_DATABASE_MASTER"])
            return Credentials(str(master["username"]), str(master["password"]))
        except (ValueError, KeyError, TypeError):
            message = 'OPENMWAA_DATABASE_MASTER must be {"username": …, "password": …}, as RDS writes it'
            raise UsageError(message) from None


def main(environ: Mapping[str, str], *, log: Callable[[str], None] = print) -> None:
    """Prepare the database. Returns when it is prepared.

    Raises:
        UsageError: a variable is missing or wrong.
        DatabaseError: the server cannot be reached for 10 minutes, or refused a statement.
        PreparationError: Airflow's migration failed, or would be a downgrade.
    """
    additions = airflow_environment("prepare-database", environ, "")
    preparation = Preparation(environ, DatabaseSecrets.read(environ), {**additions, **environ}, log)
    started = time.monotonic()
    with _wait_for_server(preparation.master("postgres"), log) as server:
        preparation.run(server)
    log(f"the database is prepared for Airflow {installed_airflow()} ({time.monotonic() - started:.1f} s)")


def _wait_for_server(login: Login, log: Callable[[str], None]) -> PostgresConnection:
    """Wait for a server that is being created or fails over. A wrong password is an error at once."""
    end = time.monotonic() + WAIT_S
    while True:
        try:
            return PostgresConnection(login, statement_timeout_ms=int(WAIT_S * 1000))
        except DatabaseError as error:
            if "password authentication failed" in str(error) or time.monotonic() >= end:
                raise
            log(f"waiting: {error}")
            time.sleep(2.0)


class Preparation:
    """One run of prepare-database."""

    def __init__(
        self,
        environ: Mapping[str, str],
        secrets: DatabaseSecrets,
        airflow: Mapping[str, str],
        log: Callable[[str], None],
    ) -> None:
        self._environ = environ
        self._secrets = secrets
        self._airflow = airflow
        self._log = log
        self._comment = ownership_comment(environ)

    def master(self, database: str) -> Login:
        """The login of the master user to one database."""
        return Login.read(self._environ, database=database, credentials=self._secrets.master)

    def run(self, server: PostgresConnection) -> None:
        """Run all steps with the advisory lock, which PostgreSQL releases when `server` is closed."""
        server.execute("SELECT pg_advisory_lock(%s)", (ADVISORY_LOCK,))
        roles = {*self._secrets.logins, *(login.role for login in self._secrets.logins.values())}
        check_ownership(server, self._comment, sorted(roles), self._is_prepared)
        for owner, login in self._secrets.logins.items():
            self._role(server, owner, login)
        self._database(server, "airflow", owner="airflow")
        self._database(server, "celery", owner="celery_results")
        for role in READERS & self._secrets.logins.keys():
            server.execute(_with("GRANT CONNECT ON DATABASE airflow TO {}", sql.Identifier(role)))
        if WORKER not in self._secrets.logins and server.execute(_ROLE, (WORKER,)):
            # The environment had Airflow 2, and DAG code may still have the password.
            server.execute(_with("REVOKE CONNECT ON DATABASE airflow FROM {}", sql.Identifier(WORKER)))
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
            server.execute(_with("GRANT {} TO {}", sql.Identifier(owner), sql.Identifier(login.role)))
            # Objects that one of the two roles creates belong to the owner, so the other role can use them.
            server.execute(_with("ALTER ROLE {} SET role TO {}", sql.Identifier(login.role), sql.Identifier(owner)))
        self._grant_to_master(server, owner)

    def _create_or_alter(self, server: PostgresConnection, role: str, options: str, *parts: sql.Composable) -> None:
        known = server.execute(_ROLE, (role,))
        verb, name = "ALTER" if known else "CREATE", sql.Identifier(role)
        # One string is one transaction, so a role never exists without its comment.
        comment = _with("COMMENT ON ROLE {} IS {}", name, sql.Literal(self._comment))
        server.execute(sql.SQL("; ").join((_with(f"{verb} ROLE {{}} {options}", name, *parts), comment)))

    @staticmethod
    def _grant_to_master(server: PostgresConnection, role: str) -> None:
        if role in READERS:
            return  # it owns nothing, so the master user does not need its rights
        # MEMBER is not enough: PostgreSQL 16 makes the creator of a role a member without the role's rights.
        usable = server.execute("SELECT pg_has_role(current_user, %s, 'USAGE')", (role,))
        if not (usable and usable[0]):
            server.execute(_with("GRANT {} TO CURRENT_USER", sql.Identifier(role)))

    def _database(self, server: PostgresConnection, name: str, *, owner: str) -> None:
        if server.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,)) is None:
            # Other templates than template0 may have additional objects and another encoding.
            create = "CREATE DATABASE {} OWNER {} TEMPLATE template0 ENCODING 'UTF8'"
            server.execute(_with(create, sql.Identifier(name), sql.Identifier(owner)))
            self._log(f"created database {name}")
        server.execute(_with("COMMENT ON DATABASE {} IS {}", sql.Identifier(name), sql.Literal(self._comment)))
        server.execute(_with("REVOKE ALL ON DATABASE {} FROM PUBLIC", sql.Identifier(name)))

    def _metadata(self, metadata: PostgresConnection) -> None:
        installed, found = installed_airflow(), prepared_for(metadata)
        if found != installed:
            self._refuse_downgrade(found, installed)
            self._log(f"migrating the metadata database from {found or 'nothing'} to Airflow {installed}")
            self._migrate()
        # At each run, because a migration may have recreated a table without the permissions.
        metadata.execute("GRANT USAGE ON SCHEMA public TO scaler")
        for table, readable in SCALER_READS.items():
            present = _present_columns(metadata, table)
            if not present:
                continue  # of the other major version
            columns = sql.SQL(", ").join(sql.Identifier(name) for name in readable if name in present)
            metadata.execute(_with("GRANT SELECT ({}) ON public.{} TO scaler", columns, sql.Identifier(table)))
        if WORKER in self._secrets.logins:
            _grant_to_workers(metadata)
        create_schema(metadata, reader="airflow")
        for statement in LOGIN_TABLES:
            metadata.execute(statement)
        write_prepared_row(metadata, installed, reader="airflow")

    @staticmethod
    def _refuse_downgrade(found: str | None, installed: str) -> None:
        if found is not None and _version(found) > _version(installed):
            raise PreparationError(
                f"the database is prepared for Airflow {found}, and {installed} is older: Airflow cannot downgrade; "
                "restore a snapshot of the database, or use the newer image"
            )

    def _migrate(self) -> None:
        command = [sys.executable, "-m", "airflow", "db", "migrate"]
        try:
            done = subprocess.run(command, env=dict(self._airflow), check=False, timeout=MIGRATION_S)
        except subprocess.TimeoutExpired:
            raise PreparationError(f"airflow db migrate did not end within {MIGRATION_S} s") from None
        if done.returncode != 0:
            raise PreparationError(f"airflow db migrate ended with status {done.returncode}; see its messages above")

    def _results(self, results: PostgresConnection) -> None:
        installed = installed_airflow()
        if prepared_for(results) != installed:
            self._create_result_tables()
        create_schema(results, reader="celery_results")
        results.execute("CREATE TABLE IF NOT EXISTS openmwaa.public_key (name text PRIMARY KEY, value text NOT NULL)")
        results.execute("GRANT SELECT ON openmwaa.public_key TO celery_results")
        results.execute(
            "INSERT INTO openmwaa.public_key VALUES ('scaler', %s) ON CONFLICT (name) DO UPDATE"
            " SET value = excluded.value WHERE public_key.value <> excluded.value",
            (public_key(self._secrets.signing_seed),),
        )
        write_prepared_row(results, installed, reader="celery_results")

    def _create_result_tables(self) -> None:
        # Celery creates them at the start of a worker, where several first workers would conflict.
        from celery.backends.database import models  # noqa: F401, PLC0415 - defines the tables
        from celery.backends.database.session import ResultModelBase  # type: ignore[attr-defined] # noqa: PLC0415
        from sqlalchemy import create_engine  # noqa: PLC0415

        login = Login.read(self._environ, database="celery", credentials=self._secrets.logins["celery_results"])
        engine = create_engine("postgresql+psycopg2://", creator=lambda: _transactional(login))
        ResultModelBase.metadata.create_all(engine)
        engine.dispose()


def _transactional(login: Login) -> Any:
    connection = PostgresConnection(login).raw
    connection.autocommit = False
    return connection


def _with(statement: str, *parts: sql.Composable) -> sql.Composed:
    return sql.SQL(statement).format(*parts)


def _grant_to_workers(metadata: PostgresConnection) -> None:
    worker = sql.Identifier(WORKER)
    metadata.execute("BEGIN")  # tasks run meanwhile: none may see the moment without rights
    metadata.execute(_with("REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {}", worker))
    metadata.execute(_with("GRANT USAGE ON SCHEMA public TO {}", worker))
    for table, rights in WORKER_RIGHTS.items():
        words = sql.SQL(", ").join(map(sql.SQL, rights))
        metadata.execute(_with("GRANT {} ON public.{} TO {}", words, sql.Identifier(table), worker))
        serial = metadata.execute("SELECT to_regclass(%s)::text", (f"public.{table}_id_seq",))
        if "INSERT" in rights and serial and serial[0]:
            metadata.execute(_with("GRANT USAGE ON SEQUENCE {} TO {}", sql.Identifier(f"{table}_id_seq"), worker))
    metadata.execute("COMMIT")


def _present_columns(metadata: PostgresConnection, table: str) -> set[str]:
    row = metadata.execute(
        "SELECT array_agg(attname::text) FROM pg_attribute"
        " WHERE attrelid = to_regclass('public.' || %s) AND attnum > 0 AND NOT attisdropped",
        (table,),
    )
    return set(row[0]) if row and row[0] else set()


def create_schema(connection: PostgresConnection, *, reader: str) -> None:
    """Create the schema `openmwaa`, which belongs to the master user; `reader` may use it."""
    connection.execute("CREATE SCHEMA IF NOT EXISTS openmwaa")
    connection.execute(_with("GRANT USAGE ON SCHEMA openmwaa TO {}", sql.Identifier(reader)))


def write_prepared_row(connection: PostgresConnection, airflow_version: str, *, reader: str) -> None:
    """Write the Airflow version that this database is prepared for; `reader` gets the right to read it."""
    connection.execute(
        "CREATE TABLE IF NOT EXISTS openmwaa.prepared (one boolean PRIMARY KEY DEFAULT true CHECK (one),"
        " airflow_version text NOT NULL, at timestamptz NOT NULL DEFAULT now())"
    )
    connection.execute(_with("GRANT SELECT ON openmwaa.prepared TO {}", sql.Identifier(reader)))
    connection.execute(
        "INSERT INTO openmwaa.prepared (airflow_version) VALUES (%s) ON CONFLICT (one) DO UPDATE"
        " SET airflow_version = excluded.airflow_version, at = now()"
        " WHERE prepared.airflow_version <> excluded.airflow_version",
        (airflow_version,),
    )


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".")[:3] if part.isdecimal())
