# SPDX-License-Identifier: Apache-2.0
"""Calls of Airflow's public API (`/api/v2`, of Airflow 2 `/api/v1`), each with a timeout."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from urllib.parse import quote

import aiohttp

from openmwaa.config.airflow_versions import AirflowMajor
from openmwaa.local.errors import LocalError

_TIMEOUT: Final = aiohttp.ClientTimeout(total=20)


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

    @property
    def queue_wait_s(self) -> float | None:
        """Return the seconds from queued to started."""
        if self.queued_at is None or self.started_at is None:
            return None
        return (self.started_at - self.queued_at).total_seconds()


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


Post = Callable[[str, Mapping[str, Any]], Awaitable[Mapping[str, Any]]]
"""Posts JSON to a path of the web server, and returns the JSON of the answer."""
Authorize = Callable[[Post], Awaitable[dict[str, str]]]
"""Logs in, and returns the headers that authorise requests."""


class AirflowApi:
    """A client that logs in, and logs in again when its token has expired."""

    def __init__(self, session: aiohttp.ClientSession, url: str, authorize: Authorize, airflow: AirflowMajor) -> None:
        self._session = session
        self._url = url.rstrip("/")
        self._authorize = authorize
        self._airflow = airflow
        self._authorization: dict[str, str] | None = None

    async def dag_is_known(self, dag_id: str) -> bool:
        """Return whether Airflow has parsed a DAG with this id."""
        status, _ = await self._send("GET", f"/dags/{dag_id}", expected=(200, 404))
        return status == 200  # noqa: PLR2004

    async def tags(self, dag_id: str) -> set[str]:
        """Return the tags of a DAG; none if there is no such DAG."""
        status, answer = await self._send("GET", f"/dags/{dag_id}", expected=(200, 404))
        return {tag["name"] for tag in answer["tags"]} if status == 200 else set()  # noqa: PLR2004

    async def unpause(self, dag_id: str) -> None:
        """Unpause the DAG."""
        await self._send("PATCH", f"/dags/{dag_id}", body={"is_paused": False})

    async def trigger(self, dag_id: str, conf: Mapping[str, Any]) -> str:
        """Start a run and return its id."""
        _, answer = await self._send(
            "POST",
            f"/dags/{dag_id}/dagRuns",
            body={"conf": dict(conf), **({"logical_date": None} if self._airflow.has_execution_api else {})},
            expected=(200, 201),
        )
        return str(answer["dag_run_id"])

    async def run_state(self, dag_id: str, run_id: str) -> str:
        """Return the state of a run: queued, running, success or failed."""
        _, answer = await self._send("GET", f"/dags/{dag_id}/dagRuns/{run_id}")
        return str(answer["state"])

    async def run_since(self, dag_id: str, start: datetime) -> str | None:
        """Return the id of a run that started at this time or later."""
        since = quote(start.isoformat(), safe="")
        _, answer = await self._send("GET", f"/dags/{dag_id}/dagRuns?start_date_gte={since}&limit=1")
        return next((str(run["dag_run_id"]) for run in answer["dag_runs"]), None)

    async def task_instances(self, dag_id: str, run_id: str) -> tuple[TaskInstance, ...]:
        """Return all task instances of a run, page by page."""
        found: list[TaskInstance] = []
        while True:
            path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances?limit=100&offset={len(found)}"
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
                )
                for entry in page
            ]
            if not page or len(found) >= answer["total_entries"]:
                return tuple(found)

    async def log_lines(self, dag_id: str, run_id: str, task: TaskInstance) -> tuple[str, ...]:
        """Return the log lines of a task's last try."""
        path = (
            f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task.task_id}/logs/{task.try_number}"
            f"?map_index={task.map_index}&full_content=true"
        )
        _, answer = await self._send("GET", path)
        content = answer["content"] if isinstance(answer, dict) else answer
        if isinstance(content, str):
            return tuple(content.splitlines())
        return tuple(entry["event"] if isinstance(entry, dict) else str(entry) for entry in content)

    async def _send(
        self, method: str, path: str, *, body: Mapping[str, Any] | None = None, expected: tuple[int, ...] = (200,)
    ) -> tuple[int, Any]:
        status, answer = await self._authorized(method, path, body)
        if status == 401:  # noqa: PLR2004 - the token has expired
            self._authorization = None
            status, answer = await self._authorized(method, path, body)
        if status not in expected:
            raise AirflowApiError(f"Airflow answered {method} {path.partition('?')[0]} with {status}: {answer}")
        return status, answer

    async def _authorized(self, method: str, path: str, body: Mapping[str, Any] | None) -> tuple[int, Any]:
        if self._authorization is None:
            self._authorization = await self._authorize(self._post)
        return await self._exchange(method, self._airflow.api + path, body, self._authorization)

    async def _post(self, path: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        status, answer = await self._exchange("POST", path, body, {})
        if status not in (200, 201):
            raise AirflowApiError(f"Airflow refused the login with {status}: {answer}")
        return dict(answer)

    async def _exchange(
        self, method: str, path: str, body: Mapping[str, Any] | None, headers: Mapping[str, str]
    ) -> tuple[int, Any]:
        request = self._session.request(method, self._url + path, json=body, headers=headers, timeout=_TIMEOUT)
        try:
            async with request as response:
                is_json = response.content_type == "application/json"
                return response.status, await (response.json() if is_json else response.text())
        except (TimeoutError, aiohttp.ClientError) as error:
            raise AirflowApiError(f"Airflow's API at {self._url} did not answer {method}: {error!r}") from error
