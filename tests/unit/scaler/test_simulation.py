# SPDX-License-Identifier: Apache-2.0
"""The whole loop in virtual time: it grows, shrinks, is killed anywhere, and nothing is lost or interrupted."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from scaler.core import drain
from scaler.core.model import Fleet, ServiceObservation
from scaler.core.workers import ClassifiedWorkers
from tests.support.scaler_world import FakeWorld

FLEET = Fleet(name="default", queues=("default",), slots=5, minimum=1, maximum=5, scale_in_window_s=30.0)
TASKS = 18


@dataclass
class Outcome:
    world: FakeWorld
    peak: int
    settled_s: float | None


async def live(world: FakeWorld, *, tasks: int = TASKS, longest_s: float = 90.0, limit_s: float = 1500.0) -> Outcome:
    """Burst of tasks, some of them long, at 20 s; run until everything is done and the fleet is small again."""
    loop = world.loop(FLEET)
    peak, burst = 0, False
    while world.now < limit_s:
        loop, _ = await world.turn(loop)
        peak = max(peak, world.desired)
        if not burst and world.now >= 20:
            world.queue.extend(world.random.uniform(10, longest_s) for _ in range(tasks))
            burst = True
        if burst and world.done + world.interrupted == tasks and world.desired == len(world.workers) == FLEET.minimum:
            return Outcome(world, peak, world.now)
    return Outcome(world, peak, None)


def assert_healthy(outcome: Outcome) -> None:
    world = outcome.world
    assert world.interrupted == 0, "a worker that worked was stopped"
    assert world.done == TASKS
    assert not world.broken, world.broken[:3]
    assert outcome.settled_s is not None, (
        f"not back at the minimum: desired {world.desired}, {len(world.workers)} workers"
    )


async def test_grows_from_one_to_four_and_back() -> None:
    outcome = await live(FakeWorld(1))
    assert_healthy(outcome)
    assert outcome.peak == 4
    assert len(outcome.world.writes) <= 4, f"writes only when different: {outcome.world.writes}"


@pytest.mark.parametrize("seed", range(40))
async def test_killed_between_any_two_actions(seed: int) -> None:
    outcome = await live(FakeWorld(seed, kill=0.03), limit_s=6000.0)
    assert_healthy(outcome)
    assert outcome.world.kills > 0


@pytest.mark.parametrize("seed", range(40))
async def test_killed_and_every_source_failing_now_and_then(seed: int) -> None:
    outcome = await live(FakeWorld(1000 + seed, kill=0.005, fail=0.01), limit_s=9000.0)
    assert_healthy(outcome)


@pytest.mark.parametrize("seed", range(10))
async def test_two_scalers_at_once(seed: int) -> None:
    world = FakeWorld(2000 + seed)
    loops = [world.loop(FLEET), world.loop(FLEET)]
    world.queue.extend(world.random.uniform(10, 90) for _ in range(TASKS))
    while world.now < 900:
        for loop in loops:
            await loop.tick()
        world.advance(5.0)
    assert (world.done, world.interrupted, world.broken[:1]) == (TASKS, 0, [])
    assert world.desired == 1


@pytest.mark.parametrize("seed", range(10))
async def test_a_hand_that_writes_desired(seed: int) -> None:
    """Somebody sets desired to anything every 50 s; protection outlives it and the scaler has the last word."""
    world = FakeWorld(3000 + seed)
    loop = world.loop(FLEET)
    world.queue.extend(world.random.uniform(10, 90) for _ in range(TASKS))
    while world.now < 1200:
        loop, _ = await world.turn(loop)
        if world.now % 50 < 5 and world.now < 600:
            world.desired = world.random.randint(0, 7)
    assert (world.done, world.interrupted, world.desired) == (TASKS, 0, 1)


@pytest.mark.parametrize("seed", range(20))
async def test_a_rolling_update_of_a_busy_fleet(seed: int) -> None:
    """Long tasks on every old worker: the new revision consumes soon, desired stays bounded, nothing is interrupted."""
    world = FakeWorld(4000 + seed, desired=3, kill=0.005)
    loop = world.loop(FLEET)
    world.queue.extend(world.random.uniform(300, 600) for _ in range(15))
    while world.now < 60:
        loop, _ = await world.turn(loop)
    world.revision = 2
    world.queue.extend(world.random.uniform(10, 20) for _ in range(5))
    peak, waited_s = 0, None
    while world.now < 3000:
        loop, _ = await world.turn(loop)
        peak = max(peak, world.desired)
        if waited_s is None and not world.queue:
            waited_s = world.now - 60
    assert (world.done, world.interrupted, world.broken[:1]) == (20, 0, [])
    assert waited_s is not None
    assert waited_s < 120, "the new revision waited for the old tasks"
    assert peak <= 3 + FLEET.maximum, "desired ran after its own new tasks"
    assert {worker.revision for worker in world.workers.values()} == {2}
    assert world.desired == 1


GENERATIONS = ("worker-default-a", "worker-default-b")


@pytest.mark.parametrize("seed", range(20))
async def test_a_rollout_over_two_generations(seed: int) -> None:
    """Long tasks on every old worker, the scaler killed, sources failing: the new generation consumes soon anyway."""
    world = FakeWorld(5000 + seed, desired=3, kill=0.01, fail=0.01, services=GENERATIONS)
    old, new = world.services["worker-default-a"], world.services["worker-default-b"]
    loop = world.loop(FLEET)
    world.queue.extend(world.random.uniform(300, 600) for _ in range(15))
    while world.now < 60:
        loop, _ = await world.turn(loop)
    new.revision = 2
    world.queue.extend(world.random.uniform(10, 20) for _ in range(5))
    waited_s, grew = None, old.desired
    while world.now < 3000 and (world.done, old.desired, new.desired, len(world.workers)) != (20, 0, 1, 1):
        loop, _ = await world.turn(loop)
        grew = max(grew, old.desired)
        if waited_s is None and not world.queue:
            waited_s = world.now - 60
    assert (world.done, world.interrupted, world.broken[:1]) == (20, 0, [])
    assert waited_s is not None
    assert waited_s < 120, "the new generation waited for the old tasks"
    assert grew <= 3, "the old generation grew"
    assert (old.desired, new.desired) == (0, 1)
    assert {worker.service for worker in world.workers.values()} == {"worker-default-b"}


@pytest.mark.parametrize("seed", range(10))
async def test_rollout_after_rollout_under_changing_load(seed: int) -> None:
    """A revision every few minutes, each on the idle service if there is one; whatever was begun is finished."""
    world = FakeWorld(6000 + seed, kill=0.01, fail=0.005, services=GENERATIONS)
    loop, revision, tasks = world.loop(FLEET), 1, 0
    while world.now < 1800:
        loop, _ = await world.turn(loop)
        if world.random.random() < 0.03:
            revision += 1
            # As Terraform does: odd revisions on a, even ones on b; busy or not.
            world.services[GENERATIONS[(revision + 1) % 2]].revision = revision
        if world.random.random() < 0.05:
            number = world.random.randint(1, 12)
            world.queue.extend(world.random.uniform(5, 120) for _ in range(number))
            tasks += number
    while world.now < 6000 and (world.done, world.desired, len(world.workers)) != (tasks, 1, 1):
        loop, _ = await world.turn(loop)
    assert (world.done, world.interrupted, world.broken[:1]) == (tasks, 0, [])
    assert world.desired == len(world.workers) == 1
    assert {worker.revision for worker in world.workers.values()} == {revision}


class TestControls:
    """Each takes one step away and must lose tasks, else the tests above prove nothing."""

    async def test_reducing_before_release(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def anybody(
            fleet: Fleet, seen: ServiceObservation, roster: ClassifiedWorkers, short_s: float, trail: object
        ) -> tuple[str, ...]:
            return ()

        def no_floor(*_: object) -> tuple[int, str]:
            return 0, ""

        monkeypatch.setattr(drain, "reducible", anybody)
        monkeypatch.setattr(drain, "protected_minimum", no_floor)
        broken = 0
        for seed in range(5):
            broken += len((await live(FakeWorld(seed), longest_s=300.0)).world.broken)
        assert broken > 0

    async def test_consuming_without_protection(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def consume_at_once(world: FakeWorld, worker: object) -> None:
            while len(worker.running) < worker.slots and world.queue:  # type: ignore[attr-defined]
                worker.running.append(world.now + world.queue.popleft())  # type: ignore[attr-defined]

        monkeypatch.setattr(FakeWorld, "_agent", consume_at_once)
        lost = 0
        for seed in range(5):
            world = FakeWorld(seed)
            loop = world.loop(FLEET)
            world.queue.extend(world.random.uniform(10, 300) for _ in range(TASKS))
            while world.now < 400:
                loop, _ = await world.turn(loop)
                world.desired = min(world.desired, 2)
            lost += world.interrupted
        assert lost > 0
