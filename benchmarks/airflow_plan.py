# SPDX-License-Identifier: Apache-2.0
"""One look at a large Airflow: 1 000 DAGs, 10 000 running tasks, 10 million past ones, in the schema of Airflow 3.

`BENCH_PAST_RUNS=5 python -m benchmarks look_ahead.plan` is quicker: 500 past runs of each DAG take about 20 minutes.
"""

import asyncio
import os
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Any

import psutil

from openmwaa.local.demo.summary import percentiles
from scaler.adapters.airflow_database import AirflowDatabase
from scaler.adapters.airflow_plan import AirflowPlanReader
from scaler.config.settings import DatabaseSettings
from scaler.core.forecast.forecaster import Forecaster
from scaler.errors import SourceError
from tests.support.airflow import install_airflow
from tests.support.postgres import running_postgres
from tests.support.prepared_cluster import PreparedCluster, new_cluster

DAGS, TASKS = 1000, 20
PAST_RUNS = int(os.environ.get("BENCH_PAST_RUNS", "500"))
LOOKS, INTERVAL_S, DEADLINE_S = 40, 5.0, 2.0
LAUNCH_S, HORIZON_S = 65.0, 105.0
MIB = 1 << 20

WRITE = f"""
set session_replication_role = replica;
insert into dag (dag_id, is_paused, is_stale, bundle_name, max_active_tasks, max_consecutive_failed_dag_runs,
    has_task_concurrency_limits, next_dagrun_create_after, timetable_type, exceeds_max_non_backfill,
    partition_mapper_info)
select 'dag_' || i, false, false, 'b', 16, 0, false, now() + make_interval(secs => i % 3600), '', false, '[]'
from generate_series(1, {DAGS}) i;
insert into dag_version (id, version_number, dag_id, created_at, last_updated)
select gen_random_uuid(), 1, dag_id, now(), now() from dag;
insert into serialized_dag (id, dag_id, data, created_at, last_updated, dag_hash, dag_version_id)
select gen_random_uuid(), dag_id, jsonb_build_object('dag', jsonb_build_object('tasks', (
    select jsonb_agg(jsonb_build_object('__var', jsonb_build_object('task_id', 't' || n, 'op_kwargs', repeat('x', 2000),
        'downstream_task_ids', case when n <= 10 then jsonb_build_array('t' || (n + 10)) else '[]'::jsonb end)))
    from generate_series(1, {TASKS}) n))), now(), now(), md5(dag_id), id
from dag_version;
insert into dag_run (dag_id, run_id, run_type, state, start_date, run_after)
select 'dag_' || d, 'past_' || r, 'scheduled', 'success', now() - make_interval(hours => r), now()
from generate_series({PAST_RUNS}, 1, -1) r, generate_series(1, {DAGS}) d;
insert into task_instance (id, task_id, dag_id, run_id, map_index, start_date, end_date, state, pool, pool_slots, queue,
    try_number, custom_operator_name, hostname)
select gen_random_uuid(), 't' || n, dag_id, run_id, -1, start_date,
    start_date + make_interval(secs => 300 * (0.5 + random())), 'success', 'default_pool', 1, 'default', 1, '', 'w'
from dag_run, generate_series(1, {TASKS}) n;
insert into dag_run (dag_id, run_id, run_type, state, start_date, run_after)
select 'dag_' || d, 'now', 'scheduled', 'running', now() - interval '300 s', now() from generate_series(1, {DAGS}) d;
insert into task_instance (id, task_id, dag_id, run_id, map_index, start_date, end_date, state, pool, pool_slots, queue,
    try_number, custom_operator_name, hostname)
select gen_random_uuid(), 't' || n, dag_id, run_id, -1, now() - make_interval(secs => 300 * random()), now(),
    case when n <= 10 then 'running' when n <= 15 then 'success' end, 'default_pool', 1, 'default', 1, '', 'w' || n
from dag_run, generate_series(1, {TASKS}) n where run_id = 'now';
set maintenance_work_mem = '1GB'
"""
INDEXES = "select indexdef from pg_indexes where tablename = 'task_instance'"
CONSTRAINTS = "select conname from pg_constraint where conrelid = 'task_instance'::regclass and contype in ('p', 'u')"
CHANGE = """
update task_instance set start_date = now(), end_date = now(),
    state = case state when 'running' then 'success' else 'running' end
where run_id = 'now' and random() < case state when 'running' then 0.01 when 'success' then 0.02 else 0 end
"""
"""One task in a hundred ends, and as many start."""


class CountingDatabase(AirflowDatabase):
    """Counts the rows that the server returns."""

    rows = 0

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Callable[..., Awaitable[Sequence[Any]]]]:
        """Give a function that returns the rows of a query."""
        async with super().snapshot() as fetch:

            async def counted(query: str, *parameters: object) -> Sequence[Any]:
                found = await fetch(query, *parameters)
                self.rows += len(found)
                return found

            yield counted


def measure() -> dict[str, Any]:
    """Return the cost of the looks from the first one that shows the whole plan on, and of their forecasts."""
    return asyncio.run(_measure())


async def _measure() -> dict[str, Any]:
    with running_postgres() as server, tempfile.TemporaryDirectory() as home:
        async with new_cluster(server, install_airflow()) as cluster:
            # With Airflow's own migration.
            cluster.program = cluster.program.replace("module.Preparation._migrate = migrate", "")
            cluster.more = {"HOME": home}
            status, output = cluster.prepare()
            if status:
                raise RuntimeError(output)
            connection = await cluster.connect("postgres", "airflow")
            await _write(connection)
            rows = await connection.fetchval("select count(*) from task_instance")
            await connection.close(timeout=5)
            return {"task_instances": rows, **await _look(cluster)}


async def _write(connection: Any) -> None:
    """Write the rows; the indexes of the large table are made at the end, which takes a third of the time."""
    indexes = [row[0] for row in await connection.fetch(INDEXES)]
    for (name,) in await connection.fetch(CONSTRAINTS):
        await connection.execute(f"alter table task_instance drop constraint {name} cascade")
    for (name,) in await connection.fetch("select indexname from pg_indexes where tablename = 'task_instance'"):
        await connection.execute(f"drop index {name}")
    for statement in [*WRITE.split(";\n"), *indexes, "vacuum analyze"]:
        began = time.monotonic()
        await connection.execute(statement, timeout=3600)
        print(f"{statement.split('(')[0].strip()}: {time.monotonic() - began:.0f} s", flush=True)


async def _look(cluster: PreparedCluster) -> dict[str, Any]:
    settings = DatabaseSettings(host=cluster.server.host, port=cluster.server.port, sslmode="disable")
    database = CountingDatabase(settings, cluster.passwords["scaler"], deadline_s=DEADLINE_S)
    reader = AirflowPlanReader(database, time.monotonic, settings.executors, max_age_s=0.0)
    forecaster, process = Forecaster(), psutil.Process()
    before, first_s, unknown = process.memory_info().rss, [], list[str]()
    looks, cpu, rows, forecasts = list[float](), list[float](), list[int](), list[float]()
    try:
        while len(looks) < LOOKS:
            began, cpu_began, database.rows = time.monotonic(), time.process_time(), 0
            try:
                plan = await reader.plan(frozenset({"default"}), headroom=True)
            except SourceError as error:
                first_s.append(round(time.monotonic() - began, 3))
                unknown.append(str(error))
            else:
                looks.append(time.monotonic() - began)
                cpu.append(time.process_time() - cpu_began)
                rows.append(database.rows)
                cpu_began = time.process_time()
                forecaster.expect(plan, time.monotonic(), horizon_s=HORIZON_S, unknown_s=LAUNCH_S)
                forecasts.append(1000 * (time.process_time() - cpu_began))
                print(f"{len(looks)}: {plan.present} tasks, {looks[-1]:.2f} s, {forecasts[-1]:.0f} ms", flush=True)
            await cluster.query("postgres", "airflow", CHANGE)
            await asyncio.sleep(INTERVAL_S - (time.monotonic() - began) % INTERVAL_S)
    finally:
        await reader.close()
        await database.close()
    return {
        "running": plan.present,
        "looks_until_known": len(first_s),
        "first_looks_s": first_s,
        "unknown": unknown,
        "look_s": _shares(looks),
        "look_cpu_s": _shares(cpu),
        "rows": {"median": sorted(rows)[len(rows) // 2], "max": max(rows)},
        "forecast_cpu_ms": _shares(forecasts),
        "memory_mib": {"before": before // MIB, "after": process.memory_info().rss // MIB},
    }


def _shares(values: Sequence[float]) -> dict[str, float]:
    found = percentiles(values)
    return {**(asdict(found) if found else {}), "max": round(max(values), 2)}
