# SPDX-License-Identifier: Apache-2.0
"""What shape a fleet should have in ECS: one rolling service, or two services, a generation each.

The same roll of a busy fleet in each shape: 4 workers with tasks of 1 to 12 h, a new revision, work that goes on
arriving. In virtual time with the real scaler, the real worker agent and the model of ECS; then call by call against
the local ECS. `python -m benchmarks fleet_shape` writes build/bench/fleet_shape.json.
"""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.fleet_shape_local import measure_calls
from scaler.core.model import Fleet
from simulation.fake_ecs import CLUSTER
from simulation.loop import run
from simulation.simulation import Simulation, SimulationConfig
from simulation.worker import WorkerProfile

SEEDS = (1, 2, 3)
SLOTS = 4
BUSY_WORKERS = 4
MAXIMUM = 8
LONG_TASKS_H = (1.0, 12.0)
SHORT_TASK_S = 300.0
SHORT_EVERY_S = 600.0
SHORT_FOR_S = 2 * 3600.0
"""Work goes on arriving for so long; then the fleet could be smaller."""
APPLIES = 6
APPLY_EVERY_S = 300.0
SAMPLE_S = 5.0
DEADLINE_S = 13 * 3600.0


@dataclass(frozen=True)
class Shape:
    """A way to lay a fleet out in ECS."""

    words: str
    generations: int
    minimum_percent: int
    maximum_percent: int


SHAPES: Mapping[str, Shape] = {
    "one_service_100_200": Shape("one service, rolling, 100 to 200 % healthy", 1, 100, 200),
    "one_service_0_100": Shape("one service, rolling, 0 to 100 % healthy", 1, 0, 100),
    "generations_0_200": Shape("two services, a generation each, 0 to 200 %", 2, 0, 200),
    "generations_0_100": Shape("two services, a generation each, 0 to 100 % (chosen)", 2, 0, 100),
}
CHOSEN = "generations_0_100"


def measure() -> dict[str, Any]:
    """Return what each shape costs and does, one row a shape, by the sums or the worst of the seeds."""
    rolls, sixths = {}, {}
    for name, shape in SHAPES.items():
        rolls[name] = [run(_roll(shape, seed)) for seed in SEEDS]
        print(f"{name}: {rolls[name]}", file=sys.stderr)
        sixths[name] = run(_six_applies(shape, SEEDS[0]))
        print(f"{name}: six applies: {sixths[name]}", file=sys.stderr)
    return {
        "chosen": CHOSEN,
        "shapes": {name: shape.words for name, shape in SHAPES.items()},
        "fleet": {"busy_workers": BUSY_WORKERS, "slots": SLOTS, "long_tasks_h": LONG_TASKS_H, "seeds": SEEDS},
        "one_roll": {name: _summary(found) for name, found in rolls.items()},
        "six_applies": sixths,
        "local_ecs": asyncio.run(measure_calls()),
    }


def _summary(found: list[dict[str, Any]]) -> dict[str, Any]:
    """One row for all seeds: the mean of what is paid, the worst of what is waited for, the sum of what happened."""
    return {
        "worker_hours": round(sum(each["worker_hours"] for each in found) / len(found), 1),
        "busy_worker_hours": round(sum(each["busy_worker_hours"] for each in found) / len(found), 1),
        "idle_worker_hours": round(sum(each["idle_worker_hours"] for each in found) / len(found), 1),
        "peak_tasks": max(each["peak_tasks"] for each in found),
        "new_revision_consumes_after_s": _worst([each["new_revision_consumes_after_s"] for each in found]),
        "refused_protections": sum(each["refused_protections"] for each in found),
        "scale_ins_meanwhile": sum(each["scale_ins_meanwhile"] for each in found),
        "finished_after_h": _worst([each["finished_after_h"] for each in found]),
        "longest_task_h": round(max(each["longest_task_h"] for each in found), 2),
        "tasks_lost": sum(each["tasks_lost"] for each in found),
        "tasks_interrupted": sum(each["tasks_interrupted"] for each in found),
    }


def _worst(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return max(known) if len(known) == len(values) else None


class _World:
    """A simulation in one shape, with a busy fleet."""

    def __init__(self, shape: Shape, seed: int, *, maximum: int = MAXIMUM) -> None:
        fleet = Fleet("default", ("default",), SLOTS, 1, maximum, interval_s=5.0, scale_in_window_s=60.0)
        # Fargate takes 20 to 60 s; a task is protected for an hour and asks again long before.
        profile = WorkerProfile(slots=SLOTS, protection_minutes=60)
        self.simulation = Simulation(
            SimulationConfig((fleet,), shape.generations, profile, launch_s=(20.0, 60.0), stop_timeout_s=120.0), seed
        )
        self.rng = random.Random(seed)
        self.refused = 0
        for service in self.simulation.topology.services:
            self.simulation.fake_ecs.ecs.services.update(
                service,
                cluster=CLUSTER,
                minimum_healthy_percent=shape.minimum_percent,
                maximum_percent=shape.maximum_percent,
            )
        self._count_refusals()

    def _count_refusals(self) -> None:
        protection = self.simulation.fake_ecs.ecs.protection
        update = protection.update

        def counted(*words: Any, **more: Any) -> Any:
            done, failures = update(*words, **more)
            self.refused += sum(each.reason == "DEPLOYMENT_BLOCKED" for each in failures)
            return done, failures

        protection.update = counted  # type: ignore[method-assign]

    async def fill(self) -> float:
        """Let 4 workers run tasks of 1 to 12 h in all their slots; returns the longest in hours."""
        simulation = self.simulation
        simulation.start_scaler()
        hours = [self.rng.uniform(*LONG_TASKS_H) for _ in range(BUSY_WORKERS * SLOTS)]
        simulation.send([3600.0 * each for each in hours])
        full = await simulation.until(
            lambda: len(self.busy()) == BUSY_WORKERS and not simulation.queues["default"].visible, 1800
        )
        assert full, "the fleet was never busy"
        await asyncio.sleep(120)
        self.refused = 0
        return max(hours)

    def busy(self) -> list[str]:
        """The workers that run a task."""
        return [worker.arn for worker in self.simulation.workers() if worker.running]

    def tasks(self) -> list[Any]:
        """All tasks of the fleet that AWS bills, from their launch on."""
        fake_ecs = self.simulation.fake_ecs
        return [task for service in self.simulation.topology.services for task in fake_ecs.tasks(service)]

    def old(self) -> list[Any]:
        """The tasks that are not of the newest revision."""
        newest = f":{self.simulation.topology.revision}"
        return [task for task in self.tasks() if not task.task_definition_arn.endswith(newest)]


async def _roll(shape: Shape, seed: int) -> dict[str, Any]:
    """One roll of a busy fleet, until no old worker is left."""
    world = _World(shape, seed)
    longest_h = await world.fill()
    simulation = world.simulation
    loop = simulation.loop
    writes = len(simulation.cluster.writes)
    began = loop.time()
    simulation.fake_ecs.roll_out(simulation.topology)
    arriving = loop.create_task(_work_goes_on(simulation))
    peak, paid_s, busy_s = 0, 0.0, 0.0
    while world.old() and loop.time() - began < DEADLINE_S:
        present, busy = len(world.tasks()), len(world.busy())
        peak, paid_s, busy_s = max(peak, present), paid_s + present * SAMPLE_S, busy_s + busy * SAMPLE_S
        await asyncio.sleep(SAMPLE_S)
    finished = not world.old()
    took_s = loop.time() - began
    arriving.cancel()
    reduced = sum(after < before for _, _, before, after in simulation.cluster.writes[writes:])
    await simulation.until(lambda: not simulation.ledger.lost, 3600)
    await simulation.end()
    consumed = simulation.fake_ecs.rollouts_s
    return {
        "worker_hours": paid_s / 3600,
        "busy_worker_hours": busy_s / 3600,
        "idle_worker_hours": (paid_s - busy_s) / 3600,
        "peak_tasks": peak,
        "new_revision_consumes_after_s": round(consumed[0], 1) if consumed else None,
        "refused_protections": world.refused,
        "scale_ins_meanwhile": reduced,
        "finished_after_h": round(took_s / 3600, 2) if finished else None,
        "longest_task_h": longest_h,
        "tasks_lost": len(simulation.ledger.lost),
        "tasks_interrupted": len(simulation.ledger.interrupted),
    }


async def _work_goes_on(simulation: Simulation) -> None:
    """Short tasks for two hours: the old workers' slots are taken, so they need new ones."""
    end = simulation.loop.time() + SHORT_FOR_S
    while simulation.loop.time() < end:
        simulation.send([SHORT_TASK_S] * (2 * SLOTS))
        await asyncio.sleep(SHORT_EVERY_S)


async def _six_applies(shape: Shape, seed: int) -> dict[str, Any]:
    """Six revisions, five minutes apart, each of which gets a worker's worth of tasks that run for hours."""
    world = _World(shape, seed, maximum=3 * MAXIMUM)
    await world.fill()
    simulation = world.simulation
    accepted, peak = [], 0
    for _ in range(APPLIES):
        accepted.append(simulation.fake_ecs.roll_out(simulation.topology))
        await asyncio.sleep(APPLY_EVERY_S / 2)  # the revision has workers, if ECS took it
        simulation.send([3600.0 * LONG_TASKS_H[1]] * SLOTS)
        for _ in range(int(APPLY_EVERY_S / 2 / SAMPLE_S)):
            peak = max(peak, len(world.tasks()))
            await asyncio.sleep(SAMPLE_S)
    services = [simulation.fake_ecs.ecs.services.get(name, cluster=CLUSTER) for name in simulation.topology.services]
    newest = f":{simulation.topology.revision}"
    await simulation.end()
    return {
        "accepted": sum(each is not None for each in accepted),
        "refused": sum(each is None for each in accepted),
        "unfinished_deployments": max(len(service.deployments) for service in services),
        "peak_tasks": peak,
        "busy_workers": len(world.busy()),
        "workers_of_the_newest_revision": sum(t.task_definition_arn.endswith(newest) for t in world.tasks()),
        "refused_protections": world.refused,
        "tasks_interrupted": len(simulation.ledger.interrupted),
    }
