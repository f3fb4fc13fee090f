# SPDX-License-Identifier: Apache-2.0
"""Airflow 2.11 as the image has it, without an environment: its database with the role of workers, and its task logs.

It takes 25 s of a CPU to install this Airflow, and 20 s to run these tests.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from openmwaa.config.airflow_versions import AIRFLOW_2, AIRFLOW_VERSIONS
from openmwaa_runtime.airflow_2.worker_rights import WORKER_RIGHTS
from tests.support.airflow import airflow_process, install_airflow, result_of
from tests.support.postgres import running_postgres
from tests.support.prepared_cluster import OWNERS, PROGRAM, PreparedCluster, new_cluster

pytestmark = pytest.mark.emulated
VERSION = next(row.version for row in AIRFLOW_VERSIONS.values() if row.major is AIRFLOW_2)
RIGHTS = """
SELECT coalesce(json_object_agg(table_name, rights), '{}') FROM (
    SELECT table_name, json_agg(privilege_type ORDER BY privilege_type) AS rights
    FROM information_schema.role_table_grants WHERE grantee = 'airflow_worker' GROUP BY table_name
) AS found
"""


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[PreparedCluster]:
    airflow = install_airflow(VERSION)
    with running_postgres() as server:
        async with new_cluster(server, airflow, (*OWNERS, "airflow_worker")) as found:
            # With Airflow's own migration: the names of its tables are what this tests.
            found.program = found.program.replace("module.Preparation._migrate = migrate", "")
            found.more = {
                "HOME": str(tmp_path),
                "OPENMWAA_WORKER_DATABASE_PASSWORD": found.passwords["airflow_worker"],
            }
            status, output = found.prepare(VERSION)
            assert status == 0, output
            yield found


async def test_the_role_of_workers_has_its_rights_and_no_others(cluster: PreparedCluster) -> None:
    granted = json.loads(await cluster.query("postgres", "airflow", RIGHTS))
    assert granted == {table: sorted(rights) for table, rights in WORKER_RIGHTS.items()}
    databases = (
        "SELECT array_agg(datname) FROM pg_database WHERE has_database_privilege('airflow_worker', oid, 'CONNECT')"
    )
    assert set(await cluster.query("postgres", "postgres", databases)) - {"postgres", "template0", "template1"} == {
        "airflow"
    }
    insert = "INSERT INTO log (dttm, event) VALUES (now(), 'mine') RETURNING id"
    assert await cluster.query("airflow_worker", "airflow", insert), "it may not use the sequence"
    # What another version has granted is gone after the next start, and tasks that run meanwhile keep their rights.
    await cluster.query("postgres", "airflow", "GRANT SELECT ON ab_user TO airflow_worker")
    start = asyncio.create_task(asyncio.to_thread(cluster.prepare, VERSION))
    async with contextlib.AsyncExitStack() as stack:
        worker = await cluster.connect("airflow_worker", "airflow")
        stack.push_async_callback(worker.close, timeout=5)
        while not start.done():
            await worker.fetchval("SELECT count(*) FROM dagrun_dataset_event")
    assert (await start)[0] == 0
    assert "ab_user" not in json.loads(await cluster.query("postgres", "airflow", RIGHTS))
    # With Airflow 3 no role of workers has access, although DAG code may have kept the password.
    cluster.airflow, cluster.program = install_airflow(), PROGRAM
    del cluster.more["OPENMWAA_WORKER_DATABASE_PASSWORD"]
    status, output = cluster.prepare()
    assert status == 0, output
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await cluster.query("airflow_worker", "airflow", "SELECT 1")


FORKED = """
import json, logging, os, signal, sys, time
sys.argv = ["airflow", "celery", "worker"]
import airflow  # loads the module, as its logging
from openmwaa_runtime.airflow_2 import task_logging

class Destination:
    place, limits, connect = "here", task_logging.STORE.writer._destination.limits, None
    lines = []
    def put(self, stream, lines):
        self.lines += [line.text for line in lines]
        return 0

task_logging.STORE.writer._destination = Destination()
handler = task_logging.SupervisedLogHandler("/nowhere")
handler.setFormatter(logging.Formatter("%(message)s"))
handler._render_filename = lambda ti, number: f"dag_id=d/attempt={number}.log"

class Task:
    try_number, raw, state = 1, False, "running"

handler.set_context(Task)
log = logging.getLogger("t")
log.propagate = False
log.setLevel("INFO")
log.addHandler(handler)
log.info("before the fork")
early = list(Destination.lines)
if not (task := os.fork()):
    Task.raw = True
    handler.set_context(Task)
    for number in range(LINES):
        log.info("line %d", number)
    if not (child := os.fork()):
        log.info("of a fork of the task")
        os._exit(0)
    os.waitpid(child, 0)
    log.info("x" * 100_000)
    log.info("the last word")
    os.kill(os.getpid(), signal.SIGKILL)
os.waitpid(task, 0)
log.info("after the task")
handler.close()
print(json.dumps({"early": early, "lines": Destination.lines}))
"""
LINES = 20_000


def test_a_killed_task_and_its_forks_lose_no_line(tmp_path: Path) -> None:
    url = "cloudwatch://arn:aws:logs:eu-west-1:123456789012:log-group:airflow-demo-Task"
    options = {
        "AIRFLOW__LOGGING__REMOTE_BASE_LOG_FOLDER": url,
        "AIRFLOW__LOGGING__LOGGING_CONFIG_CLASS": "openmwaa_runtime.airflow_2.task_logging.LOGGING_CONFIG",
    }
    with airflow_process(FORKED.replace("LINES", str(LINES)), tmp_path, VERSION, **options) as process:
        found = result_of(process)
    first, *lines, last = found["lines"]
    assert not found["early"], "a thread runs before the task is forked"
    assert (first, last) == ("before the fork", "after the task")
    assert [line for line in lines if line.startswith("line ")] == [f"line {number}" for number in range(LINES)]
    assert lines[LINES] == "of a fork of the task"
    assert "".join(lines[LINES + 1 : -1]) == "x" * 100_000, "a long line is not whole"
    assert lines[-1] == "the last word"
    assert not list(tmp_path.rglob("attempt=*")), "a log is on the disk"
