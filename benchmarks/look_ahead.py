# SPDX-License-Identifier: Apache-2.0
"""Wait and worker-hours of every policy on shipped workloads, and one picture of their sums."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from simulation.comparison import ALL_POLICIES, LOOK_AHEAD, OURS, SimulationCase, simulate_cases
from simulation.engine.fleet import EngineFleetSettings
from simulation.engine.result import FleetResult
from simulation.picture import Panel, Point, draw
from simulation.workloads.shipped import shipped_workload

WORKLOADS: Final = (
    "morning-peak",
    "nightly-batch",
    "every-few-minutes",
    "hourly-and-adhoc",
    "flash-crowd",
    "all-together",
    "noisy-durations",
)
PICTURE: Final = Path(__file__).resolve().parents[1] / "build" / "bench" / "look-ahead.svg"
TITLE: Final = "Two days of seven workloads: 5 slots, 1 to 25 workers, 60 s to start one"


def measure() -> dict[str, Any]:
    """Return the results of each policy on each workload, and draw the picture."""
    fleet = EngineFleetSettings()
    workloads = [shipped_workload(name) for name in WORKLOADS]
    cases = [SimulationCase(workload, policy, fleet) for policy in ALL_POLICIES for workload in workloads]
    results = simulate_cases(cases, lambda ended: print(f"{ended} of {len(cases)} simulated", flush=True))
    by_policy: dict[str, list[FleetResult]] = {policy: [] for policy in ALL_POLICIES}
    for case, result in zip(cases, results, strict=True):
        by_policy[case.policy].append(result.fleets[0])
    points = [Point(policy, *_sums(found), ours=policy in OURS) for policy, found in by_policy.items()]
    PICTURE.write_text(draw([Panel(TITLE, points)]), encoding="utf-8")
    return {
        "workloads": {
            name: {policy: asdict(found[number]) for policy, found in by_policy.items()}
            for number, name in enumerate(WORKLOADS)
        },
        "all": {point.name: {"worker_hours": point.cost, "mean_wait_s": point.wait_s} for point in points},
        "tasks_killed": sum(result.killed for result in by_policy[LOOK_AHEAD]),
    }


def _sums(results: Sequence[FleetResult]) -> tuple[float, float]:
    """Return worker-hours and the mean wait of all tasks."""
    tasks = sum(result.tasks for result in results)
    wait_s = sum(result.mean_wait_s * result.tasks for result in results)
    return sum(result.worker_hours for result in results), wait_s / tasks
