# SPDX-License-Identifier: Apache-2.0
"""Observe: read every source at once, each within its deadline, and turn failures into readings.

All answers of one observation belong to one tick. Demand may come from an earlier tick, as `Stale`.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Generic, Self, TypeVar

from scaler.adapters.shared import Shared
from scaler.core.forecast.forecaster import Forecaster
from scaler.core.forecast.plan import AirflowPlan
from scaler.core.forecast.sources import with_sources
from scaler.core.look_ahead import horizon_s
from scaler.core.model import (
    BrokerCount,
    DatabaseCount,
    FleetPolicy,
    Forecast,
    Known,
    Observation,
    Overrides,
    Reading,
    Schedule,
    Service,
    ServiceObservation,
    Stale,
    Task,
    Unknown,
)
from scaler.core.workers import DRAIN_PHASES, PENDING
from scaler.errors import AbsentError, DeadlineError, SourceError, ThrottledError
from scaler.ports import AirflowPlanPort, BrokerPort, ClockPort, ClusterPort, DatabasePort, WorkersPort
from scaler.runtime.backoff import SLOWED
from scaler.runtime.overrides import LastOverrides, SharedOverrides
from scaler.runtime.write_rate_limit import WriteRateLimit

T = TypeVar("T")
BROKER, METRIC = "sqs", "cloudwatch"
ECS_STOPS_WITHIN_S = 10.0
"""ECS stops tasks some seconds after the write of a lower count. A protection that ends before that is none."""
ABSENT_AFTER = 6
"""A service that has been seen is absent only after so many answers in a row that it does not exist."""
FORECAST_SHARE = 0.1
"""Of the interval: a forecast that takes longer is not used, and its next one continues with what is done.

Readings may take 0.6, and commands must be sent before 0.75."""
LEFT_OUT = 1.5
"""Intervals without a read after one that the source throttled: one tick, unless ticks are stretched already."""


@dataclass(frozen=True, slots=True)
class Ports:
    """The ports of one environment."""

    clock: ClockPort
    cluster: ClusterPort
    workers: WorkersPort
    broker: BrokerPort
    database: DatabasePort | None
    overrides: SharedOverrides | None = None
    """The manual overrides; None: overrides are not configured."""
    write_rate_limit: WriteRateLimit | None = None
    """Limits the rate of UpdateService; None: no limit."""
    plan: AirflowPlanPort | None = None
    """None: there is no Airflow database."""
    held: Overrides | None = None
    """Overrides of the whole environment, which replace those of each fleet; None: it is awake."""


class LastKnown(Generic[T]):
    """The last known value of one source, which serves as a `Stale` reading for a few ticks."""

    def __init__(self) -> None:
        self._last: Known[T] | None = None

    def of(self, reading: Known[T] | Unknown, now: float, limit_s: float) -> Reading[T]:
        """Return the reading; if it is unknown, return the last known value if it is at most `limit_s` old."""
        if isinstance(reading, Known):
            self._last = reading
            return reading
        if self._last is not None and 0 <= now - self._last.at <= limit_s:
            return Stale(self._last.value, now - self._last.at)
        return reading


class SharedDatabase(Shared[Mapping[str, DatabaseCount]]):
    """The port `DatabasePort`: one query serves all fleets of a tick."""

    def __init__(self, database: DatabasePort, clock: ClockPort, *, max_age_s: float) -> None:
        super().__init__(database.counts, clock.monotonic, max_age_s=max_age_s)
        self._database = database

    async def counts(self) -> Mapping[str, DatabaseCount]:
        """Return the counts, at most `max_age_s` old; an error is shared for the same time."""
        return await self.get()

    async def running_on(self, host: str) -> int:
        """Return the running task instances of a host name, never from an earlier query."""
        return await self._database.running_on(host)


class Observer:
    """Observes one fleet: its services, its demand and its overrides."""

    def __init__(
        self,
        fleet: FleetPolicy,
        services: Sequence[str],
        queues: Mapping[str, str],
        ports: Ports,
        *,
        schedule: Callable[[datetime], Schedule | None] = lambda _: None,
        metric: Callable[[], Awaitable[float]] | None = None,
    ) -> None:
        self._fleet = fleet
        self._services = sorted(services)
        self._queues = queues
        self._ports = ports
        self._schedule = schedule
        self._metric = metric
        self._forecaster = Forecaster()
        self._last_database: LastKnown[DatabaseCount] = LastKnown()
        self._last_broker: LastKnown[BrokerCount] = LastKnown()
        self._last_overrides = LastOverrides()
        self._last_metric: LastKnown[float] = LastKnown()
        self._empty: set[str] = set()
        """Services that had no task in the last tick."""
        self._seen: set[str] = set()
        """Services that have existed."""
        self._missing: dict[str, int] = {}
        """Services that do not exist, according to so many answers in a row."""
        self._errors: list[SourceError] = []
        self._throttled: dict[str, float] = {}
        """Sources that throttled their last read, and when."""

    @property
    def intervals(self) -> int:
        """Intervals between two reads of the demand's sources."""
        return SLOWED if self._throttled.keys() & {BROKER, METRIC} else 1

    def inherit_state(self, before: Self) -> None:
        """Take over what an earlier observer of the same fleet has learned; demand is read again."""
        self._last_overrides = before._last_overrides
        self._seen, self._missing = before._seen, before._missing

    async def observe(
        self, seconds: float, stale_s: float, launch_s: float = 0.0
    ) -> tuple[Observation, tuple[SourceError, ...]]:
        """Return one observation within `seconds`, and the errors of the sources that failed.

        A demand that cannot be read now is `Stale` for `stale_s` seconds. The forecast reaches as far as a launch that
        takes `launch_s` needs.
        """
        self._errors = []
        begins = asyncio.get_running_loop().time()
        end = begins + seconds
        async with asyncio.TaskGroup() as group:
            database = group.create_task(self._read_database(end, stale_s))
            broker = group.create_task(self._read_slowly(self._depths, BROKER, end))
            overrides = group.create_task(self._read_overrides(end))
            plan = group.create_task(self._read_plan(end))
            metric = group.create_task(self._read_metric(end, stale_s))
            services = {name: group.create_task(self._observe_service(name, begins, end)) for name in self._services}
        now = self._ports.clock.monotonic()
        seen = {name: await services[name] for name in self._services}
        absent = tuple(name for name in self._services if self._is_absent(name, seen[name]))
        if len(absent) == len(seen):
            absent = ()  # a fleet without any service has one that is unknown, so nothing is decided on it
        observation = Observation(
            services={name: service for name, service in seen.items() if name not in absent},
            broker=self._last_broker.of(await broker, now, stale_s),
            overrides=self._held(self._last_overrides.of(await overrides, self._ports.clock)),
            database=await database,
            schedule=self._schedule(self._ports.clock.wall()),
            demand_metric=await metric,
            forecast=await self._expect(await plan, seen, now, launch_s),
            absent=absent,
        )
        return observation, tuple(self._errors)

    def _held(self, own: Reading[Overrides]) -> Reading[Overrides]:
        """Return the overrides of the environment, if there are any; a dry run of the fleet stays one."""
        if self._ports.held is None or isinstance(own, Unknown):
            return own
        return Known(replace(self._ports.held, dry_run=own.value.dry_run), self._ports.clock.monotonic())

    async def _observe_service(self, name: str, begins: float, end: float) -> ServiceObservation:
        """Read a service and its workers; a service that is known to be empty needs no list of tasks."""
        # The list of tasks must leave time for the reads of protection and agents that follow it.
        tasks_end = begins + (end - begins) * 0.6
        async with asyncio.TaskGroup() as group:
            reading = group.create_task(self._read(partial(self._describe, name), "ecs", end))
            tasks: Known[tuple[Task, ...]] | Unknown
            if name in self._empty:
                service = await reading
                if isinstance(service, Known) and service.value.empty:
                    return ServiceObservation(service, Known((), service.at), Known(frozenset(), service.at), {})
            tasks = await self._read(lambda: self._ports.cluster.tasks(name), "ecs", tasks_end)
            running = () if isinstance(tasks, Unknown) else self._running(tasks.value)
            arns = [task.arn for task in running]
            protected: Known[frozenset[str]] | Unknown = Known(frozenset(), self._ports.clock.monotonic())
            if isinstance(tasks, Unknown):
                protected = Unknown("the tasks are unknown")
            agents = {
                task.arn: group.create_task(self._read(partial(self._ports.workers.state, task), "agent", end))
                for task in running
            }
            if arns:
                for_s = self._fleet.interval_s + ECS_STOPS_WITHIN_S
                protected = await self._read(lambda: self._ports.cluster.protected(arns, for_s=for_s), "ecs", end)
        service = await reading
        self._empty.discard(name)
        if isinstance(service, Known) and service.value.empty:
            self._empty.add(name)
        return ServiceObservation(service, tasks, protected, {arn: await agent for arn, agent in agents.items()})

    async def _describe(self, name: str) -> Service:
        try:
            service = await self._ports.cluster.service(name)
        except AbsentError:
            self._missing[name] = self._missing.get(name, 0) + 1
            raise
        self._seen.add(name)
        self._missing.pop(name, None)
        return service

    def _is_absent(self, name: str, seen: ServiceObservation) -> bool:
        """Whether a service does not exist: a deleted one must not keep the fleet's other service from growing.

        One wrong answer must not hide a service with workers: it would be started a second time on the other one.
        """
        if isinstance(seen.service, Known) or (isinstance(seen.tasks, Known) and seen.tasks.value):
            return False
        return self._missing.get(name, 0) >= (ABSENT_AFTER if name in self._seen else 1)

    async def _read_overrides(self, end: float) -> Known[Overrides] | Unknown:
        if self._ports.overrides is None:
            return Known(Overrides(), self._ports.clock.monotonic())
        return await self._read_slowly(partial(self._ports.overrides.of, self._fleet.name), "overrides", end)

    async def _read_slowly(self, read: Callable[[], Awaitable[T]], source: str, end: float) -> Known[T] | Unknown:
        """Read a source, but leave out the next interval after a read that it throttled.

        The next tick may be two intervals later already: leaving out that one would be a gap in the scale-in window.
        """
        since_s = self._ports.clock.monotonic() - self._throttled.get(source, -math.inf)
        if 0 <= since_s < LEFT_OUT * self._fleet.interval_s:
            return Unknown("throttled in the last tick: it is read again in the next one")
        self._throttled.pop(source, None)
        return await self._read(read, source, end)

    async def _read(self, read: Callable[[], Awaitable[T]], source: str, end: float) -> Known[T] | Unknown:
        try:
            async with asyncio.timeout_at(end):
                return Known(await read(), self._ports.clock.monotonic())
        except TimeoutError:
            error: SourceError = DeadlineError(source, "no answer before the tick's deadline")
        except SourceError as failure:
            error = failure
        if isinstance(error, ThrottledError):
            self._throttled[source] = self._ports.clock.monotonic()
        self._errors.append(error)
        return Unknown(error.reason)

    async def _read_database(self, end: float, stale_s: float) -> Reading[DatabaseCount] | None:
        if self._ports.database is None:
            return None
        reading = await self._read(self._ports.database.counts, "database", end)
        if isinstance(reading, Known):
            counts = [reading.value.get(queue, DatabaseCount(0, 0)) for queue in self._fleet.queues]
            total = DatabaseCount(sum(count.queued for count in counts), sum(count.running for count in counts))
            return self._last_database.of(Known(total, reading.at), reading.at, stale_s)
        return self._last_database.of(reading, self._ports.clock.monotonic(), stale_s)

    async def _read_plan(self, end: float) -> Known[AirflowPlan] | Unknown | None:
        plan = self._ports.plan
        if plan is None or self._fleet.look_ahead is None:
            return None
        queues, headroom = frozenset(self._fleet.queues), self._fleet.look_ahead.headroom
        return await self._read(lambda: plan.plan(queues, headroom=headroom), "plan", end)

    async def _expect(
        self,
        plan: Known[AirflowPlan] | Unknown | None,
        services: Mapping[str, ServiceObservation],
        now: float,
        launch_s: float,
    ) -> Known[Forecast] | Unknown | None:
        """Return the forecast; tasks on workers that drain need no slot of another worker.

        Other fleets and the page continue between its parts.
        """
        if not isinstance(plan, Known):
            return plan
        draining = {
            arn.rpartition("/")[2]
            for service in services.values()
            for arn, agent in service.agents.items()
            if isinstance(agent, Known) and agent.value.phase in DRAIN_PHASES
        }
        loop = asyncio.get_running_loop()
        parts = self._forecaster.in_parts(
            plan.value, now, horizon_s=horizon_s(launch_s), unknown_s=launch_s, draining=draining
        )
        limit_s = FORECAST_SHARE * self._fleet.interval_s
        end = loop.time() + limit_s
        try:
            try:
                while loop.time() < end:
                    next(parts)
                    await asyncio.sleep(0)
            except StopIteration as made:
                return Known(with_sources(made.value, self._forecaster.runs, draining), now)
        except Exception as error:  # noqa: BLE001  a forecast that fails must not end the tick, least of all in shadow
            return Unknown(f"the forecast failed: {type(error).__name__}: {error}")
        return Unknown(f"the forecast was not ready in {limit_s:g} s")

    async def _read_metric(self, end: float, stale_s: float) -> Reading[float] | None:
        if self._metric is None:
            return None
        reading = await self._read_slowly(self._metric, METRIC, end)
        return self._last_metric.of(reading, self._ports.clock.monotonic(), stale_s)

    async def _depths(self) -> BrokerCount:
        counts = await asyncio.gather(*(self._ports.broker.depth(url) for url in self._queues.values()))
        return BrokerCount(
            visible=sum(count.visible for count in counts),
            in_flight=sum(count.in_flight for count in counts),
            delayed=sum(count.delayed for count in counts),
            incomplete=next((count.incomplete for count in counts if count.incomplete is not None), None),
        )

    @staticmethod
    def _running(tasks: tuple[Task, ...]) -> tuple[Task, ...]:
        """Return the tasks that ECS has started: only those can be protected and answer."""
        return tuple(task for task in tasks if task.desired_status == "RUNNING" and task.last_status not in PENDING)
