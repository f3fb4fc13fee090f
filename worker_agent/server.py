# SPDX-License-Identifier: Apache-2.0
"""The agent's HTTP: `GET /v1/state`, `POST /v1/drain`, `POST /v1/resume`.

The handlers read the published state and post commands. They never touch the consumer. A slow connection is closed
after 5 s. At most 16 connections are served at the same time.
"""

import contextlib
import json
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, Protocol

from celery.utils.log import get_logger

from worker_agent.commands import BODY_LIMIT, SIGNATURE_HEADER, CommandVerifier
from worker_agent.errors import CommandRefusedError
from worker_agent.state_machine import Drain, Resume
from worker_agent.wire import AgentReport

logger = get_logger(__name__)

SOCKET_TIMEOUT_S: Final = 5.0
CONNECTIONS: Final = 16
ALLOWED: Final = {"/v1/state": "GET", "/v1/drain": "POST", "/v1/resume": "POST"}


class ServedAgent(Protocol):
    """The part of the agent that the server uses."""

    def report(self) -> AgentReport:
        """Return the current state."""
        ...

    def execute(self, command: Drain | Resume) -> AgentReport:
        """Apply a verified command and return the new state. Raises CommandRefusedError."""
        ...


class AgentServer(ThreadingHTTPServer):
    """Serves one agent on one address. Port 0: the system chooses the port."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, address: str, port: int, *, agent: ServedAgent, verifier: CommandVerifier) -> None:
        self.agent = agent
        self.verifier = verifier
        self._connections = threading.BoundedSemaphore(CONNECTIONS)
        super().__init__((address, port), _Handler)
        # Pool processes that are forked later must not keep the port open after the main process ends.
        os.register_at_fork(after_in_child=self._close_in_child)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve the connection in its own thread, or close it above the limit."""
        if not self._connections.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:  # no thread was started, so none releases the semaphore
            self._connections.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve one connection."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._connections.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log a client's broken connection as debug, not as an error of the worker."""
        logger.debug("worker agent: connection from %s failed", client_address, exc_info=True)

    def _close_in_child(self) -> None:
        with contextlib.suppress(OSError):
            self.socket.close()


class _Handler(BaseHTTPRequestHandler):
    server: AgentServer
    timeout = SOCKET_TIMEOUT_S
    server_version = "openmwaa-worker-agent"
    sys_version = ""

    def do_GET(self) -> None:
        if not self._allowed("GET"):
            return
        report = self.server.agent.report()
        if report.stale:
            self._answer(503, {"error": "the worker's main loop does not report: it may hang, or have no broker"})
        else:
            self._answer(200, report.to_wire())

    def do_POST(self) -> None:
        if not self._allowed("POST"):
            return
        agent, command = self.server.agent, self.path.removeprefix("/v1/")
        try:
            event = self.server.verifier.verify(
                command, self._body(), self.headers.get(SIGNATURE_HEADER), task_arn=agent.report().task_arn
            )
            report = agent.execute(event)
        except CommandRefusedError as error:
            logger.warning("worker agent: %s from %s refused: %s", command, self.client_address[0], error.reason)
            self._answer(error.status, {"error": error.reason})
        else:
            self._answer(200, report.to_wire())

    def do_PUT(self) -> None:
        self._allowed("PUT")

    do_DELETE = do_PATCH = do_HEAD = do_OPTIONS = do_PUT  # noqa: N815

    def _allowed(self, method: str) -> bool:
        allowed = ALLOWED.get(self.path)
        if allowed is None:
            self._answer(404, {"error": f"not found: {self.path}"})
        elif self.command != allowed:
            self._answer(405, {"error": f"{self.path} accepts {allowed} only"}, allow=allowed)
        return allowed == method == self.command

    def _body(self) -> bytes:
        try:
            length = int(self.headers.get("Content-Length", ""))
        except ValueError:
            raise CommandRefusedError(400, "Content-Length is missing") from None
        if not 0 <= length <= BODY_LIMIT:
            raise CommandRefusedError(400, f"the body is longer than {BODY_LIMIT} bytes")
        try:
            body = self.rfile.read(length)
        except OSError as error:
            raise CommandRefusedError(400, "the body did not arrive in time") from error
        if len(body) != length:
            raise CommandRefusedError(400, "the body is shorter than Content-Length")
        return body

    def _answer(self, status: int, fields: dict[str, Any], *, allow: str | None = None) -> None:
        body = json.dumps(fields).encode()
        with contextlib.suppress(OSError):
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            if allow:
                self.send_header("Allow", allow)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        logger.debug("worker agent: " + format, *args)
