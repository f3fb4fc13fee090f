# SPDX-License-Identifier: Apache-2.0
"""Writes the Grafana dashboard `monitoring/grafana/openmwaa.json` from the panels of the CloudWatch dashboard.

The scaler's metrics come from Prometheus, all other metrics from CloudWatch; the import has a choice of data sources.
"""

import json
from collections.abc import Iterator, Mapping
from string import ascii_uppercase
from typing import Any, Final

from cdktf_app.monitoring.dashboard_panels import (
    PREFIX,
    THIRD,
    WHOLE,
    Graph,
    GraphSeries,
    LogTable,
    Panel,
    Query,
    environment_panels,
)
from cdktf_app.monitoring.metrics import MonitoredResources, TargetMetrics
from openmwaa.config.control_plane import COMPACT_SERVICE, COMPONENTS

_SCHEMA: Final = 39
_HEIGHT: Final = 8
_UNITS: Final = {"count": "short", "percent": "percent", "seconds": "s", "bytes": "bytes"}
_PROMETHEUS: Final = {"type": "prometheus", "uid": "${prometheus}"}
_CLOUDWATCH: Final = {"type": "cloudwatch", "uid": "${cloudwatch}"}
_SCALER_LOG: Final = "airflow-$environment-Scaler"

# The panels of one environment, with Grafana's variables as names.
WATCHED: Final = MonitoredResources(
    environment="$environment",
    cluster="openmwaa-$environment",
    # Of both forms of the control plane: CloudWatch has metrics of the existing services only.
    service_of={service: service for service in (COMPACT_SERVICE, *COMPONENTS)},
    fleets={"$fleet": ("worker-$fleet-a", "worker-$fleet-b")},
    queues={"$queue": "$queue"},
    dead_letters="airflow-celery-$environment-dead-letters",
    database=(("DBInstanceIdentifier", "$database"),),
    serverless=True,
    targets=(
        TargetMetrics("execution API", "execution-api", "$load_balancer", "$execution_targets"),
        TargetMetrics("web server", "web-server", "$load_balancer", "$web_targets"),
    ),
)
_ALERTS: Final = Graph(
    "Alerts of the scaler's rules that fire",
    "count",
    queries=(Query("{{alertname}} {{fleet}}", 'ALERTS{alertname=~"OpenmwaaScaler.*", alertstate="firing"}'),),
    width=WHOLE,
)


def page() -> str:
    """Return the content of the file."""
    return json.dumps(dashboard(), indent=2, ensure_ascii=False) + "\n"


def dashboard() -> dict[str, Any]:
    """Return the model of the dashboard."""
    return {
        "uid": "openmwaa",
        "title": "openmwaa",
        "description": "Written by `make docs` from the panels of the CloudWatch dashboard.",
        "tags": ["airflow", "openmwaa"],
        "schemaVersion": _SCHEMA,
        "editable": True,
        "refresh": "1m",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {"list": list(_variables())},
        "panels": list(_layout([_ALERTS, *environment_panels(WATCHED)])),
    }


def _variables() -> Iterator[dict[str, Any]]:
    for kind in ("prometheus", "cloudwatch"):
        yield {"name": kind, "label": f"{kind} data source", "type": "datasource", "query": kind}
    for name, value in (("environment", "quickstart"), ("region", "us-east-1")):
        yield {
            "name": name,
            "type": "textbox",
            "query": value,
            "current": {"text": value, "value": value, "selected": True},
        }
    scaler = f"{PREFIX}interval_seconds"
    yield _labels("job", f"label_values({scaler}, job)")
    yield _labels("fleet", f'label_values({scaler}{{job=~"$job"}}, fleet)')
    yield _values("queue", "AWS/SQS", "ApproximateAgeOfOldestMessage", "QueueName", "/^airflow-celery-$environment-/")
    yield _values("database", "AWS/RDS", "CPUUtilization", "DBInstanceIdentifier", "/^openmwaa-/", many=False)
    yield _values("load_balancer", "AWS/ApplicationELB", "RequestCount", "LoadBalancer", "/^app.openmwaa-/", many=False)
    for word in ("execution", "web"):
        expression = f"/^targetgroup.openmwaa-.*{word}/"
        yield _values(f"{word}_targets", "AWS/ApplicationELB", "RequestCount", "TargetGroup", expression, many=False)


def _labels(name: str, query: str) -> dict[str, Any]:
    return {
        "name": name,
        "type": "query",
        "datasource": _PROMETHEUS,
        "query": {"query": query, "refId": name},
        "definition": query,
        "refresh": 2,
        "multi": True,
        "includeAll": True,
        "current": {"text": ["All"], "value": ["$__all"], "selected": True},
    }


def _values(
    name: str, namespace: str, metric: str, dimension: str, expression: str, *, many: bool = True
) -> dict[str, Any]:
    return {
        "name": name,
        "type": "query",
        "datasource": _CLOUDWATCH,
        "query": {
            "queryType": "dimensionValues",
            "region": "$region",
            "namespace": namespace,
            "metricName": metric,
            "dimensionKey": dimension,
            "dimensionFilters": {},
            "refId": name,
        },
        "regex": expression,
        "refresh": 1,
        "multi": many,
        "includeAll": many,
        **({"current": {"text": ["All"], "value": ["$__all"], "selected": True}} if many else {}),
    }


def _layout(panels: list[Panel]) -> Iterator[dict[str, Any]]:
    x = y = 0
    for number, panel in enumerate(panels, start=1):
        repeated = isinstance(panel, Graph) and bool(panel.fleet)
        width = WHOLE if repeated else panel.width
        if x + width > WHOLE:
            x, y = 0, y + _HEIGHT
        position = {"x": x, "y": y, "w": width, "h": _HEIGHT}
        # Grafana repeats the panel for each fleet, side by side.
        repeat = {"repeat": "fleet", "repeatDirection": "h", "maxPerRow": WHOLE // THIRD} if repeated else {}
        yield {"id": number, "title": panel.title, "gridPos": position, **_panel(panel), **repeat}
        x += width


def _panel(panel: Panel) -> dict[str, Any]:
    if panel.queries:
        targets = list(map(_of_prometheus, ascii_uppercase, panel.queries))
        bars = isinstance(panel, LogTable)
        unit = "short" if isinstance(panel, LogTable) else _UNITS[panel.unit]
        return {"type": "timeseries", "datasource": _PROMETHEUS, "targets": targets, **_field(unit, bars=bars)}
    if isinstance(panel, LogTable):
        return {"type": "table", "datasource": _CLOUDWATCH, "targets": [_of_logs(panel)]}
    targets = list(map(_of_cloudwatch, ascii_uppercase, panel.series))
    return {
        "type": "timeseries",
        "datasource": _CLOUDWATCH,
        "targets": targets,
        **_field(_UNITS[panel.unit], most=100 if panel.unit == "percent" else None),
    }


def _field(unit: str, *, bars: bool = False, most: int | None = None) -> dict[str, Any]:
    custom = {"drawStyle": "bars", "stacking": {"mode": "normal"}} if bars else {"drawStyle": "line"}
    # A gap in the data is a gap in the graph: unknown is not zero.
    defaults: dict[str, Any] = {"unit": unit, "min": 0, "custom": {**custom, "spanNulls": False}}
    return {"fieldConfig": {"defaults": defaults if most is None else {**defaults, "max": most}, "overrides": []}}


def _of_prometheus(letter: str, query: Query) -> dict[str, Any]:
    return {"refId": letter, "datasource": _PROMETHEUS, "expr": query.expression, "legendFormat": query.label}


def _of_cloudwatch(letter: str, series: GraphSeries) -> dict[str, Any]:
    metric = series.metric
    return {
        "refId": letter,
        "datasource": _CLOUDWATCH,
        "queryMode": "Metrics",
        "metricQueryType": 0,
        "metricEditorMode": 0,
        "region": "$region",
        "namespace": metric.namespace,
        "metricName": metric.name,
        "dimensions": dict(metric.dimensions),
        "matchExact": True,
        "statistic": metric.statistic,
        "period": "",
        # A variable with several values would have all of them in each legend.
        "label": "${PROP('Dim.QueueName')}" if "$queue" in series.label else series.label,
    }


def _of_logs(table: LogTable) -> Mapping[str, Any]:
    return {
        "refId": "A",
        "datasource": _CLOUDWATCH,
        "queryMode": "Logs",
        "region": "$region",
        "logGroupNames": [_SCALER_LOG],
        "expression": table.query,
    }
