# SPDX-License-Identifier: Apache-2.0
"""The scaler's page and its overrides behind the login."""

import json
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import urllib3

from openmwaa_runtime.auth import scaler_client
from openmwaa_runtime.auth.airflow_port import AirflowSession
from openmwaa_runtime.auth.airflow_role import AirflowRole
from openmwaa_runtime.auth.audit import AuditLog
from openmwaa_runtime.auth.errors import AuthUnavailableError, ProofError
from openmwaa_runtime.auth.http_message import HttpAnswer
from openmwaa_runtime.auth.scaler_client import ScalerClient
from openmwaa_runtime.auth.scaler_page import BODY_LIMIT, PATH, ScalerPage
from tests.support.login_parts import ANNA, request

OVERRIDE = f"{PATH}v1/overrides/default"


class RecordingClient(ScalerClient):
    """Keeps the requests, and answers each."""

    def __init__(self) -> None:
        super().__init__("http://scaler.invalid:8080", "k" * 64)
        self.sent: list[tuple[str, str, Any]] = []

    def _send(self, method: str, target: str, body: bytes | None, headers: Mapping[str, str]) -> HttpAnswer:
        self.sent.append((method, target, json.loads(body or b"null")))
        return HttpAnswer.of_json(200, {"version": 1})


class Behind:
    """A page; the token of a session is the name of its role."""

    def __init__(self, list_dags: Callable[[str], int] = lambda _token: 200) -> None:
        self.client, self.audit = RecordingClient(), list[dict[str, Any]]()
        audit = AuditLog(lambda line: self.audit.append(json.loads(line)))
        self.page = ScalerPage(self.client, "/login", list_dags, self._session, audit, lambda request: request.peer)

    def post(self, body: object = b'{"max": 4}', path: str = OVERRIDE, **headers: str) -> HttpAnswer:
        text = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.page.handle(request("POST", path, text, headers=headers))

    @staticmethod
    def _session(token: str) -> AirflowSession:
        if token == "outage":
            raise AuthUnavailableError("the database does not answer")
        if token not in [*AirflowRole]:
            raise ProofError("the session has ended")
        return AirflowSession(ANNA, AirflowRole(token))


def test_a_request_does_not_wait_for_ever_while_others_wait_for_a_scaler_that_hangs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pools = urllib3.PoolManager(maxsize=1, block=True, retries=False)
    monkeypatch.setattr(urllib3, "PoolManager", lambda **_options: pools)
    monkeypatch.setattr(scaler_client, "MAX_WAIT_S", 0.01)
    client = ScalerClient("http://scaler.invalid:8080", "")
    busy = pools.connection_from_url("http://scaler.invalid:8080")
    assert busy.pool is not None
    connection = busy.pool.get()
    with ThreadPoolExecutor(1) as thread:
        answer = thread.submit(client.get, "/")
        try:
            assert answer.result(10).status == 503
        finally:
            busy.pool.put(connection)


@pytest.mark.parametrize(
    ("of_airflow", "status"),
    [(401, 303), (403, 403), (500, 503), (504, 503)],
    ids=[
        "an expired session logs in again",
        "a role without DAGs, or a revoked session",
        "an error of Airflow",
        "no answer",
    ],
)
def test_without_a_list_of_dags_there_is_no_page(of_airflow: int, status: int) -> None:
    behind = Behind(lambda _token: of_airflow)
    answer = behind.page.handle(request("GET", PATH, headers={"cookie": "_token=x"}))
    assert (answer.status, answer.headers.get("Location")) == (status, "/login" if status == 303 else None)
    assert behind.client.sent == []


@pytest.mark.parametrize(
    "headers",
    [{}, {"cookie": "other=1"}, {"authorization": "Basic x"}, {"authorization": "Basic x", "cookie": "_token=Admin"}],
    ids=["no session", "another cookie", "a password", "a password that the browser adds, and the cookie"],
)
def test_without_a_session_airflow_is_not_called(headers: dict[str, str]) -> None:
    behind = Behind(lambda _token: pytest.fail("a call without a token"))
    assert behind.page.handle(request("GET", PATH, headers=headers)).status == 303
    assert behind.post(**headers).status == 401
    assert behind.client.sent == []


def test_the_query_of_the_page_is_sent_on() -> None:
    behind = Behind()
    assert behind.page.handle(request("GET", f"{PATH}v1/fleets", headers={"cookie": "_token=x"}, query="brief")).body
    assert behind.client.sent == [("GET", "/v1/fleets?brief", None)]


@pytest.mark.parametrize("header", ["cookie", "authorization"])
@pytest.mark.parametrize(
    ("token", "status", "outcome"),
    [
        *((role, 403, "denied") for role in ("Public", "Viewer", "User")),
        *((role, 200, "allowed") for role in ("Op", "Admin")),
        ("expired", 401, "denied"),
        ("outage", 503, "unavailable"),
    ],
)
def test_overrides_need_op(header: str, token: str, status: int, outcome: str) -> None:
    behind = Behind()
    given = f"_token={token}" if header == "cookie" else f"Bearer {token}"
    assert behind.post({"max": 4, "reason": "night"}, **{header: given}).status == status
    override = {"version": 1, "max": 4, "reason": "night", "by": ANNA.arn}
    assert behind.client.sent == ([("POST", "/v1/overrides/default", override)] if status == 200 else [])
    (line,) = behind.audit
    assert (line["event"], line["outcome"], line["source_ip"]) == ("override", outcome, "203.0.113.7")
    assert line.get("principal") == (ANNA.arn if status in (200, 403) else None)


def test_the_author_is_the_verified_caller() -> None:
    behind = Behind()
    assert behind.post({"max": 4, "by": "another", "version": 1}, cookie="_token=Op").status == 200
    assert behind.client.sent[0][2]["by"] == ANNA.arn


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"", 400), (b"{", 400), (b"7", 400), (b"[1]", 400), (b"x" * (BODY_LIMIT + 1), 413)],
    ids=["empty", "no JSON", "a number", "a list", "too long"],
)
def test_a_body_that_is_no_object_is_refused(body: bytes, status: int) -> None:
    behind = Behind()
    assert behind.post(body, cookie="_token=Op").status == status
    assert behind.client.sent == []


@pytest.mark.parametrize(
    "path",
    [
        PATH,
        f"{PATH}v1/fleets",
        f"{PATH}v1/overrides/",
        f"{OVERRIDE}/",
        f"{OVERRIDE}?x",
        f"{PATH}v1/overrides/..%2ffleets",
        f"{PATH}v1/overrides/a/../b",
    ],
)
def test_nothing_but_overrides_is_written(path: str) -> None:
    behind = Behind()
    assert behind.post(path=path, cookie="_token=Admin").status == 405
    for method in ("PUT", "PATCH", "DELETE"):
        assert behind.page.handle(request(method, OVERRIDE, headers={"cookie": "_token=Admin"})).status == 405
    assert behind.client.sent == []
