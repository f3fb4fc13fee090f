# SPDX-License-Identifier: Apache-2.0
"""The doors' middleware at the level of ASGI; `test_iam_auth_manager.py` has it in real Airflow."""

import threading
from collections.abc import MutableMapping
from typing import Any

import pytest

from openmwaa_runtime.airflow_3 import web_app
from openmwaa_runtime.auth.airflow_port import AirflowSession
from openmwaa_runtime.auth.doors import BODY_LIMIT, SIGNED_BODY_LIMIT
from openmwaa_runtime.auth.errors import ProofError
from openmwaa_runtime.auth.http_message import HttpAnswer, HttpRequest

URL = "https://airflow.example.com"


class Server:
    """The middleware before an application that answers 299."""

    def __init__(self, deadline_s: float = 30.0) -> None:
        self.seen: list[HttpRequest] = []
        self.answer = HttpAnswer(200, b"{}")
        self.unread: list[MutableMapping[str, Any]] = []
        self.may_answer = threading.Event()
        self.may_answer.set()
        airflow = web_app.AirflowInProcess(lambda *_, lifetime_s: "", URL, self.session)
        self.middleware = web_app.DoorsMiddleware(
            self.application, handler=self.handle, airflow=airflow, web_url=URL, deadline_s=deadline_s
        )

    def handle(self, request: HttpRequest) -> HttpAnswer:
        self.may_answer.wait()
        self.seen.append(request)
        return self.answer

    async def session(self, token: str) -> AirflowSession:
        raise ProofError(token)

    async def application(self, scope: Any, receive: Any, send: web_app.Send) -> None:
        await send({"type": "http.response.start", "status": 299, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def send(
        self, target: str, *parts: bytes, headers: tuple[tuple[str, str], ...] = (), is_cut: bool = False
    ) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        """Send the parts of a body; status, headers and body of the answer."""
        path, _, query = target.partition("?")
        scope: dict[str, Any] = {
            "type": "http",
            "method": "POST",
            "path": "decoded by the server",
            "raw_path": path.encode("latin-1"),
            "query_string": query.encode("latin-1"),
            "headers": [(name.encode(), value.encode("latin-1")) for name, value in headers],
            "client": ("10.0.0.9", 1234),
            "app": self.application,
        }
        messages: list[MutableMapping[str, Any]] = [
            {"type": "http.request", "body": part, "more_body": True} for part in parts
        ]
        messages.append({"type": "http.disconnect"} if is_cut else {"type": "http.request", "more_body": False})
        self.unread = messages
        sent: list[MutableMapping[str, Any]] = []

        async def receive() -> MutableMapping[str, Any]:
            return messages.pop(0)

        async def collect(message: MutableMapping[str, Any]) -> None:
            sent.append(message)

        await self.middleware(scope, receive, collect)
        return sent[0]["status"], sent[0]["headers"], sent[1]["body"]


async def test_the_handler_gets_the_request_as_it_arrived() -> None:
    server = Server()
    headers = (("x-a", "1"), ("x-a", "2"), ("x-b", "ü"))
    status, _, _ = await server.send("/aws_mwaa/api/a%2Fb/../c?x=%20&x=+", b"ab", b"c", headers=headers)
    assert status == 200
    path, query = "/aws_mwaa/api/a%2Fb/../c", "x=%20&x=+"
    assert server.seen == [HttpRequest("POST", path, query, list(headers), b"abc", "10.0.0.9")]


@pytest.mark.parametrize(
    "path", ["/", "/api/v2/dags", "/aws_mwaa", "/AWS_MWAA/login", "/aws%5Fmwaa/login", "/x/aws_mwaa/"]
)
async def test_airflow_gets_all_other_paths(path: str) -> None:
    server = Server()
    assert (await server.send(path))[0] == 299
    assert server.seen == []


@pytest.mark.parametrize("path", ["/aws_mwaa/login", "/pluginsv2/aws_mwaa/login", "/api/v2/pools", "/"])
async def test_a_write_from_another_site_reaches_neither(path: str) -> None:
    server = Server()
    assert (await server.send(path, headers=(("origin", "https://evil.example"),)))[0] == 403
    assert server.seen == []


SIGNATURE = ("authorization", "AWS4-HMAC-SHA256 Credential=x")


@pytest.mark.parametrize(
    ("path", "headers", "limit"),
    [
        pytest.param("/aws_mwaa/exchange", (), BODY_LIMIT, id="exchange"),
        pytest.param("/pluginsv2/aws_mwaa/login", (), BODY_LIMIT, id="login"),
        pytest.param("/aws_mwaa/cli", (SIGNATURE,), BODY_LIMIT, id="cli with a signature"),
        pytest.param("/aws_mwaa/api/restapi/x", (), BODY_LIMIT, id="API without a signature"),
        pytest.param("/aws_mwaa/api/restapi/x", (SIGNATURE, SIGNATURE), BODY_LIMIT, id="API with two signatures"),
        pytest.param("/aws_mwaa/api/restapi/x", (SIGNATURE,), SIGNED_BODY_LIMIT, id="API with a signature"),
    ],
)
async def test_a_body_has_a_limit(path: str, headers: tuple[tuple[str, str], ...], limit: int) -> None:
    server = Server()
    half = bytes(limit // 2)
    assert (await server.send(path, half, half, headers=headers))[0] == 200
    assert [len(request.body) for request in server.seen] == [limit]
    assert (await server.send(path, half, half, b"x", headers=headers))[0] == 413
    assert len(server.seen) == 1


async def test_a_body_above_the_limit_is_not_read_to_its_end() -> None:
    server = Server()
    parts = [bytes(BODY_LIMIT)] * 100
    assert (await server.send("/aws_mwaa/exchange", *parts))[0] == 413
    assert len(server.unread) == 99


async def test_a_body_that_is_cut_off_is_not_handled() -> None:
    server = Server()
    assert (await server.send("/aws_mwaa/cli", b"dags del", is_cut=True))[0] == 413
    assert server.seen == []


async def test_a_handler_has_a_deadline() -> None:
    server = Server(deadline_s=0.05)
    server.may_answer.clear()
    try:
        assert (await server.send("/aws_mwaa/cli"))[0] == 504
    finally:
        server.may_answer.set()


async def test_an_answer_has_its_cookies_and_stays_in_its_type_and_out_of_frames() -> None:
    server = Server()
    server.answer = HttpAnswer(303, b"", "text/html", {"Location": "/"}, ("a=1", "b=2"))
    status, headers, _ = await server.send("/aws_mwaa/login")
    assert status == 303
    assert [value for name, value in headers if name == b"set-cookie"] == [b"a=1", b"b=2"]
    expected = {(b"location", b"/"), (b"x-content-type-options", b"nosniff"), (b"x-frame-options", b"DENY")}
    assert expected < set(headers)
