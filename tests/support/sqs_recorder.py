# SPDX-License-Identifier: Apache-2.0
"""An HTTP proxy before an SQS emulator that counts the worker's real calls, independent of the agent."""

import http.client
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import urlsplit


@dataclass
class SqsRecorder:
    """Forwards to `upstream`; knows the receives in flight, and how many messages were handed over and deleted."""

    upstream: str
    on_delivery: Callable[[int], None] = lambda _: None
    polls: int = 0
    most_polls: int = 0
    first_poll_at: float | None = None
    received: int = 0
    deleted: int = 0
    most_held: int = 0
    fail_receives_with: int | None = None
    failed_receives: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __enter__(self) -> Self:
        recorder = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                operation = (self.headers.get("X-Amz-Target") or "").rpartition(".")[2]
                status, answer = recorder.forward(operation, self.path, body, dict(self.headers))
                self.send_response(status)
                self.send_header("Content-Type", "application/x-amz-json-1.0")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: Any) -> None:
                """Quiet."""

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
    def url(self) -> str:
        """Where the worker finds its SQS."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def forward(self, operation: str, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
        """Forward one request and count it."""
        if operation == "ReceiveMessage":
            return self._receive(path, body, headers)
        status, answer = self._send(path, body, headers)
        if operation == "DeleteMessage":
            with self._lock:
                self.deleted += 1
        return status, answer

    def _receive(self, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
        if self.fail_receives_with is not None:
            self.failed_receives += 1
            return self.fail_receives_with, b'{"__type":"com.amazonaws.sqs#Broken"}'
        with self._lock:
            self.first_poll_at = self.first_poll_at or time.monotonic()
            self.polls += 1
            self.most_polls = max(self.most_polls, self.polls)
        try:
            status, answer = self._send(path, body, headers)
            count = len(json.loads(answer or b"{}").get("Messages") or ())
            if count:
                with self._lock:
                    self.received += count
                    self.most_held = max(self.most_held, self.received - self.deleted)
                self.on_delivery(self.received)
        finally:
            with self._lock:
                self.polls -= 1
        return status, answer

    def _send(self, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
        where = urlsplit(self.upstream)
        connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=60)
        try:
            kept = {name: value for name, value in headers.items() if name.lower() not in {"host", "content-length"}}
            connection.request("POST", path, body, {**kept, "Host": where.netloc})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()
