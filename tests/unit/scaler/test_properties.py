# SPDX-License-Identifier: Apache-2.0
"""Properties of every decision, for all observations, states and overrides.

`make test` draws the same 500 examples of each property every time, so that only a change of the code changes the
result. `make properties` draws 10 000 new ones; PROPERTY_EXAMPLES sets another number.
"""

import os
from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from scaler.core.model import Known
from scaler.core.state import FleetState
from tests.support.decision_replay import DecisionReplay
from tests.support.observations import DecisionCase, Dimensions, decision_case, dimensions
from tests.support.scaler_builders import with_changes
from tests.support.scaler_invariants import INVARIANTS, service_in

EXAMPLES = settings(
    max_examples=int(os.environ.get("PROPERTY_EXAMPLES", "500")),
    derandomize="PROPERTY_EXAMPLES" not in os.environ,
    deadline=None,
)

pytestmark = pytest.mark.timeout(900)


@EXAMPLES
@given(dimensions)
def test_every_invariant_of_a_single_decision(drawn: Dimensions) -> None:
    """Bounds, unknown never lowers, protection, scale-in, commands, overrides, services, explanation, replay."""
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


def test_an_empty_fleet_has_a_decision() -> None:
    empty = decision_case((0, (0, 1, 0)))
    assert replace(empty, state=FleetState()).decide().reason.endswith(".")
