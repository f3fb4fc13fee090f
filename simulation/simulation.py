# SPDX-License-Identifier: Apache-2.0
"""One simulated environment: fleets with their services, queue and workers, and the real scaler over them."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from local_ecs.model import EcsSettings
from scaler.core.model import Controls, Fleet
from scaler.runtime.fleet_loop import FleetLoop
from scaler.runtime.observe import Observer, SharedDatabase, World
from scaler.runtime.overrides import SharedControls
from scaler.runtime.supervisor import Supervisor
from scaler.runtime.tick_result import Listener, Report
from simulation.fake_ecs import Cloud, Site
from simulation.fault_injection import Weather
from simulation.ledger import Ledger
from simulation.mutated_decide import deciding
from simulation.negative_controls import Removed
from simulation.ports import (
    Line,
    SimulatedAgents,
    SimulatedBroker,
    SimulatedClock,
    SimulatedCluster,
    SimulatedControls,
    SimulatedDatabase,
)
from simulation.queue import Message, Queue
from simulation.worker import Nature, Worker


@dataclass(frozen=True)
class Setting:
    """What a run is like, from its first instant to its last."""

    fleets: Sequence[Fleet] = (Fleet("default", ("default",), 4, 1, 8, scale_in_window_s=20.0),)
    generations: int = 2
    nature: Nature = field(default_factory=Nature)
    visibility_s: float = 86400.0
    lag_s: float = 2.0
    launch_s: tuple[float, float] = (5.0, 25.0)
    scheduler_delay_s: float = 1.0
    stop_timeout_s: float = 30.0
    airflow: bool = True
    """Whether there is a metadata database; without it the broker answers alone."""
    removed: Removed = Removed.NOTHING


class Memory:
    """A listener that keeps the last report of every fleet, and what failed."""

    def __init__(self) -> None:
        self.last: dict[str, Report] = {}
        self.failures: list[str] = []
        self.ticks = 0

    def ticked(self, report: Report) -> None:
        """Keep it."""
        self.ticks += 1
        self.last[report.tick.fleet.name] = report

    def failed(self, fleet: str, error: BaseException) -> None:
        """Keep what it was."""
        self.failures.append(f"{fleet}: {type(error).__name__}: {error}")


@dataclass
class Scaler:
    """One process of the scaler."""

    supervisor: Supervisor
    task: asyncio.Task[None] | None = None


@dataclass
class Simulation:
    """The world of one run; make it inside of a running loop."""

    setting: Setting
    seed: int
    listeners: Sequence[Listener] = ()
    ledger: Ledger = field(default_factory=Ledger)
    weather: Weather = field(default_factory=Weather)

    def __post_init__(self) -> None:
        setting = self.setting
        self.rng = random.Random(self.seed)
        self.loop = asyncio.get_running_loop()
        ecs = EcsSettings(
            pending_s=2.0, scheduler_delay_s=setting.scheduler_delay_s, stopped_retention_s=60.0, backoff_max_s=60.0
        )
        self.cloud = Cloud(self.rng, self.ledger, self.weather, settings=ecs, removed=setting.removed)
        self.cloud.stop_timeout_s = setting.stop_timeout_s
        self.line = Line(self.rng, self.weather, kill=self.kill_scaler)
        self.clock = SimulatedClock()
        self.memory = Memory()
        self.queues = {
            fleet.name: Queue(self.rng, visibility_s=setting.visibility_s, lag_s=setting.lag_s)
            for fleet in setting.fleets
        }
        self.sites = {fleet.name: self._found(fleet) for fleet in setting.fleets}
        self.cluster = SimulatedCluster(self.cloud, self.line, removed=setting.removed)
        self.agents = SimulatedAgents(self.cloud, self.line)
        self.broker = SimulatedBroker(self.queues, self.line)
        self.database = SimulatedDatabase(self.queues, self.line)
        self.controls = SimulatedControls(self.line)
        self.scalers: list[Scaler] = []
        self.kills = 0
        self._numbers = 0

    def _found(self, fleet: Fleet) -> Site:
        count = self.setting.generations
        names = tuple(f"worker-{fleet.name}-{'abc'[each]}" for each in range(count))
        services = names if count > 1 else (f"worker-{fleet.name}",)
        site = Site(
            fleet.name,
            f"worker-{fleet.name}",
            services,
            self.queues[fleet.name],
            self.setting.nature,
            launch_s=self.setting.launch_s,
            patience_s=4 * fleet.interval_s + self.setting.scheduler_delay_s,
            maximum=fleet.maximum,
            never_empty=fleet.minimum > 0,
        )
        self.cloud.found(site, fleet.minimum)
        return site

    # --- the scaler

    def fleet_loop(self, fleet: Fleet) -> FleetLoop:
        """Return a loop of the real scaler that was just started."""
        database = None
        if self.setting.airflow:
            database = SharedDatabase(self.database, self.clock, max_age_s=fleet.interval_s / 10)
        names = [each.name for each in self.setting.fleets]
        controls = SharedControls(self.controls, names, self.clock, max_age_s=fleet.interval_s / 2)
        world = World(
            clock=self.clock,
            cluster=self.cluster,
            workers=self.agents,
            broker=self.broker,
            database=database,
            controls=controls,
        )
        observer = Observer(fleet, self.sites[fleet.name].services, {fleet.name: fleet.name}, world)
        listeners = (self.memory, *self.listeners)
        return FleetLoop(fleet, observer, world, listeners, deciding=deciding(self.setting.removed))

    def start_scaler(self, loops: Sequence[FleetLoop] | None = None) -> Scaler:
        """Start a scaler, beside others that may run."""
        own = loops or [self.fleet_loop(fleet) for fleet in self.setting.fleets]
        scaler = Scaler(Supervisor(own, self.clock))
        scaler.task = self.loop.create_task(scaler.supervisor.run())
        self.scalers.append(scaler)
        return scaler

    def kill_scaler(self, *, again_after_s: float | None = None) -> None:
        """End every scaler where it stands; ECS starts one again some seconds later."""
        if not self.scalers:
            return  # calls of one instant end one process
        self.kills += 1
        for scaler in self.scalers:
            if scaler.task is not None:
                scaler.task.cancel()
        self.scalers.clear()
        pause_s = self.rng.uniform(1.0, 20.0) if again_after_s is None else again_after_s
        self.loop.call_later(pause_s, self.start_scaler)

    async def end(self) -> None:
        """Stop everything that still moves."""
        for scaler in self.scalers:
            if scaler.task is not None:
                scaler.task.cancel()
                await asyncio.wait({scaler.task})

    # --- what people do

    def send(self, work_s: Sequence[float], fleet: str | None = None) -> list[int]:
        """Send tasks to a fleet's queue; returns their numbers."""
        name = fleet or self.setting.fleets[0].name
        numbers = []
        for each in work_s:
            self._numbers += 1
            numbers.append(self._numbers)
            self.ledger.sent.add(self._numbers)
            self.queues[name].send(Message(self._numbers, each, self.loop.time()))
        return numbers

    def order(self, fleet: str, controls: Controls) -> None:
        """Order something by the controls."""
        self.controls.orders[fleet] = controls

    # --- what is seen

    @property
    def site(self) -> Site:
        """The first fleet's place."""
        return next(iter(self.sites.values()))

    def desired(self, fleet: str | None = None) -> dict[str, int]:
        """Return the desired count of each service that exists."""
        site = self.sites[fleet] if fleet else self.site
        found, _ = self.cloud.ecs.services.describe(list(site.services), cluster="simulated")
        return {each.name: each.desired_count for each in found if each.status == "ACTIVE"}

    def workers(self, fleet: str | None = None) -> list[Worker]:
        """Return the workers that live."""
        return self.cloud.workers_of(self.sites[fleet] if fleet else self.site)

    @property
    def scale_ins(self) -> int:
        """How many times the scaler lowered a desired count."""
        return sum(1 for _, _, before, after in self.cluster.writes if after < before)

    async def until(self, condition: object, limit_s: float) -> bool:
        """Let time pass until the condition, asked once a second, holds; False when it did not within the limit."""
        end = self.loop.time() + limit_s
        assert callable(condition)  # noqa: S101  a plain `Callable` here would hide its result's type
        while not condition():
            if self.loop.time() >= end:
                return False
            await asyncio.sleep(1.0)
        return True
