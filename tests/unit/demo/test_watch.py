# SPDX-License-Identifier: Apache-2.0
"""What does not answer is unknown, never zero: a failed read of ECS must not count as a fleet without workers."""

from typing import Any

import aiohttp
import pytest
from botocore.exceptions import EndpointConnectionError

from openmwaa.local.demo.watch import Endpoints, Watcher, WorkersUnknownError

ENDPOINTS = Endpoints("http://a", "http://e", "http://w", "us-east-1", "c", "b", "dags", ("worker-default",), "s3cret")


class Ecs:
    """ECS with one running worker, or away."""

    def __init__(self) -> None:
        self.away = False

    async def list_tasks(self, *, cluster: str, serviceName: str) -> dict[str, Any]:  # noqa: N803 - ECS's word
        if self.away:
            raise EndpointConnectionError(endpoint_url=f"{cluster}/{serviceName}")
        return {"taskArns": ["arn"] if serviceName.startswith("worker-") else []}

    async def describe_tasks(self, *, cluster: str, tasks: list[str]) -> dict[str, Any]:
        detail = {"name": "privateIPv4Address", "value": "127.40.1.7"}
        return {"tasks": [{"taskArn": tasks[0], "lastStatus": "RUNNING", "attachments": [{"details": [detail]}]}]}


async def test_workers_that_cannot_be_read_are_unknown_and_leave_no_zero_in_the_history() -> None:
    ecs = Ecs()
    async with aiohttp.ClientSession() as http:
        watcher = Watcher(ENDPOINTS, ecs, http)
        await watcher.poll()
        ecs.away = True
        assert await watcher.poll() == ()
        with pytest.raises(WorkersUnknownError, match="worker-default"):
            await watcher.workers()
    assert watcher.history == [1], "an ECS that is away was counted as a number of workers"


def test_the_password_is_not_shown() -> None:
    assert "s3cret" not in repr(ENDPOINTS)
