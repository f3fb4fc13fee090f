# SPDX-License-Identifier: Apache-2.0
"""A randomized run: bursts of tasks, rollouts, overrides and faults. Then all faults end, and the fleet must settle.

The faults overlap little. Protection is granted for some minutes. If ECS is unavailable for longer than that, and a
user lowers the desired count in that time, ECS may stop any worker: no scaler can prevent that.
"""

import asyncio
import random
from collections.abc import Callable

from scaler.core.model import DatabaseCount, FleetPolicy, Overrides
from simulation.fake_ecs import AGENT_TIMEOUT_S
from simulation.fault_injection import FaultRates
from simulation.negative_controls import DisabledSafeguard
from simulation.simulation import Simulation, SimulationConfig
from simulation.worker import WorkerProfile

CHECK_INTERVAL_S = 5.0
REPAIR_S = 90.0
"""The scaler's time to correct a count that a user wrote, with outages of its sources included."""
SETTLE_WITHIN_S = 4000.0


def draw(seed: int, disabled: DisabledSafeguard = DisabledSafeguard.NOTHING) -> SimulationConfig:
    """Return the parameters of one run."""
    rng = random.Random(seed)
    airflow = rng.random() < 0.6
    interval_s = rng.choice((5.0, 5.0, 8.0))
    fleet = FleetPolicy(
        "default",
        ("default",),
        slots=rng.choice((1, 2, 4)),
        minimum=rng.choice((0, 1, 1, 2)),
        maximum=rng.choice((4, 6, 10)),
        interval_s=interval_s,
        scale_in_window_s=interval_s * rng.choice((2, 2, 3, 5)),
        launch_deadline_s=120.0,
    )
    profile = WorkerProfile(
        slots=fleet.slots,
        wait_s=rng.choice((5.0, 20.0, 20.0)),
        # Without a safeguard the tasks of a stopped worker must count: acknowledged early, they never return.
        early_ack=rng.random() < 0.5 or disabled is not DisabledSafeguard.NOTHING,
        upload_s=rng.uniform(0.5, 5.0),
        protection_minutes=rng.choice((4, 4, 8)),
    )
    return SimulationConfig(
        fleets=(fleet,),
        generations=rng.choice((1, 2, 2)),
        profile=profile,
        # Without a database the messages of killed workers count as demand until their timeout ends.
        visibility_s=rng.choice((300.0, 86400.0)) if airflow else 300.0,
        lag_s=rng.choice((0.5, 3.0, 15.0)),
        launch_s=(4.0, rng.choice((10.0, 30.0))),
        scheduler_delay_s=rng.choice((0.2, 2.0, 6.0)),
        stop_timeout_s=rng.choice((10.0, 30.0)),
        airflow=airflow,
        disabled=disabled,
        agents_at_once=rng.choice((3, 6, 500)),
        writes=rng.choice(((0.5, 1), (5.0, 20))),
    )


class RandomScenario:
    """Plays one run."""

    def __init__(self, simulation: Simulation, *, length_s: float) -> None:
        self._sim = simulation
        self._length_s = length_s
        self._rng = random.Random(simulation.seed * 7919 + 1)
        self._fleet = simulation.config.fleets[0]
        self._pause_s = self._rng.choice((40.0, 80.0, 160.0))
        self._events: list[tuple[float, Callable[[], float]]] = [
            (2.0, self._roll_out),
            (1.0, self._roll_out_twice),
            (1.0, self._refused_protection_and_lower_count),
            (1.0, self._lower_maximum),
            (1.5, self._foreign_write),
            (1.0, self._kill_worker),
            (0.5, self._spot),
            (1.0, self._restart_agent),
            (1.0, self._kill_scaler),
            (0.7, self._second_scaler),
            (3.0, self._outage),
            (1.5, self._no_protection_calls),
            (0.7, self._launches),
            (0.7, self._ignored_update),
            (1.0, self._override),
            (0.5, self._broker_restarts),
            (0.5, self._clock_jumps),
            (0.7, self._wrong_answer),
            (0.7, self._change_before_reduction),
            (0.7, self._database_without_rows),
        ]

    async def play(self) -> None:
        """Send tasks and inject faults, then end all faults and wait until the fleet settles."""
        sim = self._sim
        sim.start_scaler()
        checks = sim.loop.create_task(self._check_invariants())
        faults = sim.loop.create_task(self._inject_faults())
        while sim.loop.time() < self._length_s:
            most = self._fleet.maximum * self._fleet.slots
            sim.send([self._work_s() for _ in range(self._rng.randint(1, most))])
            await asyncio.sleep(self._rng.uniform(20.0, 140.0))
        faults.cancel()
        await asyncio.wait({faults})
        self._end_faults()
        settled = await sim.until(self._settled, SETTLE_WITHIN_S)
        checks.cancel()
        await asyncio.wait({checks})
        if not settled and sim.config.disabled is DisabledSafeguard.NOTHING:
            sim.ledger.breaks(sim.loop.time(), f"not settled: desired {sim.desired()}, {self._unfinished()} unfinished")
        await sim.end()

    def _settled(self) -> bool:
        sim = self._sim
        if sim.config.disabled is not DisabledSafeguard.NOTHING:
            # A fleet without a safeguard may never settle: no task and no message is enough.
            return not any(worker.holds for worker in sim.workers()) and not sim.queues["default"].visible
        return (
            not self._unfinished()
            and sum(sim.desired().values()) == self._fleet.minimum
            and len(sim.workers()) == self._fleet.minimum
        )

    def _unfinished(self) -> int:
        """Return the number of tasks that can still finish."""
        sim = self._sim
        left = sim.ledger.sent - sim.ledger.done
        gone = {number for number in left & sim.ledger.explained if not self._comes_back(number)}
        return len(left - gone)

    def _comes_back(self, number: int) -> bool:
        queue = self._sim.queues["default"]
        return queue.holds(number) and queue.visibility_s < SETTLE_WITHIN_S

    async def _check_invariants(self) -> None:
        while True:
            await asyncio.sleep(CHECK_INTERVAL_S)
            self._sim.fake_ecs.check_invariants()

    def _work_s(self) -> float:
        kind = self._rng.random()
        if kind < 0.9:
            return self._rng.uniform(2.0, 70.0)
        return self._rng.uniform(70.0, 200.0) if kind < 0.985 else self._rng.uniform(200.0, 900.0)

    # --- faults

    async def _inject_faults(self) -> None:
        while True:
            await asyncio.sleep(self._rng.expovariate(1 / self._pause_s))
            weights = [weight for weight, _ in self._events]
            event = self._rng.choices([event for _, event in self._events], weights)[0]
            lasts_s = event()
            if event != self._roll_out:  # its duration is checked, unless a fault is near
                self._sim.fake_ecs.disturbed_until = self._sim.loop.time() + lasts_s + 60.0
            self._sim.ledger.counts["events"] += 1
            await asyncio.sleep(lasts_s)

    def _end_faults(self) -> None:
        sim = self._sim
        for source in list(sim.faults.rates):
            sim.faults.clear(source)
        sim.faults.kill_scaler = 0.0
        sim.cluster.partial_failures = 0.0
        sim.agents.wrong_answers.clear()
        sim.agents.unreachable.clear()
        sim.write_rate_limit.before_reduction = None
        sim.database.answer = lambda true: true
        sim.overrides.by_fleet.clear()
        sim.fake_ecs.ecs.faults.hold_launches(sim.topology.family, held=False)
        sim.fake_ecs.ecs.faults.fail_launches(sim.topology.family, 0)
        sim.fake_ecs.advance()

    def _later(self, seconds: float, undo: Callable[[], object]) -> float:
        self._sim.loop.call_later(seconds, undo)
        return seconds

    def _roll_out(self) -> float:
        self._sim.fake_ecs.roll_out(self._sim.topology, same_service=self._rng.random() < 0.4)
        return self._rng.choice((0.0, 60.0))

    def _roll_out_twice(self) -> float:
        """Apply twice: the second rollout starts before the first one is complete."""
        sim = self._sim
        sim.send([self._rng.uniform(60.0, 200.0) for _ in range(2 * self._fleet.slots)])
        sim.fake_ecs.roll_out(sim.topology, same_service=True)
        return self._later(
            self._rng.uniform(25.0, 80.0), lambda: sim.fake_ecs.roll_out(sim.topology, same_service=True)
        )

    def _refused_protection_and_lower_count(self) -> float:
        """Refuse protection of new workers, and lower the count at the same time."""
        sim = self._sim
        sim.faults.rates["protection"] = FaultRates(fails=1.0)
        sim.send([self._rng.uniform(20.0, 100.0) for _ in range(self._fleet.maximum * self._fleet.slots)])

        def lower() -> None:
            for service in sim.topology.services:
                sim.fake_ecs.write_by_hand(service, self._rng.randint(0, 2), repair_s=REPAIR_S)

        self._later(self._rng.uniform(30.0, 45.0), lower)
        return self._later(50.0, lambda: sim.faults.clear("protection"))

    def _lower_maximum(self) -> float:
        """Lower the maximum below the number of busy workers, for longer than protection lasts."""
        sim, fleet = self._sim, self._fleet
        sim.send([self._rng.uniform(300.0, 900.0) for _ in range(3 * fleet.slots)])
        self._later(60.0, lambda: sim.override(fleet.name, Overrides(maximum=max(1, fleet.minimum), by="simulation")))
        self._later(60.0 + 60.0 * sim.config.profile.protection_minutes + 120.0, sim.overrides.by_fleet.clear)
        return 60.0

    def _foreign_write(self) -> float:
        service = self._rng.choice(self._sim.topology.services)
        self._sim.fake_ecs.write_by_hand(service, self._rng.randint(0, self._fleet.maximum + 1), repair_s=REPAIR_S)
        return 60.0

    def _kill_worker(self) -> float:
        if workers := self._sim.workers():
            self._sim.ledger.counts["sigkills"] += 1
            self._sim.fake_ecs.kill(self._rng.choice(workers))
        return 0.0

    def _spot(self) -> float:
        if workers := self._sim.workers():
            self._sim.ledger.counts["spot_interruptions"] += 1
            self._sim.fake_ecs.spot(self._rng.choice(workers))
        return 0.0

    def _restart_agent(self) -> float:
        """Restart the agent of a worker, in drain if there is one."""
        workers = self._sim.workers()
        draining = [worker for worker in workers if worker.state.lease_until is not None]
        if workers:
            self._rng.choice(draining or workers).restart(self._rng.uniform(8.0, 20.0))
        return 20.0

    def _kill_scaler(self) -> float:
        self._sim.faults.kill_scaler = self._rng.choice((0.005, 0.02, 0.1))

        def stop() -> None:
            self._sim.faults.kill_scaler = 0.0

        return self._later(40.0, stop)

    def _second_scaler(self) -> float:
        """Run two scalers at the same time, as in a deployment of the scaler; the old one ends later."""
        first = list(self._sim.scalers)
        self._sim.start_scaler()
        excuse = self._sim.loop.time() + 60.0 + REPAIR_S / 2
        for service in self._sim.topology.services:
            self._sim.fake_ecs.excused_until[service] = excuse

        def end_first() -> None:
            for scaler in first:
                if scaler in self._sim.scalers:
                    self._sim.scalers.remove(scaler)
                    scaler.task.cancel()

        return self._later(60.0, end_first)

    def _outage(self) -> float:
        source = self._rng.choice(("ecs", "ecs", "broker", "database", "agent", "overrides"))
        share = self._rng.choice((0.1, 0.4, 1.0))
        rates = self._rng.choice(
            (
                FaultRates(fails=share, throttled=True, reason="ThrottlingException: Rate exceeded"),
                FaultRates(fails=share, reason="500 InternalServerError"),
                FaultRates(silent=share),
                FaultRates(answer_lost=share),
                FaultRates(late=share),
                FaultRates(slow=1.0, latency_s=(0.5, 3.0)),
            )
        )
        self._sim.faults.rates[source] = rates
        if source == "ecs" and (rates.late or rates.answer_lost):
            # A write that takes effect after its deadline may come after the next write.
            for service in self._sim.topology.services:
                self._sim.fake_ecs.excused_until[service] = self._sim.loop.time() + REPAIR_S
        if source == "ecs" and self._rng.random() < 0.5:
            self._sim.cluster.partial_failures = 0.1

        def over() -> None:
            self._sim.faults.clear(source)
            self._sim.cluster.partial_failures = 0.0

        return self._later(self._rng.uniform(5.0, 45.0), over)

    def _no_protection_calls(self) -> float:
        share = self._rng.choice((0.3, 1.0))
        self._sim.faults.rates["protection"] = self._rng.choice(
            (
                FaultRates(fails=share),
                FaultRates(silent=share),
                FaultRates(answer_lost=share),
                FaultRates(late=share),
                FaultRates(late=share, late_s=(AGENT_TIMEOUT_S, 2 * AGENT_TIMEOUT_S)),
            )
        )
        return self._later(self._rng.uniform(5.0, 40.0), lambda: self._sim.faults.clear("protection"))

    def _launches(self) -> float:
        faults, family = self._sim.fake_ecs.ecs.faults, self._sim.topology.family
        if self._rng.random() < 0.5:
            faults.fail_launches(family, self._rng.randint(1, 4))
            return 60.0
        faults.hold_launches(family)

        def go() -> None:
            faults.hold_launches(family, held=False)
            self._sim.fake_ecs.advance()

        return self._later(self._rng.uniform(20.0, 200.0), go)

    def _ignored_update(self) -> float:
        self._sim.fake_ecs.ecs.faults.ignore_updates(
            self._rng.choice(self._sim.topology.services), self._rng.randint(1, 3)
        )
        return 30.0

    def _override(self) -> float:
        fleet = self._fleet
        overrides = self._rng.choice(
            (
                Overrides(maximum=self._rng.randint(max(1, fleet.minimum), fleet.maximum)),
                Overrides(maximum=max(1, fleet.minimum)),
                Overrides(fixed=self._rng.randint(1, fleet.maximum)),
                Overrides(pause=self._rng.choice(("in", "out", "both"))),
                Overrides(dry_run=True),
            )
        )
        self._sim.override(fleet.name, overrides)
        # A dry run does not react to a refusal, so it must be shorter than protection.
        lasts_s = 40.0 if overrides.dry_run else self._rng.uniform(30.0, 400.0)
        if overrides.dry_run:
            for service in self._sim.topology.services:
                self._sim.fake_ecs.excused_until[service] = self._sim.loop.time() + lasts_s + REPAIR_S
        return self._later(lasts_s, self._sim.overrides.by_fleet.clear)

    def _broker_restarts(self) -> float:
        self._sim.queues["default"].restart()
        self._sim.faults.rates["broker"] = FaultRates(fails=1.0)
        return self._later(10.0, lambda: self._sim.faults.clear("broker"))

    def _clock_jumps(self) -> float:
        self._sim.clock.wall_offset_s += self._rng.choice((-86400.0, -3600.0, 3600.0, 86400.0))
        return 10.0

    def _wrong_answer(self) -> float:
        """An agent reports that it is released, or idle, and is not."""
        if workers := self._sim.workers():
            answer = self._rng.choice(
                ({"phase": "released", "running": 0, "reserved": 0}, {"running": 0, "reserved": 0})
            )
            self._sim.agents.wrong_answers[self._rng.choice(workers).arn] = dict(answer)
        return self._later(40.0, self._sim.agents.wrong_answers.clear)

    def _change_before_reduction(self) -> float:
        """Raise the count, or deploy, between the decision and its reduction; then the scaler is away for long."""
        sim = self._sim
        away_s = 60.0 * sim.config.profile.protection_minutes + 60.0
        deploys = self._rng.random() < 0.5

        def happen() -> None:
            sim.ledger.counts["changes_before_reductions"] += 1
            if deploys:
                sim.fake_ecs.roll_out(sim.topology, same_service=True)
            else:
                sim.fake_ecs.raise_by_hand(self._rng.choice(sim.topology.services), self._rng.randint(1, 3))
            sim.send([self._rng.uniform(60.0, 900.0) for _ in range(self._fleet.slots)])
            self._later(sim.rng.uniform(1.0, 4.0), lambda: sim.kill_scaler(again_after_s=away_s))

        def over() -> None:
            sim.write_rate_limit.before_reduction = None

        sim.write_rate_limit.before_reduction = happen
        return self._later(90.0, over) + away_s + 30.0

    def _database_without_rows(self) -> float:
        """The database shows no task for longer than the broker can raise the demand above it."""
        sim = self._sim
        sim.database.answer = lambda true: dict.fromkeys(true, DatabaseCount(0, 0))

        def over() -> None:
            sim.database.answer = lambda true: true

        return self._later(self._rng.uniform(60.0, 300.0), over)


async def play(seed: int, *, length_s: float, disabled: DisabledSafeguard = DisabledSafeguard.NOTHING) -> Simulation:
    """Play one randomized run in a loop with virtual time, and return the simulation at its end."""
    simulation = Simulation(draw(seed, disabled), seed)
    await RandomScenario(simulation, length_s=length_s).play()
    return simulation
