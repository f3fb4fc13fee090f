# SPDX-License-Identifier: Apache-2.0
"""`openmwaa rotate` on real Airflow, with open sessions and a task that runs all the time."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from openmwaa.local import login
from tests.e2e.conftest import E2E
from tests.e2e.test_iam_login import Login, until

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(3600)]
DAGS = """
import time
from pathlib import Path
from airflow.sdk import BaseHook, Variable, dag, task

@dag(schedule=None)
def rotate_long():
    @task(retries=0)
    def waits():
        while not Path({end!r}).exists():
            time.sleep(1)
    waits()

@dag(schedule=None)
def rotate_reads():
    @task(retries=0)
    def reads():
        assert BaseHook.get_connection("rotated").password == "a password"
        assert Variable.get("rotated") == "a value"
    reads()

rotate_long()
rotate_reads()
"""
NAMES = ("rotate_long", "rotate_reads")
FERNET_KEY = "OPENMWAA_FERNET_KEY"


@dataclass(frozen=True)
class Rotated:
    """The environment under test, with a task that runs until its file exists."""

    login: Login
    end: Path

    @property
    def task(self) -> tuple[str, int]:
        found = self.login.api("viewer", "GET", "/dags/rotate_long/dagRuns/long/taskInstances")
        (instance,) = found["task_instances"]
        return instance["state"], instance["try_number"]

    def rotate(self, name: str) -> dict[str, Any]:
        done = self.login.e2e.openmwaa("rotate", name, "environment.yaml", "--local", "--json")
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        found: dict[str, Any] = json.loads(done.stdout)
        return {**found, "progress": done.stderr}

    def secret(self, name: str) -> str:
        """The value of a secret that the control plane reads."""
        ecs = self.login.client("ecs")
        service = ecs.describe_services(cluster="openmwaa-e2e", services=["control-plane"])["services"][0]
        containers = ecs.describe_task_definition(taskDefinition=service["taskDefinition"])["taskDefinition"]
        arns = {
            secret["valueFrom"]
            for container in containers["containerDefinitions"]
            for secret in container.get("secrets", ())
            if secret["name"] == name
        }
        (arn,) = arns
        return str(self.login.client("secretsmanager").get_secret_value(SecretId=arn)["SecretString"])


@pytest.fixture(scope="module")
def env(e2e: E2E) -> Iterator[Rotated]:
    found = Rotated(Login(e2e), e2e.file.parent / "end")
    api, s3 = found.login.api, found.login.client("s3")
    place = {"Bucket": login.outputs(e2e.paths)["source_bucket"], "Key": f"{e2e.environment.dag_s3_path}/rotate.py"}
    s3.put_object(**place, Body=DAGS.format(end=str(found.end)).encode())
    command = ("api", "GET")
    until(
        "Airflow parses the DAGs",
        lambda: all(
            found.login.run("viewer", *command, f"/dags/{name}", "environment.yaml").returncode == 0 for name in NAMES
        ),
    )
    for name in NAMES:
        api("user", "PATCH", f"/dags/{name}", {"is_paused": False})
    api("op", "POST", "/connections", {"connection_id": "rotated", "conn_type": "generic", "password": "a password"})
    api("op", "POST", "/variables", {"key": "rotated", "value": "a value"})
    api("user", "POST", "/dags/rotate_long/dagRuns", {"dag_run_id": "long", "logical_date": None})
    until("the task runs", lambda: found.task == ("running", 1))
    yield found
    s3.delete_object(**place)


def test_a_new_session_secret_ends_sessions_and_no_task(env: Rotated) -> None:
    session = env.login.token("viewer", "api", "access_token")
    assert env.login.get("/api/v2/dags", session) == 200
    before = env.secret("OPENMWAA_API_SECRET_KEY"), env.secret("OPENMWAA_JWT_SECRET")
    found = env.rotate("session-secret")
    assert (found["outcome"], found["services"]) == ("done", ["control-plane"])
    assert env.secret("OPENMWAA_API_SECRET_KEY") != before[0]
    assert env.secret("OPENMWAA_JWT_SECRET") == before[1]
    assert env.login.get("/api/v2/dags", session) == 403, "a token with a signature of the old secret is accepted"
    assert env.login.get("/api/v2/dags", env.login.token("viewer", "api", "access_token")) == 200
    assert env.task == ("running", 1)


def test_a_new_fernet_key_after_an_interruption_keeps_sessions_tasks_and_connections(env: Rotated) -> None:
    session, before = env.login.token("viewer", "api", "access_token"), env.secret(FERNET_KEY)
    words = ("rotate", "fernet-key", "environment.yaml", "--local")
    command = [sys.executable, "-c", "from openmwaa.cli import main; main()", *words]
    folder = env.login.e2e.file.parent
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert "The old key encrypts" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert "To continue: " in process.stderr.read()
    assert process.returncode == 130
    old, new = env.secret(FERNET_KEY).split(",")
    assert old == before
    found = env.rotate("fernet-key")
    assert "An unfinished rotation continues." in found["progress"]
    assert env.secret(FERNET_KEY) == new, "the interrupted rotation did not continue, or did not end"
    assert env.login.get("/api/v2/dags", session) == 200
    env.login.api("user", "POST", "/dags/rotate_reads/dagRuns", {"dag_run_id": "reads", "logical_date": None})
    env.login.succeeds("rotate_reads", "reads")
    assert env.task == ("running", 1)


def test_the_task_that_ran_all_the_time_succeeds_at_its_first_try(env: Rotated) -> None:
    env.end.touch()
    env.login.succeeds("rotate_long", "long")
    assert env.task == ("success", 1)


def test_terraform_keeps_the_rotated_secrets(env: Rotated) -> None:
    before = env.secret(FERNET_KEY), env.secret("OPENMWAA_API_SECRET_KEY")
    file = env.login.e2e.file
    file.write_text(file.read_text().replace("scale_in_window_seconds: 10", "scale_in_window_seconds: 11"))
    done = env.login.e2e.openmwaa("local", "up", "environment.yaml")
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert (env.secret(FERNET_KEY), env.secret("OPENMWAA_API_SECRET_KEY")) == before
