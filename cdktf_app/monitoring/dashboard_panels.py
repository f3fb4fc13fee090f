# SPDX-License-Identifier: Apache-2.0
"""What is drawn of an environment, as a table: of it the CloudWatch dashboard and the Grafana dashboard are made.

A panel has metrics of CloudWatch, and where the scaler tells Prometheus the same more often, queries of that too:
Grafana draws those, CloudWatch what it has.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Final, Literal

from cdktf_app.monitoring.metrics import Balanced, Metric, Statistic, Watched, sqs

Unit = Literal["count", "percent", "seconds", "bytes"]
PREFIX: Final = "openmwaa_scaler_"
THIRD, HALF, WHOLE = 8, 12, 24
"""Widths, of 24 columns."""
MOST_FLEETS: Final = 60
"""CloudWatch draws 500 metrics a graph and 2 500 a dashboard; the scaler's own page shows every fleet."""


@dataclass(frozen=True)
class Series:
    """One line of a graph."""

    label: str
    metric: Metric


@dataclass(frozen=True)
class Query:
    """One query of Prometheus; `label` may name its labels in double braces."""

    label: str
    expression: str


@dataclass(frozen=True)
class Graph:
    """Lines over time."""

    title: str
    unit: Unit
    series: Sequence[Series] = ()
    queries: Sequence[Query] = ()
    width: int = THIRD
    fleet: str = ""
    """The fleet that it is about, if it is about one."""


@dataclass(frozen=True)
class LogTable:
    """What Logs Insights finds in the scaler's log; `bars` draws it over time."""

    title: str
    query: str
    queries: Sequence[Query] = ()
    bars: bool = False
    width: int = HALF


Panel = Graph | LogTable

# The scaler's log has a line a decision, and one a minute where nothing changes.
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
    "Why: the last decisions that changed something",
    'filter event = "decision" and desired != desired_before '
    "| fields @timestamp, fleet, kind, desired_before, desired, reason | sort @timestamp desc | limit 50",
)


def panels_of(watched: Watched) -> list[Panel]:
    """Return the panels of an environment: what waits and who works first, then what they stand on."""
    watched = replace(watched, fleets=dict(islice(watched.fleets.items(), MOST_FLEETS)))
    return [
        *_tasks(watched),
        *(panel for fleet, services in watched.fleets.items() for panel in _workers(watched, fleet, services)),
        _health(watched),
        _DECISIONS,
        _WHY,
        *_schedulers(watched),
        *_database(watched),
        *(panel for balanced in watched.balanced for panel in _web(balanced)),
    ]


def _tasks(watched: Watched) -> Iterator[Panel]:
    yield Graph(
        "Tasks",
        "count",
        (
            Series("queued", watched.airflow("QueuedTasks", "Executor", "Maximum")),
            Series("running", watched.airflow("RunningTasks", "Executor", "Maximum")),
        ),
        tuple(
            Query(state, f'sum({PREFIX}demand_slots{{job=~"$job", state="{state}"}})')
            for state in ("queued", "running")
        ),
    )
    oldest = [
        Series(f"{queue}: oldest", sqs(name, "ApproximateAgeOfOldestMessage")) for queue, name in watched.queues.items()
    ]
    yield Graph(
        "How long the oldest task waits",
        "seconds",
        oldest or (Series("oldest", watched.airflow("ApproximateAgeOfOldestTask", "Executor", "Maximum")),),
    )
    letters = (sqs(watched.dead_letters, "ApproximateNumberOfMessagesVisible"),) if watched.dead_letters else ()
    yield Graph(
        "Messages",
        "count",
        (
            *(Series(queue, sqs(name, "ApproximateNumberOfMessagesVisible")) for queue, name in watched.queues.items()),
            *(Series("dead letters", metric) for metric in letters),
        ),
        # Without SQS what the scaler reads of the broker is all there is.
        () if watched.queues else (Query("{{fleet}}", f'{PREFIX}demand_slots{{job=~"$job", state="slots"}}'),),
    )


def _workers(watched: Watched, fleet: str, services: Sequence[str]) -> Iterator[Graph]:
    def query(label: str, metric: str) -> Query:
        return Query(label, f'{PREFIX}{metric}{{job=~"$job", fleet="{fleet}"}}')

    yield Graph(
        f"Workers of {fleet}",
        "count",
        (
            Series("desired", watched.fleet(fleet, "DesiredWorkers", "Maximum")),
            Series("running", watched.fleet(fleet, "RunningWorkers", "Maximum")),
            Series("maximum", watched.fleet(fleet, "MaximumWorkers", "Maximum")),
            Series("in drain", watched.fleet(fleet, "DrainingWorkers", "Maximum")),
            Series("queued tasks", watched.fleet(fleet, "BacklogSlots", "Maximum")),
            *(
                Series(f"{word}: {service}", watched.generation(fleet, service, metric))
                for service in services
                for word, metric in (("desired", "DesiredWorkers"), ("running", "RunningWorkers"))
            ),
        ),
        (
            query("desired", "desired_workers"),
            query("running", "running_tasks"),
            query("maximum", "maximum_workers"),
            Query("in drain", f'sum({PREFIX}workers{{job=~"$job", fleet="{fleet}", state=~"draining|released"}})'),
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
            Series(f"{word}: {service}", watched.service(service, metric))
            for service in services
            for word, metric in (("CPU", "CPUUtilization"), ("memory", "MemoryUtilization"))
        ],
        width=HALF,
        fleet=fleet,
    )


def _health(watched: Watched) -> Graph:
    return Graph(
        "What keeps fleets from their size",
        "count",
        [
            Series(f"{fleet}: {word}", watched.fleet(fleet, metric, "Maximum"))
            for fleet in watched.fleets
            for word, metric in (
                ("no decision", "NoDecision"),
                ("sources unknown", "UnknownSources"),
                ("protection refused", "ProtectionRefusedWorkers"),
                ("do not come up", "StuckWorkers"),
                ("at maximum", "AtMaximumWithBacklog"),
            )
        ],
        (
            Query("{{fleet}}: {{source}} unknown", f'1 - {PREFIX}reading_known{{job=~"$job"}}'),
            Query("{{fleet}}: protection refused", f'{PREFIX}protection_refused_workers{{job=~"$job"}}'),
            Query("{{fleet}}: do not come up", f'{PREFIX}workers{{job=~"$job", state="stuck"}}'),
            Query("{{fleet}}: errors", f'sum by (fleet) (increase({PREFIX}errors_total{{job=~"$job"}}[5m]))'),
        ),
        width=WHOLE,
    )


def _schedulers(watched: Watched) -> Iterator[Graph]:
    heart = watched.airflow("SchedulerHeartbeat", "Scheduler", "Maximum")
    yield Graph("Schedulers whose heart beats", "count", (Series("schedulers", heart),))
    services = ("scheduler", "dag-processor", "triggerer", "web-server", "execution-api", "scaler")
    for word, metric in (("CPU", "CPUUtilization"), ("Memory", "MemoryUtilization")):
        yield Graph(word, "percent", [Series(service, watched.service(service, metric)) for service in services])


def _database(watched: Watched) -> Iterator[Graph]:
    if not watched.database:
        return
    capacity = (("capacity", "ACUUtilization"),) if watched.serverless else ()
    busy = (("CPU", "CPUUtilization"), *capacity)
    yield Graph(
        "Database: how busy",
        "percent",
        [Series(word, watched.of_database(metric)) for word, metric in busy],
    )
    yield Graph("Database: memory left", "bytes", (Series("memory", watched.of_database("FreeableMemory", "Minimum")),))
    connections = watched.of_database("DatabaseConnections", "Maximum")
    yield Graph("Database: connections", "count", (Series("connections", connections),))


def _web(balanced: Balanced) -> Iterator[Graph]:
    def series(label: str, metric: str, statistic: Statistic) -> Series:
        return Series(label, Metric("AWS/ApplicationELB", metric, balanced.dimensions, statistic))

    yield Graph(
        f"{balanced.word}: requests",
        "count",
        (
            series("requests", "RequestCount", "Sum"),
            series("5xx of the tasks", "HTTPCode_Target_5XX_Count", "Sum"),
            Series(
                "5xx of the load balancer",
                Metric("AWS/ApplicationELB", "HTTPCode_ELB_5XX_Count", (("LoadBalancer", balanced.balancer),), "Sum"),
            ),
        ),
    )
    yield Graph(
        f"{balanced.word}: seconds to the answer",
        "seconds",
        (series("average", "TargetResponseTime", "Average"), series("99 of 100", "TargetResponseTime", "p99")),
    )
    yield Graph(
        f"{balanced.word}: tasks",
        "count",
        (series("healthy", "HealthyHostCount", "Minimum"), series("unhealthy", "UnHealthyHostCount", "Maximum")),
    )
