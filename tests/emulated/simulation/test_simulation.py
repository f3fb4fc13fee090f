# SPDX-License-Identifier: Apache-2.0
"""The whole loop in virtual time: it grows, shrinks, is killed anywhere, and nothing is lost or interrupted."""

from dataclasses import dataclass

import pytest

from scaler.core import drain
from scaler.core.model import FleetPolicy, ServiceObservation
from scaler.core.workers import ClassifiedWorkers
from tests.support.fake_environment import FakeEnvironment

FLEET = FleetPolicy(name="default", queues=("default",), slots=5, minimum=1, maximum=5, scale_in_window_s=30.0)
TASKS = 18


@dataclass
class Outcome:
    environment: FakeEnvironment
    peak: int
    settled_s: float | None


async def live(
    environment: FakeEnvironment, *, tasks: int = TASKS, longest_s: float = 90.0, limit_s: float = 1500.0
) -> Outcome:
    """Burst of tasks, some of them long, at 20 s; run until everything is done and the fleet is small again."""
    loop = environment.loop(FLEET)
    peak, burst = 0, False
    while environment.now < limit_s:
        loop, _ = await environment.turn(loop)
        peak = max(peak, environment.desired)
        if not burst and environment.now >= 20:
            environment.queue.extend(environment.random.uniform(10, longest_s) for _ in range(tasks))
            burst = True
        if (
            burst
            and environment.done + environment.interrupted == tasks
            and environment.desired == len(environment.workers) == FLEET.minimum
        ):
            return Outcome(environment, peak, environment.now)
    return Outcome(environment, peak, None)


def assert_healthy(outcome: Outcome) -> None:
    environment = outcome.environment
    assert environment.interrupted == 0, "a worker that worked was stopped"
    assert environment.done == TASKS
    assert not environment.broken, environment.broken[:3]
    assert outcome.settled_s is not None, (
        f"not back at the minimum: desired {environment.desired}, {len(environment.workers)} workers"
    )


async def test_grows_from_one_to_four_and_back() -> None:
    outcome = await live(FakeEnvironment(1))
    assert_healthy(outcome)
    assert outcome.peak == 4
    assert len(outcome.environment.writes) <= 4, f"writes only when different: {outcome.environment.writes}"


@pytest.mark.parametrize("seed", range(40))
async def test_killed_between_any_two_actions(seed: int) -> None:
    outcome = await live(FakeEnvironment(seed, kill=0.03), limit_s=6000.0)
    assert_healthy(outcome)
    assert outcome.environment.kills > 0


@pytest.mark.parametrize("seed", range(40))
async def test_killed_and_every_source_failing_now_and_then(seed: int) -> None:
    outcome = await live(FakeEnvironment(1000 + seed, kill=0.005, fail=0.01), limit_s=9000.0)
    assert_healthy(outcome)


@pytest.mark.parametrize("seed", range(10))
async def test_two_scalers_at_the_same_time(seed: int) -> None:
    environment = FakeEnvironment(2000 + seed)
    loops = [environment.loop(FLEET), environment.loop(FLEET)]
    environment.queue.extend(environment.random.uniform(10, 90) for _ in range(TASKS))
    while environment.now < 900:
        for loop in loops:
            await loop.tick()
        environment.advance(5.0)
    assert (environment.done, environment.interrupted, environment.broken[:1]) == (TASKS, 0, [])
    assert environment.desired == 1


@pytest.mark.parametrize("seed", range(10))
async def test_another_client_writes_desired(seed: int) -> None:
    """Another client sets desired to a random count every 50 s. Protection stays, and the scaler corrects the count."""
    environment = FakeEnvironment(3000 + seed)
    loop = environment.loop(FLEET)
    environment.queue.extend(environment.random.uniform(10, 90) for _ in range(TASKS))
    while environment.now < 1200:
        loop, _ = await environment.turn(loop)
        if environment.now % 50 < 5 and environment.now < 600:
            environment.desired = environment.random.randint(0, 7)
    assert (environment.done, environment.interrupted, environment.desired) == (TASKS, 0, 1)


@pytest.mark.parametrize("seed", range(20))
async def test_a_rolling_update_of_a_busy_fleet(seed: int) -> None:
    """Long tasks on every old worker: the new revision consumes soon, desired stays bounded, nothing is interrupted."""
    environment = FakeEnvironment(4000 + seed, desired=3, kill=0.005)
    loop = environment.loop(FLEET)
    environment.queue.extend(environment.random.uniform(300, 600) for _ in range(15))
    while environment.now < 60:
        loop, _ = await environment.turn(loop)
    environment.revision = 2
    environment.queue.extend(environment.random.uniform(10, 20) for _ in range(5))
    peak, waited_s = 0, None
    while environment.now < 3000:
        loop, _ = await environment.turn(loop)
        peak = max(peak, environment.desired)
        if waited_s is None and not environment.queue:
            waited_s = environment.now - 60
    assert (environment.done, environment.interrupted, environment.broken[:1]) == (20, 0, [])
    assert waited_s is not None
    assert waited_s < 120, "the new revision waited for the old tasks"
    assert peak <= 3 + FLEET.maximum, "desired ran after its own new tasks"
    assert {worker.revision for worker in environment.workers.values()} == {2}
    assert environment.desired == 1


GENERATIONS = ("worker-default-a", "worker-default-b")


@pytest.mark.parametrize("seed", range(20))
async def test_a_rollout_over_two_services(seed: int) -> None:
    """Long tasks on every old worker, the scaler killed, sources failing: the new generation consumes soon anyway."""
    environment = FakeEnvironment(5000 + seed, desired=3, kill=0.01, fail=0.01, services=GENERATIONS)
    old, new = environment.services["worker-default-a"], environment.services["worker-default-b"]
    loop = environment.loop(FLEET)
    environment.queue.extend(environment.random.uniform(300, 600) for _ in range(15))
    while environment.now < 60:
        loop, _ = await environment.turn(loop)
    new.revision = 2
    environment.queue.extend(environment.random.uniform(10, 20) for _ in range(5))
    waited_s, grew = None, old.desired
    while environment.now < 3000 and (environment.done, old.desired, new.desired, len(environment.workers)) != (
        20,
        0,
        1,
        1,
    ):
        loop, _ = await environment.turn(loop)
        grew = max(grew, old.desired)
        if waited_s is None and not environment.queue:
            waited_s = environment.now - 60
    assert (environment.done, environment.interrupted, environment.broken[:1]) == (20, 0, [])
    assert waited_s is not None
    assert waited_s < 120, "the new generation waited for the old tasks"
    assert grew <= 3, "the old generation grew"
    assert (old.desired, new.desired) == (0, 1)
    assert {worker.service for worker in environment.workers.values()} == {"worker-default-b"}


@pytest.mark.parametrize("seed", range(10))
async def test_rollout_after_rollout_under_changing_load(seed: int) -> None:
    """A revision every few minutes, each on the idle service if there is one; whatever was begun is finished."""
    environment = FakeEnvironment(6000 + seed, kill=0.01, fail=0.005, services=GENERATIONS)
    loop, revision, tasks = environment.loop(FLEET), 1, 0
    while environment.now < 1800:
        loop, _ = await environment.turn(loop)
        if environment.random.random() < 0.03:
            revision += 1
            # As Terraform does: odd revisions on a, even ones on b; busy or not.
            environment.services[GENERATIONS[(revision + 1) % 2]].revision = revision
        if environment.random.random() < 0.05:
            number = environment.random.randint(1, 12)
            environment.queue.extend(environment.random.uniform(5, 120) for _ in range(number))
            tasks += number
    while environment.now < 6000 and (environment.done, environment.desired, len(environment.workers)) != (tasks, 1, 1):
        loop, _ = await environment.turn(loop)
    assert (environment.done, environment.interrupted, environment.broken[:1]) == (tasks, 0, [])
    assert environment.desired == len(environment.workers) == 1
    assert {worker.revision for worker in environment.workers.values()} == {revision}


class TestControls:
    """Each takes one step away and must lose tasks, else the tests above prove nothing."""

    async def test_reducing_before_release(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def reducible_at_once(
            seen: ServiceObservation, workers: ClassifiedWorkers, *, failing: bool, explanation: object
        ) -> tuple[str, ...]:
            return ()

        def no_floor(*_: object) -> tuple[int, str]:
            return 0, ""

        monkeypatch.setattr(drain, "reducible", reducible_at_once)
        monkeypatch.setattr(drain, "protected_minimum", no_floor)
        broken = 0
        for seed in range(5):
            broken += len((await live(FakeEnvironment(seed), longest_s=300.0)).environment.broken)
        assert broken > 0

    async def test_consuming_without_protection(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def consume_at_once(environment: FakeEnvironment, worker: object) -> None:
            while len(worker.running) < worker.slots and environment.queue:  # type: ignore[attr-defined]
                worker.running.append(environment.now + environment.queue.popleft())  # type: ignore[attr-defined]

        monkeypatch.setattr(FakeEnvironment, "_agent", consume_at_once)
        lost = 0
        for seed in range(5):
            environment = FakeEnvironment(seed)
            loop = environment.loop(FLEET)
            environment.queue.extend(environment.random.uniform(10, 300) for _ in range(TASKS))
            while environment.now < 400:
                loop, _ = await environment.turn(loop)
                environment.desired = min(environment.desired, 2)
            lost += environment.interrupted
        assert lost > 0
