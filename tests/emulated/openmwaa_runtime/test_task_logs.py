# SPDX-License-Identifier: Apache-2.0
"""Task logs with Airflow's own supervisor and an emulated AWS: every line, no disk, no credential."""

import json
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import psutil
import pytest

from openmwaa_runtime.settings import airflow_environment
from openmwaa_runtime.task_logs.cloudwatch import CloudWatchDestination
from openmwaa_runtime.task_logs.s3 import S3Destination
from tests.support.airflow import result_of, run_airflow_program
from tests.support.emulator import find_emulator, free_port, running_emulator
from tests.support.supervised_task import GROUP, PACED, STREAM, start

pytestmark = pytest.mark.emulated

PATIENCE_S = 120.0
AWS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
ODD = r"""
print("x" * 700_000)
os.write(1, b"ol\xe9 ol\xe9\n")
os.write(1, "gr\u00fcn\n".encode())
print("half of a pair: \udc80".encode("utf-8", "surrogatepass"))
logging.getLogger("mine").warning("a warning")
print(json.dumps(dict(os.environ)))
print(pathlib.Path("/proc/self/environ").read_bytes())
print("the password is secret-broker/?@:% and secret-celery")
print("last")
"""


READER = """
import json
from airflow import settings
settings.initialize()
from airflow.logging_config import get_remote_task_log
from airflow.sdk.log import load_remote_log_handler
from airflow.utils.log.log_reader import TaskLogReader
from airflow.utils.state import TaskInstanceState
from types import SimpleNamespace
from airflow.jobs.triggerer_job_runner import TriggerLoggingFactory
from airflow.sdk.log import logging_processors
from openmwaa_runtime.task_logs.cloudwatch import LIMITS
from openmwaa_runtime.task_logs.writer import LogWriter, UnavailableError

class Source:
    place, lines, limits, kept = "group", [], LIMITS, {}
    def put(self, stream, lines):
        self.kept.setdefault(stream, []).extend(json.loads(line.text)["event"] for line in lines)
        return 0
    def read(self, stream):
        if stream == "away":
            raise UnavailableError("ThrottlingException")
        yield from self.lines

remote, handler = get_remote_task_log(), TaskLogReader().log_handler
remote._source = Source()
def read(stream, state):
    return [json.loads(line)["event"] for line in remote.stream(stream, SimpleNamespace(state=state))[1][0]]
path = "dag_id=d/run_id=r/task_id=t/attempt=1.log"
remote.writer = LogWriter(remote._source)
trigger = TriggerLoggingFactory(log_path=path + ".trigger.7.log", ti=None)
trigger(logging_processors(json_output=True)).info("of a trigger")
trigger.upload_to_remote()
trigger.close()
print(json.dumps({
    "same": remote is load_remote_log_handler(),
    "served": handler._read_from_logs_server(None, "path"),
    "local": handler._read_from_local("path"),
    "kept": remote._source.kept,
    "running": read(path, TaskInstanceState.RUNNING),
    "failed": read(path, TaskInstanceState.FAILED),
    "away": read("away", TaskInstanceState.RUNNING),
}))
"""


@pytest.fixture(scope="module")
def aws() -> Iterator[str]:
    with running_emulator(find_emulator(), services="logs,s3,sts") as url:
        client("logs", url).create_log_group(logGroupName=GROUP)
        location = {"LocationConstraint": "eu-west-1"}
        client("s3", url).create_bucket(Bucket="task-logs", CreateBucketConfiguration=location)
        yield url


def client(service: str, url: str) -> Any:
    return boto3.client(
        service,  # type: ignore[call-overload]  # services are data here
        endpoint_url=url,
        region_name="eu-west-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )


@pytest.fixture
def worker(on_redis: dict[str, str], aws: str) -> dict[str, str]:
    """The variables of a worker's container, with a password of the broker too."""
    passwords = ("OPENMWAA_CELERY_DATABASE_PASSWORD", "OPENMWAA_BROKER_PASSWORD")
    others = {name: value for name, value in on_redis.items() if "secret-" not in value or name in passwords}
    return {**others, **AWS, "AWS_ENDPOINT_URL": aws}


@pytest.fixture
def _empty(aws: str) -> Iterator[None]:
    yield
    logs = client("logs", aws)
    for stream in logs.describe_log_streams(logGroupName=GROUP)["logStreams"]:
        logs.delete_log_stream(logGroupName=GROUP, logStreamName=stream["logStreamName"])


def events(logs: CloudWatchDestination | S3Destination) -> list[dict[str, Any]]:
    return [json.loads(line) for line in logs.read(STREAM)]


@pytest.mark.usefixtures("_empty")
@pytest.mark.parametrize("destination", ["CLOUDWATCH", "S3"])
def test_every_line_is_kept_and_none_is_on_the_disk(
    destination: str, worker: dict[str, str], aws: str, tmp_path: Path
) -> None:
    bucket = {"OPENMWAA_TASK_LOG_BUCKET": "task-logs"} if destination == "S3" else {}
    with start(tmp_path, PACED + ODD, {**worker, **bucket}) as process:
        ended = result_of(process)
    cloudwatch = CloudWatchDestination(GROUP, lambda: client("logs", aws))
    found = events(S3Destination("task-logs", "", lambda: client("s3", aws)) if bucket else cloudwatch)
    texts = [event["event"] for event in found]
    assert ended == {"code": 0, "files": []}, texts[-5:]
    assert [text for text in texts if text.startswith("line ")] == [f"line {number}" for number in range(20_000)]
    assert sum(len(text) for text in texts if re.fullmatch("x+", text)) == 700_000
    assert {"ol\ufffd ol\ufffd", "grün", "last"} <= set(texts)
    assert [event["level"] for event in found if event["event"] == "a warning"] == ["warning"]
    assert "OPENMWAA_WORKER_QUEUES" in "".join(texts), "the environment is not printed"
    assert "secret-" not in "".join(texts), "a credential is printed"
    assert "the password is *** and ***" in texts


def test_a_task_ends_as_without_logs_while_the_destination_is_away(worker: dict[str, str], tmp_path: Path) -> None:
    nowhere = {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{free_port()}"}
    with start(tmp_path, PACED, {**worker, **nowhere}) as process:
        stdout, stderr = process.communicate(timeout=300)
    assert json.loads(stdout.splitlines()[-1]) == {"code": 0, "files": []}, stderr
    assert re.search(r"\d{5} lines of log dag_id=spoken/\S+ are lost: Could not connect", stdout + stderr)


@pytest.mark.usefixtures("_empty")
def test_a_log_is_readable_while_the_task_runs_and_after_everything_was_killed(
    worker: dict[str, str], aws: str, tmp_path: Path
) -> None:
    logs = CloudWatchDestination(GROUP, lambda: client("logs", aws))
    body = 'print("printed before the kill", flush=True)\ntime.sleep(600)'
    with start(tmp_path, body, worker) as process:
        try:
            deadline = time.monotonic() + PATIENCE_S
            while "printed before the kill" not in [event["event"] for event in events(logs)]:
                assert process.poll() is None, process.communicate()
                assert time.monotonic() < deadline, "the log of the running task is not readable"
                time.sleep(0.1)
        finally:
            supervisor = psutil.Process(process.pid)
            for member in (supervisor, *supervisor.children(recursive=True)):
                member.kill()
            process.communicate(timeout=60)
    assert "printed before the kill" in [event["event"] for event in events(logs)]


def test_the_web_server_reads_from_the_destination_only(container: dict[str, str], tmp_path: Path) -> None:
    environment = {**container, "HOME": str(tmp_path), "AIRFLOW_HOME": str(tmp_path)}
    options = {**environment, **airflow_environment("web-server", environment, "127.0.0.1")}
    found = run_airflow_program(READER, tmp_path, **options)
    (failed,), (away,) = found.pop("failed"), found.pop("away")
    stream = "dag_id=d/run_id=r/task_id=t/attempt=1.log"
    assert found.pop("kept") == {stream: ["of a trigger"]}, "the lines of a trigger are not in the log of its task"
    assert found == {"same": True, "served": [[], []], "local": [[], []], "running": []}
    assert failed.startswith("This try has no line:")
    assert away == "The log cannot be read: ThrottlingException"


PROCESSOR = """
import json, sys
sys.argv = ["airflow", "dag-processor"]
from airflow import settings
settings.initialize()
from airflow.dag_processing import manager
print(json.dumps(str(manager.init_log_file("dag_processor/2026-11-29/dags/one.py.log"))))
"""


def test_a_dag_processor_keeps_no_copy_of_its_output(container: dict[str, str], tmp_path: Path) -> None:
    environment = {**container, "HOME": str(tmp_path), "AIRFLOW_HOME": str(tmp_path)}
    options = {**environment, **airflow_environment("dag-processor", environment, "127.0.0.1")}
    assert run_airflow_program(PROCESSOR, tmp_path, **options) == os.devnull


WORKER_START = """
import json, os, sys
sys.argv = ["airflow", "celery", "worker"]
from openmwaa_runtime.celery_config import CELERY_CONFIG
passwords = [name for name, value in os.environ.items() if "secret-celery" in value or "secret-broker" in value]
print(json.dumps({"environment": passwords, "urls": [CELERY_CONFIG["result_backend"], CELERY_CONFIG["broker_url"]]}))
"""


def test_a_worker_has_its_passwords_and_its_tasks_do_not(on_redis: dict[str, str], tmp_path: Path) -> None:
    environment = {**on_redis, "HOME": str(tmp_path), "AIRFLOW_HOME": str(tmp_path)}
    options = {**environment, **airflow_environment("worker", environment, "127.0.0.1")}
    found = run_airflow_program(WORKER_START, tmp_path, **options)
    assert ["secret-" in url for url in found["urls"]] == [True, True]
    assert found["environment"] == []
