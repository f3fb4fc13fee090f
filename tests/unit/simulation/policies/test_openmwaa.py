# SPDX-License-Identifier: Apache-2.0
"""Our scaler in the simulator: it sees the present and the past, loses no task, and a rest changes nothing."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from scaler.core.model import LookAheadPolicy
from simulation.engine.day import Engine, EngineSettings
from simulation.engine.fleet import EngineFleet, EngineFleetSettings
from simulation.engine.result import FleetResult
from simulation.policies import openmwaa
from simulation.policies.openmwaa import Openmwaa
from simulation.workloads.model import Workload
from simulation.workloads.shipped import shipped_workload

OURS: dict[str, Callable[[], Openmwaa]] = {"reactive": Openmwaa, "look-ahead": lambda: Openmwaa(LookAheadPolicy())}
each_rule = pytest.mark.parametrize("rule", OURS.values(), ids=OURS)
HOUR = 3600.0


def short(name: str, begin_s: float, end_s: float) -> Workload:
    return replace(shipped_workload(name), measure_from_s=begin_s, horizon_s=end_s)


def simulate(of: Workload, policy: Openmwaa, seed: int = 1) -> tuple[FleetResult, list[tuple[float, int]]]:
    engine = Engine(of, policy, (EngineFleetSettings(),), EngineSettings(seed=seed))
    writes: list[tuple[float, int]] = []
    real = EngineFleet.set_desired

    def note(fleet: EngineFleet, desired: int, now: float) -> None:
        if desired != fleet.desired:
            writes.append((now, desired))
        real(fleet, desired, now)

    engine.fleets[0].set_desired = note.__get__(engine.fleets[0])  # type: ignore[method-assign]
    return engine.run().fleets[0], writes


@each_rule
def test_the_same_seed_gives_the_same_days(rule: Callable[[], Openmwaa]) -> None:
    days = short("every-few-minutes", 0.0, 0.4 * HOUR)
    first, again, other = simulate(days, rule()), simulate(days, rule()), simulate(days, rule(), seed=2)
    assert first == again
    assert first != other
    assert first[0].killed == 0


@each_rule
def test_what_comes_later_changes_nothing_before(rule: Callable[[], Openmwaa]) -> None:
    """Runs from now on take three times as long, and no manual one starts: each write until now is the same."""
    now, until = 0.5 * HOUR, 0.6 * HOUR
    days = short("every-few-minutes", 0.0, until)
    by_hand = min(days.dags)
    days = replace(days, runs=tuple(replace(run, kind="manual") if run.dag_id == by_hand else run for run in days.runs))
    kept = [run for run in days.runs if run.kind != "manual" or (run.start_s or 0.0) < now]
    later = [replace(run, factor=3 * run.factor) if (run.start_s or 0.0) >= now else run for run in kept]
    before = [write for write in simulate(days, rule())[1] if write[0] < now]
    assert len(before) > 1
    assert [write for write in simulate(replace(days, runs=tuple(later)), rule())[1] if write[0] < now] == before


@each_rule
def test_a_rest_changes_no_result(rule: Callable[[], Openmwaa], monkeypatch: pytest.MonkeyPatch) -> None:
    night = short("nightly-batch", 0.0, 1.3 * HOUR)
    rested = simulate(night, rule())
    monkeypatch.setattr(openmwaa, "REST_TICKS", 10**9)
    assert simulate(night, rule()) == rested


def test_look_ahead_waits_less_for_the_same_workers() -> None:
    """The second hour: the first one taught the durations."""
    days = short("every-few-minutes", HOUR, 2 * HOUR)
    (ahead, _), (reactive, _) = simulate(days, OURS["look-ahead"]()), simulate(days, OURS["reactive"]())
    assert ahead.mean_wait_s < reactive.mean_wait_s / 2
    assert ahead.worker_hours < reactive.worker_hours * 1.1
    assert ahead.killed == 0
