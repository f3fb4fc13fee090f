# SPDX-License-Identifier: Apache-2.0
"""The scaler as a process for tests, with its settings, ECS's metadata, and its answers over HTTP."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

ROOT = Path(__file__).parents[2]
DEADLINE_S = 240.0
SERVICE: dict[str, Any] = {
    "serviceName": "worker-default",
    "status": "ACTIVE",
    "desiredCount": 1,
    "runningCount": 0,
    "pendingCount": 0,
    "deployments": [{"status": "PRIMARY", "taskDefinition": "worker:1", "rolloutState": "COMPLETED"}],
}
ATTRIBUTES = {
    "ApproximateNumberOfMessages": "12",
    "ApproximateNumberOfMessagesNotVisible": "0",
    "ApproximateNumberOfMessagesDelayed": "0",
}


def settings(port: int, **changes: Any) -> dict[str, Any]:
    fleet = {"name": "default", "services": ["worker-default"], "queues": {"default": "http://sqs/1/default"}}
    return {
        "version": 2,
        "environment": "test",
        "region": "us-east-1",
        "cluster": "openmwaa-test",
        "interval_s": 1.0,
        "http_port": port,
        "database": None,
        "fleets": [fleet | {"slots": 5, "min": 1, "max": 5}],
        **changes,
    }


@asynccontextmanager
async def scaler(
    config: dict[str, Any] | None, *options: str, **environment: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "scaler.main",
        *options,
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={
            "PATH": os.environ["PATH"],
            "HOME": "/nonexistent",
            **({} if config is None else {"SCALER_CONFIG": json.dumps(config)}),
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            **environment,
        },
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@asynccontextmanager
async def task_metadata() -> AsyncIterator[str]:
    """Serve ECS's task metadata on 127.0.0.1; yield its URI."""
    metadata = {"Containers": [{"Networks": [{"NetworkMode": "awsvpc", "IPv4Addresses": ["127.0.0.1"]}]}]}

    async def task(_: web.Request) -> web.Response:
        return web.json_response(metadata)

    app = web.Application()
    app.router.add_get("/v4/token/task", task)
    async with TestServer(app) as server:
        yield str(server.make_url("/v4/token"))


async def get(url: str) -> tuple[int, str]:
    """Return status and text, after the server has started."""
    async with asyncio.timeout(DEADLINE_S), aiohttp.ClientSession() as session:
        while True:
            try:
                async with session.get(url) as answer:
                    return answer.status, await answer.text()
            except aiohttp.ClientConnectionError:
                await asyncio.sleep(0.1)


async def fleets_seen(base: str) -> list[dict[str, Any]]:
    """Return /v1/fleets once a decision was made."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            fleets: list[dict[str, Any]] = json.loads((await get(f"{base}/v1/fleets"))[1])["fleets"]
            if fleets:
                return fleets
            await asyncio.sleep(0.1)


async def until(base: str, path: str, holds: Callable[[Any], bool]) -> None:
    """Wait until the scaler's answer at `path` meets the condition."""
    answer: Any = None
    try:
        async with asyncio.timeout(DEADLINE_S):
            while not holds(answer := json.loads((await get(base + path))[1])):
                await asyncio.sleep(0.1)
    except TimeoutError:
        pytest.fail(f"{path} still returns {answer}")
