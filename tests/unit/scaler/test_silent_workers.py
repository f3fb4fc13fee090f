# SPDX-License-Identifier: Apache-2.0
"""Workers that do not answer: they delay no other worker and no tick."""

import asyncio
import contextlib
from types import SimpleNamespace
from typing import Any

import pytest

from scaler.core.model import AgentState, FleetPolicy, Known, Task
from scaler.core.state import FleetState
from scaler.errors import DeadlineError
from scaler.runtime.agent_concurrency import LimitedWorkers
from scaler.runtime.fleet_loop import COMMAND_SHARE, FleetLoop
from simulation.loop import run
from tests.support.fake_environment import FakeEnvironment
from tests.support.virtual_clock import LoopClock

FLEET = FleetPolicy("default", ("default",), 5, 1, 5)


@pytest.mark.parametrize("silent", [1, 33, 200])
def test_commands_to_silent_workers_have_one_deadline_and_resumes_are_first(silent: int) -> None:
    class Workers:
        def __init__(self) -> None:
            self.sent: list[str] = []

        async def drain(self, task: Task, lease_s: float) -> AgentState:
            self.sent.append("drain")
            await asyncio.sleep(2.0)
            raise DeadlineError("agent", "no answer")

        async def resume(self, task: Task) -> AgentState:
            self.sent.append("resume")
            return AgentState("consuming", 0, 0, 5, protected=True)

    async def main() -> None:
        clock, workers = LoopClock(), Workers()
        tasks = {name: Task(name, "RUNNING") for name in [f"d{n}" for n in range(silent)] + ["r0", "r1"]}
        decision = SimpleNamespace(
            services={}, drains=tuple(name for name in tasks if name[0] == "d"), resumes=("r0", "r1")
        )
        seen = SimpleNamespace(services={"a": SimpleNamespace(tasks=Known(tuple(tasks.values()), 0.0))})

        async def observe(seconds: float, stale_s: float) -> Any:
            await asyncio.sleep(seconds)
            return seen, ()

        limited = LimitedWorkers(workers, clock, FLEET.interval_s)  # type: ignore[arg-type]
        loop = FleetLoop(
            FLEET,
            SimpleNamespace(observe=observe, intervals=1),  # type: ignore[arg-type]
            SimpleNamespace(clock=clock, workers=limited),  # type: ignore[arg-type]
            (),
            decide_with=lambda *_: (decision, FleetState()),  # type: ignore[arg-type]
        )
        report = await loop.tick()
        assert workers.sent[:2] == ["resume", "resume"]
        assert len(report.errors) == silent
        assert report.duration_s <= COMMAND_SHARE * FLEET.interval_s + 0.01

    run(main())


@pytest.mark.parametrize("silent", [0, 250])
def test_silent_workers_do_not_delay_the_others(silent: int) -> None:
    async def state(task: Task) -> AgentState:
        if task.arn.startswith("silent"):
            await asyncio.sleep(2.0)
            raise DeadlineError("agent", "no answer")
        return AgentState("consuming", 0, 0, 5, protected=True)

    async def main() -> None:
        limited = LimitedWorkers(SimpleNamespace(state=state), LoopClock(), 5.0)
        clock = asyncio.get_running_loop().time
        answers: list[float] = []

        async def read(name: str, end: float) -> None:
            with contextlib.suppress(DeadlineError, TimeoutError):
                async with asyncio.timeout_at(end):
                    await limited.state(Task(name, "RUNNING"))
                    answers.append(clock())

        names = [f"silent/{number}" for number in range(silent)] + [f"task/{number}" for number in range(10)]
        for tick in range(8):
            began = 5.0 * tick
            await asyncio.sleep(began - clock())
            answers.clear()
            await asyncio.gather(*(read(name, began + 3.0) for name in names))
            assert tick < 4 or answers == [began] * 10

    run(main())


async def test_a_silent_worker_gets_a_request_every_fourth_interval_until_it_answers() -> None:
    environment, asked = FakeEnvironment(1), []
    silent = True

    async def state(task: Task) -> AgentState:
        asked.append(environment.now)
        if silent:
            raise DeadlineError("agent", "no answer")
        return AgentState("consuming", 0, 0, 5, protected=True)

    limited = LimitedWorkers(SimpleNamespace(state=state), environment, 5.0)
    began = environment.now
    for tick in range(30):
        silent = tick < 20
        with contextlib.suppress(DeadlineError):
            await limited.state(Task("task/1", "RUNNING"))
        environment.advance(5.0)
    ticks = [round((at - began) / 5.0) for at in asked]
    assert ticks == [0, 1, 3, 7, 11, 15, 19, 23, 24, 25, 26, 27, 28, 29]
