# SPDX-License-Identifier: Apache-2.0
"""Observe: ask every source at once, each within its deadline, and turn failures into readings.

All answers of one observation belong to one tick; only demand may be remembered from an earlier one, as `Stale`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Generic, TypeVar

from scaler.core.model import (
    BrokerCount,
    Overrides,
    DatabaseCount,
    Fleet,
    ServiceObservation,
    Known,
    Observation,
    Reading,
    Schedule,
    Stale,
    Task,
    Unknown,
)
from scaler.core.workers import PENDING
from scaler.errors import DeadlineError, SourceError
from scaler.ports import Broker, Clock, Cluster, Database, Workers
from scaler.runtime.overrides import ControlsMemory, SharedControls
from scaler.runtime.write_rate_limit import WriteBudget

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class World:
    """The ports of one environment."""

    clock: Clock
    cluster: Cluster
    workers: Workers
    broker: Broker
    database: Database | None
    controls: SharedControls | None = None
    """What people order; None where there is no place for orders."""
    writes: WriteBudget | None = None
    """How fast UpdateService may be called; None: as fast as decided."""


class Memory(Generic[T]):
    """The last known value of one source, good as a `Stale` reading for a few ticks."""

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._last: Known[T] | None = None

    def of(self, reading: Known[T] | Unknown, now: float) -> Reading[T]:
        """Return the reading, or the remembered value where nothing is known and it is young enough."""
        if isinstance(reading, Known):
            self._last = reading
            return reading
        if self._last is not None and 0 <= now - self._last.at <= self._limit_s:
            return Stale(self._last.value, now - self._last.at)
        return reading


class SharedDatabase:
    """One query answers all fleets of a tick: whoever comes second waits for the first one's answer."""

    def __init__(self, database: Database, clock: Clock, *, max_age_s: float) -> None:
        self._database = database
        self._clock = clock
        self._max_age_s = max_age_s
        self._lock = asyncio.Lock()
        self._answer: tuple[float, Mapping[str, DatabaseCount] | SourceError] | None = None

    async def counts(self) -> Mapping[str, DatabaseCount]:
        """Return the counts, at most `max_age_s` old; an error is shared just so."""
        async with self._lock:
            if self._answer is None or self._clock.monotonic() - self._answer[0] > self._max_age_s:
                answer: Mapping[str, DatabaseCount] | SourceError
                try:
                    answer = await self._database.counts()
                except SourceError as error:
                    answer = error
                self._answer = (self._clock.monotonic(), answer)
            found = self._answer[1]
        if isinstance(found, SourceError):
            raise found
        return found


class Observer:
    """Observes one fleet: its services, and what is to be done."""

    def __init__(
        self,
        fleet: Fleet,
        services: Sequence[str],
        queues: Mapping[str, str],
        world: World,
        *,
        schedule: Callable[[datetime], Schedule | None] = lambda _: None,
    ) -> None:
        self._fleet = fleet
        self._services = sorted(services)
        self._queues = queues
        self._world = world
        self._schedule = schedule
        self._database: Memory[DatabaseCount] = Memory(fleet.knowledge_gap_s)
        self._broker: Memory[BrokerCount] = Memory(fleet.knowledge_gap_s)
        self._controls = ControlsMemory()
        self._empty: set[str] = set()
        self._errors: list[SourceError] = []

    def take_over(self, before: Observer) -> None:
        """Go on with the orders that another observer of the same fleet remembers; demand is read anew."""
        self._controls = before._controls

    async def observe(self, seconds: float) -> tuple[Observation, tuple[SourceError, ...]]:
        """Return one observation within `seconds`, and what failed on the way."""
        self._errors = []
        begins = asyncio.get_running_loop().time()
        end = begins + seconds
        async with asyncio.TaskGroup() as group:
            database = group.create_task(self._read_database(end))
            broker = group.create_task(self._read(self._depths, "sqs", end))
            controls = group.create_task(self._read_controls(end))
            generations = {
                service: group.create_task(self._generation(service, begins, end)) for service in self._services
            }
        now = self._world.clock.monotonic()
        observation = Observation(
            services={service: await generation for service, generation in generations.items()},
            broker=self._broker.of(await broker, now),
            overrides=self._controls.of(await controls, self._world.clock),
            database=await database,
            schedule=self._schedule(self._world.clock.wall()),
        )
        return observation, tuple(self._errors)

    async def _generation(self, name: str, begins: float, end: float) -> ServiceObservation:
        """Read a service and everybody in it; one that is known to be empty is not asked about its tasks."""
        # Tasks leave time for the protection and the agents behind them.
        tasks_end = begins + (end - begins) * 0.6
        async with asyncio.TaskGroup() as group:
            asking = group.create_task(self._read(lambda: self._world.cluster.service(name), "ecs", end))
            tasks: Known[tuple[Task, ...]] | Unknown
            if name in self._empty:
                service = await asking
                if isinstance(service, Known) and service.value.empty:
                    return ServiceObservation(service, Known((), service.at), Known(frozenset(), service.at), {})
            tasks = await self._read(lambda: self._world.cluster.tasks(name), "ecs", tasks_end)
            running = () if isinstance(tasks, Unknown) else self._running(tasks.value)
            arns = [task.arn for task in running]
            protected: Known[frozenset[str]] | Unknown = Known(frozenset(), self._world.clock.monotonic())
            if isinstance(tasks, Unknown):
                protected = Unknown("the tasks are unknown")
            agents = {
                task.arn: group.create_task(self._read(partial(self._world.workers.state, task), "agent", end))
                for task in running
            }
            if arns:
                protected = await self._read(lambda: self._world.cluster.protected(arns), "ecs", end)
        service = await asking
        self._empty.discard(name)
        if isinstance(service, Known) and service.value.empty:
            self._empty.add(name)
        return ServiceObservation(service, tasks, protected, {arn: await agent for arn, agent in agents.items()})

    async def _read_controls(self, end: float) -> Known[Overrides] | Unknown:
        if self._world.controls is None:
            return Known(Overrides(), self._world.clock.monotonic())
        return await self._read(partial(self._world.controls.controls, self._fleet.name), "overrides", end)

    async def _read(self, ask: Callable[[], Awaitable[T]], source: str, end: float) -> Known[T] | Unknown:
        try:
            async with asyncio.timeout_at(end):
                return Known(await ask(), self._world.clock.monotonic())
        except TimeoutError:
            error: SourceError = DeadlineError(source, "no answer before the tick's deadline")
        except SourceError as failure:
            error = failure
        self._errors.append(error)
        return Unknown(error.reason)

    async def _read_database(self, end: float) -> Reading[DatabaseCount] | None:
        if self._world.database is None:
            return None
        reading = await self._read(self._world.database.counts, "database", end)
        if isinstance(reading, Known):
            ours = [reading.value.get(queue, DatabaseCount(0, 0)) for queue in self._fleet.queues]
            total = DatabaseCount(sum(each.queued for each in ours), sum(each.running for each in ours))
            return self._database.of(Known(total, reading.at), reading.at)
        return self._database.of(reading, self._world.clock.monotonic())

    async def _depths(self) -> BrokerCount:
        found = await asyncio.gather(*(self._world.broker.depth(url) for url in self._queues.values()))
        return BrokerCount(
            visible=sum(each.visible for each in found),
            in_flight=sum(each.in_flight for each in found),
            delayed=sum(each.delayed for each in found),
        )

    @staticmethod
    def _running(tasks: tuple[Task, ...]) -> tuple[Task, ...]:
        """Only tasks that ECS has started can be protected or answer."""
        return tuple(task for task in tasks if task.desired_status == "RUNNING" and task.last_status not in PENDING)
