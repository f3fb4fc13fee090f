# SPDX-License-Identifier: Apache-2.0
"""The scaler's HTTP API: the page, /metrics, /healthz, /v1/…; with a key also signed writes of overrides.

Reading has no authentication: any client of the port can read names of fleets and queues, counts and reasons. Keep the
port behind the environment's internal load balancer and in its security group, as the stack does.
"""

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
from scaler.reporting.override_api import BODY_LIMIT, OverrideApi
from scaler.reporting.prometheus_metrics import PrometheusMetrics
from scaler.reporting.tick_codec import Json
from scaler.runtime.supervisor import FleetSupervisor

DEFAULT_LIMIT = 50
LARGEST_LIMIT = 1000
METADATA_DEADLINE_S = 5.0
COMPRESSED_FROM = 4096
"""Bytes of a response: below this size compression saves nothing."""
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def application(
    supervisor: FleetSupervisor,
    log: DecisionLog,
    metrics: PrometheusMetrics,
    *,
    config: Callable[[], str | None] = lambda: None,
    overrides: OverrideApi | None = None,
) -> web.Application:
    """Return the application; without `overrides` all its routes are read-only."""
    document = page.load()

    async def index(_: web.Request) -> web.Response:
        headers = {"Content-Security-Policy": document.policy}
        return web.Response(body=document.body, content_type="text/html", charset="utf-8", headers=headers)

    async def healthz(_: web.Request) -> web.Response:
        problem = supervisor.problem()
        status = 200 if problem is None else 503
        # A rejected settings file is no reason for a restart: the scaler would not start with it.
        health = {"ok": problem is None, "problem": problem, "failing": supervisor.failing(), "config": config()}
        return web.json_response(health, status=status)

    async def prometheus(_: web.Request) -> web.Response:
        # In a thread: the text of a thousand fleets takes half a second, and must not delay a tick.
        body = await asyncio.to_thread(metrics.text)
        return web.Response(body=body, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    async def fleets(request: web.Request) -> web.Response:
        found = log.fleets(_fleet(request, log), brief="brief" in request.query)
        return _response(log, fleets=found, problem=supervisor.problem(), links={**log.links})

    async def decisions(request: web.Request) -> web.Response:
        found = log.decisions(
            min(LARGEST_LIMIT, _whole(request, "limit", DEFAULT_LIMIT)),
            fleet=_fleet(request, log),
            since=_time(request, "since"),
            before=_time(request, "before"),
            changes="changes" in request.query,
        )
        return _response(log, decisions=found)

    async def timeline(request: web.Request) -> web.Response:
        fleet = _fleet(request, log)
        if fleet is None:
            raise web.HTTPBadRequest(text="fleet= is missing")
        points = log.timeline(fleet, _whole(request, "since", 0))
        return _response(log, fleet=fleet, seconds=BUCKET_S, series=list(SERIES), points=points, history=log.history)

    app = web.Application(middlewares=[_with_headers], client_max_size=BODY_LIMIT)
    if overrides is not None:
        path = "/v1/overrides/{fleet}"
        app.add_routes([web.post(path, overrides.handle), web.patch(path, overrides.handle)])
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
async def _with_headers(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Add the security headers, and return errors as JSON."""
    response: web.StreamResponse
    try:
        response = await handler(request)
    except web.HTTPClientError as error:
        # 405 lists the allowed methods in a header.
        allowed = {name: value for name, value in error.headers.items() if name == "Allow"}
        response = web.json_response({"error": error.text}, status=error.status, headers=allowed)
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    return response


def _response(log: DecisionLog, **values: Json) -> web.Response:
    response = web.json_response({"environment": log.environment, "now": log.now(), **values})
    if isinstance(response.body, bytes) and len(response.body) >= COMPRESSED_FROM:
        response.enable_compression()
    return response


def _fleet(request: web.Request, log: DecisionLog) -> str | None:
    name = request.query.get("fleet")
    if name is not None and name not in log.names():
        raise web.HTTPNotFound(text=f"no fleet {name} with decisions; fleets: {', '.join(log.names()) or 'none'}")
    return name


def _whole(request: web.Request, name: str, default: int) -> int:
    given = request.query.get(name, str(default))
    if not (given.isascii() and given.isdigit()):
        raise web.HTTPBadRequest(text=f"{name} must be a whole number")
    return int(given[:12])


def _time(request: web.Request, name: str) -> str:
    """Return a time of the query in the format of the decisions; a space stands for an unencoded +."""
    given = request.query.get(name, "")
    if not given:
        return ""
    try:
        at = datetime.fromisoformat(given.replace(" ", "+"))
        # A time without an offset is ambiguous, and the time zone of the scaler is not that of the client.
        return rfc3339(at.astimezone(UTC)) if at.tzinfo else _refuse(name, "the offset from UTC is missing")
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
        ScalerError: the endpoint exists and gives no address.
    """
    if not metadata_uri:
        return "0.0.0.0"  # noqa: S104  outside of ECS there is no task address
    try:
        timeout = aiohttp.ClientTimeout(total=METADATA_DEADLINE_S)
        async with session.get(f"{metadata_uri}/task", timeout=timeout) as response:
            response.raise_for_status()
            document = await response.json(content_type=None)
        return str(document["Containers"][0]["Networks"][0]["IPv4Addresses"][0])
    except (aiohttp.ClientError, TimeoutError, ValueError, LookupError, TypeError) as error:
        raise ScalerError(
            f"the task's address is unknown: {metadata_uri}/task: {type(error).__name__} {error}"
        ) from error
