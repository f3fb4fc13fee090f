# SPDX-License-Identifier: Apache-2.0
"""Runs under one continuous fault: a fleet grows within a minute, and reaches its minimum after its demand is gone.

A source that is away ends before the scale-in: nothing may lower a fleet while its demand is unknown. Workers that do
not answer stay while ECS protects them.
"""

import asyncio
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from scaler.core.model import FleetPolicy
from simulation.fake_ecs import CLUSTER
from simulation.fault_injection import FaultRates
from simulation.simulation import Simulation, SimulationConfig
from simulation.worker import WorkerProfile

GROW_LIMIT_S = 60.0
SHRINK_LIMIT_S = 180.0
"""In addition to the scale-in window; the longest task has ended then."""
DONE_LIMIT_S = 1500.0
FOR_EVER_S = 1e9


@dataclass(frozen=True)
class ContinuousFault:
    """A fault that begins before the demand and does not end."""

    begin: Callable[[Simulation], None]
    airflow: bool | None = None
    """Whether there is a database; None: in some of the runs."""
    services: int | None = None
    workers: int = 2
    """Workers that run before the fault begins."""
    kept: int = 0
    """Workers that stay, because they do not answer and ECS protects them."""
    lapses_after_minutes: int = 0
    """The time of the workers' protection, if they must not stay; longer than the scaler waits for an answer."""
    away: str = ""
    """The source that is away until all tasks are done."""


@dataclass(frozen=True)
class LivenessRun:
    """How long the fleet took; None: longer than its limit."""

    seed: int
    grow_s: float | None
    shrink_s: float | None
    problems: tuple[str, ...]

    @property
    def stuck(self) -> bool:
        """Whether a limit was broken, a tick was cancelled, or a task was lost."""
        return self.grow_s is None or self.shrink_s is None or bool(self.problems)


def _throttle(*sources: str, fails: float = 0.3) -> Callable[[Simulation], None]:
    def begin(sim: Simulation) -> None:
        sim.faults.rates |= {source: FaultRates(fails=fails, throttled=True) for source in sources}

    return begin


def _away(source: str, *, airflow: bool | None) -> ContinuousFault:
    def begin(sim: Simulation) -> None:
        sim.faults.rates[source] = FaultRates(fails=1.0)

    return ContinuousFault(begin, airflow=airflow, away="" if source == "overrides" else source)


def _end_agent(sim: Simulation) -> None:
    sim.rng.choice(sim.workers()).restart(FOR_EVER_S)


def _delete_service(sim: Simulation) -> None:
    name = sim.rng.choice(sim.topology.services)
    sim.fake_ecs.deleted.add(name)
    sim.fake_ecs.ecs.services.delete(name, cluster=CLUSTER, force=True)
    sim.fake_ecs.advance()


def _silence(sim: Simulation) -> None:
    sim.agents.silent.update(worker.arn for worker in sim.workers()[:60])


def _slow_agents(sim: Simulation) -> None:
    sim.faults.rates["agent"] = FaultRates(slow=1.0, latency_s=(0.5, 1.9))


def _lose_answers(sim: Simulation) -> None:
    sim.faults.rates["agent"] = FaultRates(silent=0.1, answer_lost=0.1)


CONTINUOUS_FAULTS: Mapping[str, ContinuousFault] = {
    "ECS throttled 30 %": ContinuousFault(_throttle("ecs")),
    "broker throttled 30 %": ContinuousFault(_throttle("broker")),
    "overrides throttled 30 %": ContinuousFault(_throttle("overrides")),
    # The client sends a throttled request once more (`scaler.adapters.aws`), so 9 % of the calls fail. For one API
    # above even its second attempts are throttled.
    "every API throttled 30 %": ContinuousFault(_throttle("ecs", "broker", "overrides", fails=0.3**2)),
    "broker away": _away("broker", airflow=True),
    "database away": _away("database", airflow=True),
    "overrides away": _away("overrides", airflow=None),
    "dead agent, protected": ContinuousFault(_end_agent, kept=1),
    "dead agent, not protected": ContinuousFault(_end_agent, airflow=True, lapses_after_minutes=12),
    "missing service": ContinuousFault(_delete_service, services=2),
    "60 silent workers": ContinuousFault(_silence, workers=62, kept=60),
    "slow agents": ContinuousFault(_slow_agents),
    "20 % of agent answers lost": ContinuousFault(_lose_answers, workers=8),
}


def draw(seed: int, fault: ContinuousFault) -> SimulationConfig:
    """Return the parameters of one run."""
    rng = random.Random(seed)
    interval_s = rng.choice((5.0, 5.0, 8.0))
    fleet = FleetPolicy(
        "default",
        ("default",),
        slots=rng.choice((1, 2, 4)),
        minimum=rng.choice((0, 1, 2)),
        maximum=2 * fault.workers + rng.choice((4, 8)),
        interval_s=interval_s,
        scale_in_window_s=interval_s * rng.choice((3, 4, 12)),
        launch_deadline_s=120.0,
    )
    airflow = rng.random() < 0.5 if fault.airflow is None else fault.airflow
    return SimulationConfig(
        fleets=(fleet,),
        generations=fault.services or rng.choice((1, 2)),
        profile=WorkerProfile(
            fleet.slots,
            10.0,
            early_ack=rng.random() < 0.5,
            upload_s=1.0,
            protection_minutes=fault.lapses_after_minutes or 60,
        ),
        lag_s=rng.choice((0.0, 3.0)),
        launch_s=(4.0, 10.0),
        airflow=airflow,
    )


async def play(name: str, seed: int) -> LivenessRun:
    """Play one run in a loop with virtual time."""
    fault = CONTINUOUS_FAULTS[name]
    sim = Simulation(draw(seed, fault), seed)
    (fleet,) = sim.config.fleets
    problems: list[str] = []
    sim.start_scaler()
    sim.send([45.0] * (fault.workers * fleet.slots))
    if not await sim.until(lambda: sum(1 for worker in sim.workers() if worker.running) >= fault.workers, 120.0):
        problems.append("the fault did not begin")
    await sim.until(lambda: sim.ledger.sent == sim.ledger.done, DONE_LIMIT_S)
    fault.begin(sim)
    await asyncio.sleep(sim.rng.uniform(0.0, 2 * fleet.interval_s))

    if sum(sim.desired().values()) >= fleet.maximum:
        problems.append("there was no room")
    began = sim.loop.time()
    sim.send([sim.rng.uniform(20.0, 40.0) for _ in range(fleet.maximum * fleet.slots + 1)])

    def raised() -> list[float]:
        return [at - began for at, _, before, after in sim.cluster.writes if at >= began and after > before]

    grew = await sim.until(lambda: bool(raised()), GROW_LIMIT_S)
    if not await sim.until(lambda: sim.ledger.sent == sim.ledger.done, DONE_LIMIT_S):
        problems.append(f"{len(sim.ledger.sent - sim.ledger.done)} tasks are left")
    if fault.away:
        sim.faults.clear(fault.away)
    # The fleet cannot shrink before a dead worker has lost its protection.
    await asyncio.sleep(60.0 * fault.lapses_after_minutes)
    gone = sim.loop.time()
    # One source alone never stops the last worker, and silent agents are none.
    least = fault.kept + max(fleet.minimum, 1) if fault.kept else fleet.minimum
    small = await sim.until(lambda: sum(sim.desired().values()) <= least, fleet.scale_in_window_s + SHRINK_LIMIT_S)
    problems += sim.reports.failures[:3] + sim.ledger.broken[:3]
    if sim.ledger.interrupted:
        problems.append(f"{len(sim.ledger.interrupted)} tasks were interrupted")
    shrunk_s = sim.loop.time() - gone if small else None
    await sim.end()
    return LivenessRun(seed, raised()[0] if grew else None, shrunk_s, tuple(problems))
