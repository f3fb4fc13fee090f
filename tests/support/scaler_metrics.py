# SPDX-License-Identifier: Apache-2.0
"""Every metric of the scaler, from its own code: for Prometheus and for CloudWatch."""

from typing import Final

from scaler.adapters.aws import ApiCalls
from scaler.errors import SourceError
from scaler.reporting.cloudwatch_metrics import MWAA, OF_AIRFLOW, OF_FLEETS, OF_SERVICES, OF_SLEEP
from scaler.reporting.prometheus_metrics import PrometheusMetrics
from tests.support.scaler_reports import report

NAMESPACE: Final = "openmwaa"
"""The namespace that the stack configures."""


def of_prometheus() -> dict[str, set[str]]:
    """Return the name and labels of every sample, after one of each event."""
    metrics, calls = PrometheusMetrics(), ApiCalls()
    calls.sent["ecs", "DescribeServices"] = calls.throttled["ecs", "DescribeServices"] = 1
    metrics.watch(calls, lambda: {"default": 5.0})
    metrics.on_tick(report(errors=[SourceError("ecs", "down")]))
    metrics.failed("default", ValueError())
    return {sample.name: set(sample.labels) for family in metrics.families() for sample in family.samples}


def of_cloudwatch() -> set[tuple[str, str, tuple[str, ...]]]:
    """Return namespace, name and dimensions of every published metric; a `Function` has its value."""
    fleet = ("Environment", "Fleet")
    return {
        *((NAMESPACE, name, fleet) for name in OF_FLEETS),
        *((NAMESPACE, name, (*fleet, "Service")) for name in OF_SERVICES),
        (NAMESPACE, OF_SLEEP, ("Environment",)),
        *((MWAA, name, ("=".join(function), "Environment")) for name, function in OF_AIRFLOW.items()),
    }
