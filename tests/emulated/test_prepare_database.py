# SPDX-License-Identifier: Apache-2.0
"""prepare-database on a PostgreSQL server whose master user, as on RDS, is not a superuser.

It runs in Airflow's virtual environment, as in the image. Only `airflow db migrate` (8 s) is replaced: it creates the
tables with permissions. The end-to-end tests run the real one.
"""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest

from openmwaa_runtime.signing import public_key
from tests.support.airflow import install_airflow
from tests.support.postgres import Server, running_postgres
from tests.support.prepared_cluster import PREPARED_WITHIN_S, PreparedCluster, new_cluster

pytestmark = pytest.mark.emulated


@pytest.fixture(scope="module")
def airflow() -> Path:
    # Not during the collection of tests: on a new machine earlier tests install it.
    return install_airflow()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running_postgres() as found:
        yield found


@pytest.fixture
async def cluster(server: Server, airflow: Path) -> AsyncIterator[PreparedCluster]:
    async with new_cluster(server, airflow) as found:
        yield found


@pytest.fixture
def prepared(cluster: PreparedCluster) -> PreparedCluster:
    status, output = cluster.prepare()
    assert status == 0, output
    return cluster


async def test_a_second_run_makes_no_change_and_no_migration(prepared: PreparedCluster) -> None:
    query = "SELECT at FROM openmwaa.prepared WHERE airflow_version = '3.3.2'"
    before = await prepared.query("airflow", "airflow", query)
    status, output = prepared.prepare()
    assert (status, "migrated" in output) == (0, False), output
    assert before is not None
    assert await prepared.query("airflow", "airflow", query) == before


async def test_a_newer_airflow_migrates_and_an_older_one_is_refused(prepared: PreparedCluster) -> None:
    status, output = prepared.prepare("3.10.0")
    assert (status, "migrating the metadata database from 3.3.2 to Airflow 3.10.0" in output) == (0, True), output
    assert await prepared.query("celery_results", "celery", "SELECT airflow_version FROM openmwaa.prepared") == "3.10.0"
    status, output = prepared.prepare("3.3.2")
    assert status == 4
    assert output.startswith("the database is prepared for Airflow 3.10.0, and 3.3.2 is older")


ALLOWED = [
    ("airflow", "airflow", "CREATE TABLE mine (x int)"),
    ("celery_results", "celery", "INSERT INTO celery_taskmeta (id, task_id) VALUES (1, 'x')"),
    ("celery_results", "celery", "SELECT value FROM openmwaa.public_key"),
    ("scaler", "airflow", "SELECT count(state) FROM task_instance WHERE queue = 'default'"),
    ("scaler", "airflow", "SELECT run_id FROM dag_run WHERE state = 'running'"),
    (
        "scaler",
        "airflow",
        "SELECT max(latest_heartbeat) FROM job WHERE job_type = 'SchedulerJob' AND state = 'running'",
    ),
]
FORBIDDEN = [
    ("scaler", "airflow", "SELECT conf FROM dag_run"),
    ("scaler", "airflow", "SELECT next_kwargs FROM task_instance"),
    ("scaler", "airflow", "DELETE FROM import_error"),
    ("scaler", "airflow", "UPDATE task_instance SET state = 'failed'"),
    ("scaler", "airflow", "SELECT dag_id FROM job"),
    ("scaler", "airflow", "UPDATE job SET latest_heartbeat = now()"),
    ("scaler", "airflow", "CREATE TABLE mine (x int)"),
    ("scaler", "celery", "SELECT 1"),
    ("airflow", "celery", "SELECT 1"),
    ("airflow", "airflow", "UPDATE openmwaa.prepared SET airflow_version = '9'"),
    ("airflow", "airflow", "DELETE FROM openmwaa.revoked_sessions"),
    ("scaler", "airflow", "SELECT 1 FROM openmwaa.used_tokens"),
    ("celery_results", "airflow", "SELECT 1"),
    ("celery_results", "celery", "UPDATE openmwaa.public_key SET value = 'mine'"),
    ("celery_results", "celery", "DROP SCHEMA openmwaa CASCADE"),
    ("celery_results", "celery", "SET ROLE airflow"),
]


async def test_each_role_has_exactly_its_permissions(prepared: PreparedCluster) -> None:
    for role, database, statement in ALLOWED:
        await prepared.query(role, database, statement)
    for role, database, statement in FORBIDDEN:
        try:
            await prepared.query(role, database, statement)
        except asyncpg.InsufficientPrivilegeError:
            continue
        pytest.fail(f"{role} can, in {database}: {statement}")


async def test_workers_can_read_the_public_key_of_the_scaler(prepared: PreparedCluster) -> None:
    found = await prepared.query(
        "celery_results", "celery", "SELECT value FROM openmwaa.public_key WHERE name = 'scaler'"
    )
    assert found == public_key("seed")


async def test_a_new_password_replaces_the_old_one(prepared: PreparedCluster) -> None:
    old = dict(prepared.passwords)
    prepared.passwords = {role: f"new-{password}" for role, password in old.items()}
    assert prepared.prepare()[0] == 0
    for role, database in (("airflow", "airflow"), ("celery_results", "celery"), ("scaler", "airflow")):
        assert await prepared.query(role, database, "SELECT current_user") == role
        with pytest.raises(asyncpg.InvalidPasswordError):
            await prepared.connect(role, database, old[role])


async def test_concurrent_runs_are_serialised(cluster: PreparedCluster) -> None:
    runs = [cluster.start() for _ in range(3)]
    output = [run.communicate(timeout=PREPARED_WITHIN_S)[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0, 0], output
    assert sum("migrated" in text for text in output) == 1, output


async def test_the_servers_log_has_no_passwords(prepared: PreparedCluster) -> None:
    log = prepared.server.log.read_text(encoding="utf-8", errors="replace")
    assert "SCRAM-SHA-256$" in log, "the server did not log statements, so the test shows nothing"
    assert not [role for role, password in prepared.passwords.items() if password[:20] in log]


async def test_a_wrong_master_password_is_an_error_of_one_line_at_once(cluster: PreparedCluster) -> None:
    cluster.master_password = "another"
    status, output = cluster.prepare()
    assert status == 3
    assert output.splitlines() == [output.strip()]
    assert 'password authentication failed for user "master-of-rds"' in output


async def test_another_airflow_database_is_not_changed(cluster: PreparedCluster) -> None:
    await cluster.query("postgres", "postgres", "CREATE ROLE airflow LOGIN PASSWORD 'other'")
    await cluster.query("postgres", "postgres", "CREATE DATABASE airflow OWNER airflow")
    status, output = cluster.prepare()
    assert status == 4
    assert "the database airflow exists and has no comment: use a separate server for this environment" in output
    await (await cluster.connect("airflow", "airflow", "other")).close(timeout=5)  # its password has not changed
    assert (
        await cluster.query("postgres", "postgres", "SELECT 1 FROM pg_roles WHERE rolname = 'celery_results'") is None
    )


async def test_another_role_is_not_changed(cluster: PreparedCluster) -> None:
    await cluster.query("postgres", "postgres", "CREATE ROLE scaler LOGIN PASSWORD 'other'")
    status, output = cluster.prepare()
    assert (status, "the role scaler exists and has no comment" in output) == (4, True), output
    await (await cluster.connect("scaler", "postgres", "other")).close(timeout=5)  # its password has not changed


async def test_another_environment_is_not_changed_and_can_be_taken_over_manually(prepared: PreparedCluster) -> None:
    prepared.environment = "other"
    status, output = prepared.prepare()
    assert (status, "the database airflow exists and belongs to 'openmwaa: demo'" in output) == (4, True), output
    assert await prepared.query("airflow", "airflow", "SELECT 1"), "its password was changed"
    for kind, names in (("DATABASE", ("airflow", "celery")), ("ROLE", ("airflow", "celery_results", "scaler"))):
        for name in names:
            await prepared.query("postgres", "postgres", f"COMMENT ON {kind} {name} IS 'openmwaa: other'")
    status, output = prepared.prepare()
    assert status == 0, output


async def test_a_restored_database_without_a_comment_is_recognised_by_its_prepared_row(
    prepared: PreparedCluster,
) -> None:
    for kind, names in (("DATABASE", ("airflow", "celery")), ("ROLE", ("airflow", "celery_results", "scaler"))):
        for name in names:
            await prepared.query("postgres", "postgres", f"COMMENT ON {kind} {name} IS NULL")
    status, output = prepared.prepare()
    assert status == 0, output
    comment = "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = 'airflow'"
    assert await prepared.query("postgres", "postgres", comment) == "openmwaa: demo"


TWO_SERVERS = """
import os, sys, time
from concurrent.futures import ThreadPoolExecutor
from openmwaa_runtime.auth.errors import AuthUnavailableError
from openmwaa_runtime.auth.login_store import PostgresLoginStore
from openmwaa_runtime.components import login_for

login = login_for("web-server", os.environ)
first, second = PostgresLoginStore(login), PostgresLoginStore(login)
end = time.time() + 60
with ThreadPoolExecutor(16) as pool:
    uses = list(pool.map(lambda turn: (first, second)[turn % 2].use("one token", end), range(16)))
print(uses.count(True), first.use("another token", end))
first.use("old token", time.time() - 3 * 86400)
first.use("a third token", end)
print(first.use("old token", end))  # its row was deleted, long after the token itself expired
first.revoke("arn:1", 100.5)
second.revoke("arn:1", 50.0)
second.revoke("arn:2", 7.0)
print(dict(first.revoked()))
try:
    PostgresLoginStore(login_for("web-server", {**os.environ, "OPENMWAA_DATABASE_PORT": "1"})).use("x", end)
except AuthUnavailableError as error:
    print(error)
"""


async def test_two_web_servers_share_used_tokens_and_revoked_sessions(prepared: PreparedCluster) -> None:
    prepared.program = TWO_SERVERS
    status, output = prepared.prepare()
    assert (status, output.splitlines()) == (
        0,
        ["1 True", "True", "{'arn:1': 100.5, 'arn:2': 7}", "the database does not answer; try again"],
    )
