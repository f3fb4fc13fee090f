# SPDX-License-Identifier: Apache-2.0
"""Opens the resources that the settings name: clients, connections and the caches in front of them."""

import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp

from scaler.adapters.airflow_database import AirflowDatabase
from scaler.adapters.airflow_plan import AirflowPlanReader
from scaler.adapters.aws import ApiCalls, open_client
from scaler.adapters.cloudwatch import CloudWatchBroker, CloudWatchDemand, Timing
from scaler.adapters.ecs import EcsClusterAdapter
from scaler.adapters.metrics import CloudWatchMetrics
from scaler.adapters.override_store import SsmOverrides
from scaler.adapters.own_log import READ_TIMEOUT_S, OwnLog
from scaler.adapters.sleep import AwsSleep
from scaler.adapters.sqs import SqsQueueReader
from scaler.adapters.worker_agent import WorkerAgents, signing_key
from scaler.config.environment import ScalerSecrets
from scaler.config.settings import CloudWatchSettings, RedisSettings, ScalerConfig
from scaler.ports import BrokerPort, ClockPort, LogSource, MetricSink, SleepPort, WritableOverrides
from scaler.runtime.agent_concurrency import CONNECTIONS
from scaler.runtime.observe import Ports, SharedDatabase
from scaler.runtime.overrides import SharedOverrides
from scaler.runtime.write_rate_limit import WriteRateLimit

HEALTH_DEADLINE_S = 8.0
"""Only the metrics, once a minute, wait for this query."""
SLEEP_DEADLINE_S = 8.0
"""No decision waits for the calls of sleep."""


@dataclass(frozen=True, slots=True)
class Resources:
    """The ports, and the resources that are not part of a fleet."""

    ports: Ports
    write_rate_limit: WriteRateLimit
    session: aiohttp.ClientSession
    calls: ApiCalls
    sink: MetricSink | None
    """The destination of metrics; None: no metrics are published."""
    airflow_health: AirflowDatabase | None
    """None: no metrics are published, or there is no database."""
    demand_metrics: CloudWatchDemand
    sleep: SleepPort | None
    """None: the environment cannot sleep."""
    databases: Sequence[AirflowDatabase]
    """All connections to Airflow's database."""
    override_store: WritableOverrides | None
    """None: the settings have no overrides."""
    own_log: LogSource | None
    """None: the history begins with the process."""


@asynccontextmanager
async def open_resources(
    settings: ScalerConfig, secret_values: ScalerSecrets, clock: ClockPort
) -> AsyncIterator[Resources]:
    """Open everything that the settings name while the body runs."""
    # No single call may use up a tick, and none needs more than two seconds.
    deadline_s = min(2.0, settings.interval_s * 0.4)
    # Fleets that tick at the same time share an answer.
    shared_s = min(1.0, settings.interval_s / 10)
    timing = Timing(clock.monotonic, clock.wall, max_failure_age_s=shared_s, deadline_s=deadline_s)
    async with AsyncExitStack() as stack:
        calls = ApiCalls()

        async def client(name: str, read_timeout_s: float = 2) -> Any:
            opened = open_client(settings.region, name, calls, read_timeout_s=read_timeout_s)
            return await stack.enter_async_context(opened)

        connector = aiohttp.TCPConnector(limit=2 * CONNECTIONS)
        session = await stack.enter_async_context(aiohttp.ClientSession(connector=connector))
        agents = WorkerAgents(
            session,
            signing_key(secret_values.signing_seed),
            port=settings.agent_port,
            wall=clock.wall,
            nonce=lambda: secrets.token_urlsafe(18),
            deadline_s=deadline_s,
        )
        write_rate_limit = WriteRateLimit(clock, per_s=settings.calls.writes_per_s, burst=settings.calls.burst)
        overrides = override_store = None
        if settings.overrides_prefix is not None:
            override_store = SsmOverrides(await client("ssm"), settings.overrides_prefix, deadline_s=deadline_s)
            # Two reads an interval for all fleets: an override takes effect within 1.5 intervals.
            names = [fleet.name for fleet in settings.fleets]
            overrides = SharedOverrides(override_store, names, clock, max_age_s=settings.interval_s / 2)
            stack.push_async_callback(overrides.close)
        database, plan, databases = None, None, []
        if airflow := _airflow(settings, secret_values, deadline_s, stack):
            database = SharedDatabase(airflow, clock, max_age_s=shared_s)
            stack.push_async_callback(database.close)
            databases.append(airflow)
        if settings.database and (planned := _airflow(settings, secret_values, deadline_s, stack)):
            plan = AirflowPlanReader(planned, clock.monotonic, settings.database.executors, max_age_s=shared_s)
            stack.push_async_callback(plan.close)
            databases.append(planned)
        cloudwatch = await client("cloudwatch")
        demand_metrics = CloudWatchDemand(cloudwatch, timing)
        stack.push_async_callback(demand_metrics.close)
        ecs = await client("ecs")
        ports = Ports(
            clock=clock,
            cluster=EcsClusterAdapter(ecs, settings.cluster, deadline_s=deadline_s, wall=clock.wall),
            workers=agents,
            broker=await _broker(settings, secret_values, timing, stack, client),
            database=database,
            overrides=overrides,
            write_rate_limit=write_rate_limit,
            plan=plan,
        )
        sink = None if settings.metrics_namespace is None else CloudWatchMetrics(cloudwatch)
        health = None if sink is None else _airflow(settings, secret_values, HEALTH_DEADLINE_S, stack)
        if health is not None:
            databases.append(health)
        sleep = await _sleep(settings, clock, client, ecs=ecs, cloudwatch=cloudwatch)
        own_log = OwnLog(await client("logs", READ_TIMEOUT_S), settings.log_group) if settings.log_group else None
        yield Resources(
            ports,
            write_rate_limit,
            session,
            calls,
            sink,
            health,
            demand_metrics,
            sleep,
            databases,
            override_store,
            own_log,
        )


async def _sleep(
    settings: ScalerConfig, clock: ClockPort, client: Any, *, ecs: Any, cloudwatch: Any
) -> AwsSleep | None:
    if settings.sleep is None:
        return None
    return AwsSleep(
        settings.sleep,
        settings.cluster,
        ssm=await client("ssm"),
        ecs=ecs,
        rds=await client("rds", SLEEP_DEADLINE_S),
        cloudwatch=cloudwatch,
        deadline_s=SLEEP_DEADLINE_S,
        wall=clock.wall,
    )


async def _broker(
    settings: ScalerConfig,
    secret_values: ScalerSecrets,
    timing: Timing,
    stack: AsyncExitStack,
    client: Any,
) -> BrokerPort:
    match secret_values.redis or settings.broker:
        case RedisSettings() as redis:
            from scaler.adapters.redis import RedisBroker  # noqa: PLC0415  some megabytes that SQS does not need

            broker = RedisBroker(
                redis,
                secret_values.redis_password,
                monotonic=timing.monotonic,
                max_age_s=timing.max_failure_age_s,
                deadline_s=timing.deadline_s,
            )
            stack.push_async_callback(broker.close)
            return broker
        case CloudWatchSettings() as metrics:
            cloudwatch = CloudWatchBroker(await client("cloudwatch"), metrics, timing)
            stack.push_async_callback(cloudwatch.close)
            return cloudwatch
        case _:
            return SqsQueueReader(await client("sqs"), deadline_s=timing.deadline_s)


def _airflow(
    settings: ScalerConfig, secret_values: ScalerSecrets, deadline_s: float, stack: AsyncExitStack
) -> AirflowDatabase | None:
    if settings.database is None or secret_values.database_password is None:
        return None
    user = secret_values.database_user or settings.database.user
    login = settings.database.model_copy(update={"user": user})
    airflow = AirflowDatabase(login, secret_values.database_password, deadline_s=deadline_s)
    stack.push_async_callback(airflow.close)
    return airflow
