# SPDX-License-Identifier: Apache-2.0
"""Faults of the sources of demand: the metadata database and the broker."""

import math
from collections.abc import Mapping
from typing import Any

import pytest

from scaler.adapters.deadline import natural
from scaler.adapters.sqs import IN_FLIGHT, VISIBLE, SqsQueueReader
from scaler.core.model import BrokerCount, DatabaseCount
from simulation.fault_injection import FaultRates
from tests.support.fault_scenario import FLEET, FaultScenario, run_scenario

BOTH = pytest.mark.parametrize("source", ["database", "broker"])


async def idle(scenario: FaultScenario, workers: int) -> None:
    """Let so many workers have just finished their work."""
    await scenario.works(workers, work_s=25.0)
    await scenario.becomes(lambda: not scenario.busy, 60.0, "the work was to end")


async def held(scenario: FaultScenario, *sources: str, workers: int = 4) -> None:
    """Let idle workers stand while sources are out, and go when they are back."""
    await scenario.stays(lambda: scenario.total >= workers, 90.0, f"nothing may shrink while {sources} is out")
    assert not scenario.reductions
    await scenario.rests(300.0)


@BOTH
@pytest.mark.fault(
    "source down",
    "The demand of the source is unknown, never zero. The other sources may raise the fleet; it does not "
    "shrink until every source answered for a whole window",
)
def test_source_down(source: str) -> None:
    async def steps(scenario: FaultScenario) -> None:
        await scenario.works(4, work_s=25.0)
        scenario.faults.rates[source] = FaultRates(fails=1.0)
        await scenario.becomes(lambda: not scenario.busy, 60.0, "the work was to end")
        await held(scenario, source)

    run_scenario(steps)


@pytest.mark.fault("source down", "With every source down the demand is unknown, and the fleet keeps its size")
def test_all_sources_down() -> None:
    async def steps(scenario: FaultScenario) -> None:
        await scenario.works(4, work_s=25.0)
        for source in ("database", "broker"):
            scenario.faults.rates[source] = FaultRates(fails=1.0)
        await scenario.ticks(10)
        assert scenario.decision.demand is None
        await held(scenario, "database", "broker")

    run_scenario(steps)


@BOTH
@pytest.mark.fault("source slow", "An answer within 2 s is used, and the other sources do not wait for it")
def test_source_slow(source: str) -> None:
    async def steps(scenario: FaultScenario) -> None:
        await scenario.ticks(3)
        scenario.faults.rates[source] = FaultRates(slow=1.0, latency_s=(1.5, 1.9))
        await scenario.ticks(1)
        scenario.send([60.0] * 8)
        await scenario.becomes(lambda: scenario.total >= 4, 12.0, "a slow source was to be waited for")
        assert not scenario.reports.last["default"].errors
        await scenario.rests()

    run_scenario(steps)


@BOTH
@pytest.mark.fault("source slow", "A slower answer is unknown for that tick, and the tick still ends in time")
def test_source_too_slow(source: str) -> None:
    async def steps(scenario: FaultScenario) -> None:
        await idle(scenario, 4)
        scenario.faults.rates[source] = FaultRates(slow=1.0, latency_s=(2.5, 9.0))
        before = scenario.reports.ticks
        await scenario.stays(lambda: not scenario.reductions, 60.0, "what came too late is no knowledge")
        assert scenario.reports.ticks - before >= 11, "a tick each interval"
        assert not scenario.reports.failures
        await scenario.rests(300.0)

    run_scenario(steps)


@pytest.mark.fault(
    "source black-holed",
    "Every call has its own deadline, so the tick ends in time. The broker alone may raise the fleet, not lower it",
)
def test_database_black_holed() -> None:
    async def steps(scenario: FaultScenario) -> None:
        await scenario.ticks(3)
        scenario.faults.rates["database"] = FaultRates(silent=1.0)
        await scenario.ticks(5)
        before = scenario.reports.ticks
        scenario.send([40.0] * 8)
        await scenario.becomes(lambda: scenario.total >= 4, 15.0, "the broker was to raise the fleet alone")
        await scenario.becomes(
            lambda: not scenario.busy and not scenario.queues["default"].visible, 200.0, "the work ends"
        )
        await scenario.stays(lambda: scenario.total >= 4, 60.0, "the broker alone lowers nothing")
        assert scenario.reports.ticks > before + 12
        assert not scenario.reports.failures
        await scenario.rests(300.0)

    run_scenario(steps)


@pytest.mark.fault(
    "source empty",
    "If the database suddenly shows no task, the broker keeps the demand up for a minute. After that idle "
    "workers go; busy workers only drain",
)
def test_source_empty() -> None:
    async def steps(scenario: FaultScenario) -> None:
        await scenario.works(4, work_s=400.0)
        scenario.database.answer = lambda _: {}
        await scenario.ticks(60)
        assert len(scenario.busy) == 4, "a worker was taken from its work"
        assert scenario.total >= 4, "the count fell below the protected workers"
        scenario.database.answer = lambda true: true
        await scenario.rests()

    run_scenario(steps)


@pytest.mark.parametrize("airflow", [True, False], ids=["with a database", "plain Celery"])
def test_tasks_that_are_not_due_are_no_demand_until_they_are(airflow: bool) -> None:
    """A worker holds 60 messages for an hour: an ETA is 30 workers too early, and demand when it is due."""

    async def steps(scenario: FaultScenario) -> None:
        await scenario.becomes(lambda: bool(scenario.workers()), 60.0, "a worker was to run")
        holder = scenario.workers()[0]
        scenario.agents.wrong_answers[holder.arn] = {"reserved": 60, "scheduled": 60}
        scenario.broker.answer = lambda true: BrokerCount(true.visible, true.in_flight + 60, delayed=5)
        await scenario.stays(lambda: scenario.total == 1, 300.0, "what is not due needs no worker")
        assert scenario.decision.demand is not None
        assert (scenario.decision.demand.not_due, scenario.decision.demand.slots) == (65, 0)
        numbers = scenario.send([20.0] * 12)
        await scenario.becomes(lambda: scenario.total == 6, 60.0, "due tasks beside them were to raise the fleet")
        await scenario.becomes(lambda: set(numbers) <= scenario.ledger.done, 120.0, "they were to run")
        await scenario.becomes(lambda: scenario.total == 1, FLEET.scale_in_window_s + 180.0, "it was to shrink")
        scenario.agents.wrong_answers[holder.arn] = {"reserved": 60, "scheduled": 0}
        await scenario.becomes(lambda: scenario.total == 6, 60.0, "due messages are demand")
        scenario.agents.wrong_answers.clear()
        scenario.broker.answer = lambda true: true
        await scenario.rests()

    run_scenario(steps, airflow=airflow)


def test_a_broker_that_counts_only_a_part_raises_the_fleet_and_does_not_lower_it() -> None:
    async def steps(scenario: FaultScenario) -> None:
        await scenario.works(3, work_s=25.0)
        scenario.broker.answer = lambda true: BrokerCount(true.visible, 0, incomplete="too many messages in flight")
        numbers = scenario.send([20.0] * 20)
        await scenario.becomes(lambda: scenario.total == 6, 60.0, "the fleet was to grow")
        await scenario.becomes(lambda: set(numbers) <= scenario.ledger.done, 200.0, "the tasks were to run")
        await scenario.stays(lambda: scenario.total == 6 and not scenario.reductions, 90.0, "nothing may shrink")
        scenario.broker.answer = lambda true: true
        await scenario.rests(300.0)

    run_scenario(steps, airflow=False)


class SqsClient:
    """Answers like SQS, with the attributes given."""

    def __init__(self, **attributes: str) -> None:
        self.attributes = attributes

    async def get_queue_attributes(self, **_: Any) -> dict[str, Any]:
        return {
            "Attributes": {VISIBLE: "0", IN_FLIGHT: "0", "ApproximateNumberOfMessagesDelayed": "0", **self.attributes}
        }


ABSURD = {
    "NaN": "NaN",
    "negative": "-1",
    "infinite": "Infinity",
    "half": "1.5",
    "absurd": "99999999999",
    "words": "many",
}


def absurd_broker(value: str) -> None:
    async def steps(scenario: FaultScenario) -> None:
        client = SqsClient()
        scenario.broker = SqsQueueReader(client)  # type: ignore[assignment]
        scenario.start_scaler()
        await scenario.works(4, work_s=25.0)
        client.attributes = {VISIBLE: value}
        await scenario.becomes(lambda: not scenario.busy, 60.0, "the work was to end")
        await scenario.stays(lambda: scenario.total >= 4, 90.0, f"{value} is neither a count nor zero")
        assert any("which is not a count" in str(error) for error in scenario.reports.last["default"].errors)
        client.attributes = {}
        await scenario.rests(300.0)

    run_scenario(steps, begin=False)


def absurd_database(value: object) -> None:
    def answer(_: Mapping[str, DatabaseCount]) -> Mapping[str, DatabaseCount]:
        return {"default": DatabaseCount(natural("database", "queued", value), 0)}

    async def steps(scenario: FaultScenario) -> None:
        await scenario.works(4, work_s=25.0)
        scenario.database.answer = answer
        await scenario.becomes(lambda: not scenario.busy, 60.0, "the work was to end")
        await scenario.stays(lambda: scenario.total >= 4, 90.0, f"{value!r} is neither a count nor zero")
        scenario.database.answer = lambda true: true
        await scenario.rests(300.0)

    run_scenario(steps)


@pytest.mark.fault(
    "NaN", "Rejected by the adapter: it is not a count, so the reading is unknown and the fleet does not shrink"
)
def test_nan() -> None:
    absurd_broker("NaN")
    absurd_database(math.nan)


@pytest.mark.fault("negative", "Rejected by the adapter, as are infinite, absurdly large and fractional numbers")
@pytest.mark.parametrize("value", ["negative", "infinite", "half", "absurd", "words"])
def test_negative(value: str) -> None:
    absurd_broker(ABSURD[value])


@pytest.mark.fault("negative", "Rejected by the adapter, as are infinite, absurdly large and fractional numbers")
def test_negative_in_the_database() -> None:
    absurd_database(-3)
    absurd_database(math.inf)


@BOTH
@pytest.mark.fault(
    "stale", "The last value serves for three intervals and may only raise the fleet: no worker is drained in that time"
)
def test_stale(source: str) -> None:
    async def steps(scenario: FaultScenario) -> None:
        await idle(scenario, 4)
        scenario.faults.rates[source] = FaultRates(fails=1.0)
        await scenario.ticks(2)
        reading = getattr(scenario.reports.last["default"].tick.observation, source)
        assert type(reading).__name__ == "Stale", reading
        before = set(scenario.decision.drains)
        await scenario.ticks(1)
        assert set(scenario.decision.drains) <= before, "a worker was drained because of an old count"
        await scenario.stays(lambda: not scenario.reductions, 30.0, "an old count lowers nothing")
        await scenario.rests(300.0)

    run_scenario(steps)


@pytest.mark.fault(
    "out of order",
    "Old counts may raise the fleet for a minute. No worker that the database's tasks need is released",
)
def test_out_of_order() -> None:
    async def steps(scenario: FaultScenario) -> None:
        past: list[BrokerCount] = []

        def shuffled(true: BrokerCount) -> BrokerCount:
            past.append(true)
            return scenario.rng.choice(past[-12:])

        scenario.broker.answer = shuffled
        for _ in range(12):
            scenario.send([scenario.rng.uniform(10.0, 60.0) for _ in range(scenario.rng.randint(1, 12))])
            await scenario.ticks(scenario.rng.randint(4, 12))
            count = scenario.queues["default"].rows.count()
            last = scenario.reductions[-1] if scenario.reductions else None
            if last is not None and scenario.loop.time() - last[0] < 5.0:
                assert scenario.total * 2 >= min(12, count.running), f"{last} let go of workers that are needed"
        scenario.broker.answer = lambda true: true
        await scenario.rests()

    run_scenario(steps)


@pytest.mark.fault(
    "one of two sources down", "The other source may raise the fleet at once and lowers nothing: a reduction needs both"
)
@BOTH
def test_one_of_two_sources_down(source: str) -> None:
    async def steps(scenario: FaultScenario) -> None:
        await scenario.ticks(3)
        scenario.faults.rates[source] = FaultRates(fails=1.0)
        await scenario.ticks(5)
        scenario.send([30.0] * 8)
        await scenario.becomes(lambda: scenario.total >= 4, 15.0, "the other source was to raise the fleet")
        await scenario.becomes(lambda: not scenario.ledger.lost, 300.0, "the work was to end")
        await held(scenario, source)

    run_scenario(steps)


@pytest.mark.fault(
    "sources disagree",
    "The broker may raise the demand above the database for a minute, which covers SQS's delay. After that the "
    "broker's count is no longer used, and the explanation shows it",
)
def test_sources_disagree() -> None:
    async def steps(scenario: FaultScenario) -> None:
        await scenario.ticks(6)
        scenario.broker.answer = lambda true: BrokerCount(true.visible, true.in_flight + 8)
        await scenario.becomes(lambda: scenario.total >= 4, 15.0, "the broker was to be believed at first")
        await scenario.becomes(lambda: "no longer used" in scenario.why, 90.0, "the broker was to be doubted")
        await scenario.becomes(lambda: scenario.total == 1, 120.0, "the fleet was to follow the database again")
        scenario.broker.answer = lambda true: true
        await scenario.rests()

    run_scenario(steps)


@pytest.mark.fault(
    "broker restarts",
    "Workers keep their tasks and their protection. While the broker does not answer, the fleet does not shrink",
)
def test_broker_restarts() -> None:
    async def steps(scenario: FaultScenario) -> None:
        await scenario.works(3, work_s=120.0)
        scenario.send([20.0] * 6)
        scenario.queues["default"].restart()
        scenario.faults.rates["broker"] = FaultRates(fails=1.0)
        await scenario.stays(lambda: not scenario.reductions and len(scenario.busy) >= 3, 40.0, "no worker may go")
        scenario.faults.clear("broker")
        await scenario.rests()

    run_scenario(steps)


@pytest.mark.fault(
    "database fails over",
    "Half a minute without answers, then errors, then another server: the broker may raise the fleet in that "
    "time, and it shrinks only after a whole window of known readings",
)
def test_database_fails_over() -> None:
    async def steps(scenario: FaultScenario) -> None:
        await scenario.works(2, work_s=30.0)
        scenario.faults.rates["database"] = FaultRates(silent=1.0)
        await scenario.ticks(4)
        scenario.send([30.0] * 8)
        await scenario.becomes(lambda: scenario.total >= 4, 30.0, "the broker was to raise the fleet")
        scenario.faults.rates["database"] = FaultRates(fails=1.0, reason="the database system is starting up")
        await scenario.ticks(4)
        assert not scenario.reductions
        back_at = scenario.loop.time()
        scenario.faults.clear("database")
        await scenario.rests(400.0)
        assert scenario.reductions[0][0] >= back_at + 20.0, "it shrank before a whole window was seen"

    run_scenario(steps)
