# SPDX-License-Identifier: Apache-2.0
"""Scaler and agents of neighbouring releases, with messages and readers of version 1 as they were first released.

During an upgrade the new scaler runs beside workers of the old revision, for as long as their tasks take; after a
rollback an old scaler runs beside new workers. `version_1.json` is never changed: a format that does not fit it needs a
new version, and a scaler that reads both.
"""

import base64
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from scaler.adapters.worker_agent import WorkerAgents, parse_state, signing_key
from scaler.core.model import AgentState, Task
from worker_agent.commands import CommandVerifier
from worker_agent.state_machine import Drain, Mode, Resume, Snapshot, WorkerState
from worker_agent.wire import AgentReport

RECORDED: dict[str, Any] = json.loads(Path(__file__).with_name("version_1.json").read_text(encoding="utf-8"))
NOW = datetime.fromisoformat(RECORDED["at"])
KEY = signing_key(RECORDED["seed"])
TASK = Task(RECORDED["task_arn"], "service", address="10.0.0.1")


def read_by_the_first_release(reader: str, message: Any) -> None:
    """An old reader needs these fields with these values, and ignores all others."""
    jsonschema.validate(message, RECORDED["readers"][reader])


@pytest.mark.parametrize("message", RECORDED["states"], ids=lambda message: message["answer"]["phase"])
def test_a_new_scaler_reads_the_state_of_an_old_agent(message: dict[str, Any]) -> None:
    state = parse_state(json.dumps(message["answer"]).encode(), TASK.arn, NOW)
    assert state == AgentState(**message["read"])


@pytest.mark.parametrize("message", RECORDED["commands"], ids=lambda message: message["command"])
def test_a_new_agent_takes_the_command_of_an_old_scaler(message: dict[str, Any]) -> None:
    agent = CommandVerifier(KEY.public_key().public_bytes_raw(), wall=NOW.timestamp)
    command = agent.verify(message["command"], message["body"].encode(), message["signature"], task_arn=TASK.arn)
    assert command == (Drain(lease_s=60.0) if message["command"] == "drain" else Resume())


@pytest.mark.parametrize(
    "state",
    [
        WorkerState(),
        WorkerState(snapshot=Snapshot(1, True, 6, 5, 3, 4, 8, longest_running_s=1.5, scheduled=2), gate_until=50.0),
        WorkerState(mode=Mode.DRAIN, protected_until=3700.0, lease_until=160.0, refusal="DEPLOYMENT_BLOCKED"),
    ],
    ids=["starting", "working", "draining"],
)
def test_an_old_scaler_reads_the_state_of_a_new_agent(state: WorkerState) -> None:
    read_by_the_first_release("state", AgentReport(TASK.arn, state, now=100.0, wall=NOW.timestamp()).to_wire())


@pytest.mark.parametrize(("command", "fields"), [("drain", {"lease_s": 60}), ("resume", {})])
def test_an_old_agent_takes_the_command_of_a_new_scaler(command: str, fields: dict[str, Any]) -> None:
    session: Any = None
    agents = WorkerAgents(session, KEY, 8790, wall=lambda: NOW, nonce=lambda: "n" * 22)
    body, headers = agents._signed(command, TASK, fields)
    read_by_the_first_release(command, json.loads(body))
    KEY.public_key().verify(base64.b64decode(headers["X-Openmwaa-Signature"]), body)
