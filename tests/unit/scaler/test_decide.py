# SPDX-License-Identifier: Apache-2.0
"""Each step of a decision, as tables: demand, slots, window, bounds, protection, launches, zero."""

from dataclasses import replace

import pytest

from scaler.core.decide import decide
from scaler.core.model import BrokerCount, DatabaseCount, Known, Reading, Stale, Unknown
from scaler.core.state import FleetState
from tests.support.scaler_builders import (
    FLEET,
    SILENT,
    arn,
    decide_after_window,
    explained,
    observe,
    only_service,
    state_after_window,
    state_of,
    with_changes,
    with_state,
)

# --- demand -> slots -> up at once


@pytest.mark.parametrize(
    ("queued", "running", "desired"),
    [
        pytest.param(0, 0, 1, id="nothing: the minimum"),
        pytest.param(5, 0, 1, id="exactly one worker full"),
        pytest.param(6, 0, 2, id="one more than full: no dead band"),
        pytest.param(1, 10, 3, id="running tasks hold slots too"),
        pytest.param(49, 1, 10, id="exactly the maximum"),
        pytest.param(500, 0, 10, id="bounded by the maximum"),
    ],
)
def test_scale_out_in_the_first_tick(queued: int, running: int, desired: int) -> None:
    decision, _ = decide(FLEET, observe(["busy"], queued=queued, running=running), FleetState(), 0.0)
    assert decision.desired == desired
    assert decision.kind == ("grow" if desired > 1 else "hold")
    assert decision.explanation[0].name == "demand"


def test_slots_per_worker_from_the_agents() -> None:
    observation = observe(["busy", "busy"], queued=8)
    two_slots = {
        arn: Known(replace(agent.value, concurrency=2), 0.0) if isinstance(agent, Known) else agent
        for arn, agent in only_service(observation).agents.items()
    }
    decision, _ = decide(FLEET, with_changes(observation, agents=two_slots), FleetState(), 0.0)
    assert decision.desired == 4
    assert explained(decision.explanation, "reported by the agents")


@pytest.mark.parametrize(
    ("database", "broker", "desired", "words"),
    [
        pytest.param(
            Unknown("down"), Known(BrokerCount(20, 0), 0.0), 4, "Broker: 20 visible", id="broker alone raises"
        ),
        pytest.param(Unknown("down"), Known(BrokerCount(0, 0), 0.0), 3, "keep 3", id="broker alone never lowers"),
        pytest.param(Unknown("down"), Unknown("down"), 3, "Demand unknown", id="both unknown holds"),
        pytest.param(Stale(DatabaseCount(20, 0), 9.0), Unknown("down"), 4, "9 s ago", id="a stale reading raises"),
        pytest.param(
            Stale(DatabaseCount(0, 0), 9.0), Known(BrokerCount(0, 0), 0.0), 3, "keep 3", id="stale never lowers"
        ),
        pytest.param(Known(DatabaseCount(0, 0), 0.0), Unknown("down"), 3, "keep 3", id="broker unknown never lowers"),
        pytest.param(
            Known(DatabaseCount(3, 0), 0.0), Known(BrokerCount(30, 0), 0.0), 6, "more than the database", id="disagree"
        ),
        pytest.param(
            Known(DatabaseCount(18, 0), 0.0),
            Known(BrokerCount(2, 0), 0.0),
            4,
            "less than the database",
            id="broker counts less",
        ),
    ],
)
def test_demand_sources(
    database: Reading[DatabaseCount], broker: Reading[BrokerCount], desired: int, words: str
) -> None:
    observation = observe(["idle", "idle", "idle"], database=database, broker=broker)
    decision, state = decide(FLEET, observation, state_after_window(observe(["idle"] * 3)), FLEET.scale_in_window_s)
    assert decision.desired == desired
    assert explained(decision.explanation, words), decision.explanation
    if desired == 3:
        assert not state_of(state).drains, "a fleet was drained on an unknown reading"


def test_a_larger_broker_count_is_used_for_a_limited_time() -> None:
    ghosts = observe(["idle"], database=Known(DatabaseCount(0, 0), 0.0), broker=Known(BrokerCount(0, 40), 0.0))
    state = FleetState()
    desired = []
    for tick in range(14):
        decision, state = decide(FLEET, ghosts, state, tick * 5.0)
        desired.append(decision.desired)
    assert desired == [8] * 12 + [1, 1], "ghosts in flight kept raising the fleet"
    assert explained(decision.explanation, "no longer used")


def test_without_database_the_broker_scales_out_and_in() -> None:
    plain = replace(observe(["idle"] * 3, broker=Known(BrokerCount(12, 5), 0.0)), database=None)
    decision, _ = decide(FLEET, plain, FleetState(), 0.0)
    assert decision.desired == 4
    quiet = replace(observe(["idle"] * 3), database=None)
    decision, _ = decide_after_window(quiet)
    assert len(decision.drains) == 2


# --- window


def test_scale_in_only_after_a_full_window() -> None:
    observation = observe(["idle"] * 3)
    state = FleetState()
    for tick in range(12):
        decision, state = decide(FLEET, observation, state, tick * 5.0)
        assert not decision.drains, f"drained after {tick * 5} s of a 60 s window"
    decision, _ = decide(FLEET, observation, state, 60.0)
    assert decision.drains == (arn(0), arn(1))


def test_scale_in_to_the_largest_need_of_the_window() -> None:
    state = state_after_window(observe(["idle"] * 4))
    _, state = decide(FLEET, observe(["idle"] * 4, queued=11), with_state(state, drains={}), 60.0)
    decision, _ = decide(FLEET, observe(["idle"] * 4), state, 65.0)
    assert len(decision.drains) == 1, "3 workers were needed 5 s ago"


# --- bounds and desired count drift


def test_a_maximum_below_the_protected_workers_drains_them() -> None:
    fleet = replace(FLEET, maximum=2)
    decision, _ = decide_after_window(observe(["full"] * 4, running=20), fleet)
    assert decision.desired == 4
    assert len(decision.drains) == 2


@pytest.mark.parametrize(
    ("workers", "written", "desired"),
    [
        pytest.param(["full"] * 4, 1, 4, id="lowered by hand: up at once"),
        pytest.param(["full"] * 4, 9, 9, id="raised by hand: only by drain"),
    ],
)
def test_desired_count_drift_is_reported(workers: list[str], written: int, desired: int) -> None:
    state = state_after_window(observe(workers, running=20))
    _, state = decide(FLEET, observe(workers, running=20), state, 60.0)
    decision, _ = decide(FLEET, observe(workers, running=20, desired=written), state, 65.0)
    assert decision.desired_count_drift == written
    assert decision.desired == desired
    assert explained(decision.explanation, "Desired count drift")


def test_a_write_without_effect_is_counted_and_repeated() -> None:
    observation = observe(["full"], queued=10, running=5)
    state = FleetState()
    for count in (1, 2, 3):
        decision, state = decide(FLEET, observation, state, count * 5.0)
        assert decision.desired == 3
        attempt = state_of(state).attempt
        assert attempt is not None
        assert attempt.count == count
    assert decision.desired_count_drift is None
    assert explained(decision.explanation, "still 1 after 2 attempts")


# --- protection


@pytest.mark.parametrize(
    ("workers", "desired", "protected_minimum"),
    [
        pytest.param(["busy", "busy"], 1, 2, id="protected above desired"),
        pytest.param(["busy", "refused"], 1, 2, id="refused by ECS"),
        pytest.param(["busy", "starting", "pending", "provisioning", "booting"], 2, 5, id="about to be protected"),
        pytest.param(["busy", "lapsed"], 1, 2, id="protection lapsed while it consumes"),
        pytest.param(["busy", "silent"], 1, 2, id="silent and protected"),
        pytest.param(["busy", "releasing"], 1, 2, id="not yet released"),
        pytest.param(["busy", "released but protected"], 1, 2, id="released, but protected by ECS"),
        pytest.param(["busy", "released"], 1, 1, id="released and unprotected may go"),
        pytest.param(["busy", "stopping"], 1, 1, id="being stopped"),
    ],
)
def test_never_below_protected_and_about_to_be(workers: list[str], desired: int, protected_minimum: int) -> None:
    fleet = replace(FLEET, maximum=1)
    decision, _ = decide(fleet, observe(workers, desired=desired), FleetState(), 0.0)
    assert decision.protected_minimum == protected_minimum
    assert decision.desired == max(desired, protected_minimum)
    if protected_minimum > desired:
        assert decision.kind == "protect"
        assert explained(decision.explanation, "above the maximum of 1")


def test_a_rolling_deployment_does_not_raise_desired_for_its_own_tasks() -> None:
    """Three old workers stay protected. A higher desired makes ECS start new tasks, and it refuses them too."""
    desired, new = 3, 3
    for _ in range(10):
        observation = observe(["full"] * 3 + ["refused"] * new, desired=desired, old=(0, 1, 2), running=15)
        decision, _ = decide(FLEET, observation, FleetState(), 0.0)
        assert decision.desired is not None
        desired = new = decision.desired
    assert desired == 6, "3 protected on the old revision + 3 needed on the new one"


# --- launches


def test_a_late_worker_is_no_capacity_after_the_deadline() -> None:
    observation = observe(["full", "pending"], queued=5, running=5)
    state = FleetState()
    seen = set()
    for tick in range(61):
        decision, state = decide(FLEET, observation, state, tick * 5.0)
        seen.add(decision.desired)
    assert seen == {2}
    decision, _ = decide(FLEET, observation, state, 305.0)
    assert decision.desired == 3
    assert decision.workers.stuck == 1
    assert explained(decision.explanation, "not consuming after 300 s")


def test_places_that_ecs_cannot_fill_are_removed_after_the_deadline() -> None:
    observation = observe(["full"], desired=6, running=5)
    state = FleetState()
    for tick in range(61):
        decision, state = decide(FLEET, observation, state, tick * 5.0)
        assert decision.desired == (6 if tick < 60 else 1), tick * 5.0


# --- zero


@pytest.mark.parametrize(
    ("quiet", "drained"),
    [
        pytest.param({}, [False, True], id="all agree, twice"),
        pytest.param({"broker": Known(BrokerCount(0, 0, delayed=1), 0.0)}, [False, True], id="database and agents"),
        pytest.param({"database": SILENT}, [False, False], id="the database is unknown"),
    ],
)
def test_zero_needs_two_sources_in_two_ticks(quiet: dict[str, object], drained: list[bool]) -> None:
    fleet = replace(FLEET, minimum=0)
    observation = observe(["idle"], **quiet)  # type: ignore[arg-type]
    state = state_after_window(observation, fleet)
    seen = []
    for now in (60.0, 65.0):
        decision, state = decide(fleet, observation, state, now)
        seen.append(bool(decision.drains))
    assert seen == drained
    decision, _ = decide(fleet, observe(["released"]), state, 70.0)
    assert decision.desired == (0 if drained[-1] else 1)


def test_scale_out_from_zero() -> None:
    decision, _ = decide(replace(FLEET, minimum=0), observe([], queued=1), FleetState(), 0.0)
    assert decision.desired == 1


def test_no_write_to_an_unknown_service() -> None:
    decision, _ = decide(FLEET, with_changes(observe(["full"], queued=50), service=SILENT), FleetState(), 0.0)
    assert (decision.desired, decision.writes, decision.kind) == (None, False, "blind")
    assert "no answer" in decision.reason
