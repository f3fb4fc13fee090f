# SPDX-License-Identifier: Apache-2.0
"""The alert rules: their names and labels exist in the scaler, and each fires exactly for its condition."""

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from scaler.reporting.cloudwatch_metrics import OF_AIRFLOW, OF_FLEETS, OF_SERVICES
from scaler.reporting.prometheus_metrics import OVERRIDES, WORKER_STATES
from tests.support.promql import Evaluator, Series, selectors_of, series
from tests.support.scaler_metrics import of_prometheus

ROOT = Path(__file__).parents[3]
PATH = ROOT / "scaler" / "rules" / "openmwaa-scaler.rules.yaml"
RULES: dict[str, dict[str, Any]] = {
    rule["alert"]: rule for group in yaml.safe_load(PATH.read_text())["groups"] for rule in group["rules"]
}
NOW = 1_000_000.0
FLEET = {"fleet": "default"}


KNOWN = of_prometheus()


@pytest.mark.parametrize("alert", RULES)
def test_a_rule_uses_metrics_of_the_scaler(alert: str) -> None:
    for node in selectors_of(RULES[alert]["expr"]):
        assert node.name in KNOWN, f"{node.name} is no metric of the scaler"
        for matcher in node.matchers.matchers:
            assert matcher.name in KNOWN[node.name], f"{node.name} has no label {matcher.name}"
            values = {"state": {*WORKER_STATES, "queued", "without_message"}, "override": set(OVERRIDES)}[matcher.name]
            assert set(matcher.value.split("|")) <= values, f"{matcher.name} is never {matcher.value}"


@pytest.mark.parametrize("alert", RULES)
def test_a_rule_has_severity_summary_and_documentation(alert: str) -> None:
    rule = RULES[alert]
    assert rule["labels"]["severity"] in ("critical", "warning", "info")
    used = set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]))
    (fires, _), *_ = CASES[alert]
    for labels in Evaluator(fires, NOW).evaluate(rule["expr"]):
        assert used <= {name for name, _ in labels}, f"the summary uses {used}, the alert has {dict(labels)}"
    assert f"`{alert}`" in (ROOT / "docs" / "how-to" / "watch-the-scaler.md").read_text(), (
        "the page explains every alert"
    )


def now(name: str, value: float, **labels: str) -> Series:
    return series(
        f"openmwaa_scaler_{name}", (NOW, value), **(labels if name in ("config_applied",) else FLEET | labels)
    )


def growing(name: str, by: float, **labels: str) -> Series:
    return series(f"openmwaa_scaler_{name}", (NOW - 300, 100.0), (NOW, 100.0 + by), **labels)


INTERVAL = now("interval_seconds", 5)
CALL = {"service": "ecs", "operation": "DescribeServices"}
Case = tuple[Sequence[Series], int]
# alert: samples and the number of alerts; each alert has samples that fire and samples just below
CASES: dict[str, list[Case]] = {
    "OpenmwaaScalerAbsent": [([], 1), ([INTERVAL], 0)],
    "OpenmwaaScalerNoDecision": [
        ([INTERVAL, now("last_decision_timestamp_seconds", NOW - 61)], 1),
        ([INTERVAL, now("last_decision_timestamp_seconds", NOW - 59)], 0),
        ([now("interval_seconds", 60), now("last_decision_timestamp_seconds", NOW - 290)], 0),
        ([now("interval_seconds", 60), now("last_decision_timestamp_seconds", NOW - 301)], 1),
    ],
    "OpenmwaaScalerNeverDecided": [
        ([INTERVAL], 1),
        ([INTERVAL, now("last_decision_timestamp_seconds", NOW)], 0),
    ],
    "OpenmwaaScalerSourceUnknown": [
        ([now("reading_known", 0, source="database"), now("reading_known", 1, source="broker")], 1),
        ([now("reading_known", 1, source="database")], 0),
    ],
    "OpenmwaaScalerDrainTooOld": [
        ([now("oldest_drain_seconds", 43201)], 1),
        ([now("oldest_drain_seconds", 43199)], 0),
    ],
    "OpenmwaaScalerProtectionRefused": [
        ([now("protection_refused_workers", 1)], 1),
        ([now("protection_refused_workers", 0)], 0),
    ],
    "OpenmwaaScalerAtMaximumWithBacklog": [
        ([now("desired_workers", 5), now("maximum_workers", 5), now("demand_slots", 3, state="queued")], 1),
        ([now("desired_workers", 6), now("maximum_workers", 5), now("demand_slots", 3, state="queued")], 1),
        ([now("desired_workers", 4), now("maximum_workers", 5), now("demand_slots", 3, state="queued")], 0),
        ([now("desired_workers", 5), now("maximum_workers", 5), now("demand_slots", 0, state="queued")], 0),
        ([now("desired_workers", 5), now("maximum_workers", 5), now("demand_slots", 3, state="running")], 0),
        ([now("desired_workers", math.nan), now("maximum_workers", 5), now("demand_slots", 3, state="queued")], 0),
    ],
    "OpenmwaaScalerTasksWithoutMessage": [
        ([now("demand_slots", 3, state="without_message")], 1),
        ([now("demand_slots", 0, state="without_message"), now("demand_slots", 3, state="queued")], 0),
    ],
    "OpenmwaaScalerLaunchesStuck": [
        ([now("workers", 2, state="stuck")], 1),
        ([now("workers", 0, state="stuck"), now("workers", 2, state="starting")], 0),
    ],
    "OpenmwaaScalerApiThrottled": [
        ([growing("api_throttles_total", 30, **CALL)], 1),
        ([growing("api_throttles_total", 3, **CALL)], 0),
    ],
    "OpenmwaaScalerConfigNotApplied": [([now("config_applied", 0)], 1), ([now("config_applied", 1)], 0)],
    "OpenmwaaScalerTicksFail": [
        ([growing("tick_failures_total", 3, **FLEET)], 1),
        ([growing("tick_failures_total", 0, **FLEET)], 0),
    ],
    "OpenmwaaScalerOverrideForgotten": [
        ([now("overrides_in_force", 1, override="pause_in"), now("overrides_in_force", 1, override="fixed")], 2),
        ([now("overrides_in_force", 0, override="pause_in"), now("overrides_in_force", 1, override="min")], 0),
        ([now("overrides_in_force", math.nan, override="pause_in")], 0),
    ],
}


def test_every_rule_has_cases_on_both_sides() -> None:
    assert CASES.keys() == RULES.keys()
    assert all({bool(number) for _, number in cases} == {True, False} for cases in CASES.values())


@pytest.mark.parametrize(
    ("alert", "samples", "alerts"),
    [
        pytest.param(alert, samples, number, id=f"{alert}-{place}")
        for alert, cases in CASES.items()
        for place, (samples, number) in enumerate(cases)
    ],
)
def test_a_rule_fires_for_its_samples(alert: str, samples: Sequence[Series], alerts: int) -> None:
    for given in samples:
        assert {name for name, _ in given.labels} == KNOWN[given.name], "the samples are those of the scaler"
    assert len(Evaluator(samples, NOW).evaluate(RULES[alert]["expr"])) == alerts


def test_the_page_lists_every_metric_of_the_scaler() -> None:
    page = (ROOT / "docs" / "how-to" / "watch-the-scaler.md").read_text()
    names = {
        re.sub(r"^openmwaa_scaler_|_(bucket|sum|count|created)$", "", re.sub(r"_(bucket|sum|count|created)$", "", name))
        for name in KNOWN
    }
    missing = {name for name in names if f"`{name}`" not in page and f"`{name}_total`" not in page}
    assert not missing


def test_the_page_lists_every_metric_of_cloudwatch_and_what_they_cost() -> None:
    page = (ROOT / "docs" / "how-to" / "watch-the-scaler.md").read_text()
    missing = {name for name in (*OF_FLEETS, *OF_SERVICES, *OF_AIRFLOW) if f"`{name}`" not in page}
    assert not missing
    of_fleet, of_environment = len(OF_FLEETS) + 2 * len(OF_SERVICES), len(OF_AIRFLOW)
    assert f"{of_fleet} metrics a fleet and {of_environment} an environment" in page
    calls = 2 * 730 * 60  # a namespace a minute
    assert f"{calls:,} a month".replace(",", " ") in page.replace("\n", " ")
    month = 0.3 * (of_fleet + of_environment) + 0.01 * calls / 1000
    assert f"That is {month:.1f} USD a month for one fleet, and {0.3 * of_fleet:.1f} more for each" in page.replace(
        "\n", " "
    )
