# SPDX-License-Identifier: Apache-2.0
"""Runs with one race each: something happens at the worst moment of one step that prevents a loss.

With all safeguards nothing is lost and nothing waits; without the step of the race a task is lost, or waits for ever.
In four of the races the scaler ends afterwards: its last write must be safe for as long as it is away.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace

from scaler.core.model import DatabaseCount, FleetPolicy
from simulation.fault_injection import FaultRates
from simulation.liveness_run import FOR_EVER_S
from simulation.loop import run
from simulation.negative_controls import DisabledSafeguard
from simulation.simulation import Simulation, SimulationConfig
from simulation.worker import SimulatedWorker, WorkerProfile
from worker_agent.state_machine import Phase, Release, Resume, TimePassed

LONG_S, SHORT_S = 900.0, 30.0
"""A long task outlives the protection that its worker has when the scaler ends."""
BEGIN_LIMIT_S, DONE_LIMIT_S = 900.0, 3000.0
WRITES_PER_S = 0.25
"""The rest of the account's rate of UpdateService; it is halved, so a reduction waits 8 s for its token."""
END_AFTER_S = 13.0
"""The scaler has written, or has left out the write."""
FLEET = FleetPolicy("default", ("default",), slots=1, minimum=1, maximum=10, interval_s=60.0, scale_in_window_s=120.0)
PROFILE = WorkerProfile(slots=1, wait_s=5.0, upload_s=1.0, protection_minutes=4, exit_s=15.0)


@dataclass(frozen=True)
class Race:
    """A race, and the fleet that it needs."""

    begin: Callable[[Simulation], Awaitable[bool]]
    """Play until the race has happened; False if it did not."""
    fleet: FleetPolicy = FLEET


@dataclass
class RaceSummary:
    """The sum of some runs of one race."""

    step: DisabledSafeguard
    runs: int = 0
    lost: int = 0
    """Tasks that ran when ECS stopped their worker."""
    stuck: int = 0
    """Tasks that wait for ever."""
    missed: int = 0
    """Runs in which the race did not happen."""
    problems: list[str] = field(default_factory=list)

    def figures(self) -> dict[str, int]:
        """Return the numbers for the benchmark's file."""
        return {"runs": self.runs, "lost": self.lost, "stuck": self.stuck}


async def _idle_beside_busy(sim: Simulation, busy: int, idle: int) -> bool:
    """Start long tasks, and short ones whose workers have nothing to do soon."""
    sim.start_scaler()
    sim.send([sim.rng.uniform(LONG_S, 1.2 * LONG_S) for _ in range(busy)] + [SHORT_S] * idle)
    return await sim.until(lambda: sum(1 for w in sim.workers() if w.running) == busy + idle, BEGIN_LIMIT_S)


def _reduction(change: Callable[[Simulation], object]) -> Callable[[Simulation], Awaitable[bool]]:
    """Return a race: a change while the first reduction waits for its token; then the scaler ends for ever."""

    async def begin(sim: Simulation) -> bool:
        happened = asyncio.Event()

        def wait_and_end() -> None:
            sim.write_rate_limit.resize(per_s=WRITES_PER_S, burst=1)
            sim.write_rate_limit.on_throttled()
            change(sim)
            sim.send([LONG_S] * 3)
            sim.loop.call_later(END_AFTER_S, lambda: sim.kill_scaler(again_after_s=FOR_EVER_S))
            sim.loop.call_later(END_AFTER_S, happened.set)

        sim.write_rate_limit.before_reduction = wait_and_end
        await _idle_beside_busy(sim, 3, 2)
        return await sim.until(happened.is_set, BEGIN_LIMIT_S)

    return begin


def _raise_by_another_client(sim: Simulation) -> None:
    (service,) = sim.topology.services
    sim.fake_ecs.raise_by_hand(service, 3)


def _resume_by_another_scaler(sim: Simulation) -> None:
    """The count stays the same, and the worker consumes again."""
    for worker in sim.workers():
        if worker.state.phase is Phase.RELEASED:
            worker.step(Resume())


def _deploy(sim: Simulation) -> None:
    sim.fake_ecs.roll_out(sim.topology, same_service=True)


async def _lease_ends(sim: Simulation) -> bool:
    """A released worker gets no command for the time of its lease: it consumes again before the reduction."""

    def end_lease(worker: SimulatedWorker) -> None:
        sim.agents.unreachable.add(worker.arn)
        worker.state = replace(worker.state, lease_until=sim.loop.time())
        worker.step(TimePassed())

    sim.agents.before_drain_of_released = end_lease
    return await _reduction(lambda _: None)(sim)


async def _late_release(sim: Simulation) -> bool:
    """ECS performs a release after the agent's deadline, when the worker has been resumed; then a deployment begins."""
    await _idle_beside_busy(sim, 1, 1)
    await sim.until(lambda: any(w.state.lease_until is not None or not w.holds for w in sim.workers()), BEGIN_LIMIT_S)
    sim.faults.rates["protection"] = FaultRates(late=1.0, late_s=(6.0, 12.0))
    sent = await sim.until(lambda: any(w.state.release is Release.SENT for w in sim.workers()), BEGIN_LIMIT_S)
    sim.faults.clear("protection")
    sim.send([LONG_S] * 2)
    await asyncio.sleep(25.0)
    _deploy(sim)
    return sent


async def _protection_ends(sim: Simulation) -> bool:
    """A busy worker cannot renew its protection; after its end another worker is released."""
    begun = await _idle_beside_busy(sim, 2, 0)
    sim.send([60.0 * PROFILE.protection_minutes + 60.0] * 2)
    sim.fake_ecs.no_protection_for.add(sim.rng.choice([w for w in sim.workers() if w.running]).arn)
    return begun


async def _database_without_rows(sim: Simulation) -> bool:
    """The database does not show the tasks whose messages are in the queue (restored, or a replica that lags)."""
    begun = await _idle_beside_busy(sim, 0, 2)
    sim.database.answer = lambda true: dict.fromkeys(true, DatabaseCount(0, 0))
    sim.send([LONG_S / 9] * 12)
    return begun


_QUICK = replace(FLEET, interval_s=5.0, scale_in_window_s=15.0)
RACES: Mapping[DisabledSafeguard, Race] = {
    DisabledSafeguard.REREAD: Race(_reduction(_raise_by_another_client)),
    DisabledSafeguard.PROTECTED_AGAIN: Race(_reduction(_resume_by_another_scaler)),
    DisabledSafeguard.DEPLOYMENT: Race(_reduction(_deploy)),
    DisabledSafeguard.CONFIRMATION: Race(_lease_ends),
    DisabledSafeguard.SETTLING: Race(_late_release, _QUICK),
    DisabledSafeguard.TWO_WITNESSES: Race(_database_without_rows, replace(_QUICK, minimum=0, maximum=2)),
    DisabledSafeguard.EQUALITY: Race(_protection_ends, _QUICK),
}
"""By the step that it is about."""


async def play(step: DisabledSafeguard, seed: int, summary: RaceSummary, *, disabled: bool) -> None:
    """Play the race about a step, with or without the step, in a loop with virtual time, and add its result."""
    race = RACES[step]
    config = SimulationConfig(
        fleets=(race.fleet,),
        generations=1,
        profile=PROFILE,
        launch_s=(0.5, 1.0),
        scheduler_delay_s=0.2,
        disabled=step if disabled else DisabledSafeguard.NOTHING,
    )
    sim = Simulation(config, seed)
    problems, ledger = [], sim.ledger
    if not await race.begin(sim):
        summary.missed += 1
        problems.append("the race did not happen")
    await sim.until(lambda: ledger.sent == ledger.done | ledger.interrupted, DONE_LIMIT_S)
    await sim.end()
    lost, stuck = len(ledger.interrupted), len(ledger.sent - ledger.done - ledger.interrupted)
    summary.runs, summary.lost, summary.stuck = summary.runs + 1, summary.lost + lost, summary.stuck + stuck
    problems += ledger.broken[:2]
    if lost or stuck:
        problems.append(f"{lost} lost, {stuck} stuck")
    summary.problems += [f"{step.value}, seed {seed}: {problem}" for problem in problems]


def play_race(
    step: DisabledSafeguard, *, seed: int, runs: int, disabled: bool, enough: int | None = None
) -> RaceSummary:
    """Play the race about a step; with `enough`, only until so many tasks were lost or stuck."""
    summary = RaceSummary(step)
    for number in range(seed, seed + runs):
        if enough is not None and summary.lost + summary.stuck >= enough:
            break
        run(play(step, number, summary, disabled=disabled))
    return summary
