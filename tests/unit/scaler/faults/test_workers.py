# SPDX-License-Identifier: Apache-2.0
"""Faults of workers, their agents, and the messages they hold."""

import asyncio
from dataclasses import replace

import pytest

from simulation.fault_injection import FaultRates
from simulation.worker import SimulatedWorker
from tests.support.fault_scenario import CONFIG, FLEET, PROFILE, FaultScenario, run_scenario
from worker_agent.state_machine import Drain, Resume

LATE = replace(CONFIG, profile=replace(PROFILE, early_ack=False), visibility_s=120.0)
"""Messages are deleted when their task ends, and come back after two minutes."""


MANY = replace(FLEET, maximum=120)


async def drained(scenario: FaultScenario) -> SimulatedWorker:
    """Return a worker that drains and is still busy."""
    found: list[SimulatedWorker] = []

    def look() -> bool:
        found[:] = [worker for worker in scenario.busy if worker.agent_state().phase == "draining"]
        return bool(found)

    await scenario.becomes(look, 120.0, "a busy worker was to be in drain")
    return found[0]


async def some_in_drain(scenario: FaultScenario) -> SimulatedWorker:
    """Give one of four workers a long task and leave no other demand, so that busy workers drain too."""
    await scenario.becomes(lambda: len(scenario.workers()) >= 1, 60.0, "a first worker was to run")
    for _ in range(4):
        scenario.send([30.0, 200.0])
    await scenario.becomes(lambda: len(scenario.busy) >= 4, 60.0, "four were to work")
    return await drained(scenario)


@pytest.mark.fault(
    "agent unreachable",
    "A worker that does not answer may be busy: it counts as capacity and is not drained. While ECS protects "
    "it, other workers can be released",
)
def test_agent_unreachable() -> None:
    async def steps(scenario: FaultScenario) -> None:
        await scenario.works(4, work_s=25.0)
        mute = scenario.busy[0]
        scenario.agents.unreachable.add(mute.arn)
        await scenario.becomes(lambda: not scenario.busy, 60.0, "the work was to end")
        await scenario.becomes(lambda: scenario.total <= 2, 150.0, "the others were to be let go")
        await scenario.stays(lambda: mute.alive and scenario.total >= 1, 60.0, "the worker was to stay")
        assert scenario.decision.workers.unknown >= 1
        scenario.agents.unreachable.clear()
        await scenario.rests()

    run_scenario(steps)


@pytest.mark.fault(
    "agent unreachable", "A worker that does not answer and that ECS does not protect blocks every reduction"
)
def test_unprotected_agent_unreachable() -> None:
    async def steps(scenario: FaultScenario) -> None:
        await scenario.works(3, work_s=25.0)
        await scenario.becomes(
            lambda: any(w.agent_state().phase == "released" for w in scenario.workers()), 120.0, "one released"
        )
        mute = next(worker for worker in scenario.workers() if worker.agent_state().phase == "released")
        scenario.agents.unreachable.add(mute.arn)
        count = len(scenario.reductions)
        # After its lease the worker consumes again, protected: a reduction must not rely on the drain.
        await scenario.ticks(2)
        assert len(scenario.reductions) == count
        assert "no answer from the agent" in scenario.why
        scenario.agents.unreachable.clear()
        await scenario.rests()

    run_scenario(steps, config=replace(CONFIG, scheduler_delay_s=0.0))


@pytest.mark.fault(
    "agent unreachable",
    "Many workers without an answer cancel no tick: one deadline limits all commands, resumes are sent before drains, "
    "and silent workers get eight requests a tick. The other workers are released, and the fleet grows",
)
def test_many_agents_without_an_answer() -> None:
    async def steps(scenario: FaultScenario) -> None:
        await scenario.works(110, work_s=60.0)
        scenario.agents.silent.update(worker.arn for worker in scenario.busy[:106])
        await scenario.becomes(lambda: not scenario.busy, 120.0, "the work was to end")
        before, began = scenario.reports.ticks, scenario.loop.time()
        await scenario.becomes(lambda: scenario.total == 107, MANY.scale_in_window_s + 180.0, "the others were to go")
        scenario.send([20.0] * 230)
        await scenario.becomes(lambda: scenario.total >= 112, 60.0, "the fleet was to grow")
        assert not scenario.reports.failures, "a tick was cancelled"
        seconds = scenario.loop.time() - began
        assert scenario.reports.ticks - before >= seconds / MANY.interval_s - 1
        scenario.clean()
        scenario.agents.silent.clear()
        await scenario.rests()

    run_scenario(steps, fleets=(MANY,))


@pytest.mark.fault(
    "agent unreachable",
    "Without a database, the slots of protected workers that do not answer count as taken: the fleet grows for tasks "
    "that wait",
)
@pytest.mark.parametrize("early", [True, False], ids=["acknowledged at start", "acknowledged at end"])
def test_busy_agents_unreachable_without_a_database(early: bool) -> None:
    async def steps(scenario: FaultScenario) -> None:
        await scenario.works(4, work_s=500.0)
        scenario.agents.unreachable.update(worker.arn for worker in scenario.busy)
        numbers = scenario.send([20.0] * 4)
        await scenario.becomes(lambda: scenario.total == 6, 60.0, "the fleet was to grow")
        await scenario.becomes(lambda: set(numbers) <= scenario.ledger.done, 120.0, "the tasks were to run")
        await scenario.stays(lambda: scenario.total >= 4, 120.0, "a busy worker may not go")
        scenario.clean()
        scenario.agents.unreachable.clear()
        await scenario.rests()

    run_scenario(steps, airflow=False, profile=replace(PROFILE, early_ack=early))


@pytest.mark.fault(
    "agent unreachable",
    "A dead worker takes no task, whether ECS still protects it or not: the fleet grows within a minute for a task "
    "that waits, and grows no further",
)
@pytest.mark.parametrize("airflow", [True, False], ids=["with a database", "plain Celery"])
@pytest.mark.parametrize("wait_s", [30.0, 630.0], ids=["protected", "protection has lapsed"])
def test_the_only_worker_is_dead(wait_s: float, airflow: bool) -> None:
    async def steps(scenario: FaultScenario) -> None:
        await scenario.becomes(lambda: any(worker.consuming for worker in scenario.workers()), 60.0, "one was to serve")
        await scenario.ticks(2)
        (dead,) = scenario.workers()
        dead.restart(1e9)
        await asyncio.sleep(wait_s)
        # Without protection, and with a database that shows no task on it, StopTask has ended it before.
        workers = 1 if dead not in scenario.workers() else 2
        assert workers == (1 if airflow and wait_s > 600 else 2)
        numbers = scenario.send([20.0])
        await scenario.becomes(lambda: scenario.total == workers, 60.0, "another worker was to start")
        await scenario.becomes(lambda: set(numbers) <= scenario.ledger.done, 60.0, "the task was to run")
        assert scenario.total == workers
        if dead in scenario.workers():
            scenario.fake_ecs.kill(dead)
        await scenario.rests()

    run_scenario(steps, airflow=airflow)


@pytest.mark.fault("agent unreachable", "A hundred agents that need 0.9 s for an answer delay no reduction")
def test_many_slow_agents() -> None:
    async def steps(scenario: FaultScenario) -> None:
        await scenario.works(100, work_s=25.0)
        scenario.faults.rates["agent"] = FaultRates(slow=1.0, latency_s=(0.5, 0.9))
        await scenario.becomes(lambda: not scenario.busy, 60.0, "the work was to end")
        await scenario.becomes(lambda: scenario.total == 1, MANY.scale_in_window_s + 180.0, "it was to shrink")
        scenario.send([20.0] * 40)
        await scenario.becomes(lambda: scenario.total >= 20, 60.0, "the fleet was to grow")
        assert not scenario.reports.failures, "a tick was cancelled"
        await scenario.rests()

    run_scenario(steps, fleets=(MANY,))


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
    "A reduction depends on ECS's own answer about protection, not on the agent's: a busy worker that reports "
    "itself as released or idle keeps its protection and its task",
)
def test_agent_reports_a_wrong_state(lie: dict[str, object]) -> None:
    async def steps(scenario: FaultScenario) -> None:
        numbers = await scenario.works(3, work_s=150.0)
        for worker in scenario.busy[:2]:
            scenario.agents.wrong_answers[worker.arn] = dict(lie)
        await scenario.stays(lambda: len(scenario.busy) == 3, 120.0, "a worker was taken from its task")
        scenario.clean()
        await scenario.becomes(lambda: set(numbers) <= scenario.ledger.done, 120.0, "all was to be done")
        scenario.agents.wrong_answers.clear()
        await scenario.rests()

    run_scenario(steps)


@pytest.mark.fault(
    "agent restarts in drain",
    "The agent starts without memory, as a new worker: protected first, then consuming, and the scaler drains it again",
)
def test_agent_restarts_in_drain() -> None:
    async def steps(scenario: FaultScenario) -> None:
        worker = await some_in_drain(scenario)
        running = set(worker.running)
        worker.restart(8.0)
        await scenario.becomes(lambda: worker.listens, 20.0, "the agent was to be back")
        await scenario.becomes(lambda: worker.agent_state().phase == "draining", 60.0, "it was to drain again")
        await scenario.becomes(lambda: running <= scenario.ledger.done, 400.0, "its tasks were to be done")
        await scenario.rests()

    run_scenario(steps)


@pytest.mark.fault(
    "drain and resume 100 times",
    "There is one gate and one poll: never a second poll in flight, never more messages than slots",
)
def test_drain_and_resume_100_times() -> None:
    async def steps(scenario: FaultScenario) -> None:
        await scenario.becomes(lambda: bool(scenario.workers()), 60.0, "a worker was to run")
        worker = scenario.workers()[0]
        polls: list[int] = []
        begin = scenario.queues["default"].receive

        def receive(*arguments: object) -> object:
            polls.append(len(scenario.queues["default"]._polls))
            return begin(*arguments)  # type: ignore[arg-type]

        scenario.queues["default"].receive = receive  # type: ignore[method-assign, assignment]
        most = 0
        for turn in range(100):
            worker.step(Drain(60.0))
            await asyncio.sleep(scenario.rng.uniform(0.0, 1.5))
            worker.step(Resume())
            if turn % 10 == 0:
                scenario.send([3.0, 3.0, 3.0])
            for _ in range(5):
                most = max(most, worker.holds)
                await asyncio.sleep(scenario.rng.uniform(0.0, 0.3))
        assert polls, "there was no poll"
        assert max(polls) == 0, "a poll began beside another"
        assert 0 < most <= PROFILE.slots, f"it held {most} of {PROFILE.slots}"
        await scenario.rests()

    run_scenario(steps, begin=False)


@pytest.mark.fault(
    "message redelivered with an expired token",
    "A message is deleted when its task starts, so it does not return while the task runs, however long",
)
def test_message_redelivered_with_an_expired_token() -> None:
    async def steps(scenario: FaultScenario) -> None:
        await scenario.works(2, work_s=400.0)
        await scenario.stays(
            lambda: scenario.queues["default"].redelivered == 0, 380.0, "a running task's message came back"
        )
        assert scenario.queues["default"].depth().in_flight == 0
        await scenario.rests()

    run_scenario(steps, visibility_s=60.0)


@pytest.mark.fault(
    "message given back 20 times",
    "It stays in the queue and runs on the worker that keeps it; the number of receives does not end it",
)
def test_message_returned_20_times() -> None:
    async def steps(scenario: FaultScenario) -> None:
        await scenario.becomes(lambda: bool(scenario.workers()), 60.0, "a worker was to run")
        (number,) = scenario.send([20.0])
        given_back = 0
        while given_back < 20:
            holders = [worker for worker in scenario.workers() if number in worker.reserved]
            for worker in holders:
                scenario.fake_ecs.spot(worker)
                given_back += 1
            await asyncio.sleep(0.02)
            assert scenario.loop.time() < 1500.0, f"given back {given_back} times only"
        assert number not in scenario.ledger.done
        await scenario.rests()
        assert number in scenario.ledger.done

    run_scenario(steps)


@pytest.mark.fault(
    "execution API gone",
    "Tasks that fail and are queued again count as demand again. In the meantime workers are released only by "
    "the ordinary drain",
)
@pytest.mark.parametrize("gone_s", [60.0, 300.0])
def test_execution_api_gone(gone_s: float) -> None:
    async def steps(scenario: FaultScenario) -> None:
        await scenario.works(4, work_s=600.0)
        failed = [(worker, number) for worker in scenario.busy for number in list(worker.running)]
        for worker, number in failed:
            worker.fail(number)
            scenario.ledger.sent.discard(number)
        await asyncio.sleep(gone_s)
        scenario.clean()
        numbers = scenario.send([50.0] * len(failed))
        await scenario.becomes(lambda: len(scenario.busy) >= 4, 60.0, "tried again they were to be demand again")
        await scenario.rests()
        assert set(numbers) <= scenario.ledger.done

    run_scenario(steps)


@pytest.mark.fault(
    "worker SIGKILLed",
    "ECS replaces it. With late acknowledgement its tasks return from the queue, else Airflow retries them. No "
    "other worker is affected",
)
def test_worker_sigkilled() -> None:
    async def steps(scenario: FaultScenario) -> None:
        numbers = await scenario.works(3, work_s=90.0)
        victim, *others = scenario.busy
        mine = set(victim.running)
        scenario.fake_ecs.kill(victim)
        await scenario.stays(lambda: all(worker.alive for worker in others), 60.0, "the others were to go on")
        await scenario.becomes(lambda: set(numbers) <= scenario.ledger.done, 400.0, "its tasks were to run elsewhere")
        assert mine <= scenario.ledger.done
        await scenario.rests()

    run_scenario(steps, config=LATE)


@pytest.mark.fault(
    "worker dies between receive and start",
    "The message returns after its visibility timeout and runs on another worker",
)
@pytest.mark.parametrize("early", [True, False], ids=["acknowledged at start", "acknowledged at end"])
def test_worker_dies_between_receive_and_start(early: bool) -> None:
    async def steps(scenario: FaultScenario) -> None:
        await scenario.becomes(lambda: bool(scenario.workers()), 60.0, "a worker was to run")
        (number,) = scenario.send([10.0])
        while not (holders := [worker for worker in scenario.workers() if number in worker.reserved]):
            await asyncio.sleep(0.005)
        scenario.fake_ecs.kill(holders[0])
        await scenario.stays(
            lambda: number not in scenario.ledger.done, 100.0, "it is in flight until its time is over"
        )
        await scenario.becomes(lambda: number in scenario.ledger.done, 120.0, "it was to run after that")
        assert scenario.queues["default"].redelivered == 1
        await scenario.rests()

    run_scenario(steps, config=replace(LATE, profile=replace(PROFILE, early_ack=early)))
