# SPDX-License-Identifier: Apache-2.0
"""A PostgreSQL server whose master user, as on RDS, is not a superuser, and prepare-database in Airflow's environment.

Only `airflow db migrate` (8 s) is replaced: it creates the tables with permissions. The end-to-end tests run the real
one.
"""

import contextlib
import json
import os
import subprocess
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg

from tests.support.postgres import SUPERUSER_PASSWORD, Server

ROOT = Path(__file__).parents[2]
OWNERS = ("airflow", "celery_results", "scaler")
PREPARED_WITHIN_S = 180
PROGRAM = """
import os, sys
from openmwaa_runtime import prepare_database as module
from openmwaa_runtime.database import Login, PostgresConnection
from openmwaa_runtime.errors import StartupError
from openmwaa_runtime.credentials import Credentials

def migrate(self):
    found = Credentials.read(os.environ["OPENMWAA_AIRFLOW_DATABASE_PASSWORD"], "airflow")
    login = Login.read(os.environ, database="airflow", credentials=found)
    with PostgresConnection(login) as metadata:
        metadata.execute("CREATE TABLE IF NOT EXISTS task_instance (id int, state text, queue text, next_kwargs text)")
        job = "job (job_type text, state text, dag_id text, latest_heartbeat date)"
        metadata.execute(f"CREATE TABLE IF NOT EXISTS {job}")
        metadata.execute("CREATE TABLE IF NOT EXISTS dag_run (run_id text, state text, conf text)")
        errors = "import_error (filename text, stacktrace text, timestamp timestamptz)"
        metadata.execute(f"CREATE TABLE IF NOT EXISTS {errors}")
    print("migrated")

module.Preparation._migrate = migrate
module.installed_airflow = lambda: sys.argv[1]
try:
    module.main(os.environ)
except StartupError as error:
    print(error)
    sys.exit(error.exit_status)
"""


class PreparedCluster:
    """A server with the databases and roles of one test."""

    def __init__(self, server: Server, airflow: Path, owners: tuple[str, ...]) -> None:
        self.server = server
        self.airflow = airflow
        self.program = PROGRAM
        self.more: dict[str, str] = {}
        """Further variables of the container."""
        self.passwords = {role: f"{role}-{uuid.uuid4().hex}?/@'" for role in owners}
        self.master_password = "master-password"
        self.environment = "demo"

    def environ(self) -> dict[str, str]:
        master = {"username": "master-of-rds", "password": self.master_password}
        return {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT / "images" / "airflow"),
            "OPENMWAA_ENVIRONMENT": self.environment,
            "OPENMWAA_DATABASE_HOST": self.server.host,
            "OPENMWAA_DATABASE_PORT": str(self.server.port),
            "OPENMWAA_DATABASE_SSLMODE": "disable",
            "OPENMWAA_DATABASE_MASTER": json.dumps(master),
            "OPENMWAA_AIRFLOW_DATABASE_PASSWORD": self.passwords["airflow"],
            "OPENMWAA_CELERY_DATABASE_PASSWORD": self.passwords["celery_results"],
            "OPENMWAA_SCALER_DATABASE_PASSWORD": self.passwords["scaler"],
            "OPENMWAA_SCALER_SIGNING_SEED": "seed",
            **self.more,
        }

    def start(self, version: str = "3.3.2") -> "subprocess.Popen[str]":
        command = [str(self.airflow / "bin" / "python"), "-c", self.program, version]
        return subprocess.Popen(
            command, env=self.environ(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd="/"
        )

    def prepare(self, version: str = "3.3.2") -> tuple[int, str]:
        process = self.start(version)
        output, _ = process.communicate(timeout=PREPARED_WITHIN_S)
        return process.returncode, output

    async def connect(self, role: str, database: str, password: str | None = None) -> Any:
        chosen = SUPERUSER_PASSWORD if role == "postgres" else self.passwords[role] if password is None else password
        host, port = self.server.host, self.server.port
        return await asyncpg.connect(host=host, port=port, user=role, password=chosen, database=database, timeout=10)

    async def query(self, role: str, database: str, statement: str) -> Any:
        connection = await self.connect(role, database)
        try:
            return await connection.fetchval(statement)
        finally:
            await connection.close(timeout=5)


@contextlib.asynccontextmanager
async def new_cluster(
    server: Server, airflow: Path, owners: tuple[str, ...] = OWNERS
) -> AsyncIterator[PreparedCluster]:
    """A cluster with its master user. Its databases and roles are removed at the end."""
    found = PreparedCluster(server, airflow, owners)
    create = f"CREATE ROLE \"master-of-rds\" LOGIN CREATEDB CREATEROLE PASSWORD '{found.master_password}'"
    await found.query("postgres", "postgres", create)
    try:
        yield found
    finally:
        await found.query("postgres", "postgres", "DROP DATABASE IF EXISTS airflow WITH (FORCE)")
        await found.query("postgres", "postgres", "DROP DATABASE IF EXISTS celery WITH (FORCE)")
        logins = ", ".join(f"{owner}_{turn}" for owner in owners for turn in "ab")
        await found.query("postgres", "postgres", f"DROP ROLE IF EXISTS {logins}, {', '.join(owners)}")
        await found.query("postgres", "postgres", 'DROP ROLE "master-of-rds"')
