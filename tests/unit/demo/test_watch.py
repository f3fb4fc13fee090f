# SPDX-License-Identifier: Apache-2.0
"""Without an answer the number is unknown, not zero: a failed read of ECS is not a fleet without workers."""

from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest
from botocore.exceptions import EndpointConnectionError

from openmwaa.local.demo.watch import Endpoints, Watcher, WorkersUnknownError
from openmwaa.local.services.airflow_api import Post


async def no_login(_: Post) -> dict[str, str]:
    """Return no headers."""
    return {}


ENDPOINTS = Endpoints("http://a", "http://e", "http://w", "us-east-1", "c", "b", "dags", ("worker-default",), no_login)


SECOND = timedelta(seconds=1)
STARTED_AT = datetime(2026, 1, 1, tzinfo=UTC)


class RunningWorkerEcs:
    """ECS with one running worker; it can be unreachable."""

    def __init__(self) -> None:
        self.unreachable = False

    async def list_tasks(self, *, cluster: str, serviceName: str) -> dict[str, Any]:  # noqa: N803 - ECS's name
        if self.unreachable:
            raise EndpointConnectionError(endpoint_url=f"{cluster}/{serviceName}")
        return {"taskArns": ["arn"] if serviceName.startswith("worker-") else []}

    async def describe_tasks(self, *, cluster: str, tasks: list[str]) -> dict[str, Any]:
        detail = {"name": "privateIPv4Address", "value": "127.40.1.7"}
        task = {"taskArn": tasks[0], "lastStatus": "RUNNING", "attachments": [{"details": [detail]}]}
        return {"tasks": [task | {"startedAt": STARTED_AT}]}


async def test_unreadable_workers_are_unknown_and_add_no_zero_to_the_history() -> None:
    ecs = RunningWorkerEcs()
    async with aiohttp.ClientSession() as http:
        watcher = Watcher(ENDPOINTS, ecs, http)
        await watcher.poll()
        ecs.unreachable = True
        assert await watcher.poll() == ()
        with pytest.raises(WorkersUnknownError, match="worker-default"):
            await watcher.workers()
    assert watcher.history == [1], "an unreachable ECS was counted as a number of workers"
    times = {"before": STARTED_AT - SECOND, "with": STARTED_AT, "after it was last seen": datetime.now(UTC) + SECOND}
    assert {name: watcher.workers_at(at) for name, at in times.items()} == {
        "before": 0,
        "with": 1,
        "after it was last seen": 0,
    }


def test_the_password_is_not_shown() -> None:
    assert "s3cret" not in repr(ENDPOINTS)
