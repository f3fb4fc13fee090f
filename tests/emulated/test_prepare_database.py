# SPDX-License-Identifier: Apache-2.0
"""prepare-database on a real PostgreSQL whose master, as on RDS, is no superuser.

It runs in Airflow's own environment, as in the image; only `airflow db migrate` (8 s) is replaced by the one table that
rights are given on. The end-to-end tests run the real one.
"""

import json
import os
import subprocess
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from openmwaa_runtime.signing import public_key
from tests.support.airflow import install_airflow
from tests.support.postgres import SUPERUSER_PASSWORD, Server, running_postgres

pytestmark = pytest.mark.emulated

ROOT = Path(__file__).parents[2]
PREPARED_WITHIN_S = 180
PROGRAM = """
import os, sys
from openmwaa_runtime import prepare_database as module
from openmwaa_runtime.database import Login, PostgresConnection
from openmwaa_runtime.errors import RuntimeProblem

def migrate(self):
    password = os.environ["OPENMWAA_AIRFLOW_DATABASE_PASSWORD"]
    with PostgresConnection(Login.read(os.environ, database="airflow", role="airflow", password=password)) as metadata:
        metadata.one("CREATE TABLE IF NOT EXISTS task_instance (id int, state text, queue text, next_kwargs text)")
        metadata.one("CREATE TABLE IF NOT EXISTS job (job_type text, state text, dag_id text, latest_heartbeat date)")
    print("migrated")

module.Preparation._migrate = migrate
module.installed_airflow = lambda: sys.argv[1]
try:
    module.main(os.environ)
except RuntimeProblem as problem:
    print(problem)
    sys.exit(problem.exit_status)
"""


@pytest.fixture(scope="module")
def airflow() -> Path:
    # Not while tests are collected: on a fresh machine the tests before these install it.
    return install_airflow()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running_postgres() as found:
        yield found


class Cluster:
    """One server, with the databases and roles of one test."""

    def __init__(self, server: Server, airflow: Path) -> None:
        self.server = server
        self.airflow = airflow
        self.passwords = {role: f"{role}-{uuid.uuid4().hex}?/@'" for role in ("airflow", "celery_results", "scaler")}
        self.master_password = "master-password"

    def environ(self) -> dict[str, str]:
        master = {"username": "master-of-rds", "password": self.master_password}
        return {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT / "images" / "airflow"),
            "OPENMWAA_DATABASE_HOST": self.server.host,
            "OPENMWAA_DATABASE_PORT": str(self.server.port),
            "OPENMWAA_DATABASE_SSLMODE": "disable",
            "OPENMWAA_DATABASE_MASTER": json.dumps(master),
            "OPENMWAA_AIRFLOW_DATABASE_PASSWORD": self.passwords["airflow"],
            "OPENMWAA_CELERY_DATABASE_PASSWORD": self.passwords["celery_results"],
            "OPENMWAA_SCALER_DATABASE_PASSWORD": self.passwords["scaler"],
            "OPENMWAA_SCALER_SIGNING_SEED": "seed",
        }

    def begin(self, version: str = "3.3.2") -> "subprocess.Popen[str]":
        command = [str(self.airflow / "bin" / "python"), "-c", PROGRAM, version]
        return subprocess.Popen(
            command, env=self.environ(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd="/"
        )

    def prepare(self, version: str = "3.3.2") -> tuple[int, str]:
        process = self.begin(version)
        said, _ = process.communicate(timeout=PREPARED_WITHIN_S)
        return process.returncode, said

    async def connect(self, role: str, database: str, password: str | None = None) -> Any:
        chosen = SUPERUSER_PASSWORD if role == "postgres" else self.passwords[role] if password is None else password
        host, port = self.server.host, self.server.port
        return await asyncpg.connect(host=host, port=port, user=role, password=chosen, database=database, timeout=10)

    async def ask(self, role: str, database: str, statement: str) -> Any:
        connection = await self.connect(role, database)
        try:
            return await connection.fetchval(statement)
        finally:
            await connection.close(timeout=5)


@pytest.fixture
async def cluster(server: Server, airflow: Path) -> AsyncIterator[Cluster]:
    found = Cluster(server, airflow)
    create = f"CREATE ROLE \"master-of-rds\" LOGIN CREATEDB CREATEROLE PASSWORD '{found.master_password}'"
    await found.ask("postgres", "postgres", create)
    yield found
    for statement in (
        "DROP DATABASE IF EXISTS airflow WITH (FORCE)",
        "DROP DATABASE IF EXISTS celery WITH (FORCE)",
        "DROP ROLE IF EXISTS airflow, celery_results, scaler",
        'DROP ROLE "master-of-rds"',
    ):
        await found.ask("postgres", "postgres", statement)


@pytest.fixture
def prepared(cluster: Cluster) -> Cluster:
    status, said = cluster.prepare()
    assert status == 0, said
    return cluster


async def test_a_second_run_changes_nothing_and_migrates_nothing(prepared: Cluster) -> None:
    question = "SELECT at FROM openmwaa.prepared WHERE airflow_version = '3.3.2'"
    before = await prepared.ask("airflow", "airflow", question)
    status, said = prepared.prepare()
    assert (status, "migrated" in said) == (0, False), said
    assert before is not None
    assert await prepared.ask("airflow", "airflow", question) == before


async def test_a_newer_airflow_migrates_and_an_older_one_is_refused(prepared: Cluster) -> None:
    status, said = prepared.prepare("3.10.0")
    assert (status, "migrating the metadata database from 3.3.2 to Airflow 3.10.0" in said) == (0, True), said
    assert await prepared.ask("celery_results", "celery", "SELECT airflow_version FROM openmwaa.prepared") == "3.10.0"
    status, said = prepared.prepare("3.3.2")
    assert status == 4
    assert said.startswith("the database is prepared for Airflow 3.10.0, and 3.3.2 is older")


MAY = [
    ("airflow", "airflow", "CREATE TABLE mine (x int)"),
    ("celery_results", "celery", "INSERT INTO celery_taskmeta (id, task_id) VALUES (1, 'x')"),
    ("celery_results", "celery", "SELECT value FROM openmwaa.public_key"),
    ("scaler", "airflow", "SELECT count(state) FROM task_instance WHERE queue = 'default'"),
    (
        "scaler",
        "airflow",
        "SELECT max(latest_heartbeat) FROM job WHERE job_type = 'SchedulerJob' AND state = 'running'",
    ),
]
MAY_NOT = [
    ("scaler", "airflow", "SELECT next_kwargs FROM task_instance"),
    ("scaler", "airflow", "UPDATE task_instance SET state = 'failed'"),
    ("scaler", "airflow", "SELECT dag_id FROM job"),
    ("scaler", "airflow", "UPDATE job SET latest_heartbeat = now()"),
    ("scaler", "airflow", "CREATE TABLE mine (x int)"),
    ("scaler", "celery", "SELECT 1"),
    ("airflow", "celery", "SELECT 1"),
    ("airflow", "airflow", "UPDATE openmwaa.prepared SET airflow_version = '9'"),
    ("celery_results", "airflow", "SELECT 1"),
    ("celery_results", "celery", "UPDATE openmwaa.public_key SET value = 'mine'"),
    ("celery_results", "celery", "DROP SCHEMA openmwaa CASCADE"),
    ("celery_results", "celery", "SET ROLE airflow"),
]


async def test_each_role_may_do_its_work_and_no_more(prepared: Cluster) -> None:
    for role, database, statement in MAY:
        await prepared.ask(role, database, statement)
    for role, database, statement in MAY_NOT:
        try:
            await prepared.ask(role, database, statement)
        except asyncpg.InsufficientPrivilegeError:
            continue
        pytest.fail(f"{role} may, in {database}: {statement}")


async def test_workers_find_the_key_of_the_scaler_that_signs(prepared: Cluster) -> None:
    found = await prepared.ask(
        "celery_results", "celery", "SELECT value FROM openmwaa.public_key WHERE name = 'scaler'"
    )
    assert found == public_key("seed")


async def test_a_new_password_replaces_the_old_one(prepared: Cluster) -> None:
    old = dict(prepared.passwords)
    prepared.passwords = {role: f"new-{password}" for role, password in old.items()}
    assert prepared.prepare()[0] == 0
    for role, database in (("airflow", "airflow"), ("celery_results", "celery"), ("scaler", "airflow")):
        assert await prepared.ask(role, database, "SELECT current_user") == role
        with pytest.raises(asyncpg.InvalidPasswordError):
            await prepared.connect(role, database, old[role])


async def test_two_at_once_take_turns(cluster: Cluster) -> None:
    runs = [cluster.begin() for _ in range(3)]
    said = [run.communicate(timeout=PREPARED_WITHIN_S)[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0, 0], said
    assert sum("migrated" in one for one in said) == 1, said


async def test_passwords_are_nowhere_in_the_servers_log(prepared: Cluster) -> None:
    log = prepared.server.log.read_text(encoding="utf-8", errors="replace")
    assert "SCRAM-SHA-256$" in log, "the server did not log statements, so this test says nothing"
    assert not [role for role, password in prepared.passwords.items() if password[:20] in log]


async def test_a_wrong_master_password_is_one_line_at_once(cluster: Cluster) -> None:
    cluster.master_password = "another"
    status, said = cluster.prepare()
    assert status == 3
    assert said.splitlines() == [said.strip()]
    assert 'password authentication failed for user "master-of-rds"' in said
