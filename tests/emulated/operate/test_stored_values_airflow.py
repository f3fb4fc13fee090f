# SPDX-License-Identifier: Apache-2.0
"""Connections and variables are written to Airflow's database by its API, and no value is in an error."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from openmwaa.config.environment import Environment
from openmwaa.operate.errors import OperateError, UnreachableError
from openmwaa.operate.stored_values import write_to_airflow
from tests.support.environments import LEAST
from tests.support.fake_connection import FakeConnection

SECRET = "hunter-2"
DATABASE = {"conn_type": "postgres", "host": "db", "password": SECRET}


class PasswordOfAdmin:
    """Secrets Manager with one secret."""

    def get_secret_value(self, **request: str) -> dict[str, str]:
        assert request == {"SecretId": "openmwaa-example/admin-password"}
        return {"SecretString": "admins"}


def _connection(web: str) -> FakeConnection:
    environment = Environment.model_validate({**LEAST, "web_access": {**LEAST["web_access"], "login": "PASSWORD"}})
    endpoints = {"aws": "http://x", "web": web}
    return FakeConnection(environment, Path("e.yaml"), endpoints, fake=PasswordOfAdmin(), services=("secretsmanager",))


class Airflow(BaseHTTPRequestHandler):
    """Airflow's API: a login and the bulk calls."""

    received: ClassVar[list[tuple[str, str, Any, str | None]]] = []
    answer: ClassVar[tuple[int, Any]] = (200, {"create": {"success": [], "errors": []}})

    def _handle(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.received.append((self.command, self.path, body, self.headers.get("Authorization")))
        status, answer = (201, {"access_token": "token"}) if self.path == "/auth/token" else self.answer
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())

    do_POST = do_PATCH = _handle  # noqa: N815 - the names of the library

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def airflow() -> Iterator[FakeConnection]:
    Airflow.received, Airflow.answer = [], (200, {"create": {"success": [], "errors": []}})
    server = HTTPServer(("127.0.0.1", 0), Airflow)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield _connection(f"http://127.0.0.1:{server.server_port}")
    server.shutdown()
    server.server_close()


def test_values_are_written_to_airflow_by_one_call(airflow: FakeConnection) -> None:
    write_to_airflow(airflow, "connections", {"a": json.dumps(DATABASE)})
    write_to_airflow(airflow, "variables", {"x": "1"})
    login, connections, _, variables = Airflow.received
    assert login[2] == {"username": "admin", "password": "admins"}
    assert connections[:2] == ("PATCH", "/api/v2/connections")
    assert connections[3] == "Bearer token"
    (action,) = connections[2]["actions"]
    assert action["entities"] == [{"connection_id": "a", **DATABASE}]
    assert (action["action"], action["action_on_existence"]) == ("create", "overwrite")
    assert variables[2]["actions"][0]["entities"] == [{"key": "x", "value": "1"}]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ((422, {"detail": SECRET}), "with 422"),
        ((200, {"create": {"errors": [{"error": "the id is not valid"}]}}), "refused 1 of 1 .*: the id is not valid"),
    ],
)
def test_a_refusal_of_airflow_is_an_error_without_values(
    answer: tuple[int, Any], message: str, airflow: FakeConnection
) -> None:
    Airflow.answer = answer
    with pytest.raises(OperateError, match=message) as caught:
        write_to_airflow(airflow, "variables", {"x": SECRET})
    assert SECRET not in str(caught.value)


def test_a_proxy_gets_no_call_to_this_machine(airflow: FakeConnection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    write_to_airflow(airflow, "variables", {"x": "1"})
    assert len(Airflow.received) == 2


def test_uris_and_a_server_that_does_not_answer_are_errors() -> None:
    connection = _connection("http://127.0.0.1:1")
    with pytest.raises(OperateError, match="Airflow's API takes no URIs: write the fields of a"):
        write_to_airflow(connection, "connections", {"a": "x://y"})
    with pytest.raises(UnreachableError, match="does not answer"):
        write_to_airflow(connection, "variables", {"x": "1"})
