# SPDX-License-Identifier: Apache-2.0
"""The client of the worker agents: signed commands, and states that must not be believed."""

import base64
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import jsonschema
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from scaler.adapters.worker_agent import WorkerAgents, parse_state, signing_key
from scaler.core.model import AgentState, Task
from scaler.errors import BadAnswerError, DeadlineError, SourceError

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
ARN = "arn:aws:ecs:us-east-1:123456789012:task/openmwaa-test/1"
WIRE = json.loads((Path(__file__).parents[3] / "worker_agent" / "wire.schema.json").read_text())
STATE: dict[str, Any] = {
    "version": 1,
    "task_arn": ARN,
    "phase": "consuming",
    "gate": "open",
    "polls_in_flight": 1,
    "reserved": 2,
    "scheduled": 1,
    "running": 2,
    "concurrency": 5,
    "longest_running_s": 3.5,
    "protected_until": "2026-01-01T13:00:00Z",
    "protection_refusal": None,
    "drain_lease_until": None,
}


def on_the_wire(part: str, document: object) -> None:
    jsonschema.validate(document, {"$ref": f"#/$defs/{part}", "$defs": WIRE["$defs"]})


class Agent:
    """A worker's agent that records its requests."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, bytes, str]] = []
        self.answer: web.Response | None = None

    async def handle(self, request: web.Request) -> web.Response:
        self.requests.append((request.path, await request.read(), request.headers.get("X-Openmwaa-Signature", "")))
        return self.answer or web.json_response(STATE)


@asynccontextmanager
async def talking(deadline_s: float = 2.0) -> AsyncIterator[tuple[Agent, WorkerAgents, Task]]:
    agent, app = Agent(), web.Application()
    app.router.add_route("*", "/v1/{word}", agent.handle)
    server = TestServer(app)
    await server.start_server()
    async with aiohttp.ClientSession() as session:
        nonces = iter(f"nonce-{number:04d}" for number in range(100))
        client = WorkerAgents(
            session,
            signing_key("seed"),
            port=server.port or 0,
            wall=lambda: NOW,
            nonce=lambda: next(nonces),
            deadline_s=deadline_s,
        )
        yield agent, client, Task(ARN, "RUNNING", address="127.0.0.1")
    await server.close()


def test_the_key_is_made_from_the_seed() -> None:
    ours = signing_key("any string").public_key()
    theirs = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"any string").digest()).public_key()
    assert ours == theirs


async def test_reads_a_state() -> None:
    on_the_wire("state", STATE)
    async with talking() as (agent, client, task):
        assert await client.state(task) == AgentState("consuming", 2, 2, 5, protected=True, scheduled=1)
        assert agent.requests == [("/v1/state", b"", "")]


@pytest.mark.parametrize("word", ["drain", "resume"])
async def test_signs_a_command_over_its_exact_bytes(word: str) -> None:
    async with talking() as (agent, client, task):
        await (client.drain(task, 30.0) if word == "drain" else client.resume(task))
        await (client.drain(task, 30.0) if word == "drain" else client.resume(task))
    (path, body, signature), (_, second, _) = agent.requests
    signing_key("seed").public_key().verify(base64.b64decode(signature), body)
    command = json.loads(body)
    on_the_wire("command", command)
    assert path == f"/v1/{word}"
    assert (command["command"], command["task_arn"]) == (word, ARN)
    assert command.get("lease_s") == (30 if word == "drain" else None)
    assert datetime.fromisoformat(command["expires_at"]) - datetime.fromisoformat(command["issued_at"]) == timedelta(
        seconds=30
    )
    assert json.loads(second)["nonce"] != command["nonce"], "the same nonce twice is a replay"


@pytest.mark.parametrize("status", [301, 401, 403, 500])
async def test_any_other_status_is_an_error(status: int) -> None:
    async with talking() as (agent, client, task):
        agent.answer = web.json_response({"error": "no"}, status=status, headers={"Location": "http://127.0.0.1/"})
        with pytest.raises(SourceError, match=str(status)):
            await client.state(task)


async def test_an_agent_without_an_answer_ends_at_the_deadline() -> None:
    async with talking(deadline_s=0.05) as (agent, client, task):
        agent.answer = web.Response(headers={"Content-Length": "100"})  # and then never a byte
        with pytest.raises((DeadlineError, SourceError)):
            await client.state(task)


async def test_a_task_without_address_is_an_error() -> None:
    async with talking() as (_, client, _task):
        with pytest.raises(SourceError, match="no address"):
            await client.state(Task(ARN, "RUNNING"))


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"task_arn": "arn:other"}, id="another task at the same address"),
        pytest.param({"version": 2}, id="another version"),
        pytest.param({"phase": "dancing"}, id="unknown phase"),
        pytest.param({"running": -1}, id="negative"),
        pytest.param({"running": 1.5}, id="not whole"),
        pytest.param({"reserved": True}, id="no number"),
        pytest.param({"concurrency": 0}, id="consumes without a process"),
        pytest.param({"concurrency": 1_000_000}, id="absurd"),
        pytest.param({"protected_until": "soon"}, id="no time"),
        pytest.param({"protected_until": "2026-01-01T13:00:00"}, id="a time without zone"),
    ],
)
def test_invalid_states(change: dict[str, object]) -> None:
    with pytest.raises(BadAnswerError):
        parse_state(json.dumps(STATE | change).encode(), ARN, NOW)


@pytest.mark.parametrize("text", [b"", b"[]", b"null", b"{", b'{"version":1}', b"\xff"])
def test_texts_that_are_not_a_state(text: bytes) -> None:
    with pytest.raises(BadAnswerError):
        parse_state(text, ARN, NOW)


def test_expired_protection_does_not_count() -> None:
    past = STATE | {"protected_until": "2026-01-01T11:59:59Z"}
    assert not parse_state(json.dumps(past).encode(), ARN, NOW).protected
