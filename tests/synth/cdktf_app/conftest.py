# SPDX-License-Identifier: Apache-2.0
"""Stacks of many tests, each synthesised once."""

from pathlib import Path
from typing import Any

import pytest

from openmwaa.config.environment import Environment
from openmwaa.config.environment_file import load
from tests.support.environments import LEAST
from tests.support.stack import Stack
from tests.support.synthesis import stack_document

ROOT = Path(__file__).parents[3]
VPC = "vpc-0a0a0a0a"
PRIVATE = ["subnet-1a1a1a1a", "subnet-2b2b2b2b", "subnet-3c3c3c3c"]
PUBLIC = ["subnet-4d4d4d4d", "subnet-5e5e5e5e"]
GROUP = "sg-6f6f6f6f"
PUBLIC_WEB: dict[str, Any] = {
    "webserver_access_mode": "PUBLIC_ONLY",
    "web_access": {
        "domain": "airflow.example.com",
        "hosted_zone_id": "Z0123456789",
        "allowed_cidrs": ["203.0.113.0/24"],
        "cognito": {
            "user_pool_arn": "arn:aws:cognito-idp:us-east-1:123456789012:userpool/us-east-1_abc",
            "user_pool_client_id": "abc",
            "user_pool_domain": "abc",
        },
    },
}


def stack_of(**fields: Any) -> Stack:
    """Return the stack of an environment with `fields`, by default SEPARATE; a copy, so that a test may change it."""
    return Stack(stack_document(Environment.model_validate({**LEAST, "control_plane": "SEPARATE", **fields})))


@pytest.fixture(scope="session")
def quickstart_environment() -> Environment:
    """The quickstart example with a SEPARATE control plane."""
    fields = load(ROOT / "examples/quickstart/environment.yaml").model_dump(by_alias=True, exclude_unset=True)
    return Environment.model_validate({**fields, "control_plane": "SEPARATE", "monitoring": {}})


@pytest.fixture(scope="session")
def quickstart(quickstart_environment: Environment) -> Stack:
    return Stack(stack_document(quickstart_environment))


@pytest.fixture(scope="session")
def compact() -> Stack:
    """The quickstart example with a dashboard."""
    fields = load(ROOT / "examples/quickstart/environment.yaml").model_dump(by_alias=True, exclude_unset=True)
    return Stack(stack_document(Environment.model_validate({**fields, "monitoring": {}})))


@pytest.fixture(scope="session")
def compact_public() -> Stack:
    """A COMPACT control plane with a public load balancer, ElastiCache and ECS Exec, without internet access."""
    more: dict[str, Any] = {"network": {"egress": "ENDPOINTS_ONLY"}, "broker": {"kind": "ELASTICACHE"}}
    public = {**PUBLIC_WEB, "webserver_access_mode": "PUBLIC_AND_PRIVATE"}
    return stack_of(control_plane="COMPACT", enable_execute_command=True, **public, **more)


@pytest.fixture(scope="session")
def byo_resources() -> Stack:
    """An environment with existing key, bucket, role and images, and two fleets."""
    return stack_of(
        kms_key="arn:aws:kms:us-east-1:123456789012:key/11111111-2222-3333-4444-555555555555",
        source_bucket="arn:aws:s3:::given-bucket",
        execution_role_arn="arn:aws:iam::123456789012:role/given",
        images={
            "airflow": "123456789012.dkr.ecr.us-east-1.amazonaws.com/teams/airflow@sha256:" + "a" * 64,
            "scaler": "example.com/scaler:1",
        },
        fleets={
            "default": {"queues": ["default", "high"], "class": "mw1.micro", "min": 2, "max": 4},
            "graphics": {
                "queues": ["heavy"],
                "cpu": 4096,
                "memory": 16384,
                "slots": 2,
                "min": 0,
                "max": 7,
                "capacity": "FARGATE_SPOT",
                "schedule": [{"cron": "0 6 * * 1-5", "minutes": 90, "min": 3, "timezone": "Europe/Zurich"}],
                "fallback": {"mode": "hold-if-higher", "count": 2, "after_seconds": 300},
                "desired_count_drift": "adopt",
            },
        },
        airflow_configuration_options={"core.parallelism": 7, "smtp.smtp_mail_from": "${injected} %{if}"},
        logging_configuration={"worker_logs": {"enabled": False}, "task_logs": {"log_level": "DEBUG"}},
        tags={"team": "data", "cost": "a"},
    )


@pytest.fixture(scope="session")
def longest_names() -> Stack:
    """An environment with the longest names, twenty fleets with 39 queues, and all role settings."""
    return stack_of(
        name="e" * 80,
        region="ap-northeast-1",
        enable_execute_command=True,
        identity={
            "path": "/data-platform/airflow/",
            "role_name_prefix": "company-data-airflow",
            "permissions_boundary_arn": "arn:aws:iam::123456789012:policy/boundaries/data",
            "worker_policy_arns": [
                "arn:aws:iam::123456789012:policy/lake/read",
                "arn:aws:iam::123456789012:policy/warehouse/read",
            ],
        },
        fleets={
            f"{number:02}".translate(str.maketrans("0123456789", "abcdefghij")).ljust(20, "x"): {
                "queues": [f"q{number:02}" + "q" * 37, f"r{number:02}" + "r" * 37] if number else ["default"],
            }
            for number in range(20)
        },
    )


@pytest.fixture(scope="session")
def redis_and_rds() -> Stack:
    """An environment with ElastiCache and RDS."""
    return stack_of(broker={"kind": "ELASTICACHE"}, metadata_database={"kind": "RDS_POSTGRESQL"})


@pytest.fixture(scope="session")
def no_internet() -> Stack:
    """An environment in a VPC of three zones, with endpoints and without internet access, and a demand metric."""
    metric = {"namespace": "Acme/${video}", "metric_name": "Frames", "dimensions": {"%{a}": "b"}, "slots_per_unit": 0.5}
    fleet = {"queues": ["default"], "demand_metric": metric}
    return stack_of(network={"egress": "ENDPOINTS_ONLY", "zones": 3}, fleets={"default": fleet})


@pytest.fixture(scope="session")
def iam_without_internet() -> Stack:
    """An environment with IAM login, principals of another account, and VPC endpoints."""
    rows = [
        {"principal": "arn:aws:iam::210987654321:role/analysts", "role": "Viewer"},
        {"principal": "arn:aws:iam::123456789012:user/${x}/%{y}/bob", "role": "Op"},
    ]
    access = [{"tag": "team:${x}", "principals": ["arn:aws:iam::123456789012:user/bob"], "role": "User"}]
    login = {"role_table": rows, "dag_access": access, "cli_role_scoping": False}
    return stack_of(
        web_access={"allow_http": True, "login": "IAM", "iam_login": login}, network={"egress": "ENDPOINTS_ONLY"}
    )


@pytest.fixture(scope="session")
def password_login() -> Stack:
    """The least environment with a password instead of IAM login."""
    return stack_of(web_access={"allow_http": True, "login": "PASSWORD"})


@pytest.fixture(scope="session")
def nat_per_zone() -> Stack:
    return stack_of(network={"egress": "NAT_GATEWAY_PER_ZONE", "zones": 3, "flow_logs": "ALL"}, region="us-west-1")


@pytest.fixture(scope="session")
def public_ip() -> Stack:
    """A development environment whose tasks have public addresses."""
    return stack_of(network={"egress": "PUBLIC_IP"}, broker={"kind": "ELASTICACHE"})


@pytest.fixture(scope="session")
def existing() -> Stack:
    """An existing VPC, an existing database, and further groups for DAG code."""
    return stack_of(
        network={
            "vpc_id": VPC,
            "private_subnet_ids": PRIVATE,
            "public_subnet_ids": PUBLIC,
            "security_group_ids": [GROUP],
            "egress": "ENDPOINTS_ONLY",
        },
        metadata_database={
            "kind": "EXISTING",
            "host": "db.example.com",
            "port": 6432,
            "master_secret_arn": "arn:aws:secretsmanager:us-east-1:123456789012:secret:db-abcdef",
            "security_group_id": "sg-7a7a7a7a",
        },
        broker={"kind": "ELASTICACHE"},
        web_access={"allow_http": True, "allowed_cidrs": ["10.20.0.0/16", "10.30.0.0/16"]},
    )


@pytest.fixture(scope="session")
def public_without_a_way_out() -> Stack:
    return stack_of(network={"egress": "ENDPOINTS_ONLY"}, **PUBLIC_WEB)


@pytest.fixture(scope="session")
def variants(  # noqa: PLR0917 - fixtures
    quickstart: Stack,
    byo_resources: Stack,
    longest_names: Stack,
    redis_and_rds: Stack,
    no_internet: Stack,
    public_without_a_way_out: Stack,
    compact: Stack,
    compact_public: Stack,
    iam_without_internet: Stack,
) -> dict[str, Stack]:
    """Stacks that together have all roles, policies and encrypted resources."""
    return {
        "quickstart": quickstart,
        "byo resources": byo_resources,
        "longest names": longest_names,
        "redis and rds": redis_and_rds,
        "no internet": no_internet,
        "public": public_without_a_way_out,
        "compact": compact,
        "compact public": compact_public,
        "IAM login": iam_without_internet,
    }
