# SPDX-License-Identifier: Apache-2.0
"""Dashboards: metrics exist, important series are included, CloudWatch and Grafana match."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from cdktf_app.monitoring.dashboard_panels import Graph, LogTable, Query, environment_panels
from cdktf_app.monitoring.metrics import MonitoredResources
from cdktf_app.monitoring.widgets import widgets
from scaler.reporting.decision_line import decision_line
from tests.support.metrics_known import publisher_of
from tests.support.monitored_resources import WATCHED
from tests.support.promql import selectors_of
from tests.support.scaler_metrics import of_prometheus
from tests.support.scaler_reports import report
from tests.support.stack import Stack, walk
from tools import grafana

COMMITTED = Path(__file__).parents[3] / "monitoring/grafana/openmwaa.json"
KNOWN = of_prometheus()
# The label that Prometheus adds to every scraped series, and its own series about rules.
LABELS_OF_PROMETHEUS = {"job"}
OF_PROMETHEUS = {"ALERTS": {"alertname", "alertstate"}}
PLACES = pytest.mark.parametrize(
    "watched", [pytest.param(WATCHED, id="CloudWatch"), pytest.param(grafana.WATCHED, id="Grafana")]
)


@PLACES
def test_every_panel_metric_is_published(watched: MonitoredResources) -> None:
    metrics = {
        series.metric for panel in environment_panels(watched) if isinstance(panel, Graph) for series in panel.series
    }
    assert len(metrics) > 30
    strange = [
        f"{metric.namespace} {metric.name} by {metric.dimensions}" for metric in metrics if not publisher_of(metric)
    ]
    assert not strange, f"no component publishes {strange}"


def queries() -> Iterator[Query]:
    """Every query of the Grafana dashboard, labelled with its panel too."""
    model = grafana.dashboard()
    for panel in model["panels"]:
        for target in panel["targets"]:
            if "expr" in target:
                yield Query(f"{panel['title']}: {target['legendFormat']}", target["expr"])


QUERIES = list(queries())


def filled(expression: str) -> str:
    """The expression with values for Grafana's variables."""
    return expression.replace("$job", "openmwaa.*").replace("$fleet", "default")


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query.label)
def test_prometheus_has_every_metric_of_grafana(query: Query) -> None:
    known = KNOWN | OF_PROMETHEUS
    for selector in selectors_of(filled(query.expression)):
        assert selector.name in known, f"{selector.name} is no metric of the scaler"
        labels = {matcher.name for matcher in selector.matchers.matchers}
        assert labels <= known[selector.name] | LABELS_OF_PROMETHEUS, f"{selector.name} has no such labels: {labels}"


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query.label)
def test_legends_use_labels_of_the_metric(query: Query) -> None:
    selected = [str(selector.name) for selector in selectors_of(filled(query.expression))]
    has = {label for name in selected for label in (KNOWN | OF_PROMETHEUS)[name]}
    named = set(re.findall(r"\{\{(\w+)\}\}", query.label))
    assert named <= has | ({"fleet"} if "ALERTS" in query.expression else set())


@pytest.mark.parametrize(
    "about",
    ["queued", "running", "desired", "oldest", "dead letters", "schedulers", "scheduler", "connections", "requests"],
)
def test_the_dashboard_has_all_important_series(about: str) -> None:
    labels = {
        series.label for panel in environment_panels(WATCHED) if isinstance(panel, Graph) for series in panel.series
    }
    assert any(about in label for label in labels), f"no series about {about}"


def test_each_fleet_has_a_panel_with_both_services() -> None:
    for fleet, services in WATCHED.fleets.items():
        panel = next(
            candidate
            for candidate in environment_panels(WATCHED)
            if isinstance(candidate, Graph) and candidate.fleet == fleet
        )
        drawn = {dict(series.metric.dimensions).get("Service") for series in panel.series}
        assert set(services) <= drawn


def test_log_queries_use_fields_that_the_scaler_writes() -> None:
    line = decision_line(report(), "demo")
    tables = [panel for panel in environment_panels(WATCHED) if isinstance(panel, LogTable)]
    assert len(tables) == 2
    words = {
        "filter",
        "event",
        "stats",
        "count",
        "as",
        "decisions",
        "by",
        "bin",
        "and",
        "fields",
        "sort",
        "desc",
        "limit",
    }
    for table in tables:
        named = set(re.findall(r"[a-z_]+", re.sub(r'"[^"]*"|\d+m|@\w+', "", table.query))) - words
        assert named <= line.keys(), f"no decision has {named - line.keys()}"


# --- CloudWatch


def test_the_dashboard_has_all_panels(quickstart: Stack) -> None:
    dashboard = quickstart.only("aws_cloudwatch_dashboard")
    assert dashboard["dashboard_name"] == "openmwaa-quickstart-us-east-1"
    body = quickstart.local(dashboard["dashboard_body"])
    (alarms,) = (widget for widget in body["widgets"] if widget["type"] == "alarm")
    names = {arn.partition(":alarm:")[2] for arn in alarms["properties"]["alarms"]}
    assert names == {alarm["alarm_name"] for alarm in quickstart.resources("aws_cloudwatch_metric_alarm").values()}
    groups = {group["name"] for group in quickstart.resources("aws_cloudwatch_log_group").values()}
    for widget in body["widgets"]:
        if widget["type"] == "log":
            source = re.match(r"SOURCE '(.+?)' \|", widget["properties"]["query"])
            assert source is not None
            assert source[1] in {*groups, "${aws_cloudwatch_log_group.logs_scaler.name}"}


@pytest.mark.parametrize("fleets", [1, 7, 200])
def test_a_dashboard_is_within_cloudwatchs_limits(fleets: int) -> None:
    many = {f"fleet-{number}": (f"worker-fleet-{number}-a", f"worker-fleet-{number}-b") for number in range(fleets)}
    arns = [f"arn:{number}" for number in range(10 * fleets)]
    drawn = widgets(environment_panels(replace(WATCHED, fleets=many)), arns, "us-east-1", "log")
    lines = [len(widget["properties"].get("metrics", ())) for widget in drawn]
    assert len(drawn) <= 500
    assert max(lines) <= 500
    assert sum(lines) <= 2500
    assert all(len(widget["properties"].get("alarms", ())) <= 100 for widget in drawn)
    shown = {arn for widget in drawn for arn in widget["properties"].get("alarms", ())}
    assert shown == set(arns), "every alarm's state is shown, whatever is drawn"


def test_widgets_do_not_overlap() -> None:
    drawn = widgets(environment_panels(WATCHED), ["arn"], "us-east-1", "log")
    assert all(widget["x"] + widget["width"] <= 24 for widget in drawn)
    for first, other in combinations(drawn, 2):
        beside = first["x"] + first["width"] <= other["x"] or other["x"] + other["width"] <= first["x"]
        below = first["y"] + first["height"] <= other["y"] or other["y"] + other["height"] <= first["y"]
        assert beside or below, f"{first['properties']['title']} and {other['properties']['title']}"


# --- Grafana


def test_both_dashboards_have_the_same_panels() -> None:
    titles = [panel["title"] for panel in grafana.dashboard()["panels"]]
    assert titles[1:] == [panel.title for panel in environment_panels(grafana.WATCHED)]
    ours = {re.sub("default|heavy", "$fleet", panel.title) for panel in environment_panels(WATCHED)}
    assert set(titles[1:]) == ours, "and those of one environment are the same too"


def test_grafana_defines_every_variable() -> None:
    model = grafana.dashboard()
    known = {variable["name"] for variable in model["templating"]["list"]}
    texts = [value for _, value in walk(model) if isinstance(value, str)]
    used = {name for text in texts for name in re.findall(r"\$\{?([a-z_]+)", text)}
    assert used - {"__all"} <= known
    assert known <= used | {"job"}, "and has no unused one"


def test_every_grafana_panel_has_its_own_position_and_id() -> None:
    panels: list[dict[str, Any]] = json.loads(COMMITTED.read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert len({(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels}) == len(panels)
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in panels)
    assert {panel["title"] for panel in panels if panel.get("repeat") == "fleet"} == {
        "Workers of $fleet",
        "CPU and memory of $fleet",
    }
