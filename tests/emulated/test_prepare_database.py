# SPDX-License-Identifier: Apache-2.0
"""prepare-database on a real PostgreSQL whose master, as on RDS, is no superuser.

It runs in Airflow's own environment, as in the image; only `airflow db migrate` (8 s) is replaced by the one table that
rights are given on. The end-to-end tests run the real one.
"""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest

from openmwaa_runtime.signing import public_key
from tests.support.airflow import install_airflow
from tests.support.postgres import Server, running_postgres
from tests.support.prepared_cluster import PREPARED_WITHIN_S, Cluster, new_cluster

pytestmark = pytest.mark.emulated


@pytest.fixture(scope="module")
def airflow() -> Path:
    # Not while tests are collected: on a fresh machine the tests before these install it.
    return install_airflow()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running_postgres() as found:
        yield found


@pytest.fixture
async def cluster(server: Server, airflow: Path) -> AsyncIterator[Cluster]:
    async with new_cluster(server, airflow) as found:
        yield found


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


async def test_an_airflow_of_somebody_else_is_left_alone(cluster: Cluster) -> None:
    await cluster.ask("postgres", "postgres", "CREATE ROLE airflow LOGIN PASSWORD 'theirs'")
    await cluster.ask("postgres", "postgres", "CREATE DATABASE airflow OWNER airflow")
    status, said = cluster.prepare()
    assert status == 4
    assert "the database airflow exists and has no comment: use a separate server for this environment" in said
    await (await cluster.connect("airflow", "airflow", "theirs")).close(timeout=5)  # its password is as it was
    assert await cluster.ask("postgres", "postgres", "SELECT 1 FROM pg_roles WHERE rolname = 'celery_results'") is None


async def test_a_role_of_somebody_else_is_left_alone(cluster: Cluster) -> None:
    await cluster.ask("postgres", "postgres", "CREATE ROLE scaler LOGIN PASSWORD 'theirs'")
    status, said = cluster.prepare()
    assert (status, "the role scaler exists and has no comment" in said) == (4, True), said
    await (await cluster.connect("scaler", "postgres", "theirs")).close(timeout=5)  # its password is as it was


async def test_another_environment_is_left_alone_and_can_be_taken_over_by_hand(prepared: Cluster) -> None:
    prepared.environment = "other"
    status, said = prepared.prepare()
    assert (status, "the database airflow exists and belongs to 'openmwaa: demo'" in said) == (4, True), said
    assert await prepared.ask("airflow", "airflow", "SELECT 1"), "its password was changed"
    for kind, names in (("DATABASE", ("airflow", "celery")), ("ROLE", ("airflow", "celery_results", "scaler"))):
        for name in names:
            await prepared.ask("postgres", "postgres", f"COMMENT ON {kind} {name} IS 'openmwaa: other'")
    status, said = prepared.prepare()
    assert status == 0, said


async def test_a_database_from_a_dump_has_no_comment_and_is_known_by_the_note_in_it(prepared: Cluster) -> None:
    for kind, names in (("DATABASE", ("airflow", "celery")), ("ROLE", ("airflow", "celery_results", "scaler"))):
        for name in names:
            await prepared.ask("postgres", "postgres", f"COMMENT ON {kind} {name} IS NULL")
    status, said = prepared.prepare()
    assert status == 0, said
    comment = "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = 'airflow'"
    assert await prepared.ask("postgres", "postgres", comment) == "openmwaa: demo"
