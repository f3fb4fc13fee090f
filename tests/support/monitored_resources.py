# SPDX-License-Identifier: Apache-2.0
"""Resources for the tests of alarms and panels."""

from typing import Final

from cdktf_app.monitoring.metrics import MonitoredResources, TargetMetrics
from openmwaa.config.control_plane import COMPONENTS

WATCHED: Final = MonitoredResources(
    environment="demo",
    cluster="openmwaa-demo",
    service_of={component: component for component in COMPONENTS},
    fleets={
        "default": ("worker-default-a", "worker-default-b"),
        "heavy": ("worker-heavy-a", "worker-heavy-b"),
    },
    queues={"default": "airflow-celery-demo-default", "heavy": "airflow-celery-demo-heavy"},
    dead_letters="airflow-celery-demo-dead-letters",
    database=(("DBClusterIdentifier", "openmwaa-demo"), ("Role", "WRITER")),
    serverless=True,
    may_sleep=True,
    targets=(
        TargetMetrics("web server", "web-server", "app/openmwaa-demo/1", "targetgroup/openmwaa-demo-web/1"),
        TargetMetrics("execution API", "execution-api", "app/openmwaa-demo/1", "targetgroup/openmwaa-demo-execution/1"),
    ),
)
