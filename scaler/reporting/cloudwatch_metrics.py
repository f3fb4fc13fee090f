# SPDX-License-Identifier: Apache-2.0
"""Every metric that the scaler publishes to CloudWatch: its name, its dimensions and its value in a tick.

An unknown value is not published: a gap in a graph is correct, a zero is not, and each alarm has its own setting for
missing data. The dashboard and the alarms of `cdktf_app` use these names; a test compares them.
"""

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


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric; `of` returns its value in a tick, None while it is unknown."""

    description: str
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


def _without_message(result: TickResult) -> float | None:
    demand = result.tick.decision.demand
    return demand.without_message if demand else None


NO_DECISION: Final = "NoDecision"
OF_FLEETS: Final[Mapping[str, Metric]] = {
    NO_DECISION: Metric(
        "1 while the scaler cannot decide a desired count, 0 otherwise",
        lambda result: float(result.tick.decision.desired is None),
    ),
    "DesiredWorkers": Metric("desired count of the last decision", lambda result: result.tick.decision.desired),
    "MaximumWorkers": Metric("maximum in force", lambda result: result.tick.decision.maximum),
    "RunningWorkers": Metric(
        "running tasks in ECS",
        lambda result: total(service.running if service else None for service in ecs_services(result).values()),
    ),
    "ProtectedWorkers": Metric("workers that ECS must not stop", lambda result: result.tick.decision.workers.protected),
    "DrainingWorkers": Metric("workers that take no new tasks", _draining),
    "StuckWorkers": Metric(
        "workers that did not start in time",
        lambda result: result.tick.decision.workers.stuck if tasks_known(result) else None,
    ),
    "BacklogSlots": Metric("queued tasks", _backlog),
    "AtMaximumWithBacklog": Metric(
        "1 while tasks are queued and the fleet is at its maximum", _at_maximum_with_backlog
    ),
    "TasksWithoutMessage": Metric("queued tasks whose message the broker has lost", _without_message),
    "UnknownSources": Metric(
        "sources that cannot be read: above 0 the fleet does not shrink",
        lambda result: sum(1 for age in reading_ages(result).values() if age is None),
    ),
    "OldestDrainSeconds": Metric(
        "age of the oldest drain, 0 without drains",
        lambda result: oldest_drain_s(result) if tasks_known(result) else None,
        "Seconds",
    ),
    "ProtectionRefusedWorkers": Metric("workers that ECS refuses to protect: they take no tasks", refused_workers),
}
"""By (Environment, Fleet)."""

OF_SERVICES: Final = ("DesiredWorkers", "RunningWorkers")
"""By (Environment, Fleet, Service): the same values of each ECS service."""

OF_SLEEP: Final = "WakingSeconds"
"""By (Environment): how long an environment that may sleep has been waking; 0 while it is awake or asleep."""

OF_AIRFLOW: Final[Mapping[str, tuple[str, str]]] = {
    "RunningTasks": ("Function", "Executor"),
    "QueuedTasks": ("Function", "Executor"),
    "SchedulerHeartbeat": ("Function", "Scheduler"),
    "ApproximateAgeOfOldestTask": ("Function", "Executor"),
}
"""By (Function, Environment) in `MWAA`, as in MWAA; MWAA has the last one in an AWS namespace."""


def of_fleet(namespace: str, environment: str, fleet: str, result: TickResult | None) -> Iterator[Datum]:
    """Yield the known metrics of a fleet; without a recent tick only `NoDecision`."""
    dimensions = (("Environment", environment), ("Fleet", fleet))
    if result is None:
        yield Datum(namespace, NO_DECISION, dimensions, 1.0)
        return
    for name, metric in OF_FLEETS.items():
        value = metric.of(result)
        if value is not None:
            yield Datum(namespace, name, dimensions, value, metric.unit)
    for name, service in ecs_services(result).items():
        desired = result.tick.decision.services[name].desired
        for metric_name, number in zip(OF_SERVICES, (desired, service.running if service else None), strict=True):
            if number is not None:
                yield Datum(namespace, metric_name, (*dimensions, ("Service", name)), number)


def of_sleep(namespace: str, environment: str, seconds: float) -> Datum:
    """Return the time that the environment has been waking."""
    return Datum(namespace, OF_SLEEP, (("Environment", environment),), seconds, "Seconds")


def of_tasks(environment: str, results: list[TickResult | None]) -> Iterator[Datum]:
    """Yield MWAA's task metrics; nothing unless the database has counts for every fleet's queues."""
    readings = [result.tick.observation.database if result else None for result in results]
    counts = [reading.value for reading in readings if isinstance(reading, Known)]
    if not counts or len(counts) < len(readings):
        return
    yield _airflow_datum(environment, "RunningTasks", sum(count.running for count in counts))
    yield _airflow_datum(environment, "QueuedTasks", sum(count.queued for count in counts))


def of_airflow(environment: str, health: AirflowHealth) -> Iterator[Datum]:
    """Yield the scheduler heartbeat (0 without a recent heartbeat) and the age of the oldest queued task."""
    yield _airflow_datum(environment, "SchedulerHeartbeat", health.schedulers)
    yield _airflow_datum(environment, "ApproximateAgeOfOldestTask", health.oldest_queued_s, "Seconds")


def _airflow_datum(environment: str, name: str, value: float, unit: Unit = "Count") -> Datum:
    return Datum(MWAA, name, (OF_AIRFLOW[name], ("Environment", environment)), value, unit)
