# SPDX-License-Identifier: Apache-2.0
"""The forecast: the slots that runs in progress and runs that are due will need, from past durations."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler.core.forecast.expected_run import ExpectedTask, Outlook, expect_run
from scaler.core.forecast.forecaster import MEMO_S, Forecaster
from scaler.core.forecast.plan import (
    ActiveTask,
    AirflowPlan,
    Arrivals,
    DagShape,
    NextRun,
    Pace,
    RunInProgress,
    TaskDuration,
    arrival_rate,
    days_ago,
    duration_of,
)
from scaler.core.forecast.sources import with_sources
from scaler.core.model import Forecast
from tests.unit.scaler.test_properties import EXAMPLES

NOW = 1000.0


def shape(
    *upstream: Sequence[int],
    seconds: Sequence[float | None] | float = 20.0,
    spread: float = 0.0,
    instances: Sequence[float] = (),
    starts: dict[int, tuple[str, ...]] | None = None,
) -> DagShape:
    """Build a DAG; each argument has the tasks that one task waits for."""
    every = [seconds] * len(upstream) if isinstance(seconds, float) else list(seconds)
    return DagShape(
        dag_id="dag",
        upstream=tuple(sum(1 << task for task in tasks) for tasks in upstream),
        downstream=tuple(
            tuple(child for child, tasks in enumerate(upstream) if task in tasks) for task in range(len(upstream))
        ),
        instances=tuple(instances) or (1.0,) * len(upstream),
        durations=tuple(None if value is None else TaskDuration(value, spread) for value in every),
        starts=starts or {},
    )


CHAIN = shape([], [0], [1])
FAN = shape([], [0], [0], [0], [1, 2, 3])


def plan(*runs: RunInProgress, due: Sequence[NextRun] = (), **shapes: DagShape) -> AirflowPlan:
    return AirflowPlan(runs, tuple(due), shapes, present=sum(len(run.active) for run in runs), waiting_since=None)


def runs(task: int, since: float, worker: str | None = None) -> ActiveTask:
    return ActiveTask(task, since, running=True, worker=worker)


def waits(task: int, since: float = NOW) -> ActiveTask:
    return ActiveTask(task, since, running=False)


def in_progress(of: DagShape, *active: ActiveTask, ended: Sequence[int] = (), pace: float = 1.0) -> RunInProgress:
    return RunInProgress("run", of, sum(1 << task for task in ended), active, pace)


def expect(seen: AirflowPlan, *, draining: Sequence[str] = (), horizon_s: float = 60.0) -> Forecast:
    return Forecaster().expect(seen, NOW, horizon_s=horizon_s, unknown_s=30.0, draining=draining)


ONE, NONE = [1.0], [0.0]


@pytest.mark.parametrize(
    ("seen", "slots"),
    [
        pytest.param(plan(), NONE * 12, id="nothing runs and nothing is due"),
        pytest.param(
            plan(in_progress(CHAIN, runs(0, NOW - 10))),
            [*ONE * 2, 0.8, *ONE * 3, 0.8, *ONE * 3, 0.4, 0.0],
            id="a chain: one second of the scheduler between its tasks",
        ),
        pytest.param(
            plan(in_progress(FAN, runs(0, NOW - 10))),
            [*ONE * 2, 2.4, *[3.0] * 3, 1.2, *ONE * 3, 0.4, 0.0],
            id="a fan of three",
        ),
        pytest.param(
            plan(in_progress(FAN, runs(1, NOW), runs(2, NOW), ended=[0, 3])),
            [*[2.0] * 4, 0.8, *ONE * 3, 0.2, *NONE * 3],
            id="a task that has ended is not counted again",
        ),
        pytest.param(
            plan(due=[NextRun("dag", NOW + 29)], dag=shape([], seconds=10.0)),
            [*NONE * 6, *ONE * 2, *NONE * 4],
            id="a run that is due",
        ),
        pytest.param(
            plan(due=[NextRun("dag", NOW + 29)], dag=shape([], seconds=10.0, instances=(60.0,))),
            [*NONE * 6, *[60.0] * 2, *NONE * 4],
            id="a run that is due and begins with a mapped task",
        ),
        pytest.param(
            plan(due=[NextRun("dag", NOW + 60)], dag=shape([])), NONE * 12, id="a run that is due after the horizon"
        ),
        pytest.param(
            plan(in_progress(CHAIN, waits(0), pace=2.0)), [*ONE * 8, 0.8, *ONE * 3], id="a run that is slow today"
        ),
        pytest.param(
            plan(in_progress(shape([], [0], seconds=[20.0, None]), runs(0, NOW - 20))),
            [0.8, 0.961, 0.866, 0.769, 0.673, 0.577, 0.481, 0.385, 0.289, 0.192, 0.096, 0.012],
            id="a task without history takes as long as a launch, more or less",
        ),
        pytest.param(
            plan(in_progress(shape([], [0], instances=(1.0, 7.5)), runs(0, NOW - 19))),
            [4.7, *[7.5] * 3, 3.0, *NONE * 7],
            id="a mapped task has its usual number of instances",
        ),
        pytest.param(
            plan(in_progress(shape([], [0], instances=(0.0, 1.0)), runs(0, NOW - 14))),
            [0.0, 0.6, *ONE * 3, 0.4, *NONE * 6],
            id="a task of another fleet holds no slot here, and another task waits for it",
        ),
        pytest.param(
            plan(in_progress(shape([], starts={0: ("other",)}), runs(0, NOW - 14)), other=shape([], seconds=10.0)),
            [1.0, 0.8, 1.0, 0.4, *NONE * 8],
            id="an asset starts another DAG",
        ),
    ],
)
def test_expected_slots(seen: AirflowPlan, slots: list[float]) -> None:
    assert expect(seen).slots == pytest.approx(slots, abs=0.002)


def test_a_late_task_is_expected_to_take_a_third_of_its_delay_more() -> None:
    found = expect(plan(in_progress(shape([]), runs(0, NOW - 120))))
    assert sum(found.slots) * 5 == pytest.approx(0.3 * 100)


def test_tasks_on_draining_workers_need_no_slot_of_another_worker() -> None:
    seen = plan(in_progress(FAN, runs(1, NOW, "a"), runs(2, NOW, "b"), ended=[0, 3]))
    assert expect(seen, draining=["a"]).slots[0] == 1.0


def test_a_dag_that_starts_itself_does_not_grow_for_ever() -> None:
    again = shape([], seconds=1.0, starts={0: ("dag",)})
    found = expect(plan(due=[NextRun("dag", NOW)], dag=again))
    assert sum(found.slots) * 5 == pytest.approx(4.0)


def test_an_uncertain_end_spreads_over_the_steps() -> None:
    found = expect(plan(in_progress(shape([], spread=0.5), waits(0))), horizon_s=120.0)
    assert sum(found.slots) * 5 == pytest.approx(20.0, rel=0.1)
    assert found.slots[0] == pytest.approx(0.984)
    assert 0.2 < found.slots[4] < 0.8
    assert found.spread[4] == pytest.approx(math.sqrt(found.slots[4] * (1 - found.slots[4])), abs=0.01)


@pytest.mark.parametrize(
    ("seconds", "typical_s", "spread"),
    [
        pytest.param([40.0], 40.0, 0.2, id="one run"),
        pytest.param([10.0, 20.0, 80.0], 20.0, math.sqrt((math.log(2) ** 2 + math.log(4) ** 2) / 3), id="the median"),
        pytest.param([0.0, 0.0], 0.1, 0.0, id="no time at all"),
    ],
)
def test_duration(seconds: list[float], typical_s: float, spread: float) -> None:
    found = duration_of(seconds)
    assert found is not None
    assert (found.typical_s, found.spread) == pytest.approx((typical_s, spread))


def test_a_task_without_history_has_no_duration() -> None:
    assert duration_of([]) is None


def test_the_pace_follows_long_tasks_more_and_the_first_one_less() -> None:
    usual = TaskDuration(100.0, 0.1)
    one = Pace().with_task(200.0, usual)
    many = one
    for _ in range(20):
        many = many.with_task(200.0, usual)
    assert Pace().factor == 1.0
    assert 1.5 < one.factor < many.factor < 2.0
    assert Pace().with_task(200.0, None).factor == 1.0
    assert Pace().with_task(2.0, TaskDuration(1.0, 0.1)).factor < one.factor


DAY, HOUR = 86400.0, 3600.0


@pytest.mark.parametrize(
    ("ages_s", "known_s", "per_hour"),
    [
        pytest.param([], 3 * DAY, 0, id="none"),
        pytest.param([10.0, 600.0, DAY], 0.9 * DAY, 0, id="less than a day is known: today counts for tomorrow"),
        pytest.param([DAY, DAY + 1700, DAY - 1700, DAY + 1900], 1.5 * DAY, 3, id="the hour around this time"),
        pytest.param([DAY, DAY, 2 * DAY], 2.5 * DAY, 1.5, id="the mean of two days"),
        pytest.param([DAY] * 9 + [7 * DAY, 14 * DAY, 14 * DAY], 15 * DAY, 1.5, id="the same weekday after a week"),
    ],
)
def test_arrivals(ages_s: list[float], known_s: float, per_hour: float) -> None:
    by_day = Counter(day for age_s in ages_s if (day := days_ago(age_s)))
    assert arrival_rate(by_day, known_s) * HOUR == pytest.approx(per_hour)


def test_a_run_that_people_may_start_is_beside_the_forecast() -> None:
    dag = shape([], [0], seconds=9.0)
    seen = replace(plan(dag=dag), arrivals=(Arrivals("dag", 0.01), Arrivals("gone", 1.0)))
    found = expect(seen)
    assert found.slots == (0.0,) * 12
    (unplanned,) = found.unplanned
    assert unplanned.per_s == 0.01
    assert sum(unplanned.slots) * 5 == pytest.approx(18.0)


durations = st.one_of(st.none(), st.floats(0.1, 5000.0))
edges = st.lists(st.lists(st.integers(0, 11), max_size=3), min_size=1, max_size=12)


@EXAMPLES
@given(edges, st.lists(durations, min_size=12, max_size=12), st.floats(0.0, 1.5), st.floats(0.0, 300.0), st.booleans())
def test_any_plan_gives_slots_within_its_tasks(
    upstream: list[list[int]], seconds: list[float | None], spread: float, ago: float, starts: bool
) -> None:
    """For any DAG, with every root active: finite, not negative, and at most all tasks at once."""
    upstream = [sorted({parent for parent in parents if parent < task}) for task, parents in enumerate(upstream)]
    dag = shape(*upstream, seconds=seconds[: len(upstream)], spread=spread)
    roots = [task for task, parents in enumerate(upstream) if not parents]
    active = [runs(task, NOW - ago) if starts else waits(task, NOW - ago) for task in roots]
    forecaster, seen = Forecaster(), plan(in_progress(dag, *active), due=[NextRun("dag", NOW + 5)], dag=dag)
    for now in (NOW, NOW + MEMO_S / 2, NOW + 4 * MEMO_S):
        found = forecaster.expect(seen, now, horizon_s=100.0, unknown_s=60.0)
        assert all(0.0 <= value <= 2 * len(upstream) + 0.01 for value in found.slots)
        assert all(math.isfinite(value) and value >= 0.0 for value in found.spread)
        assert found.task_s >= 1.0


def test_a_forecast_in_parts_is_the_same_and_continues_after_an_early_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    dag = shape([], [], seconds=10.0)
    many = plan(*(replace(in_progress(dag, runs(0, NOW), runs(1, NOW)), run_id=str(number)) for number in range(1000)))
    played: list[str] = []

    def play(run: RunInProgress, outlook: Outlook) -> list[ExpectedTask]:
        played.append(run.run_id)
        return expect_run(run, outlook)

    monkeypatch.setattr("scaler.core.forecast.forecaster.expect_run", play)
    forecaster = Forecaster()
    stopped = forecaster.in_parts(many, NOW, horizon_s=60.0, unknown_s=60.0)
    next(stopped)
    stopped.close()
    assert 0 < len(played) < 500
    assert forecaster.expect(many, NOW, horizon_s=60.0, unknown_s=60.0).slots == (2000.0, 2000.0, *NONE * 10)
    assert len(played) == len(set(played)) == 1000


def test_runs_that_are_due_are_made_in_parts_too() -> None:
    dag = shape(*[[]] * 100, seconds=10.0)
    due = AirflowPlan(
        (), tuple(NextRun(f"d{number}", NOW + 20) for number in range(50)), {f"d{n}": dag for n in range(50)}, 0, None
    )
    parts = Forecaster().in_parts(due, NOW, horizon_s=60.0, unknown_s=60.0)
    assert sum(1 for _ in parts) == 10


# --- the DAGs that need the slots


def sources(seen: AirflowPlan, *, draining: Sequence[str] = ()) -> list[tuple[str, float, float | None, int, int]]:
    forecaster = Forecaster()
    forecast = forecaster.expect(seen, NOW, horizon_s=60.0, unknown_s=30.0, draining=draining)
    found = with_sources(forecast, forecaster.runs, draining).sources
    return [(item.dag_id, item.slots, item.due_s, item.past_runs, item.as_large) for item in found]


def wide(dag_id: str, tasks: int, past_tasks: Sequence[int] = ()) -> DagShape:
    return replace(shape(*[[]] * tasks), dag_id=dag_id, past_tasks=tuple(past_tasks))


def test_the_sources_are_the_dags_with_the_most_slots_at_the_peak() -> None:
    """At NOW + 21 s `sales` runs; `old` ends before, and `small` is the fourth."""
    due = [NextRun(dag_id, NOW + 19.0) for dag_id in ("small", "sales", "b", "c")]
    seen = plan(
        in_progress(wide("old", 1), runs(0, NOW - 15)),
        due=due,
        small=wide("small", 1),
        sales=wide("sales", 5, [5, 4, 9]),
        b=wide("b", 2),
        c=wide("c", 2, [1]),
    )
    assert sources(seen) == [("sales", 5.0, 19.0, 3, 2), ("b", 2.0, 19.0, 0, 0), ("c", 2.0, 19.0, 1, 0)]


def test_runs_in_progress_of_one_dag_are_one_source_without_tasks_that_drain() -> None:
    active = [runs(0, NOW - 5, "leaves"), runs(1, NOW - 5, "stays")]
    seen = plan(in_progress(wide("d", 2), *active), replace(in_progress(wide("d", 2), *active), run_id="other"))
    assert sources(seen) == [("d", 4.0, None, 0, 0)]
    assert sources(seen, draining=["leaves"]) == [("d", 2.0, None, 0, 0)]
    assert sources(plan()) == []
