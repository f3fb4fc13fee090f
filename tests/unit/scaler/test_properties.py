# SPDX-License-Identifier: Apache-2.0
"""Properties of every decision, for all observations, states and overrides.

`make test` draws the same 500 examples of each property every time, so that only a change of the code changes the
result. `make properties` draws 10 000 new ones; PROPERTY_EXAMPLES sets another number.
"""

from __future__ import annotations

import os
from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from scaler.core.model import Known
from scaler.core.state import State
from tests.support.decision_replay import Rehearsal
from tests.support.observations import Dimensions, Moment, dimensions, moment
from tests.support.scaler_builders import but
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
    """Bounds, unknown never lowers, protection, reductions, commands, orders, generations, explanation, replay."""
    seen = moment(drawn)
    decision, after = seen.step()
    for invariant in INVARIANTS:
        invariant(seen, decision, after)


@EXAMPLES
@given(dimensions, st.integers(1, 40))
@example((5963338, (5, 1, 2)), 1)  # one more called back, and two of the old revision no longer stood in for
def test_monotone_in_demand(drawn: Dimensions, more: int) -> None:
    less = moment(drawn, known=True)
    assert isinstance(less.observation.database, Known)
    assert isinstance(less.observation.broker, Known)
    database, broker = less.observation.database.value, less.observation.broker.value
    raised = replace(
        less.observation,
        database=Known(replace(database, queued=database.queued + more), 0.0),
        broker=Known(replace(broker, visible=broker.visible + more), 0.0),
    )
    few, many = less.decide(), less.decide(raised)
    for name, one in few.generations.items():
        other = many.generations[name]
        assert one.desired is not None
        assert other.desired is not None
        assert other.desired >= one.desired, f"more demand, and {name} got smaller"
        assert len(other.drains) <= len(one.drains), f"more demand, and more of {name} were drained"


@EXAMPLES
@given(dimensions)
def test_what_was_decided_is_a_fixpoint(drawn: Dimensions) -> None:
    first = moment(drawn)
    decision, after = first.step()
    seen = first.observation
    for name, do in decision.generations.items():
        service = service_in(seen.generations[name])
        if service is not None and do.desired is not None:
            seen = but(seen, name, service=Known(replace(service, desired=do.desired), 0.0))
    # That two witnesses agreed twice is a matter of time, not of what was decided.
    second = Moment(first.fleet, replace(after, zero_seen=first.state.zero_seen), first.now, seen)
    again = second.decide()
    assert again.foreign_desired is None
    if decision.resumes:
        return  # who was called back may be back in the next moment, and then somebody else can go
    for name, do in decision.generations.items():
        assert again.generations[name].desired == do.desired, f"{name}: the same world, another count"


@EXAMPLES
@given(dimensions)
def test_noise_moves_a_fleet_seldom_and_calm_brings_it_to_rest(drawn: Dimensions) -> None:
    """A fleet shrinks only to what nobody needed more of for a window, and settles where the demand says."""
    fleet = Rehearsal(drawn)
    noise = fleet.noise
    for more in noise:
        fleet.turn(more)
    fleet.quiet_turns, base = 0, noise[-1]
    for _ in range(fleet.patience):
        fleet.turn(base)
        if fleet.rests:
            break
    assert fleet.rests, f"not at rest after {fleet.patience} turns: {fleet}"
    assert fleet.count == fleet.bounded(base)
    assert fleet.old == 0, "the old generation was not drained"
    assert fleet.turns_of_direction <= 2 + 2 * len(noise) * fleet.interval_s / fleet.window_s


def test_a_fleet_that_was_never_seen_is_a_fleet_all_the_same() -> None:
    empty = moment((0, (0, 1, 0)))
    assert replace(empty, state=State()).decide().reason.endswith(".")
