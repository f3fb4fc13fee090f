# SPDX-License-Identifier: Apache-2.0
"""New passwords for database roles, while a Celery worker runs with the old ones.

The worker has the result backend of the image's runtime. Its broker is a folder.
"""

import asyncio
import json
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import asyncpg
import pytest

from tests.support.airflow import install_airflow
from tests.support.postgres import Server, running_postgres
from tests.support.prepared_cluster import OWNERS, PreparedCluster, new_cluster

pytestmark = pytest.mark.emulated

WITHIN_S = 300
WORKER = """
import os, sys, time
from celery import Celery, signals
from openmwaa_runtime.settings import airflow_environment

folder = sys.argv[1]
backend = airflow_environment("worker", os.environ, "127.0.0.1")["AIRFLOW__CELERY__RESULT_BACKEND"]
app = Celery(broker="filesystem://", backend=backend)
app.conf.update(
    broker_transport_options={name: folder for name in ("data_folder_in", "data_folder_out", "control_folder")},
    task_track_started=True,
    worker_enable_remote_control=False,
    broker_connection_retry_on_startup=True,
)

@app.task(name="work")
def work(after):
    while not os.path.exists(after):
        time.sleep(0.05)

@signals.worker_ready.connect
def begin(**_):
    for task_id, after in (("before", folder), ("during", f"{folder}/rotated"), ("after", f"{folder}/rotated")):
        work.apply_async((after,), task_id=task_id)
        time.sleep(0.01)  # the folder's order is that of milliseconds

app.worker_main(["worker", "--concurrency", "1", "--without-mingle", "--without-gossip", "--loglevel", "info"])
"""


@pytest.fixture(scope="module")
def airflow() -> Path:
    return install_airflow()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running_postgres() as found:
        yield found


@pytest.fixture
async def cluster(server: Server, airflow: Path) -> AsyncIterator[PreparedCluster]:
    async with new_cluster(server, airflow) as found:
        yield found


class RotationWorker:
    """A Celery worker with a started task, which ends with `finish`, and a reserved task."""

    def __init__(self, cluster: PreparedCluster, folder: Path) -> None:
        self._cluster = cluster
        self._folder = folder / "queue"
        self._folder.mkdir()
        self._log = folder / "worker.log"

    def __enter__(self) -> "RotationWorker":
        environ = self._cluster.environ() | {
            "HOME": str(self._folder.parent),
            "OPENMWAA_QUEUES": json.dumps({"default": "http://queue"}),
            "OPENMWAA_EXECUTION_API_URL": "http://nowhere",
            "OPENMWAA_WORKER_QUEUES": "default",
            "OPENMWAA_WORKER_SLOTS": "1",
            "OPENMWAA_DAG_FOLDER": str(self._folder),
        }
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [self._cluster.airflow / "bin" / "python", "-c", WORKER, str(self._folder)],
                env=environ,
                cwd=self._folder.parent,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return self

    def __exit__(self, *_: object) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(120)

    def finish(self) -> None:
        (self._folder / "rotated").touch()

    @property
    def log(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")

    async def until(self, what: str, condition: Callable[[], Awaitable[bool]]) -> None:
        try:
            async with asyncio.timeout(WITHIN_S):
                while not await condition():
                    assert self._process.poll() is None, f"the worker ended:\n{self.log}"
                    await asyncio.sleep(0.1)
        except TimeoutError:
            pytest.fail(f"not within {WITHIN_S} s: {what}; the log:\n{self.log}")


def rotate(cluster: PreparedCluster, letter: str) -> dict[str, str]:
    """Set a new password for one login role of every owner. Returns the values of the secrets."""
    passwords = {owner: f"{owner}-{letter}-{os.urandom(8).hex()}" for owner in OWNERS}
    cluster.passwords = {
        owner: json.dumps({"username": f"{owner}_{letter}", "password": password})
        for owner, password in passwords.items()
    }
    return cluster.passwords


async def state(cluster: PreparedCluster, task: str, secret: str) -> object:
    login = json.loads(secret)
    connection = await cluster.connect(login["username"], "celery", login["password"])
    try:
        return await connection.fetchval("SELECT status FROM celery_taskmeta WHERE task_id = $1", task)
    finally:
        await connection.close(timeout=5)


async def cut_connections(cluster: PreparedCluster) -> None:
    """Close all connections, as a fail-over does: an open connection does not use the password."""
    query = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename LIKE 'celery_results%'"
    cut = await cluster.query("postgres", "postgres", query)
    assert cut, "the worker had no connection, so the test shows nothing"


async def test_a_running_worker_survives_the_rotation_of_its_roles_secret(
    cluster: PreparedCluster, tmp_path: Path
) -> None:
    old = rotate(cluster, "a")["celery_results"]
    assert cluster.prepare()[0] == 0
    with RotationWorker(cluster, tmp_path) as worker:

        async def until_state(task: str, expected: str, secret: str) -> None:
            async def is_it() -> bool:
                return await state(cluster, task, secret) == expected

            await worker.until(f"{task} is {expected}", is_it)

        await until_state("before", "SUCCESS", old)
        await until_state("during", "STARTED", old)
        new = rotate(cluster, "b")["celery_results"]
        status, output = cluster.prepare()
        assert status == 0, output
        await cut_connections(cluster)
        worker.finish()
        await until_state("during", "SUCCESS", new)
        await until_state("after", "SUCCESS", new)
        assert "authentication failed" not in worker.log


async def test_with_one_login_role_the_same_worker_is_locked_out(cluster: PreparedCluster, tmp_path: Path) -> None:
    """The reason for two login roles; it also shows that the test above can fail."""
    assert cluster.prepare()[0] == 0
    with RotationWorker(cluster, tmp_path) as worker:
        old = json.dumps({"username": "celery_results", "password": cluster.passwords["celery_results"]})

        async def begun() -> bool:
            return await state(cluster, "during", old) == "STARTED"

        await worker.until("during is STARTED", begun)
        cluster.passwords = {owner: f"new-{password}" for owner, password in cluster.passwords.items()}
        assert cluster.prepare()[0] == 0
        await cut_connections(cluster)
        worker.finish()

        async def locked_out() -> bool:
            return 'password authentication failed for user "celery_results"' in worker.log

        await worker.until("the worker is locked out", locked_out)


async def test_both_login_roles_use_the_same_objects(cluster: PreparedCluster) -> None:
    secrets = {}
    for letter in "ab":
        secrets[letter] = rotate(cluster, letter)
        assert cluster.prepare()[0] == 0
    owner = await cluster.query(
        "postgres", "airflow", "SELECT tableowner FROM pg_tables WHERE tablename='task_instance'"
    )
    can_log_in = f"SELECT array_agg(rolname::text) FROM pg_roles WHERE rolcanlogin AND rolname IN {OWNERS}"
    assert await cluster.query("postgres", "postgres", can_log_in) is None, "an owner can log in without a login role"
    assert owner == "airflow", "a table belongs to the first login role, so the second one cannot migrate it"
    for letter, secret in secrets.items():
        login = json.loads(secret["airflow"])
        connection = await cluster.connect(login["username"], "airflow", login["password"])
        await connection.execute(f"ALTER TABLE task_instance ADD COLUMN by_{letter} int")
        assert await connection.fetchval("SELECT current_user") == "airflow"
        await connection.close()


async def test_the_second_next_rotation_locks_the_first_password_out(cluster: PreparedCluster) -> None:
    first = rotate(cluster, "a")
    assert cluster.prepare()[0] == 0
    for letter in "ba":
        rotate(cluster, letter)
        assert cluster.prepare()[0] == 0
    for owner in OWNERS:
        login = json.loads(first[owner])
        database = "celery" if owner == "celery_results" else "airflow"
        with pytest.raises(asyncpg.InvalidPasswordError):
            await cluster.connect(login["username"], database, login["password"])
