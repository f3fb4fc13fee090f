# SPDX-License-Identifier: Apache-2.0
"""All resources are of services in the table of Regions, so that validation detects a missing service."""

from openmwaa.config.environment import Environment
from openmwaa.config.environment_file import load
from tests.support.environments import LEAST
from tests.support.stack import Stack
from tests.synth.cdktf_app.conftest import PUBLIC_WEB, ROOT

# How Terraform's types begin, the longest first where two fit; the rest of them is the VPC's.
SERVICE_OF = {
    "aws_acm_": "acm",
    "aws_appautoscaling_": "application-autoscaling",
    "aws_caller_identity": "sts",
    "aws_cloudfront_": "cloudfront",
    "aws_cloudwatch_log_": "logs",
    "aws_cloudwatch_": "monitoring",
    "aws_db_": "rds",
    "aws_ecr_": "api.ecr",
    "aws_ecs_": "ecs",
    "aws_elasticache_": "elasticache",
    "aws_iam_": "iam",
    "aws_kms_": "kms",
    "aws_lb": "elasticloadbalancing",
    "aws_rds_": "rds",
    "aws_route53_": "route53",
    "aws_s3_": "s3",
    "aws_secretsmanager_": "secretsmanager",
    "aws_sns_": "sns",
    "aws_sqs_": "sqs",
    "aws_ssm_": "ssm",
    "aws_wafv2_": "wafv2",
}
OF_THE_VPC = (
    "aws_availability_zones",
    "aws_default_security_group",
    "aws_ec2_managed_prefix_list",
    "aws_eip",
    "aws_flow_log",
    "aws_internet_gateway",
    "aws_nat_gateway",
    "aws_route",
    "aws_route_table",
    "aws_route_table_association",
    "aws_route_tables",
    "aws_security_group",
    "aws_subnet",
    "aws_vpc",
    "aws_vpc_endpoint",
    "aws_vpc_security_group_egress_rule",
    "aws_vpc_security_group_ingress_rule",
)
NO_SERVICE = ("aws_partition",)


def _services(stack: Stack) -> set[str]:
    found = set()
    for kind in {**stack.document["resource"], **stack.document.get("data", {})}:
        if not kind.startswith("aws_") or kind in NO_SERVICE:
            continue
        if kind in OF_THE_VPC:
            found.add("ec2")
            continue
        service = next((name for start, name in SERVICE_OF.items() if kind.startswith(start)), None)
        assert service, f"{kind} is of a service that openmwaa/config/regions.py does not know; add a row of it"
        found.add(service)
    return found


def _stated(environment: Environment) -> set[str]:
    return set(environment.aws_services)


def test_every_resource_is_of_a_service_in_the_table_of_regions(
    quickstart: Stack, redis_and_rds: Stack, existing: Stack, public_without_a_way_out: Stack
) -> None:
    worlds = {
        "quickstart": (quickstart, load(ROOT / "examples/quickstart/environment.yaml")),
        "redis and rds": (
            redis_and_rds,
            Environment.model_validate(
                {**LEAST, "broker": {"kind": "ELASTICACHE"}, "metadata_database": {"kind": "RDS_POSTGRESQL"}}
            ),
        ),
        "public": (public_without_a_way_out, Environment.model_validate({**LEAST, **PUBLIC_WEB})),
    }
    for name, (stack, environment) in worlds.items():
        missing = _services(stack) - _stated(environment)
        assert not missing, f"{name}: {missing} are used, and a Region without them is not refused"
    assert "rds" not in _services(existing), "an existing database needs no RDS"
