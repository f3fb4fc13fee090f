# SPDX-License-Identifier: Apache-2.0
"""The CloudWatch metrics of an environment, used by alarms and dashboards.

A name may be a Terraform expression, or a variable of the Grafana dashboard; so the same definitions serve all of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

Dimensions = tuple[tuple[str, str], ...]
Statistic = Literal["Average", "Maximum", "Minimum", "SampleCount", "Sum", "p99"]

# Namespaces of the metrics of the scaler and of the DAG syncers.
SCALER: Final = "openmwaa"
MWAA: Final = "AmazonMWAA"


@dataclass(frozen=True)
class CloudWatchMetric:
    """A CloudWatch metric and its statistic."""

    namespace: str
    name: str
    dimensions: Dimensions
    statistic: Statistic


@dataclass(frozen=True)
class TargetMetrics:
    """A target group: `word` names it for people, `service` is its ECS service."""

    word: str
    service: str
    balancer: str
    group: str

    @property
    def dimensions(self) -> Dimensions:
        """Dimensions in AWS/ApplicationELB."""
        return (("LoadBalancer", self.balancer), ("TargetGroup", self.group))


@dataclass(frozen=True)
class MonitoredResources:
    """The names of an environment's resources in CloudWatch."""

    environment: str
    cluster: str
    service_of: Mapping[str, str]
    """ECS services by component of the control plane."""
    fleets: Mapping[str, Sequence[str]]
    """ECS services by fleet."""
    queues: Mapping[str, str]
    """SQS queue names by worker queue; empty with another broker."""
    dead_letters: str | None
    """Name of the dead-letter queue."""
    database: Dimensions
    """Empty for an existing database."""
    serverless: bool
    """Whether the database scales in Aurora capacity units."""
    targets: Sequence[TargetMetrics]
    may_sleep: bool = False

    @property
    def control_plane(self) -> list[str]:
        """The ECS services of the control plane, and the scaler's."""
        return list(dict.fromkeys((*self.service_of.values(), "scaler")))

    def service(self, name: str, metric: str, statistic: Statistic = "Average") -> CloudWatchMetric:
        """Return a metric of an ECS service."""
        return CloudWatchMetric("AWS/ECS", metric, (("ClusterName", self.cluster), ("ServiceName", name)), statistic)

    def fleet(self, name: str, metric: str, statistic: Statistic) -> CloudWatchMetric:
        """Return a metric that the scaler publishes for a fleet."""
        return CloudWatchMetric(SCALER, metric, (("Environment", self.environment), ("Fleet", name)), statistic)

    def dag_sync(self, metric: str) -> CloudWatchMetric:
        """Return a metric that the DAG syncers publish; of several containers the highest value."""
        return CloudWatchMetric(SCALER, metric, (("Environment", self.environment),), "Maximum")

    def waking(self) -> CloudWatchMetric:
        """Return how long the environment has been waking."""
        return CloudWatchMetric(SCALER, "WakingSeconds", (("Environment", self.environment),), "Maximum")

    def fleet_service(self, fleet: str, service: str, metric: str) -> CloudWatchMetric:
        """Return a metric that the scaler publishes for one of the two services of a fleet."""
        of_fleet = self.fleet(fleet, metric, "Maximum")
        return CloudWatchMetric(SCALER, metric, (*of_fleet.dimensions, ("Service", service)), "Maximum")

    def airflow(self, metric: str, function: str, statistic: Statistic) -> CloudWatchMetric:
        """Return a metric of Airflow with MWAA's dimensions."""
        return CloudWatchMetric(MWAA, metric, (("Function", function), ("Environment", self.environment)), statistic)

    def of_database(self, metric: str, statistic: Statistic = "Average") -> CloudWatchMetric:
        """Return a metric of the metadata database."""
        return CloudWatchMetric("AWS/RDS", metric, self.database, statistic)


def sqs(queue: str, metric: str, statistic: Statistic = "Maximum") -> CloudWatchMetric:
    """Return a metric of an SQS queue."""
    return CloudWatchMetric("AWS/SQS", metric, (("QueueName", queue),), statistic)
