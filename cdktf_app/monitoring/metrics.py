# SPDX-License-Identifier: Apache-2.0
"""What alarms and dashboards look at: the names by which CloudWatch knows the parts of an environment.

A name may be a Terraform expression, or in the Grafana dashboard a variable of it: alarms and panels are made of names
alone, so the same tables serve all of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

Dimensions = tuple[tuple[str, str], ...]
Statistic = Literal["Average", "Maximum", "Minimum", "Sum", "p99"]

# The namespaces that the scaler publishes to; AWS's own services have theirs.
SCALER: Final = "openmwaa"
MWAA: Final = "AmazonMWAA"


@dataclass(frozen=True)
class CloudWatchMetric:
    """A metric of CloudWatch, and what is made of a period's values."""

    namespace: str
    name: str
    dimensions: Dimensions
    statistic: Statistic


@dataclass(frozen=True)
class TargetMetrics:
    """Services behind a load balancer: `word` says for whom, `service` which."""

    word: str
    service: str
    balancer: str
    group: str

    @property
    def dimensions(self) -> Dimensions:
        """The dimensions of its metrics in AWS/ApplicationELB."""
        return (("LoadBalancer", self.balancer), ("TargetGroup", self.group))


@dataclass(frozen=True)
class MonitoredResources:
    """The parts of one environment."""

    environment: str
    cluster: str
    fleets: Mapping[str, Sequence[str]]
    """ECS services by fleet."""
    queues: Mapping[str, str]
    """Names in SQS by worker queue; empty with another broker."""
    dead_letters: str | None
    """Name in SQS."""
    database: Dimensions
    """Empty where the database is not ours to watch."""
    serverless: bool
    """Whether the database grows by Aurora capacity units."""
    targets: Sequence[TargetMetrics]

    def service(self, name: str, metric: str, statistic: Statistic = "Average") -> CloudWatchMetric:
        """Return a metric of an ECS service."""
        return CloudWatchMetric("AWS/ECS", metric, (("ClusterName", self.cluster), ("ServiceName", name)), statistic)

    def fleet(self, name: str, metric: str, statistic: Statistic) -> CloudWatchMetric:
        """Return what the scaler says of a fleet."""
        return CloudWatchMetric(SCALER, metric, (("Environment", self.environment), ("Fleet", name)), statistic)

    def suffix(self, fleet: str, service: str, metric: str) -> CloudWatchMetric:
        """Return what the scaler says of one generation of a fleet."""
        whole = self.fleet(fleet, metric, "Maximum")
        return CloudWatchMetric(SCALER, metric, (*whole.dimensions, ("Service", service)), "Maximum")

    def airflow(self, metric: str, function: str, statistic: Statistic) -> CloudWatchMetric:
        """Return a metric of Airflow, by the dimensions that MWAA has."""
        return CloudWatchMetric(MWAA, metric, (("Function", function), ("Environment", self.environment)), statistic)

    def of_database(self, metric: str, statistic: Statistic = "Average") -> CloudWatchMetric:
        """Return a metric of the metadata database."""
        return CloudWatchMetric("AWS/RDS", metric, self.database, statistic)


def sqs(queue: str, metric: str, statistic: Statistic = "Maximum") -> CloudWatchMetric:
    """Return a metric of an SQS queue."""
    return CloudWatchMetric("AWS/SQS", metric, (("QueueName", queue),), statistic)
