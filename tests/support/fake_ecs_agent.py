# SPDX-License-Identifier: Apache-2.0
"""A fake of the endpoints that ECS gives a task: protection and metadata (version 4)."""

import json
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal, Self
from uuid import uuid4

CLUSTER_ARN = "arn:aws:ecs:us-east-1:123456789012:task/openmwaa-test"
AnswerMode = Literal["grant", "refuse", "error", "nonsense", "cut"]


@dataclass(frozen=True)
class ProtectionCall:
    """One PUT: its time (monotonic), the requested state, and the mode of the answer."""

    at: float
    enabled: bool
    mode: AnswerMode


@dataclass
class FakeEcsAgent:
    """Answers according to `mode`; records every call."""

    mode: AnswerMode = "grant"
    address: str = "127.0.0.1"
    task_arn: str = field(default_factory=lambda: f"{CLUSTER_ARN}/{uuid4().hex}")
    """Of its own: one worker of a task at a time consumes, and tests run in parallel."""
    calls: list[ProtectionCall] = field(default_factory=list)
    protected: bool = False

    def __enter__(self) -> Self:
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                network = {"NetworkMode": "awsvpc", "IPv4Addresses": [fake.address]}
                self.answer(200, {"TaskARN": fake.task_arn, "Containers": [{"Name": "worker", "Networks": [network]}]})

            def do_PUT(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                answer = fake.answer_put(body)
                if answer is None:
                    self.connection.close()
                else:
                    self.answer(*answer)

            def answer(self, status: int, fields: dict[str, Any]) -> None:
                data = json.dumps(fields).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: Any) -> None:
                """Log nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def environment(self) -> dict[str, str]:
        """The variables that ECS sets in a container."""
        base = f"http://127.0.0.1:{self._server.server_address[1]}"
        return {"ECS_AGENT_URI": f"{base}/api/token", "ECS_CONTAINER_METADATA_URI_V4": f"{base}/v4/token"}

    def answer_put(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]] | None:
        """Answer one PUT of the protection state; `None` closes the connection."""
        mode, enabled = self.mode, bool(body["ProtectionEnabled"])
        self.calls.append(ProtectionCall(time.monotonic(), enabled, mode))
        if mode == "cut":
            self.protected = enabled  # the worst case: executed without an answer
            return None
        if mode == "refuse":
            failure = {"Arn": self.task_arn, "Reason": "DEPLOYMENT_BLOCKED", "Detail": "would block a deployment"}
            return 200, {"failure": failure}
        if mode == "error":
            error = {"Arn": self.task_arn, "Code": "ServerException", "Message": "try again"}
            return 500, {"error": error, "requestID": "1"}
        if mode == "nonsense":
            return 200, {"protection": {"ProtectionEnabled": "yes", "TaskArn": self.task_arn}}
        self.protected = enabled
        protection: dict[str, Any] = {"ProtectionEnabled": enabled, "TaskArn": self.task_arn}
        if enabled:
            end = datetime.now(UTC) + timedelta(minutes=body["ExpiresInMinutes"])
            protection["ExpirationDate"] = end.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return 200, {"protection": protection}
