# SPDX-License-Identifier: Apache-2.0
"""Calls of Airflow's public API (`/api/v2`), each with a timeout."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Any, Final, Self

import aiohttp

from openmwaa.local.errors import LocalError

_DEADLINE_S: Final = 20.0


class AirflowApiError(LocalError):
    """Airflow's API refused a call or did not answer."""


@dataclass(frozen=True)
class TaskInstance:
    """One task instance of a run in Airflow's API."""

    task_id: str
    map_index: int
    state: str | None
    try_number: int
    queued_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    hostname: str

    @property
    def queue_wait_s(self) -> float | None:
        """Return the seconds from queued to started."""
        if self.queued_at is None or self.started_at is None:
            return None
        return (self.started_at - self.queued_at).total_seconds()


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


class AirflowApi:
    """A client that logs in as one user, and requests a new token when the old one has expired."""

    def __init__(self, url: str, username: str, password: str) -> None:
        self._url = url.rstrip("/")
        self._login = {"username": username, "password": password}
        self._token: str | None = None
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        # The API is on loopback, so the proxy of the user's shell must not be used.
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_DEADLINE_S), trust_env=False)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def dag_is_known(self, dag_id: str) -> bool:
        """Return whether Airflow has parsed a DAG with this id."""
        status, _ = await self._send("GET", f"/api/v2/dags/{dag_id}", expected=(200, 404))
        return status == 200  # noqa: PLR2004

    async def unpause(self, dag_id: str) -> None:
        """Unpause the DAG."""
        await self._send("PATCH", f"/api/v2/dags/{dag_id}", body={"is_paused": False})

    async def trigger(self, dag_id: str, conf: Mapping[str, Any]) -> str:
        """Start a run and return its id."""
        _, answer = await self._send(
            "POST",
            f"/api/v2/dags/{dag_id}/dagRuns",
            body={"conf": dict(conf), "logical_date": None},
            expected=(200, 201),
        )
        return str(answer["dag_run_id"])

    async def run_state(self, dag_id: str, run_id: str) -> str:
        """Return the state of a run: queued, running, success or failed."""
        _, answer = await self._send("GET", f"/api/v2/dags/{dag_id}/dagRuns/{run_id}")
        return str(answer["state"])

    async def task_instances(self, dag_id: str, run_id: str) -> tuple[TaskInstance, ...]:
        """Return all task instances of a run, page by page."""
        found: list[TaskInstance] = []
        while True:
            path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances?limit=100&offset={len(found)}"
            _, answer = await self._send("GET", path)
            page = answer["task_instances"]
            found += [
                TaskInstance(
                    task_id=entry["task_id"],
                    map_index=entry["map_index"],
                    state=entry["state"],
                    try_number=entry["try_number"],
                    queued_at=_time(entry["queued_when"]),
                    started_at=_time(entry["start_date"]),
                    ended_at=_time(entry["end_date"]),
                    hostname=entry["hostname"] or "",
                )
                for entry in page
            ]
            if not page or len(found) >= answer["total_entries"]:
                return tuple(found)

    async def log_lines(self, dag_id: str, run_id: str, task: TaskInstance) -> tuple[str, ...]:
        """Return the log lines of a task's last try."""
        path = (
            f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task.task_id}/logs/{task.try_number}"
            f"?map_index={task.map_index}&full_content=true"
        )
        _, answer = await self._send("GET", path)
        content = answer["content"]
        if isinstance(content, str):
            return tuple(content.splitlines())
        return tuple(entry["event"] if isinstance(entry, dict) else str(entry) for entry in content)

    async def _send(
        self, method: str, path: str, *, body: Mapping[str, Any] | None = None, expected: tuple[int, ...] = (200,)
    ) -> tuple[int, Any]:
        if self._session is None:
            raise RuntimeError("AirflowApi is used outside `async with`")
        for last_try in (False, True):
            if self._token is None:
                self._token = await self._new_token(self._session)
            headers = {"Authorization": f"Bearer {self._token}"}
            status, answer = await self._exchange(self._session, method, path, body, headers)
            if status == 401 and not last_try:  # noqa: PLR2004 - the token has expired
                self._token = None
                continue
            if status not in expected:
                raise AirflowApiError(f"Airflow answered {method} {path.partition('?')[0]} with {status}: {answer}")
            return status, answer
        raise AssertionError("unreachable: the second try returns or raises")

    async def _new_token(self, session: aiohttp.ClientSession) -> str:
        status, answer = await self._exchange(session, "POST", "/auth/token", self._login, {})
        if status not in (200, 201):
            raise AirflowApiError(f"Airflow refused the login of {self._login['username']} with {status}")
        return str(answer["access_token"])

    async def _exchange(
        self,
        session: aiohttp.ClientSession,
        method: str,
        path: str,
        body: Mapping[str, Any] | None,
        headers: Mapping[str, str],
    ) -> tuple[int, Any]:
        try:
            async with session.request(method, self._url + path, json=body, headers=headers) as response:
                is_json = response.content_type == "application/json"
                return response.status, await (response.json() if is_json else response.text())
        except (TimeoutError, aiohttp.ClientError) as error:
            raise AirflowApiError(f"Airflow's API at {self._url} did not answer {method}: {error!r}") from error
