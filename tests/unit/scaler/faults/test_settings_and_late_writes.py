# SPDX-License-Identifier: Apache-2.0
"""Settings that change in the middle of a drain, and an UpdateService that takes effect after its timeout."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from scaler.core.model import FleetPolicy
from scaler.errors import DeadlineError
from simulation.loop import run
from simulation.simulation import Simulation, SimulationConfig
from simulation.worker import SimulatedWorker

FLEET = FleetPolicy("default", ("default",), 4, 1, 8, scale_in_window_s=20.0)
DRAINING = {"draining", "releasing", "released", "stopping"}


def simulate(main: Callable[[Simulation], Awaitable[None]], seed: int = 1) -> Simulation:
    """Run a simulation with one scaler; what it must never do was not done."""

    async def body() -> Simulation:
        simulation = Simulation(SimulationConfig(fleets=(FLEET,)), seed)
        simulation.start_scaler()
        await main(simulation)
        await simulation.until(lambda: not simulation.ledger.lost, 600)
        await simulation.end()
        return simulation

    found = run(body())
    assert not found.ledger.lost, "every task that was sent was done"
    assert not found.ledger.interrupted, "no task was stopped"
    assert not found.ledger.broken, found.ledger.broken
    assert not found.reports.failures, found.reports.failures
    return found


async def in_a_drain(simulation: Simulation) -> list[SimulatedWorker]:
    """Roll out while two workers have long tasks; return the old ones, which drain with tasks in hand."""
    simulation.send([150.0] * 8)
    assert await simulation.until(lambda: len(simulation.workers()) == 2, 120), "the fleet grows"
    await asyncio.sleep(30)
    simulation.fake_ecs.roll_out(simulation.topology)

    def at_work() -> list[SimulatedWorker]:
        return [worker for worker in simulation.workers() if worker.agent_state().phase == "draining" and worker.holds]

    assert await simulation.until(at_work, 120), "old workers drain with tasks in hand"
    return at_work()


@pytest.mark.fault(
    "config reloaded in a drain", "The fleet keeps its state: the drain continues, and no busy worker is stopped"
)
def test_a_drain_continues_after_a_change_of_bounds() -> None:
    async def main(simulation: Simulation) -> None:
        victims = await in_a_drain(simulation)
        supervisor = simulation.scalers[0].supervisor
        supervisor.apply([simulation.fleet_loop(replace(FLEET, maximum=6, scale_in_window_s=30.0))])
        for _ in range(5):
            await asyncio.sleep(4)
            assert {worker.agent_state().phase for worker in victims if worker in simulation.workers()} <= DRAINING
        assert await simulation.until(lambda: not set(victims) & set(simulation.workers()), 600), "and ends"
        assert simulation.reports.last["default"].tick.fleet.maximum == 6

    assert simulate(main).scale_ins >= 1


@pytest.mark.fault(
    "config reloaded in a drain", "A removed fleet does not touch its workers: they consume when their leases end"
)
def test_a_fleet_removed_in_a_drain_does_not_touch_its_workers() -> None:
    async def main(simulation: Simulation) -> None:
        victims = await in_a_drain(simulation)
        simulation.scalers[0].supervisor.apply([])
        writes = len(simulation.cluster.writes)
        resumed = await simulation.until(
            lambda: all(worker.agent_state().phase == "consuming" for worker in victims), FLEET.drain_lease_s + 60
        )
        assert resumed, [worker.agent_state().phase for worker in victims]
        assert len(simulation.cluster.writes) == writes, "no write for a removed fleet"

    simulate(main)


@pytest.mark.fault(
    "API times out", "Counts are absolute and read again: a write that takes effect late stops no busy worker"
)
@pytest.mark.parametrize("late_s", [3.0, 12.0, 40.0, 90.0])
def test_a_late_reduction_stops_no_busy_worker(late_s: float) -> None:
    late: list[int] = []

    async def main(simulation: Simulation) -> None:
        real = simulation.cluster.set_desired

        def land(service: str, desired: int) -> None:
            # The count is below the protected workers for a short time; the next ticks correct it.
            simulation.fake_ecs.excused_until[service] = simulation.loop.time() + 3 * FLEET.interval_s
            simulation.cluster._set_desired(service, desired)

        async def set_desired(service: str, desired: int) -> None:
            before = simulation.desired()[service]
            if desired >= before or late:
                await real(service, desired)
                return
            late.append(desired)
            simulation.loop.call_later(late_s, land, service, desired)
            # Tasks arrive before the write takes effect, so the released worker resumes.
            simulation.send([30.0] * 14)
            await asyncio.sleep(2)
            raise DeadlineError("ecs", "no answer within 2 s")

        simulation.cluster.set_desired = set_desired  # type: ignore[method-assign]
        simulation.send([10.0] * 16)
        assert await simulation.until(lambda: late, 300), "a reduction was tried"
        await asyncio.sleep(late_s + 120)

    simulate(main)
    assert late
