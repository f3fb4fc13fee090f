# SPDX-License-Identifier: Apache-2.0
"""The verification of commands, and the agent's HTTP answers."""

import base64
import http.client
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.support.worker import sign
from worker_agent.commands import NONCES_KEPT, CommandVerifier
from worker_agent.errors import CommandRefusedError
from worker_agent.server import CONNECTIONS, AgentServer
from worker_agent.state_machine import Drain, Resume, Snapshot, WorkerState
from worker_agent.wire import AgentReport

ARN = "arn:aws:ecs:us-east-1:123456789012:task/openmwaa-test/abc"
KEY = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
SCHEMA = json.loads((Path(__file__).parents[3] / "worker_agent" / "wire.schema.json").read_text(encoding="utf-8"))
SNAPSHOT = Snapshot(1, True, 1, 2, 2, 2, 4, longest_running_s=1.5)


def valid(definition: str, instance: Any) -> None:
    jsonschema.validate(instance, {**SCHEMA, "$ref": f"#/$defs/{definition}"}, jsonschema.Draft202012Validator)


@pytest.fixture
def verifier() -> CommandVerifier:
    return CommandVerifier(KEY.public_key().public_bytes_raw())


@dataclass(frozen=True)
class In:
    """A time relative to the start of the test; tests are collected many minutes before they run."""

    seconds: float

    def __str__(self) -> str:
        return (datetime.now(UTC) + timedelta(seconds=self.seconds)).isoformat()


def test_signed_commands_are_accepted_and_match_the_schema(verifier: CommandVerifier) -> None:
    for command, expected in (("drain", Drain(60.0)), ("resume", Resume())):
        body, signature = sign(KEY, command, ARN)
        valid("command", json.loads(body))
        assert verifier.verify(command, body, signature, task_arn=ARN) == expected


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        pytest.param({"task_arn": ARN + "d"}, 403, id="another task"),
        pytest.param({"issued_at": In(-400), "expires_at": In(-301)}, 403, id="expired"),
        pytest.param({"issued_at": In(600), "expires_at": In(700)}, 403, id="from the future"),
        pytest.param({"expires_at": In(100_000)}, 403, id="valid for too long"),
        pytest.param({"command": "resume"}, 400, id="another command than the path"),
        pytest.param({"version": 2}, 400, id="another version"),
        pytest.param({"nonce": "short"}, 400, id="short nonce"),
        pytest.param({"nonce": 12345678}, 400, id="nonce not a string"),
        pytest.param({"expires_at": "soon"}, 400, id="no date"),
        pytest.param({"issued_at": "2026-01-01T00:00:00"}, 400, id="no time zone"),
        pytest.param({"lease_s": 0}, 400, id="no lease"),
        pytest.param({"lease_s": True}, 400, id="lease not a number"),
        pytest.param({"lease_s": 3601}, 400, id="lease too long"),
    ],
)
def test_a_signed_command_with_invalid_fields_is_refused(
    verifier: CommandVerifier, changes: dict[str, Any], status: int
) -> None:
    changes = {name: str(value) if isinstance(value, In) else value for name, value in changes.items()}
    body, signature = sign(KEY, "drain", ARN, **changes)
    with pytest.raises(CommandRefusedError) as refused:
        verifier.verify("drain", body, signature, task_arn=ARN)
    assert refused.value.status == status


@pytest.mark.parametrize("body", [b"[]", b"{", b"\xff", b"[" * 4000], ids=["list", "cut", "not UTF-8", "deep"])
def test_a_signed_body_that_is_not_an_object_is_refused(verifier: CommandVerifier, body: bytes) -> None:
    with pytest.raises(CommandRefusedError) as refused:
        verifier.verify("drain", body, base64.b64encode(KEY.sign(body)).decode(), task_arn=ARN)
    assert refused.value.status == 400


@pytest.mark.parametrize("signature", [None, "", "!!", "AAAA", "A" * 88], ids=str)
def test_a_body_without_a_valid_signature_is_not_parsed(verifier: CommandVerifier, signature: str | None) -> None:
    with pytest.raises(CommandRefusedError) as refused:
        verifier.verify("drain", b"{", signature, task_arn=ARN)
    assert refused.value.status == 401


def test_a_changed_body_or_another_key_is_refused(verifier: CommandVerifier) -> None:
    body, signature = sign(KEY, "drain", ARN)
    _, foreign = sign(Ed25519PrivateKey.generate(), "drain", ARN)
    for forged in ((body + b" ", signature), (body, foreign)):
        with pytest.raises(CommandRefusedError) as refused:
            verifier.verify("drain", *forged, task_arn=ARN)
        assert refused.value.status == 401


def test_a_command_is_accepted_once(verifier: CommandVerifier) -> None:
    body, signature = sign(KEY, "drain", ARN)
    verifier.verify("drain", body, signature, task_arn=ARN)
    with pytest.raises(CommandRefusedError, match="before"):
        verifier.verify("drain", body, signature, task_arn=ARN)


def test_an_agent_without_its_task_arn_refuses_every_command(verifier: CommandVerifier) -> None:
    body, signature = sign(KEY, "drain", "")
    with pytest.raises(CommandRefusedError, match="another task"):
        verifier.verify("drain", body, signature, task_arn="")


def test_an_agent_without_a_key_refuses_every_command() -> None:
    body, signature = sign(KEY, "drain", ARN)
    with pytest.raises(CommandRefusedError) as refused:
        CommandVerifier(None).verify("drain", body, signature, task_arn=ARN)
    assert refused.value.status == 401


def test_stored_nonces_are_bounded_and_only_expired_ones_are_removed() -> None:
    now = [datetime.now(UTC).timestamp()]
    verifier = CommandVerifier(KEY.public_key().public_bytes_raw(), wall=lambda: now[0])
    verifier._nonces.update({f"nonce-{number:08}": now[0] + 20 for number in range(NONCES_KEPT)})
    body, signature = sign(KEY, "drain", ARN)
    with pytest.raises(CommandRefusedError, match="too many"):
        verifier.verify("drain", body, signature, task_arn=ARN)
    now[0] += 25
    assert verifier.verify("drain", body, signature, task_arn=ARN) == Drain(60.0)
    assert len(verifier._nonces) == 1


class RecordingAgent:
    """An agent that records the commands."""

    def __init__(self) -> None:
        self.commands: list[Drain | Resume] = []

    def report(self) -> AgentReport:
        return AgentReport(
            task_arn=ARN,
            state=WorkerState(snapshot=SNAPSHOT, protected_until=160.0, gate_until=155.0),
            now=100.0,
            wall=0.0,
        )

    def execute(self, command: Drain | Resume) -> AgentReport:
        self.commands.append(command)
        return self.report()


Exchange = Callable[..., tuple[int, Any]]


@pytest.fixture
def agent() -> RecordingAgent:
    return RecordingAgent()


@pytest.fixture
def exchange(agent: RecordingAgent, verifier: CommandVerifier) -> Iterator[Exchange]:
    server = AgentServer("127.0.0.1", 0, agent=agent, verifier=verifier)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()

    def send(method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=10)
        try:
            names = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, names)
            response = connection.getresponse()
            text = response.read()
            return response.status, json.loads(text) if text else None
        finally:
            connection.close()

    yield send
    server.shutdown()
    server.server_close()
    thread.join()


def test_the_state_matches_the_schema(exchange: Exchange) -> None:
    status, state = exchange("GET", "/v1/state")
    assert status == 200
    valid("state", state)
    assert state["protected_until"] == "1970-01-01T00:01:00.000Z"
    assert (state["gate"], state["polls_in_flight"], state["reserved"], state["longest_running_s"]) == (
        "open",
        1,
        2,
        1.5,
    )


def test_unacknowledged_messages_count_as_reserved() -> None:
    report = AgentReport(ARN, WorkerState(snapshot=replace(SNAPSHOT, reserved=1, unacked=3)), now=0.0, wall=0.0)
    assert report.to_wire()["reserved"] == 3


def test_a_signed_drain_is_executed(exchange: Exchange, agent: RecordingAgent) -> None:
    body, signature = sign(KEY, "drain", ARN)
    status, state = exchange("POST", "/v1/drain", body, X_Openmwaa_Signature=signature)
    assert (status, agent.commands) == (200, [Drain(60.0)])
    valid("state", state)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/", 404), ("GET", "/v1/drain", 405), ("POST", "/v1/state", 405), ("DELETE", "/v1/state", 405)],
)
def test_other_paths_and_methods_are_errors(
    exchange: Exchange, agent: RecordingAgent, method: str, path: str, status: int
) -> None:
    got, answer = exchange(method, path)
    assert got == status
    valid("error", answer)
    assert agent.commands == []


def test_unsigned_and_too_long_bodies_are_refused(exchange: Exchange, agent: RecordingAgent) -> None:
    assert exchange("POST", "/v1/drain", b"{}")[0] == 401
    assert exchange("POST", "/v1/drain", b" " * 4097)[0] == 400
    assert agent.commands == []


def test_a_connection_without_a_thread_does_not_count_against_the_limit(
    agent: RecordingAgent, verifier: CommandVerifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_thread(_self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    server = AgentServer("127.0.0.1", 0, agent=agent, verifier=verifier)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_thread)
        for _ in range(CONNECTIONS + 1):
            with pytest.raises(RuntimeError):
                server.process_request(None, ("127.0.0.1", 1))
    server.server_close()
