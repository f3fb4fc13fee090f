# SPDX-License-Identifier: Apache-2.0
"""A bucket laid out for MWAA runs unchanged with each version of Airflow; `make verify-versions` runs it."""

import asyncio
import json
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from openmwaa.config.airflow_versions import AIRFLOW_VERSIONS
from openmwaa.local.daemon import daemon_client
from openmwaa.local.demo.run import endpoints_of
from openmwaa.local.demo.watch import aws_client
from openmwaa.local.services.airflow_api import AirflowApi
from openmwaa.local.up import Ready
from tests.e2e.conftest import E2E, running
from tests.e2e.test_real_airflow import until
from tests.support.package_index import write_wheel

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(2400)]
BUCKET = Path(__file__).parent / "mwaa_bucket"
"""What a user of MWAA has; the files of plugins/ and a wheel make plugins.zip."""
ENVIRONMENT = """
name: mwaa-bucket
airflow_version: VERSION
environment_class: mw1.small
min_workers: 1
max_workers: 1
schedulers: 1
web_access: {allow_http: true}
metadata_database: {kind: RDS_POSTGRESQL, deletion_protection: false}
requirements_s3_path: requirements.txt
plugins_s3_path: plugins.zip
startup_script_s3_path: startup.sh
"""
DAG = "sales_report"


@pytest.fixture(scope="module", params=sorted(AIRFLOW_VERSIONS))
def environment(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[E2E]:
    folder = tmp_path_factory.mktemp(f"mwaa-{request.param}")
    shutil.copytree(BUCKET / "dags", folder / "dags")
    shutil.copy(BUCKET / "startup.sh", folder)
    (folder / "requirements.txt").write_text(
        (BUCKET / "requirements.txt").read_text().replace("VERSION", request.param)
    )
    wheel = write_wheel(folder / "wheels", "of-requirements", "1.2")
    with zipfile.ZipFile(folder / "plugins.zip", "w") as archive:
        for file in (*sorted((BUCKET / "plugins").glob("*.py")), wheel):
            archive.write(file, file.name)
    with running(folder, ENVIRONMENT.replace("VERSION", request.param)) as under_test:
        yield under_test


async def test_its_dags_requirements_plugins_and_startup_script_work_together(environment: E2E) -> None:
    deployed = await asyncio.to_thread(
        environment.openmwaa, "dags", "deploy", "dags", "-e", "environment.yaml", "--json"
    )
    assert deployed.returncode == 0, f"{deployed.stdout}\n{deployed.stderr}"
    assert "drafts/unfinished.py" in json.loads(deployed.stdout)["changed"]
    status = await asyncio.to_thread(daemon_client.status, environment.paths)
    assert status is not None, "the environment is not running"
    endpoints = await asyncio.to_thread(endpoints_of, Ready(environment.paths, status, 0.0), environment.environment)
    async with aiohttp.ClientSession(trust_env=False) as http, aws_client(endpoints, "logs") as logs:
        airflow = AirflowApi(http, endpoints.web_url, endpoints.authorize, environment.environment.airflow)
        await airflow.unpause(DAG)
        run = await airflow.trigger(DAG, {})

        async def has_ended() -> bool:
            return await airflow.run_state(DAG, run) in {"success", "failed"}

        await until("the run ends", has_ended, 600)
        found = {(task.task_id, task.map_index): task for task in await airflow.task_instances(DAG, run)}
        logged = {key: "\n".join(await airflow.log_lines(DAG, run, task)) for key, task in found.items()}
        assert {task.state for task in found.values()} == {"success"}, logged
        for index, place in enumerate(("Aachen", "Bonn", "Dresden")):
            assert f"{place}: 1.2 on production, worker" in logged["report", index], logged
        assert f"Hello from plugins.zip, {DAG}" in logged["greet", -1], logged
        for group, stream, text in (
            ("Worker", "startup_script_execution/", "preparing a worker"),
            ("Scheduler", "requirements_install/", "of-requirements==1.2"),
            ("Task", f"dag_id={DAG}/", "Hello from plugins.zip"),
        ):
            assert text in await _text(logs, f"airflow-mwaa-bucket-{group}", stream), f"{group} has no {text}"


async def _text(logs: object, group: str, prefix: str) -> str:
    """Return the text of the streams that MWAA's users know, from CloudWatch."""
    found = await logs.describe_log_streams(logGroupName=group, logStreamNamePrefix=prefix)  # type: ignore[attr-defined]
    texts = []
    for stream in found["logStreams"]:
        answer = await logs.get_log_events(  # type: ignore[attr-defined]
            logGroupName=group, logStreamName=stream["logStreamName"], startFromHead=True
        )
        texts += [event["message"] for event in answer["events"]]
    return "\n".join(texts)
