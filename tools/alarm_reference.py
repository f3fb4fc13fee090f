# SPDX-License-Identifier: Apache-2.0
"""Writes the page of the alarms from the table of their definitions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from cdktf_app.monitoring.alarm_definitions import PERIOD_S, Alarm, anchor, environment_alarms
from cdktf_app.monitoring.metrics import MonitoredResources, TargetMetrics

_QUEUE: Final = "airflow-celery-NAME-QUEUE"
_WATCHED: Final = MonitoredResources(
    environment="NAME",
    cluster="openmwaa-NAME",
    fleets={"FLEET": ("worker-FLEET-a", "worker-FLEET-b")},
    queues={"QUEUE": _QUEUE},
    dead_letters="airflow-celery-NAME-dead-letters",
    database=(("DBClusterIdentifier", "openmwaa-NAME"), ("Role", "WRITER")),
    serverless=True,
    targets=(
        TargetMetrics("execution API", "execution-api", "…", "…"),
        TargetMetrics("web server", "web-server", "…", "…"),
    ),
)
_SIGNS: Final = {"GreaterThanThreshold": ">", "LessThanThreshold": "<"}
_GAPS: Final = {"breaching": "alarm", "notBreaching": "OK", "missing": "insufficient data"}
_HEAD: Final = f"""\
# Alarms

Written by `make docs` from the table of alarms. The name of an alarm is `openmwaa-NAME/` and the text in the first
column. [The runbook](../how-to/alarms.md) has the steps for each. A period has {PERIOD_S} s. CloudWatch evaluates the
rule every minute, and it must hold in all periods. *No data* is the state of the alarm while the metric has a gap.
Alarms with a ✔ are recommended by AWS for MWAA, with the same numbers.

| alarm | metric | of | rule | periods | no data | MWAA's |
|---|---|---|---|---|---|---|
"""
_TAIL: Final = """
With Redis as the broker there is no dead-letter queue, and the age of the oldest task is `AmazonMWAA`
`ApproximateAgeOfOldestTask`: the time since Airflow queued it, from Airflow's database. RDS for PostgreSQL has the
dimension `DBInstanceIdentifier`. An existing metadata database has no alarm here; its owner monitors it. Web servers
behind two load balancers have two alarms for each load balancer.

An environment with {queues} queue, {fleets} fleet and one load balancer has {alarms} alarms. Each further fleet adds
{of_fleet}, each further queue one. AWS charges 0.10 USD a month for an alarm (us-east-1), and nothing for its own
metrics. [The page of the scaler's metrics](../how-to/watch-the-scaler.md#in-cloudwatch) has the price of those.
"""


def page() -> str:
    """Return the page."""
    alarms = environment_alarms(_WATCHED)
    of_fleet = sum(1 for alarm in alarms if "FLEET" in alarm.id)
    tail = _TAIL.format(queues=len(_WATCHED.queues), fleets=len(_WATCHED.fleets), alarms=len(alarms), of_fleet=of_fleet)
    return _HEAD + "".join(f"{_row(alarm)}\n" for alarm in alarms) + tail


def _row(alarm: Alarm) -> str:
    alarm_type, metric = alarm.type, alarm.metric
    threshold = f"{alarm_type.threshold:,.0f}".replace(",", " ")
    return " | ".join(
        [
            f"| [`{alarm.id}`](../how-to/alarms.md#{anchor(alarm_type.name)})",
            f"`{metric.namespace}` `{metric.name}`",
            ", ".join(_dimensions(alarm)),
            f"{metric.statistic} {_SIGNS[alarm_type.comparison]} {threshold}",
            f"{alarm_type.periods} of {alarm_type.periods}",
            _GAPS[alarm_type.missing],
            ("✔" if alarm_type.of_mwaa else "") + " |",
        ]
    )


def _dimensions(alarm: Alarm) -> Iterator[str]:
    for name, value in alarm.metric.dimensions:
        yield name if value == "…" else f"{name} `{value}`"
