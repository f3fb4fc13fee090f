# SPDX-License-Identifier: Apache-2.0
"""The scaler's view of a real PostgreSQL, with `task_instance` as Airflow 2.9, 2.11 and 3.x have it."""

import asyncio
import signal
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from scaler.adapters.airflow_database import AirflowDatabase
from scaler.config.settings import DatabaseSettings
from scaler.core.model import DatabaseCount
from scaler.errors import SourceError
from scaler.ports import AirflowHealth, AirflowProblems, ImportProblem
from tests.support.postgres import SUPERUSER_PASSWORD, Server, running_postgres

pytestmark = pytest.mark.emulated

PASSWORD = "scaler-password"
DEADLINE_S = 5.0
SOON_S = 300.0

# The columns that matter here, with the types of Airflow's models; the keys are what changed most.
COMMON = """
    task_id varchar(250) not null, dag_id varchar(250) not null, run_id varchar(250) not null,
    map_index integer not null default -1, state varchar(20), try_number integer, hostname varchar(1000),
    pool varchar(256) not null default 'default_pool', queue varchar(256), queued_dttm timestamptz
"""
SCHEMAS = {
    "2.9": f"create table task_instance ({COMMON}, primary key (dag_id, task_id, run_id, map_index))",
    "2.11": f"""create table task_instance ({COMMON}, job_id integer, executor varchar(1000),
        primary key (dag_id, task_id, run_id, map_index))""",
    "3.x": f"""create table task_instance (id uuid not null primary key default gen_random_uuid(), {COMMON},
        executor varchar(1000), dag_version_id uuid, last_heartbeat_at timestamptz,
        unique (dag_id, task_id, run_id, map_index))""",
}
JOBS = """create table job (id serial primary key, job_type varchar(30), state varchar(20),
    latest_heartbeat timestamptz, hostname varchar(500))"""
IMPORT_ERRORS = """create table import_error (id serial primary key, timestamp timestamptz default now(),
    filename varchar(1024), stacktrace text)"""
MODULE = "airflow.providers.celery.executors.celery_executor.CeleryExecutor"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running_postgres() as found:
        yield found


@asynccontextmanager
async def superuser(server: Server) -> AsyncIterator["asyncpg.Connection[Any]"]:
    connection = await asyncpg.connect(
        host=server.host, port=server.port, user="postgres", password=SUPERUSER_PASSWORD, database="postgres", ssl=False
    )
    try:
        yield connection
    finally:
        await connection.close()


@asynccontextmanager
async def airflow(server: Server, host: str | None = None, **settings: Any) -> AsyncIterator[AirflowDatabase]:
    """The adapter, as the role that may read and do nothing else."""
    where = {"host": host or server.host, "port": server.port, "name": "postgres", "sslmode": "disable"} | settings
    database = AirflowDatabase(DatabaseSettings.model_validate(where), PASSWORD, deadline_s=DEADLINE_S)
    try:
        yield database
    finally:
        await database.close()


async def create(server: Server, version: str) -> None:
    async with superuser(server) as connection:
        await connection.execute("drop table if exists task_instance, job, import_error")
        await connection.execute(SCHEMAS[version])
        await connection.execute(IMPORT_ERRORS)
        await connection.execute(JOBS)
        await connection.execute("create index ti_state on task_instance (state)")
        if not await connection.fetchval("select 1 from pg_roles where rolname = 'scaler'"):
            await connection.execute(f"create role scaler login password '{PASSWORD}'")
        columns = "dag_id, run_id, task_id, map_index, state, queue, queued_dttm, hostname" + (
            "" if version == "2.9" else ", executor"
        )
        await connection.execute(f"grant select ({columns}) on task_instance to scaler")
        await connection.execute("grant select (job_type, state, latest_heartbeat) on job to scaler")
        await connection.execute("grant select (filename, stacktrace, timestamp) on import_error to scaler")


async def insert(server: Server, number: int, state: str, queue: str | None = "default", **columns: str) -> None:
    names = ", ".join(("dag_id", "task_id", "run_id", "map_index", "state", "queue", *columns))
    values = ", ".join(f"${index}" for index in range(3, 5 + len(columns)))
    async with superuser(server) as connection:
        await connection.execute(
            f"insert into task_instance ({names}) select 'd', $1, 'r' || random(), i, {values}"
            " from generate_series(1, $2::int) i",
            f"{state}-{time.monotonic_ns()}",
            number,
            state,
            queue,
            *columns.values(),
        )


@pytest.fixture
async def tables(server: Server) -> Server:
    await create(server, "3.x")
    return server


@pytest.mark.parametrize("version", SCHEMAS)
async def test_what_is_queued_and_running_is_counted_by_queue(server: Server, version: str) -> None:
    await create(server, version)
    await insert(server, 3, "queued")
    await insert(server, 2, "running")
    await insert(server, 1, "restarting")
    await insert(server, 4, "queued", "high")
    await insert(server, 1, "queued", None)  # of Airflow before queues had names
    for state in ("success", "failed", "scheduled", "deferred", "up_for_retry"):
        await insert(server, 5, state)
    async with airflow(server) as database:
        assert await database.counts() == {"default": DatabaseCount(4, 3), "high": DatabaseCount(4, 0)}


@pytest.mark.parametrize("version", ["2.11", "3.x"])
async def test_tasks_of_other_executors_do_not_count(server: Server, version: str) -> None:
    await create(server, version)
    await insert(server, 2, "queued")
    await insert(server, 3, "running", executor="CeleryExecutor")
    await insert(server, 1, "running", executor=MODULE)
    await insert(server, 20, "queued", executor="KubernetesExecutor")
    await insert(server, 30, "running", executor="airflow.providers.edge3.executors.EdgeExecutor")
    await insert(server, 40, "running", executor="our_alias")
    async with airflow(server) as database:
        assert await database.counts() == {"default": DatabaseCount(2, 4)}
    async with airflow(server, executors=("our_alias",)) as database:
        assert await database.counts() == {"default": DatabaseCount(2, 40)}


async def test_running_tasks_of_one_host_are_counted_on_every_executor(server: Server) -> None:
    await create(server, "3.x")
    await insert(server, 2, "running", executor="KubernetesExecutor")
    await insert(server, 1, "restarting")
    await insert(server, 1, "queued")
    async with superuser(server) as connection:
        await connection.execute("update task_instance set hostname = 'this'")
    await insert(server, 4, "running")
    async with airflow(server) as database:
        assert await database.running_on("this") == 3
        assert await database.running_on("another") == 0


async def job(server: Server, kind: str, state: str, beat_s_ago: float) -> None:
    async with superuser(server) as connection:
        await connection.execute(
            "insert into job (job_type, state, latest_heartbeat) values ($1, $2, now() - make_interval(secs => $3))",
            kind,
            state,
            beat_s_ago,
        )


@pytest.mark.parametrize("version", SCHEMAS)
async def test_schedulers_with_a_recent_heartbeat_are_alive(server: Server, version: str) -> None:
    await create(server, version)
    async with airflow(server) as database:
        assert await database.health(60.0) == AirflowHealth(0, 0.0), "no scheduler is alive, and no task waits"
        for kind, state, ago in (
            ("SchedulerJob", "running", 5.0),
            ("SchedulerJob", "running", 30.0),
            ("SchedulerJob", "running", 3600.0),  # crashed: its row stays at running
            ("SchedulerJob", "success", 5.0),
            ("TriggererJob", "running", 5.0),
        ):
            await job(server, kind, state, ago)
        assert (await database.health(60.0)).schedulers == 2
        assert (await database.health(10.0)).schedulers == 1


async def test_the_oldest_task_is_the_one_that_is_queued_the_longest(tables: Server) -> None:
    for state, ago in (("queued", 90), ("queued", 700), ("running", 9000), ("scheduled", 9000)):
        await insert(tables, 1, state)
        async with superuser(tables) as connection:
            await connection.execute(
                "update task_instance set queued_dttm = now() - make_interval(secs => $1) where queued_dttm is null",
                ago,
            )
    await insert(tables, 1, "queued", executor="KubernetesExecutor")
    await insert(tables, 1, "queued")  # Airflow has not written the time
    async with airflow(tables) as database:
        assert 700 <= (await database.health(60.0)).oldest_queued_s < 700 + SOON_S


@pytest.mark.parametrize("version", SCHEMAS)
async def test_import_errors_and_tasks_that_wait_are_listed_oldest_first(server: Server, version: str) -> None:
    await create(server, version)
    async with airflow(server) as database:
        assert await database.problems(300.0, 2) == AirflowProblems(0, (), 0, ())
        for number in range(3):
            await insert(server, 1, "queued", f"q{number}")
        await insert(server, 1, "running")
        async with superuser(server) as connection:
            ago = "make_interval(secs => 400 + ascii(right(queue, 1)))"
            await connection.execute(f"update task_instance set queued_dttm = now() - {ago}")
            await connection.execute("insert into import_error (filename) values ('empty.py')")
            trace = "Traceback:\n  File x\nNameError: a  \n\n"
            await connection.execute(
                "insert into import_error (filename, stacktrace, timestamp) values ('new.py', $1, now() + '1 s')", trace
            )
        await insert(server, 5, "queued")  # Airflow has not written the time
        found = await database.problems(300.0, 2)
        assert found.files == (ImportProblem("new.py", "NameError: a"), ImportProblem("empty.py", ""))
        assert (found.import_errors, found.waiting) == (2, 3)
        assert [task.queue for task in found.tasks] == ["q2", "q1"]
        assert (found.tasks[0].dag_id, found.tasks[0].map_index) == ("d", 1)
        assert 450 <= found.tasks[0].queued_s < 450 + SOON_S
        assert (await database.problems(3600.0, 2)).waiting == 0


async def test_without_the_right_to_look_nothing_is_said(tables: Server) -> None:
    async with superuser(tables) as connection:
        await connection.execute("revoke select (latest_heartbeat) on job from scaler")
    async with airflow(tables) as database:
        with pytest.raises(SourceError, match="permission denied"):
            await database.health(60.0)
        assert await database.counts() == {}, "other reads must go on"


async def test_a_migration_is_understood_without_a_new_scaler(server: Server) -> None:
    await create(server, "2.9")
    await insert(server, 2, "queued")
    async with airflow(server) as database:
        assert await database.counts() == {"default": DatabaseCount(2, 0)}
        async with superuser(server) as connection:
            await connection.execute("alter table task_instance add executor varchar(1000)")
            await connection.execute("grant select (executor) on task_instance to scaler")
        await insert(server, 5, "queued", executor="KubernetesExecutor")
        await create(server, "3.x")  # half-way through another migration the table is new, and the rights with it
        await insert(server, 1, "queued")
        await insert(server, 5, "queued", executor="KubernetesExecutor")
        await _known_again(database, {"default": DatabaseCount(1, 0)}, reconnect=server)


async def test_the_connection_can_write_nothing_whatever_the_role_may(tables: Server) -> None:
    async with superuser(tables) as connection:
        await connection.execute("grant all on task_instance to scaler")
    async with airflow(tables) as database:
        await database.counts()
        assert database._connection is not None
        with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
            await database._connection.execute("delete from task_instance")


@pytest.mark.fault("source slow", "The database's own statement timeout ends the query; nothing is left running there")
async def test_a_query_that_waits_is_ended_in_the_server_too(tables: Server) -> None:
    settings = DatabaseSettings(host=tables.host, port=tables.port, name="postgres", sslmode="disable")
    database = AirflowDatabase(settings, PASSWORD, deadline_s=0.5)
    async with superuser(tables) as holder, superuser(tables) as witness, holder.transaction():
        await holder.execute("lock table task_instance in access exclusive mode")
        with pytest.raises(SourceError, match="database"):
            await database.counts()
        async with asyncio.timeout(SOON_S):
            while await witness.fetchval(
                "select count(*) from pg_stat_activity where application_name = 'openmwaa-scaler'"
            ):
                await asyncio.sleep(0.02)
    async with asyncio.timeout(SOON_S):
        while True:
            try:
                assert await database.counts() == {}
            except SourceError:
                continue
            break
    await database.close()


@pytest.mark.fault("database fails over", "Unknown while it is away or in recovery, then known on one new connection")
async def test_a_server_that_crashes_and_comes_back_is_unknown_then_known(tables: Server) -> None:
    await insert(tables, 3, "queued")
    async with airflow(tables) as database:
        assert await database.counts() == {"default": DatabaseCount(3, 0)}
        for _ in range(2):
            tables.stop(signal.SIGQUIT)
            for _ in range(3):
                with pytest.raises(SourceError, match="database"):
                    await database.counts()
            tables.start()
            await _known_again(database, {"default": DatabaseCount(3, 0)})
            async with superuser(tables) as connection:
                ours = "select count(*) from pg_stat_activity where application_name = 'openmwaa-scaler'"
                assert await connection.fetchval(ours) == 1


@pytest.mark.fault("database fails over", "A server in recovery is refused: a replica may lag behind")
@pytest.mark.parametrize("hot_standby", ["on", "off"])
async def test_a_server_in_recovery_is_unknown_until_it_is_the_primary(tables: Server, hot_standby: str) -> None:
    await insert(tables, 3, "queued")
    async with airflow(tables) as database:
        assert await database.counts() == {"default": DatabaseCount(3, 0)}
        tables.stop()
        tables.standby(on=True)
        try:
            tables.start(f"hot_standby={hot_standby}")
            words = {"on": "TargetServerAttributeNotMatched", "off": "CannotConnectNow"}[hot_standby]
            async with asyncio.timeout(SOON_S):
                while words not in await _reason(database):
                    await asyncio.sleep(0.02)
        finally:
            tables.stop()
            tables.standby(on=False)
            tables.start()
        await _known_again(database, {"default": DatabaseCount(3, 0)})


async def test_after_a_failover_the_name_leads_to_the_new_primary(
    tables: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop, address = asyncio.get_running_loop(), tables.host
    resolved = []

    async def getaddrinfo(host: Any, port: Any, **_: Any) -> Any:
        resolved.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, port))]

    monkeypatch.setattr(loop, "getaddrinfo", getaddrinfo)
    with running_postgres("127.0.0.2", tables.port) as replica:
        monkeypatch.setattr(loop, "getaddrinfo", getaddrinfo)
        async with airflow(tables, host="database.internal") as database:
            assert await database.counts() == {}
            address = replica.host
            await create(replica, "3.x")
            await insert(replica, 7, "running")
            tables.stop(signal.SIGQUIT)
            try:
                await _known_again(database, {"default": DatabaseCount(0, 7)})
            finally:
                tables.start()
    assert resolved.count("database.internal") >= 2


async def _reason(database: AirflowDatabase) -> str:
    try:
        await database.counts()
    except SourceError as error:
        return error.reason
    return "answered"


async def _known_again(
    database: AirflowDatabase, expected: dict[str, DatabaseCount], reconnect: Server | None = None
) -> None:
    if reconnect is not None:
        async with superuser(reconnect) as connection:
            await connection.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'openmwaa-scaler'"
            )
    async with asyncio.timeout(SOON_S):
        while True:
            try:
                found = await database.counts()
            except SourceError:
                await asyncio.sleep(0.02)
            else:
                break
    assert found == expected
