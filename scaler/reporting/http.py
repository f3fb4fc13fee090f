# SPDX-License-Identifier: Apache-2.0
"""What the scaler answers over HTTP: the page, /metrics, /healthz, /v1/…. It takes no orders here.

It asks nobody who they are: whoever reaches the port may read names of fleets and queues, counts and reasons, so the
port belongs behind the environment's internal load balancer and into its security group, as the stack has it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import NoReturn

import aiohttp
from aiohttp import web
from aiohttp.typedefs import Handler

from scaler.errors import ScalerError
from scaler.ports import rfc3339
from scaler.reporting import page
from scaler.reporting.decision_log import DecisionLog
from scaler.reporting.history import BUCKET_S, SERIES
from scaler.reporting.prometheus_metrics import Metrics
from scaler.reporting.tick_codec import Json
from scaler.runtime.supervisor import Supervisor

DEFAULT_LIMIT = 50
LARGEST_LIMIT = 1000
METADATA_DEADLINE_S = 5.0
COMPRESSED_FROM = 4096
"""Bytes of an answer: below that a round trip costs more than what compression saves."""
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def application(
    supervisor: Supervisor, log: DecisionLog, metrics: Metrics, *, config: Callable[[], str | None] = lambda: None
) -> web.Application:
    """Return the application; it reads and never changes anything."""
    document = page.load()

    async def index(_: web.Request) -> web.Response:
        headers = {"Content-Security-Policy": document.policy}
        return web.Response(body=document.body, content_type="text/html", charset="utf-8", headers=headers)

    async def healthz(_: web.Request) -> web.Response:
        problem = supervisor.problem()
        status = 200 if problem is None else 503
        # A settings' file that is not in force is no reason for a restart: with it, the scaler would not start.
        answer = {"ok": problem is None, "problem": problem, "failing": supervisor.failing(), "config": config()}
        return web.json_response(answer, status=status)

    async def prometheus(_: web.Request) -> web.Response:
        # In a thread: a thousand fleets are half a second of text, for which no tick has to wait.
        body = await asyncio.to_thread(metrics.text)
        return web.Response(body=body, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    async def fleets(request: web.Request) -> web.Response:
        found = log.fleets(_fleet(request, log), brief="brief" in request.query)
        return _answer(log, fleets=found, problem=supervisor.problem())

    async def decisions(request: web.Request) -> web.Response:
        found = log.decisions(
            min(LARGEST_LIMIT, _whole(request, "limit", DEFAULT_LIMIT)),
            fleet=_fleet(request, log),
            since=_time(request, "since"),
            before=_time(request, "before"),
            changes="changes" in request.query,
        )
        return _answer(log, decisions=found)

    async def timeline(request: web.Request) -> web.Response:
        fleet = _fleet(request, log)
        if fleet is None:
            raise web.HTTPBadRequest(text="fleet= is missing")
        points = log.timeline(fleet, _whole(request, "since", 0))
        return _answer(log, fleet=fleet, seconds=BUCKET_S, series=list(SERIES), points=points)

    app = web.Application(middlewares=[_careful])
    app.add_routes(
        [
            web.get("/", index),
            web.get("/healthz", healthz),
            web.get("/metrics", prometheus),
            web.get("/v1/fleets", fleets),
            web.get("/v1/decisions", decisions),
            web.get("/v1/timeline", timeline),
        ]
    )
    return app


@web.middleware
async def _careful(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Send what keeps browsers from guessing, and errors as JSON."""
    response: web.StreamResponse
    try:
        response = await handler(request)
    except web.HTTPClientError as error:
        # 405 says what is allowed in a header.
        allowed = {name: value for name, value in error.headers.items() if name == "Allow"}
        response = web.json_response({"error": error.text}, status=error.status, headers=allowed)
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    return response


def _answer(log: DecisionLog, **values: Json) -> web.Response:
    response = web.json_response({"environment": log.environment, "now": log.now(), **values})
    if isinstance(response.body, bytes) and len(response.body) >= COMPRESSED_FROM:
        response.enable_compression()
    return response


def _fleet(request: web.Request, log: DecisionLog) -> str | None:
    name = request.query.get("fleet")
    if name is not None and name not in log.names():
        raise web.HTTPNotFound(text=f"no fleet {name} has decided yet; these have: {', '.join(log.names()) or 'none'}")
    return name


def _whole(request: web.Request, name: str, default: int) -> int:
    given = request.query.get(name, str(default))
    if not (given.isascii() and given.isdigit()):
        raise web.HTTPBadRequest(text=f"{name} must be a whole number")
    return int(given[:12])


def _time(request: web.Request, name: str) -> str:
    """Return a time of the query as decisions are dated; a + that arrived as a space is a + again."""
    given = request.query.get(name, "")
    if not given:
        return ""
    try:
        at = datetime.fromisoformat(given.replace(" ", "+"))
        # Without an offset nobody knows which noon is meant, and the scaler's own zone is no answer.
        return rfc3339(at.astimezone(UTC)) if at.tzinfo else _refuse(name, "it lacks an offset from UTC")
    except (ValueError, OverflowError) as error:
        return _refuse(name, str(error))


def _refuse(name: str, why: str) -> NoReturn:
    raise web.HTTPBadRequest(text=f"{name} must be a time such as 2026-01-31T12:00:00Z: {why}")


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
