# SPDX-License-Identifier: Apache-2.0
"""The alarms of an environment as a table: the eight that MWAA recommends, and those of openmwaa's own components.

Terraform creates one alarm per row, `docs/reference/alarms.md` is generated from it, and `docs/how-to/alarms.md` has a
runbook of each type. Each type defines the meaning of missing data: for a heartbeat it is an alarm, for a service
without workers it is not.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from cdktf_app.monitoring.metrics import CloudWatchMetric, MonitoredResources, Statistic, TargetMetrics, sqs

Comparison = Literal["GreaterThanThreshold", "LessThanThreshold"]
Missing = Literal["breaching", "notBreaching", "missing"]

PERIOD_S: Final = 300
"""As in MWAA. CloudWatch evaluates the last five minutes every minute."""
_BUSY_PERCENT: Final = 95.0
_OLDEST_TASK_S: Final = 1800.0
_FREEABLE_BYTES: Final = 512 * 1024 * 1024
_DRAIN_S: Final = 12 * 3600.0
"""As MWAA's limit for a worker to finish its tasks."""


@dataclass(frozen=True)
class AlarmType:
    """A type of alarm, shared by all fleets, queues or targets."""

    name: str
    """Also the heading of its runbook."""
    text: str
    """Text of the notification; `{}` is the fleet, queue or target."""
    threshold: float = 0
    periods: int = 1
    """Number of periods of `PERIOD_S`; the condition must hold in all of them."""
    missing: Missing = "notBreaching"
    comparison: Comparison = "GreaterThanThreshold"
    of_mwaa: bool = False
    """Whether MWAA recommends this alarm."""


@dataclass(frozen=True)
class Alarm:
    """One alarm."""

    id: str
    type: AlarmType
    metric: CloudWatchMetric
    subject: str = ""

    @property
    def text(self) -> str:
        """Text of the notification."""
        return self.type.text.format(self.subject)


_BELOW: Final = "LessThanThreshold"
HEARTBEAT: Final = AlarmType(
    "No scheduler", "No scheduler heartbeat for 10 minutes.", 1, 2, "breaching", _BELOW, of_mwaa=True
)
# ECS publishes a sample a minute of each running task. DAG code can write embedded metrics to its log group, and so the
# scheduler's heartbeat, but no metric in a namespace of AWS.
NO_TASK: Final = AlarmType("No running task", "No task of the service {} runs.", 1, 2, "breaching", _BELOW)
# SQS publishes no metrics for a queue that was idle for six hours.
OLDEST_TASK: Final = AlarmType(
    "Oldest task", "A task{} has been queued for more than 30 minutes.", _OLDEST_TASK_S, 3, of_mwaa=True
)
DEAD_LETTERS: Final = AlarmType("Dead letters", "Messages were received too often and moved to the dead-letter queue.")
TARGETS_DOWN: Final = AlarmType("No healthy targets", "No healthy target of the {}.", 1, 1, "breaching", _BELOW)
TARGETS_UNHEALTHY: Final = AlarmType("Unhealthy targets", "A task of the {} fails its health check.", periods=3)
DATABASE_MEMORY: Final = AlarmType(
    "Database memory",
    "The metadata database's writer has less than 512 MiB of free memory.",
    _FREEABLE_BYTES,
    3,
    "missing",
    _BELOW,
    of_mwaa=True,
)
# The syncers publish both metrics only while there is something to report. Two periods: an object that is deleted
# during a sync is left out for a moment.
DAGS_LEFT_OUT: Final = AlarmType(
    "DAGs left out", "Objects in the DAG folder cannot be read or are no files.", periods=2
)
DAG_SYNC_FAILING: Final = AlarmType("DAG sync failing", "A DAG folder could not be synced five times in a row.", 4)


def _busy(name: str, utilization: str, *, periods: int = 3, missing: Missing = "missing") -> AlarmType:
    return AlarmType(name, f"{utilization} is above 95 %.", _BUSY_PERCENT, periods, missing, of_mwaa=True)


SCHEDULER_CPU: Final = _busy("Scheduler CPU", "CPU of the service {}")
SCHEDULER_MEMORY: Final = _busy("Scheduler memory", "Memory of the service {}")
WEB_CPU: Final = _busy("Web server CPU", "CPU of the service {}")
WEB_MEMORY: Final = _busy("Web server memory", "Memory of the service {}")
DATABASE_CPU: Final = _busy("Database CPU", "CPU of the metadata database's writer")
# One of the two services of a fleet usually has no workers; missing data is no alarm.
WORKER_CPU: Final = _busy("Worker CPU", "CPU of the service {}", periods=6, missing="notBreaching")
WORKER_MEMORY: Final = _busy("Worker memory", "Memory of the service {}", periods=6, missing="notBreaching")

# The scaler publishes every minute, so missing data means that it does not run.
NO_DECISION: Final = AlarmType(
    "No decision", "The scaler makes no decisions for the fleet {}, or does not run.", missing="breaching"
)
SOURCE_UNKNOWN: Final = AlarmType(
    "Source unknown", "The scaler cannot read all sources of the fleet {}; the fleet does not scale in until it can."
)
DRAIN_TOO_OLD: Final = AlarmType(
    "Drain too old", "A worker of the fleet {} has been draining for more than 12 hours.", _DRAIN_S
)
PROTECTION_REFUSED: Final = AlarmType(
    "Protection refused", "ECS refuses task protection for workers of the fleet {}; they accept no tasks."
)
AT_MAXIMUM: Final = AlarmType(
    "At maximum", "The fleet {} has been at its maximum for 10 minutes while tasks wait.", periods=2
)
TASKS_WITHOUT_MESSAGE: Final = AlarmType(
    "Tasks without message", "The broker has no message of tasks that are queued for the fleet {}.", periods=2
)
# AWS documents that a stopped RDS instance can take from minutes to hours to start.
WAKE_OVERDUE: Final = AlarmType("Wake overdue", "The environment has been waking for more than an hour.", 3600)
LAUNCHES_STUCK: Final = AlarmType("Launches stuck", "Workers of the fleet {} do not start.")

# Metrics of the scaler per fleet: id, type, metric, statistic. Minimum: true for the whole period.
_OF_FLEETS: Final[tuple[tuple[str, AlarmType, str, Statistic], ...]] = (
    ("no_decision", NO_DECISION, "NoDecision", "Minimum"),
    ("source_unknown", SOURCE_UNKNOWN, "UnknownSources", "Minimum"),
    ("drain_too_old", DRAIN_TOO_OLD, "OldestDrainSeconds", "Maximum"),
    ("protection_refused", PROTECTION_REFUSED, "ProtectionRefusedWorkers", "Minimum"),
    ("at_maximum", AT_MAXIMUM, "AtMaximumWithBacklog", "Minimum"),
    ("tasks_without_message", TASKS_WITHOUT_MESSAGE, "TasksWithoutMessage", "Minimum"),
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
    scheduler, web_server = monitored.service_of["scheduler"], monitored.service_of["web-server"]
    # The others have an alarm on their healthy targets.
    for service in [name for name in monitored.control_plane if name not in {t.service for t in monitored.targets}]:
        metric = monitored.service(service, "CPUUtilization", "SampleCount")
        yield Alarm(f"{service.replace('-', '_')}_not_running", NO_TASK, metric, service)
    for queue, name in monitored.queues.items():
        metric = sqs(name, "ApproximateAgeOfOldestMessage")
        yield Alarm(f"oldest_task_{queue}", OLDEST_TASK, metric, f" of the queue {queue}")
    if not monitored.queues:
        # Redis stores no times; the scaler reads the age of the oldest queued task from Airflow's database.
        yield Alarm("oldest_task", OLDEST_TASK, monitored.airflow("ApproximateAgeOfOldestTask", "Executor", "Maximum"))
    yield Alarm("scheduler_cpu", SCHEDULER_CPU, monitored.service(scheduler, "CPUUtilization"), scheduler)
    yield Alarm("scheduler_memory", SCHEDULER_MEMORY, monitored.service(scheduler, "MemoryUtilization"), scheduler)
    if web_server != scheduler:
        yield Alarm("web_server_cpu", WEB_CPU, monitored.service(web_server, "CPUUtilization"), web_server)
        yield Alarm("web_server_memory", WEB_MEMORY, monitored.service(web_server, "MemoryUtilization"), web_server)
    yield Alarm("dags_left_out", DAGS_LEFT_OUT, monitored.dag_sync("DagObjectsLeftOut"))
    yield Alarm("dag_sync_failing", DAG_SYNC_FAILING, monitored.dag_sync("DagSyncFailures"))
    if monitored.may_sleep:
        yield Alarm("wake_overdue", WAKE_OVERDUE, monitored.waking())
    if monitored.dead_letters is not None:
        yield Alarm("dead_letters", DEAD_LETTERS, sqs(monitored.dead_letters, "ApproximateNumberOfMessagesVisible"))


def _of_database(monitored: MonitoredResources) -> Iterator[Alarm]:
    if not monitored.database:
        return
    # For serverless v2 both metrics are relative to the maximum capacity, so the thresholds apply too.
    yield Alarm("database_cpu", DATABASE_CPU, monitored.of_database("CPUUtilization"))
    yield Alarm("database_memory", DATABASE_MEMORY, monitored.of_database("FreeableMemory"))


def _of_targets(targets: TargetMetrics) -> Iterator[Alarm]:
    def metric(name: str) -> CloudWatchMetric:
        # Each zone publishes its own value; Maximum takes the zone with the highest one.
        return CloudWatchMetric("AWS/ApplicationELB", name, targets.dimensions, "Maximum")

    identifier = targets.word.lower().replace(" ", "_")
    yield Alarm(f"{identifier}_down", TARGETS_DOWN, metric("HealthyHostCount"), targets.word)
    yield Alarm(f"{identifier}_unhealthy", TARGETS_UNHEALTHY, metric("UnHealthyHostCount"), targets.word)


def _of_fleet(monitored: MonitoredResources, fleet: str) -> Iterator[Alarm]:
    for service in monitored.fleets[fleet]:
        yield Alarm(f"{service}_cpu", WORKER_CPU, monitored.service(service, "CPUUtilization"), service)
        yield Alarm(f"{service}_memory", WORKER_MEMORY, monitored.service(service, "MemoryUtilization"), service)
    for word, alarm_type, name, statistic in _OF_FLEETS:
        yield Alarm(f"fleet_{fleet}_{word}", alarm_type, monitored.fleet(fleet, name, statistic), fleet)


def anchor(heading: str) -> str:
    """Return the link fragment of a heading."""
    return heading.lower().replace(" ", "-")
