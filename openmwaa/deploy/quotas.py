# SPDX-License-Identifier: Apache-2.0
"""What an apply adds to the account's use, beside the account's quotas and its present use.

Quotas and use are read from AWS. What cannot be read is unknown and stops nothing: a warning names the permission.
"""

import math
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar

from openmwaa.config.environment import Environment
from openmwaa.cost.stack import Resource
from openmwaa.operate.connection import Connection, aws_errors
from openmwaa.operate.errors import OperateError

T = TypeVar("T")

_CPU_UNITS: Final = 1024


@dataclass(frozen=True)
class Quota:
    """One quota of AWS; `added` are the units of the apply, `at_most` those with all fleets at their maximum."""

    name: str
    service: str
    code: str
    added: float = 0.0
    at_most: float = 0.0
    limit: float | None = None
    used: float | None = None
    unknown: tuple[str, ...] = ()
    """Why limit or use are not known."""

    @property
    def short(self) -> float:
        """Units that are missing for the apply."""
        return self._missing(self.added)

    @property
    def short_at_most(self) -> float:
        """Units that are missing when all fleets have their maximum of workers."""
        return self._missing(self.at_most)

    def request(self, region: str) -> str:
        """Return the command that requests more."""
        value = math.ceil((self.used or 0) + self.at_most)
        words = ("--service-code", self.service, "--quota-code", self.code, "--desired-value", str(value))
        return shlex.join(("aws", "service-quotas", "request-service-quota-increase", *words, "--region", region))

    def sentences(self, region: str) -> tuple[str, ...]:
        """Return what is short or unknown, with the command."""
        if self.short:
            used = "an unknown number" if self.used is None else f"{self.used:g}"
            state = (
                f"{self.short:g} too few: the environment adds {self.added:g}, and {used} of {self.limit:g} are used"
            )
        elif self.short_at_most:
            state = f"enough for the start; {self.short_at_most:g} too few for the maximum of all fleets"
        else:
            return tuple(f"{self.name}: {reason}" for reason in self.unknown)
        return (f"{self.name}: {state}. To get more: {self.request(region)}",)

    def as_data(self) -> dict[str, Any]:
        """Return plain data for `--json`."""
        return {**asdict(self), "short": self.short, "short_at_most": self.short_at_most}

    def _missing(self, units: float) -> float:
        # Without the present use, only what is too much for the whole quota is known to be short.
        return 0.0 if self.limit is None else max(0.0, (self.used or 0) + units - self.limit)


# Codes: the Service Quotas console of each service.
ON_DEMAND: Final = Quota("Fargate vCPUs", "fargate", "L-3032A538")
SPOT: Final = Quota("Fargate Spot vCPUs", "fargate", "L-36FBB829")
ELASTIC_IPS: Final = Quota("Elastic IP addresses", "ec2", "L-0263D0A3")
VPCS: Final = Quota("VPCs", "vpc", "L-F678F1CE")

SERVICE_ROLES: Final[Mapping[str, tuple[str, str]]] = {
    "aws_db_instance": ("AWSServiceRoleForRDS", "rds.amazonaws.com"),
    "aws_ecs_cluster": ("AWSServiceRoleForECS", "ecs.amazonaws.com"),
    "aws_elasticache_replication_group": ("AWSServiceRoleForElastiCache", "elasticache.amazonaws.com"),
    "aws_lb": ("AWSServiceRoleForElasticLoadBalancing", "elasticloadbalancing.amazonaws.com"),
    "aws_rds_cluster": ("AWSServiceRoleForRDS", "rds.amazonaws.com"),
}
"""The service-linked role that AWS makes at the first use of a resource type, and its service."""


def added(environment: Environment, document: Mapping[str, Any], state: Sequence[Resource]) -> tuple[Quota, ...]:
    """Return the quotas that an apply of the stack uses more of, without present use and limit."""
    exists = {(resource.type, resource.name) for resource in state}
    resources = document["resource"]

    def new(kind: str) -> list[str]:
        return [name for name in resources.get(kind, {}) if (kind, name) not in exists]

    definitions = resources.get("aws_ecs_task_definition", {})
    control_plane = 0.0
    for name in new("aws_ecs_service"):
        service = resources["aws_ecs_service"][name]
        if isinstance(service["desired_count"], int):  # the services of workers have an expression
            definition = definitions[service["task_definition"].split(".")[1]]
            control_plane += service["desired_count"] * int(definition["cpu"]) / _CPU_UNITS
    start = {"FARGATE": control_plane, "FARGATE_SPOT": 0.0}
    most = dict(start)
    for fleet in environment.fleets.values():
        present = fleet.min if ("aws_ecs_service", f"fleets_{fleet.name}_a") in exists else 0
        start[fleet.capacity] += (fleet.min - present) * fleet.cpu / _CPU_UNITS
        most[fleet.capacity] += (fleet.max - present) * fleet.cpu / _CPU_UNITS
    counted = (
        (ON_DEMAND, start["FARGATE"], most["FARGATE"]),
        (SPOT, start["FARGATE_SPOT"], most["FARGATE_SPOT"]),
        (ELASTIC_IPS, float(len(new("aws_eip"))), float(len(new("aws_eip")))),
        (VPCS, float(len(new("aws_vpc"))), float(len(new("aws_vpc")))),
    )
    return tuple(replace(quota, added=units, at_most=at_most) for quota, units, at_most in counted if at_most)


def read(connection: Connection, quota: Quota, now: datetime) -> Quota:
    """Return the quota with the limit and the present use, as far as AWS answers."""
    unknown: list[str] = []
    limit, metric = _try(lambda: _limit(connection, quota), unknown) or (None, None)
    used = _try(lambda: _used(connection, quota, metric, now), unknown)
    if used is None and not unknown:
        unknown.append("CloudWatch has no metric of the present use; it is not known whether the quota is enough")
    return replace(quota, limit=limit, used=used, unknown=tuple(unknown))


def missing_roles(connection: Connection, document: Mapping[str, Any]) -> tuple[str, ...]:
    """Return a sentence for each service-linked role that the account does not have, or that cannot be read."""
    from botocore.exceptions import ClientError  # noqa: PLC0415 - boto3 is an extra

    iam = connection.client("iam")
    found = []
    for role, service in sorted({SERVICE_ROLES[kind] for kind in document["resource"] if kind in SERVICE_ROLES}):
        try:
            with aws_errors(connection, "iam:GetRole", f"the role {role}"):
                try:
                    iam.get_role(RoleName=role)
                except ClientError as error:
                    if error.response.get("Error", {}).get("Code") != "NoSuchEntity":
                        raise
                    command = f"aws iam create-service-linked-role --aws-service-name {service}"
                    found.append(f"{role} does not exist; AWS makes it now if you have the permission, or: {command}")
        except OperateError as error:
            return (*found, f"Service-linked roles: unknown. {error}")
    return tuple(found)


def _limit(connection: Connection, quota: Quota) -> tuple[float, Mapping[str, Any] | None]:
    """Return the applied value, or AWS's default where none is applied, and the metric of its use."""
    from botocore.exceptions import ClientError  # noqa: PLC0415 - boto3 is an extra

    client, names = connection.client("service-quotas"), {"ServiceCode": quota.service, "QuotaCode": quota.code}
    with aws_errors(connection, "servicequotas:GetServiceQuota", "*"):
        try:
            answer = client.get_service_quota(**names)["Quota"]
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") != "NoSuchResourceException":
                raise
            with aws_errors(connection, "servicequotas:GetAWSDefaultServiceQuota", "*"):
                answer = client.get_aws_default_service_quota(**names)["Quota"]
    return float(answer["Value"]), answer.get("UsageMetric")


def _used(connection: Connection, quota: Quota, metric: Mapping[str, Any] | None, now: datetime) -> float | None:
    if quota.code == ELASTIC_IPS.code:
        with aws_errors(connection, "ec2:DescribeAddresses", "*"):
            return float(len(connection.client("ec2").describe_addresses()["Addresses"]))
    if quota.code == VPCS.code:
        with aws_errors(connection, "ec2:DescribeVpcs", "*"):
            pages = connection.client("ec2").get_paginator("describe_vpcs").paginate()
            return float(sum(len(page["Vpcs"]) for page in pages))
    if not metric:
        return None
    statistic = metric.get("MetricStatisticRecommendation", "Maximum")
    with aws_errors(connection, "cloudwatch:GetMetricStatistics", "*"):
        points = connection.client("cloudwatch").get_metric_statistics(
            Namespace=metric["MetricNamespace"],
            MetricName=metric["MetricName"],
            Dimensions=[{"Name": name, "Value": value} for name, value in metric["MetricDimensions"].items()],
            StartTime=now - timedelta(minutes=30),
            EndTime=now,
            Period=300,
            Statistics=[statistic],
        )["Datapoints"]
    newest = max(points, key=lambda point: point["Timestamp"], default=None)
    return None if newest is None else float(newest[statistic])


def _try(call: Callable[[], T], unknown: list[str]) -> T | None:
    try:
        return call()
    except OperateError as error:
        unknown.append(f"unknown. {error}")
        return None
