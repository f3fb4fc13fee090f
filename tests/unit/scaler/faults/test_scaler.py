# SPDX-License-Identifier: Apache-2.0
"""Faults of the scaler itself: its end, a second one, its clock, its settings, and one fleet among a hundred."""

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest

from scaler.config.reload import ConfigFile
from scaler.config.settings import ScalerConfig, parse_settings
from scaler.core.model import FleetPolicy, Observation
from scaler.core.state import Decision, FleetState
from scaler.runtime.fleet_loop import FleetLoop
from tests.support.fault_scenario import CONFIG, FLEET, PROFILE, FaultScenario, fleets, run_scenario
from tests.unit.scaler.test_config import GOOD


async def begins_to_drain(scenario: FaultScenario) -> None:
    """Let the work of three workers end, up to the tick that will choose the first victim."""
    await scenario.works(3, work_s=25.0)
    await scenario.becomes(lambda: not scenario.busy, 60.0, "the work was to end")


@pytest.mark.parametrize("step", range(1, 61, 2))
@pytest.mark.fault(
    "scaler SIGKILLed at every step of a drain",
    "No task is lost: the next scaler reads everything again, a drained worker resumes when its lease ends, "
    "and a new scaler lowers no count before a whole window",
)
def test_scaler_sigkilled_at_every_step_of_a_drain(step: int) -> None:
    async def steps(scenario: FaultScenario) -> None:
        await begins_to_drain(scenario)
        draining = await scenario.until(lambda: bool(scenario.reports.last["default"].tick.decision.drains), 90.0)
        assert draining, scenario.why
        scenario.link.kill_in = step
        await scenario.becomes(lambda: scenario.kills == 1, 60.0, "the scaler was to be killed")
        scenario.send([20.0] * 4)
        await scenario.rests()

    run_scenario(steps, seed=step)


@pytest.mark.parametrize("seed", range(1, 6))
@pytest.mark.fault(
    "two scalers at once",
    "Counts are absolute and read again right before a reduction. Two scalers may cost a worker too many for "
    "some time, and no task is lost",
)
def test_two_scalers_at_the_same_time(seed: int) -> None:
    async def steps(scenario: FaultScenario) -> None:
        # Between the second look of one and its write the other may call a worker back: repaired within two ticks.
        scenario.start_scaler()
        for _ in range(10):
            scenario.fake_ecs.excused_until = dict.fromkeys(scenario.topology.services, scenario.loop.time() + 100.0)
            scenario.send([scenario.rng.uniform(5.0, 90.0) for _ in range(scenario.rng.randint(1, 12))])
            await asyncio.sleep(scenario.rng.uniform(20.0, 90.0))
        await scenario.rests()
        assert scenario.scale_ins >= 3, "two at once were to shrink the fleet all the same"

    run_scenario(steps, seed=seed)


@pytest.mark.parametrize("jump_s", [86400.0, -86400.0, 3600.0, -3600.0], ids=["+1 d", "-1 d", "+1 h", "-1 h"])
@pytest.mark.fault(
    "clock jumps",
    "Decisions use a clock that never goes back. If it jumps all the same, the window starts again, and the "
    "fleet shrinks only after a whole window",
)
def test_clock_jumps(jump_s: float) -> None:
    async def steps(scenario: FaultScenario) -> None:
        await begins_to_drain(scenario)
        scenario.clock.wall_offset_s += jump_s
        scenario.clock.monotonic_offset_s += jump_s
        jumped_at = scenario.loop.time()
        known = len(scenario.reductions)
        await scenario.becomes(lambda: scenario.total == 1, 300.0, "it was to shrink after a new window")
        assert not known
        assert scenario.reductions[0][0] >= jumped_at + FLEET.scale_in_window_s, "it shrank on a window that was broken"
        assert not scenario.reports.failures
        await scenario.rests()

    run_scenario(steps, seed=3)


# --- settings


class File:
    """The settings' file in reports, watched as in life, and applied to the scenario's scaler."""

    def __init__(self, scenario: FaultScenario) -> None:
        self.scenario = scenario
        self.content = json.dumps(GOOD).encode()
        self.rejected: list[str] = []
        self.watched = ConfigFile(
            "scaler.json", parse_settings(json.dumps(GOOD)), self.apply, self.changed, read=self.read
        )
        self.task = scenario.loop.create_task(self.watched.watch())

    async def read(self) -> bytes:
        return self.content

    def write(self, **fleet: Any) -> None:
        first, *others = GOOD["fleets"]
        self.content = json.dumps({**GOOD, "fleets": [{**first, **fleet}, *others]}).encode()

    def apply(self, settings: ScalerConfig) -> None:
        changed = replace(FLEET, maximum=settings.fleets[0].max)
        self.scenario.scalers[0].supervisor.apply([self.scenario.fleet_loop(changed)])

    def problem(self) -> str | None:
        return self.watched.problem

    def changed(self, problems: tuple[str, ...]) -> None:
        self.rejected = [*self.rejected, *problems] if problems else []


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        json.dumps({**GOOD, "fleets": []}).encode(),
        json.dumps({**GOOD, "interval_s": "soon"}).encode(),
        b"\xff\xfe",
    ],
    ids=["empty", "no JSON", "no fleets", "a wrong value", "no text"],
)
@pytest.mark.fault(
    "config broken",
    "The old settings stay in force, and every wrong field of the file is reported at once",
)
def test_config_broken(content: bytes) -> None:
    async def steps(scenario: FaultScenario) -> None:
        file = File(scenario)
        await scenario.works(3, work_s=60.0)
        file.content = content
        await scenario.ticks(3)
        assert file.rejected
        assert file.problem()
        scenario.send([20.0] * 8)
        await scenario.becomes(lambda: scenario.total == 6, 30.0, "the old settings were to be in force")
        file.write()
        await scenario.ticks(1)
        assert file.problem() is None
        file.task.cancel()
        await scenario.rests()

    run_scenario(steps)


@pytest.mark.fault(
    "config half-written",
    "An incomplete file is an invalid file: it is rejected as a whole, and applied when it is complete",
)
def test_config_half_written() -> None:
    async def steps(scenario: FaultScenario) -> None:
        file = File(scenario)
        await scenario.works(2, work_s=60.0)
        file.write(max=3)
        whole = file.content
        for share in (0.1, 0.5, 0.9, 0.99):
            file.content = whole[: int(len(whole) * share)]
            await scenario.ticks(1)
            assert file.rejected, f"{share:.0%} of the file was taken"
            assert scenario.decision.maximum == 6
        file.content = whole
        await scenario.ticks(2)
        assert scenario.decision.maximum == 3
        file.task.cancel()
        await scenario.rests()

    run_scenario(steps)


@pytest.mark.fault(
    "config reloaded in a drain", "The fleet's loop changes and its state stays: drained workers stay in drain"
)
def test_config_reloaded_in_a_drain() -> None:
    async def steps(scenario: FaultScenario) -> None:
        file = File(scenario)
        for _ in range(4):
            scenario.send([30.0, 200.0])
        await scenario.becomes(lambda: len(scenario.busy) >= 4, 90.0, "four were to work")
        await scenario.becomes(lambda: bool(scenario.decision.drains), 120.0, "a worker was to be in drain")
        drained = set(scenario.decision.drains)
        file.write(max=4)
        await scenario.ticks(2)
        assert scenario.decision.maximum == 4
        alive = {worker.arn for worker in scenario.workers()}
        assert drained & alive <= set(scenario.decision.drains) | set(scenario.decision.resumes), (
            "drains were forgotten"
        )
        await scenario.becomes(lambda: scenario.total < 4, 400.0, "the drain was to go on to its end")
        file.task.cancel()
        await scenario.rests()

    run_scenario(steps)


# --- many fleets


@pytest.mark.parametrize("failure", ["raises", "hangs", "floods"])
@pytest.mark.fault(
    "one poisonous fleet of 100",
    "Only this fleet fails, at growing intervals, and the log and metrics name it. The other 99 tick, grow and shrink",
)
def test_one_failing_fleet_of_100(failure: str) -> None:
    many = fleets(100 if failure == "raises" else 20)
    bad = many[-7].name

    async def steps(scenario: FaultScenario) -> None:
        loops = [
            failing_loop(scenario, fleet, failure) if fleet.name == bad else scenario.fleet_loop(fleet)
            for fleet in many
        ]
        scenario.start_scaler(loops)
        await scenario.ticks(4)
        for fleet in many:
            scenario.send([15.0] * 4, fleet.name)
        await asyncio.sleep(40.0)
        good = [fleet.name for fleet in many if fleet.name != bad]
        served = [name for name in good if not scenario.queues[name].visible]
        assert served == good, f"{len(good) - len(served)} fleets waited for the poisonous one"
        assert all(scenario.reports.last[name].tick.now > scenario.loop.time() - 11.0 for name in good)
        assert {failure.partition(":")[0] for failure in scenario.reports.failures} == {bad}
        scenario.clean()

    profile = replace(PROFILE, wait_s=20.0)
    run_scenario(steps, config=replace(CONFIG, fleets=many, profile=profile), begin=False)


def failing_loop(scenario: FaultScenario, fleet: FleetPolicy, failure: str) -> FleetLoop:
    """Return a loop whose every tick raises, never ends, or raises what is no `Exception`."""

    def decide(_: FleetPolicy, __: Observation, ___: FleetState, ____: float) -> tuple[Decision, FleetState]:
        raise ZeroDivisionError("failure") if failure == "raises" else MemoryError("failure")

    loop = scenario.fleet_loop(fleet)
    loop._decide = decide
    if failure == "hangs":

        async def hang(intervals: int = 1) -> Any:
            await asyncio.Event().wait()

        loop.tick = hang  # type: ignore[method-assign]
    return loop
