# SPDX-License-Identifier: Apache-2.0
"""The plan that the scaler's role reads from the real schemas of Airflow 3 and 2, with DAGs that Airflow serialized."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from openmwaa.config.airflow_versions import AIRFLOW_2, AIRFLOW_VERSIONS
from scaler.adapters.airflow_database import AirflowDatabase
from scaler.adapters.airflow_plan import STRUCTURES, WORDS_2, WORDS_3, AirflowPlanReader
from scaler.config.settings import DatabaseSettings
from scaler.core.forecast.forecaster import Forecaster
from scaler.core.forecast.plan import Arrivals, DagShape, RunInProgress
from tests.support.airflow import VERSION, airflow_process, install_airflow, result_of
from tests.support.postgres import running_postgres
from tests.support.prepared_cluster import OWNERS, PreparedCluster, new_cluster

pytestmark = [pytest.mark.emulated, pytest.mark.slow]
OLD = next(row.version for row in AIRFLOW_VERSIONS.values() if row.major is AIRFLOW_2)
DEFAULT = frozenset({"default"})
NOW = 1000.0

DAGS = """
from datetime import datetime
try:
    from airflow.sdk import Asset, dag, task
except ImportError:
    from airflow.datasets import Dataset as Asset
    from airflow.decorators import dag, task

TABLE = Asset("s3://bucket/table")

@dag(schedule="@daily", start_date=datetime(2026, 1, 1), catchup=False)
def nightly():
    @task
    def extract(): return [1, 2]
    @task
    def load(item): ...
    @task(queue="big", outlets=[TABLE])
    def report(): ...
    load.expand(item=extract()) >> report()

@dag(schedule=[TABLE], start_date=datetime(2026, 1, 1))
def consumer():
    @task
    def use(secret): ...
    use("a user's word")

nightly()
consumer()
"""
SERIALIZE = """
import sys
from airflow.__main__ import main
sys.argv = ["airflow", "dags", "reserialize"]
main()
print("[]")
"""


class Scheduler:
    """Writes into a prepared database what a scheduler would."""

    def __init__(self, cluster: PreparedCluster, version: str) -> None:
        self.cluster = cluster
        self.version = version

    async def write(self, statement: str, *values: Any) -> Any:
        connection = await self.cluster.connect("postgres", "airflow")
        try:
            return await connection.fetchval(statement, *values)
        finally:
            await connection.close(timeout=5)

    async def run(self, name: str, state: str, began_s: float = 60.0, dag: str = "nightly") -> None:
        more = "execution_date" if self.version == OLD else "run_after"
        await self.write(
            f"insert into dag_run (dag_id, run_id, run_type, state, start_date, {more})"
            " values ($1, $2, 'manual', $3, now() - make_interval(secs => $4), clock_timestamp())",
            *(dag, name, state, began_s),
        )

    async def task(
        self, run: str, task: str, state: str | None, ago_s: float = 5.0, lasted_s: float = 0.0, **columns: Any
    ) -> None:
        fixed = {"map_index": -1, "queue": "default", "pool": "default_pool", "pool_slots": 1, "hostname": ""}
        fixed |= {"try_number": 1, "dag_id": "nightly", "custom_operator_name": ""} | columns
        names, values = ", ".join(fixed), ", ".join(f"${index}" for index in range(6, 6 + len(fixed)))
        ident = ("", "") if self.version == OLD else ("id, scheduled_dttm, ", "gen_random_uuid(), {begin}, ")
        begin, end = "now() - make_interval(secs => $4)", "now() - make_interval(secs => $4::float8 - $5::float8)"
        await self.write(
            f"insert into task_instance ({ident[0]}run_id, task_id, state, start_date, queued_dttm, updated_at,"
            f" end_date, {names}) values ({ident[1].format(begin=begin)}$1, $2, $3::text, {begin}, {begin}, {begin},"
            f" case when $3::text in ('success', 'failed', 'skipped') then {end} end, {values})",
            *(run, task, state, ago_s, lasted_s, *fixed.values()),
        )

    def reader(self) -> tuple[AirflowDatabase, AirflowPlanReader]:
        settings = DatabaseSettings(host=self.cluster.server.host, port=self.cluster.server.port, sslmode="disable")
        database = AirflowDatabase(settings, self.cluster.passwords["scaler"], deadline_s=30.0)
        reader = AirflowPlanReader(database, lambda: NOW, settings.executors, max_age_s=-1.0)
        return database, reader


@pytest.fixture(params=[VERSION, OLD])
async def scheduler(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Scheduler]:
    version = request.param
    with running_postgres() as server:
        owners = (*OWNERS, "airflow_worker") if version == OLD else OWNERS
        async with new_cluster(server, install_airflow(version), owners) as cluster:
            found = Scheduler(cluster, version)
            # With Airflow's own migration: the names of its tables and columns are what this tests.
            cluster.program = cluster.program.replace("module.Preparation._migrate = migrate", "")
            cluster.more = {"HOME": str(tmp_path)}
            if version == OLD:
                cluster.more["OPENMWAA_WORKER_DATABASE_PASSWORD"] = cluster.passwords["airflow_worker"]
            status, output = cluster.prepare(version)
            assert status == 0, output
            dags = tmp_path / "dags"
            dags.mkdir()
            (dags / "all.py").write_text(DAGS, encoding="utf-8")
            yield found


async def serialize(scheduler: Scheduler, folder: Path, *, compressed: bool = False) -> None:
    cluster = scheduler.cluster
    login = f"airflow:{quote(cluster.passwords['airflow'], safe='')}@{cluster.server.host}:{cluster.server.port}"
    options = {
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"postgresql+psycopg2://{login}/airflow",
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__CORE__COMPRESS_SERIALIZED_DAGS": str(compressed),
    }
    with airflow_process(SERIALIZE, folder, scheduler.version, **options) as process:
        result_of(process)


def tasks_of(run: RunInProgress) -> set[tuple[str, bool, str | None]]:
    return {(NIGHTLY[task.task], task.running, task.worker) for task in run.active}


NIGHTLY = ("extract", "load", "report")


def instances(shape: DagShape) -> dict[str, float]:
    return dict(zip(NIGHTLY, shape.instances, strict=True))


@pytest.mark.parametrize("compressed", [False, True], ids=["plain", "compressed"])
async def test_the_scaler_reads_what_airflow_plans(scheduler: Scheduler, tmp_path: Path, compressed: bool) -> None:
    await serialize(scheduler, tmp_path, compressed=compressed)
    await scheduler.write("update dag set next_dagrun_create_after = now() + interval '400 s' where dag_id = 'nightly'")
    for number, lasted_s in enumerate((10.0, 20.0, 40.0)):
        await scheduler.run(f"past-{number}", "success", 3600)
        await scheduler.task(f"past-{number}", "extract", "success", 3600, lasted_s, hostname="worker-1")
        for index in range(number + 2):
            await scheduler.task(f"past-{number}", "load", "success", 3500, 7.0, map_index=index, hostname="worker-1")
        await scheduler.task(f"past-{number}", "empty", "success", 3500)  # on no worker
    for began_s in (84_600.0 - 60, 84_600.0 + 60, 86_400.0 + 1_700, 170_000.0):
        await scheduler.run(f"by-hand-{began_s}", "success", began_s, dag="consumer")
    await scheduler.run("now", "running")
    await scheduler.task("now", "extract", "success", 60, 20.0)
    await scheduler.task("now", "load", "running", 5, map_index=0, hostname="worker-1")
    await scheduler.task("now", "load", "queued", 400, map_index=1)
    await scheduler.task("now", "load", "scheduled", 100, map_index=2)
    await scheduler.task("now", "load", "deferred", 5, map_index=3)
    await scheduler.task("now", "report", None, 60, queue="big")
    await scheduler.run("new", "running", 2.0)
    for task in NIGHTLY:
        await scheduler.task("new", task, None, 1)

    database, reader = scheduler.reader()
    plan = await reader.plan(DEFAULT, headroom=True)
    shape = plan.shapes["nightly"]
    assert (shape.upstream, shape.downstream) == ((0, 1, 2), ((1,), (2,), ()))
    assert instances(shape) == {"extract": 1.0, "load": 3.0, "report": 0.0}
    assert [round(usual.typical_s, 3) if usual else None for usual in shape.durations] == [20.0, 7.0, None]
    assert sorted(shape.past_tasks) == [3, 4, 5]
    assert shape.starts == {2: ("consumer",)}
    assert plan.shapes["consumer"].durations == (None,)
    now, new = sorted(plan.runs, key=lambda run: run.run_id, reverse=True)
    assert (now.ended, tasks_of(now)) == (1, {("load", True, "worker-1"), ("load", False, None)})
    assert (new.ended, tasks_of(new)) == (0, {("extract", False, None)}), "the scheduler has not seen it yet"
    assert now.pace == pytest.approx(1.0)
    # The runs of today are none of the days before; `past-0` is not of this hour.
    assert plan.arrivals == (Arrivals("consumer", 2 / 3600),)
    assert plan.present == 2
    assert plan.waiting_since == pytest.approx(NOW - 400, abs=100)
    (due,) = plan.next_runs
    assert due.dag_id == "nightly"
    assert due.at == pytest.approx(NOW + 400, abs=100)
    forecast = Forecaster().expect(plan, NOW, horizon_s=100, unknown_s=60)
    assert forecast.slots[0] > 2
    assert (await reader.plan(frozenset({"big"}))).present == 0

    assert (await reader.plan(DEFAULT)).runs[0] is plan.runs[0], "an unchanged run is made again"
    await scheduler.write("update task_instance set state = 'success', end_date = now() where state <> 'success'")
    changed = await reader.plan(DEFAULT)
    assert {run.run_id: run.ended for run in changed.runs}["nightly/now"] == 3
    assert changed.present == 0
    await reader.close()
    await database.close()


async def test_the_arguments_of_tasks_stay_in_the_database(scheduler: Scheduler, tmp_path: Path) -> None:
    await serialize(scheduler, tmp_path)
    words, key = (WORDS_2, "dag_id") if scheduler.version == OLD else (WORDS_3, "dag_version_id")
    keys = [await scheduler.write(f"select {key}::text from serialized_dag where dag_id = 'consumer'")]
    stored = await scheduler.write("select data::text from serialized_dag where dag_id = 'consumer'")
    database, _ = scheduler.reader()
    async with database.snapshot() as fetch:
        ((_, _, _, tasks),) = await fetch(STRUCTURES.format(**words), keys)
    assert ("a user's word" in stored, "a user's word" in tasks, "use" in tasks) == (True, False, True)
    await database.close()
