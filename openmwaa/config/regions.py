# SPDX-License-Identifier: Apache-2.0
"""The AWS services of each Region: a Region without a required service is refused, with the name of the service.

`tools/generate_regions.py` creates `regions.json` from botocore's data, so that validation and synthesis do not need
botocore.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Final

from openmwaa.config.network import Network
from openmwaa.config.strict_model import FieldError

DATA: Final = "regions.json"
# In other partitions the names of endpoints differ between services.
_ENDPOINTS_KNOWN: Final = ("aws", "aws-us-gov")


@dataclass(frozen=True)
class AwsService:
    """An AWS service: its name in botocore's endpoints, and its purpose."""

    endpoint: str
    name: str
    why: str
    condition: str = ""
    """When an environment uses it, in words; empty for always. `Environment.aws_services` computes it."""


SERVICES: Final = (
    AwsService("ecs", "ECS (Fargate)", "runs every task"),
    AwsService("api.ecr", "ECR", "stores the images", "unless `images` names others"),
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
    AwsService("sqs", "SQS", "is the broker", "`broker.kind: SQS`"),
    AwsService("elasticache", "ElastiCache", "is the broker", "`broker.kind: ELASTICACHE`"),
    AwsService("rds", "RDS", "stores Airflow's metadata", "unless `metadata_database.kind: EXISTING`"),
    AwsService(
        "application-autoscaling",
        "Application Auto Scaling",
        "scales web servers",
        "`max_webservers` above `min_webservers`",
    ),
    AwsService("sns", "SNS", "sends alarm notifications", "`monitoring.alarms`"),
    AwsService("acm", "Certificate Manager", "issues the certificate", "`web_access.domain`"),
    AwsService("route53", "Route 53", "hosts the DNS zone", "`web_access.hosted_zone_id`"),
    AwsService("cognito-idp", "Cognito", "authenticates users", "`web_access.cognito`"),
    AwsService(
        "cloudfront", "CloudFront", "gives public access without a domain", "PUBLIC_AND_PRIVATE without a domain"
    ),
    AwsService("wafv2", "WAF", "allows only configured ranges", "public access"),
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


def check(region: str, services: Collection[str], network: Network) -> None:
    """Raise ValueError if `region` is unknown, or lacks one of `services`, or the endpoints of `network`."""
    table = region_table()
    partition = table.partitions.get(region)
    if partition is None:
        raise FieldError(
            f"`region`: {region} is not in the table of Regions (created on {table.created_on} from {table.source}); "
            "docs/reference/regions.md lists the known Regions",
            "region",
        )
    for service in table.lacks(region):
        if service.endpoint in services:
            condition = f" ({service.condition})" if service.condition else ""
            raise FieldError(f"`region`: {region} has no {service.name}, which {service.why}{condition}", "region")
    if "cloudfront" in services and partition != "aws":
        raise FieldError(
            f"`region`: {region} is in the partition {partition}, but CloudFront's WAF is in us-east-1, in the "
            "partition aws; set a `web_access.domain`",
            "region",
        )
    if network.egress_mode == "ENDPOINTS_ONLY" and partition not in _ENDPOINTS_KNOWN:
        raise FieldError(
            f"`network.egress`: ENDPOINTS_ONLY does not support the partition {partition} of {region}, where names of "
            "VPC endpoints differ between services; use NAT_GATEWAY",
            *("network", "egress"),
        )
