# SPDX-License-Identifier: Apache-2.0
"""Airflow 2.11 in a complete environment with artefacts of MWAA; `make verify-versions` runs it."""

import asyncio
import json
import re
import zipfile
from collections.abc import Iterator

import aiohttp
import pytest

from openmwaa.local.daemon import daemon_client, orphans
from openmwaa.local.demo.run import Burst, endpoints_of
from openmwaa.local.demo.watch import aws_client
from openmwaa.local.services.airflow_api import AirflowApi, TaskInstance
from openmwaa.local.up import Ready
from tests.e2e.conftest import E2E, YAML, running
from tests.e2e.test_real_airflow import FLAWLESS, a_burst, flaws_of, kill_session_of, until
from tests.support.package_index import write_wheel

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(2400)]
ENVIRONMENT = YAML.replace(
    """  scheduler.task_instance_heartbeat_timeout: 40
  scheduler.task_instance_heartbeat_timeout_detection_interval: 5
""",
    """  core.dags_are_paused_at_creation: False
  scheduler.scheduler_zombie_task_threshold: 40
  scheduler.zombie_detection_interval: 5
""",
)
ENVIRONMENT += """
airflow_version: 2.11.2
requirements_s3_path: requirements.txt
plugins_s3_path: plugins.zip
startup_script_s3_path: startup.sh
"""
STATES = {"rights": "success", "total": "success", "skipped": "skipped", "right": "skipped", "flaky": "success"}
"""The states of some tasks of `operators`; all others succeed."""
LINES = 20_000


@pytest.fixture(scope="module")
def airflow_2(tmp_path_factory: pytest.TempPathFactory) -> Iterator[E2E]:
    folder = tmp_path_factory.mktemp("airflow-2")
    wheel = write_wheel(folder / "wheels", "of-requirements", "1.2")
    (folder / "requirements.txt").write_text(
        "--constraint https://raw.githubusercontent.com/apache/airflow/constraints-2.11.2/constraints-3.11.txt\n"
        "--no-index\n--find-links /usr/local/airflow/plugins\nof-requirements==1.2\n"
    )
    with zipfile.ZipFile(folder / "plugins.zip", "w") as archive:
        archive.write(wheel, wheel.name)
        archive.writestr("of_plugins.py", "GREETING = 'from plugins.zip'\n")
    (folder / "startup.sh").write_text('export STAGE="$MWAA_AIRFLOW_COMPONENT"\n')
    with running(folder, ENVIRONMENT) as under_test:
        yield under_test


def test_two_bursts_scale_the_fleet_to_4_and_back_to_1_and_no_task_is_lost(airflow_2: E2E) -> None:
    words = ("--tasks", "36", "--seconds", "4", "--keep", "--out", "out")
    done = airflow_2.openmwaa("local", "demo", "environment.yaml", *words)
    output = f"\n{done.stdout}\n{done.stderr}"
    assert done.returncode == 0, f"`openmwaa local demo` ends with {done.returncode}:{output}"
    counted = json.loads((airflow_2.file.parent / "out" / "demo.json").read_text())
    expected = FLAWLESS | {"tasks_succeeded": 72}
    flaws = {name: counted[name] for name in expected if counted[name] != expected[name]}
    assert not flaws, f"two bursts of 36 tasks are not flawless: {flaws}{output}"
    assert re.search(r"task \d+ is\s+done", done.stdout), (
        f"the log of a task whose worker was removed is missing:{output}"
    )


async def test_operators_have_the_rights_that_they_need_and_no_others(airflow_2: E2E) -> None:
    folder = airflow_2.file.parent / "dags"
    folder.mkdir(exist_ok=True)
    (folder / "operators.py").write_text(OPERATORS)
    words = ("dags", "deploy", "dags", "--environment", "environment.yaml")
    deployed = await asyncio.to_thread(airflow_2.openmwaa, *words)
    assert deployed.returncode == 0, f"{deployed.stdout}\n{deployed.stderr}"
    status = await asyncio.to_thread(daemon_client.status, airflow_2.paths)
    assert status is not None, "the environment is not running"
    endpoints = await asyncio.to_thread(endpoints_of, Ready(airflow_2.paths, status, 0.0), airflow_2.environment)
    async with aiohttp.ClientSession(trust_env=False) as http, aws_client(endpoints, "logs") as logs:
        airflow = AirflowApi(http, endpoints.web_url, endpoints.authorize, airflow_2.environment.airflow)
        run = await airflow.trigger("operators", {})

        async def has_ended() -> bool:
            return await airflow.run_state("operators", run) in {"success", "failed"}

        await until("the run ends", has_ended, 900)
        tasks = {task.task_id: task for task in await airflow.task_instances("operators", run)}

        async def text(task: TaskInstance) -> str:
            return "\n".join(await airflow.log_lines("operators", run, task))

        wrong = [task for task in tasks.values() if task.state != STATES.get(task.task_id, "success")]
        assert not wrong, [(task, await text(task)) for task in wrong]
        assert tasks["flaky"].try_number == 2
        assert "ALLOWED" not in (rights := await text(tasks["rights"])), rights
        assert rights.count("refused") == 7, rights
        artefacts = await text(tasks["artefacts"])
        assert "1.2 / from plugins.zip / worker" in artefacts, artefacts
        environ = await text(tasks["environ"])
        assert "of the database: ***" in environ, environ
        assert "PASSWORD" not in environ.replace("OPENMWAA_DATABASE_PASSWORDS", ""), environ
        assert (await text(tasks["flood"])).count("INFO - line ") == LINES
        assert "of a fork" in await text(tasks["fork"])
        assert not list(airflow_2.paths.tasks.rglob("attempt=*")), "a log is on the disk"
        await until("a dataset starts its DAG", lambda: _has_run(airflow, "consumer"), 120)
        streams = await logs.describe_log_streams(
            logGroupName="airflow-e2e-Task", logStreamNamePrefix="dag_id=operators/run_id="
        )
        names = {stream["logStreamName"].rpartition("/task_id=")[2] for stream in streams["logStreams"]}
        assert {"flood/attempt=1.log", "deferred/attempt=1.log"} <= names, names


async def _has_run(airflow: AirflowApi, dag_id: str) -> bool:
    tasks = await airflow.task_instances(dag_id, "~")
    return {task.state for task in tasks} == {"success"}


async def test_tasks_of_a_killed_worker_are_retried_and_finish(airflow_2: E2E) -> None:
    async with a_burst(airflow_2, Burst(tasks=3, seconds=25)) as burst:
        await until("a task starts", burst.has_started, 240)
        first = burst.journal.lines[0]
        await until("the log of a running task is readable", lambda: burst.log_has(first.task, "has started"), 60)
        assert kill_session_of(first.worker), f"no process listens on {first.worker}, so no worker was killed"
        await until("the run ends", burst.has_ended, 600)
        tasks = await burst.tasks()
        assert await burst.log_has(first.task, "has started"), "the log of a try is lost with its worker"
    assert {task.state for task in tasks} == {"success"}, tasks
    assert burst.journal.interrupted, "no task was interrupted, so the kill had no effect"
    assert not flaws_of(burst.journal).keys() - {"interrupted"}


def test_an_author_checks_and_runs_a_dag(airflow_2: E2E) -> None:
    (airflow_2.file.parent / "dags" / "wrong.py").write_text(WRONG)
    checked = airflow_2.openmwaa("dags", "check", "dags", "--environment", "environment.yaml", "--json")
    assert checked.returncode == 1, f"{checked.stdout}\n{checked.stderr}"
    found = {(finding["kind"], finding["file"]) for finding in json.loads(checked.stdout)["findings"]}
    assert ("queue", "wrong.py") in found, found
    assert {file for _, file in found} == {"wrong.py"}, found
    run = airflow_2.openmwaa("dags", "test", "target", "--folder", "dags", "--environment", "environment.yaml")
    assert run.returncode == 0, f"{run.stdout}\n{run.stderr}"
    assert "one: success" in run.stdout


def test_down_leaves_no_process(airflow_2: E2E) -> None:
    done = airflow_2.openmwaa("local", "down", "environment.yaml")
    assert done.returncode == 0, done.stderr
    assert not orphans.remaining(airflow_2.paths)


WRONG = """
from airflow.decorators import dag, task

@dag(schedule=None)
def wrong():
    @task(queue="gpu")
    def build():
        pass
    build()
wrong()
"""
OPERATORS = """
import os
import time
from datetime import datetime, timedelta

from airflow import Dataset
from airflow.decorators import dag, task
from airflow.exceptions import AirflowSkipException
from airflow.models import Variable
from airflow.operators.bash import BashOperator
from airflow.operators.python import BranchPythonOperator, get_current_context
from airflow.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sensors.python import PythonSensor
from airflow.sensors.time_delta import TimeDeltaSensorAsync

MADE = Dataset("s3://bucket/made")
DEFAULTS = {"start_date": datetime(2026, 1, 1), "catchup": False}
FORBIDDEN = (
    "SELECT * FROM ab_user",
    "SELECT * FROM session",
    "UPDATE connection SET host = 'x'",
    "UPDATE slot_pool SET slots = 1",
    "DELETE FROM dag",
    "CREATE TABLE mine (x int)",
    "SELECT * FROM openmwaa.prepared",
)


@dag(schedule=None, **DEFAULTS)
def operators():
    @task
    def numbers():
        return [1, 2, 3]

    @task
    def double(number):
        return 2 * number

    @task
    def total(doubled):
        assert sum(doubled) == 12

    @task(retries=1, retry_delay=timedelta(seconds=1))
    def flaky():
        if get_current_context()["ti"].try_number == 1:
            raise ValueError("the first try fails")

    @task
    def variable():
        Variable.set("mine", "1")
        assert Variable.get("mine", "none") == "1"
        Variable.delete("mine")

    @task
    def environ():
        from airflow.configuration import conf

        print("\\n".join(f"{name}={value}" for name, value in os.environ.items()))
        print("of the database:", conf.get("database", "sql_alchemy_conn"))

    @task
    def artefacts():
        import of_plugins
        import of_requirements

        print(of_requirements.VERSION, "/", of_plugins.GREETING, "/", os.environ["STAGE"])

    @task
    def flood():
        for number in range(20_000):
            print(f"line {number}")

    @task
    def fork():
        if not os.fork():
            print("of a fork")
            os._exit(0)
        os.wait()

    @task
    def skipped():
        raise AirflowSkipException("skipped")

    @task
    def rights():
        from airflow.utils.session import create_session
        from sqlalchemy import text

        for statement in FORBIDDEN:
            try:
                with create_session() as session:
                    session.execute(text(statement))
                print("ALLOWED:", statement)
            except Exception as error:
                assert "InsufficientPrivilege" in str(error), error
                print("refused:", statement)

    @task(outlets=[MADE])
    def makes():
        pass

    total(double.expand(number=numbers()))
    flaky(), variable(), environ(), artefacts(), flood(), fork(), skipped(), rights(), makes()
    TimeDeltaSensorAsync(task_id="deferred", delta=timedelta(seconds=1))
    PythonSensor(
        task_id="rescheduled", mode="reschedule", poke_interval=2, python_callable=lambda: int(time.time()) % 4 > 1
    )
    BashOperator(task_id="bash", bash_command="echo from bash")
    branch = BranchPythonOperator(task_id="branch", python_callable=lambda: "left")
    branch >> [BashOperator(task_id=side, bash_command="true") for side in ("left", "right")]
    first = TriggerDagRunOperator(
        task_id="trigger", trigger_dag_id="target", trigger_run_id="same", wait_for_completion=True, poke_interval=2
    )
    again = TriggerDagRunOperator(
        task_id="trigger_again", trigger_dag_id="target", trigger_run_id="same", reset_dag_run=True
    )
    first >> again


@dag(schedule=None, **DEFAULTS)
def target():
    @task
    def one():
        pass

    one()


@dag(schedule=[MADE], **DEFAULTS)
def consumer():
    @task
    def two():
        pass

    two()


operators(), target(), consumer()
"""
