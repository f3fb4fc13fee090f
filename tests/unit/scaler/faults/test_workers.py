# SPDX-License-Identifier: Apache-2.0
"""Faults of workers, their agents, and the messages they hold."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from simulation.worker import SimulatedWorker
from tests.support.fault_scenario import CONFIG, PROFILE, FaultScenario, stage
from worker_agent.state_machine import Drain, Resume

LATE = replace(CONFIG, profile=replace(PROFILE, early_ack=False), visibility_s=120.0)
"""Messages are deleted when their task ends, and come back after two minutes."""


async def drained(scene: FaultScenario) -> SimulatedWorker:
    """Return a worker that was told to drain and still works."""
    found: list[SimulatedWorker] = []

    def look() -> bool:
        found[:] = [worker for worker in scene.busy if worker.says().phase == "draining"]
        return bool(found)

    await scene.becomes(look, 120.0, "a busy worker was to be in drain")
    return found[0]


async def some_in_drain(scene: FaultScenario) -> SimulatedWorker:
    """Let one of four workers have one long task and nothing else be wanted, so that busy ones are drained too."""
    await scene.becomes(lambda: len(scene.workers()) >= 1, 60.0, "a first worker was to run")
    for _ in range(4):
        scene.send([30.0, 200.0])
    await scene.becomes(lambda: len(scene.busy) >= 4, 60.0, "four were to work")
    return await drained(scene)


@pytest.mark.fault(
    "agent unreachable",
    "A worker that cannot be asked may be busy: it counts as capacity, is not told to go, and while ECS protects it "
    "the others can still be let go",
)
def test_agent_unreachable() -> None:
    async def play(scene: FaultScenario) -> None:
        await scene.works(4, work_s=25.0)
        mute = scene.busy[0]
        scene.agents.unreachable.add(mute.arn)
        await scene.becomes(lambda: not scene.busy, 60.0, "the work was to end")
        await scene.becomes(lambda: scene.total <= 2, 150.0, "the others were to be let go")
        await scene.stays(lambda: mute.alive and scene.total >= 1, 60.0, "who cannot be asked was to stay")
        assert scene.decision.workers.unknown >= 1
        scene.agents.unreachable.clear()
        await scene.rests()

    stage(play)


@pytest.mark.fault("agent unreachable", "One that ECS does not protect and that cannot be asked blocks every reduction")
def test_unprotected_agent_unreachable() -> None:
    async def play(scene: FaultScenario) -> None:
        await scene.works(3, work_s=25.0)
        await scene.becomes(lambda: any(w.says().phase == "released" for w in scene.workers()), 120.0, "one released")
        mute = next(worker for worker in scene.workers() if worker.says().phase == "released")
        scene.agents.unreachable.add(mute.arn)
        count = len(scene.reductions)
        # Unheard for longer than its lease it goes back to work, protected, and whoever counted on it would be wrong.
        await scene.ticks(2)
        assert len(scene.reductions) == count
        assert "no answer from the agent" in scene.why
        scene.agents.unreachable.clear()
        await scene.rests()

    stage(play, config=replace(CONFIG, scheduler_delay_s=0.0))


@pytest.mark.parametrize(
    "lie",
    [
        {"phase": "released", "running": 0, "reserved": 0, "protected": False},
        {"running": 0, "reserved": 0},
        {"phase": "stopping"},
        {"concurrency": 1},
    ],
    ids=["released", "idle", "stopping", "one slot"],
)
@pytest.mark.fault(
    "agent lies",
    "What lets ECS stop a worker is ECS's own word on protection, not the agent's: a busy worker that calls itself "
    "released or idle keeps its protection and its task",
)
def test_agent_lies(lie: dict[str, object]) -> None:
    async def play(scene: FaultScenario) -> None:
        numbers = await scene.works(3, work_s=150.0)
        for worker in scene.busy[:2]:
            scene.agents.lies[worker.arn] = dict(lie)
        await scene.stays(lambda: len(scene.busy) == 3, 120.0, "a worker was taken from its task")
        scene.clean()
        await scene.becomes(lambda: set(numbers) <= scene.ledger.done, 120.0, "all was to be done")
        scene.agents.lies.clear()
        await scene.rests()

    stage(play)


@pytest.mark.fault(
    "agent restarts in drain",
    "It remembers nothing and begins as a new worker: protected first, then consuming, and the scaler drains it again",
)
def test_agent_restarts_in_drain() -> None:
    async def play(scene: FaultScenario) -> None:
        worker = await some_in_drain(scene)
        running = set(worker.running)
        worker.restart(8.0)
        await scene.becomes(lambda: worker.listens, 20.0, "the agent was to be back")
        await scene.becomes(lambda: worker.says().phase == "draining", 60.0, "it was to be told again")
        await scene.becomes(lambda: running <= scene.ledger.done, 400.0, "its tasks were to be done")
        await scene.rests()

    stage(play)


@pytest.mark.fault(
    "drain and resume 100 times",
    "The gate is one, so is the poll: never a second poll in flight, never more messages than slots",
)
def test_drain_and_resume_100_times() -> None:
    async def play(scene: FaultScenario) -> None:
        await scene.becomes(lambda: bool(scene.workers()), 60.0, "a worker was to run")
        worker = scene.workers()[0]
        polls: list[int] = []
        begin = scene.queues["default"].receive

        def receive(*arguments: object) -> object:
            polls.append(len(scene.queues["default"]._polls))
            return begin(*arguments)  # type: ignore[arg-type]

        scene.queues["default"].receive = receive  # type: ignore[method-assign, assignment]
        most = 0
        for turn in range(100):
            worker.step(Drain(60.0))
            await asyncio.sleep(scene.rng.uniform(0.0, 1.5))
            worker.step(Resume())
            if turn % 10 == 0:
                scene.send([3.0, 3.0, 3.0])
            for _ in range(5):
                most = max(most, worker.holds)
                await asyncio.sleep(scene.rng.uniform(0.0, 0.3))
        assert polls, "nothing was ever asked for"
        assert max(polls) == 0, "a poll began beside another"
        assert 0 < most <= PROFILE.slots, f"it held {most} of {PROFILE.slots}"
        await scene.rests()

    stage(play, begin=False)


@pytest.mark.fault(
    "message redelivered with an expired token",
    "A message is deleted when its task begins, so none comes back while the task runs, however long",
)
def test_message_redelivered_with_an_expired_token() -> None:
    async def play(scene: FaultScenario) -> None:
        await scene.works(2, work_s=400.0)
        await scene.stays(lambda: scene.queues["default"].redelivered == 0, 380.0, "a running task's message came back")
        assert scene.queues["default"].depth().in_flight == 0
        await scene.rests()

    stage(play, visibility_s=60.0)


@pytest.mark.fault(
    "message given back 20 times", "It stays in the queue and runs on the worker that keeps it; no count ends it"
)
def test_message_given_back_20_times() -> None:
    async def play(scene: FaultScenario) -> None:
        await scene.becomes(lambda: bool(scene.workers()), 60.0, "a worker was to run")
        (number,) = scene.send([20.0])
        given_back = 0
        while given_back < 20:
            holders = [worker for worker in scene.workers() if number in worker.reserved]
            for worker in holders:
                scene.fake_ecs.spot(worker)
                given_back += 1
            await asyncio.sleep(0.02)
            assert scene.loop.time() < 1500.0, f"given back {given_back} times only"
        assert number not in scene.ledger.done
        await scene.rests()
        assert number in scene.ledger.done

    stage(play)


@pytest.mark.fault(
    "execution API gone",
    "Tasks that fail and are queued again are demand again; meanwhile workers are let go by the ordinary drain at most",
)
@pytest.mark.parametrize("gone_s", [60.0, 300.0])
def test_execution_api_gone(gone_s: float) -> None:
    async def play(scene: FaultScenario) -> None:
        await scene.works(4, work_s=600.0)
        failed = [(worker, number) for worker in scene.busy for number in list(worker.running)]
        for worker, number in failed:
            worker.fail(number)
            scene.ledger.sent.discard(number)
        await asyncio.sleep(gone_s)
        scene.clean()
        numbers = scene.send([50.0] * len(failed))
        await scene.becomes(lambda: len(scene.busy) >= 4, 60.0, "tried again they were to be demand again")
        await scene.rests()
        assert set(numbers) <= scene.ledger.done

    stage(play)


@pytest.mark.fault(
    "worker SIGKILLed",
    "ECS replaces it; what it ran comes back from the queue where acknowledged late, else Airflow tries it again; "
    "nobody else is touched",
)
def test_worker_sigkilled() -> None:
    async def play(scene: FaultScenario) -> None:
        numbers = await scene.works(3, work_s=90.0)
        victim, *others = scene.busy
        mine = set(victim.running)
        scene.fake_ecs.kill(victim)
        await scene.stays(lambda: all(worker.alive for worker in others), 60.0, "the others were to go on")
        await scene.becomes(lambda: set(numbers) <= scene.ledger.done, 400.0, "its tasks were to run elsewhere")
        assert mine <= scene.ledger.done
        await scene.rests()

    stage(play, config=LATE)


@pytest.mark.fault(
    "worker dies between receive and start", "The message comes back after its visibility timeout and runs elsewhere"
)
@pytest.mark.parametrize("early", [True, False], ids=["acknowledged at start", "acknowledged at end"])
def test_worker_dies_between_receive_and_start(early: bool) -> None:
    async def play(scene: FaultScenario) -> None:
        await scene.becomes(lambda: bool(scene.workers()), 60.0, "a worker was to run")
        (number,) = scene.send([10.0])
        while not (holders := [worker for worker in scene.workers() if number in worker.reserved]):
            await asyncio.sleep(0.005)
        scene.fake_ecs.kill(holders[0])
        await scene.stays(lambda: number not in scene.ledger.done, 100.0, "it is in flight until its time is over")
        await scene.becomes(lambda: number in scene.ledger.done, 120.0, "it was to run after that")
        assert scene.queues["default"].redelivered == 1
        await scene.rests()

    stage(play, config=replace(LATE, profile=replace(PROFILE, early_ack=early)))
