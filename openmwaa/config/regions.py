# SPDX-License-Identifier: Apache-2.0
"""Where AWS offers the services that an environment uses: a Region that lacks one is refused, and told which.

`regions.json` beside this file is made by `tools/generate_regions.py` from botocore's own data, so that neither
validation nor synthesis needs botocore.
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
# Names of endpoints elsewhere differ from service to service.
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
class Service:
    """A service of AWS: its name in botocore's endpoints, what it is for, and which environments use it."""

    endpoint: str
    name: str
    why: str
    used: Callable[[RegionalEnvironment], bool] = lambda _: True
    condition: str = ""
    """When it is used, in words; always when empty."""


SERVICES: Final = (
    Service("ecs", "ECS (Fargate)", "runs every task"),
    Service("api.ecr", "ECR", "keeps the images", lambda e: not (e.images.airflow and e.images.scaler), "unless given"),
    Service("ec2", "EC2 (VPC)", "is the network"),
    Service("elasticloadbalancing", "Elastic Load Balancing", "leads people and tasks to Airflow"),
    Service("s3", "S3", "keeps DAGs"),
    Service("logs", "CloudWatch Logs", "keeps logs"),
    Service("monitoring", "CloudWatch", "keeps metrics and watches alarms"),
    Service("kms", "KMS", "keeps the key of everything stored"),
    Service("secretsmanager", "Secrets Manager", "keeps secrets"),
    Service("ssm", "Systems Manager", "keeps what people order of the scaler"),
    Service("iam", "IAM", "keeps roles"),
    Service("sts", "STS", "tells Terraform the account"),
    Service("sqs", "SQS", "is the broker", lambda e: isinstance(e.broker, Sqs), "`broker.kind: SQS`"),
    Service(
        "elasticache",
        "ElastiCache",
        "is the broker",
        lambda e: isinstance(e.broker, ElastiCache),
        "`broker.kind: ELASTICACHE`",
    ),
    Service(
        "rds",
        "RDS",
        "keeps Airflow's metadata",
        lambda e: not isinstance(e.metadata_database, ExistingPostgresql),
        "unless `metadata_database.kind: EXISTING`",
    ),
    Service(
        "application-autoscaling",
        "Application Auto Scaling",
        "follows the load of web servers",
        lambda e: e.max_webservers > e.min_webservers,
        "`max_webservers` above `min_webservers`",
    ),
    Service("sns", "SNS", "tells people of alarms", lambda e: e.monitoring.alarms, "`monitoring.alarms`"),
    Service(
        "acm",
        "Certificate Manager",
        "makes the certificate",
        lambda e: e.web_access.domain is not None,
        "`web_access.domain`",
    ),
    Service(
        "route53",
        "Route 53",
        "keeps the names of the domain",
        lambda e: e.web_access.hosted_zone_id is not None,
        "`web_access.hosted_zone_id`",
    ),
    Service(
        "cognito-idp",
        "Cognito",
        "knows people",
        lambda e: e.web_access.cognito is not None,
        "`web_access.cognito`",
    ),
    Service(
        "cloudfront",
        "CloudFront",
        "is the public way to the web server without a domain",
        lambda e: e.has_cloudfront,
        "PUBLIC_AND_PRIVATE without a domain",
    ),
    Service(
        "wafv2",
        "WAF",
        "lets in only the ranges that are allowed",
        lambda e: e.has_cloudfront or e.has_public_load_balancer,
        "public access",
    ),
)


@dataclass(frozen=True)
class Offers:
    """The table: Regions by name with their partition and what people call them, and where each service is."""

    source: str
    made_on: str
    partitions: Mapping[str, str]
    """Region -> partition."""
    names: Mapping[str, str]
    """Region -> what people call it."""
    services: Mapping[str, frozenset[str]]
    """Service -> Regions where it is offered."""

    def lacks(self, region: str) -> list[Service]:
        """Return the services that `region` does not have."""
        return [one for one in SERVICES if region not in self.services[one.endpoint]]


@cache
def offers() -> Offers:
    """Return the table that the distribution brings."""
    data = json.loads(resources.files("openmwaa.config").joinpath(DATA).read_text(encoding="utf-8"))
    return Offers(
        source=data["source"],
        made_on=data["made_on"],
        partitions={region: about["partition"] for region, about in data["regions"].items()},
        names={region: about["name"] for region, about in data["regions"].items()},
        services={service: frozenset(regions) for service, regions in data["services"].items()},
    )


def check(environment: RegionalEnvironment) -> None:
    """Raise ValueError where the Region of `environment` is unknown or has not what it needs."""
    region, table = environment.region, offers()
    partition = table.partitions.get(region)
    if partition is None:
        raise ValueError(
            f"`region`: {region} is not in the table of Regions, made on {table.made_on} from {table.source}; "
            "docs/reference/regions.md has those that are"
        )
    for service in table.lacks(region):
        if service.used(environment):
            raise ValueError(f"`region`: {region} has no {service.name}, which {service.why}{_instead(service)}")
    if environment.has_cloudfront and partition != "aws":
        raise ValueError(
            f"`region`: {region} is in the partition {partition}, and the list of who may come to CloudFront is kept "
            "by WAF in us-east-1, which is in another; give a `web_access.domain`"
        )
    if environment.network.egress_mode == "ENDPOINTS_ONLY" and partition not in _ENDPOINTS_KNOWN:
        raise ValueError(
            f"`network.egress`: ENDPOINTS_ONLY is not built for the partition {partition} of {region}, where names of "
            "VPC endpoints differ from service to service; say NAT_GATEWAY"
        )


def _instead(service: Service) -> str:
    return f" ({service.condition})" if service.condition else ""
