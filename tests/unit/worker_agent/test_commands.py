# SPDX-License-Identifier: Apache-2.0
"""The limits of a signed command, at one fixed time."""

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from scaler.adapters.worker_agent import WorkerAgents
from scaler.core.model import Task
from worker_agent.commands import NONCES_KEPT, CommandVerifier
from worker_agent.errors import CommandRefusedError
from worker_agent.state_machine import Drain, Resume

ARN = "arn:aws:ecs:us-east-1:123456789012:task/openmwaa-test/abc"
KEY = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
NOW = datetime(2026, 3, 1, 10, 0, tzinfo=UTC)


def after(seconds: float) -> str:
    return (NOW + timedelta(seconds=seconds)).isoformat()


FIELDS = {
    "version": 1,
    "command": "drain",
    "task_arn": ARN,
    "nonce": "n" * 8,
    "issued_at": after(0),
    "expires_at": after(30),
    "lease_s": 60,
}


class VerifierScenario:
    """A verifier with a clock; `send` signs fields."""

    def __init__(self) -> None:
        self.now = NOW.timestamp()
        self.verifier = CommandVerifier(KEY.public_key().public_bytes_raw(), wall=lambda: self.now)

    def send(self, path: str = "drain", **changes: Any) -> Drain | Resume:
        fields = {name: value for name, value in {**FIELDS, **changes}.items() if value is not None}
        body = json.dumps(fields).encode()
        signature = base64.b64encode(KEY.sign(body)).decode()
        return self.verifier.verify(path, body, signature, task_arn=ARN)

    def refusal(self, **changes: Any) -> tuple[int, str]:
        with pytest.raises(CommandRefusedError) as refused:
            self.send(**changes)
        return refused.value.status, refused.value.reason


@pytest.fixture
def scenario() -> VerifierScenario:
    return VerifierScenario()


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"issued_at": after(300), "expires_at": after(330)}, id="issued by a clock 300 s ahead"),
        pytest.param({"issued_at": after(-329), "expires_at": after(-299)}, id="issued by a clock 300 s behind"),
        pytest.param({"issued_at": after(-899), "expires_at": after(1)}, id="valid for 900 s"),
        pytest.param({"nonce": "n" * 128}, id="longest nonce"),
        pytest.param({"lease_s": 1}, id="shortest lease"),
        pytest.param({"lease_s": 3600}, id="longest lease"),
    ],
)
def test_a_command_at_its_limits_is_accepted(scenario: VerifierScenario, changes: dict[str, Any]) -> None:
    assert scenario.send(**changes) == Drain(float(changes.get("lease_s", 60)))


def test_a_resume_has_no_lease(scenario: VerifierScenario) -> None:
    assert scenario.send("resume", command="resume", lease_s=None) == Resume()


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        pytest.param({"version": None}, (400, "the body is not a drain of version 1"), id="no version"),
        pytest.param({"version": 2}, (400, "the body is not a drain of version 1"), id="another version"),
        pytest.param({"command": "resume"}, (400, "the body is not a drain of version 1"), id="another command"),
        pytest.param({"nonce": None}, (400, "nonce must be a string of 8 to 128 characters"), id="no nonce"),
        pytest.param({"nonce": "n" * 7}, (400, "nonce must be a string of 8 to 128 characters"), id="short nonce"),
        pytest.param({"nonce": "n" * 129}, (400, "nonce must be a string of 8 to 128 characters"), id="long nonce"),
        pytest.param({"nonce": ["n"] * 8}, (400, "nonce must be a string of 8 to 128 characters"), id="nonce list"),
        pytest.param({"lease_s": None}, (400, "lease_s must be a whole number from 1 to 3600"), id="no lease"),
        pytest.param({"lease_s": 0}, (400, "lease_s must be a whole number from 1 to 3600"), id="short lease"),
        pytest.param({"lease_s": 3601}, (400, "lease_s must be a whole number from 1 to 3600"), id="long lease"),
        pytest.param({"lease_s": True}, (400, "lease_s must be a whole number from 1 to 3600"), id="lease true"),
        pytest.param({"lease_s": 1.5}, (400, "lease_s must be a whole number from 1 to 3600"), id="half a second"),
        pytest.param({"issued_at": None}, (400, "issued_at must be a date and time (RFC 3339)"), id="not issued"),
        pytest.param({"issued_at": 5}, (400, "issued_at must be a date and time (RFC 3339)"), id="a number"),
        pytest.param({"expires_at": "soon"}, (400, "expires_at must be a date and time (RFC 3339)"), id="no date"),
        pytest.param({"expires_at": "2026-03-01T10:00:01"}, (400, "expires_at must have a time zone"), id="no zone"),
        pytest.param({"task_arn": ARN + "d"}, (403, "the command is for another task"), id="another task"),
        pytest.param({"task_arn": None}, (403, "the command is for another task"), id="no task"),
        pytest.param(
            {"issued_at": after(-330), "expires_at": after(-300)},
            (403, "the command has expired or is not valid yet: issued -330 s from this worker's time"),
            id="expired",
        ),
        pytest.param(
            {"issued_at": after(301), "expires_at": after(331)},
            (403, "the command has expired or is not valid yet: issued +301 s from this worker's time"),
            id="from the future",
        ),
        pytest.param({"expires_at": after(900.1)}, (403, "the command is valid for more than 900 s"), id="too long"),
    ],
)
def test_a_command_outside_its_limits_is_refused_with_the_reason(
    scenario: VerifierScenario, changes: dict[str, Any], refusal: tuple[int, str]
) -> None:
    assert scenario.refusal(**changes) == refusal
    assert scenario.send() == Drain(60.0), "a refused command does not use its nonce"


def test_a_nonce_is_refused_the_second_time_also_with_other_fields(scenario: VerifierScenario) -> None:
    scenario.send()
    assert scenario.refusal(lease_s=61) == (403, "the nonce was used before")


@pytest.mark.parametrize("skew_s", [-300, -90, 0, 90, 300])
def test_a_command_of_the_scaler_works_once_whatever_the_skew_of_the_clocks(
    scenario: VerifierScenario, skew_s: int
) -> None:
    """It is sent again every 10 s, and each time other commands fill the place for nonces."""
    agents: Any = WorkerAgents(None, KEY, 8790, lambda: NOW + timedelta(seconds=skew_s), "nonce-of-it".__str__)  # type: ignore[arg-type]
    body, headers = agents._signed("drain", Task(ARN, "RUNNING"), {"lease_s": 60})
    signature = headers["X-Openmwaa-Signature"]
    assert scenario.verifier.verify("drain", body, signature, task_arn=ARN) == Drain(60.0)
    for second in range(10, 700, 10):
        scenario.now = NOW.timestamp() + second
        full = {f"other-{number}": scenario.now - 1 for number in range(NONCES_KEPT)}
        scenario.verifier._nonces = full | scenario.verifier._nonces
        scenario.send(nonce=f"second-{second:04d}", issued_at=after(second), expires_at=after(second + 30))
        with pytest.raises(CommandRefusedError):
            scenario.verifier.verify("drain", body, signature, task_arn=ARN)


def test_the_number_of_stored_nonces_is_limited_and_expired_ones_make_room(scenario: VerifierScenario) -> None:
    for number in range(NONCES_KEPT - 1):
        scenario.verifier._nonces[f"nonce-{number:08}"] = scenario.now + 30
    scenario.send(nonce="the last one", expires_at=after(60))
    assert scenario.refusal(nonce="one more") == (403, "too many commands")
    scenario.now += 30
    scenario.send(nonce="one more", expires_at=after(60))
    assert set(scenario.verifier._nonces) == {"the last one", "one more"}
    assert scenario.refusal(nonce="the last one", expires_at=after(60)) == (403, "the nonce was used before")


def test_expired_nonces_stay_while_there_is_room(scenario: VerifierScenario) -> None:
    scenario.send()
    scenario.now += 40
    assert scenario.refusal(expires_at=after(60)) == (403, "the nonce was used before")


@pytest.mark.parametrize(
    "signature",
    [None, "", "!!!!", base64.b64encode(b"s" * 64).decode()],
    ids=["none", "empty", "not base64", "another key"],
)
def test_an_invalid_signature_is_refused_before_the_body_is_parsed(
    scenario: VerifierScenario, signature: str | None
) -> None:
    with pytest.raises(CommandRefusedError, match="the signature is missing or invalid") as refused:
        scenario.verifier.verify("drain", b"{", signature, task_arn=ARN)
    assert refused.value.status == 401


def test_characters_outside_base64_make_a_signature_invalid(scenario: VerifierScenario) -> None:
    body = json.dumps(FIELDS).encode()
    signature = base64.b64encode(KEY.sign(body)).decode()
    with pytest.raises(CommandRefusedError, match="signature"):
        scenario.verifier.verify("drain", body, signature[:5] + "\n" + signature[5:], task_arn=ARN)


@pytest.mark.parametrize(
    ("body", "reason"),
    [(b"[]", "the body is not a JSON object"), (b"{", "the body is not JSON"), (b"[" * 10**5, "the body is not JSON")],
    ids=["list", "cut", "deep"],
)
def test_a_signed_body_that_is_no_object_is_refused(scenario: VerifierScenario, body: bytes, reason: str) -> None:
    with pytest.raises(CommandRefusedError) as refused:
        scenario.verifier.verify("drain", body, base64.b64encode(KEY.sign(body)).decode(), task_arn=ARN)
    assert (refused.value.status, refused.value.reason) == (400, reason)


@pytest.mark.parametrize("key", [None, b""], ids=["none", "empty"])
def test_without_a_public_key_every_command_is_refused(key: bytes | None) -> None:
    with pytest.raises(CommandRefusedError, match="no public key") as refused:
        CommandVerifier(key).verify("drain", b"{}", "", task_arn=ARN)
    assert refused.value.status == 401
    assert str(refused.value) == refused.value.reason
