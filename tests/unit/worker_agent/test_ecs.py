# SPDX-License-Identifier: Apache-2.0
"""The requests to the two endpoints of ECS, and the meaning of each answer. No connection is made."""

import http.client
import io
import json
import urllib.error
import urllib.request
from typing import Any

import pytest

from worker_agent import ecs
from worker_agent.ecs import ProtectionEndpoint, TaskMetadata, read_task_metadata
from worker_agent.state_machine import Call, CallAnswered, ProtectionRequest, ProtectionResult

ARN = "arn:aws:ecs:us-east-1:123456789012:task/openmwaa-test/abc"
PROTECT, RELEASE = Call(7, ProtectionRequest.PROTECT), Call(8, ProtectionRequest.RELEASE)
FAILED, REFUSED = ProtectionResult.FAILED, ProtectionResult.REFUSED
PROTECTED, UNPROTECTED = ProtectionResult.PROTECTED, ProtectionResult.UNPROTECTED
GRANTED = {"ProtectionEnabled": True, "ExpirationDate": "2026-03-01T11:00:00Z", "TaskArn": ARN}
TEN_O_CLOCK = 1772359200.0  # 2026-03-01T10:00:00Z


class RecordingResponse(io.BytesIO):
    """A response that records the limits of its reads."""

    def __init__(self, body: bytes, limits: list[int]) -> None:
        super().__init__(body)
        self._limits = limits

    def read(self, size: int | None = -1) -> bytes:
        self._limits.append(-1 if size is None else size)
        return super().read(size)


class RecordingOpener:
    """Answers with a body, or raises it if it is an error; `takes_s` of the endpoint's clock."""

    def __init__(self) -> None:
        self.body: bytes | Exception = b"{}"
        self.opened: list[tuple[Any, float]] = []
        self.limits: list[int] = []
        self.now, self.takes_s = 1000.0, 0.0
        self.wall = TEN_O_CLOCK

    def open(self, request: Any, *, timeout: float) -> Any:
        self.opened.append((request, timeout))
        self.now += self.takes_s
        if isinstance(self.body, Exception):
            raise self.body
        return RecordingResponse(self.body, self.limits)


@pytest.fixture
def opener(monkeypatch: pytest.MonkeyPatch) -> RecordingOpener:
    opener = RecordingOpener()
    monkeypatch.setattr(ecs, "_OPENER", opener)
    return opener


@pytest.fixture
def endpoint(opener: RecordingOpener) -> ProtectionEndpoint:
    return ProtectionEndpoint(
        "http://169.254.170.2/api", minutes=60, clock=lambda: opener.now, wall=lambda: opener.wall
    )


@pytest.mark.parametrize(
    ("call", "body"),
    [
        pytest.param(PROTECT, {"ProtectionEnabled": True, "ExpiresInMinutes": 60}, id="protect"),
        pytest.param(RELEASE, {"ProtectionEnabled": False}, id="release"),
    ],
)
def test_the_request_is_a_put_of_json(
    opener: RecordingOpener, endpoint: ProtectionEndpoint, call: Call, body: dict[str, Any]
) -> None:
    endpoint.perform(call, task_arn=ARN)
    ((request, timeout),) = opener.opened
    assert (request.get_method(), request.full_url, timeout) == (
        "PUT",
        "http://169.254.170.2/api/task-protection/v1/state",
        5.0,
    )
    assert json.loads(request.data) == body
    assert request.headers == {"Content-type": "application/json"}
    assert opener.limits == [65536]


@pytest.mark.parametrize(
    ("answer", "result", "reason"),
    [
        ({"failure": {"Reason": "DEPLOYMENT_BLOCKED", "Detail": "why"}}, REFUSED, "DEPLOYMENT_BLOCKED: why"),
        ({"failure": {"Reason": "DEPLOYMENT_BLOCKED"}}, REFUSED, "DEPLOYMENT_BLOCKED"),
        ({"failure": {"Detail": "why"}}, REFUSED, "failure: why"),
        ({"failure": {}, "protection": GRANTED}, REFUSED, "failure"),
        ({"error": {"Code": "ServerException", "Message": "try again"}}, REFUSED, "ServerException: try again"),
        ({"error": {"Message": "try again"}}, REFUSED, "error: try again"),
        ({"error": "text"}, FAILED, "the ECS agent's answer has no protection field"),
        ({}, FAILED, "the ECS agent's answer has no protection field"),
        ([], FAILED, "the ECS agent's answer has no protection field"),
        ({"protection": []}, FAILED, "the ECS agent's answer has no protection field"),
        ({"protection": GRANTED | {"TaskArn": "arn:another"}}, FAILED, "the ECS agent answered for another task"),
        ({"protection": {"ProtectionEnabled": False}}, UNPROTECTED, "ECS reports that this task is not protected"),
        ({"protection": GRANTED | {"ProtectionEnabled": None}}, FAILED, "the ECS agent's answer has no valid expiry"),
        ({"protection": GRANTED | {"ProtectionEnabled": 1}}, FAILED, "the ECS agent's answer has no valid expiry"),
        ({"protection": GRANTED | {"ExpirationDate": "soon"}}, FAILED, "the ECS agent's answer has no valid expiry"),
        ({"protection": {"ProtectionEnabled": True}}, FAILED, "the ECS agent's answer has no valid expiry"),
    ],
    ids=[
        "refused with detail",
        "refused without detail",
        "refused without reason",
        "a failure beside a protection",
        "error",
        "error without code",
        "an error that is no object",
        "empty",
        "a list",
        "a protection that is no object",
        "another task",
        "not protected",
        "enabled is null",
        "enabled is 1",
        "no date",
        "no expiry",
    ],
)
def test_every_answer_but_a_grant_is_not_protected(
    opener: RecordingOpener, endpoint: ProtectionEndpoint, answer: Any, result: ProtectionResult, reason: str
) -> None:
    opener.body = json.dumps(answer).encode()
    assert endpoint.perform(PROTECT, task_arn=ARN) == CallAnswered(7, result, reason=reason)


@pytest.mark.parametrize(
    ("expires", "wall", "until"),
    [
        pytest.param("2026-03-01T11:00:00Z", TEN_O_CLOCK, 4600.0, id="in an hour"),
        pytest.param("2026-03-01T11:00:00", TEN_O_CLOCK, 4600.0, id="without a time zone: UTC"),
        pytest.param("2026-03-01T10:30:00Z", TEN_O_CLOCK, 2800.0, id="ECS grants less"),
        pytest.param("2026-03-01T12:00:00Z", TEN_O_CLOCK, 4600.0, id="ECS grants more: as long as requested"),
        pytest.param("2026-03-01T11:00:00Z", TEN_O_CLOCK + 600, 4000.0, id="a clock that is ahead shortens it"),
    ],
)
def test_the_expiry_is_the_earlier_of_the_granted_and_the_requested_one(
    opener: RecordingOpener, endpoint: ProtectionEndpoint, expires: str, wall: float, until: float
) -> None:
    opener.body = json.dumps({"protection": GRANTED | {"ExpirationDate": expires}}).encode()
    opener.wall = wall
    assert endpoint.perform(PROTECT, task_arn=ARN) == CallAnswered(7, PROTECTED, until=until)


def test_the_requested_expiry_counts_from_the_request(opener: RecordingOpener, endpoint: ProtectionEndpoint) -> None:
    opener.body = json.dumps({"protection": GRANTED}).encode()
    opener.takes_s = 4.0
    assert endpoint.perform(PROTECT, task_arn=ARN).until == 4600.0, "the answer came at 1004"


@pytest.mark.parametrize("protection", [GRANTED, {**GRANTED, "TaskArn": "arn:another"}], ids=["own", "another"])
def test_before_the_metadata_is_read_every_arn_is_accepted(
    opener: RecordingOpener, endpoint: ProtectionEndpoint, protection: dict[str, Any]
) -> None:
    opener.body = json.dumps({"protection": protection}).encode()
    assert endpoint.perform(PROTECT, task_arn="").result is PROTECTED


def test_an_answer_without_an_arn_is_for_this_task(opener: RecordingOpener, endpoint: ProtectionEndpoint) -> None:
    opener.body = json.dumps({"protection": {k: v for k, v in GRANTED.items() if k != "TaskArn"}}).encode()
    assert endpoint.perform(PROTECT, task_arn=ARN).result is PROTECTED


@pytest.mark.parametrize(("seconds", "result"), [(10.0, PROTECTED), (10.1, FAILED)])
def test_an_answer_later_than_ten_seconds_is_a_failure(
    opener: RecordingOpener, endpoint: ProtectionEndpoint, seconds: float, result: ProtectionResult
) -> None:
    opener.body = json.dumps({"protection": GRANTED}).encode()
    opener.takes_s = seconds
    answer = endpoint.perform(PROTECT, task_arn=ARN)
    assert (answer.number, answer.result) == (7, result)
    assert answer.reason == (None if result is PROTECTED else "the ECS agent answered too late")


@pytest.mark.parametrize(
    "body",
    [b"{", OSError("refused"), http.client.BadStatusLine("what?"), RecursionError("too deep")],
    ids=["cut", "no connection", "not HTTP", "deep"],
)
def test_no_usable_answer_is_a_failure(
    opener: RecordingOpener, endpoint: ProtectionEndpoint, body: bytes | Exception
) -> None:
    opener.body = body
    answer = endpoint.perform(PROTECT, task_arn=ARN)
    assert (answer.number, answer.result, answer.until) == (7, FAILED, None)
    assert (answer.reason or "").startswith("no answer from the ECS agent: ")


@pytest.mark.parametrize(
    ("body", "result", "reason"),
    [
        pytest.param(b'{"failure": {"Reason": "X"}}', REFUSED, "X", id="the body of an HTTP error has the reason"),
        pytest.param(b"oops", FAILED, "no answer from the ECS agent: HTTP 502", id="no JSON: the status"),
    ],
)
def test_the_body_of_an_http_error_is_read(
    opener: RecordingOpener, endpoint: ProtectionEndpoint, body: bytes, result: ProtectionResult, reason: str
) -> None:
    content = io.BytesIO(body)
    opener.body = urllib.error.HTTPError("http://x", 502, "Bad Gateway", http.client.HTTPMessage(), content)
    assert endpoint.perform(PROTECT, task_arn=ARN) == CallAnswered(7, result, reason=reason)
    assert content.closed


def container(*networks: dict[str, Any]) -> dict[str, Any]:
    return {"Networks": list(networks)}


def test_the_address_is_the_first_of_any_container(opener: RecordingOpener) -> None:
    containers = [{}, container({}), container({"IPv4Addresses": ["10.0.0.7", "10.0.0.8"]})]
    opener.body = json.dumps({"TaskARN": ARN, "Containers": containers}).encode()
    assert read_task_metadata("http://169.254.170.2/v4/abc") == TaskMetadata(ARN, "10.0.0.7")
    assert opener.opened == [("http://169.254.170.2/v4/abc/task", 5.0)]
    assert opener.limits == [4 * 65536]


@pytest.mark.parametrize(
    "task",
    [
        {"Containers": [container({"IPv4Addresses": ["10.0.0.7"]})]},
        {"TaskARN": ARN},
        {"TaskARN": ARN, "Containers": []},
        {"TaskARN": ARN, "Containers": 1},
        {"TaskARN": ARN, "Containers": ["x"]},
    ],
    ids=["no ARN", "no containers", "no address", "containers are a number", "a container is a text"],
)
def test_incomplete_metadata_is_an_error(opener: RecordingOpener, task: dict[str, Any]) -> None:
    opener.body = json.dumps(task).encode()
    with pytest.raises(ValueError, match="incomplete"):
        read_task_metadata("http://x")


def test_metadata_that_is_not_http_is_an_error(opener: RecordingOpener) -> None:
    opener.body = http.client.BadStatusLine("what?")
    with pytest.raises(ValueError, match="not HTTP"):
        read_task_metadata("http://x")


def test_both_endpoints_are_opened_without_a_proxy() -> None:
    opener: Any = ecs._OPENER
    proxies = [handler for handler in opener.handlers if isinstance(handler, urllib.request.ProxyHandler)]
    assert proxies == [], "an empty ProxyHandler adds no handler"
    assert TaskMetadata("", "0.0.0.0") == ecs.UNKNOWN_TASK
