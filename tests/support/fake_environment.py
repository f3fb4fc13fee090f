# SPDX-License-Identifier: Apache-2.0
"""A small environment in virtual time for the scaler's loop: ECS services, workers with agents, and a queue.

ECS stops *any* unprotected task above the desired count, in random order, and refuses protection above it. Every
call of a port takes some time, so the environment changes between the scaler's reads and its writes. A call may fail,
and the scaler may be killed before or after it.
"""

import asyncio
import random
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from scaler.core.model import AgentState, BrokerCount, DatabaseCount, Deployment, FleetPolicy, Phase, Service, Task
from scaler.errors import SourceError
from scaler.runtime.fleet_loop import FleetLoop
from scaler.runtime.observe import Observer, Ports
from scaler.runtime.tick_result import TickResult

STEP_S = 0.1


class KilledError(Exception):
    """The scaler's process is gone."""


@dataclass
class FakeWorker:
    """A task and the agent in it."""

    arn: str
    service: str
    up_at: float
    slots: int
    up: bool = False
    protected: bool = False
    drain_until: float | None = None
    released: bool = False
    refusals: int = 0
    stop_at: float | None = None
    revision: int = 1
    running: list[float] = field(default_factory=list)
    next_request_at: float = 0.0

    @property
    def phase(self) -> Phase:
        if self.stop_at is not None:
            return "stopping"
        if self.drain_until is not None:
            return "released" if self.released else "draining"
        if self.protected:
            return "consuming"
        return "refused" if self.refusals else "starting"


@dataclass
class FakeService:
    """The desired counts that ECS received."""

    desired: int
    revision: int


class FakeEnvironment:
    """All ports in one; `advance` moves time. The first service is the fleet's own, a second one another generation."""

    def __init__(
        self,
        seed: int,
        *,
        desired: int = 1,
        slots: int = 5,
        kill: float = 0.0,
        fail: float = 0.0,
        latency_s: float = 0.3,
        services: Sequence[str] = ("worker-default",),
    ) -> None:
        self.random = random.Random(seed)
        self.now = 0.0
        self.services = {name: FakeService(0, 1) for name in services}
        self.desired = desired
        self.slots = slots
        self.kill, self.fail, self.latency_s = kill, fail, latency_s
        self.workers: dict[str, FakeWorker] = {}
        self.queue: deque[float] = deque()
        self.done = self.interrupted = self.kills = self.launched = 0
        self.writes: list[int] = []
        self.broken: list[str] = []
        self.agents = FakeAgents(self)
        self._balance()
        for worker in self.workers.values():
            worker.up_at = 0.0

    @property
    def desired(self) -> int:
        """The desired count of all services; written, that of the first."""
        return sum(service.desired for service in self.services.values())

    @desired.setter
    def desired(self, desired: int) -> None:
        self._first().desired = desired

    @property
    def revision(self) -> int:
        """The revision of the first service."""
        return self._first().revision

    @revision.setter
    def revision(self, revision: int) -> None:
        self._first().revision = revision

    def _first(self) -> FakeService:
        return next(iter(self.services.values()))

    # --- the scaler under test

    def loop(self, fleet: FleetPolicy) -> FleetLoop:
        """Return a scaler that was just started."""
        environment = Ports(clock=self, cluster=self, workers=self.agents, broker=self, database=self)
        return FleetLoop(fleet, Observer(fleet, list(self.services), {"default": "url"}, environment), environment, ())

    async def turn(self, loop: FleetLoop) -> tuple[FleetLoop, TickResult | None]:
        """Tick once and move to the next tick; a killed scaler starts again some seconds later."""
        began, report, pause = self.now, None, loop.fleet.interval_s
        try:
            report = await loop.tick()
        except* KilledError:
            loop = self.loop(loop.fleet)
            pause += self.random.uniform(0, 10)
        self.advance(max(STEP_S, began + pause - self.now))
        return loop, report

    # --- Clock

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.now)

    # --- Cluster

    async def service(self, name: str) -> Service:
        await self._call()
        service, alive = self.services[name], self._alive(name)
        up = sum(1 for worker in alive if worker.up)
        deployments = [Deployment("PRIMARY", f"worker:{service.revision}", "COMPLETED")]
        if any(worker.revision < service.revision for worker in alive):
            deployments.append(Deployment("ACTIVE", "worker:old", "IN_PROGRESS"))
        return Service(service.desired, up, len(alive) - up, tuple(deployments))

    async def tasks(self, service: str) -> tuple[Task, ...]:
        await self._call()
        return tuple(
            Task(worker.arn, "RUNNING" if worker.up else "PENDING", "RUNNING", "10.0.0.1", f"worker:{worker.revision}")
            for worker in self._alive(service)
        )

    async def protected(self, arns: Sequence[str], *, for_s: float = 0.0) -> frozenset[str]:
        await self._call()
        if any(arn not in self.workers for arn in arns):
            raise SourceError("ecs", "MISSING")
        return frozenset(arn for arn in arns if self.workers[arn].protected)

    async def set_desired(self, service: str, desired: int) -> None:
        await self._call(before=True)
        self.services[service].desired = desired
        self.writes.append(desired)
        self._check("the scaler wrote")
        await self._call()

    # --- Broker and Database

    async def depth(self, queue_url: str) -> BrokerCount:
        await self._call()
        return BrokerCount(len(self.queue), self._at_work())

    async def counts(self) -> Mapping[str, DatabaseCount]:
        await self._call()
        return {"default": DatabaseCount(len(self.queue), self._at_work())}

    async def running_on(self, host: str) -> int:
        await self._call()
        return sum(len(worker.running) for arn, worker in self.workers.items() if arn.endswith(host))

    async def stop(self, arn: str, reason: str) -> None:
        await self._call(before=True)
        if self.workers[arn].running or self.workers[arn].protected:
            self.broken.append(f"the scaler stopped {arn}, which works or is protected")
        self.workers[arn].stop_at = self.now

    # --- time

    def advance(self, seconds: float) -> None:
        """Let the environment move."""
        end = self.now + seconds
        while self.now < end:
            self.now = min(end, self.now + STEP_S)
            self._step()

    def call(self) -> None:
        """What happens around any call: time passes, it fails, or it is the scaler's last."""
        self.advance(self.random.uniform(0, self.latency_s))
        if self.random.random() < self.kill:
            self.kills += 1
            raise KilledError
        if self.random.random() < self.fail:
            raise SourceError("fake", "fails on demand")

    async def _call(self, *, before: bool = False) -> None:
        await asyncio.sleep(0)
        if before and self.random.random() < self.kill:
            self.kills += 1
            raise KilledError
        self.call()

    def _step(self) -> None:
        for worker in list(self.workers.values()):
            if worker.stop_at is not None and self.now >= worker.stop_at:
                self.interrupted += len(worker.running)
                del self.workers[worker.arn]
                continue
            worker.up = worker.up or self.now >= worker.up_at
            self.done += sum(1 for end in worker.running if end <= self.now)
            worker.running = [end for end in worker.running if end > self.now]
            if worker.up and worker.stop_at is None:
                self._agent(worker)
        self._balance()
        self._check("time passed")

    def _agent(self, worker: FakeWorker) -> None:
        if worker.drain_until is not None and self.now >= worker.drain_until:
            self.resume(worker)
        if worker.drain_until is not None:
            if not worker.running and worker.protected:
                worker.protected, worker.released = False, True
            return
        if not worker.protected:
            self._request_protection(worker)
        while worker.protected and len(worker.running) < worker.slots and self.queue:
            worker.running.append(self.now + self.queue.popleft())

    def _request_protection(self, worker: FakeWorker) -> None:
        if self.now < worker.next_request_at:
            return
        if self._protected(worker.service) + 1 > self.services[worker.service].desired:
            worker.refusals += 1
            worker.next_request_at = self.now + 2.0
            return
        worker.protected, worker.refusals = True, 0

    def resume(self, worker: FakeWorker) -> None:
        """Request protection again first, then consume."""
        worker.drain_until, worker.released, worker.next_request_at = None, False, self.now

    def _balance(self) -> None:
        """Do what the service scheduler does; a rolling update starts `desired` new tasks beside the old ones."""
        for name, service in self.services.items():
            alive = self._alive(name)
            old = [worker for worker in alive if worker.revision < service.revision]
            fresh = [worker for worker in alive if worker.revision == service.revision]
            # An old task goes when healthy ones of either revision are more than desired.
            self._stop(old, len(old) + sum(1 for worker in fresh if worker.up) - service.desired)
            self._stop(fresh, len(fresh) - service.desired)
            for _ in range(service.desired - len(fresh)):
                self._launch(name, service.revision)

    def _launch(self, service: str, revision: int) -> None:
        self.launched += 1
        arn = f"task/{self.launched:04d}"
        up_at = self.now + self.random.uniform(5, 20)
        self.workers[arn] = FakeWorker(arn, service, up_at, self.slots, revision=revision)

    def _stop(self, workers: list[FakeWorker], number: int) -> None:
        idle = [worker for worker in workers if not worker.protected]
        self.random.shuffle(idle)
        for worker in idle[: max(0, number)]:
            worker.stop_at = self.now + 2.0

    def _check(self, when: str) -> None:
        for name, service in self.services.items():
            if self._protected(name) > service.desired:
                counts = f"{self._protected(name)} protected > {service.desired} desired"
                self.broken.append(f"{when} at {self.now:.1f}: {name}: {counts}")

    def _alive(self, service: str) -> list[FakeWorker]:
        return [worker for worker in self.workers.values() if worker.stop_at is None and worker.service == service]

    def _protected(self, service: str) -> int:
        return sum(1 for worker in self.workers.values() if worker.protected and worker.service == service)

    def _at_work(self) -> int:
        return sum(len(worker.running) for worker in self.workers.values())


class FakeAgents:
    """The port `Workers` on a fake environment."""

    def __init__(self, environment: FakeEnvironment) -> None:
        self._environment = environment

    async def state(self, task: Task) -> AgentState:
        return self._say(await self._reach(task))

    async def drain(self, task: Task, lease_s: float) -> AgentState:
        worker = await self._reach(task)
        if worker.stop_at is None:
            worker.drain_until = self._environment.now + lease_s
            worker.released = not worker.protected
        self._environment.call()
        return self._say(worker)

    async def resume(self, task: Task) -> AgentState:
        worker = await self._reach(task)
        if worker.drain_until is not None:
            self._environment.resume(worker)
        self._environment.call()
        return self._say(worker)

    async def _reach(self, task: Task) -> FakeWorker:
        await asyncio.sleep(0)
        self._environment.call()
        worker = self._environment.workers.get(task.arn)
        if worker is None or not worker.up:
            raise SourceError("agent", "connection refused")
        return worker

    def _say(self, worker: FakeWorker) -> AgentState:
        busy = len(worker.running)
        return AgentState(worker.phase, busy, busy, worker.slots, protected=worker.protected)
