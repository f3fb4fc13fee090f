# SPDX-License-Identifier: Apache-2.0
"""The page of the alarms, from the table that Terraform makes them of."""

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
_GAPS: Final = {"breaching": "alarm", "notBreaching": "well", "missing": "insufficient data"}
_HEAD: Final = f"""\
# Alarms

Made from the table by `make docs`. Every alarm is called `openmwaa-NAME/` and the word in the first column; what to do
about each is in [its runbook](../how-to/alarms.md). Periods have {PERIOD_S} s; the rule must hold in all of them, and
is looked at every minute. *No data* says what a gap in the metric means. Those marked ✔ are MWAA's recommended ones,
with MWAA's numbers.

| alarm | metric | of | rule | periods | no data | MWAA's |
|---|---|---|---|---|---|---|
"""
_TAIL: Final = """
With Redis as the broker there are no dead letters, and the oldest task is `AmazonMWAA` `ApproximateAgeOfOldestTask`:
how long a task has been queued by Airflow's database. RDS for PostgreSQL is known by `DBInstanceIdentifier`. A metadata
database that exists already is its owner's to watch, so it has no alarm here. Web servers behind two load balancers
have two alarms with each.

An environment with {queues} queue, {fleets} fleet and one load balancer has {alarms} alarms; each further fleet has
{of_fleet} more, each queue one. AWS charges 0.10 USD a month for one (us-east-1), and nothing for its own metrics; what
the scaler publishes is priced in [its page](../how-to/watch-the-scaler.md#in-cloudwatch).
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
