# SPDX-License-Identifier: Apache-2.0
"""The agent's HTTP answers, byte by byte, on a socket pair: no port is opened."""

import http.client
import io
import json
import socket
import threading
from types import SimpleNamespace
from typing import Any

import pytest

from worker_agent.commands import CommandVerifier
from worker_agent.errors import CommandRefusedError
from worker_agent.server import CONNECTIONS, AgentServer, _Handler
from worker_agent.state_machine import Drain, Resume, Snapshot, WorkerState
from worker_agent.wire import AgentReport

ARN = "arn:aws:ecs:us-east-1:123456789012:task/openmwaa-test/abc"
CLIENT = ("10.0.0.9", 4711)


class FakeAgent:
    """The served agent; it records commands and has one report."""

    def __init__(self) -> None:
        self.executed: list[Drain | Resume] = []
        self.current = AgentReport(ARN, WorkerState(), now=0.0, wall=0.0)

    def report(self) -> AgentReport:
        return self.current

    def execute(self, command: Drain | Resume) -> AgentReport:
        self.executed.append(command)
        return AgentReport(ARN, WorkerState(refusal="after the command"), now=0.0, wall=0.0)


class FakeVerifier:
    """Accepts every command as a drain, or refuses it."""

    def __init__(self) -> None:
        self.refusal: CommandRefusedError | None = None
        self.verified: list[tuple[Any, ...]] = []

    def verify(self, command: str, body: bytes, signature: str | None, *, task_arn: str) -> Drain | Resume:
        self.verified.append((command, body, signature, task_arn))
        if self.refusal:
            raise self.refusal
        return Drain(60.0)


class HttpScenario:
    """One agent and one verifier; `send` gives a request to the handler and returns the answer."""

    def __init__(self) -> None:
        self.agent, self.verifier = FakeAgent(), FakeVerifier()

    def send(self, method: str, path: str, body: bytes = b"", *, length: str | None = None, sign: str = "s") -> Any:
        length = str(len(body)) if length is None else length
        headers = f"X-Openmwaa-Signature: {sign}\r\n" + (f"Content-Length: {length}\r\n" if length else "")
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.sendall(f"{method} {path} HTTP/1.1\r\n{headers}\r\n".encode() + body)
            ours.shutdown(socket.SHUT_WR)
            server: Any = SimpleNamespace(agent=self.agent, verifier=self.verifier)
            _Handler(theirs, CLIENT, server)
            theirs.close()
            received = io.BytesIO(b"".join(iter(lambda: ours.recv(65536), b"")))
        fake: Any = SimpleNamespace(makefile=lambda _mode: received)
        answer = http.client.HTTPResponse(fake, method=method)
        answer.begin()
        return answer

    def post(self, path: str, body: bytes = b"{}", **options: Any) -> tuple[int, Any]:
        answer = self.send("POST", path, body, **options)
        return answer.status, json.loads(answer.read())


@pytest.fixture
def scenario() -> HttpScenario:
    return HttpScenario()


def test_get_state_returns_the_report_as_json(scenario: HttpScenario) -> None:
    answer = scenario.send("GET", "/v1/state")
    body = answer.read()
    assert (answer.status, json.loads(body)) == (200, scenario.agent.current.to_wire())
    assert answer.getheader("Content-Type") == "application/json"
    assert answer.getheader("Content-Length") == str(len(body))
    assert answer.getheader("Allow") is None
    assert answer.getheader("Server") == "openmwaa-worker-agent ", "without the version of Python"


def test_the_state_of_a_worker_whose_main_loop_hangs_is_an_error(scenario: HttpScenario) -> None:
    state = WorkerState(gate_until=1000.0, snapshot=Snapshot(0, True, 0, 0, 0, 0, 5))
    scenario.agent.current = AgentReport(ARN, state, now=500.0, wall=0.0, snapshot_due=499.0)
    answer = scenario.send("GET", "/v1/state")
    assert (answer.status, json.loads(answer.read())) == (
        503,
        {"error": "the worker's main loop does not report: it may hang, or have no broker"},
    )


@pytest.mark.parametrize("command", ["drain", "resume"])
def test_a_verified_command_is_executed_and_the_new_state_returned(scenario: HttpScenario, command: str) -> None:
    status, state = scenario.post(f"/v1/{command}", b'{"a": 1}')
    assert scenario.verifier.verified == [(command, b'{"a": 1}', "s", ARN)]
    assert (status, scenario.agent.executed) == (200, [Drain(60.0)])
    assert state["protection_refusal"] == "after the command"


def test_a_refused_command_is_answered_with_its_status_and_logged(
    scenario: HttpScenario, caplog: pytest.LogCaptureFixture
) -> None:
    scenario.verifier.refusal = CommandRefusedError(403, "the nonce was used before")
    assert scenario.post("/v1/drain") == (403, {"error": "the nonce was used before"})
    assert scenario.agent.executed == []
    (record,) = caplog.records
    assert record.getMessage() == "worker agent: drain from 10.0.0.9 refused: the nonce was used before"


@pytest.mark.parametrize(
    ("method", "path", "status", "error", "allow"),
    [
        ("GET", "/", 404, "not found: /", None),
        ("POST", "/v1/other", 404, "not found: /v1/other", None),
        ("GET", "/v1/drain", 405, "/v1/drain accepts POST only", "POST"),
        ("GET", "/v1/resume", 405, "/v1/resume accepts POST only", "POST"),
        ("POST", "/v1/state", 405, "/v1/state accepts GET only", "GET"),
        ("PUT", "/v1/state", 405, "/v1/state accepts GET only", "GET"),
        ("DELETE", "/v1/drain", 405, "/v1/drain accepts POST only", "POST"),
        ("PATCH", "/v1/drain", 405, "/v1/drain accepts POST only", "POST"),
        ("OPTIONS", "/v1/drain", 405, "/v1/drain accepts POST only", "POST"),
    ],
)
def test_other_paths_and_methods_are_errors(
    scenario: HttpScenario, method: str, path: str, status: int, error: str, allow: str | None
) -> None:
    answer = scenario.send(method, path)
    assert (answer.status, json.loads(answer.read())) == (status, {"error": error})
    assert answer.getheader("Allow") == allow
    assert scenario.verifier.verified == []


def test_the_answer_to_head_has_no_body(scenario: HttpScenario) -> None:
    answer = scenario.send("HEAD", "/v1/state")
    assert (answer.status, answer.fp.read()) == (405, b"")
    assert int(answer.getheader("Content-Length")) > 0


@pytest.mark.parametrize(
    ("body", "length", "error"),
    [
        pytest.param(b"{}", "", "Content-Length is missing", id="no length"),
        pytest.param(b"{}", "two", "Content-Length is missing", id="the length is no number"),
        pytest.param(b"{}", "-1", "the body is longer than 4096 bytes", id="a negative length"),
        pytest.param(b" " * 4097, None, "the body is longer than 4096 bytes", id="one byte too long"),
        pytest.param(b"{}", "3", "the body is shorter than Content-Length", id="cut"),
    ],
)
def test_a_body_of_another_length_is_refused(
    scenario: HttpScenario, body: bytes, length: str | None, error: str
) -> None:
    assert scenario.post("/v1/drain", body, length=length) == (400, {"error": error})
    assert scenario.verifier.verified == []


@pytest.mark.parametrize("size", [0, 4096])
def test_a_body_within_the_limit_is_verified(scenario: HttpScenario, size: int) -> None:
    assert scenario.post("/v1/drain", b" " * size)[0] == 200
    assert scenario.verifier.verified[0][1] == b" " * size


def handler_without_request(scenario: HttpScenario) -> Any:
    handler = _Handler.__new__(_Handler)
    handler.server = SimpleNamespace(agent=scenario.agent, verifier=scenario.verifier)  # type: ignore[assignment]
    handler.client_address = CLIENT
    return handler


def test_a_body_that_does_not_arrive_in_time_is_refused(scenario: HttpScenario) -> None:
    def read(_length: int) -> bytes:
        raise TimeoutError

    handler = handler_without_request(scenario)
    handler.headers, handler.rfile = {"Content-Length": "2"}, SimpleNamespace(read=read)
    with pytest.raises(CommandRefusedError, match="the body did not arrive in time") as refused:
        handler._body()
    assert refused.value.status == 400
    assert _Handler.timeout == 5.0


def test_a_client_that_is_gone_is_no_error(scenario: HttpScenario) -> None:
    def write(_data: bytes) -> None:
        raise BrokenPipeError

    handler = handler_without_request(scenario)
    handler.request_version, handler.command, handler.requestline = "HTTP/1.1", "GET", "GET / HTTP/1.1"
    handler.wfile = SimpleNamespace(write=write)
    handler._answer(200, {})


class UnboundServer(AgentServer):
    """A server without a port: it records closed connections instead."""

    def __init__(self) -> None:
        self._connections = threading.BoundedSemaphore(CONNECTIONS)
        self.closed: list[Any] = []
        self.started: list[Any] = []
        self.finish_request = lambda *_: None  # type: ignore[method-assign]

    def shutdown_request(self, request: Any) -> None:
        self.closed.append(request)


@pytest.fixture
def unbound(monkeypatch: pytest.MonkeyPatch) -> UnboundServer:
    server = UnboundServer()

    def thread(*, target: Any, args: tuple[Any, ...]) -> Any:
        return SimpleNamespace(start=lambda: server.started.append((target, args)), daemon=None)

    monkeypatch.setattr("socketserver.threading.Thread", thread)
    return server


def test_connections_above_the_limit_are_closed_and_an_ended_one_makes_room(unbound: UnboundServer) -> None:
    for number in range(CONNECTIONS + 2):
        unbound.process_request(number, CLIENT)
    assert (CONNECTIONS, len(unbound.started), unbound.closed) == (16, 16, [16, 17])
    target, arguments = unbound.started[0]
    target(*arguments)
    assert unbound.closed == [16, 17, 0], "the served connection is closed too"
    unbound.process_request(18, CLIENT)
    assert len(unbound.started) == 17


def test_a_connection_whose_handler_fails_makes_room(unbound: UnboundServer, caplog: pytest.LogCaptureFixture) -> None:
    def fail(*_: Any) -> None:
        raise ConnectionResetError

    unbound.finish_request = fail  # type: ignore[method-assign,assignment]
    caplog.set_level("DEBUG", logger="worker_agent.server")
    for number in range(2 * CONNECTIONS):
        unbound.process_request(number, CLIENT)
        target, arguments = unbound.started[-1]
        target(*arguments)
    assert len(unbound.started) == 2 * CONNECTIONS
    assert {record.levelname for record in caplog.records} == {"DEBUG"}, "a client's error is no error of the worker"
    assert caplog.records[0].exc_info


def test_a_connection_without_a_thread_makes_room(unbound: UnboundServer, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_: Any) -> Any:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("socketserver.threading.Thread", fail)
    for number in range(2 * CONNECTIONS):
        with pytest.raises(RuntimeError):
            unbound.process_request(number, CLIENT)
    assert unbound.closed == []


def test_the_server_closes_its_port_in_pool_processes_that_are_forked_later(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []
    registered: list[Any] = []
    monkeypatch.setattr("socketserver.TCPServer.__init__", lambda _self, *arguments: made.append(arguments))
    monkeypatch.setattr("worker_agent.server.os.register_at_fork", lambda **hooks: registered.append(hooks))
    agent, verifier = FakeAgent(), CommandVerifier(None)
    server = AgentServer("10.0.0.7", 8790, agent=agent, verifier=verifier)
    assert made == [(("10.0.0.7", 8790), _Handler)]
    assert (server.agent, server.verifier) == (agent, verifier)
    ((hook,),) = [list(hooks.items()) for hooks in registered]
    closed: list[bool] = []
    server.socket = SimpleNamespace(close=lambda: closed.append(True))  # type: ignore[assignment]
    assert hook[0] == "after_in_child"
    hook[1]()
    assert closed == [True]
    assert (server.daemon_threads, server.block_on_close) == (True, False)


def test_a_port_that_is_closed_already_is_no_error_after_a_fork() -> None:
    def fail() -> None:
        raise OSError

    server = UnboundServer()
    server.socket = SimpleNamespace(close=fail)  # type: ignore[assignment]
    server._close_in_child()
