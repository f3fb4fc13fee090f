# SPDX-License-Identifier: Apache-2.0
"""What a person or a schedule ordered, and what is done while the demand stays unknown."""

from dataclasses import replace
from typing import Any

import pytest

from scaler.core.decide import decide
from scaler.core.model import FallbackPolicy, Known, Observation, Overrides, Schedule, Stale, Unknown
from scaler.core.state import FleetState
from tests.support.scaler_builders import (
    FLEET,
    SILENT,
    arn,
    decide_after_window,
    explained,
    observe,
    state_after_window,
    state_of,
    with_state,
)

# --- bounds


@pytest.mark.parametrize(
    ("overrides", "schedule", "bounds", "desired"),
    [
        pytest.param(Overrides(), None, (1, 10), 2, id="the fleet's own"),
        pytest.param(Overrides(minimum=4), None, (4, 10), 4, id="a minimum ordered"),
        pytest.param(Overrides(minimum=0), None, (0, 10), 2, id="a minimum ordered below the fleet's"),
        pytest.param(Overrides(maximum=1), None, (1, 1), 1, id="a maximum ordered"),
        pytest.param(Overrides(maximum=20), None, (1, 20), 2, id="a maximum ordered above the fleet's"),
        pytest.param(Overrides(minimum=5, maximum=3), None, (3, 3), 3, id="where they cross the maximum counts"),
        pytest.param(Overrides(minimum=12), None, (10, 10), 10, id="a minimum above the fleet's maximum"),
        pytest.param(Overrides(fixed=3), None, (3, 3), 3, id="a size ordered"),
        pytest.param(Overrides(), Schedule(6, "weekdays"), (6, 10), 6, id="a schedule"),
        pytest.param(Overrides(), Schedule(60, "weekdays"), (10, 10), 10, id="a schedule above the maximum"),
        pytest.param(Overrides(minimum=2), Schedule(6, "weekdays"), (2, 10), 2, id="a person is above a schedule"),
        pytest.param(Overrides(maximum=4), Schedule(6, "weekdays"), (4, 4), 4, id="also with a maximum"),
    ],
)
def test_bounds_in_force(
    overrides: Overrides, schedule: Schedule | None, bounds: tuple[int, int], desired: int
) -> None:
    decision, _ = decide(
        FLEET, observe(["full"], queued=5, running=5, overrides=overrides, schedule=schedule), FleetState(), 0
    )
    assert (decision.minimum, decision.maximum) == bounds
    assert decision.desired == desired


def test_overrides_are_explained_with_their_author() -> None:
    ordered = Overrides(maximum=1, by="ada", reason="month end")
    decision, _ = decide(FLEET, observe(["full"], queued=25, running=5, overrides=ordered), FleetState(), 0.0)
    assert explained(decision.explanation, "Override by ada: maximum 1 (month end)"), decision.explanation
    schedule = Schedule(6, "weekdays from 06:00 in Zurich")
    decision, _ = decide(FLEET, observe(["full"], schedule=schedule), FleetState(), 0.0)
    assert explained(decision.explanation, "minimum 6 (weekdays from 06:00 in Zurich)"), decision.explanation


@pytest.mark.parametrize(
    ("change", "drained"),
    [
        pytest.param({}, 2, id="from the first tick on, also after a restart"),
        pytest.param({"database": SILENT, "broker": SILENT}, 2, id="whatever the demand, known or not"),
        pytest.param({"protected": SILENT}, 0, id="not while protection is unknown"),
    ],
)
def test_a_smaller_fixed_size_is_reached_by_drains(change: dict[str, Any], drained: int) -> None:
    seen = observe(["full"] * 3, queued=90, running=15, overrides=Overrides(fixed=1), **change)
    decision, _ = decide(FLEET, seen, FleetState(), 0.0)
    assert decision.desired == 3
    assert len(decision.drains) == drained


def test_fixed_zero_needs_no_source_and_interrupts_no_task() -> None:
    decision, state = decide(FLEET, observe(["busy", "idle"], overrides=Overrides(fixed=0)), FleetState(), 0.0)
    assert (decision.desired, len(decision.drains)) == (2, 2)
    decision, _ = decide(FLEET, observe(["draining", "released"], overrides=Overrides(fixed=0)), state, 5.0)
    assert decision.desired == 1


# --- pause


def test_pause_in_drains_no_worker_and_resumes_draining_ones() -> None:
    overrides = Overrides(pause="in", by="ada")
    decision, _ = decide_after_window(observe(["idle"] * 4, overrides=overrides))
    assert not decision.drains
    decision, after = decide_after_window(
        observe(["idle", "draining", "released"], overrides=overrides), draining=(1, 2)
    )
    assert set(decision.resumes) == {arn(1), arn(2)}
    assert not decision.reduces
    assert not state_of(after).drains
    assert explained(decision.explanation, "scale-in paused")


def test_pause_out_starts_no_worker_except_for_protection() -> None:
    overrides = Overrides(pause="out")
    decision, _ = decide(FLEET, observe(["full"], queued=40, running=5, overrides=overrides), FleetState(), 0.0)
    assert (decision.desired, decision.target) == (1, 9)
    decision, _ = decide(
        FLEET, observe(["full", "refused"], desired=1, queued=40, overrides=overrides), FleetState(), 0.0
    )
    assert (decision.desired, decision.kind) == (2, "protect")
    decision, _ = decide_after_window(observe(["idle"] * 4, overrides=overrides))
    assert len(decision.drains) == 3, "shrinking is not paused"


def test_pause_both_changes_nothing() -> None:
    overrides = Overrides(pause="both")
    for seen in (
        observe(["full"], queued=90, running=5, overrides=overrides),
        observe(["idle"] * 3, overrides=overrides),
    ):
        decision, _ = decide_after_window(seen)
        assert (decision.writes, decision.drains, decision.resumes) == (False, (), ())


# --- dry run


@pytest.mark.parametrize("by_override", [True, False], ids=["by an override", "of the process"])
@pytest.mark.parametrize(
    ("workers", "queued", "words"),
    [
        pytest.param(["full"], 20, "Would set desired of worker-default: 1 -> 5", id="growing"),
        pytest.param(["idle"] * 3, 0, "Would drain", id="draining"),
        pytest.param(["full", "released"], 0, "Would set desired of worker-default: 2 -> 1", id="reducing"),
        pytest.param(["full", "draining"], 20, "Would resume 1 draining worker", id="calling back"),
    ],
)
def test_a_dry_run_explains_and_changes_nothing(workers: list[str], queued: int, words: str, by_override: bool) -> None:
    ordered = Overrides(dry_run=by_override)
    seen = observe(workers, queued=queued, running=0 if workers[0] == "idle" else 5, overrides=ordered)
    fleet = replace(FLEET, dry_run=not by_override)
    decision, after = decide_after_window(seen, fleet, draining=(1,) if len(workers) == 2 else ())
    assert (decision.writes, decision.drains, decision.resumes, decision.released) == (False, (), (), ())
    assert decision.reason.startswith("Dry run")
    assert explained(decision.explanation, words), decision.explanation
    assert not state_of(after).drains, "a dry run drains no worker"
    assert state_of(after).expected == len(workers)


def test_a_dry_run_of_the_process_needs_no_overrides() -> None:
    """Overrides that were never read forbid writes for a minute only; an override must not end the dry run."""
    fleet = replace(FLEET, dry_run=True)
    for overrides in (Unknown("denied"), Known(Overrides(dry_run=False, minimum=4), 0.0)):
        seen, state = replace(observe(["full"], queued=20, running=5), overrides=overrides), FleetState()
        for tick in range(30):
            decision, state = decide(fleet, seen, state, tick * 5.0)
            assert not decision.writes
        assert explained(decision.explanation, "Would set desired of worker-default")


# --- overrides that cannot be read


def test_overrides_never_read_allow_no_write_at_first_and_then_scale_out_only() -> None:
    seen = replace(observe(["full"], queued=20, running=5), overrides=Unknown("denied"))
    state = FleetState()
    desired = []
    for tick in range(14):
        decision, state = decide(FLEET, seen, state, tick * 5.0)
        desired.append(decision.desired)
    assert desired == [1] * 12 + [5] * 2
    idle = replace(observe(["idle"] * 3), overrides=Unknown("denied"))
    decision, _ = decide(
        FLEET, idle, replace(state_after_window(observe(["idle"] * 3)), overrides_unknown_since=0.0), 60.0
    )
    assert not decision.drains
    assert explained(decision.explanation, "scale-out only")


def test_overrides_never_read_do_not_block_protection() -> None:
    seen = replace(observe(["full", "refused"], desired=1), overrides=Unknown("denied"))
    decision, _ = decide(FLEET, seen, FleetState(), 0.0)
    assert (decision.desired, decision.kind) == (2, "protect")


def test_overrides_once_read_stay_in_force() -> None:
    stale: Observation = replace(observe(["full"], queued=90), overrides=Stale(Overrides(maximum=2), 900.0))
    decision, _ = decide(FLEET, stale, FleetState(), 0.0)
    assert decision.desired == 2


# --- fallback


@pytest.mark.parametrize(
    ("fallback", "desired", "drained"),
    [
        pytest.param(FallbackPolicy("hold", 9, 30.0), 3, 0, id="hold"),
        pytest.param(FallbackPolicy("hold-if-higher", 5, 30.0), 5, 0, id="hold-if-higher raises"),
        pytest.param(FallbackPolicy("hold-if-higher", 2, 30.0), 3, 0, id="hold-if-higher never lowers"),
        pytest.param(FallbackPolicy("fixed", 5, 30.0), 5, 0, id="fixed raises"),
        pytest.param(FallbackPolicy("fixed", 1, 30.0), 3, 2, id="fixed drains"),
        pytest.param(FallbackPolicy("fixed", 50, 30.0), 10, 0, id="within the bounds"),
    ],
)
def test_fallback_after_an_unknown_demand(fallback: FallbackPolicy, desired: int, drained: int) -> None:
    fleet = replace(FLEET, fallback=fallback)
    seen = observe(["idle"] * 3, database=SILENT, broker=SILENT)
    state = FleetState()
    for tick in range(7):
        decision, state = decide(fleet, seen, state, tick * 5.0)
        if tick < 6:
            assert (decision.desired, decision.drains) == (3, ()), "too early"
    assert (decision.desired, len(decision.drains)) == (desired, drained)


def test_a_known_demand_ends_the_fallback() -> None:
    fleet = replace(FLEET, fallback=FallbackPolicy("fixed", 9, 30.0))
    _, state = decide(fleet, observe(["idle"], database=SILENT, broker=SILENT), FleetState(), 0.0)
    _, state = decide(fleet, observe(["idle"]), state, 25.0)
    decision, _ = decide(fleet, observe(["idle"], database=SILENT, broker=SILENT), state, 30.0)
    assert decision.desired == 1


# --- a hand on desired


@pytest.mark.parametrize(
    ("foreign", "then"),
    [
        pytest.param("correct", [6, 5], id="correct: the surplus is drained at once"),
        pytest.param("adopt", [6, 0], id="adopt: it holds for a window"),
    ],
)
def test_drift_above_the_need(foreign: str, then: list[int]) -> None:
    fleet = replace(FLEET, desired_count_drift=foreign)  # type: ignore[arg-type]
    state = with_state(state_after_window(observe(["idle"]), fleet), expected=1)
    decision, state = decide(fleet, observe(["idle"] * 6), state, 60.0)
    assert decision.desired_count_drift == 6
    assert [decision.desired, len(decision.drains)] == then
    if foreign == "adopt":
        for tick in range(1, 12):
            decision, state = decide(fleet, observe(["idle"] * 6), state, 60.0 + 5 * tick)
            assert not decision.drains
        decision, state = decide(fleet, observe(["idle"] * 6), state, 120.0)
        assert len(decision.drains) == 5


def test_drift_below_the_need_is_corrected_at_once() -> None:
    for foreign in ("adopt", "correct"):
        fleet = replace(FLEET, desired_count_drift=foreign)
        state = with_state(state_after_window(observe(["full"] * 4, running=20), fleet), expected=4)
        decision, after = decide(fleet, observe(["full"] * 3, desired=3, running=15, queued=5), state, 60.0)
        assert decision.desired == 4, foreign
        assert after.adopted is None


# --- reductions that used to wait for ever


def test_an_unreadable_but_protected_worker_does_not_block_scale_in() -> None:
    decision, _ = decide_after_window(observe(["full", "released", "silent"], running=5), draining=(1,))
    assert (decision.kind, decision.desired) == ("shrink", 2)


def test_an_unreadable_and_unprotected_worker_blocks_scale_in() -> None:
    decision, _ = decide_after_window(observe(["full", "released", "booting"], running=5), draining=(1,))
    assert not decision.reduces
    assert explained(decision.explanation, "not protected")


def test_a_task_that_ecs_never_starts_does_not_block_scale_in() -> None:
    seen = observe(["full", "released", "pending"], running=5)
    state = FleetState()
    for tick in range(61):
        decision, state = decide(FLEET, seen, with_state(state, drains={arn(1): 0.0}), tick * 5.0)
        assert decision.reduces == (tick >= 60), tick * 5.0
    assert (decision.desired, decision.protected_minimum) == (1, 1)


def test_a_worker_that_never_consumes_is_drained_if_not_needed() -> None:
    seen = observe(["full", "starting"], running=5)
    state = FleetState()
    for tick in range(62):
        decision, state = decide(FLEET, seen, state, tick * 5.0)
    assert decision.drains == (arn(1),)
    decision, _ = decide(FLEET, observe(["full", "released"], running=5), state, 310.0)
    assert decision.desired == 1


def test_the_builders_make_known_readings() -> None:
    assert isinstance(observe([]).overrides, Known)
