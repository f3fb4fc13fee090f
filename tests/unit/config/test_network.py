# SPDX-License-Identifier: Apache-2.0
"""A network is new or existing; inconsistent settings are rejected."""

from typing import Any

import pytest
from pydantic import ValidationError

from openmwaa.config.environment import Environment
from openmwaa.config.network import Network
from openmwaa.config.strict_model import FieldError
from tests.support.environments import LEAST

VPC = {"vpc_id": "vpc-12345678", "private_subnet_ids": ["subnet-11111111", "subnet-22222222"]}


@pytest.mark.parametrize(
    ("network", "egress_mode"),
    [
        ({}, "NAT_GATEWAY"),
        ({"egress": "NAT_GATEWAY_PER_ZONE"}, "NAT_GATEWAY_PER_ZONE"),
        ({"egress": "PUBLIC_IP"}, "PUBLIC_IP"),
        ({"egress": "ENDPOINTS_ONLY"}, "ENDPOINTS_ONLY"),
        (VPC, None),
        ({**VPC, "egress": "ENDPOINTS_ONLY"}, "ENDPOINTS_ONLY"),
    ],
)
def test_the_way_out(network: dict[str, Any], egress_mode: str | None) -> None:
    assert Network.model_validate(network).egress_mode == egress_mode


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "subnets without their VPC": ({"private_subnet_ids": ["subnet-11111111"]}, "set its `vpc_id` too"),
    "a port twice": ({"egress_ports": [22, 22]}, "contains 22 twice"),
    "a port that does not exist": ({"egress_ports": [65_536]}, "less than or equal to 65535"),
    "no port": ({"egress_ports": []}, "at least 1 item"),
    "one subnet": ({**VPC, "private_subnet_ids": ["subnet-11111111"]}, "two or more, in two zones"),
    "a subnet twice": ({**VPC, "private_subnet_ids": ["subnet-11111111"] * 2}, "contains subnet-11111111 twice"),
    "a group twice": ({**VPC, "security_group_ids": ["sg-11111111"] * 2}, "contains sg-11111111 twice"),
    "a subnet private and public": (
        {**VPC, "public_subnet_ids": ["subnet-22222222", "subnet-33333333"]},
        "subnet-22222222 is in `private_subnet_ids` and in `public_subnet_ids`",
    ),
    "NAT in an existing VPC": ({**VPC, "egress": "NAT_GATEWAY"}, "which the owner of an existing VPC manages"),
    "public addresses in an existing VPC": (
        {**VPC, "egress": "PUBLIC_IP"},
        "PUBLIC_IP creates routes, which the owner of an existing VPC manages",
    ),
    "two kinds of egress": ({"egress": ["PUBLIC_IP", "ENDPOINTS_ONLY"]}, "Input should be 'NAT_GATEWAY'"),
    "a range for a VPC that has one": (
        {**VPC, "vpc_cidr": "10.0.0.0/16"},
        "`vpc_cidr` is for the environment's own VPC",
    ),
    "zones for a VPC that has them": ({**VPC, "zones": 3}, "`zones` is for the environment's own VPC"),
    "flow logs of an existing VPC": ({**VPC, "flow_logs": "ALL"}, "`flow_logs` is for the environment's own VPC"),
    "four zones": ({"zones": 4}, "Input should be 2 or 3"),
    "a range of the internet": ({"vpc_cidr": "8.8.0.0/16"}, "not a private range"),
    "a small range": ({"vpc_cidr": "10.0.0.0/24"}, "a /24"),
    "no id of a VPC": ({**VPC, "vpc_id": "production"}, "vpc-"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_an_invalid_network_is_rejected_with_a_reason(case: str) -> None:
    network, words = REFUSED[case]
    with pytest.raises(ValidationError) as refused:
        Network.model_validate(network)
    assert words in str(refused.value)


ECR = "123456789012.dkr.ecr.us-east-1.amazonaws.com/teams/airflow@sha256:" + "a" * 64


@pytest.mark.parametrize("image", ["example.com/airflow:1", ECR.replace("us-east-1", "eu-west-1")])
def test_with_endpoints_only_images_must_be_in_ecr_of_the_region(image: str) -> None:
    with pytest.raises(ValidationError, match="tasks can pull from ECR in us-east-1 only"):
        Environment.model_validate({**LEAST, "network": {"egress": "ENDPOINTS_ONLY"}, "images": {"airflow": image}})
    Environment.model_validate({**LEAST, "images": {"airflow": image}})
    Environment.model_validate({**LEAST, "network": {"egress": "ENDPOINTS_ONLY"}, "images": {"airflow": ECR}})


COGNITO: dict[str, Any] = {
    "domain": "airflow.example.com",
    "hosted_zone_id": "Z0123456789",
    "cognito": {
        "user_pool_arn": "arn:aws:cognito-idp:us-east-1:123456789012:userpool/us-east-1_a",
        "user_pool_client_id": "a",
        "user_pool_domain": "a",
    },
}
PRODUCTION: dict[str, dict[str, Any]] = {
    "network.zones": {"network": {"egress": "PUBLIC_IP", "zones": 3}},
    "metadata_database.instances": {"metadata_database": {"instances": 2}},
    "metadata_database.multi_az": {"metadata_database": {"kind": "RDS_POSTGRESQL", "multi_az": True}},
    "web_access.deletion_protection": {"web_access": {"allow_http": True, "deletion_protection": True}},
}


def refusal(fields: dict[str, Any]) -> FieldError:
    with pytest.raises(ValidationError) as refused:
        Environment.model_validate({**LEAST, **fields})
    (error,) = refused.value.errors()
    found: FieldError = error["ctx"]["error"]
    return found


@pytest.mark.parametrize("field", PRODUCTION)
def test_public_addresses_are_refused_beside_a_field_of_a_production_environment(field: str) -> None:
    found = refusal({"network": {"egress": "PUBLIC_IP"}, **PRODUCTION[field]})
    assert str(found).startswith(f"`{field}` is for production, and `network.egress: PUBLIC_IP` for development only")
    assert ".".join(map(str, found.at)) == field
    fields = {**LEAST, **PRODUCTION[field]}
    network = {name: value for name, value in fields.get("network", {}).items() if name != "egress"}
    Environment.model_validate({**fields, "network": network})


def test_a_login_at_the_internal_load_balancer_needs_more_than_public_addresses_of_tasks() -> None:
    found = refusal({"network": {"egress": "PUBLIC_IP"}, "web_access": COGNITO})
    assert str(found).startswith("`web_access.cognito`: the internal load balancer needs internet access for it")
    assert ".".join(map(str, found.at)) == "web_access.cognito"
    public = {**COGNITO, "allowed_cidrs": ["203.0.113.0/24"]}
    Environment.model_validate(
        {**LEAST, "network": {"egress": "PUBLIC_IP"}, "web_access": public, "webserver_access_mode": "PUBLIC_ONLY"}
    )
