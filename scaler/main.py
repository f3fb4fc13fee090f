# SPDX-License-Identifier: Apache-2.0
"""The scaler as a process: reads its settings, opens the world, runs until SIGTERM."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import aiohttp

from scaler import config
from scaler.adapters.airflow_database import AirflowDatabase
from scaler.adapters.aws import clients
from scaler.adapters.clock import SystemClock
from scaler.adapters.ecs import Ecs
from scaler.adapters.sqs import Sqs
from scaler.adapters.worker_agent import WorkerAgents, signing_key
from scaler.config import Secrets, Settings
from scaler.errors import ConfigurationError, ScalerError
from scaler.runtime.decision_log import DecisionLog
from scaler.runtime.fleet_loop import FleetLoop
from scaler.runtime.http import application, serving, task_address
from scaler.runtime.metrics import Metrics
from scaler.runtime.observe import Observer, SharedDatabase, World
from scaler.runtime.supervisor import Supervisor

EXIT_CONFIGURATION = 2
EXIT_FAILED = 1


def main() -> int:
    """Run the scaler; return the exit code: 0 after SIGTERM or SIGINT, 2 for wrong settings."""
    try:
        settings, hidden = config.read(os.environ)
        asyncio.run(run(settings, hidden))
    except ConfigurationError as error:
        for problem in error.problems:
            print(f"openmwaa-scaler: {problem}", file=sys.stderr)
        return EXIT_CONFIGURATION
    except (ScalerError, OSError) as error:
        print(f"openmwaa-scaler: {error}", file=sys.stderr)
        return EXIT_FAILED
    return 0


async def run(settings: Settings, hidden: Secrets) -> None:
    """Run until SIGTERM or SIGINT. Nothing needs to be given back: drains are leases, counts are absolute."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    clock = SystemClock()
    log, metrics = DecisionLog(settings.environment, sys.stdout, clock.wall), Metrics()
    async with _world(settings, hidden, clock) as (world, session):
        loops = []
        for fleet in settings.fleets:
            core = settings.core_fleet(fleet)
            observer = Observer(core, fleet.services, fleet.queues, world)
            loops.append(FleetLoop(core, observer, world, (log, metrics)))
        supervisor = Supervisor(loops, clock)
        host = await task_address(session, os.environ.get("ECS_CONTAINER_METADATA_URI_V4"))
        async with serving(application(supervisor, log, metrics), host, settings.http_port):
            log.event(
                "started", fleets=[fleet.name for fleet in settings.fleets], address=host, port=settings.http_port
            )
            running = asyncio.create_task(supervisor.run())
            stopping = asyncio.create_task(stop.wait())
            await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
            running.cancel()
            outcome = (await asyncio.gather(running, return_exceptions=True))[0]
            log.event("stopped")
            if isinstance(outcome, Exception):
                raise outcome


@asynccontextmanager
async def _world(
    settings: Settings, hidden: Secrets, clock: SystemClock
) -> AsyncIterator[tuple[World, aiohttp.ClientSession]]:
    # No single call may eat up a tick, and none needs more than two seconds.
    deadline_s = min(2.0, settings.interval_s * 0.4)
    async with AsyncExitStack() as stack:
        ecs, sqs = await stack.enter_async_context(clients(settings.region, "ecs", "sqs"))
        session = await stack.enter_async_context(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=100)))
        agents = WorkerAgents(
            session,
            signing_key(hidden.signing_seed),
            port=settings.agent_port,
            wall=clock.wall,
            nonce=lambda: secrets.token_urlsafe(18),
            deadline_s=deadline_s,
        )
        database = None
        if settings.database is not None and hidden.database_password is not None:
            airflow = AirflowDatabase(settings.database, hidden.database_password, deadline_s=deadline_s)
            stack.push_async_callback(airflow.close)
            # Fleets tick at their own offsets: at most ten queries an interval, however many fleets.
            database = SharedDatabase(airflow, clock, max_age_s=settings.interval_s / 10)
        world = World(
            clock=clock,
            cluster=Ecs(ecs, settings.cluster, deadline_s=deadline_s),
            workers=agents,
            broker=Sqs(sqs, deadline_s=deadline_s),
            database=database,
        )
        yield world, session


if __name__ == "__main__":
    sys.exit(main())
