# SPDX-License-Identifier: Apache-2.0
"""The panels of an environment: the source of the CloudWatch and the Grafana dashboard.

A panel has CloudWatch metrics. If the scaler exposes the same values to Prometheus, with a higher resolution, it also
has Prometheus queries, which Grafana uses.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Final, Literal

from cdktf_app.monitoring.metrics import CloudWatchMetric, MonitoredResources, Statistic, TargetMetrics, sqs

Unit = Literal["count", "percent", "seconds", "bytes"]
PREFIX: Final = "openmwaa_scaler_"
THIRD, HALF, WHOLE = 8, 12, 24
"""Widths, of 24 columns."""
MOST_FLEETS: Final = 60
"""CloudWatch limits a graph to 500 metrics and a dashboard to 2 500; the scaler's page shows every fleet."""


@dataclass(frozen=True)
class GraphSeries:
    """One line of a graph."""

    label: str
    metric: CloudWatchMetric


@dataclass(frozen=True)
class Query:
    """One Prometheus query; `label` may refer to labels in double braces."""

    label: str
    expression: str


@dataclass(frozen=True)
class Graph:
    """Lines over time."""

    title: str
    unit: Unit
    series: Sequence[GraphSeries] = ()
    queries: Sequence[Query] = ()
    width: int = THIRD
    fleet: str = ""
    """The fleet of the graph, if it has one."""


@dataclass(frozen=True)
class LogTable:
    """A Logs Insights query of the scaler's log; `bars` shows the result over time."""

    title: str
    query: str
    queries: Sequence[Query] = ()
    bars: bool = False
    width: int = HALF


Panel = Graph | LogTable

# The scaler logs each decision; unchanged decisions once per minute.
_DECISIONS: Final = LogTable(
    "Decisions by kind",
    'filter event = "decision" | stats count(*) as decisions by bin(5m), kind',
    (
        Query(
            "{{fleet}} {{kind}}",
            f'sum by (fleet, kind) (increase({PREFIX}decisions_total{{job=~"$job", kind!="hold"}}[5m]))',
        ),
    ),
    bars=True,
)
_WHY: Final = LogTable(
    "Last decisions that changed the desired count, with reasons",
    'filter event = "decision" and desired != desired_before '
    "| fields @timestamp, fleet, kind, desired_before, desired, reason | sort @timestamp desc | limit 50",
)


def environment_panels(monitored: MonitoredResources) -> list[Panel]:
    """Return the panels of an environment: tasks and workers first, then the components that they use."""
    monitored = replace(monitored, fleets=dict(islice(monitored.fleets.items(), MOST_FLEETS)))
    return [
        *_tasks(monitored),
        *(panel for fleet, services in monitored.fleets.items() for panel in _workers(monitored, fleet, services)),
        _health(monitored),
        _DECISIONS,
        _WHY,
        *_schedulers(monitored),
        *_database(monitored),
        *(panel for targets in monitored.targets for panel in _web(targets)),
    ]


def _tasks(monitored: MonitoredResources) -> Iterator[Panel]:
    yield Graph(
        "Tasks",
        "count",
        (
            GraphSeries("queued", monitored.airflow("QueuedTasks", "Executor", "Maximum")),
            GraphSeries("running", monitored.airflow("RunningTasks", "Executor", "Maximum")),
        ),
        tuple(
            Query(state, f'sum({PREFIX}demand_slots{{job=~"$job", state="{state}"}})')
            for state in ("queued", "running")
        ),
    )
    oldest = [
        GraphSeries(f"{queue}: oldest", sqs(name, "ApproximateAgeOfOldestMessage"))
        for queue, name in monitored.queues.items()
    ]
    yield Graph(
        "Age of the oldest waiting task",
        "seconds",
        oldest or (GraphSeries("oldest", monitored.airflow("ApproximateAgeOfOldestTask", "Executor", "Maximum")),),
    )
    letters = (sqs(monitored.dead_letters, "ApproximateNumberOfMessagesVisible"),) if monitored.dead_letters else ()
    yield Graph(
        "Messages",
        "count",
        (
            *(
                GraphSeries(queue, sqs(name, "ApproximateNumberOfMessagesVisible"))
                for queue, name in monitored.queues.items()
            ),
            *(GraphSeries("dead letters", metric) for metric in letters),
        ),
        # Without SQS, only the scaler publishes the number of messages.
        () if monitored.queues else (Query("{{fleet}}", f'{PREFIX}demand_slots{{job=~"$job", state="slots"}}'),),
    )


def _workers(monitored: MonitoredResources, fleet: str, services: Sequence[str]) -> Iterator[Graph]:
    def query(label: str, metric: str) -> Query:
        return Query(label, f'{PREFIX}{metric}{{job=~"$job", fleet="{fleet}"}}')

    yield Graph(
        f"Workers of {fleet}",
        "count",
        (
            GraphSeries("desired", monitored.fleet(fleet, "DesiredWorkers", "Maximum")),
            GraphSeries("running", monitored.fleet(fleet, "RunningWorkers", "Maximum")),
            GraphSeries("maximum", monitored.fleet(fleet, "MaximumWorkers", "Maximum")),
            GraphSeries("draining", monitored.fleet(fleet, "DrainingWorkers", "Maximum")),
            GraphSeries("queued tasks", monitored.fleet(fleet, "BacklogSlots", "Maximum")),
            *(
                GraphSeries(f"{word}: {service}", monitored.fleet_service(fleet, service, metric))
                for service in services
                for word, metric in (("desired", "DesiredWorkers"), ("running", "RunningWorkers"))
            ),
        ),
        (
            query("desired", "desired_workers"),
            query("running", "running_tasks"),
            query("maximum", "maximum_workers"),
            Query("draining", f'sum({PREFIX}workers{{job=~"$job", fleet="{fleet}", state=~"draining|released"}})'),
            Query("queued tasks", f'{PREFIX}demand_slots{{job=~"$job", fleet="{fleet}", state="queued"}}'),
            query("desired: {{service}}", "service_desired_workers"),
            query("running: {{service}}", "service_running_tasks"),
        ),
        width=HALF,
        fleet=fleet,
    )
    yield Graph(
        f"CPU and memory of {fleet}",
        "percent",
        [
            GraphSeries(f"{word}: {service}", monitored.service(service, metric))
            for service in services
            for word, metric in (("CPU", "CPUUtilization"), ("memory", "MemoryUtilization"))
        ],
        width=HALF,
        fleet=fleet,
    )


def _health(monitored: MonitoredResources) -> Graph:
    return Graph(
        "Scaling problems",
        "count",
        [
            GraphSeries(f"{fleet}: {word}", monitored.fleet(fleet, metric, "Maximum"))
            for fleet in monitored.fleets
            for word, metric in (
                ("no decision", "NoDecision"),
                ("sources unknown", "UnknownSources"),
                ("protection refused", "ProtectionRefusedWorkers"),
                ("do not start", "StuckWorkers"),
                ("at maximum", "AtMaximumWithBacklog"),
                ("without message", "TasksWithoutMessage"),
            )
        ],
        (
            Query("{{fleet}}: {{source}} unknown", f'1 - {PREFIX}reading_known{{job=~"$job"}}'),
            Query("{{fleet}}: protection refused", f'{PREFIX}protection_refused_workers{{job=~"$job"}}'),
            Query("{{fleet}}: do not start", f'{PREFIX}workers{{job=~"$job", state="stuck"}}'),
            Query("{{fleet}}: errors", f'sum by (fleet) (increase({PREFIX}errors_total{{job=~"$job"}}[5m]))'),
        ),
        width=WHOLE,
    )


def _schedulers(monitored: MonitoredResources) -> Iterator[Graph]:
    heartbeat = monitored.airflow("SchedulerHeartbeat", "Scheduler", "Maximum")
    yield Graph("Schedulers with a heartbeat", "count", (GraphSeries("schedulers", heartbeat),))
    for word, metric in (("CPU", "CPUUtilization"), ("Memory", "MemoryUtilization")):
        series = [GraphSeries(service, monitored.service(service, metric)) for service in monitored.control_plane]
        yield Graph(word, "percent", series)


def _database(monitored: MonitoredResources) -> Iterator[Graph]:
    if not monitored.database:
        return
    capacity = (("capacity", "ACUUtilization"),) if monitored.serverless else ()
    utilization = (("CPU", "CPUUtilization"), *capacity)
    yield Graph(
        "Database: utilization",
        "percent",
        [GraphSeries(word, monitored.of_database(metric)) for word, metric in utilization],
    )
    yield Graph(
        "Database: free memory", "bytes", (GraphSeries("memory", monitored.of_database("FreeableMemory", "Minimum")),)
    )
    connections = monitored.of_database("DatabaseConnections", "Maximum")
    yield Graph("Database: connections", "count", (GraphSeries("connections", connections),))


def _web(targets: TargetMetrics) -> Iterator[Graph]:
    def series(label: str, metric: str, statistic: Statistic) -> GraphSeries:
        return GraphSeries(label, CloudWatchMetric("AWS/ApplicationELB", metric, targets.dimensions, statistic))

    yield Graph(
        f"{targets.word}: requests",
        "count",
        (
            series("requests", "RequestCount", "Sum"),
            series("5xx of the tasks", "HTTPCode_Target_5XX_Count", "Sum"),
            GraphSeries(
                "5xx of the load balancer",
                CloudWatchMetric(
                    "AWS/ApplicationELB", "HTTPCode_ELB_5XX_Count", (("LoadBalancer", targets.balancer),), "Sum"
                ),
            ),
        ),
    )
    yield Graph(
        f"{targets.word}: response time",
        "seconds",
        (series("average", "TargetResponseTime", "Average"), series("p99", "TargetResponseTime", "p99")),
    )
    yield Graph(
        f"{targets.word}: tasks",
        "count",
        (series("healthy", "HealthyHostCount", "Minimum"), series("unhealthy", "UnHealthyHostCount", "Maximum")),
    )
