# SPDX-License-Identifier: Apache-2.0
"""Writes the page of the alarms from the table of their definitions."""

from typing import Final

from cdktf_app.monitoring.alarm_definitions import Alarm, anchor, environment_alarms
from cdktf_app.monitoring.metrics import MonitoredResources, TargetMetrics
from openmwaa.config.control_plane import COMPONENTS
from tools.page_blocks import reference, table

_QUEUE: Final = "airflow-celery-NAME-QUEUE"
_WATCHED: Final = MonitoredResources(
    environment="NAME",
    cluster="openmwaa-NAME",
    service_of={component: component for component in COMPONENTS},
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


def page() -> str:
    """Return the page."""
    alarms = environment_alarms(_WATCHED)
    of_fleet = sum(1 for alarm in alarms if "FLEET" in alarm.id)
    return reference(
        "alarms.md",
        alarms=table("alarm", "metric", "of", "rule", "periods", "no data", "MWAA's", rows=map(_row, alarms)),
        number=f"An environment with {len(_WATCHED.queues)} queue, {len(_WATCHED.fleets)} fleet and one load balancer "
        f"has {len(alarms)} alarms. Each further fleet adds {of_fleet}, each further\nqueue one.",
    )


def _row(alarm: Alarm) -> tuple[str, ...]:
    alarm_type, metric = alarm.type, alarm.metric
    threshold = f"{alarm_type.threshold:,.0f}".replace(",", " ")
    return (
        f"[`{alarm.id}`](../how-to/alarms.md#{anchor(alarm_type.name)})",
        f"`{metric.namespace}` `{metric.name}`",
        ", ".join(name if value == "…" else f"{name} `{value}`" for name, value in metric.dimensions),
        f"{metric.statistic} {_SIGNS[alarm_type.comparison]} {threshold}",
        f"{alarm_type.periods} of {alarm_type.periods}",
        _GAPS[alarm_type.missing],
        "✔" if alarm_type.of_mwaa else "",
    )
