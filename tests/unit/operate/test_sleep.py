# SPDX-License-Identifier: Apache-2.0
"""`openmwaa sleep` and `wake`: the record, what they wait for, and their exit codes."""

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from openmwaa.cli import app
from openmwaa.cli import sleep as command
from openmwaa.config.environment import Environment
from openmwaa.operate import services, waiting
from openmwaa.operate.sleep import awake_status
from openmwaa.operate.waiting import WaitStatus
from scaler.config.sleep import memory_text
from scaler.core.sleep import SleepMemory, SleepRequest, SleepState
from tests.support.environments import LEAST
from tests.support.fake_connection import FakeConnection

PARAMETER = "/openmwaa/example/sleep"
SETTINGS = {"command": PARAMETER, "memory": f"{PARAMETER}-memory", "database": "example"}
NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
SLEEPS = {**LEAST, "sleep": {}, "metadata_database": {"kind": "RDS_POSTGRESQL"}}


@dataclass
class Account:
    """ECS, RDS, SSM and STS of an environment whose scaler follows after some polls."""

    settings: dict[str, str] | None = field(default_factory=SETTINGS.copy)
    parameter: str | None = None
    polls: int = 0
    follows_after: int = 3

    @property
    def asleep(self) -> bool:
        state = json.loads(self.parameter or "{}").get("state", "awake")
        return bool((state == "asleep") == (self.polls >= self.follows_after))

    def describe_services(self, *, cluster: str, services: list[str]) -> Any:
        self.polls += len(services) > 1
        count = 0 if self.asleep else 1
        return {
            "services": [
                {
                    "serviceName": name,
                    "status": "ACTIVE",
                    "taskDefinition": "scaler:3",
                    "pendingCount": 0,
                    "desiredCount": count,
                    "runningCount": count,
                }
                for name in services
            ]
        }

    def describe_task_definition(self, **_: str) -> Any:
        value = json.dumps({"sleep": self.settings} if self.settings else {})
        return {
            "taskDefinition": {"containerDefinitions": [{"environment": [{"name": "SCALER_CONFIG", "value": value}]}]}
        }

    def describe_db_instances(self, **request: str) -> Any:
        assert request == {"DBInstanceIdentifier": "example"}
        return {"DBInstances": [{"DBInstanceStatus": "stopped" if self.asleep else "available"}]}

    def get_parameters(self, **request: Any) -> Any:
        if request == {"Names": [PARAMETER]}:
            return {"Parameters": [{"Value": self.parameter, "LastModifiedDate": datetime.now(UTC)}]}
        assert request == {"Names": [SETTINGS["memory"]]}
        state: SleepState = "asleep" if self.asleep else "awake"
        memory = SleepMemory("first", NOON, SleepRequest(state, NOON, "schedule"), down=self.asleep)
        return {"Parameters": [{"Value": memory_text(memory)}]}

    def put_parameter(self, **request: Any) -> Any:
        assert (request["Name"], request["Type"], request["Overwrite"]) == (PARAMETER, "String", True)
        self.parameter, self.polls = request["Value"], 0
        return {"Version": 2}

    def get_caller_identity(self) -> Any:
        return {"Arn": "arn:aws:iam::123456789012:user/one"}

    @property
    def record(self) -> Any:
        return json.loads(self.parameter or "{}")


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Account:
    made = Account()
    time = [0.0]
    monkeypatch.setattr(command, "connect", lambda *_, **__: connection(made))
    monkeypatch.setattr(
        waiting.wait, "__kwdefaults__", {"clock": lambda: time[0], "sleep": lambda s: time.append(time.pop() + s)}
    )
    monkeypatch.setattr("openmwaa.operate.sleep.control_plane_status", awaited)
    return made


def connection(account: Account) -> FakeConnection:
    names = ("ecs", "rds", "ssm", "sts")
    return FakeConnection(Environment.model_validate(SLEEPS), Path("environment.yaml"), fake=account, services=names)


def awaited(connected: FakeConnection) -> WaitStatus:
    """The control plane's status, without its revisions."""
    found = services.describe(connected, ["control-plane", "scaler"])
    return WaitStatus(() if found["control-plane"]["runningCount"] else ("control-plane: 0 of 1 tasks run",))


def call(*words: str) -> Result:
    return CliRunner().invoke(app, [*words, "environment.yaml"])


@pytest.mark.parametrize(("word", "state"), [("sleep", "asleep"), ("wake", "awake")])
def test_the_command_writes_the_record_and_waits(account: Account, word: str, state: str) -> None:
    result = call(word, "--reason", "cost")
    assert result.exit_code == 0, result.output
    assert account.record["state"] == state
    assert (account.record["by"], account.record["reason"]) == ("arn:aws:iam::123456789012:user/one", "cost")
    assert f"example is {state}" in result.output
    assert account.polls >= account.follows_after, "it was to wait"


def test_the_result_is_json(account: Account) -> None:
    result = call("sleep", "--json")
    document = json.loads(result.stdout)
    assert document["outcome"] == "done"
    assert document["command"]["state"] == "asleep"
    assert document["database"] == "stopped"
    assert set(document["tasks"].values()) == {0}


def test_what_is_awaited_is_shown(account: Account) -> None:
    output = call("sleep").output
    assert "worker-default-a: 1 left" in output
    assert "control-plane: 1 left" in output
    assert "the database is available" in output


def test_a_timeout_has_its_exit_code(account: Account) -> None:
    account.follows_after = 1_000_000
    result = call("sleep", "--timeout", "10m")
    assert result.exit_code == 3
    assert "not asleep yet. The scaler goes on." in " ".join(result.output.split())


def test_without_a_wait_only_the_record_changes(account: Account) -> None:
    result = call("sleep", "--no-wait")
    assert (result.exit_code, account.polls) == (0, 0)
    assert account.record["state"] == "asleep"


@pytest.mark.parametrize("word", ["sleep", "wake"])
def test_an_environment_that_was_applied_without_sleep_is_refused(account: Account, word: str) -> None:
    account.settings = None
    result = call(word)
    assert result.exit_code == 2
    assert "Add `sleep: {}`" in result.output
    assert account.parameter is None


def test_waiting_for_an_environment_that_sleeps_is_a_failure(account: Account) -> None:
    call("wake")
    assert awake_status(connection(account)).outcome == "done"
    call("sleep")
    (failure,) = awake_status(connection(account)).failures
    assert "example is asleep, by schedule" in failure
    assert "openmwaa wake" in failure


@pytest.mark.parametrize(("state", "outcome"), [("awake", "done"), ("asleep", "failed")])
def test_a_command_that_the_scaler_has_yet_to_read_counts(account: Account, state: str, outcome: str) -> None:
    """So `wait` after `wake --no-wait`, or in a deploy, does not end at once."""
    account.parameter = json.dumps({"version": 1, "state": state, "at": "2026-06-01T13:00:00Z"})
    account.polls = 0 if state == "awake" else account.follows_after
    assert account.asleep
    assert awake_status(connection(account)).outcome == outcome


def test_a_reason_that_ssm_does_not_store_is_refused(account: Account) -> None:
    result = call("sleep", "--reason", "x" * 513)
    assert result.exit_code == 2
    assert "513 characters" in result.output
    assert account.parameter is None
