# SPDX-License-Identifier: Apache-2.0
"""Observes a running environment: workers from ECS, decisions from the scaler."""

import asyncio
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import aiohttp
from botocore.exceptions import BotoCoreError, ClientError

from openmwaa.config.ports import SCALER_PORT
from openmwaa.local.demo.table import FleetView
from openmwaa.local.errors import LocalError
from openmwaa.local.services.airflow_api import Authorize
from openmwaa.local.services.aws import client

_DEADLINE_S: Final = 3.0


@dataclass(frozen=True)
class Endpoints:
    """The endpoints of an environment on this machine; the password is never shown."""

    aws_url: str
    ecs_url: str
    web_url: str
    region: str
    cluster: str
    bucket: str
    dag_prefix: str
    worker_services: tuple[str, ...]
    authorize: Authorize = field(repr=False)


@dataclass(frozen=True)
class WorkerTask:
    """A running task of a worker service with its IPv4 address."""

    arn: str
    address: str
    started_at: datetime | None


class WorkersUnknownError(LocalError):
    """ECS did not return the running tasks."""


def aws_client(endpoints: Endpoints, service: str) -> AbstractAsyncContextManager[Any]:
    """Open a client of one AWS service of the environment."""
    url = endpoints.ecs_url if service == "ecs" else endpoints.aws_url
    return client(service, url, region=endpoints.region)


class Watcher:
    """Reads the workers and the scaler's fleets; each `poll` adds to the history."""

    def __init__(self, endpoints: Endpoints, ecs: Any, http: aiohttp.ClientSession) -> None:
        self._endpoints = endpoints
        self._ecs = ecs
        self._http = http
        self._scaler_address: str | None = None
        self.history: list[int] = []
        self._scale_outs: dict[str, datetime] = {}
        self._ran: dict[str, tuple[datetime, datetime]] = {}
        """By worker: its start, and when it was last seen."""

    async def workers(self) -> tuple[WorkerTask, ...]:
        """Return the running worker tasks of all fleets.

        Raises:
            WorkersUnknownError: ECS did not answer; the number of workers is unknown, not 0.
        """
        found: list[WorkerTask] = []
        for service in self._endpoints.worker_services:
            found += [task for task in await self._tasks(service) if task.address]
        return tuple(found)

    async def poll(self) -> tuple[FleetView, ...]:
        """Return the scaler's fleets and record workers and scale-outs; empty while the scaler does not answer."""
        try:
            async with asyncio.timeout(4 * _DEADLINE_S):
                workers = await self.workers()
                self.history.append(len(workers))
                now = datetime.now(UTC)
                self._ran |= {task.arn: (task.started_at, now) for task in workers if task.started_at is not None}
                document = await self._scaler("/v1/fleets")
                decisions = await self._scaler("/v1/decisions?limit=50")
        except (TimeoutError, WorkersUnknownError):
            return ()
        for decision in (decisions or {}).get("decisions", []):
            update = decision.get("update_service") or {}
            before, desired = decision.get("desired_before"), decision.get("desired")
            if update.get("sent") and before is not None and desired is not None and desired > before:
                self._scale_outs[update["answered_at"]] = datetime.fromisoformat(update["answered_at"])
        return tuple(FleetView.of(fleet) for fleet in (document or {}).get("fleets", []))

    @property
    def scale_outs(self) -> Sequence[datetime]:
        """Return the answer time of each UpdateService that scaled a fleet out."""
        return sorted(self._scale_outs.values())

    def workers_at(self, at: datetime) -> int:
        """Return how many of the workers that were seen ran at a past time."""
        return sum(started <= at <= seen for started, seen in self._ran.values())

    async def _tasks(self, service: str) -> tuple[WorkerTask, ...]:
        try:
            listed = await self._ecs.list_tasks(cluster=self._endpoints.cluster, serviceName=service)
            if not listed["taskArns"]:
                return ()
            described = await self._ecs.describe_tasks(cluster=self._endpoints.cluster, tasks=listed["taskArns"])
        except (BotoCoreError, ClientError) as error:
            raise WorkersUnknownError(f"The tasks of {service} are unknown: {error}") from error
        return tuple(
            WorkerTask(task["taskArn"], _address(task), task.get("startedAt"))
            for task in described["tasks"]
            if task["lastStatus"] == "RUNNING"
        )

    async def _scaler(self, path: str) -> dict[str, Any] | None:
        if self._scaler_address is None:
            tasks = await self._tasks("scaler")
            self._scaler_address = tasks[0].address if tasks else None
        if self._scaler_address is None:
            return None
        try:
            timeout = aiohttp.ClientTimeout(total=_DEADLINE_S)
            async with self._http.get(f"http://{self._scaler_address}:{SCALER_PORT}{path}", timeout=timeout) as answer:
                answer.raise_for_status()
                document: dict[str, Any] = await answer.json()
                return document
        except (aiohttp.ClientError, TimeoutError):
            self._scaler_address = None  # the scaler may run as another task by now
            return None


def _address(task: dict[str, Any]) -> str:
    for attachment in task.get("attachments", []):
        for detail in attachment.get("details", []):
            if detail["name"] == "privateIPv4Address":
                return str(detail["value"])
    return ""
