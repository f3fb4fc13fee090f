# SPDX-License-Identifier: Apache-2.0
"""The AWS services of each Region: a Region without a required service is refused, with the name of the service.

`tools/generate_regions.py` creates `regions.json` from botocore's data, so that validation and synthesis do not need
botocore.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Final, Protocol

from openmwaa.config.broker import Broker, ElastiCache, Sqs
from openmwaa.config.images import Images
from openmwaa.config.metadata_database import ExistingPostgresql, MetadataDatabase
from openmwaa.config.monitoring import Monitoring
from openmwaa.config.network import Network
from openmwaa.config.web_access import WebAccess

DATA: Final = "regions.json"
# In other partitions the names of endpoints differ between services.
_ENDPOINTS_KNOWN: Final = ("aws", "aws-us-gov")


class RegionalEnvironment(Protocol):
    """The fields of an environment that decide which AWS services it uses.

    A protocol, because the model of an environment imports this module for its check.
    """

    region: str
    images: Images
    broker: Broker
    metadata_database: MetadataDatabase
    monitoring: Monitoring
    network: Network
    web_access: WebAccess
    max_webservers: int
    min_webservers: int

    @property
    def has_cloudfront(self) -> bool: ...  # noqa: D102
    @property
    def has_public_load_balancer(self) -> bool: ...  # noqa: D102


@dataclass(frozen=True)
class AwsService:
    """An AWS service: its name in botocore's endpoints, its purpose, and the environments that use it."""

    endpoint: str
    name: str
    why: str
    used: Callable[[RegionalEnvironment], bool] = lambda _: True
    condition: str = ""
    """The condition in words; empty for always."""


SERVICES: Final = (
    AwsService("ecs", "ECS (Fargate)", "runs every task"),
    AwsService(
        "api.ecr",
        "ECR",
        "stores the images",
        lambda e: not (e.images.airflow and e.images.scaler),
        "unless `images` names others",
    ),
    AwsService("ec2", "EC2 (VPC)", "is the network"),
    AwsService("elasticloadbalancing", "Elastic Load Balancing", "routes users and tasks to Airflow"),
    AwsService("s3", "S3", "stores DAGs"),
    AwsService("logs", "CloudWatch Logs", "stores logs"),
    AwsService("monitoring", "CloudWatch", "stores metrics and evaluates alarms"),
    AwsService("kms", "KMS", "stores the encryption key"),
    AwsService("secretsmanager", "Secrets Manager", "stores secrets"),
    AwsService("ssm", "Systems Manager", "stores manual overrides of the scaler"),
    AwsService("iam", "IAM", "stores roles"),
    AwsService("sts", "STS", "returns the account to Terraform"),
    AwsService("sqs", "SQS", "is the broker", lambda e: isinstance(e.broker, Sqs), "`broker.kind: SQS`"),
    AwsService(
        "elasticache",
        "ElastiCache",
        "is the broker",
        lambda e: isinstance(e.broker, ElastiCache),
        "`broker.kind: ELASTICACHE`",
    ),
    AwsService(
        "rds",
        "RDS",
        "stores Airflow's metadata",
        lambda e: not isinstance(e.metadata_database, ExistingPostgresql),
        "unless `metadata_database.kind: EXISTING`",
    ),
    AwsService(
        "application-autoscaling",
        "Application Auto Scaling",
        "scales web servers",
        lambda e: e.max_webservers > e.min_webservers,
        "`max_webservers` above `min_webservers`",
    ),
    AwsService("sns", "SNS", "sends alarm notifications", lambda e: e.monitoring.alarms, "`monitoring.alarms`"),
    AwsService(
        "acm",
        "Certificate Manager",
        "issues the certificate",
        lambda e: e.web_access.domain is not None,
        "`web_access.domain`",
    ),
    AwsService(
        "route53",
        "Route 53",
        "hosts the DNS zone",
        lambda e: e.web_access.hosted_zone_id is not None,
        "`web_access.hosted_zone_id`",
    ),
    AwsService(
        "cognito-idp",
        "Cognito",
        "authenticates users",
        lambda e: e.web_access.cognito is not None,
        "`web_access.cognito`",
    ),
    AwsService(
        "cloudfront",
        "CloudFront",
        "gives public access without a domain",
        lambda e: e.has_cloudfront,
        "PUBLIC_AND_PRIVATE without a domain",
    ),
    AwsService(
        "wafv2",
        "WAF",
        "allows only configured ranges",
        lambda e: e.has_cloudfront or e.has_public_load_balancer,
        "public access",
    ),
)


@dataclass(frozen=True)
class RegionTable:
    """Regions with partition and long name, and the Regions of each service."""

    source: str
    created_on: str
    partitions: Mapping[str, str]
    """Region -> partition."""
    names: Mapping[str, str]
    """Region -> long name."""
    services: Mapping[str, frozenset[str]]
    """Service -> Regions that offer it."""

    def lacks(self, region: str) -> list[AwsService]:
        """Return the services that `region` does not offer."""
        return [service for service in SERVICES if region not in self.services[service.endpoint]]


@cache
def region_table() -> RegionTable:
    """Return the table in the distribution."""
    data = json.loads(resources.files("openmwaa.config").joinpath(DATA).read_text(encoding="utf-8"))
    return RegionTable(
        source=data["source"],
        created_on=data["made_on"],
        partitions={region: entry["partition"] for region, entry in data["regions"].items()},
        names={region: entry["name"] for region, entry in data["regions"].items()},
        services={service: frozenset(regions) for service, regions in data["services"].items()},
    )


def check(environment: RegionalEnvironment) -> None:
    """Raise ValueError if the Region of `environment` is unknown or lacks a required service."""
    region, table = environment.region, region_table()
    partition = table.partitions.get(region)
    if partition is None:
        raise ValueError(
            f"`region`: {region} is not in the table of Regions (created on {table.created_on} from {table.source}); "
            "docs/reference/regions.md lists the known Regions"
        )
    for service in table.lacks(region):
        if service.used(environment):
            raise ValueError(f"`region`: {region} has no {service.name}, which {service.why}{_condition(service)}")
    if environment.has_cloudfront and partition != "aws":
        raise ValueError(
            f"`region`: {region} is in the partition {partition}, but CloudFront's WAF is in us-east-1, in the "
            "partition aws; set a `web_access.domain`"
        )
    if environment.network.egress_mode == "ENDPOINTS_ONLY" and partition not in _ENDPOINTS_KNOWN:
        raise ValueError(
            f"`network.egress`: ENDPOINTS_ONLY does not support the partition {partition} of {region}, where names of "
            "VPC endpoints differ between services; use NAT_GATEWAY"
        )


def _condition(service: AwsService) -> str:
    return f" ({service.condition})" if service.condition else ""
