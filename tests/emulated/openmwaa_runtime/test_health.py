# SPDX-License-Identifier: Apache-2.0
"""The health checks of the containers."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

import pytest

from openmwaa_runtime import health
from openmwaa_runtime.database import Login
from openmwaa_runtime.errors import DatabaseError, MissingVariableError
from openmwaa_runtime.health import HEARTBEAT_OLD_S, check, find_problem
from openmwaa_runtime.task_metadata import TaskIdentity


class FakeConnection:
    """A database that answers every query with one row or none."""

    queries: list[tuple[Any, ...]]

    def __init__(self, row: tuple[Any, ...] | None) -> None:
        self.row = row
        self.queries = []

    def execute(self, _query: str, parameters: tuple[Any, ...] = ()) -> tuple[Any, ...] | None:
        self.queries.append(parameters)
        return self.row

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


@pytest.fixture(autouse=True)
def _identity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "read_identity", lambda _environ: TaskIdentity("127.0.0.1", "0123456789abcdef"))


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ((3.2,), None),
        ((float(HEARTBEAT_OLD_S),), None),
        ((61.4,), "the last heartbeat is 61 s old"),
        (None, "no heartbeat yet"),
    ],
)
@pytest.mark.parametrize(
    ("component", "job"),
    [("scheduler", "SchedulerJob"), ("dag-processor", "DagProcessorJob"), ("triggerer", "TriggererJob")],
)
def test_a_component_with_a_heartbeat(
    container: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    component: str,
    job: str,
    row: tuple[float] | None,
    problem: str | None,
) -> None:
    connection = FakeConnection(row)
    monkeypatch.setattr(health, "PostgresConnection", lambda _login: connection)
    assert find_problem(component, container) == problem
    assert connection.queries == [(job, "127.0.0.1", "127.0.0.1")], "another task's heartbeat must not count"


def test_a_component_is_healthy_without_a_reachable_database(
    container: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_login: Login) -> FakeConnection:
        raise DatabaseError("fail-over")

    monkeypatch.setattr(health, "PostgresConnection", fail)
    assert check("scheduler", container) == 0


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """An API server that answers with the status in the list."""
    status = [200]
    paths: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            paths.append(self.path)
            self.send_response(status[0])
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    found = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setattr(health, "_PATHS", {"execution-api": (found.server_port, "/execution/health")})
    yield status
    found.shutdown()
    thread.join()
    found.server_close()
    assert set(paths) <= {"/execution/health"}


@pytest.mark.parametrize(("status", "exit_status"), [(200, 0), (500, 1), (404, 1), (204, 1)])
def test_a_server_that_answers(container: dict[str, str], server: list[int], status: int, exit_status: int) -> None:
    server[0] = status
    assert check("execution-api", container, log=lambda _text: None) == exit_status


def test_a_server_that_does_not_respond(container: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "_PATHS", {"web-server": (9, "/")})
    assert "http://127.0.0.1:9/ does not respond" in str(find_problem("web-server", container))


def test_a_check_in_an_incomplete_container_names_the_variable(container: dict[str, str]) -> None:
    del container["OPENMWAA_DAG_FOLDER"]
    with pytest.raises(MissingVariableError, match="OPENMWAA_DAG_FOLDER"):
        check("dag-processor", container)
