# SPDX-License-Identifier: Apache-2.0
"""Airflow's database: what the rows mean, and that a failed connection is never used again."""

import asyncio
from typing import Any

import asyncpg
import pytest

from scaler.adapters.airflow_database import AirflowDatabase
from scaler.config.settings import DatabaseSettings
from scaler.core.model import DatabaseCount
from scaler.errors import BadAnswerError, DeadlineError, SourceError
from scaler.ports import AirflowHealth

SETTINGS = DatabaseSettings(host="db")


class Connection:
    def __init__(self, answer: Any) -> None:
        self.answer, self.terminated = answer, False

    def is_closed(self) -> bool:
        return self.terminated

    def terminate(self) -> None:
        self.terminated = True

    async def fetchval(self, query: str) -> bool:
        return True

    async def fetch(self, query: str, executors: tuple[str, ...], *more: Any) -> Any:
        assert "CeleryExecutor" in executors
        if isinstance(self.answer, Exception):
            raise self.answer
        if self.answer is None:
            await asyncio.Event().wait()
        return self.answer


class Server:
    """Stands for asyncpg.connect; each connection gives the next answer."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *answers: Any) -> None:
        self.answers = list(answers)
        self.connections: list[Connection] = []
        self.options: dict[str, Any] = {}
        monkeypatch.setattr(asyncpg, "connect", self.connect)

    async def connect(self, **options: Any) -> Connection:
        self.options = options
        answer = self.answers.pop(0)
        if isinstance(answer, OSError):
            raise answer
        self.connections.append(Connection(answer))
        return self.connections[-1]


async def test_counts_by_queue_and_keeps_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [("default", "queued", 7), ("default", "running", 2), ("default", "restarting", 1), ("high", "running", 3)]
    server = Server(monkeypatch, rows)
    database = AirflowDatabase(SETTINGS, "secret")
    for _ in range(2):
        assert await database.counts() == {"default": DatabaseCount(7, 3), "high": DatabaseCount(0, 3)}
    assert len(server.connections) == 1
    assert server.options["server_settings"]["statement_timeout"] == "2000"
    assert server.options["server_settings"]["default_transaction_read_only"] == "on"
    assert server.options["ssl"] == "require"
    await database.close()
    assert server.connections[0].terminated


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        pytest.param(None, DeadlineError, id="silent"),
        pytest.param(asyncpg.QueryCanceledError("statement timeout"), SourceError, id="statement timeout"),
        pytest.param(asyncpg.InterfaceError("connection is closed"), SourceError, id="connection gone"),
        pytest.param(asyncpg.InsufficientPrivilegeError("no"), SourceError, id="no right"),
    ],
)
async def test_a_failed_connection_is_never_used_again(
    answer: Any, kind: type[SourceError], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Server(monkeypatch, answer, [("default", "queued", 1)])
    database = AirflowDatabase(SETTINGS, "secret", deadline_s=0.05)
    with pytest.raises(kind, match="database"):
        await database.counts()
    assert server.connections[0].terminated
    assert await database.counts() == {"default": DatabaseCount(1, 0)}


async def test_a_refused_connection_is_an_error_without_the_password(monkeypatch: pytest.MonkeyPatch) -> None:
    Server(monkeypatch, ConnectionRefusedError("refused"))
    with pytest.raises(SourceError, match="refused") as caught:
        await AirflowDatabase(SETTINGS, "hunter2").counts()
    assert "hunter2" not in str(caught.value)


async def test_a_negative_count_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    Server(monkeypatch, [("default", "queued", -1)])
    with pytest.raises(BadAnswerError):
        await AirflowDatabase(SETTINGS, "secret").counts()


async def test_the_health_is_one_row(monkeypatch: pytest.MonkeyPatch) -> None:
    Server(monkeypatch, [(2, 31.5)])
    assert await AirflowDatabase(SETTINGS, "secret").health(60.0) == AirflowHealth(2, 31.5)


@pytest.mark.parametrize("row", [(-1, 0.0), (1, -1.0), (1, float("nan")), (1, float("inf"))], ids=str)
async def test_an_invalid_health_is_rejected(row: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    Server(monkeypatch, [row])
    with pytest.raises(BadAnswerError):
        await AirflowDatabase(SETTINGS, "secret").health(60.0)
