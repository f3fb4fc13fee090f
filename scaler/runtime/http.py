# SPDX-License-Identifier: Apache-2.0
"""What the scaler answers over HTTP: /metrics, /healthz, /v1/fleets, /v1/decisions. It takes no orders here."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
from aiohttp import web

from scaler.errors import ScalerError
from scaler.runtime.decision_log import DecisionLog
from scaler.runtime.metrics import Metrics
from scaler.runtime.supervisor import Supervisor

DEFAULT_LIMIT = 50
METADATA_DEADLINE_S = 5.0


def application(supervisor: Supervisor, log: DecisionLog, metrics: Metrics) -> web.Application:
    """Return the application; it reads and never changes anything."""

    async def healthz(_: web.Request) -> web.Response:
        problem = supervisor.problem()
        status = 200 if problem is None else 503
        return web.json_response(
            {"ok": problem is None, "problem": problem, "failing": supervisor.failing()}, status=status
        )

    async def prometheus(_: web.Request) -> web.Response:
        return web.Response(body=metrics.text(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    async def fleets(_: web.Request) -> web.Response:
        return web.json_response({"fleets": log.fleets()})

    async def decisions(request: web.Request) -> web.Response:
        given = request.query.get("limit", str(DEFAULT_LIMIT))
        if not (given.isascii() and given.isdigit()):
            return web.json_response({"error": "limit must be a whole number"}, status=400)
        return web.json_response({"decisions": log.decisions(int(given[:9]))})

    app = web.Application()
    app.add_routes(
        [
            web.get("/healthz", healthz),
            web.get("/metrics", prometheus),
            web.get("/v1/fleets", fleets),
            web.get("/v1/decisions", decisions),
        ]
    )
    return app


@asynccontextmanager
async def serving(app: web.Application, host: str, port: int) -> AsyncIterator[None]:
    """Serve while the body runs."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        yield
    finally:
        await runner.cleanup()


async def task_address(session: aiohttp.ClientSession, metadata_uri: str | None) -> str:
    """Return this task's own address from ECS's metadata endpoint; 0.0.0.0 outside of ECS.

    Raises:
        ScalerError: the endpoint is there and does not say an address.
    """
    if not metadata_uri:
        return "0.0.0.0"  # noqa: S104  outside of ECS there is no address of one's own
    try:
        timeout = aiohttp.ClientTimeout(total=METADATA_DEADLINE_S)
        async with session.get(f"{metadata_uri}/task", timeout=timeout) as answer:
            answer.raise_for_status()
            document = await answer.json(content_type=None)
        return str(document["Containers"][0]["Networks"][0]["IPv4Addresses"][0])
    except (aiohttp.ClientError, TimeoutError, ValueError, LookupError, TypeError) as error:
        raise ScalerError(
            f"the task's address is unknown: {metadata_uri}/task: {type(error).__name__} {error}"
        ) from error
