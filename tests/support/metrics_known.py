# SPDX-License-Identifier: Apache-2.0
"""The publisher of a metric that an alarm or a panel names."""

from cdktf_app.monitoring.metrics import CloudWatchMetric
from openmwaa_runtime.sync_dags import report
from tests.support import aws_metrics, scaler_metrics


def publisher_of(metric: CloudWatchMetric) -> str | None:
    """Return the scaler, or the page of AWS that documents it; None if nothing publishes it with these dimensions."""
    names = tuple("=".join((name, value)) if name == "Function" else name for name, value in metric.dimensions)
    if (metric.namespace, metric.name, names) in scaler_metrics.of_cloudwatch():
        return "scaler/reporting/cloudwatch_metrics.py"
    if (metric.namespace, names) == (report.NAMESPACE, (report.DIMENSION,)):
        published = metric.name in {report.LEFT_OUT, report.FAILURES}
        return "images/airflow/openmwaa_runtime/sync_dags/report.py" if published else None
    dimensions, page = aws_metrics.DOCUMENTED.get((metric.namespace, metric.name), (set[tuple[str, ...]](), ""))
    return page if names in dimensions else None
