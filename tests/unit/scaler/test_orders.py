# SPDX-License-Identifier: Apache-2.0
"""What a person or a schedule ordered, and what is done while the demand stays unknown."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from scaler.core.decide import decide
from scaler.core.model import Controls, Fallback, Known, Observation, Schedule, Stale, Unknown
from scaler.core.state import State
from tests.support.scaler_builders import FLEET, SILENT, after_window, arn, kept, observe, remembering, settled


def said(lines: tuple[str, ...], words: str) -> bool:
    return any(words in line for line in lines)


# --- bounds


@pytest.mark.parametrize(
    ("controls", "schedule", "bounds", "desired"),
    [
        pytest.param(Controls(), None, (1, 10), 2, id="the fleet's own"),
        pytest.param(Controls(minimum=4), None, (4, 10), 4, id="a minimum ordered"),
        pytest.param(Controls(minimum=0), None, (0, 10), 2, id="a minimum ordered below the fleet's"),
        pytest.param(Controls(maximum=1), None, (1, 1), 1, id="a maximum ordered"),
        pytest.param(Controls(maximum=20), None, (1, 20), 2, id="a maximum ordered above the fleet's"),
        pytest.param(Controls(minimum=5, maximum=3), None, (3, 3), 3, id="where they cross the maximum counts"),
        pytest.param(Controls(minimum=12), None, (10, 10), 10, id="a minimum above the fleet's maximum"),
        pytest.param(Controls(fixed=3), None, (3, 3), 3, id="a size ordered"),
        pytest.param(Controls(), Schedule(6, "weekdays"), (6, 10), 6, id="a schedule"),
        pytest.param(Controls(), Schedule(60, "weekdays"), (10, 10), 10, id="a schedule above the maximum"),
        pytest.param(Controls(minimum=2), Schedule(6, "weekdays"), (2, 10), 2, id="a person is above a schedule"),
        pytest.param(Controls(maximum=4), Schedule(6, "weekdays"), (4, 4), 4, id="also with a maximum"),
    ],
)
def test_bounds_in_force(controls: Controls, schedule: Schedule | None, bounds: tuple[int, int], desired: int) -> None:
    decision, _ = decide(
        FLEET, observe(["full"], queued=5, running=5, controls=controls, schedule=schedule), State(), 0
    )
    assert (decision.minimum, decision.maximum) == bounds
    assert decision.desired == desired


def test_orders_are_explained_with_who_gave_them() -> None:
    ordered = Controls(maximum=1, by="ada", why="month end")
    decision, _ = decide(FLEET, observe(["full"], queued=25, running=5, controls=ordered), State(), 0.0)
    assert said(decision.explanation, "ada ordered at most 1 (month end)"), decision.explanation
    schedule = Schedule(6, "weekdays from 06:00 in Zurich")
    decision, _ = decide(FLEET, observe(["full"], schedule=schedule), State(), 0.0)
    assert said(decision.explanation, "at least 6 (weekdays from 06:00 in Zurich)"), decision.explanation


@pytest.mark.parametrize(
    ("change", "drained"),
    [
        pytest.param({}, 2, id="from the first tick on, also after a restart"),
        pytest.param({"database": SILENT, "broker": SILENT}, 2, id="whatever the demand, known or not"),
        pytest.param({"protected": SILENT}, 0, id="not while protection is unknown"),
    ],
)
def test_a_size_ordered_below_is_reached_by_draining(change: dict[str, Any], drained: int) -> None:
    seen = observe(["full"] * 3, queued=90, running=15, controls=Controls(fixed=1), **change)
    decision, _ = decide(FLEET, seen, State(), 0.0)
    assert decision.desired == 3
    assert len(decision.drains) == drained


def test_zero_ordered_needs_no_witness_but_interrupts_nobody() -> None:
    decision, state = decide(FLEET, observe(["busy", "idle"], controls=Controls(fixed=0)), State(), 0.0)
    assert (decision.desired, len(decision.drains)) == (2, 2)
    decision, _ = decide(FLEET, observe(["draining", "released"], controls=Controls(fixed=0)), state, 5.0)
    assert decision.desired == 1


# --- pause


def test_paused_in_lets_nobody_go_and_calls_back_who_was_told_to() -> None:
    controls = Controls(pause="in", by="ada")
    decision, _ = after_window(observe(["idle"] * 4, controls=controls))
    assert not decision.drains
    decision, after = after_window(observe(["idle", "draining", "released"], controls=controls), draining=(1, 2))
    assert set(decision.resumes) == {arn(1), arn(2)}
    assert not decision.reduces
    assert not kept(after).drains
    assert said(decision.explanation, "no worker is let go")


def test_paused_out_starts_nobody_except_for_protection() -> None:
    controls = Controls(pause="out")
    decision, _ = decide(FLEET, observe(["full"], queued=40, running=5, controls=controls), State(), 0.0)
    assert (decision.desired, decision.wanted) == (1, 9)
    decision, _ = decide(FLEET, observe(["full", "refused"], desired=1, queued=40, controls=controls), State(), 0.0)
    assert (decision.desired, decision.kind) == (2, "protect")
    decision, _ = after_window(observe(["idle"] * 4, controls=controls))
    assert len(decision.drains) == 3, "shrinking is not paused"


def test_paused_both_ways_nothing_moves() -> None:
    controls = Controls(pause="both")
    for seen in (observe(["full"], queued=90, running=5, controls=controls), observe(["idle"] * 3, controls=controls)):
        decision, _ = after_window(seen)
        assert (decision.writes, decision.drains, decision.resumes) == (False, (), ())


# --- dry run


@pytest.mark.parametrize(
    ("workers", "queued", "words"),
    [
        pytest.param(["full"], 20, "would set worker-default from 1 to 5", id="growing"),
        pytest.param(["idle"] * 3, 0, "would drain", id="draining"),
        pytest.param(["full", "released"], 0, "would set worker-default from 2 to 1", id="reducing"),
        pytest.param(["full", "draining"], 20, "would call 1 worker back", id="calling back"),
    ],
)
def test_a_dry_run_tells_and_does_nothing(workers: list[str], queued: int, words: str) -> None:
    ordered = Controls(dry_run=True)
    seen = observe(workers, queued=queued, running=0 if workers[0] == "idle" else 5, controls=ordered)
    decision, after = after_window(seen, draining=(1,) if len(workers) == 2 else ())
    assert (decision.writes, decision.drains, decision.resumes, decision.released) == (False, (), (), ())
    assert decision.reason.startswith("Dry run")
    assert said(decision.explanation, words), decision.explanation
    assert not kept(after).drains, "who is told nothing is not in drain"
    assert kept(after).expected == len(workers)


# --- controls that cannot be read


def test_controls_never_read_write_nothing_at_first_and_then_only_grow() -> None:
    seen = replace(observe(["full"], queued=20, running=5), controls=Unknown("denied"))
    state = State()
    desired = []
    for tick in range(14):
        decision, state = decide(FLEET, seen, state, tick * 5.0)
        desired.append(decision.desired)
    assert desired == [1] * 12 + [5] * 2
    idle = replace(observe(["idle"] * 3), controls=Unknown("denied"))
    decision, _ = decide(FLEET, idle, replace(settled(observe(["idle"] * 3)), controls_unknown_since=0.0), 60.0)
    assert not decision.drains
    assert said(decision.explanation, "the fleet may grow, not shrink")


def test_controls_never_read_do_not_stop_protection() -> None:
    seen = replace(observe(["full", "refused"], desired=1), controls=Unknown("denied"))
    decision, _ = decide(FLEET, seen, State(), 0.0)
    assert (decision.desired, decision.kind) == (2, "protect")


def test_controls_once_read_stay_in_force() -> None:
    stale: Observation = replace(observe(["full"], queued=90), controls=Stale(Controls(maximum=2), 900.0))
    decision, _ = decide(FLEET, stale, State(), 0.0)
    assert decision.desired == 2


# --- fallback


@pytest.mark.parametrize(
    ("fallback", "desired", "drained"),
    [
        pytest.param(Fallback("hold", 9, 30.0), 3, 0, id="hold"),
        pytest.param(Fallback("hold-if-higher", 5, 30.0), 5, 0, id="hold-if-higher raises"),
        pytest.param(Fallback("hold-if-higher", 2, 30.0), 3, 0, id="hold-if-higher never lowers"),
        pytest.param(Fallback("fixed", 5, 30.0), 5, 0, id="fixed raises"),
        pytest.param(Fallback("fixed", 1, 30.0), 3, 2, id="fixed drains"),
        pytest.param(Fallback("fixed", 50, 30.0), 10, 0, id="within the bounds"),
    ],
)
def test_fallback_after_a_while_of_nobody_knowing(fallback: Fallback, desired: int, drained: int) -> None:
    fleet = replace(FLEET, fallback=fallback)
    seen = observe(["idle"] * 3, database=SILENT, broker=SILENT)
    state = State()
    for tick in range(7):
        decision, state = decide(fleet, seen, state, tick * 5.0)
        if tick < 6:
            assert (decision.desired, decision.drains) == (3, ()), "too early"
    assert (decision.desired, len(decision.drains)) == (desired, drained)


def test_a_short_answer_ends_the_fallback() -> None:
    fleet = replace(FLEET, fallback=Fallback("fixed", 9, 30.0))
    _, state = decide(fleet, observe(["idle"], database=SILENT, broker=SILENT), State(), 0.0)
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
def test_a_count_raised_by_hand(foreign: str, then: list[int]) -> None:
    fleet = replace(FLEET, desired_count_drift=foreign)  # type: ignore[arg-type]
    state = remembering(settled(observe(["idle"]), fleet), expected=1)
    decision, state = decide(fleet, observe(["idle"] * 6), state, 60.0)
    assert decision.foreign_desired == 6
    assert [decision.desired, len(decision.drains)] == then
    if foreign == "adopt":
        for tick in range(1, 12):
            decision, state = decide(fleet, observe(["idle"] * 6), state, 60.0 + 5 * tick)
            assert not decision.drains
        decision, state = decide(fleet, observe(["idle"] * 6), state, 120.0)
        assert len(decision.drains) == 5


def test_a_count_lowered_by_hand_is_corrected_at_once_in_both() -> None:
    for foreign in ("adopt", "correct"):
        fleet = replace(FLEET, desired_count_drift=foreign)
        state = remembering(settled(observe(["full"] * 4, running=20), fleet), expected=4)
        decision, after = decide(fleet, observe(["full"] * 3, desired=3, running=15, queued=5), state, 60.0)
        assert decision.desired == 4, foreign
        assert after.adopted is None


# --- reductions that used to wait for ever


def test_a_silent_but_protected_worker_does_not_stop_others_from_leaving() -> None:
    decision, _ = after_window(observe(["full", "released", "silent"], running=5), draining=(1,))
    assert (decision.kind, decision.desired) == ("shrink", 2)


def test_a_silent_and_unprotected_worker_does() -> None:
    decision, _ = after_window(observe(["full", "released", "booting"], running=5), draining=(1,))
    assert not decision.reduces
    assert said(decision.explanation, "which is not protected")


def test_a_task_that_ecs_never_starts_stops_nobody_from_leaving() -> None:
    seen = observe(["full", "released", "pending"], running=5)
    state = State()
    for tick in range(62):
        decision, state = decide(FLEET, seen, remembering(state, drains={arn(1): 0.0}), tick * 5.0)
        assert decision.reduces == (tick > 60), tick * 5.0
    assert (decision.desired, decision.floor) == (1, 1)


def test_a_worker_that_came_up_and_never_consumes_is_drained_where_it_is_not_wanted() -> None:
    seen = observe(["full", "starting"], running=5)
    state = State()
    for tick in range(62):
        decision, state = decide(FLEET, seen, state, tick * 5.0)
    assert decision.drains == (arn(1),)
    decision, _ = decide(FLEET, observe(["full", "released"], running=5), state, 310.0)
    assert decision.desired == 1


def test_known_is_what_the_builders_say() -> None:
    assert isinstance(observe([]).controls, Known)
