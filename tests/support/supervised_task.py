# SPDX-License-Identifier: Apache-2.0
"""Runs one task under Airflow's own supervisor with a worker's settings, without a server, and with a full disk.

The supervisor is that of a pool process of a worker. Its execution API is Airflow's "dry run". No process can write
more than a few KiB to a file: RLIMIT_FSIZE stands for a full disk.
"""

import subprocess
from collections.abc import Mapping
from pathlib import Path

from openmwaa_runtime.settings import airflow_environment
from tests.support.airflow import airflow_process

GROUP = "airflow-demo-Task"
STREAM = "dag_id=spoken/run_id=manual__2026-11-29T16_00_00+00_00/task_id=speak/attempt=1.log"
_PATH = "dag_id=spoken/run_id=manual__2026-11-29T16:00:00+00:00/task_id=speak/attempt=1.log"
PACED = """
began = time.monotonic()
for number in range(20_000):
    print(f"line {number}")
    if number % 50 == 0:
        time.sleep(max(0.0, began + number / 5_000 - time.monotonic()))
"""
"""20 000 lines, 5 000 a second."""
_DAG = """
from airflow.sdk import dag, task

@dag(schedule=None)
def spoken():
    @task
    def speak():
        import json, logging, os, pathlib, sys, time
{body}
    speak()
spoken()
"""
_PROGRAM = """
import json, os, resource, sys, uuid
from openmwaa_runtime.task_logs import worker_secrets
worker_secrets.remove(os.environ)  # as a worker's main process
from airflow import settings
settings.initialize()
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
import httpx
from airflow.sdk.api.client import Client, noop_handler
from airflow.executors.workloads.base import BundleInfo
from airflow.executors.workloads.task import TaskInstanceDTO
from airflow.sdk.execution_time.supervisor import supervise_task
from airflow.sdk.log import load_remote_log_handler

ti = TaskInstanceDTO(
    id=uuid.uuid4(), dag_version_id=uuid.uuid4(), task_id="speak", dag_id="spoken", try_number=1, map_index=-1,
    run_id="manual__2026-11-29T16:00:00+00:00", pool_slots=1, priority_weight=1, queue="default", hostname="worker",
)
MISSING = ("data_interval_start", "data_interval_end", "end_date", "partition_key")  # in Airflow's own answer
def answer(request):
    response = noop_handler(request)
    if not request.url.path.endswith("/run"):
        return response
    body = response.json()
    body["dag_run"] |= {{**dict.fromkeys(MISSING), "state": "running"}}
    return httpx.Response(200, json=body)

client = Client(base_url=None, dry_run=True, token="", transport=httpx.MockTransport(answer))
code = supervise_task(
    ti=ti, bundle_info=BundleInfo(name="dags"), dag_rel_path="spoken.py", token="", client=client, log_path={path!r}
)
load_remote_log_handler().writer.drain(0.5)
files = [str(path) for path in __import__("pathlib").Path({logs!r}).rglob("*")]
print(json.dumps({{"code": code, "files": files}}))
"""


def start(folder: Path, body: str, container: Mapping[str, str], **options: str) -> "subprocess.Popen[str]":
    """Start the supervisor of a task with the Python statements `body`."""
    dags = folder / "dags"
    dags.mkdir(exist_ok=True)
    indented = "\n".join(f"        {line}" for line in body.strip().splitlines())
    (dags / "spoken.py").write_text(_DAG.format(body=indented))
    environment = {**container, "HOME": str(folder), "AIRFLOW_HOME": str(folder), **options}
    environment["PYTHONDONTWRITEBYTECODE"] = "1"  # of a full disk: half of a module
    environment |= airflow_environment("worker", environment, "127.0.0.1")
    environment["AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST"] = (
        '[{"name": "dags", "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle", '
        f'"kwargs": {{"path": "{dags}"}}}}]'
    )
    logs = environment["AIRFLOW__LOGGING__BASE_LOG_FOLDER"]
    return airflow_process(_PROGRAM.format(path=_PATH, logs=logs), folder, **environment)
