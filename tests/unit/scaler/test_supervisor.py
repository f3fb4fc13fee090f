# SPDX-License-Identifier: Apache-2.0
"""The supervisor in virtual time: one poisonous fleet, the grid, the pace while throttled, fleets that come and go."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest

from scaler.core.model import FleetPolicy, Task
from scaler.errors import SourceError, ThrottledError
from scaler.runtime.agent_concurrency import AgentPlaces, LimitedWorkers
from scaler.runtime.supervisor import FleetSupervisor
from simulation.loop import run
from tests.support.virtual_clock import LoopClock

THROTTLED = ThrottledError("ecs", "ThrottlingException: Rate exceeded")


async def nothing() -> None:
    return None


class Turning:
    """A loop that runs the given function and counts."""

    def __init__(
        self,
        name: str,
        body: Callable[[], Awaitable[None]] = nothing,
        *,
        interval_s: float = 5.0,
        errors: tuple[SourceError, ...] = (),
        kind: str = "hold",
    ) -> None:
        self.fleet = FleetPolicy(name, (name,), 1, 1, 1, interval_s=interval_s)
        self.body, self.errors, self.kind = body, errors, kind
        self.ticked: list[float] = []
        self.failures: list[BaseException] = []
        self.intervals: list[int] = []
        self.memory = "fresh"

    async def tick(self, intervals: int) -> Any:
        self.intervals.append(intervals)
        self.ticked.append(asyncio.get_running_loop().time())
        await self.body()
        return SimpleNamespace(errors=self.errors, tick=SimpleNamespace(decision=SimpleNamespace(kind=self.kind)))

    def failed(self, error: BaseException) -> None:
        self.failures.append(error)

    def inherit_state(self, before: Turning) -> None:
        self.memory = before.memory


def turn(
    loops: list[Turning], seconds: float, meanwhile: Callable[[FleetSupervisor], Awaitable[None]] | None = None
) -> Any:
    """Run the supervisor for `seconds`; return `problem` and `failing` at the end."""

    async def main() -> Any:
        supervisor = FleetSupervisor(loops, LoopClock())  # type: ignore[arg-type]
        running = asyncio.create_task(supervisor.run())
        if meanwhile is not None:
            await meanwhile(supervisor)
        await asyncio.sleep(seconds)
        found = supervisor.problem(), supervisor.failing()
        assert not running.done(), f"the supervisor ended: {running}"
        running.cancel()
        await asyncio.wait({running})
        return found

    return run(main())


async def raises() -> None:
    raise ZeroDivisionError("a defect")


async def raises_a_group() -> None:
    raise BaseExceptionGroup("several", [ValueError(), GeneratorExit()])


async def cancels_itself() -> None:
    raise asyncio.CancelledError


async def hangs() -> None:
    await asyncio.Event().wait()


async def does_not_end_when_cancelled() -> None:
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            if asyncio.get_running_loop().time() > 600:  # the test is over
                raise


async def floods() -> None:
    async with asyncio.TaskGroup() as group:
        for _ in range(500):
            group.create_task(asyncio.sleep(0.1))


POISONS = [raises, raises_a_group, cancels_itself, hangs, does_not_end_when_cancelled, floods]


@pytest.mark.fault(
    "one poisonous fleet of 100", "it is reported and left to itself; the other 99 tick as if it were not there"
)
@pytest.mark.parametrize("poison", POISONS, ids=lambda poison: poison.__name__)
def test_a_failing_fleet_does_not_affect_the_others(poison: Callable[[], Awaitable[None]]) -> None:
    fleets = [Turning(f"fleet-{number:02d}") for number in range(99)]
    poisonous = Turning("poisonous", poison)
    problem, failing = turn([*fleets, poisonous], 600.5)
    assert {len(fleet.ticked) for fleet in fleets} <= {120, 121}, "every other fleet ticks every 5 s"
    assert not any(fleet.failures for fleet in fleets)
    assert problem is None, "no reason for a restart, which would cost every fleet its window"
    assert set(failing) == ({"poisonous"} if poison is not floods else set())
    if poison is does_not_end_when_cancelled:
        assert len(poisonous.ticked) == 1, "a second tick beside the first could contradict it"


def test_many_workers_without_an_answer_leave_connections_for_other_fleets() -> None:
    class Silent:
        at_once = most = 0

        async def state(self, task: Task) -> Any:
            self.at_once += 1
            self.most = max(self.most, self.at_once)
            try:
                await asyncio.sleep(2)
            finally:
                self.at_once -= 1

    async def main() -> int:
        silent = Silent()
        bounded = LimitedWorkers(silent, LoopClock(), 5.0, AgentPlaces())  # type: ignore[arg-type]
        await asyncio.gather(*(bounded.state(Task(f"task/{number}", "RUNNING")) for number in range(500)))
        return silent.most

    assert run(main()) == 2 * 100, "at most two requests of each of a hundred workers"


def test_fleets_tick_on_a_grid_in_groups_for_any_duration_of_a_tick() -> None:
    async def takes_long() -> None:
        await asyncio.sleep(1.3)

    fleets = [Turning(f"fleet-{number:02d}", takes_long) for number in range(100)]
    turn(fleets, 60.0)
    offsets = {round(fleet.ticked[0], 6) for fleet in fleets}
    assert offsets == {0.0, 1.0, 2.0, 3.0, 4.0}, "a hundred fleets are five groups, spread over the interval"
    for fleet in fleets:
        assert [round(at - fleet.ticked[0], 6) for at in fleet.ticked] == [5.0 * n for n in range(len(fleet.ticked))]


@pytest.mark.fault(
    "API throttled", "a throttled fleet ticks in every second interval, and in each one again after the first answer"
)
def test_throttled_fleets_tick_less_often_and_recover() -> None:
    loop = Turning("default", errors=(THROTTLED,))
    other = Turning("other")

    async def ends(_: FleetSupervisor) -> None:
        await asyncio.sleep(200)
        loop.errors = ()

    turn([loop, other], 300, ends)
    gaps = [round(after - before) for before, after in zip(loop.ticked, loop.ticked[1:], strict=False)]
    assert gaps == [10] * 20 + [5] * (len(gaps) - 20)
    assert loop.intervals == [1, *[2] * 20, *[1] * (len(gaps) - 20)], "each tick needs the pace that led to it"
    assert len(other.ticked) >= 100, "a fleet without throttling is not slower"


def test_a_throttled_fleet_that_protects_workers_does_not_slow_down() -> None:
    loop = Turning("default", errors=(THROTTLED,), kind="protect")
    turn([loop], 100)
    assert len(loop.ticked) == 21


@pytest.mark.parametrize("source", ["sqs", "overrides", "cloudwatch"])
def test_a_throttled_source_does_not_slow_the_others(source: str) -> None:
    loop = Turning("default", errors=(ThrottledError(source, "Rate exceeded"),))
    turn([loop], 100)
    assert len(loop.ticked) == 21


def test_failing_fleets_slow_down_after_the_second_failure() -> None:
    loop = Turning("default", raises)
    turn([loop], 300)
    gaps = [round(after - before) for before, after in zip(loop.ticked, loop.ticked[1:], strict=False)]
    assert gaps[:4] == [5, 10, 10, 10]


def test_settings_change_between_two_ticks_and_the_state_stays() -> None:
    old, gone, new = Turning("default"), Turning("gone"), Turning("new")
    old.memory = "a drain under way"
    changed = Turning("default", interval_s=10.0)
    removed: list[str] = []

    async def change(supervisor: FleetSupervisor) -> None:
        supervisor._on_removed = removed.append
        await asyncio.sleep(12)
        supervisor.apply([changed, new])  # type: ignore[list-item]

    turn([old, gone], 48, change)
    assert old.ticked == [0.0, 5.0, 10.0]
    assert gone.ticked == [0.0, 5.0, 10.0]
    assert removed == ["gone"]
    assert changed.memory == "a drain under way"
    assert changed.ticked[0] == 12.0, "a changed fleet looks at once"
    assert [after - before for before, after in zip(changed.ticked[1:], changed.ticked[2:], strict=False)] == [10] * 3
    assert new.ticked[0] == 12.0


def test_a_change_waits_for_the_end_of_the_tick() -> None:
    active: list[str] = []

    def body(name: str) -> Callable[[], Awaitable[None]]:
        async def takes_long() -> None:
            assert not active, f"{name} began while {active} went on"
            active.append(name)
            await asyncio.sleep(3)
            active.remove(name)

        return takes_long

    old, changed = Turning("default", body("old")), Turning("default", body("changed"))

    async def change(supervisor: FleetSupervisor) -> None:
        await asyncio.sleep(6)
        supervisor.apply([changed])  # type: ignore[list-item]

    turn([old], 30, change)
    assert changed.ticked[0] == 8.0
    assert not old.failures + changed.failures


def test_a_process_without_ticks_reports_a_problem() -> None:
    problem, failing = turn([Turning("a", does_not_end_when_cancelled), Turning("b", hangs)], 600.5)
    assert problem is None, "they fail, and the supervisor reports them"
    assert set(failing) == {"a", "b"}


def test_the_lag_of_the_event_loop_is_measured() -> None:
    lags: list[float] = []

    async def main() -> None:
        supervisor = FleetSupervisor((), LoopClock(), on_lag=lags.append)
        running = asyncio.create_task(supervisor.run())
        await asyncio.sleep(10.5)
        running.cancel()
        await asyncio.wait({running})

    run(main())
    assert lags == [0.0] * 10
