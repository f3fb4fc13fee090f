# SPDX-License-Identifier: Apache-2.0
"""The shipped workloads: their seeds, their sizes, and what each shows."""

from functools import cache
from itertools import pairwise
from pathlib import Path
from statistics import mean, pstdev

import pytest

from simulation.workloads.document import read_workload, write_workload
from simulation.workloads.generator import DAY_S
from simulation.workloads.measure import size_of
from simulation.workloads.model import Workload, WorkloadDag, WorkloadRun, WorkloadTask
from simulation.workloads.shipped import SHIPPED, run_with_sigma, shipped_workload

PAGE = (Path(__file__).parents[4] / "docs/reference/workloads.md").read_text(encoding="utf-8")
SMALL = sorted(SHIPPED.keys() - {"large"})


@cache
def shipped(name: str) -> Workload:
    return shipped_workload(name, 1)


@pytest.mark.parametrize("name", SMALL)
def test_a_workload_has_three_days_and_a_moderate_size(name: str) -> None:
    workload = shipped(name)
    assert (workload.name, workload.horizon_s, workload.measure_from_s) == (name, 3 * DAY_S, DAY_S)
    assert 3_000 <= size_of(workload).tasks <= 60_000


def test_one_workload_is_large_for_the_speed_of_the_simulator() -> None:
    assert size_of(shipped("large")).tasks == pytest.approx(200_000, rel=0.1)


@pytest.mark.parametrize("name", SHIPPED)
def test_the_page_has_what_a_workload_shows_and_its_size(name: str) -> None:
    workload = shipped(name)
    size = size_of(workload)
    row = f"| `{name}` | {workload.description} | {len(workload.runs)} | {size.tasks} | {size.task_hours:.0f} |"
    assert row in PAGE.splitlines()


@pytest.mark.parametrize("name", ["nightly-batch", "drifting-durations", "daylight-saving"])
def test_the_seed_decides(name: str) -> None:
    assert shipped_workload(name, 1) == shipped(name)
    assert shipped_workload(name, 2) != shipped(name)


@pytest.mark.parametrize("name", ["assets", "flash-crowd", "mapped-and-loops", "new-and-changing"])
def test_a_workload_can_be_written_and_read(name: str) -> None:
    assert read_workload(write_workload(shipped(name)), name) == shipped(name)


def test_the_morning_peak_takes_eight_to_eleven_workers() -> None:
    workload = shipped("morning-peak")
    hours = {(run.start_s or 0) % DAY_S // 3600 for run in workload.runs}
    assert hours == {5, 6}
    slots = size_of(workload).task_hours / 3 / 2
    assert 8 <= slots / 5 <= 11


def test_the_flash_crowd_and_the_backfill_have_no_example_on_the_first_day() -> None:
    runs = shipped("flash-crowd").runs
    assert {run.kind for run in runs if (run.start_s or 0) < DAY_S} == {"scheduled"}
    assert {kind: sum(1 for run in runs if run.kind == kind) for kind in ("manual", "backfill")} == {
        "manual": 60,
        "backfill": 80,
    }


def test_a_third_of_the_dags_is_new_on_day_two_and_a_third_changes() -> None:
    workload = shipped("new-and-changing")
    first = {dag_id: min(run.start_s or 0 for run in workload.runs if run.dag_id == dag_id) for dag_id in workload.dags}
    assert sum(1 for start in first.values() if start > DAY_S) == 3
    assert sum(1 for dag in workload.dags.values() if len(dag.versions) == 3) == 3


def test_the_clocks_go_forward_on_day_two() -> None:
    workload = shipped("daylight-saving")
    starts = [run.start_s or 0 for run in workload.runs if run.dag_id == "sales_report_0"]
    assert [later - earlier for earlier, later in pairwise(starts)] == [DAY_S - 3600, DAY_S]


def one_task(runs: int, *, segments: dict[int, tuple[tuple[float, float], ...]] | None = None) -> Workload:
    tasks = (WorkloadTask("plain", ((100.0, 0.0),)), WorkloadTask("sensor", ((2.0, 60.0), (2.0, 0.0)), (0,)))
    run = WorkloadRun("sales", "scheduled", 0.0, 0.9, segments=segments or {})
    return Workload("days", 3 * DAY_S, DAY_S, {"sales": WorkloadDag("sales", (tasks,))}, (run,) * runs)


@pytest.mark.parametrize("sigma", [0.5, 1.0])
def test_noise_differs_by_task_and_run_and_keeps_the_mean(sigma: float) -> None:
    runs = run_with_sigma(one_task(4000), sigma, 1).runs
    times = [run.run_times_s[0] for run in runs if run.run_times_s]
    assert mean(times) == pytest.approx(100, rel=0.08)
    assert pstdev(times) > 40
    pokes = [segments[0][0] for run in runs if (segments := run.segments[1])]
    assert mean(pokes) == pytest.approx(2, rel=0.08)
    assert {run.segments[1][0][1] for run in runs} == {60.0}
    assert {run.factor for run in runs} == {0.9}


def test_noise_of_zero_changes_no_duration() -> None:
    workload = one_task(9)
    assert size_of(run_with_sigma(workload, 0.0, 1)) == size_of(workload)


def test_noise_adds_to_the_times_of_a_run() -> None:
    workload = one_task(1, segments={0: ((5.0, 300.0), (100.0, 0.0))})
    once = run_with_sigma(workload, 0.5, 1)
    twice = run_with_sigma(once, 0.5, 1)
    (run,), (again,) = once.runs, twice.runs
    assert run.segments[0][0][0] / 5 == pytest.approx(again.segments[0][0][0] / run.segments[0][0][0])
    assert [wait_s for _, wait_s in again.segments[0]] == [300.0, 0.0]


def test_a_size_counts_instances_and_segments() -> None:
    tasks = (
        WorkloadTask("plain", ((100.0, 0.0),)),
        WorkloadTask("files", ((10.0, 0.0),), (0,), mapped=2.6),
        WorkloadTask("sensor", ((2.0, 60.0), (2.0, 0.0)), (0,)),
    )
    runs = (
        WorkloadRun("sales", "manual", 0.0),
        WorkloadRun("sales", "manual", 0.0, 2.0, run_times_s=(50.0, 20.0, 0.0), mapped={1: 5}),
        WorkloadRun("sales", "manual", 0.0, segments={0: ((1.0, 9.0), (1.0, 9.0), (1.0, 0.0))}, mapped={1: 0}),
    )
    size = size_of(Workload("days", DAY_S, 0.0, {"sales": WorkloadDag("sales", (tasks,))}, runs))
    assert (size.tasks, size.slot_uses) == (5 + 7 + 2, 6 + 8 + 5)
    assert size.task_hours * 3600 == pytest.approx((100 + 30 + 4) + 2 * (50 + 100 + 4) + (3 + 4))
