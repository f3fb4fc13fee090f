# SPDX-License-Identifier: Apache-2.0
"""What each published rule does with one small run, computed by hand: slots 5, cold start 60 s, at least one worker."""

import pytest

from simulation.engine.day import Engine
from simulation.engine.fleet import EngineFleetSettings
from simulation.engine.policy import EngineFleetView, ScalingRule
from simulation.engine.result import FleetResult
from simulation.policies.clairvoyant import Clairvoyant
from simulation.policies.dask_adaptive import DaskAdaptive
from simulation.policies.keda import ChartKeda
from simulation.policies.mwaa_2022 import Mwaa2022
from simulation.policies.mwaa_2025 import Mwaa2025
from simulation.policies.predictive_scaling import PredictiveScaling
from simulation.policies.reactive import Reactive
from simulation.policies.revealed import Revealed
from simulation.policies.target_tracking import TargetTracking
from simulation.policies.workflow_plan import WorkflowPlan
from simulation.policies.workflow_token import WorkflowToken
from simulation.workloads.model import RunKind, Workload, WorkloadDag, WorkloadRun, WorkloadTask


def wide(width: int, seconds: float, *starts: float, kind: RunKind = "manual", first_s: float = 0.0) -> Workload:
    """Runs of parallel tasks; with `first_s`, they wait for one task."""
    first = [WorkloadTask("first", ((first_s, 0.0),))] if first_s else []
    upstream = (0,) if first else ()
    tasks = [*first, *(WorkloadTask(f"t{n}", ((seconds, 0.0),), upstream) for n in range(width))]
    dag = WorkloadDag("wide", (tuple(tasks),))
    return Workload("wide", starts[-1] + 1800, 0.0, {"wide": dag}, tuple(WorkloadRun("wide", kind, s) for s in starts))


def simulate(
    policy: ScalingRule, workload: Workload, *, minimum: int = 1
) -> tuple[list[tuple[float, int]], FleetResult]:
    """Return the changes of the desired count, and the result."""
    engine = Engine(workload, policy, (EngineFleetSettings(minimum=minimum, cold_start_sigma=0.0),))
    changes: list[tuple[float, int]] = []
    decide = policy.tick

    def tick(view: EngineFleetView) -> None:
        before = view.desired
        decide(view)
        if view.desired != before:
            changes.append((view.now, view.desired))

    policy.tick = tick  # type: ignore[method-assign]
    return changes, engine.run().fleets[0]


TWELVE = wide(12, 100.0, 10.0)
"""12 tasks of 100 s, queued at 11 s: three workers, of which one starts at 0 s and serves at 60 s."""


@pytest.mark.parametrize(
    ("policy", "changes"),
    [
        pytest.param(Reactive(), [(15, 3), (220, 2), (235, 1)], id="reactive: next poll, and a minute after the need"),
        pytest.param(Mwaa2022(), [(120, 3), (420, 1)], id="MWAA 2022: metric of a minute ago, down when idle twice"),
        pytest.param(Mwaa2025(), [(120, 3), (240, 2), (360, 1)], id="MWAA 2025: the same metric, down with the need"),
        pytest.param(ChartKeda(), [(15, 3), (465, 2), (480, 1)], id="chart: next sync, 300 s of stabilisation"),
        pytest.param(TargetTracking(), [(180, 2), (1080, 1)], id="target tracking: third and fifteenth sample"),
        pytest.param(Clairvoyant(), [(0, 3), (160, 1)], id="clairvoyant: a cold start ahead, here not possible"),
    ],
)
def test_desired_count_of_one_run(policy: ScalingRule, changes: list[tuple[float, int]]) -> None:
    seen, result = simulate(policy, TWELVE)
    assert seen == changes
    assert result.tasks == 12
    assert result.killed == 0


@pytest.mark.parametrize(
    ("current", "needed", "replicas"),
    [(20, 21, 20), (20, 23, 23), (2, 25, 6), (10, 25, 20), (4, 0, 4)],
    ids=["within the tolerance", "beyond it", "four pods more", "twice the pods", "held by the window"],
)
def test_replicas_that_the_hpa_sets(current: int, needed: int, replicas: int) -> None:
    policy = ChartKeda()
    policy._recommend(0.0, current, current)
    assert policy._recommend(15.0, current, needed) == replicas


def test_keda_wakes_the_fleet_and_empties_it() -> None:
    seen, _ = simulate(ChartKeda(), wide(1, 100.0, 50.0), minimum=0)
    # queued at 51 s, seen at 55 s, served at 115 s, ended at 215 s; last seen active at 210 s
    assert seen == [(55, 1), (240, 0)]


def test_forecast_raises_before_the_hour_of_yesterday() -> None:
    workload = wide(12, 3000.0, 2 * 3600.0, 26 * 3600.0)
    predictive, _ = simulate(PredictiveScaling(), workload)
    tracking, _ = simulate(TargetTracking(), workload)
    # (50 samples of 12, 3 of 7 and 7 of 0 tasks) / 60 / 5 slots, rounded up; 300 s before 26:00
    assert next(change for change in predictive if change[0] > 86400) == (26 * 3600 - 300, 3)
    assert next(change for change in tracking if change[0] > 86400) == (26 * 3600 + 180, 3)


def test_dask_divides_known_work_by_the_target_duration() -> None:
    seen, result = simulate(DaskAdaptive(), wide(12, 100.0, 10.0, 1000.0))
    # 12 x 0.5 s / 5 s: two threads, one each for workers that have not arrived; later 12 x 100 s, at most 12 threads
    assert seen == [(11, 2), (62, 1), (1001, 3), (1103, 2), (1163, 1)]
    assert result.killed == 0


@pytest.mark.parametrize("policy", [WorkflowPlan(), WorkflowToken()], ids=["plan", "token"])
def test_workflow_rule_sees_the_tasks_behind_the_running_one(policy: ScalingRule) -> None:
    seen, result = simulate(policy, wide(12, 100.0, 10.0, 1018.0, first_s=10.0))
    # at 1020 s, the first task has 9 s left and the twelve behind it start within the interval of 30 s
    assert [change for change in seen if 900 < change[0] < 1100] == [(1020, 3)]
    assert result.killed == 0


def test_clairvoyant_launches_one_cold_start_ahead_of_a_manual_run() -> None:
    seen, result = simulate(Clairvoyant(), wide(12, 100.0, 1000.0))
    assert seen == [(935, 3), (1105, 1)]
    assert result.mean_wait_s == 0.0


def test_revealed_launches_ahead_of_a_scheduled_run() -> None:
    seen, result = simulate(Revealed(), wide(12, 100.0, 1000.0, kind="scheduled"))
    assert max(desired for at, desired in seen if at < 941) == 3
    assert result.mean_wait_s == 0.0


def test_revealed_learns_of_a_manual_run_at_its_start() -> None:
    seen, _ = simulate(Revealed(), wide(12, 100.0, 1000.0))
    assert seen[0] == (1000, 3)


def test_revealed_launches_nothing_for_a_short_peak() -> None:
    seen, _ = simulate(Revealed(), wide(7, 10.0, 1000.0, kind="scheduled"))
    # two tasks wait 10 s without a second worker, which would be paid for a minute
    assert seen == []
