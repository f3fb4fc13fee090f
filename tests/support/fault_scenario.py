# SPDX-License-Identifier: Apache-2.0
"""A stage for faults: one simulated environment, a few workers that work, and an end at which all must be well."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

from scaler.core.model import Fleet
from scaler.core.state import Decision
from simulation.loop import run
from simulation.simulation import Simulation, SimulationConfig
from simulation.worker import SimulatedWorker, WorkerProfile

FLEET = Fleet("default", ("default",), 2, 1, 6, scale_in_window_s=20.0, launch_deadline_s=120.0)
PROFILE = WorkerProfile(slots=2, wait_s=10.0, early_ack=True, upload_s=1.0, protection_minutes=10)
CONFIG = SimulationConfig(fleets=(FLEET,), profile=PROFILE, launch_s=(5.0, 10.0), lag_s=0.0)
TICK_S = FLEET.interval_s

Play = Callable[["FaultScenario"], Awaitable[None]]


class FaultScenario(Simulation):
    """A simulation with the words that tests of faults need."""

    async def works(self, workers: int, work_s: float = 300.0) -> list[int]:
        """Send tasks for so many workers, and wait until each of those works."""
        numbers = self.send([work_s] * (workers * self.config.profile.slots))
        busy = await self.until(lambda: len(self.busy) >= workers, 120.0)
        assert busy, f"{workers} workers were to work, {len(self.busy)} do: {self.why}"
        return numbers

    @property
    def busy(self) -> list[SimulatedWorker]:
        """The workers that run a task."""
        return [worker for worker in self.workers() if worker.running]

    @property
    def total(self) -> int:
        """The sum of the desired counts."""
        return sum(self.desired().values())

    @property
    def service(self) -> str:
        """The service that runs at the beginning."""
        return self.topology.services[0]

    @property
    def decision(self) -> Decision:
        """The last decision."""
        return self.reports.last["default"].tick.decision

    @property
    def why(self) -> str:
        """The last explanation, as one text."""
        return "\n".join(f"{step.name}: {step.text}" for step in self.decision.explanation)

    @property
    def reductions(self) -> list[tuple[float, str, int, int]]:
        """Every write that lowered a count."""
        return [write for write in self.cluster.writes if write[3] < write[2]]

    async def ticks(self, number: int = 1) -> None:
        """Let so many intervals pass."""
        await asyncio.sleep(number * TICK_S)

    async def stays(self, condition: Callable[[], bool], seconds: float, what: str) -> None:
        """Hold the condition for so long."""
        broken = await self.until(lambda: not condition(), seconds)
        assert not broken, f"{what}, but at {self.loop.time():.0f} s: {self.desired()}\n{self.why}"

    async def becomes(self, condition: Callable[[], bool], seconds: float, what: str) -> None:
        """Wait for the condition for at most so long."""
        assert await self.until(condition, seconds), f"{what} within {seconds:.0f} s: {self.desired()}\n{self.why}"

    async def rests(self, within_s: float = 1500.0) -> None:
        """Let everything work again and come to rest: every task done, the minimum of workers, nothing broken."""
        for source in list(self.faults.rates):
            self.faults.clear(source)
        minimum = self.config.fleets[0].minimum

        def rest() -> bool:
            left = self.ledger.sent - self.ledger.done - self.ledger.explained
            return not left and self.total == minimum == len(self.workers())

        await self.becomes(rest, within_s, f"{len(self.ledger.sent - self.ledger.done)} tasks left; rest expected")
        self.clean()

    def clean(self) -> None:
        """Hold the ledger to nothing lost, nothing interrupted, nothing broken."""
        self.fake_ecs.judge()
        assert not self.ledger.broken, f"invariants broken: {self.ledger.broken}"
        assert not self.ledger.interrupted, f"tasks interrupted: {self.ledger.interrupted}"


def stage(play: Play, *, seed: int = 1, config: SimulationConfig = CONFIG, begin: bool = True, **changes: Any) -> None:
    """Play a test in virtual time; the scaler runs from the beginning, unless told otherwise."""

    async def main() -> None:
        scene = FaultScenario(replace(config, **changes), seed)
        if begin:
            scene.start_scaler()
        try:
            await play(scene)
        finally:
            await scene.end()

    run(main())


def fleets(number: int) -> Sequence[Fleet]:
    """Return so many fleets, all alike."""
    return [replace(FLEET, name=f"fleet-{each:03}", queues=(f"fleet-{each:03}",)) for each in range(number)]
