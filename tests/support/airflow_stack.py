# SPDX-License-Identifier: Apache-2.0
"""A real Airflow with one worker for the fault tests: no Terraform, no ECS, no scaler.

AWS is emulated. Components are started as their containers start them, on addresses 127.BLOCK.1.x. Everything that it
starts ends with the `with` block.
"""

import contextlib
import json
import os
import secrets
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

import boto3
import psutil

from tests.support.airflow import install_airflow
from tests.support.emulator import find_emulator, running_emulator
from tests.support.fake_ecs_agent import FakeEcsAgent
from tests.support.postgres import SUPERUSER_PASSWORD, running_postgres

REPOSITORY = Path(__file__).resolve().parents[2]
REGION = "us-east-1"
ADMIN_PASSWORD = "airflow-stack"
COMPONENTS = {
    "execution-api": "1.1",
    "web-server": "1.2",
    "scheduler": "1.3",
    "dag-processor": "1.4",
    "worker": "1.6",
}
"""The low half of each address."""
PREPARED_WITHIN_S = 300
HEALTHY_WITHIN_S = 120


class Stack:
    """Use as a context manager; `start_airflow` starts all components, `component` one of them."""

    def __init__(self, folder: Path, *, block: int, visibility_timeout_s: int, slots: int) -> None:
        self.folder = folder
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._block = block
        self._slots = slots
        self._visibility_timeout_s = visibility_timeout_s
        self._running = contextlib.ExitStack()
        self._agents: dict[str, FakeEcsAgent] = {}
        self._token: str | None = None

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as starting:
            self._aws = starting.enter_context(running_emulator(find_emulator(), services="logs,s3,sqs,sts"))
            self._database = starting.enter_context(running_postgres())
            starting.callback(self._stop_components)
            self._python = str(install_airflow() / "bin" / "python")
            self.client("s3").create_bucket(Bucket="dags")
            self.client("logs").create_log_group(logGroupName="airflow-bench-Task")
            attributes = {"VisibilityTimeout": str(self._visibility_timeout_s)}
            queue = self.client("sqs").create_queue(QueueName="airflow-celery-bench-default", Attributes=attributes)
            self.queue_url: str = queue["QueueUrl"]
            self._running = starting.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()

    def _stop_components(self) -> None:
        for name in reversed(list(self.processes)):
            self.stop(name, signal.SIGKILL)  # the orderly end of Airflow's components takes half a minute

    def client(self, service: str) -> Any:
        return boto3.client(
            service,  # type: ignore[call-overload]  # services are data here
            endpoint_url=self._aws,
            region_name=REGION,
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )

    def address(self, low: str) -> str:
        return f"127.{self._block}.{low}"

    def log(self, name: str) -> Path:
        return self.folder / "logs" / f"{name}.log"

    # --- components

    def start_airflow(self, extra: Mapping[str, str]) -> None:
        """Prepare the database, then start everything and wait until it is healthy."""
        self.component("prepare-database", "prepare-database", "1.9", extra)
        status = self.processes["prepare-database"].wait(PREPARED_WITHIN_S)
        assert status == 0, self.log("prepare-database").read_text()[-2000:]
        for name in ("dag-processor", "worker"):
            self.component(f"{name}-sync", "sync-dags", COMPONENTS[name], extra)
        for name, low in COMPONENTS.items():
            self.component(name, name, low, extra)
        for name in COMPONENTS:
            until(lambda name=name: self._assert_healthy(name), HEALTHY_WITHIN_S)  # type: ignore[misc]

    def component(self, name: str, command: str, low: str, extra: Mapping[str, str]) -> None:
        """Start a command of the image as the process `name`, in a session of its own."""
        self.log(name).parent.mkdir(exist_ok=True)
        with self.log(name).open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [self._python, "-m", "openmwaa_runtime", command],
                env={**self._environment(name, self.address(low)), **extra},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                start_new_session=True,
            )

    def stop(self, name: str, how: signal.Signals) -> None:
        """End a component and its session; its DAGs go on being synced."""
        process = self.processes.pop(name)
        members = [member for member in psutil.process_iter() if _session(member) == process.pid]
        process.send_signal(how)
        for member in members:
            with contextlib.suppress(psutil.NoSuchProcess):
                member.kill()
        process.wait(120)

    def _assert_healthy(self, name: str) -> None:
        assert self.processes[name].poll() is None, f"{name} ended:\n{self.log(name).read_text()[-2000:]}"
        command = [self._python, "-m", "openmwaa_runtime", "health", name]
        environment = self._environment(name, self.address(COMPONENTS[name]))
        subprocess.run(command, env=environment, check=True, capture_output=True, timeout=30)

    def _agent(self, name: str, address: str) -> FakeEcsAgent:
        if name not in self._agents:
            task = f"arn:aws:ecs:{REGION}:123456789012:task/bench/{name}"
            self._agents[name] = self._running.enter_context(FakeEcsAgent(address=address, task_arn=task))
        return self._agents[name]

    def _environment(self, name: str, address: str) -> dict[str, str]:
        home = self.folder / "tasks" / name
        home.mkdir(parents=True, exist_ok=True)
        return {
            **self._agent(name, address).environment,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ENDPOINT_URL": self._aws,
            "PATH": "/usr/bin:/bin",
            "HOME": str(home),
            "PYTHONPATH": f"{REPOSITORY / 'images' / 'airflow'}:{REPOSITORY}",
            "OPENMWAA_ENVIRONMENT": "bench",
            "OPENMWAA_DATABASE_HOST": self._database.host,
            "OPENMWAA_DATABASE_PORT": str(self._database.port),
            "OPENMWAA_DATABASE_SSLMODE": "disable",
            "OPENMWAA_DATABASE_MASTER": json.dumps({"username": "postgres", "password": SUPERUSER_PASSWORD}),
            "OPENMWAA_AIRFLOW_DATABASE_PASSWORD": "airflow-password/with?odd&signs",
            "OPENMWAA_CELERY_DATABASE_PASSWORD": "celery-password",
            "OPENMWAA_SCALER_DATABASE_PASSWORD": "scaler-password",
            "OPENMWAA_SCALER_SIGNING_SEED": "seed",
            "OPENMWAA_FERNET_KEY": "YlCImzjge_TeZc7jPJ7Jz2pgOtb4yTssA1pVyqIADWg=",
            "OPENMWAA_API_SECRET_KEY": "api-secret",
            "OPENMWAA_JWT_SECRET": "j" * 64,
            "OPENMWAA_ADMIN_PASSWORD": ADMIN_PASSWORD,
            "OPENMWAA_QUEUES": json.dumps({"default": self.queue_url}),
            "OPENMWAA_TOTAL_SLOTS": "25",
            "OPENMWAA_WORKER_QUEUES": "default",
            "OPENMWAA_WORKER_SLOTS": str(self._slots),
            "OPENMWAA_EXECUTION_API_URL": f"http://{self.address('1.1')}:8081/execution/",
            "OPENMWAA_WEB_URL": f"http://{self.address('1.2')}:8080",
            "OPENMWAA_DAG_BUCKET": "dags",
            "OPENMWAA_DAG_PREFIX": "dags",
            "OPENMWAA_DAG_FOLDER": str(self.folder / "tasks" / name.removesuffix("-sync") / "dags"),
            "OPENMWAA_DAG_SYNC_INTERVAL_S": "2",
            "OPENMWAA_TASK_LOG_GROUP_ARN": f"arn:aws:logs:{REGION}:123456789012:log-group:airflow-bench-Task",
        }

    # --- DAGs

    def upload(self, name: str, text: str) -> None:
        self.client("s3").put_object(Bucket="dags", Key=f"dags/{name}", Body=text.encode())

    def trigger(self, dag_id: str, conf: Mapping[str, Any]) -> str:
        """Unpause a DAG as soon as Airflow has it and run it; return the run's id."""
        until(lambda: self._api("PATCH", f"/api/v2/dags/{dag_id}", {"is_paused": False}), 120)
        run = f"run-{secrets.token_hex(4)}"
        body = {"dag_run_id": run, "logical_date": None, "conf": dict(conf)}
        self._api("POST", f"/api/v2/dags/{dag_id}/dagRuns", body)
        return run

    def tasks(self, dag_id: str, run: str) -> list[dict[str, Any]]:
        """Return the run's task instances."""
        page = self._api("GET", f"/api/v2/dags/{dag_id}/dagRuns/{run}/taskInstances")
        found: list[dict[str, Any]] = page["task_instances"]
        return found

    def task_log(self, dag_id: str, run: str, task: Mapping[str, Any], number: int) -> str:
        """Return the log of a try of a task instance, as the page shows it."""
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run}/taskInstances/{task['task_id']}/logs/{number}"
        page = self._api("GET", f"{path}?map_index={task['map_index']}&full_content=true")
        return "\n".join(str(line["event"]) for line in page["content"])

    def _api(self, method: str, path: str, body: Any = None) -> Any:
        """Call Airflow's public API as the administrator."""
        if self._token is None:
            login = {"username": "admin", "password": ADMIN_PASSWORD}
            self._token = self._call("POST", "/auth/token", login, {})["access_token"]
        return self._call(method, path, body, {"Authorization": f"Bearer {self._token}"})

    def _call(self, method: str, path: str, body: Any, headers: Mapping[str, str]) -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json", "Accept": "application/json", **headers}
        request = urllib.request.Request(f"http://{self.address('1.2')}:8080{path}", data, headers, method=method)
        try:
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            raise OSError(f"{method} {path}: {error.code} {error.read()[:500]!r}") from error


def _session(process: psutil.Process) -> int:
    try:
        return os.getsid(process.pid)
    except ProcessLookupError:
        return -1


def until(attempt: Callable[[], Any], deadline_s: float) -> Any:
    """Repeat an attempt until it raises nothing; raise its last error when the time is over."""
    end = time.monotonic() + deadline_s
    while True:
        try:
            return attempt()
        except (OSError, subprocess.SubprocessError):
            if time.monotonic() >= end:
                raise
            time.sleep(0.3)
