# SPDX-License-Identifier: Apache-2.0
"""The alarms of an environment as a table: MWAA's eight recommended ones, and those of what MWAA has not.

`docs/reference/alarms.md` is made from it, `docs/how-to/alarms.md` says what to do about each kind, and Terraform makes
one alarm of each row. What a gap in a metric means is part of an alarm: of a heartbeat it is the worst news, of a
generation that has no workers it is none.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final, Literal

from cdktf_app.monitoring.metrics import CloudWatchMetric, MonitoredResources, Statistic, TargetMetrics, sqs

Comparison = Literal["GreaterThanThreshold", "LessThanThreshold"]
Missing = Literal["breaching", "notBreaching", "missing"]

PERIOD_S: Final = 300
"""MWAA's. An alarm is looked at every minute, at the last five then."""
_BUSY_PERCENT: Final = 95.0
_OLDEST_TASK_S: Final = 1800.0
_FREEABLE_BYTES: Final = 512 * 1024 * 1024
_DRAIN_S: Final = 12 * 3600.0
"""What MWAA allows a worker to finish its tasks."""


@dataclass(frozen=True)
class AlarmType:
    """What an alarm is about: the same for every fleet, queue or target that has one."""

    name: str
    """Also the heading of what to do about it."""
    words: str
    """What a notification says; `{}` is whom it is about."""
    comparison: Comparison
    threshold: float
    periods: int
    """Of `PERIOD_S`, all of them."""
    missing: Missing
    of_mwaa: bool = False
    """Whether MWAA recommends it."""


@dataclass(frozen=True)
class Alarm:
    """One alarm."""

    id: str
    type: AlarmType
    metric: CloudWatchMetric
    about: str = ""

    @property
    def words(self) -> str:
        """What a notification says."""
        return self.type.words.format(self.about)


HEARTBEAT: Final = AlarmType(
    "No scheduler", "No scheduler's heart beats.", "LessThanThreshold", 1, 2, "breaching", of_mwaa=True
)
OLDEST_TASK: Final = AlarmType(
    "Oldest task",
    "A task{} has been queued for more than 30 minutes.",
    "GreaterThanThreshold",
    _OLDEST_TASK_S,
    3,
    "notBreaching",  # SQS says nothing of a queue that has been idle for six hours
    of_mwaa=True,
)
SCHEDULER_CPU: Final = AlarmType(
    "Scheduler CPU", "Schedulers are out of CPU.", "GreaterThanThreshold", _BUSY_PERCENT, 3, "missing", of_mwaa=True
)
SCHEDULER_MEMORY: Final = replace(SCHEDULER_CPU, name="Scheduler memory", words="Schedulers are almost out of memory.")
# Two generations, of which mostly one is empty: nobody's CPU is not too busy.
WORKER_CPU: Final = AlarmType(
    "Worker CPU",
    "Workers of {} are out of CPU.",
    "GreaterThanThreshold",
    _BUSY_PERCENT,
    6,
    "notBreaching",
    of_mwaa=True,
)
WORKER_MEMORY: Final = replace(WORKER_CPU, name="Worker memory", words="Workers of {} are almost out of memory.")
WEB_CPU: Final = AlarmType(
    "Web server CPU", "Web servers are out of CPU.", "GreaterThanThreshold", _BUSY_PERCENT, 3, "missing", of_mwaa=True
)
WEB_MEMORY: Final = replace(WEB_CPU, name="Web server memory", words="Web servers are almost out of memory.")
DATABASE_CPU: Final = AlarmType(
    "Database CPU",
    "The metadata database's writer is out of CPU.",
    "GreaterThanThreshold",
    _BUSY_PERCENT,
    3,
    "missing",
    of_mwaa=True,
)
DATABASE_MEMORY: Final = AlarmType(
    "Database memory",
    "The metadata database's writer has less than 512 MiB of memory left.",
    "LessThanThreshold",
    _FREEABLE_BYTES,
    3,
    "missing",
    of_mwaa=True,
)
DEAD_LETTERS: Final = AlarmType(
    "Dead letters", "Messages were given back too often.", "GreaterThanThreshold", 0, 1, "notBreaching"
)
TARGETS_DOWN: Final = AlarmType("Nobody answers", "No {} answers.", "LessThanThreshold", 1, 1, "breaching")
TARGETS_UNHEALTHY: Final = AlarmType(
    "Unhealthy targets", "A task of the {} does not answer.", "GreaterThanThreshold", 0, 3, "notBreaching"
)
# The scaler tells every minute: when it says nothing at all, it is not there.
NO_DECISION: Final = AlarmType(
    "No decision", "The scaler cannot size the fleet {}, or is not there.", "GreaterThanThreshold", 0, 1, "breaching"
)
SOURCE_UNKNOWN: Final = AlarmType(
    "Source unknown",
    "The scaler cannot read all it needs of the fleet {}, which does not shrink meanwhile.",
    "GreaterThanThreshold",
    0,
    1,
    "notBreaching",
)
DRAIN_TOO_OLD: Final = AlarmType(
    "Drain too old",
    "A worker of the fleet {} has been draining for more than 12 hours.",
    "GreaterThanThreshold",
    _DRAIN_S,
    1,
    "notBreaching",
)
PROTECTION_REFUSED: Final = AlarmType(
    "Protection refused",
    "ECS refuses to protect workers of the fleet {}: they take no tasks.",
    "GreaterThanThreshold",
    0,
    1,
    "notBreaching",
)
AT_MAXIMUM: Final = AlarmType(
    "At maximum",
    "The fleet {} has been at its maximum for 10 minutes, and tasks wait.",
    "GreaterThanThreshold",
    0,
    2,
    "notBreaching",
)
LAUNCHES_STUCK: Final = AlarmType(
    "Launches stuck", "Workers of the fleet {} do not come up.", "GreaterThanThreshold", 0, 1, "notBreaching"
)

# What the scaler says of a fleet: id, kind, metric, statistic. Minimum: it held all through the period.
_OF_FLEETS: Final[tuple[tuple[str, AlarmType, str, Statistic], ...]] = (
    ("no_decision", NO_DECISION, "NoDecision", "Minimum"),
    ("source_unknown", SOURCE_UNKNOWN, "UnknownSources", "Minimum"),
    ("drain_too_old", DRAIN_TOO_OLD, "OldestDrainSeconds", "Maximum"),
    ("protection_refused", PROTECTION_REFUSED, "ProtectionRefusedWorkers", "Minimum"),
    ("at_maximum", AT_MAXIMUM, "AtMaximumWithBacklog", "Minimum"),
    ("launches_stuck", LAUNCHES_STUCK, "StuckWorkers", "Minimum"),
)


def environment_alarms(monitored: MonitoredResources) -> list[Alarm]:
    """Return the alarms of an environment."""
    return [
        *_of_airflow(monitored),
        *_of_database(monitored),
        *(alarm for targets in monitored.targets for alarm in _of_targets(targets)),
        *(alarm for fleet in monitored.fleets for alarm in _of_fleet(monitored, fleet)),
    ]


def _of_airflow(monitored: MonitoredResources) -> Iterator[Alarm]:
    yield Alarm("scheduler_heartbeat", HEARTBEAT, monitored.airflow("SchedulerHeartbeat", "Scheduler", "Sum"))
    for queue, name in monitored.queues.items():
        metric = sqs(name, "ApproximateAgeOfOldestMessage")
        yield Alarm(f"oldest_task_{queue}", OLDEST_TASK, metric, f" of the queue {queue}")
    if not monitored.queues:
        # Redis keeps no times; the scaler asks Airflow's database since when the oldest task has been queued.
        yield Alarm("oldest_task", OLDEST_TASK, monitored.airflow("ApproximateAgeOfOldestTask", "Executor", "Maximum"))
    yield Alarm("scheduler_cpu", SCHEDULER_CPU, monitored.service("scheduler", "CPUUtilization"))
    yield Alarm("scheduler_memory", SCHEDULER_MEMORY, monitored.service("scheduler", "MemoryUtilization"))
    yield Alarm("web_server_cpu", WEB_CPU, monitored.service("web-server", "CPUUtilization"))
    yield Alarm("web_server_memory", WEB_MEMORY, monitored.service("web-server", "MemoryUtilization"))
    if monitored.dead_letters is not None:
        yield Alarm("dead_letters", DEAD_LETTERS, sqs(monitored.dead_letters, "ApproximateNumberOfMessagesVisible"))


def _of_database(monitored: MonitoredResources) -> Iterator[Alarm]:
    if not monitored.database:
        return
    # Of serverless v2 both are reckoned against the most it may grow to, so they mean what they mean elsewhere.
    yield Alarm("database_cpu", DATABASE_CPU, monitored.of_database("CPUUtilization"))
    yield Alarm("database_memory", DATABASE_MEMORY, monitored.of_database("FreeableMemory"))


def _of_targets(targets: TargetMetrics) -> Iterator[Alarm]:
    def metric(name: str) -> CloudWatchMetric:
        # Each zone says its own number: the greatest is of the zone that is worst, or best.
        return CloudWatchMetric("AWS/ApplicationELB", name, targets.dimensions, "Maximum")

    identifier = targets.word.lower().replace(" ", "_")
    yield Alarm(f"{identifier}_down", TARGETS_DOWN, metric("HealthyHostCount"), targets.word)
    yield Alarm(f"{identifier}_unhealthy", TARGETS_UNHEALTHY, metric("UnHealthyHostCount"), targets.word)


def _of_fleet(monitored: MonitoredResources, fleet: str) -> Iterator[Alarm]:
    for service in monitored.fleets[fleet]:
        yield Alarm(f"{service}_cpu", WORKER_CPU, monitored.service(service, "CPUUtilization"), service)
        yield Alarm(f"{service}_memory", WORKER_MEMORY, monitored.service(service, "MemoryUtilization"), service)
    for word, type, name, statistic in _OF_FLEETS:
        yield Alarm(f"fleet_{fleet}_{word}", type, monitored.fleet(fleet, name, statistic), fleet)


def anchor(heading: str) -> str:
    """Return the fragment by which a page's heading is linked to."""
    return heading.lower().replace(" ", "-")
