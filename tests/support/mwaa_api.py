# SPDX-License-Identifier: Apache-2.0
"""MWAA's API of one environment, with its ports played: IAM's answers, Airflow, the scaler, the database."""

import base64
import json
import ssl
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from openmwaa_runtime.auth.access import Grant, RequestContext, RoleAction
from openmwaa_runtime.auth.airflow_role import AirflowRole
from openmwaa_runtime.auth.audit import AuditLog
from openmwaa_runtime.auth.environment_arn import EnvironmentArn
from openmwaa_runtime.auth.errors import AccessDeniedError
from openmwaa_runtime.auth.http_message import HttpAnswer, HttpRequest
from openmwaa_runtime.auth.logins import Logins
from openmwaa_runtime.auth.principal import Principal, Proof
from openmwaa_runtime.auth.tokens import Purpose, TokenIssuer
from openmwaa_runtime.auth.web_session import RevokedSessions
from openmwaa_runtime.mwaa_api.app import MwaaApi
from openmwaa_runtime.mwaa_api.credentials import issue_credentials
from openmwaa_runtime.mwaa_api.environment import (
    BoundsRefusedError,
    EnvironmentDescription,
    LiveEnvironment,
    WorkerBounds,
)
from openmwaa_runtime.mwaa_api.operations import Operations
from openmwaa_runtime.mwaa_api.sigv4 import SignatureVerifier, served_hosts
from tests.support.fake_login_store import FakeLoginStore

NAME = "analytics"
REGION = "eu-central-1"
ACCOUNT = "123456789012"
ARN = EnvironmentArn("aws", REGION, ACCOUNT, NAME)
WEB_URL = "https://airflow.example.com"
CALLER = Principal.read(f"arn:aws:sts::{ACCOUNT}:assumed-role/Operators/jane", Proof.STS)
NOW = 1_798_761_600.0  # 2027-01-01T00:00:00Z
_GROUPS = ("DagProcessing", "Scheduler", "Webserver", "Worker", "Task")
DESCRIPTION: Mapping[str, Any] = {
    "Name": NAME,
    "Arn": str(ARN),
    "CreatedAt": "2026-12-01T10:20:30+00:00",
    "WebserverUrl": WEB_URL,
    "ExecutionRoleArn": f"arn:aws:iam::{ACCOUNT}:role/openmwaa-analytics-worker",
    "KmsKey": f"arn:aws:kms:{REGION}:{ACCOUNT}:key/11111111-2222-3333-4444-555555555555",
    "AirflowVersion": "3.3.2",
    "SourceBucketArn": "arn:aws:s3:::openmwaa-analytics",
    "DagS3Path": "dags",
    "AirflowConfigurationOptions": ["core.default_task_retries"],
    "EnvironmentClass": "mw1.small",
    "NetworkConfiguration": {"SubnetIds": ["subnet-1", "subnet-2"], "SecurityGroupIds": ["sg-1"]},
    "LoggingConfiguration": {
        f"{group}Logs": {
            "Enabled": True,
            "LogLevel": "INFO",
            "CloudWatchLogGroupArn": f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:airflow-{NAME}-{group}",
        }
        for group in _GROUPS
    },
    "WeeklyMaintenanceWindowStart": "SUN:04:00",
    "Tags": {"team": "data"},
    "WebserverAccessMode": "PRIVATE_ONLY",
    "Schedulers": 2,
    "CeleryExecutorQueue": f"arn:aws:sqs:{REGION}:{ACCOUNT}:airflow-celery-analytics-default",
    "MinWebservers": 2,
    "MaxWebservers": 2,
}

MEMBERS: dict[str, dict[str, Any]] = {
    "CreateCliToken": {"Name": NAME},
    "CreateEnvironment": {
        "Name": NAME,
        "ExecutionRoleArn": f"arn:aws:iam::{ACCOUNT}:role/worker",
        "SourceBucketArn": "arn:aws:s3:::bucket",
        "DagS3Path": "dags",
        "NetworkConfiguration": {"SubnetIds": ["subnet-1", "subnet-2"], "SecurityGroupIds": ["sg-1"]},
    },
    "CreateWebLoginToken": {"Name": NAME},
    "DeleteEnvironment": {"Name": NAME},
    "GetEnvironment": {"Name": NAME},
    "InvokeRestApi": {"Name": NAME, "Path": "/dags", "Method": "GET"},
    "ListEnvironments": {},
    "ListTagsForResource": {"ResourceArn": str(ARN)},
    "PublishMetrics": {"EnvironmentName": NAME, "MetricData": [{"MetricName": "a", "Timestamp": datetime(2027, 1, 1)}]},  # noqa: DTZ001
    "TagResource": {"ResourceArn": str(ARN), "Tags": {"team": "other"}},
    "UntagResource": {"ResourceArn": str(ARN), "tagKeys": ["team", "a b+c"]},
    "UpdateEnvironment": {"Name": NAME, "MinWorkers": 2, "MaxWorkers": 8},
}
"""A valid call of each operation."""
REFUSED = {"CreateEnvironment", "DeleteEnvironment", "TagResource", "UntagResource"}


@dataclass
class PlayedAccess:
    """IAM's answers: one role for all callers, and actions that are denied."""

    granted: AirflowRole | None = AirflowRole.OP
    denied: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)

    def role(
        self, principal: Principal, action: RoleAction, wanted: AirflowRole | None, context: RequestContext
    ) -> Grant:
        self.asked.append(action)
        if self.granted is None or action in self.denied:
            raise AccessDeniedError(f"{principal.arn} is not allowed {action} on {ARN.role(AirflowRole.PUBLIC)}")
        return Grant(wanted or self.granted, ["a policy"])

    def allow(self, principal: Principal, action: str, context: RequestContext) -> Sequence[str]:
        self.asked.append(action)
        if action in self.denied:
            raise AccessDeniedError(f"{principal.arn} is not allowed {action} on {ARN}")
        return ["a policy"]


@dataclass(frozen=True)
class RestCall:
    """A call of Airflow's REST API."""

    role: AirflowRole
    method: str
    path: str
    query: str
    body: Any


class PlayedAirflow:
    """Airflow's REST API: `answers` by path, else one DAG run."""

    def __init__(self) -> None:
        self.calls: list[RestCall] = []
        self.answers: dict[str, tuple[int, bytes]] = {}

    def __call__(
        self, principal: Principal, role: AirflowRole, method: str, path: str, query: str, body: bytes
    ) -> tuple[int, bytes]:
        self.calls.append(RestCall(role, method, path, query, json.loads(body) if body else None))
        run = {"dag_id": "hello", "dag_run_id": "run_1", "state": "success", "method": method}
        return self.answers.get(path, (200, json.dumps(run).encode()))


class PlayedLive:
    """The scaler and the scheduler's heartbeat."""

    def __init__(self) -> None:
        self.fleets = {"default": WorkerBounds(1, 10)}
        self.has_heartbeat = True
        self.overrides: list[tuple[str, int | None, int | None, str]] = []

    def healthy(self) -> bool:
        return self.has_heartbeat

    def bounds(self) -> Mapping[str, WorkerBounds]:
        return self.fleets

    def set_override(self, fleet: str, *, minimum: int | None, maximum: int | None, by: str) -> None:
        before = self.fleets[fleet]
        after = WorkerBounds(minimum or before.minimum, maximum or before.maximum)
        if after.minimum > after.maximum:
            raise BoundsRefusedError(f"min ({after.minimum}) must not be above max ({after.maximum})")
        self.overrides.append((fleet, minimum, maximum, by))
        self.fleets[fleet] = after


class PlayedEnvironment:
    """An environment with MWAA's API; `now` is its clock."""

    def __init__(
        self,
        *,
        web_url: str = WEB_URL,
        now: float | None = NOW,
        secret: str = "one secret",
        live: LiveEnvironment | None = None,
    ) -> None:
        self.now = now
        self.store, self.access = FakeLoginStore(), PlayedAccess()
        self.airflow, self.live = PlayedAirflow(), PlayedLive()
        self.audit: list[dict[str, Any]] = []
        clock = lambda: time.time() if self.now is None else self.now  # noqa: E731
        self.tokens = TokenIssuer(secret, ARN, self.store, clock)
        self.verifier = SignatureVerifier(
            region=REGION,
            hosts=served_hosts([web_url]),
            tokens=self.tokens,
            clock=clock,
            revoked=RevokedSessions(self.store.revoked),
        )
        operations = Operations(
            environment=ARN,
            description=EnvironmentDescription(
                json.dumps({**DESCRIPTION, "WebserverUrl": web_url}), {"AIRFLOW__CORE__DEFAULT_TASK_RETRIES": "2"}
            ),
            logins=Logins({}, self.access, self.tokens, urlsplit(web_url).netloc, cli_role_scoping=True),
            live=live or self.live,
            call_airflow=self.airflow,
            api_prefix="/api/v2",
        )
        self.api = MwaaApi(
            verifier=self.verifier,
            operations=operations,
            store=self.store,
            audit=AuditLog(lambda line: self.audit.append(json.loads(line))),
            context=lambda request: RequestContext(request.peer),
        )

    def credentials(self, principal: Principal = CALLER) -> dict[str, Any]:
        return issue_credentials(self.tokens, principal)


@contextmanager
def served(environment: PlayedEnvironment, port: int, certificate: Path | None = None) -> Iterator[None]:
    """Serve the API on this machine, with TLS if there is a certificate; and the CLI's door, which answers at once."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            target = urlsplit(self.path)
            request = HttpRequest(
                self.command,
                target.path,
                target.query,
                tuple((name.lower(), value) for name, value in self.headers.items()),
                self.rfile.read(int(self.headers.get("content-length") or 0)),
                self.client_address[0],
            )
            is_cli = target.path == "/aws_mwaa/cli"
            answer = _answer_of_cli(environment, request) if is_cli else environment.api.handle(request)
            self.send_response(answer.status)
            headers = {**answer.headers, "Content-Type": answer.content_type, "Content-Length": str(len(answer.body))}
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.body)

        do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = handle_any  # noqa: N815

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    if certificate:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _answer_of_cli(environment: PlayedEnvironment, request: HttpRequest) -> HttpAnswer:
    token = (request.header("authorization") or "").removeprefix("Bearer ")
    claims = environment.tokens.redeem(Purpose.CLI, token)
    output = f"{claims.principal.user_name}: {request.body.decode()}"
    return HttpAnswer.of_json(200, {"stdout": base64.b64encode(output.encode()).decode(), "stderr": ""})


def write_profile(folder: Path, environment: PlayedEnvironment, endpoint: str) -> dict[str, str]:
    """Write the profile `op` as the documentation has it; return the variables that select it."""
    keys = folder / "keys.json"
    keys.write_text(json.dumps(environment.credentials()), encoding="utf-8")
    config = folder / "config"
    config.write_text(
        f"""
[profile op]
region = {REGION}
credential_process = cat {keys}
services = openmwaa
disable_host_prefix_injection = true

[services openmwaa]
mwaa =
  endpoint_url = {endpoint}
""",
        encoding="utf-8",
    )
    return {"AWS_CONFIG_FILE": str(config), "AWS_SHARED_CREDENTIALS_FILE": "/dev/null", "AWS_PROFILE": "op"}
