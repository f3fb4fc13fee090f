# SPDX-License-Identifier: Apache-2.0
"""Queued tasks whose messages the broker has lost: they are no demand, and the scaler names them."""

from dataclasses import replace

import pytest

from scaler.core.decide import decide
from scaler.core.lost_messages import LOST_AFTER_S
from scaler.core.model import BrokerCount, DatabaseCount, Known, Observation, Unknown
from scaler.core.state import Decision, FleetState
from tests.support.scaler_builders import FLEET, SILENT, explained, observe

TICK_S = 5.0


def seen(workers: list[str], queued: int, broker: BrokerCount, running: int = 0) -> Observation:
    return observe(
        workers,
        queued=queued,
        running=running,
        broker=Known(broker, 0.0),
        database=Known(DatabaseCount(queued, running), 0.0),
    )


IDLE = ["idle"] * 5
LOST = seen(IDLE, 35, BrokerCount(0, 0))


def play(seconds: float, observation: Observation, *, between: Observation | None = None) -> Decision:
    """Decide every 5 s; `between` is one tick in the middle. Return the last decision."""
    state, now = FleetState(), 0.0
    while now < seconds:
        _, state = decide(FLEET, between if between and now == 60.0 else observation, state, now)
        now += TICK_S
    return decide(FLEET, observation, state, now)[0]


def without_message(decision: Decision) -> int | None:
    assert decision.demand is not None
    return decision.demand.without_message


def test_tasks_without_a_message_are_demand_until_the_counts_must_be_exact() -> None:
    before, after = play(LOST_AFTER_S - TICK_S, LOST), play(LOST_AFTER_S, LOST)
    assert (without_message(before), before.needed) == (0, 7)
    assert (without_message(after), after.needed) == (35, 0)
    assert explained(after.explanation, "35 queued tasks without a message in the broker for 180 s: no demand")


def test_the_fleet_is_not_held_at_its_size() -> None:
    decision = play(LOST_AFTER_S + FLEET.scale_in_window_s + 10.0, LOST)
    assert decision.target == FLEET.minimum


@pytest.mark.parametrize(
    ("observation", "lost"),
    [
        pytest.param(seen(IDLE, 35, BrokerCount(1, 0)), 0, id="a message can be received"),
        pytest.param(seen(IDLE, 35, BrokerCount(0, 5)), 30, id="some are in flight"),
        pytest.param(seen(IDLE, 35, BrokerCount(0, 0, delayed=35)), 0, id="all are delayed"),
        pytest.param(seen(["full"] * 5, 35, BrokerCount(0, 0), 25), 0, id="no worker has a free slot"),
        pytest.param(seen(["full", "idle"], 35, BrokerCount(0, 0), 5), 35, id="one worker has a free slot"),
        pytest.param(seen(["pending"], 35, BrokerCount(0, 0)), 35, id="no worker consumes"),
        pytest.param(seen(["idle", "silent"], 35, BrokerCount(0, 0)), 0, id="a worker does not answer"),
        pytest.param(seen(IDLE, 35, BrokerCount(0, 0, incomplete="x")), 0, id="the broker's count is incomplete"),
        pytest.param(replace(LOST, database=None), None, id="plain Celery"),
    ],
)
def test_which_queued_tasks_do_not_count(observation: Observation, lost: int | None) -> None:
    assert without_message(play(300.0, observation)) == lost


@pytest.mark.parametrize(
    ("between", "lost"),
    [
        pytest.param(replace(LOST, broker=Unknown("away")), 35, id="broker unknown"),
        pytest.param(replace(LOST, database=Unknown("away")), 35, id="database unknown"),
        pytest.param(observe(["silent"] * 5, queued=35, broker=Known(BrokerCount(0, 0), 0.0)), 35, id="no answers"),
        pytest.param(seen(IDLE, 35, BrokerCount(35, 0)), 0, id="a message can be received"),
        pytest.param(seen(IDLE, 0, BrokerCount(0, 0)), 0, id="nothing was queued"),
    ],
)
def test_only_an_agreement_begins_the_time_again(between: Observation, lost: int) -> None:
    """An unknown reading shows neither that a message exists nor that it is missing."""
    assert without_message(play(LOST_AFTER_S, LOST, between=between)) == lost


def test_new_tasks_count_beside_the_lost_ones() -> None:
    state, now = FleetState(), 0.0
    for now in range(0, 185, 5):
        _, state = decide(FLEET, LOST, state, float(now))
    decision, state = decide(FLEET, seen(IDLE, 45, BrokerCount(0, 0)), state, 190.0)
    assert (without_message(decision), decision.needed) == (35, 2)
    decision, _ = decide(FLEET, seen(IDLE, 45, BrokerCount(10, 0)), state, 195.0)
    assert (without_message(decision), decision.needed) == (0, 9), "one receivable message ends the state"


def test_nothing_is_lost_while_a_source_is_unknown() -> None:
    state = FleetState()
    for now in range(0, 185, 5):
        _, state = decide(FLEET, LOST, state, float(now))
    for unknown in (replace(LOST, broker=SILENT), replace(LOST, database=SILENT, broker=Known(BrokerCount(3, 0), 0.0))):
        decision, _ = decide(FLEET, unknown, state, 190.0)
        assert decision.demand is not None
        assert decision.demand.without_message is None
