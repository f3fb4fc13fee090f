# SPDX-License-Identifier: Apache-2.0
"""The agents inside the workers, over HTTP inside the VPC: read their state, post signed drains and resumes.

A command is JSON bytes and an Ed25519 signature over exactly those bytes. It names the task, works once (nonce) and
expires after 30 s. Workers have the public key only, because the users' code runs beside them.
"""

import base64
import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, get_args

import aiohttp
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from scaler.adapters.deadline import calling, natural
from scaler.core.model import AgentState, Phase, Task
from scaler.errors import BadAnswerError, SourceError
from scaler.ports import rfc3339

SOURCE = "agent"
PHASES = frozenset(get_args(Phase))
COMMAND_LIFE = timedelta(seconds=30)
ANSWER_LIMIT = 16 * 1024
CONCURRENCY_LIMIT = 1000
OK = 200


def signing_key(seed: str) -> Ed25519PrivateKey:
    """Return the private key whose seed is the SHA-256 of `seed`, which may be any string."""
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(seed.encode()).digest())


def public_key(seed: str) -> str:
    """Return the value of the workers' WORKER_AGENT_PUBLIC_KEY."""
    return base64.b64encode(signing_key(seed).public_key().public_bytes_raw()).decode()


@dataclass(frozen=True)
class WorkerAgents:
    """The port `WorkersPort`."""

    session: aiohttp.ClientSession
    key: Ed25519PrivateKey = field(repr=False)
    port: int
    wall: Callable[[], datetime]
    nonce: Callable[[], str]
    deadline_s: float = 2.0

    async def state(self, task: Task) -> AgentState:
        """Return the state that the agent of `task` reports."""
        return await self._request("GET", "state", task, None)

    async def drain(self, task: Task, lease_s: float) -> AgentState:
        """Post a drain that holds `lease_s` seconds."""
        return await self._request("POST", "drain", task, {"lease_s": math.ceil(lease_s)})

    async def resume(self, task: Task) -> AgentState:
        """Post a resume."""
        return await self._request("POST", "resume", task, {})

    async def _request(self, method: str, name: str, task: Task, command: dict[str, Any] | None) -> AgentState:
        if task.address is None:
            raise SourceError(SOURCE, "the task has no address yet")
        body, headers = (None, {}) if command is None else self._signed(name, task, command)
        url = f"http://{task.address}:{self.port}/v1/{name}"
        async with (
            calling(SOURCE, self.deadline_s, aiohttp.ClientError, OSError),
            self.session.request(method, url, data=body, headers=headers, allow_redirects=False) as answer,
        ):
            text = await answer.content.read(ANSWER_LIMIT)
            if answer.status != OK:
                raise SourceError(SOURCE, f"{name} answered {answer.status}: {text[:200].decode(errors='replace')}")
            return parse_state(text, task.arn, self.wall())

    def _signed(self, name: str, task: Task, command: dict[str, Any]) -> tuple[bytes, dict[str, str]]:
        now = self.wall()
        document = {
            "version": 1,
            "command": name,
            "task_arn": task.arn,
            "nonce": self.nonce(),
            "issued_at": rfc3339(now),
            "expires_at": rfc3339(now + COMMAND_LIFE),
            **command,
        }
        body = json.dumps(document, separators=(",", ":")).encode()
        signature = base64.b64encode(self.key.sign(body)).decode()
        return body, {"Content-Type": "application/json", "X-Openmwaa-Signature": signature}


def parse_state(text: bytes, arn: str, now: datetime) -> AgentState:
    """Parse an answer; raise BadAnswerError for another task's state, an unknown phase or an absurd number."""
    try:
        state = json.loads(text)
        if state["task_arn"] != arn:
            raise BadAnswerError(SOURCE, f"another task answered: {state['task_arn']}")
        if state["version"] != 1 or state["phase"] not in PHASES:
            raise BadAnswerError(SOURCE, f"version {state['version']!r}, phase {state['phase']!r}")
        until = state["protected_until"]
        concurrency = natural(SOURCE, "concurrency", state["concurrency"])
        # A worker that starts may not have its pool yet; a worker that consumes has one.
        if not (0 if state["phase"] in ("starting", "refused", "stopping") else 1) <= concurrency <= CONCURRENCY_LIMIT:
            raise BadAnswerError(SOURCE, f"concurrency {concurrency}")
        return AgentState(
            phase=state["phase"],
            running=natural(SOURCE, "running", state["running"]),
            reserved=natural(SOURCE, "reserved", state["reserved"]),
            concurrency=concurrency,
            protected=until is not None and datetime.fromisoformat(until) > now,
            refusal=state["protection_refusal"],
            # Agents of an earlier release do not report it: their held messages are demand.
            scheduled=natural(SOURCE, "scheduled", state.get("scheduled", 0)),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadAnswerError(SOURCE, f"unreadable state: {type(error).__name__} {error}") from error
