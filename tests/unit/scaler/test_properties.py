# SPDX-License-Identifier: Apache-2.0
"""Properties of every decision, for all observations, states and overrides.

`make test` draws the same 200 examples of each property every time, so that only a change of the code changes the
result. `make properties` draws 10 000 new ones; PROPERTY_EXAMPLES sets another number.
"""

import os
from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from scaler.core.decide import decide
from scaler.core.model import BrokerCount, Known, Unknown
from scaler.core.state import FleetState
from tests.support.decision_replay import DecisionReplay
from tests.support.observations import DecisionCase, Dimensions, decision_case, dimensions
from tests.support.scaler_builders import FLEET, observe, with_changes
from tests.support.scaler_invariants import INVARIANTS, service_in, starts_fail

EXAMPLES = settings(
    max_examples=int(os.environ.get("PROPERTY_EXAMPLES", "200")),
    derandomize="PROPERTY_EXAMPLES" not in os.environ,
    deadline=None,
)

pytestmark = pytest.mark.timeout(900)


@EXAMPLES
@given(dimensions)
@example((20576, (4, 2, 2)))  # the newest service's starts fail, and the older one grew above the maximum
def test_every_invariant_of_a_single_decision(drawn: Dimensions) -> None:
    """Bounds, unknown never lowers, liveness, protection, scale-in, commands, overrides, services, explanation."""
    seen = decision_case(drawn)
    decision, after = seen.step()
    for invariant in INVARIANTS:
        invariant(seen, decision, after)


@EXAMPLES
@given(dimensions, st.integers(1, 40))
@example((5963338, (5, 1, 2)), 1)  # one more resumed, and two workers of the old revision lost their replacements
def test_monotone_in_demand(drawn: Dimensions, more: int) -> None:
    less = decision_case(drawn, known=True)
    assert isinstance(less.observation.database, Known)
    assert isinstance(less.observation.broker, Known)
    database, broker = less.observation.database.value, less.observation.broker.value
    raised = replace(
        less.observation,
        database=Known(replace(database, queued=database.queued + more), 0.0),
        broker=Known(replace(broker, visible=broker.visible + more), 0.0),
    )
    few, many = less.decide(), less.decide(raised)
    for name, service in few.services.items():
        other = many.services[name]
        assert service.desired is not None
        assert other.desired is not None
        assert other.desired >= service.desired, f"more demand, but fewer workers of {name}"
        assert len(other.drains) <= len(service.drains), f"more demand, but more drains of {name}"


@EXAMPLES
@given(dimensions)
@example((3056, (7, 2, 0)))  # a task waits, and two workers do not answer: fewer workers, and one more in the next tick
def test_a_decision_is_a_fixed_point(drawn: Dimensions) -> None:
    first = decision_case(drawn)
    decision, after = first.step()
    seen = first.observation
    for name, do in decision.services.items():
        service = service_in(seen.services[name])
        if service is not None and do.desired is not None:
            seen = with_changes(seen, name, service=Known(replace(service, desired=do.desired), 0.0))
    # The ticks in agreement depend on time, not on the decision.
    second = DecisionCase(first.fleet, replace(after, zero_ticks=first.state.zero_ticks), first.now, seen)
    again = second.decide()
    assert again.desired_count_drift is None
    if decision.resumes:
        return  # a resumed worker may consume in the next tick, and then another one can drain
    if starts_fail(first, decision.current):
        return  # the older service grows in the room that the newest one leaves, one tick later
    if decision.reduces and any("limit" in step.values for step in decision.explanation):
        return  # a lower count leaves more launch room in the next tick
    for name, do in decision.services.items():
        assert again.services[name].desired == do.desired, f"{name}: the same input, another count"


@EXAMPLES
@given(dimensions)
def test_a_noisy_demand_changes_a_fleet_rarely_and_a_constant_demand_settles_it(drawn: Dimensions) -> None:
    """A fleet shrinks only to the largest need of a window, and settles at the need."""
    fleet = DecisionReplay(drawn)
    noise = fleet.noise
    for more in noise:
        fleet.tick(more)
    fleet.quiet_ticks, base = 0, noise[-1]
    for _ in range(fleet.max_ticks):
        fleet.tick(base)
        if fleet.settled:
            break
    assert fleet.settled, f"not settled after {fleet.max_ticks} ticks: {fleet}"
    assert fleet.count == fleet.bounded(base)
    assert fleet.old == 0, "the old service was not drained"
    assert fleet.direction_changes <= 2 + 2 * len(noise) * fleet.interval_s / fleet.window_s


@EXAMPLES
@given(dimensions, st.sampled_from((1, 2, 4)), st.lists(st.integers(0, 1), min_size=1, max_size=5))
def test_a_fleet_settles_while_a_source_throttles(drawn: Dimensions, intervals: int, unknown: list[int]) -> None:
    """At every pace, and with every second reading of the broker missing, a fleet reaches its need."""
    fleet = DecisionReplay(drawn, intervals=intervals)
    for turn in range(fleet.max_ticks):
        fleet.tick(0)
        if fleet.settled:
            break
        for _ in range(unknown[turn % len(unknown)]):
            fleet.tick(0, broker=Unknown("throttled"))
    assert fleet.settled, f"not settled: {fleet}"
    assert fleet.count == fleet.bounded(0)
    assert fleet.old == 0, "the old service was not drained"


@EXAMPLES
@given(st.integers(0, 6), st.integers(0, 6), st.integers(1, 40), st.integers(0, 60), st.booleans())
def test_waiting_tasks_find_a_worker_that_is_known_to_be_free(
    silent: int, idle: int, waiting: int, held: int, airflow: bool
) -> None:
    """A worker that does not answer is no capacity for the tasks that wait."""
    broker = Known(BrokerCount(waiting, held), 0.0)
    observation = observe(["silent"] * silent + ["idle"] * idle, queued=waiting, running=held, broker=broker)
    observation = observation if airflow else replace(observation, database=None)
    decision = decide(FLEET, observation, FleetState(), 0.0)[0]
    assert decision.desired is not None
    assert decision.desired >= min(FLEET.maximum, silent + -(-waiting // FLEET.slots))


@EXAMPLES
@given(dimensions, st.integers(0, 60), st.integers(0, 60))
def test_messages_that_are_not_due_change_no_need(drawn: Dimensions, delayed: int, scheduled: int) -> None:
    case = decision_case(drawn)
    broker = case.observation.broker
    holders = [
        (name, task, agent.value)
        for name, service in case.observation.services.items()
        for task, agent in service.agents.items()
        if isinstance(agent, Known)
    ]
    if not isinstance(broker, Known) or not holders:
        return
    name, task, agent = holders[0]
    held = {**case.observation.services[name].agents, task: Known(replace(agent, scheduled=scheduled), 0.0)}
    count = replace(broker.value, in_flight=broker.value.in_flight + scheduled, delayed=delayed)
    later = replace(with_changes(case.observation, name, agents=held), broker=Known(count, 0.0))
    before, after = case.decide(), case.decide(later)
    assert after.needed == before.needed
    if before.minimum:  # a fleet that may go to zero keeps one worker for them
        # Their holder is busy, so another worker may be drained.
        assert [(len(service.drains), service.desired) for service in after.services.values()] == [
            (len(service.drains), service.desired) for service in before.services.values()
        ]


def test_an_empty_fleet_has_a_decision() -> None:
    empty = decision_case((0, (0, 1, 0)))
    assert replace(empty, state=FleetState()).decide().reason.endswith(".")
