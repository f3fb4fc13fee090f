# SPDX-License-Identifier: Apache-2.0
"""The id and the address of a task from the metadata endpoint."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from openmwaa_runtime.errors import MetadataError
from openmwaa_runtime.task_metadata import TaskIdentity, hostname, identity_of, read_identity

ARN = "arn:aws:ecs:us-east-1:123456789012:task/openmwaa-demo/0123456789abcdef"
ANSWER = {
    "TaskARN": ARN,
    "Containers": [
        {"Name": "~internal~ecs~pause"},
        {"Networks": [{"NetworkMode": "awsvpc", "IPv4Addresses": ["10.0.1.7"]}]},
    ],
}


@pytest.fixture
def endpoint() -> Iterator[tuple[str, list[bytes]]]:
    """A metadata endpoint that returns the answers in the list and repeats the last one."""
    answers = [json.dumps(ANSWER).encode()]

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = answers.pop(0) if len(answers) > 1 else answers[0]
            self.send_response(200 if self.path == "/v4/token/task" else 404)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v4/token", answers
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    ("answer", "identity"),
    [
        (ANSWER, TaskIdentity("10.0.1.7", "0123456789abcdef")),
        ({"TaskARN": ARN, "Containers": []}, TaskIdentity("0.0.0.0", "0123456789abcdef")),
        ({}, TaskIdentity("0.0.0.0", None)),
        ({"Containers": [{"Networks": None}, {"Networks": [{"IPv4Addresses": []}]}]}, TaskIdentity("0.0.0.0", None)),
    ],
    ids=["as ECS answers", "no network yet", "nothing", "empty networks"],
)
def test_identity_of(answer: dict[str, object], identity: TaskIdentity) -> None:
    assert identity_of(answer) == identity


def test_the_request_uses_no_proxy(endpoint: tuple[str, list[bytes]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    assert read_identity({"ECS_CONTAINER_METADATA_URI_V4": endpoint[0]}).address == "10.0.1.7"


def test_a_request_with_an_answer_that_is_not_json_is_repeated(endpoint: tuple[str, list[bytes]]) -> None:
    endpoint[1].insert(0, b"throttled")
    environ = {"ECS_CONTAINER_METADATA_URI_V4": endpoint[0] + "/"}
    assert read_identity(environ, sleep=lambda _seconds: None).task_id == "0123456789abcdef"


def test_outside_ecs_a_server_binds_everywhere() -> None:
    assert read_identity({}) == TaskIdentity("0.0.0.0", None)


def test_an_unreachable_endpoint_is_an_error_of_one_line() -> None:
    pauses: list[float] = []
    with pytest.raises(MetadataError, match=r"endpoint http://127\.0\.0\.1:9/v4/token does not respond: .*refused"):
        read_identity({"ECS_CONTAINER_METADATA_URI_V4": "http://127.0.0.1:9/v4/token"}, sleep=pauses.append)
    assert pauses == [0.0, 0.5, 1.0, 1.5, 2.0]


def test_airflow_gets_the_host_name_computed_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENMWAA_HOSTNAME", "0123456789abcdef")
    assert hostname() == "0123456789abcdef"
