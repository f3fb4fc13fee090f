# SPDX-License-Identifier: Apache-2.0
"""One simulated environment: fleets with their services, queue and workers, and the real scaler over them."""

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from local_ecs.model import EcsSettings
from scaler.core.model import FleetPolicy, Overrides
from scaler.ports import AirflowPlanPort
from scaler.runtime.agent_concurrency import CONNECTIONS, AgentPlaces, LimitedWorkers
from scaler.runtime.fleet_loop import FleetLoop
from scaler.runtime.observe import Observer, Ports, SharedDatabase
from scaler.runtime.overrides import SharedOverrides
from scaler.runtime.supervisor import FleetSupervisor
from scaler.runtime.tick_result import TickResult
from scaler.runtime.write_rate_limit import Urgency, WriteRateLimit
from simulation.fake_ecs import FakeEcs, Topology
from simulation.fault_injection import FaultInjector
from simulation.ledger import RunLedger
from simulation.mutated_decide import decide_without
from simulation.mutated_loop import LOOPS, loop_ports
from simulation.negative_controls import DisabledSafeguard
from simulation.ports import (
    FaultyLink,
    SimulatedAgents,
    SimulatedBroker,
    SimulatedClock,
    SimulatedCluster,
    SimulatedDatabase,
    SimulatedOverrides,
    SimulatedPlan,
)
from simulation.queue import Message, SimulatedQueue
from simulation.worker import SimulatedWorker, WorkerProfile


@dataclass(frozen=True)
class SimulationConfig:
    """The fixed parameters of one run."""

    fleets: Sequence[FleetPolicy] = (FleetPolicy("default", ("default",), 4, 1, 8, scale_in_window_s=20.0),)
    generations: int = 2
    profile: WorkerProfile = field(default_factory=WorkerProfile)
    visibility_s: float = 86400.0
    lag_s: float = 2.0
    launch_s: tuple[float, float] = (5.0, 25.0)
    scheduler_delay_s: float = 1.0
    stop_timeout_s: float = 30.0
    airflow: bool = True
    """Whether there is a metadata database; without it the broker is the only source."""
    disabled: DisabledSafeguard = DisabledSafeguard.NOTHING
    agents_at_once: int = CONNECTIONS
    """Requests to agents at the same time; other fleets of the process use the rest of the places."""
    writes: tuple[float, int] = (5.0, 20)
    """UpdateService: calls a second and at once; other fleets use the rest of the account's rate."""


class LastReports:
    """A listener that keeps the last report of every fleet, and the failures."""

    def __init__(self) -> None:
        self.last: dict[str, TickResult] = {}
        self.failures: list[str] = []
        self.ticks = 0

    def on_tick(self, report: TickResult) -> None:
        """Keep the report."""
        self.ticks += 1
        self.last[report.tick.fleet.name] = report

    def failed(self, fleet: str, error: BaseException) -> None:
        """Keep the error."""
        self.failures.append(f"{fleet}: {type(error).__name__}: {error}")


class SharedWriteRateLimit(WriteRateLimit):
    """The rate limit of UpdateService, with what happens while a reduction waits for its token."""

    before_reduction: Callable[[], None] | None = None
    """Happens once, before the next reduction."""

    async def take(self, urgency: Urgency, patience_s: float) -> bool:
        """Wait for a token."""
        if urgency is Urgency.SHRINK and (race := self.before_reduction):
            self.before_reduction = None
            race()
        return await super().take(urgency, patience_s)


@dataclass
class ScalerProcess:
    """One process of the scaler."""

    supervisor: FleetSupervisor
    task: asyncio.Task[None]


@dataclass
class Simulation:
    """The ports of one run; make it inside of a running loop."""

    config: SimulationConfig
    seed: int
    ledger: RunLedger = field(default_factory=RunLedger)
    faults: FaultInjector = field(default_factory=FaultInjector)

    def __post_init__(self) -> None:
        config = self.config
        self.rng = random.Random(self.seed)
        self.loop = asyncio.get_running_loop()
        ecs = EcsSettings(
            pending_s=2.0, scheduler_delay_s=config.scheduler_delay_s, stopped_retention_s=60.0, backoff_max_s=60.0
        )
        self.fake_ecs = FakeEcs(self.rng, self.ledger, self.faults, settings=ecs, disabled=config.disabled)
        self.fake_ecs.stop_timeout_s = config.stop_timeout_s
        self.link = FaultyLink(self.rng, self.faults, kill=self.kill_scaler)
        self.clock = SimulatedClock()
        self.reports = LastReports()
        self.queues = {
            fleet.name: SimulatedQueue(self.rng, visibility_s=config.visibility_s, lag_s=config.lag_s)
            for fleet in config.fleets
        }
        self.topologies = {fleet.name: self._create_topology(fleet) for fleet in config.fleets}
        self.cluster = SimulatedCluster(self.fake_ecs, self.link, disabled=config.disabled)
        self.agents = SimulatedAgents(self.fake_ecs, self.link)
        self.agent_places = AgentPlaces()
        if config.agents_at_once < CONNECTIONS:
            self.agent_places.answering = asyncio.Semaphore(config.agents_at_once)
            self.agent_places.silent = asyncio.Semaphore(1)
        self.write_rate_limit = SharedWriteRateLimit(self.clock, per_s=config.writes[0], burst=config.writes[1])
        self.broker = SimulatedBroker(self.queues, self.link)
        self.database = SimulatedDatabase(self.queues, self.link, self.fake_ecs.workers)
        self.plan: AirflowPlanPort = SimulatedPlan(self.queues, self.link, self.clock)
        self.overrides = SimulatedOverrides(self.link)
        self.scalers: list[ScalerProcess] = []
        self.kills = 0
        self._numbers = 0

    def _create_topology(self, fleet: FleetPolicy) -> Topology:
        count = self.config.generations
        names = tuple(f"worker-{fleet.name}-{'abc'[number]}" for number in range(count))
        services = names if count > 1 else (f"worker-{fleet.name}",)
        topology = Topology(
            fleet.name,
            f"worker-{fleet.name}",
            services,
            self.queues[fleet.name],
            self.config.profile,
            launch_s=self.config.launch_s,
            patience_s=4 * fleet.interval_s + self.config.scheduler_delay_s,
            maximum=fleet.maximum,
            never_empty=fleet.minimum > 0,
        )
        self.fake_ecs.create_services(topology, fleet.minimum)
        return topology

    # --- the scaler

    def fleet_loop(self, fleet: FleetPolicy) -> FleetLoop:
        """Return a new loop of the real scaler."""
        database = None
        if self.config.airflow:
            database = SharedDatabase(self.database, self.clock, max_age_s=fleet.interval_s / 10)
        names = [fleet.name for fleet in self.config.fleets]
        overrides = SharedOverrides(self.overrides, names, self.clock, max_age_s=fleet.interval_s / 2)
        ports = Ports(
            clock=self.clock,
            cluster=self.cluster,
            workers=LimitedWorkers(self.agents, self.clock, fleet.interval_s, self.agent_places),
            broker=self.broker,
            database=database,
            overrides=overrides,
            write_rate_limit=self.write_rate_limit,
            plan=self.plan,
        )
        observer = Observer(fleet, self.topologies[fleet.name].services, {fleet.name: fleet.name}, ports)
        disabled = self.config.disabled
        loop, ports = LOOPS.get(disabled, FleetLoop), loop_ports(disabled, ports)
        return loop(fleet, observer, ports, [self.reports], decide_with=decide_without(disabled))

    def start_scaler(self, loops: Sequence[FleetLoop] | None = None) -> ScalerProcess:
        """Start a scaler; others may run at the same time."""
        own = loops or [self.fleet_loop(fleet) for fleet in self.config.fleets]
        supervisor = FleetSupervisor(own, self.clock)
        scaler = ScalerProcess(supervisor, self.loop.create_task(supervisor.run()))
        self.scalers.append(scaler)
        return scaler

    def kill_scaler(self, *, again_after_s: float | None = None) -> None:
        """End every scaler at once; ECS starts one again some seconds later."""
        if not self.scalers:
            return  # several calls at the same time end one process
        self.kills += 1
        for scaler in self.scalers:
            scaler.task.cancel()
        self.scalers.clear()
        pause_s = self.rng.uniform(1.0, 20.0) if again_after_s is None else again_after_s
        self.loop.call_later(pause_s, self.start_scaler)

    async def end(self) -> None:
        """Stop all scalers."""
        for scaler in self.scalers:
            scaler.task.cancel()
            await asyncio.wait({scaler.task})

    # --- what users do

    def send(self, work_s: Sequence[float], fleet: str | None = None) -> list[int]:
        """Send tasks to a fleet's queue; returns their numbers."""
        name = fleet or self.config.fleets[0].name
        numbers = []
        for seconds in work_s:
            self._numbers += 1
            numbers.append(self._numbers)
            self.ledger.sent.add(self._numbers)
            self.queues[name].send(Message(self._numbers, seconds))
        return numbers

    def override(self, fleet: str, overrides: Overrides) -> None:
        """Set the overrides of a fleet."""
        self.overrides.by_fleet[fleet] = overrides

    # --- observations

    @property
    def topology(self) -> Topology:
        """The first fleet's services and queue."""
        return next(iter(self.topologies.values()))

    def desired(self, fleet: str | None = None) -> dict[str, int]:
        """Return the desired count of each service that exists."""
        topology = self.topologies[fleet] if fleet else self.topology
        found, _ = self.fake_ecs.ecs.services.describe(list(topology.services), cluster="simulated")
        return {service.name: service.desired_count for service in found if service.status == "ACTIVE"}

    def workers(self) -> list[SimulatedWorker]:
        """Return the live workers of the first fleet."""
        return self.fake_ecs.workers_of(self.topology)

    @property
    def scale_ins(self) -> int:
        """The number of times the scaler lowered a desired count."""
        return sum(1 for _, _, before, after in self.cluster.writes if after < before)

    async def until(self, condition: object, limit_s: float) -> bool:
        """Wait until the condition, checked once a second, holds; False if it did not within the limit."""
        end = self.loop.time() + limit_s
        assert callable(condition)  # noqa: S101  a plain `Callable` here would hide its result's type
        while not condition():
            if self.loop.time() >= end:
                return False
            await asyncio.sleep(1.0)
        return True
