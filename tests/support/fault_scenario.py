# SPDX-License-Identifier: Apache-2.0
"""Fault scenarios: one simulated environment, a few busy workers, and a check at the end that nothing was lost."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

from scaler.core.model import FleetPolicy
from scaler.core.state import Decision
from simulation.loop import run
from simulation.simulation import Simulation, SimulationConfig
from simulation.worker import SimulatedWorker, WorkerProfile

FLEET = FleetPolicy("default", ("default",), 2, 1, 6, scale_in_window_s=20.0, launch_deadline_s=120.0)
PROFILE = WorkerProfile(slots=2, wait_s=10.0, early_ack=True, upload_s=1.0, protection_minutes=10)
CONFIG = SimulationConfig(fleets=(FLEET,), profile=PROFILE, launch_s=(5.0, 10.0), lag_s=0.0)
TICK_S = FLEET.interval_s

Steps = Callable[["FaultScenario"], Awaitable[None]]


class FaultScenario(Simulation):
    """A simulation with helpers for tests of faults."""

    async def works(self, workers: int, work_s: float = 300.0) -> list[int]:
        """Send tasks for `workers` workers, and wait until all of them are busy."""
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
        """The service that is active at the start."""
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
        """Wait for `number` intervals."""
        await asyncio.sleep(number * TICK_S)

    async def stays(self, condition: Callable[[], bool], seconds: float, what: str) -> None:
        """Assert that the condition holds for `seconds`."""
        broken = await self.until(lambda: not condition(), seconds)
        assert not broken, f"{what}, but at {self.loop.time():.0f} s: {self.desired()}\n{self.why}"

    async def becomes(self, condition: Callable[[], bool], seconds: float, what: str) -> None:
        """Assert that the condition holds within `seconds`."""
        assert await self.until(condition, seconds), f"{what} within {seconds:.0f} s: {self.desired()}\n{self.why}"

    async def rests(self, within_s: float = 1500.0) -> None:
        """Remove all faults and wait for the end: every task done, the minimum of workers, no invariant broken."""
        for source in list(self.faults.rates):
            self.faults.clear(source)
        minimum = self.config.fleets[0].minimum

        def rest() -> bool:
            left = self.ledger.sent - self.ledger.done - self.ledger.explained
            return not left and self.total == minimum == len(self.workers())

        await self.becomes(rest, within_s, f"{len(self.ledger.sent - self.ledger.done)} tasks left; rest expected")
        self.clean()

    def clean(self) -> None:
        """Assert that no task was lost or interrupted and no invariant broken."""
        self.fake_ecs.check_invariants()
        assert not self.ledger.broken, f"invariants broken: {self.ledger.broken}"
        assert not self.ledger.interrupted, f"tasks interrupted: {self.ledger.interrupted}"


def run_scenario(
    steps: Steps, *, seed: int = 1, config: SimulationConfig = CONFIG, begin: bool = True, **changes: Any
) -> None:
    """Run a test in virtual time; with `begin` the scaler runs from the start."""

    async def main() -> None:
        scenario = FaultScenario(replace(config, **changes), seed)
        if begin:
            scenario.start_scaler()
        try:
            await steps(scenario)
        finally:
            await scenario.end()

    run(main())


def fleets(number: int) -> Sequence[FleetPolicy]:
    """Return `number` equal fleets."""
    return [replace(FLEET, name=f"fleet-{index:03}", queues=(f"fleet-{index:03}",)) for index in range(number)]
