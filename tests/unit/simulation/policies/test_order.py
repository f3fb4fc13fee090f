# SPDX-License-Identifier: Apache-2.0
"""The rules on a seeded morning: which waits less, which costs less, and that protection loses no task."""

import random

import pytest

from simulation.engine.day import Engine
from simulation.engine.fleet import StopProtection
from simulation.engine.result import FleetResult
from simulation.policies.registry import POLICIES
from simulation.workloads.model import Workload, WorkloadDag, WorkloadRun, WorkloadTask


def seeded() -> Workload:
    """Three hours: scheduled DAGs of two widths, and runs that people start."""
    rng = random.Random(7)
    dags, runs = {}, []
    for name, period_s, width in (("hourly", 3600, 60), ("often", 1200, 20), ("adhoc", 0, 40)):
        tasks = [WorkloadTask("first", ((30.0, 0.0),))]
        tasks += [WorkloadTask(f"t{n}", ((rng.uniform(20.0, 300.0), 0.0),), (0,)) for n in range(width)]
        dags[name] = WorkloadDag(name, (tuple(tasks),), cron="set" if period_s else None)
        starts = range(0, 10800, period_s) if period_s else sorted(rng.uniform(1800, 9000) for _ in range(4))
        runs += [WorkloadRun(name, "scheduled" if period_s else "manual", float(start)) for start in starts]
    return Workload("seeded", 10800.0, 1800.0, dags, tuple(sorted(runs, key=lambda run: run.start_s or 0.0)))


@pytest.fixture(scope="module")
def results() -> dict[str, FleetResult]:
    return {name: Engine(seeded(), policy()).run().fleets[0] for name, policy in POLICIES.items()}


def test_waits_are_in_order(results: dict[str, FleetResult]) -> None:
    names = ("always", "clairvoyant", "revealed", "reactive", "mwaa-2025")
    waits = [results[name].mean_wait_s for name in names]
    assert waits == sorted(waits), dict(zip(names, waits, strict=True))


def test_costs_are_in_order(results: dict[str, FleetResult]) -> None:
    names = ("mwaa-2025", "reactive", "chart-keda", "mwaa-2022", "always")
    hours = [results[name].worker_hours for name in names]
    assert hours == sorted(hours), dict(zip(names, hours, strict=True))


def test_knowledge_costs_no_more_than_a_tenth_above_reaction(results: dict[str, FleetResult]) -> None:
    for name in ("revealed", "clairvoyant"):
        assert results[name].worker_hours < 1.1 * results["reactive"].worker_hours
        assert results[name].mean_wait_s < 0.75 * results["reactive"].mean_wait_s


@pytest.mark.parametrize(
    "name", [name for name, rule in POLICIES.items() if rule().protection is not StopProtection.NONE]
)
def test_protected_rule_loses_no_task(results: dict[str, FleetResult], name: str) -> None:
    assert results[name].killed == 0


@pytest.mark.parametrize("name", list(POLICIES))
def test_rule_names_its_source(name: str) -> None:
    policy = POLICIES[name]()
    assert policy.name == name
    assert policy.source
