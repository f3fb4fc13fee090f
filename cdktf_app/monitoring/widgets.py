# SPDX-License-Identifier: Apache-2.0
"""Converts panels to CloudWatch dashboard widgets."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from cdktf_app.monitoring.dashboard_panels import WHOLE, Graph, LogTable, Panel

_HEIGHT: Final = 6
_ALARMS_A_WIDGET: Final = 100
_PERIOD_S: Final = 60


def widgets(panels: Sequence[Panel], alarm_arns: Sequence[str], region: str, scaler_log: str) -> list[dict[str, Any]]:
    """Return the widgets of a dashboard, in rows from left to right."""
    items: list[tuple[int, int, dict[str, Any]]] = [
        (WHOLE, 2 + (len(part) + 3) // 4, _alarms(part)) for part in _parts(alarm_arns, _ALARMS_A_WIDGET)
    ]
    for panel in panels:
        widget = _log(panel, region, scaler_log) if isinstance(panel, LogTable) else _graph(panel, region)
        items.append((panel.width, _HEIGHT, widget))
    return list(_laid_out(items))


def _laid_out(items: Sequence[tuple[int, int, dict[str, Any]]]) -> Iterator[dict[str, Any]]:
    x = y = lowest = 0
    for width, height, widget in items:
        if x + width > WHOLE:
            x, y = 0, lowest
        yield {"x": x, "y": y, "width": width, "height": height, **widget}
        x, lowest = x + width, max(lowest, y + height)


def _alarms(arns: Sequence[str]) -> dict[str, Any]:
    return {"type": "alarm", "properties": {"title": "Alarms", "alarms": list(arns), "sortBy": "stateUpdatedTimestamp"}}


def _graph(graph: Graph, region: str) -> dict[str, Any]:
    metrics = [
        [
            series.metric.namespace,
            series.metric.name,
            *(part for dimension in series.metric.dimensions for part in dimension),
            {"stat": series.metric.statistic, "label": series.label},
        ]
        for series in graph.series
    ]
    axis = {"min": 0, "max": 100} if graph.unit == "percent" else {"min": 0}
    return {
        "type": "metric",
        "properties": {
            "title": graph.title,
            "region": region,
            "view": "timeSeries",
            "period": _PERIOD_S,
            "metrics": metrics,
            "yAxis": {"left": {**axis, "label": graph.unit, "showUnits": False}},
        },
    }


def _log(table: LogTable, region: str, scaler_log: str) -> dict[str, Any]:
    return {
        "type": "log",
        "properties": {
            "title": table.title,
            "region": region,
            "view": "bar" if table.bars else "table",
            "query": f"SOURCE '{scaler_log}' | {table.query}",
        },
    }


def _parts(arns: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    return (arns[start : start + size] for start in range(0, len(arns), size))
