# SPDX-License-Identifier: Apache-2.0
"""Task logs in CloudWatch: every answer of PutLogEvents and GetLogEvents."""

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, ParamValidationError

from openmwaa_runtime.task_logs.cloudwatch import CloudWatchDestination
from openmwaa_runtime.task_logs.lines import Line
from openmwaa_runtime.task_logs.writer import LinesRefusedError, UnavailableError

LINES = [Line(1_700_000_000_000 + number, number, f"line {number}", 6) for number in range(10)]


def error(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "text"}}, "PutLogEvents")


class FakeClient:
    """Streams in memory; `fails` maps an operation to the errors of its next calls."""

    def __init__(self) -> None:
        self.streams: dict[str, list[dict[str, Any]]] = {}
        self.fails: dict[str, list[Exception]] = {}
        self.answer: dict[str, Any] = {}
        self.calls: list[str] = []

    def _call(self, operation: str) -> None:
        self.calls.append(operation)
        if self.fails.get(operation):
            raise self.fails[operation].pop(0)

    def create_log_stream(self, *, logGroupName: str, logStreamName: str) -> dict[str, Any]:  # noqa: N803
        self._call("create")
        if logStreamName in self.streams:
            raise error("ResourceAlreadyExistsException")
        self.streams[logStreamName] = []
        return {}

    def put_log_events(self, *, logGroupName: str, logStreamName: str, logEvents: Any) -> dict[str, Any]:  # noqa: N803
        self._call("put")
        if logStreamName not in self.streams:
            raise error("ResourceNotFoundException")
        self.streams[logStreamName] += logEvents
        return self.answer

    def get_log_events(self, *, logStreamName: str, nextToken: str = "f/0", **_: Any) -> dict[str, Any]:  # noqa: N803
        self._call("get")
        if logStreamName not in self.streams:
            raise error("ResourceNotFoundException")
        turn, events = int(nextToken.removeprefix("f/")), self.streams[logStreamName]
        first = turn // 2 * 4  # every second page is empty, as CloudWatch may answer
        page = [] if turn % 2 else events[first : first + 4]
        last = first >= len(events)
        return {"events": page, "nextForwardToken": nextToken if last else f"f/{turn + 1}"}


@pytest.fixture
def client() -> FakeClient:
    return FakeClient()


@pytest.fixture
def logs(client: FakeClient) -> CloudWatchDestination:
    return CloudWatchDestination("airflow-demo-Task", lambda: client)


def test_lines_come_back_in_order_over_empty_pages(logs: CloudWatchDestination) -> None:
    assert logs.put("a", LINES) == 0
    assert list(logs.read("a")) == [line.text for line in LINES]


def test_a_stream_is_made_once_and_may_exist(logs: CloudWatchDestination, client: FakeClient) -> None:
    client.streams["a"] = []
    logs.put("a", LINES[:5])
    logs.put("a", LINES[5:])
    assert client.calls == ["create", "put", "put"]


def test_a_stream_that_was_deleted_is_made_again(logs: CloudWatchDestination, client: FakeClient) -> None:
    logs.put("a", LINES[:5])
    client.streams.clear()
    with pytest.raises(UnavailableError, match="ResourceNotFoundException"):
        logs.put("a", LINES[5:])
    logs.put("a", LINES[5:])
    assert list(logs.read("a")) == [line.text for line in LINES[5:]]


def test_a_stream_that_does_not_exist_has_no_lines(logs: CloudWatchDestination) -> None:
    assert list(logs.read("a")) == []


def test_rejected_lines_are_counted(logs: CloudWatchDestination, client: FakeClient) -> None:
    rejected = {"tooOldLogEventEndIndex": 2, "expiredLogEventEndIndex": 1, "tooNewLogEventStartIndex": 9}
    client.answer = {"rejectedLogEventsInfo": rejected}
    assert logs.put("a", LINES) == 3


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (error("ThrottlingException"), UnavailableError),
        (error("ServiceUnavailableException"), UnavailableError),
        (error("AccessDeniedException"), UnavailableError),
        (EndpointConnectionError(endpoint_url="https://logs"), UnavailableError),
        (error("InvalidParameterException"), LinesRefusedError),
        (ParamValidationError(report="text"), LinesRefusedError),
    ],
    ids=["throttled", "away", "not permitted", "no network", "invalid", "invalid for botocore"],
)
@pytest.mark.parametrize("operation", ["create", "put"])
def test_failures_that_may_pass_differ_from_invalid_requests(
    logs: CloudWatchDestination, client: FakeClient, operation: str, failure: Exception, expected: type[Exception]
) -> None:
    client.fails[operation] = [failure]
    with pytest.raises(expected):
        logs.put("a", LINES)
    assert logs.put("a", LINES) == 0, "the next request does not work"


def test_a_client_that_cannot_be_made_is_tried_again() -> None:
    attempts: list[Callable[[], Any]] = [FakeClient, lambda: 1 / 0]

    def connect() -> Any:
        return attempts.pop()()

    logs = CloudWatchDestination("group", connect)
    with pytest.raises(UnavailableError, match="division by zero"):
        logs.put("a", LINES)
    assert logs.put("a", LINES) == 0
