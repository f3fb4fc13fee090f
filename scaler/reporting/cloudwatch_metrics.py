# SPDX-License-Identifier: Apache-2.0
"""Every metric that the scaler publishes to CloudWatch: its name, its dimensions and what a result says of it.

What is not known has no value: a gap in a graph is honest, a zero is not, and an alarm decides by itself what a gap
means. `cdktf_app` draws and alarms on these names; a test holds it to them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from scaler.core.model import Known
from scaler.core.state import total
from scaler.ports import AirflowHealth, Datum
from scaler.reporting.decision_line import ecs_services, oldest_drain_s, reading_ages, refused_workers, tasks_known
from scaler.runtime.tick_result import TickResult

MWAA: Final = "AmazonMWAA"
"""The namespace in which MWAA publishes the metrics of Airflow."""

Unit = Literal["Count", "Seconds"]
Dimensions = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric; `of` reads its value from a result, and None where it is not known."""

    words: str
    of: Callable[[TickResult], float | None]
    unit: Unit = "Count"


def _draining(result: TickResult) -> float | None:
    workers = result.tick.decision.workers
    return workers.draining + workers.released if tasks_known(result) else None


def _at_maximum_with_backlog(result: TickResult) -> float | None:
    decision, queued = result.tick.decision, _backlog(result)
    if decision.desired is None or queued is None:
        return None
    return float(decision.desired >= decision.maximum and queued > 0)


def _backlog(result: TickResult) -> float | None:
    demand = result.tick.decision.demand
    return demand.queued if demand and not demand.stale else None


OF_FLEETS: Final[Mapping[str, Metric]] = {
    "NoDecision": Metric(
        "1 while no count can be decided, 0 otherwise", lambda result: float(result.tick.decision.desired is None)
    ),
    "DesiredWorkers": Metric("desired count that was decided", lambda result: result.tick.decision.desired),
    "MaximumWorkers": Metric("upper bound in force", lambda result: result.tick.decision.maximum),
    "RunningWorkers": Metric(
        "running tasks as ECS counts them",
        lambda result: total(each.running if each else None for each in ecs_services(result).values()),
    ),
    "ProtectedWorkers": Metric("workers that ECS must not stop", lambda result: result.tick.decision.workers.protected),
    "DrainingWorkers": Metric("workers that take nothing new", _draining),
    "StuckWorkers": Metric(
        "workers that did not come up in time",
        lambda result: result.tick.decision.workers.stuck if tasks_known(result) else None,
    ),
    "BacklogSlots": Metric("queued tasks", _backlog),
    "AtMaximumWithBacklog": Metric("1 while tasks wait and the fleet may not grow", _at_maximum_with_backlog),
    "UnknownSources": Metric(
        "sources that cannot be read: while there are any, the fleet does not shrink",
        lambda result: sum(1 for age in reading_ages(result).values() if age is None),
    ),
    "OldestDrainSeconds": Metric(
        "how long the longest drain goes on, 0 without any",
        lambda result: oldest_drain_s(result) if tasks_known(result) else None,
        "Seconds",
    ),
    "ProtectionRefusedWorkers": Metric("workers that ECS refuses to protect: they take no tasks", refused_workers),
}
"""By (Environment, Fleet)."""

OF_SERVICES: Final = ("DesiredWorkers", "RunningWorkers")
"""By (Environment, Fleet, Service): the same of each generation."""

OF_AIRFLOW: Final[Mapping[str, tuple[str, str]]] = {
    "RunningTasks": ("Function", "Executor"),
    "QueuedTasks": ("Function", "Executor"),
    "SchedulerHeartbeat": ("Function", "Scheduler"),
    "ApproximateAgeOfOldestTask": ("Function", "Executor"),
}
"""By (Function, Environment) in `MWAA`: as MWAA has them, but the last, which MWAA keeps in a namespace of AWS's."""


def of_fleet(namespace: str, environment: str, fleet: str, result: TickResult | None) -> Iterator[Datum]:
    """Yield what is known of a fleet; of one that does not tick, that it does not."""
    dimensions = (("Environment", environment), ("Fleet", fleet))
    if result is None:
        yield Datum(namespace, "NoDecision", dimensions, 1.0)
        return
    for name, metric in OF_FLEETS.items():
        value = metric.of(result)
        if value is not None:
            yield Datum(namespace, name, dimensions, value, metric.unit)
    for service, seen in ecs_services(result).items():
        decided = result.tick.decision.services[service].desired
        for name, number in zip(OF_SERVICES, (decided, seen.running if seen else None), strict=True):
            if number is not None:
                yield Datum(namespace, name, (*dimensions, ("Service", service)), number)


def of_tasks(environment: str, results: list[TickResult | None]) -> Iterator[Datum]:
    """Yield MWAA's numbers of tasks; nothing unless every fleet's queues are known from the database."""
    readings = [result.tick.observation.database if result else None for result in results]
    counts = [each.value for each in readings if isinstance(each, Known)]
    if not counts or len(counts) < len(readings):
        return
    yield _of_airflow(environment, "RunningTasks", sum(each.running for each in counts))
    yield _of_airflow(environment, "QueuedTasks", sum(each.queued for each in counts))


def of_vitals(environment: str, vitals: AirflowHealth) -> Iterator[Datum]:
    """Yield whether Airflow's heart beats; a heart that stands still is a zero, one that nobody felt is nothing."""
    yield _of_airflow(environment, "SchedulerHeartbeat", vitals.schedulers)
    yield _of_airflow(environment, "ApproximateAgeOfOldestTask", vitals.oldest_queued_s, "Seconds")


def _of_airflow(environment: str, name: str, value: float, unit: Unit = "Count") -> Datum:
    return Datum(MWAA, name, (OF_AIRFLOW[name], ("Environment", environment)), value, unit)
