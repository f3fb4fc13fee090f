# SPDX-License-Identifier: Apache-2.0
"""The CloudWatch dashboard of an environment: `panels` as widgets, in a local value that a review can read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from cdktn import TerraformLocal
from cdktn_provider_aws.cloudwatch_dashboard import CloudwatchDashboard
from constructs import Construct

from cdktf_app.panels import WHOLE, Graph, LogTable, Panel

_HEIGHT: Final = 6
_ALARMS_A_WIDGET: Final = 100
_PERIOD_S: Final = 60


class Dashboard(Construct):
    """The dashboard called `name`: the alarms' states first, then the panels."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        name: str,
        region: str,
        scaler_log: str,
        panels: Sequence[Panel],
        alarm_arns: Sequence[str],
    ) -> None:
        super().__init__(scope, construct_id)
        body = TerraformLocal(self, "body", {"widgets": widgets(panels, alarm_arns, region, scaler_log)})
        CloudwatchDashboard(self, "dashboard", dashboard_name=name, dashboard_body=f"${{jsonencode({body.fqn})}}")


def widgets(panels: Sequence[Panel], alarm_arns: Sequence[str], region: str, scaler_log: str) -> list[dict[str, Any]]:
    """Return the widgets of a dashboard, left to right and down."""
    made: list[tuple[int, int, dict[str, Any]]] = [
        (WHOLE, 2 + (len(part) + 3) // 4, _alarms(part)) for part in _parts(alarm_arns, _ALARMS_A_WIDGET)
    ]
    for panel in panels:
        widget = _log(panel, region, scaler_log) if isinstance(panel, LogTable) else _graph(panel, region)
        made.append((panel.width, _HEIGHT, widget))
    return list(_laid_out(made))


def _laid_out(made: Sequence[tuple[int, int, dict[str, Any]]]) -> Iterator[dict[str, Any]]:
    x = y = lowest = 0
    for width, height, widget in made:
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
