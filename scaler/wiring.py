# SPDX-License-Identifier: Apache-2.0
"""Opens the world that the settings name: clients, connections and what shares them."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp

from scaler.adapters.airflow_database import AirflowDatabase
from scaler.adapters.aws import ApiCalls, clients
from scaler.adapters.cloudwatch import CloudWatchBroker
from scaler.adapters.ecs import Ecs
from scaler.adapters.metrics import CloudWatchMetrics
from scaler.adapters.override_store import SsmControls
from scaler.adapters.sqs import Sqs
from scaler.adapters.worker_agent import WorkerAgents, signing_key
from scaler.config.settings import CloudWatchSettings, RedisSettings, Secrets, Settings
from scaler.ports import AirflowVitals, Broker, Clock, MetricSink
from scaler.runtime.observe import SharedDatabase, World
from scaler.runtime.overrides import SharedControls
from scaler.runtime.write_rate_limit import WriteBudget

CONNECTIONS = 500
"""To agents, at once; a fleet takes at most 32 of them."""
VITALS_DEADLINE_S = 8.0
"""Nobody waits for it but the minute's metrics."""


@dataclass(frozen=True, slots=True)
class Opened:
    """The world, and what is not a fleet's."""

    world: World
    writes: WriteBudget
    session: aiohttp.ClientSession
    calls: ApiCalls
    sink: MetricSink | None
    """Where metrics are published; None: nowhere."""
    vitals: AirflowVitals | None
    """Whether Airflow lives; None: nobody is to be told, or there is no database."""


@asynccontextmanager
async def opened(settings: Settings, hidden: Secrets, clock: Clock) -> AsyncIterator[Opened]:
    """Open everything the settings name while the body runs."""
    # No single call may eat up a tick, and none needs more than two seconds.
    deadline_s = min(2.0, settings.interval_s * 0.4)
    async with AsyncExitStack() as stack:
        calls = ApiCalls()

        async def client(name: str) -> Any:
            return (await stack.enter_async_context(clients(settings.region, name, calls=calls)))[0]

        connector = aiohttp.TCPConnector(limit=CONNECTIONS)
        session = await stack.enter_async_context(aiohttp.ClientSession(connector=connector))
        agents = WorkerAgents(
            session,
            signing_key(hidden.signing_seed),
            port=settings.agent_port,
            wall=clock.wall,
            nonce=lambda: secrets.token_urlsafe(18),
            deadline_s=deadline_s,
        )
        writes = WriteBudget(clock, per_s=settings.calls.writes_per_s, burst=settings.calls.burst)
        controls = None
        if settings.controls_prefix is not None:
            source = SsmControls(await client("ssm"), settings.controls_prefix, deadline_s=deadline_s)
            # Twice an interval for all fleets: an order is seen within one and a half.
            names = [fleet.name for fleet in settings.fleets]
            controls = SharedControls(source, names, clock, max_age_s=settings.interval_s / 2)
        world = World(
            clock=clock,
            cluster=Ecs(await client("ecs"), settings.cluster, deadline_s=deadline_s),
            workers=agents,
            broker=await _broker(settings, hidden, clock, deadline_s, stack, client),
            database=_database(settings, hidden, clock, deadline_s, stack),
            controls=controls,
            writes=writes,
        )
        sink = None if settings.metrics_namespace is None else CloudWatchMetrics(await client("cloudwatch"))
        vitals = None if sink is None else _airflow(settings, hidden, VITALS_DEADLINE_S, stack)
        yield Opened(world, writes, session, calls, sink, vitals)


async def _broker(
    settings: Settings, hidden: Secrets, clock: Clock, deadline_s: float, stack: AsyncExitStack, client: Any
) -> Broker:
    match settings.broker:
        case RedisSettings() as redis:
            from scaler.adapters.redis import RedisBroker  # noqa: PLC0415  megabytes that SQS does not need

            broker = RedisBroker(
                redis,
                hidden.redis_password,
                monotonic=clock.monotonic,
                max_age_s=_shared_s(settings),
                deadline_s=deadline_s,
            )
            stack.push_async_callback(broker.close)
            return broker
        case CloudWatchSettings() as metrics:
            watched = CloudWatchBroker(
                await client("cloudwatch"),
                metrics,
                monotonic=clock.monotonic,
                wall=clock.wall,
                max_failure_age_s=_shared_s(settings),
                deadline_s=deadline_s,
            )
            stack.push_async_callback(watched.close)
            return watched
        case _:
            return Sqs(await client("sqs"), deadline_s=deadline_s)


def _database(
    settings: Settings, hidden: Secrets, clock: Clock, deadline_s: float, stack: AsyncExitStack
) -> SharedDatabase | None:
    airflow = _airflow(settings, hidden, deadline_s, stack)
    return None if airflow is None else SharedDatabase(airflow, clock, max_age_s=_shared_s(settings))


def _airflow(settings: Settings, hidden: Secrets, deadline_s: float, stack: AsyncExitStack) -> AirflowDatabase | None:
    """Return a connection of its own; None where there is no database."""
    if settings.database is None or hidden.database_password is None:
        return None
    user = hidden.database_user or settings.database.user
    login = settings.database.model_copy(update={"user": user})
    airflow = AirflowDatabase(login, hidden.database_password, deadline_s=deadline_s)
    stack.push_async_callback(airflow.close)
    return airflow


def _shared_s(settings: Settings) -> float:
    """Return how long an answer that is for all fleets serves: fleets that tick together share one."""
    return min(1.0, settings.interval_s / 10)
