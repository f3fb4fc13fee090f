# SPDX-License-Identifier: Apache-2.0
"""Workers that do not answer: they delay no other worker and no tick."""

import asyncio
import contextlib
from types import SimpleNamespace
from typing import Any

import pytest

from scaler.core.model import AgentState, FleetPolicy, Known, Task
from scaler.core.state import FleetState
from scaler.errors import DeadlineError, SourceError
from scaler.runtime.agent_concurrency import AgentPlaces, LimitedWorkers
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
            services={}, stop=None, drains=tuple(name for name in tasks if name[0] == "d"), resumes=("r0", "r1")
        )
        seen = SimpleNamespace(services={"a": SimpleNamespace(tasks=Known(tuple(tasks.values()), 0.0))})

        async def observe(seconds: float, stale_s: float, launch_s: float) -> Any:
            await asyncio.sleep(seconds)
            return seen, ()

        limited = LimitedWorkers(workers, clock, FLEET.interval_s, AgentPlaces())  # type: ignore[arg-type]
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


def test_a_slow_growth_write_delays_no_command() -> None:
    """The write takes three seconds; the drain must reach its worker before the deadline of the commands."""
    sent: list[float] = []

    async def drain(task: Task, lease_s: float) -> AgentState:
        sent.append(asyncio.get_running_loop().time())
        return AgentState("draining", 1, 1, 5, protected=True)

    async def set_desired(service: str, desired: int) -> None:
        await asyncio.sleep(1.5)

    async def main() -> None:
        clock, task = LoopClock(), Task("task/1", "RUNNING")
        service = SimpleNamespace(writes=True, reduces=False, desired=9, kind="grow")
        decision = SimpleNamespace(services={"a": service}, stop=None, drains=("task/1",), resumes=())
        seen = SimpleNamespace(services={"a": SimpleNamespace(tasks=Known((task,), 0.0))})

        async def observe(seconds: float, stale_s: float, launch_s: float) -> Any:
            await asyncio.sleep(seconds)
            return seen, ()

        ports = SimpleNamespace(
            clock=clock,
            workers=SimpleNamespace(drain=drain, resume=drain),
            cluster=SimpleNamespace(set_desired=set_desired),
            write_rate_limit=None,
        )
        loop = FleetLoop(
            FLEET,
            SimpleNamespace(observe=observe, intervals=1),  # type: ignore[arg-type]
            ports,  # type: ignore[arg-type]
            (),
            decide_with=lambda *_: (decision, FleetState()),  # type: ignore[arg-type]
        )
        report = await loop.tick()
        assert (sent, report.errors) == ([3.0], ())
        assert report.writes["a"].answered_at is not None

    run(main())


@pytest.mark.parametrize("silent", [0, 250])
def test_silent_workers_do_not_delay_the_others(silent: int) -> None:
    async def state(task: Task) -> AgentState:
        if task.arn.startswith("silent"):
            await asyncio.sleep(2.0)
            raise DeadlineError("agent", "no answer")
        return AgentState("consuming", 0, 0, 5, protected=True)

    async def main() -> None:
        limited = LimitedWorkers(SimpleNamespace(state=state), LoopClock(), 5.0, AgentPlaces())
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


@pytest.mark.parametrize("silent", [1, 8, 41, 60, 100])
def test_a_worker_that_answers_again_is_read_after_a_tick_for_every_eight_silent_ones(silent: int) -> None:
    back: set[str] = set()

    async def state(task: Task) -> AgentState:
        if task.arn not in back:
            await asyncio.sleep(2.0)
            raise DeadlineError("agent", "no answer")
        return AgentState("consuming", 0, 0, 5, protected=True)

    async def main() -> None:
        limited = LimitedWorkers(SimpleNamespace(state=state), LoopClock(), 5.0, AgentPlaces())
        clock = asyncio.get_running_loop().time
        read: set[str] = set()

        async def one(name: str, end: float) -> None:
            with contextlib.suppress(DeadlineError, TimeoutError):
                async with asyncio.timeout_at(end):
                    await limited.state(Task(name, "RUNNING"))
                    read.add(name)

        names = [f"task/{number:03}" for number in range(silent)]
        # Whichever it is, whenever it comes back.
        for tick in range(4 * (silent // 8 + 3) + 1):
            await asyncio.sleep(5.0 * tick - clock())
            if tick % (silent // 8 + 3) == 0:
                assert back <= read, f"it was not read within {silent // 8 + 3} ticks"
                back.clear()
                back.add(names[(-1, silent // 2, 0, -2)[tick // (silent // 8 + 3) % 4] % silent])
                read.clear()
            await asyncio.gather(*(one(name, 5.0 * tick + 3.0) for name in names))

    run(main())


def test_fleets_that_share_connections_do_not_make_workers_look_silent() -> None:
    """Eight fleets with a hundred workers each, which need 1.2 s for an answer: a connection is free in time."""

    async def main() -> None:
        connections = asyncio.Semaphore(500)

        async def state(task: Task) -> AgentState:
            try:
                async with asyncio.timeout(2.0), connections:  # the client's own deadline includes its pool
                    await asyncio.sleep(1.2)
            except TimeoutError as error:
                raise DeadlineError("agent", "no answer") from error
            return AgentState("consuming", 0, 0, 5, protected=True)

        places = AgentPlaces()
        fleets = [LimitedWorkers(SimpleNamespace(state=state), LoopClock(), 5.0, places) for _ in range(8)]
        for _ in range(3):
            async with asyncio.timeout(3.0):
                reads = [
                    fleet.state(Task(f"{id(fleet)}/{number}", "RUNNING")) for fleet in fleets for number in range(100)
                ]
                await asyncio.gather(*reads)

    run(main())


async def test_a_worker_that_gives_up_waiting_gives_its_turn_to_the_next() -> None:
    asked: list[str] = []
    answer, down = asyncio.Event(), True

    async def state(task: Task) -> AgentState:
        asked.append(task.arn)
        if down:
            raise DeadlineError("agent", "no answer")
        await answer.wait()
        return AgentState("consuming", 0, 0, 5, protected=True)

    environment = FakeEnvironment(1)
    limited = LimitedWorkers(SimpleNamespace(state=state), environment, 5.0, AgentPlaces())
    tasks = [Task(f"task/{number:02}", "RUNNING") for number in range(20)]
    await asyncio.gather(*(limited.state(task) for task in tasks), return_exceptions=True)
    environment.advance(5.0)
    down = False
    asked.clear()
    reads = [asyncio.ensure_future(limited.state(task)) for task in tasks]
    for _ in range(20):
        await asyncio.sleep(0)
    assert len(asked) == 8
    for read in (*reads[:3], *reads[10:13]):  # some with a request, some that wait
        read.cancel()
    answer.set()
    await asyncio.gather(*reads, return_exceptions=True)
    assert len(asked) == 17
    assert sum(1 for read in reads if not read.cancelled()) == 14


LOST, REFUSED = DeadlineError("agent", "no answer"), SourceError("agent", "connection refused")


@pytest.mark.parametrize(
    ("answers", "expected", "took_s", "requests"),
    [
        pytest.param([(0.1, None)], None, 0.1, 1, id="an answer at once"),
        pytest.param([(2.0, LOST), (0.1, None)], None, 0.6, 2, id="the first answer is lost"),
        pytest.param([(0.1, REFUSED), (0.1, None)], None, 0.2, 2, id="the first request is refused"),
        pytest.param([(1.9, None), (2.0, LOST)], None, 1.9, 2, id="a slow answer, and the second one is lost"),
        pytest.param([(1.9, None), (1.9, None)], None, 1.9, 2, id="a slow agent"),
        pytest.param([(2.0, LOST), (2.0, LOST)], LOST, 2.5, 2, id="both are lost"),
        pytest.param([(2.0, LOST), (0.1, REFUSED)], LOST, 2.0, 2, id="lost and refused"),
        pytest.param([(0.1, REFUSED), (0.1, REFUSED)], REFUSED, 0.2, 2, id="both are refused"),
        pytest.param([(0.1, ValueError("x"))], ValueError, 0.1, 1, id="an error of the scaler itself"),
    ],
)
def test_a_second_request_replaces_a_lost_answer(
    answers: list[tuple[float, Exception | None]], expected: Any, took_s: float, requests: int
) -> None:
    state = AgentState("released", 0, 0, 5, protected=False)
    sent: list[str] = []

    async def drain(task: Task, lease_s: float) -> AgentState:
        delay_s, error = answers[len(sent)]
        sent.append(task.arn)
        await asyncio.sleep(delay_s)
        if error is not None:
            raise error
        return state

    async def main() -> None:
        loop = asyncio.get_running_loop()
        limited = LimitedWorkers(SimpleNamespace(drain=drain), LoopClock(), 5.0, AgentPlaces())
        found: Any
        try:
            found = await limited.drain(Task("one", "RUNNING"), 30.0)
        except Exception as error:  # noqa: BLE001 - compared below
            found = error
        if expected is ValueError:
            assert isinstance(found, ValueError)
        else:
            assert found is (state if expected is None else expected)
        assert (round(loop.time(), 3), len(sent)) == (took_s, requests)
        assert len(asyncio.all_tasks()) == 1, "a request goes on"

    run(main())
