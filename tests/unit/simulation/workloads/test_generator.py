# SPDX-License-Identifier: Apache-2.0
"""Generated days: shapes, behaviours, and the runs that start them."""

import random
from collections import defaultdict
from datetime import UTC, datetime
from statistics import mean

import pytest

from simulation.workloads.generator import (
    DAY_S,
    MONDAY,
    SHAPES,
    DaysGenerator,
    Shape,
    changed,
    cron_starts,
    deferrable,
    layers,
    log_normal,
    loop,
    retried,
    sensor,
    widths,
)
from simulation.workloads.model import Workload


def days(seed: int = 1, **options: float) -> DaysGenerator:
    return DaysGenerator(random.Random(seed), **options)  # type: ignore[arg-type]


def runs_of(workload: Workload, dag_id: str) -> list[float | None]:
    return [run.start_s for run in workload.runs if run.dag_id == dag_id]


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ("chain", (1, 1, 1, 1, 1)),
        ("wide", (1, 3, 1)),
        ("deep", (3,)),
        ("diamonds", (1, 4, 1)),
        ("fan", (1, 2, 1)),
    ],
)
def test_a_shape_is_a_number_of_tasks_by_layer(shape: Shape, expected: tuple[int, ...]) -> None:
    assert widths(shape, 5) == expected


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("tasks", [1, 20, 130])
def test_a_dag_of_every_shape_has_about_the_tasks_and_an_order(shape: Shape, tasks: int) -> None:
    made = layers(random.Random(1), widths(shape, tasks), 60)
    assert tasks / 2 <= len(made) <= tasks * 2 + 5
    assert all(parent < node for node, task in enumerate(made) for parent in task.upstream)
    assert all(task.upstream for task in made[widths(shape, tasks)[0] :])


def test_layers_fan_out_from_and_into_a_single_task() -> None:
    made = layers(random.Random(1), (1, 3, 1), 60)
    assert [task.upstream for task in made] == [(), (0,), (0,), (0,), (1, 2, 3)]


@pytest.mark.parametrize("sigma", [0.0, 0.12, 0.5, 1.0])
def test_noise_keeps_the_mean(sigma: float) -> None:
    rng = random.Random(3)
    assert mean(log_normal(rng, sigma) for _ in range(40_000)) == pytest.approx(1, abs=0.03)


def test_a_sensor_holds_a_slot_only_while_it_pokes() -> None:
    rng = random.Random(1)
    drawn = [sensor(600, every_s=60, poke_s=2)(rng, 99) for _ in range(400)]
    assert all(segments[:-1] == ((2, 60),) * (len(segments) - 1) and segments[-1] == (2, 0.0) for segments in drawn)
    assert mean(len(segments) - 1 for segments in drawn) == pytest.approx(10.5, rel=0.1)


def test_a_deferrable_task_waits_once_without_a_slot() -> None:
    rng = random.Random(1)
    drawn = [deferrable(400, submit_s=3)(rng, 70) for _ in range(400)]
    assert all((submit, after) == (3, (70, 0.0)) for (submit, _), after in drawn)
    assert mean(wait_s for (_, wait_s), _ in drawn) == pytest.approx(400, rel=0.1)


def test_a_loop_has_a_number_of_rounds_that_differs_from_run_to_run() -> None:
    rng = random.Random(1)
    rounds = [len(loop(5)(rng, 10)) for _ in range(2000)]
    assert mean(rounds) == pytest.approx(5, rel=0.1)
    assert min(rounds) == 1
    assert max(rounds) > 15


def test_a_retried_task_works_again_after_its_delay() -> None:
    rng = random.Random(1)
    drawn = [retried(0.2, delay_s=300)(rng, 60) for _ in range(2000)]
    failed = [segments for segments in drawn if len(segments) > 1]
    assert len(failed) / len(drawn) == pytest.approx(0.2, abs=0.03)
    assert all(run_s <= 60 and wait_s == 300 for segments in failed for run_s, wait_s in segments[:-1])
    assert {segments[-1] for segments in drawn} == {(60, 0.0)}


def test_a_cron_runs_at_its_times_from_the_start() -> None:
    assert cron_starts("0 */8 * * *", "UTC", MONDAY, DAY_S) == (0.0, 28800.0, 57600.0)


def test_a_cron_keeps_local_time_when_the_clocks_go_forward() -> None:
    saturday = datetime(2026, 3, 28, tzinfo=UTC)
    starts = cron_starts("0 6 * * *", "Europe/Berlin", saturday, 3 * DAY_S)
    assert [start / 3600 for start in starts] == [5, 24 + 4, 48 + 4]


def test_a_time_that_the_clocks_skip_comes_at_the_end_of_the_gap() -> None:
    saturday = datetime(2026, 3, 28, tzinfo=UTC)
    starts = cron_starts("30 2 * * *", "Europe/Berlin", saturday, 3 * DAY_S)
    assert [start / 3600 for start in starts] == [1.5, 24 + 1, 48 + 0.5]


def test_a_time_that_the_clocks_repeat_comes_once() -> None:
    saturday = datetime(2026, 10, 24, tzinfo=UTC)
    starts = cron_starts("30 2 * * *", "Europe/Berlin", saturday, 3 * DAY_S)
    assert [start / 3600 for start in starts] == [0.5, 24 + 0.5, 48 + 1.5]


def test_a_new_dag_and_a_new_version_begin_at_their_times() -> None:
    made = days()
    versions = [layers(made.rng, (1,) * length, 60) for length in (1, 2, 3)]
    made.dag("product", *versions, cron="0 * * * *", first_s=DAY_S, changes_s=[DAY_S + 7200, 2 * DAY_S])
    runs = made.workload("days", "").runs
    assert runs[0].start_s == DAY_S
    assert [run.version for run in runs] == [0] * 2 + [1] * 22 + [2] * 24


def test_a_dag_is_added_once() -> None:
    made = days()
    made.dag("product", layers(made.rng, (1,), 60))
    with pytest.raises(ValueError, match="product was added before"):
        made.dag("product", layers(made.rng, (1,), 60))


def test_people_start_runs_in_office_hours_of_working_days() -> None:
    made = DaysGenerator(random.Random(1), days=14)
    made.dag("report", layers(made.rng, (1,), 60))
    made.adhoc("report", a_day=40)
    starts = [start or 0.0 for start in runs_of(made.workload("days", ""), "report")]
    by_day = [sum(1 for start in starts if start // DAY_S == day) for day in range(14)]
    assert mean(by_day[day] for day in (0, 1, 2, 3, 7, 8, 9, 10)) == pytest.approx(40, rel=0.15)
    assert max(by_day[5], by_day[6], by_day[12], by_day[13]) <= 15
    assert all(6 <= start % DAY_S / 3600 < 21 for start in starts)


def test_a_burst_starts_its_runs_within_its_time() -> None:
    made = days()
    made.dag("rebuild", layers(made.rng, (1,), 60), max_active_runs=4)
    made.burst("rebuild", 5000, 30, 120, "backfill")
    workload = made.workload("days", "")
    assert len(workload.runs) == 30
    assert all(5000 <= (run.start_s or 0) <= 5120 and run.kind == "backfill" for run in workload.runs)
    assert workload.dags["rebuild"].max_active_runs == 4


def test_an_asset_starts_as_many_runs_as_its_producer_has() -> None:
    made = days()
    made.dag("load", layers(made.rng, (1, 2), 60), cron="0 */6 * * *")
    made.dag("marts", layers(made.rng, (1,), 60), after=("load", 2))
    made.dag("quality", layers(made.rng, (1,), 60), after=("marts", 0))
    runs = made.workload("days", "").runs
    assert [(run.dag_id, run.kind) for run in runs if run.start_s is None] == [
        pair for _ in range(12) for pair in (("marts", "asset"), ("quality", "asset"))
    ]  # fmt: skip
    assert len(runs) == 36


def test_the_instances_of_a_mapped_task_vary_around_their_mean() -> None:
    made = days()
    made.dag("files", changed(layers(made.rng, (1, 1), 60), [1], mapped=12), cron="*/5 * * * *")
    workload = made.workload("days", "")
    counts = [run.mapped[1] for run in workload.runs]
    assert mean(counts) == pytest.approx(12, rel=0.1)
    assert min(counts) == 0
    assert max(counts) > 25
    assert all(0 not in run.mapped for run in workload.runs)


def test_only_runs_that_differ_from_the_version_have_segments() -> None:
    made = days()
    made.dag("orders", changed(layers(made.rng, (1, 1), 60), [1], behaviour=retried(0.2)), cron="*/5 * * * *")
    workload = made.workload("days", "")
    (tasks,) = workload.dags["orders"].versions
    assert len(tasks[1].segments) == 1
    given = [run.segments for run in workload.runs if run.segments]
    assert len(given) / len(workload.runs) == pytest.approx(0.2, abs=0.05)
    assert all(set(segments) == {1} and len(segments[1]) > 1 for segments in given)


def test_durations_of_each_dag_drift_from_day_to_day() -> None:
    made = days(drift=0.3)
    names = [f"dag_{number}" for number in range(12)]
    for name in names:
        made.dag(name, layers(made.rng, (1,), 60), cron="0 * * * *")
    factors: dict[tuple[str, float], list[float]] = defaultdict(list)
    for run in made.workload("days", "").runs:
        factors[run.dag_id, (run.start_s or 0) // DAY_S].append(run.factor)
    drifts = [mean(factors[name, 2]) / mean(factors[name, 0]) for name in names]
    assert min(drifts) < 0.8
    assert max(drifts) > 1.25
