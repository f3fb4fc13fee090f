# SPDX-License-Identifier: Apache-2.0
"""The metrics of AWS's own services that alarms and dashboards name, by the dimensions that AWS documents."""

from collections.abc import Mapping
from typing import Final

_PAGES: Final = "https://docs.aws.amazon.com/"
_ECS: Final = f"{_PAGES}AmazonECS/latest/developerguide/available-metrics.html"
_SQS: Final = f"{_PAGES}AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html"
_RDS: Final = f"{_PAGES}AmazonRDS/latest/UserGuide/rds-metrics.html"
_AURORA: Final = f"{_PAGES}AmazonRDS/latest/AuroraUserGuide/Aurora.AuroraMonitoring.Metrics.html"
_ELB: Final = f"{_PAGES}elasticloadbalancing/latest/application/load-balancer-cloudwatch-metrics.html"

_SERVICE: Final = ("ClusterName", "ServiceName")
_WRITER: Final = ("DBClusterIdentifier", "Role")
_INSTANCE: Final = ("DBInstanceIdentifier",)
_TARGETS: Final = ("LoadBalancer", "TargetGroup")

DOCUMENTED: Final[Mapping[tuple[str, str], tuple[set[tuple[str, ...]], str]]] = {
    ("AWS/ECS", "CPUUtilization"): ({_SERVICE}, _ECS),
    ("AWS/ECS", "MemoryUtilization"): ({_SERVICE}, _ECS),
    ("AWS/SQS", "ApproximateAgeOfOldestMessage"): ({("QueueName",)}, _SQS),
    ("AWS/SQS", "ApproximateNumberOfMessagesVisible"): ({("QueueName",)}, _SQS),
    ("AWS/RDS", "CPUUtilization"): ({_WRITER, _INSTANCE}, _RDS),
    ("AWS/RDS", "FreeableMemory"): ({_WRITER, _INSTANCE}, _RDS),
    ("AWS/RDS", "DatabaseConnections"): ({_WRITER, _INSTANCE}, _RDS),
    ("AWS/RDS", "ACUUtilization"): ({_WRITER, _INSTANCE}, _AURORA),
    ("AWS/ApplicationELB", "RequestCount"): ({_TARGETS}, _ELB),
    ("AWS/ApplicationELB", "HTTPCode_Target_5XX_Count"): ({_TARGETS}, _ELB),
    ("AWS/ApplicationELB", "HTTPCode_ELB_5XX_Count"): ({("LoadBalancer",)}, _ELB),
    ("AWS/ApplicationELB", "TargetResponseTime"): ({_TARGETS}, _ELB),
    ("AWS/ApplicationELB", "HealthyHostCount"): ({_TARGETS}, _ELB),
    ("AWS/ApplicationELB", "UnHealthyHostCount"): ({_TARGETS}, _ELB),
}
"""By namespace and name: the dimensions, and the page that documents them."""
