# SPDX-License-Identifier: Apache-2.0
"""The accuracy of the look-ahead: what it predicted beside what came, in numbers, metrics and the explanation."""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler.core.decide import decide
from scaler.core.forecast.accuracy import KEPT_S, Accuracy, AccuracySums, Look, Seen, follow
from scaler.core.model import Forecast, ForecastSource, Known, LookAheadPolicy, Unknown
from scaler.core.state import FleetState
from scaler.reporting.decision_line import decision_line
from scaler.reporting.prometheus_metrics import PrometheusMetrics
from scaler.runtime.tick_result import TickResult
from tests.support.scaler_builders import FLEET, observe
from tests.support.scaler_reports import report
from tests.unit.scaler.test_metrics import sample
from tests.unit.scaler.test_properties import EXAMPLES

START_S, TICK_S, LAUNCH_S, GAP_S = 100.0, 5.0, 20.0, 15.0
NOTHING = Look(0, 0, 0.0, LAUNCH_S)
SHADOW = replace(FLEET, look_ahead=LookAheadPolicy(shadow=True), maximum=20)


def seen(slots: int = 0, *, queued: int = 0, serving: int = 0) -> Seen:
    return Seen(slots, queued, slots - queued, needed=-(-slots // 5), serving=serving, slots_per_worker=5)


def followed(ticks: Iterable[tuple[Look, Seen]], start: Accuracy | None = None) -> Accuracy:
    accuracy = start or Accuracy()
    for number, (look, demand) in enumerate(ticks):
        accuracy = follow(accuracy, look, demand, START_S + number * TICK_S, GAP_S)
    return accuracy


def burst(looks: Sequence[Look], demands: Sequence[Seen]) -> AccuracySums:
    return followed(zip(looks, demands, strict=True)).sums


FOUR = Look(4, 0, 18.0, LAUNCH_S)


def test_a_prediction_is_compared_one_launch_later() -> None:
    found = burst([FOUR, *[NOTHING] * 5], [*[seen()] * 4, seen(20), seen()])
    assert (found.comparisons, found.predicted, found.seen, found.apart) == (1, 18.0, 20.0, 2.0)
    assert found.seconds == 25.0


@pytest.mark.parametrize(
    ("requested_before", "lead_s"),
    [
        pytest.param(0, 0.0, id="not requested before"),
        pytest.param(1, 5.0, id="requested one tick before"),
        pytest.param(3, 15.0, id="requested three ticks before"),
        pytest.param(9, LAUNCH_S, id="requested for longer than a launch takes: more is no use"),
    ],
)
def test_the_lead_is_the_time_from_the_request_to_the_need(requested_before: int, lead_s: float) -> None:
    looks = [*[NOTHING] * (10 - requested_before), *[FOUR] * (requested_before + 1)]
    found = burst(looks, [*[seen()] * 10, seen(20)])
    assert (found.rises, found.lead_s) == (4, 4 * lead_s)


def test_a_request_that_was_given_up_begins_again() -> None:
    found = burst([FOUR, FOUR, NOTHING, FOUR, FOUR], [*[seen()] * 4, seen(20)])
    assert found.lead_s == 4 * 5.0


def test_workers_above_the_need_are_for_nothing_from_the_launch_on() -> None:
    """Four requested for two ticks, and two needed: 2 workers for 2 ticks. What is to be launched costs nothing yet."""
    found = burst([FOUR, FOUR, *[NOTHING] * 5], [*[seen()] * 4, *[seen(10)] * 3])
    assert found.unneeded_s == 2 * 2 * TICK_S
    kept = burst([Look(0, 3, 0.0, LAUNCH_S)] * 3, [seen(5, serving=3)] * 3)
    assert kept.unneeded_s == 2 * 2 * TICK_S


@pytest.mark.parametrize(
    ("serving", "saved"),
    [
        pytest.param(1, 15, id="the requested workers have room for the tasks that wait"),
        pytest.param(4, 0, id="as many workers are there: the tasks wait for something else"),
    ],
)
def test_the_wait_that_would_have_been_saved(serving: int, saved: int) -> None:
    looks = [FOUR, *[NOTHING] * 4]
    found = burst(looks, [*[seen()] * 4, seen(30, queued=25, serving=serving)])
    assert found.saved_s == saved * TICK_S


def test_after_a_gap_nothing_is_compared_with_what_was_before() -> None:
    """The demand rose in the gap: when is unknown."""
    before = followed([(FOUR, seen())])
    after = follow(before, FOUR, seen(20), START_S + LAUNCH_S + GAP_S + 1.0, GAP_S)
    assert after.sums == AccuracySums()
    assert after.compared is None


def test_figures_of_more_than_a_day_ago_are_forgotten() -> None:
    old = AccuracySums(seconds=KEPT_S - 1, comparisons=7)
    start = Accuracy(present=old, before=AccuracySums(seconds=KEPT_S, comparisons=1000))
    found = followed([(NOTHING, seen())] * 2, start)
    assert (found.sums.seconds, found.sums.comparisons) == (KEPT_S + 4, 7)


looks = st.builds(Look, st.integers(0, 9), st.integers(0, 9), st.floats(0, 50), st.sampled_from([5.0, LAUNCH_S, 60.0]))
demands = st.builds(
    lambda running, queued, serving: seen(running + queued, queued=queued, serving=serving),
    *(st.integers(0, 30), st.integers(0, 30), st.integers(0, 9)),
)


@EXAMPLES
@given(st.lists(st.tuples(looks, demands), max_size=30))
def test_figures_are_bounded_by_what_happened(ticks: list[tuple[Look, Seen]]) -> None:
    found = followed(ticks)
    sums = found.sums
    assert sums.seconds == max(0, len(ticks) - 1) * TICK_S
    assert sums.apart >= abs(sums.predicted - sums.seen) - 1e-6
    assert 0 <= sums.lead_s <= sums.rises * 60.0
    assert 0 <= sums.saved_s <= sum(demand.queued for _, demand in ticks) * TICK_S
    assert len(found.pending) <= 60 / TICK_S, "the state stays small"


# --- in a decision


SOURCES = (ForecastSource("sales_<b>daily</b>", 20.0, 35.0, 14, 13), ForecastSource("late", 4.0, None, 0, 0))


def expected(at: float, *slots: float, present: int = 0, sources: tuple[ForecastSource, ...] = ()) -> Known[Forecast]:
    values = (*slots, *[slots[-1]] * (21 - len(slots)))
    return Known(Forecast(at, 5.0, values, (0.0,) * 21, 60.0, present, 0.0, sources=sources), at)


def ticks(*, shadow: bool = True) -> list[TickResult]:
    """A burst of 20 slots was expected for 65 s, and 22 came."""
    fleet, state, found = replace(SHADOW, look_ahead=LookAheadPolicy(shadow=shadow)), FleetState(), []
    for number in range(15):
        now, demand = START_S + number * TICK_S, 22 if number >= 13 else 0
        forecast = expected(now, *[0.0] * max(0, 13 - number), max(20.0, demand), present=demand)
        seen_now = observe(["full"] if demand else ["idle"], queued=max(0, demand - 5), running=min(5, demand), now=now)
        seen_now = replace(seen_now, forecast=forecast)
        found.append(report(seen_now, fleet=fleet, state=state, now=now))
        _, state = decide(fleet, seen_now, state, now)
    return found


def step(result: TickResult, name: str) -> str:
    return next(step.text for step in result.tick.decision.explanation if step.name == name)


def test_one_sentence_shows_whether_the_look_ahead_can_be_switched_on() -> None:
    """Beside the first worker, three were requested for 65 s, and a fourth was not: 49 s on average."""
    *_, last = ticks()
    assert step(last, "accuracy") == (
        "In 0.0 h, while there was demand: 20.0 slots predicted, 22.0 seen, 2.0 apart on average;"
        " workers would have been requested 49 s before they were needed;"
        " 0.0 worker-hours for nothing, 0.0 task-hours of wait saved"
    )
    *_, on = ticks(shadow=False)
    assert "workers were requested" in step(on, "accuracy")
    assert "saved" not in step(on, "accuracy"), "what would have waited is unknown"


def test_a_shadow_counts_the_workers_that_it_requested_before() -> None:
    """None of them was launched: without that, the forecast would have a backlog, and request more for it."""
    launches = [
        step.values["launch"]
        for result in ticks()
        for step in result.tick.decision.explanation
        if step.name == "look-ahead"
    ]
    assert launches == [4] * 13 + [5] * 2


def test_the_figures_are_metrics() -> None:
    metrics, (first, *_, last) = PrometheusMetrics(), ticks()
    metrics.on_tick(first)
    assert math.isnan(sample(metrics, "look_ahead_error_slots", fleet="default") or 0.0)
    metrics.on_tick(last)
    slots = {kind: sample(metrics, "look_ahead_slots", fleet="default", kind=kind) for kind in ("predicted", "seen")}
    assert slots == {"predicted": 20.0, "seen": 22.0}
    assert sample(metrics, "look_ahead_error_slots", fleet="default") == 2.0
    assert (sample(metrics, "look_ahead_saved_wait_seconds", fleet="default") or 0.0) > 0


def test_the_explanation_names_the_dags_that_need_the_slots() -> None:
    seen_now = replace(observe(["idle"]), forecast=expected(0.0, 0.0, 0.0, 24.0, sources=SOURCES))
    result = report(seen_now, fleet=SHADOW)
    steps = [step for step in result.tick.decision.explanation if step.name == "expected"]
    assert [step.text for step in steps] == [
        "20 of 24 slots in 10 s from sales_<b>daily</b>, due in 35 s: as many tasks ran in 13 of its last 14 runs",
        "4 of 24 slots in 10 s from late, in progress: none of its runs has ended",
    ]
    assert steps[0].values["dag_id"] == SOURCES[0].dag_id
    line = json.loads(json.dumps(decision_line(result, "test")))
    assert [step["text"] for step in line["explanation"] if step["name"] == "expected"] == [step.text for step in steps]


def test_without_a_forecast_there_are_no_figures() -> None:
    result = report(replace(observe(["idle"]), forecast=Unknown("slow")), fleet=SHADOW)
    assert not [step for step in result.tick.decision.explanation if step.name in ("accuracy", "expected")]
