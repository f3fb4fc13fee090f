# SPDX-License-Identifier: Apache-2.0
"""The look-ahead: workers are launched and kept where they save more wait than they cost."""

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler.core.decide import decide
from scaler.core.look_ahead import Capacity, find_target, wait_s
from scaler.core.model import Forecast, Known, LookAheadPolicy, Observation, Reading, Stale, Unknown, UnplannedRun
from scaler.core.state import Decision, FleetState
from tests.support.observations import Dimensions, decision_case, dimensions, looking_ahead
from tests.support.scaler_builders import FLEET, arn, explained, observe
from tests.support.scaler_invariants import INVARIANTS, waiting_tasks_raise_the_count
from tests.unit.scaler.test_properties import EXAMPLES

STEPS = 21
"""65 s until a new worker serves, and the 40 s after it."""
LAUNCH_S = 65.0
POLICY = LookAheadPolicy()
AHEAD = replace(FLEET, look_ahead=POLICY, maximum=20)


def forecast(
    *slots: float, spread: float = 0.0, task_s: float = 3600.0, present: int = 0, waiting_s: float = 0.0
) -> Forecast:
    """Build a forecast; the last number holds until its end."""
    values = [*slots, *[slots[-1]] * (STEPS - len(slots))]
    return Forecast(0.0, 5.0, tuple(values), (spread,) * STEPS, task_s, present, waiting_s)


def capacity(serving: int, *arriving: float, draining: int = 0, staying: int = 0) -> Capacity:
    return Capacity(serving, draining, staying, arriving, slots=5, maximum=20)


@pytest.mark.parametrize(
    ("expected", "workers", "launch", "keep"),
    [
        pytest.param(forecast(0), capacity(4), 0, 0, id="nothing is expected"),
        pytest.param(forecast(12), capacity(3), 3, 3, id="a constant demand"),
        pytest.param(forecast(12), capacity(1), 3, 1, id="only workers that exist are kept"),
        pytest.param(forecast(12), capacity(1, draining=2), 3, 3, id="a draining worker is kept too"),
        pytest.param(forecast(*[0] * 13, 12), capacity(3), 3, 0, id="a launch is in time: none is kept for it"),
        pytest.param(forecast(*[0] * 8, 12), capacity(3), 3, 3, id="too early for a launch: three are kept"),
        pytest.param(forecast(100, 0, task_s=2.0), capacity(5), 0, 5, id="a burst ends before a launch"),
        pytest.param(forecast(0.2, 0, task_s=1.0), capacity(0), 1, 0, id="a short task waits, and no worker is there"),
    ],
)
def test_target(expected: Forecast, workers: Capacity, launch: int, keep: int) -> None:
    found = find_target(POLICY, expected, workers, LAUNCH_S)
    assert (found.launch, found.keep) == (launch, keep)


def test_a_short_task_behind_long_ones_is_worth_a_worker() -> None:
    """All slots are held for hours: the wait of the short task counts, not the duration of the long ones."""
    found = find_target(POLICY, forecast(5.2, 5, task_s=1.0), capacity(1), LAUNCH_S)
    assert found.launch == 2


def test_wait_is_the_area_of_the_backlog() -> None:
    """Five tasks of 5 s wait for 5 s, and then 5 slots are free."""
    # 5 tasks wait in the first step, and their 25 slot-seconds are the work of 5 tasks at its end.
    assert wait_s(forecast(10, 0, task_s=5.0), [5] * STEPS, 0) == (5 + 25 / 5.0) * 5


@pytest.mark.parametrize("spread", [0.5, 2.0, 8.0])
@pytest.mark.parametrize("mean", [0.0, 4.0, 10.0, 30.0])
def test_an_uncertain_demand_has_the_wait_of_a_normal_one(mean: float, spread: float) -> None:
    """Compared with a sum over 8 001 values of the normal distribution."""
    width = 16 * spread / 8000
    values = [(-8 * spread + i * width) for i in range(8001)]
    weights = [2.718281828459045 ** (-(x * x) / (2 * spread * spread)) for x in values]
    above = sum(w * max(0.0, mean + x - 10) for x, w in zip(values, weights, strict=True)) / sum(weights)
    one = Forecast(0.0, 5.0, (mean,), (spread,), 5.0, 0, 0.0)
    assert wait_s(one, [10], 0) == pytest.approx(
        (above + above * 5 / 5.0) * 5, rel=1e-3, abs=1e-4
    )  # 0 beyond 4 spreads


def test_headroom_is_what_a_run_would_save_times_how_often_it_comes() -> None:
    """Ten parallel tasks of an hour, once in 100 s: a worker of 5 slots saves 5 x 65 task-seconds in 100 s, so 3.25."""
    unplanned = (UnplannedRun(0.01, (10.0,) * STEPS, 3600.0),)
    seen = replace(forecast(0), unplanned=unplanned)
    assert find_target(LookAheadPolicy(50.0), seen, capacity(4), LAUNCH_S).headroom == 0
    for worth, free in ((0.3, 0), (0.4, 2), (50.0, 2)):
        found = find_target(LookAheadPolicy(worth, headroom=True), seen, capacity(4), LAUNCH_S)
        assert (found.launch, found.keep, found.headroom) == (free, free, free), worth


@pytest.mark.parametrize("serving", range(26))
def test_headroom_does_not_depend_on_the_workers_that_serve(serving: int) -> None:
    """20 slots are expected, and a run of 10: 4 + 2 workers, also if few serve and a further one saves nothing."""
    seen = replace(forecast(20), unplanned=(UnplannedRun(0.01, (10.0,) * STEPS, 3600.0),))
    found = find_target(LookAheadPolicy(2.0, headroom=True), seen, capacity(serving), LAUNCH_S)
    assert (found.launch, found.headroom) == (6, 2)


@pytest.mark.parametrize("launch_s", [65.0, 105.0, 110.0, 300.0])
def test_a_launch_that_takes_longer_than_the_forecast_gives_no_more_workers(launch_s: float) -> None:
    assert find_target(POLICY, forecast(3), capacity(1), launch_s).launch == 1


@pytest.mark.parametrize(
    ("expected", "workers", "launch", "free"),
    [
        pytest.param(forecast(0), capacity(0), 2, 2, id="an empty fleet gets two workers"),
        pytest.param(forecast(12), capacity(3), 5, 2, id="beside 12 tasks 10 slots more: 5 workers, not 3 and 2 more"),
        pytest.param(forecast(10), capacity(2), 4, 2, id="two beside two full ones"),
        pytest.param(forecast(11), capacity(3), 5, 2, id="of 11 to 15 tasks the free slots count: 21 of 25"),
        pytest.param(forecast(10), capacity(2, draining=1, staying=1), 3, 1, id="a draining worker that stays is free"),
        pytest.param(forecast(10), capacity(2, draining=2, staying=0), 4, 2, id="one that leaves soon is not"),
    ],
)
def test_present_capacity_is_headroom_too(expected: Forecast, workers: Capacity, launch: int, free: int) -> None:
    seen = replace(expected, unplanned=(UnplannedRun(0.01, (10.0,) * STEPS, 3600.0),))
    found = find_target(LookAheadPolicy(2.0, headroom=True), seen, workers, LAUNCH_S)
    assert (found.launch, found.headroom) == (launch, free)


slots = st.lists(st.floats(0, 200), min_size=STEPS, max_size=STEPS)


@EXAMPLES
@given(slots, st.floats(0, 20), st.integers(0, 20), st.floats(0.1, 100))
def test_more_workers_never_wait_longer_and_each_saves_less(
    expected: list[float], spread: float, first: int, task_s: float
) -> None:
    seen = Forecast(0.0, 5.0, tuple(expected), (spread,) * STEPS, task_s, 0, 0.0)
    waits = [wait_s(seen, [workers * 5] * STEPS, first) for workers in range(21)]
    saved = [before - after for before, after in pairwise(waits)]
    assert all(value >= -1e-6 for value in saved), "one more worker, and more wait"


@EXAMPLES
@given(slots, st.floats(0.1, 20), st.floats(1, 5), st.integers(0, 20))
def test_a_more_worth_wait_gives_no_fewer_workers(
    expected: list[float], worth: float, times: float, serving: int
) -> None:
    seen = Forecast(0.0, 5.0, tuple(expected), (0.0,) * STEPS, 30.0, 0, 0.0)
    low = find_target(LookAheadPolicy(worth), seen, capacity(serving), LAUNCH_S)
    high = find_target(LookAheadPolicy(worth * times), seen, capacity(serving), LAUNCH_S)
    assert high.launch >= low.launch
    assert high.keep >= low.keep


@pytest.mark.parametrize(
    ("policy", "victim"),
    [
        pytest.param(POLICY, 1, id="the worker whose tasks end first leaves"),
        pytest.param(LookAheadPolicy(shadow=True), 0, id="in shadow the worker with the fewest tasks leaves"),
    ],
)
def test_the_worker_that_leaves_is_the_one_whose_tasks_end_first(policy: LookAheadPolicy, victim: int) -> None:
    """`one` runs 1 task, `busy` 2; `full` has no entry: when its tasks end is not known."""
    seen = replace(forecast(8, present=8), busy_s={arn(0).rpartition("/")[2]: 900.0, arn(1).rpartition("/")[2]: 20.0})
    observation = replace(observe(["one", "busy", "full"], running=8), forecast=Known(seen, 0.0))
    fleet, state = replace(AHEAD, look_ahead=policy), FleetState()
    for second in range(0, 75, 5):
        decision, state = decide(fleet, observation, state, float(second))
        if decision.drains:
            break
    assert decision.drains == (arn(victim),)


def look(workers: list[str], seen: Reading[Forecast], *, queued: int = 0, running: int = 0) -> Decision:
    observation: Observation = replace(observe(workers, queued=queued, running=running), forecast=seen)
    return decide(AHEAD, observation, FleetState(), 0.0)[0]


def test_workers_are_launched_before_the_tasks_wait() -> None:
    decision = look(["idle"], Known(forecast(*[0] * 12, 30), 0.0))
    assert decision.needed == 0
    assert decision.desired == 6
    assert explained(decision.explanation, "6 workers worth their cost in 65 s")


@pytest.mark.parametrize(
    "seen", [pytest.param(Unknown("slow"), id="unknown"), pytest.param(Stale(forecast(0), 9.0), id="stale")]
)
def test_without_a_forecast_of_this_tick_the_demand_counts(seen: Reading[Forecast]) -> None:
    decision = look(["idle"], seen, queued=40)
    assert decision.desired == 8
    assert explained(decision.explanation, "not used")


def test_tasks_beside_the_plan_are_expected_to_last() -> None:
    decision = look(["idle"], Known(forecast(0, present=4), 0.0), queued=44)
    assert decision.desired == 8


def test_a_task_that_waits_longer_than_a_launch_gets_a_worker() -> None:
    """The forecast expected that a burst ends at once, and it did not."""
    expected = forecast(8, 5, task_s=1.0, present=40)
    assert look(["full"], Known(expected, 0.0), queued=35, running=5).desired == 2
    assert look(["full"], Known(replace(expected, waiting_s=66.0), 0.0), queued=35, running=5).desired == 8


@EXAMPLES
@given(dimensions, st.integers(0, 2**32))
def test_every_invariant_of_a_decision_holds_with_any_forecast(drawn: Dimensions, seed: int) -> None:
    """All but one: with a forecast, a task may wait that is not worth a worker."""
    seen = looking_ahead(decision_case(drawn), seed)
    decision, after = seen.step()
    for invariant in INVARIANTS:
        if invariant is not waiting_tasks_raise_the_count or not isinstance(seen.observation.forecast, Known):
            invariant(seen, decision, after)
