# SPDX-License-Identifier: Apache-2.0
"""A worker that neither answers nor is protected is stopped only if database and broker show no task there."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from scaler.core.decide import decide
from scaler.core.model import BrokerCount, FleetPolicy, Known, Observation, Overrides, Stale, Unknown
from scaler.core.silent import SILENT_LIMIT_S
from scaler.core.state import FleetState
from scaler.errors import SourceError
from scaler.runtime.fleet_loop import FleetLoop
from simulation.liveness_run import CONTINUOUS_FAULTS, play
from simulation.loop import run
from tests.support.fake_environment import FakeEnvironment
from tests.support.scaler_builders import FLEET, SILENT, arn, explained, observe

DEAD = arn(1)
ONE_DEAD = observe(["idle", "booting"])
TICK_S = 5.0


def after(seconds: float, observation: Observation, *, last: Observation | None = None) -> str | None:
    """Return the worker to stop in the tick `seconds` after the first one."""
    state, now = FleetState(), 0.0
    while now < seconds:
        _, state = decide(FLEET, observation, state, now)
        now += TICK_S
    return decide(FLEET, last or observation, state, now)[0].stop


def test_a_silent_worker_without_protection_is_stopped_after_the_limit() -> None:
    assert after(SILENT_LIMIT_S - TICK_S, ONE_DEAD) is None
    assert after(SILENT_LIMIT_S, ONE_DEAD) == DEAD


def test_the_time_of_silence_counts_while_it_is_protected() -> None:
    assert after(SILENT_LIMIT_S, observe(["idle", "silent"]), last=ONE_DEAD) == DEAD


@pytest.mark.parametrize(
    "last",
    [
        pytest.param(observe(["idle", "silent"]), id="protected"),
        pytest.param(observe(["idle", "idle"]), id="answers"),
        pytest.param(observe(["idle", "booting"], protected=SILENT), id="protection unknown"),
        pytest.param(replace(ONE_DEAD, database=None), id="plain Celery"),
        pytest.param(replace(ONE_DEAD, database=Unknown("away")), id="database unknown"),
        pytest.param(replace(ONE_DEAD, broker=Unknown("away")), id="broker unknown"),
        pytest.param(replace(ONE_DEAD, broker=Stale(BrokerCount(0, 0), 5.0)), id="broker stale"),
        pytest.param(replace(ONE_DEAD, broker=Known(BrokerCount(0, 1), 0.0)), id="a message in flight"),
        pytest.param(replace(ONE_DEAD, broker=Known(BrokerCount(0, 0, incomplete="x"), 0.0)), id="broker incomplete"),
        pytest.param(replace(ONE_DEAD, overrides=Known(Overrides(pause="in"), 0.0)), id="scale-in paused"),
        pytest.param(replace(ONE_DEAD, overrides=Known(Overrides(dry_run=True), 0.0)), id="dry run"),
    ],
)
def test_a_silent_worker_stays(last: Observation) -> None:
    assert after(SILENT_LIMIT_S, ONE_DEAD, last=last) is None


def test_an_answer_begins_the_time_again() -> None:
    state = FleetState()
    for now, observation in ((0.0, ONE_DEAD), (500.0, observe(["idle", "idle"])), (505.0, ONE_DEAD)):
        _, state = decide(FLEET, observation, state, now)
    assert decide(FLEET, ONE_DEAD, state, 505.0 + SILENT_LIMIT_S - 1.0)[0].stop is None
    assert decide(FLEET, ONE_DEAD, state, 505.0 + SILENT_LIMIT_S)[0].stop == DEAD


def test_one_worker_a_tick_and_the_longest_silent_first() -> None:
    state = FleetState()
    _, state = decide(FLEET, observe(["idle", "idle", "booting"]), state, 0.0)
    _, state = decide(FLEET, observe(["idle", "booting", "booting"]), state, 5.0)
    decision, _ = decide(FLEET, observe(["idle", "booting", "booting"]), state, 700.0)
    assert decision.stop == arn(2)
    assert explained(decision.explanation, "stop it if the database has no task there")


# --- the last check


class DeadWorker(FakeEnvironment):
    """Two workers; the second one has an agent that does not answer, and no protection."""

    def __init__(self) -> None:
        super().__init__(1, desired=2, fail=0.0, latency_s=0.0)
        self.stopped: list[str] = []
        self.on_host: Callable[[str], Awaitable[int]] = self._nothing
        self.still: frozenset[str] = frozenset()

    async def _nothing(self, host: str) -> int:
        return 0

    async def running_on(self, host: str) -> int:
        return await self.on_host(host)

    async def protected(self, arns: Any, *, for_s: float = 0.0) -> frozenset[str]:
        return self.still

    async def stop(self, arn: str, reason: str) -> None:
        assert reason
        self.stopped.append(arn)


async def stopping(environment: DeadWorker) -> list[SourceError]:
    """Run a tick that decides to stop the second worker; return its errors."""
    environment.advance(30.0)
    loop = environment.loop(FleetPolicy("default", ("default",), 5, 1, 5))
    victim = sorted(environment.workers)[1]

    def decide_to_stop(*case: Any) -> Any:
        decision, state = decide(*case)
        return replace(decision, stop=victim), state

    loop = FleetLoop(loop.fleet, loop._observer, loop._ports, (), decide_with=decide_to_stop)
    return list((await loop.tick()).errors)


async def test_a_worker_without_tasks_is_stopped() -> None:
    environment = DeadWorker()
    hosts = []

    async def nothing(host: str) -> int:
        hosts.append(host)
        return 0

    environment.on_host = nothing
    assert await stopping(environment) == []
    assert environment.stopped == [sorted(environment.workers)[1]]
    assert hosts == [environment.stopped[0].rpartition("/")[2]], "the worker's host name in Airflow"


async def test_a_worker_with_a_task_in_the_database_stays() -> None:
    async def two(host: str) -> int:
        return 2

    environment = DeadWorker()
    environment.on_host = two
    (error,) = await stopping(environment)
    assert "runs 2 tasks: it is not stopped" in str(error)
    assert environment.stopped == []


async def test_a_worker_stays_if_the_database_does_not_answer() -> None:
    async def away(host: str) -> int:
        raise SourceError("database", "away")

    environment = DeadWorker()
    environment.on_host = away
    assert [str(error) for error in await stopping(environment)] == ["database: away"]
    assert environment.stopped == []


async def test_a_worker_that_is_protected_again_stays() -> None:
    environment = DeadWorker()
    environment.still = frozenset([sorted(environment.workers)[1]])
    await stopping(environment)
    assert environment.stopped == []


# --- the whole


def test_a_dead_worker_leaves_the_fleet_when_its_protection_has_ended() -> None:
    assert "dead agent, not protected" in CONTINUOUS_FAULTS
    for seed in range(3):
        result = run(play("dead agent, not protected", seed))
        assert not result.stuck, result
