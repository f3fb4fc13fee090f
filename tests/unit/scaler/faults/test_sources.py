# SPDX-License-Identifier: Apache-2.0
"""Faults of what tells the demand: the metadata database and the broker."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pytest

from scaler.adapters.deadline import natural
from scaler.adapters.sqs import IN_FLIGHT, VISIBLE, SqsBroker
from scaler.core.model import BrokerCount, DatabaseCount
from simulation.fault_injection import FaultRates
from tests.support.fault_scenario import FaultScenario, stage

BOTH = pytest.mark.parametrize("source", ["database", "broker"])


async def idle(scene: FaultScenario, workers: int) -> None:
    """Let so many workers have just finished their work."""
    await scene.works(workers, work_s=25.0)
    await scene.becomes(lambda: not scene.busy, 60.0, "the work was to end")


async def held(scene: FaultScenario, *sources: str, workers: int = 4) -> None:
    """Let idle workers stand while sources are out, and go when they are back."""
    await scene.stays(lambda: scene.total >= workers, 90.0, f"nothing may shrink while {sources} is out")
    assert not scene.reductions
    await scene.rests(300.0)


@BOTH
@pytest.mark.fault(
    "source down",
    "What it would have said is unknown, never zero: the fleet may grow by what others say and does not shrink until "
    "every source was heard for a whole window",
)
def test_source_down(source: str) -> None:
    async def play(scene: FaultScenario) -> None:
        await scene.works(4, work_s=25.0)
        scene.faults.rates[source] = FaultRates(fails=1.0)
        await scene.becomes(lambda: not scene.busy, 60.0, "the work was to end")
        await held(scene, source)

    stage(play)


@pytest.mark.fault("source down", "With every source down the fleet holds, and says that nobody knows the demand")
def test_all_sources_down() -> None:
    async def play(scene: FaultScenario) -> None:
        await scene.works(4, work_s=25.0)
        for source in ("database", "broker"):
            scene.faults.rates[source] = FaultRates(fails=1.0)
        await scene.ticks(10)
        assert scene.decision.demand is None
        await held(scene, "database", "broker")

    stage(play)


@BOTH
@pytest.mark.fault("source slow", "An answer within its 2 s is used, and the other sources do not wait for it")
def test_source_slow(source: str) -> None:
    async def play(scene: FaultScenario) -> None:
        await scene.ticks(3)
        scene.faults.rates[source] = FaultRates(slow=1.0, latency_s=(1.5, 1.9))
        await scene.ticks(1)
        scene.send([60.0] * 8)
        await scene.becomes(lambda: scene.total >= 4, 12.0, "a slow source was to be waited for")
        assert not scene.reports.last["default"].errors
        await scene.rests()

    stage(play)


@BOTH
@pytest.mark.fault("source slow", "One that needs longer is unknown for that tick, and the tick still ends in time")
def test_source_too_slow(source: str) -> None:
    async def play(scene: FaultScenario) -> None:
        await idle(scene, 4)
        scene.faults.rates[source] = FaultRates(slow=1.0, latency_s=(2.5, 9.0))
        before = scene.reports.ticks
        await scene.stays(lambda: not scene.reductions, 60.0, "what came too late is no knowledge")
        assert scene.reports.ticks - before >= 11, "a tick each interval"
        assert not scene.reports.failures
        await scene.rests(300.0)

    stage(play)


@pytest.mark.fault(
    "source black-holed",
    "Every call has its own deadline, so the tick ends in time; the broker alone may raise the fleet, not lower it",
)
def test_database_black_holed() -> None:
    async def play(scene: FaultScenario) -> None:
        await scene.ticks(3)
        scene.faults.rates["database"] = FaultRates(silent=1.0)
        await scene.ticks(5)
        before = scene.reports.ticks
        scene.send([40.0] * 8)
        await scene.becomes(lambda: scene.total >= 4, 15.0, "the broker was to raise the fleet alone")
        await scene.becomes(lambda: not scene.busy and not scene.queues["default"].visible, 200.0, "the work ends")
        await scene.stays(lambda: scene.total >= 4, 60.0, "the broker alone lowers nothing")
        assert scene.reports.ticks > before + 12
        assert not scene.reports.failures
        await scene.rests(300.0)

    stage(play)


@pytest.mark.fault(
    "source empty",
    "A database that suddenly shows no task is contradicted by the broker for a minute; after that idle workers go, "
    "and those that work are only asked to finish",
)
def test_source_empty() -> None:
    async def play(scene: FaultScenario) -> None:
        await scene.works(4, work_s=400.0)
        scene.database.answer = lambda _: {}
        await scene.ticks(60)
        assert len(scene.busy) == 4, "a worker was taken from its work"
        assert scene.total >= 4, "the count fell below who is protected"
        scene.database.answer = lambda true: true
        await scene.rests()

    stage(play)


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


def absurd_broker(said: str) -> None:
    async def play(scene: FaultScenario) -> None:
        client = SqsClient()
        scene.broker = SqsBroker(client)  # type: ignore[assignment]
        scene.start_scaler()
        await scene.works(4, work_s=25.0)
        client.attributes = {VISIBLE: said}
        await scene.becomes(lambda: not scene.busy, 60.0, "the work was to end")
        await scene.stays(lambda: scene.total >= 4, 90.0, f"{said} is no count, and no zero")
        assert any("which is not a count" in str(error) for error in scene.reports.last["default"].errors)
        client.attributes = {}
        await scene.rests(300.0)

    stage(play, begin=False)


def absurd_database(said: object) -> None:
    def answer(_: Mapping[str, DatabaseCount]) -> Mapping[str, DatabaseCount]:
        return {"default": DatabaseCount(natural("database", "queued", said), 0)}

    async def play(scene: FaultScenario) -> None:
        await scene.works(4, work_s=25.0)
        scene.database.answer = answer
        await scene.becomes(lambda: not scene.busy, 60.0, "the work was to end")
        await scene.stays(lambda: scene.total >= 4, 90.0, f"{said!r} is no count, and no zero")
        scene.database.answer = lambda true: true
        await scene.rests(300.0)

    stage(play)


@pytest.mark.fault("NaN", "Rejected at the edge: it is no count, so the reading is unknown and nothing shrinks")
def test_nan() -> None:
    absurd_broker("NaN")
    absurd_database(math.nan)


@pytest.mark.fault("negative", "Rejected at the edge, as are infinite, absurdly large and fractional numbers")
@pytest.mark.parametrize("said", ["negative", "infinite", "half", "absurd", "words"])
def test_negative(said: str) -> None:
    absurd_broker(ABSURD[said])


@pytest.mark.fault("negative", "Rejected at the edge, as are infinite, absurdly large and fractional numbers")
def test_negative_in_the_database() -> None:
    absurd_database(-3)
    absurd_database(math.inf)


@BOTH
@pytest.mark.fault(
    "stale", "The last value is remembered for three intervals and may only raise: nobody is told to go meanwhile"
)
def test_stale(source: str) -> None:
    async def play(scene: FaultScenario) -> None:
        await idle(scene, 4)
        scene.faults.rates[source] = FaultRates(fails=1.0)
        await scene.ticks(2)
        reading = getattr(scene.reports.last["default"].tick.observation, source)
        assert type(reading).__name__ == "Stale", reading
        before = set(scene.decision.drains)
        await scene.ticks(1)
        assert set(scene.decision.drains) <= before, "somebody was told to go on an old count"
        await scene.stays(lambda: not scene.reductions, 30.0, "an old count lowers nothing")
        await scene.rests(300.0)

    stage(play)


@pytest.mark.fault(
    "out of order",
    "Counts of the last minute in any order may raise the fleet for a minute; no worker is let go that the "
    "database's tasks need",
)
def test_out_of_order() -> None:
    async def play(scene: FaultScenario) -> None:
        past: list[BrokerCount] = []

        def shuffled(true: BrokerCount) -> BrokerCount:
            past.append(true)
            return scene.rng.choice(past[-12:])

        scene.broker.answer = shuffled
        for _ in range(12):
            scene.send([scene.rng.uniform(10.0, 60.0) for _ in range(scene.rng.randint(1, 12))])
            await scene.ticks(scene.rng.randint(4, 12))
            count = scene.queues["default"].rows.count()
            last = scene.reductions[-1] if scene.reductions else None
            if last is not None and scene.loop.time() - last[0] < 5.0:
                assert scene.total * 2 >= min(12, count.running), f"{last} let go of workers that are needed"
        scene.broker.answer = lambda true: true
        await scene.rests()

    stage(play)


@pytest.mark.fault(
    "one of two sources down", "The other may raise the fleet at once and lowers nothing: shrinking needs both"
)
@BOTH
def test_one_of_two_sources_down(source: str) -> None:
    async def play(scene: FaultScenario) -> None:
        await scene.ticks(3)
        scene.faults.rates[source] = FaultRates(fails=1.0)
        await scene.ticks(5)
        scene.send([30.0] * 8)
        await scene.becomes(lambda: scene.total >= 4, 15.0, "the other source was to raise the fleet")
        await scene.becomes(lambda: not scene.ledger.lost, 300.0, "the work was to end")
        await held(scene, source)

    stage(play)


@pytest.mark.fault(
    "sources disagree",
    "The broker may raise demand above the database for a minute, which covers SQS's delay; longer it counts ghosts, "
    "and the decision says that it is no longer used",
)
def test_sources_disagree() -> None:
    async def play(scene: FaultScenario) -> None:
        await scene.ticks(6)
        scene.broker.answer = lambda true: BrokerCount(true.visible, true.in_flight + 8)
        await scene.becomes(lambda: scene.total >= 4, 15.0, "the broker was to be believed at first")
        await scene.becomes(lambda: "no longer used" in scene.why, 90.0, "the broker was to be doubted")
        await scene.becomes(lambda: scene.total == 1, 120.0, "the fleet was to follow the database again")
        scene.broker.answer = lambda true: true
        await scene.rests()

    stage(play)


@pytest.mark.fault(
    "broker restarts", "Workers keep what they run and protected; while the broker is away nothing shrinks"
)
def test_broker_restarts() -> None:
    async def play(scene: FaultScenario) -> None:
        await scene.works(3, work_s=120.0)
        scene.send([20.0] * 6)
        scene.queues["default"].restart()
        scene.faults.rates["broker"] = FaultRates(fails=1.0)
        await scene.stays(lambda: not scene.reductions and len(scene.busy) >= 3, 40.0, "nobody may go")
        scene.faults.clear("broker")
        await scene.rests()

    stage(play)


@pytest.mark.fault(
    "database fails over",
    "Half a minute of silence, then of errors, then another machine: the fleet grows by the broker meanwhile and "
    "shrinks only after a whole window of knowledge",
)
def test_database_fails_over() -> None:
    async def play(scene: FaultScenario) -> None:
        await scene.works(2, work_s=30.0)
        scene.faults.rates["database"] = FaultRates(silent=1.0)
        await scene.ticks(4)
        scene.send([30.0] * 8)
        await scene.becomes(lambda: scene.total >= 4, 30.0, "the broker was to raise the fleet")
        scene.faults.rates["database"] = FaultRates(fails=1.0, reason="the database system is starting up")
        await scene.ticks(4)
        assert not scene.reductions
        back_at = scene.loop.time()
        scene.faults.clear("database")
        await scene.rests(400.0)
        assert scene.reductions[0][0] >= back_at + 20.0, "it shrank before a whole window was seen"

    stage(play)
