# SPDX-License-Identifier: Apache-2.0
"""Quotas: what an apply adds, what is short and by how much, and what happens if AWS does not answer."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from openmwaa.config.environment import Environment
from openmwaa.config.environment_file import load
from openmwaa.cost.stack import Resource
from openmwaa.deploy import quotas
from openmwaa.deploy.quotas import ELASTIC_IPS, ON_DEMAND, SPOT, VPCS, Quota
from tests.support.environments import LEAST
from tests.support.fake_account import FakeAccount, refusal
from tests.support.fake_connection import FakeConnection

ROOT = Path(__file__).parents[3]
NOW = datetime(2026, 1, 2, tzinfo=UTC)
SERVICES = ("cloudwatch", "ec2", "iam", "service-quotas")


def document(example: str) -> Any:
    return json.loads((ROOT / "terraform" / example / "cdk.tf.json").read_text(encoding="utf-8"))


def connection(account: FakeAccount) -> FakeConnection:
    return FakeConnection(Environment.model_validate(LEAST), Path("e.yaml"), fake=account, services=SERVICES)


def added(example: str, *applied: str) -> dict[str, tuple[float, float]]:
    environment = load(ROOT / "examples" / example / "environment.yaml")
    state = [Resource(kind, name, {}) for kind, name in (address.split(".") for address in applied)]
    found = quotas.added(environment, document(example), state)
    return {quota.name: (quota.added, quota.at_most) for quota in found}


def vcpus_of_the_control_plane(example: str) -> float:
    resources = document(example)["resource"]
    return sum(
        float(service["desired_count"]) * int(resources["aws_ecs_task_definition"][name]["cpu"]) / 1024
        for name, service in resources["aws_ecs_service"].items()
        if not name.startswith("fleets_")
    )


def test_a_new_environment_needs_its_control_plane_and_the_fewest_workers() -> None:
    control_plane = vcpus_of_the_control_plane("quickstart")
    assert added("quickstart") == {
        ON_DEMAND.name: (control_plane + 1, control_plane + 5),
        ELASTIC_IPS.name: (1, 1),
        VPCS.name: (1, 1),
    }


def test_each_zones_gateway_needs_an_address() -> None:
    assert added("production")[ELASTIC_IPS.name] == (3, 3)


def test_what_is_applied_is_in_the_present_use_already() -> None:
    services = document("quickstart")["resource"]["aws_ecs_service"]
    applied = [f"aws_ecs_service.{name}" for name in services] + ["aws_eip.network_nat_1_address", "aws_vpc.network"]
    assert added("quickstart", *applied) == {ON_DEMAND.name: (0, 4)}


def test_spot_workers_have_a_quota_of_their_own() -> None:
    fleets = {"default": {"queues": ["default"], "capacity": "FARGATE_SPOT", "min": 2, "max": 9}}
    environment = Environment.model_validate({**LEAST, "fleets": fleets})
    found = {quota.name: quota for quota in quotas.added(environment, {"resource": {}}, [])}
    assert (found[SPOT.name].added, found[SPOT.name].at_most) == (2, 9)
    assert ON_DEMAND.name not in found


NEEDED = replace(ON_DEMAND, added=8.0, at_most=12.0)


@pytest.mark.parametrize(
    ("limit", "used", "short", "short_at_most", "words"),
    [
        (100.0, 2.0, 0, 0, ""),
        (14.0, 2.0, 0, 0, ""),
        (13.0, 2.0, 0, 1, "enough for the start; 1 too few for the maximum of all fleets"),
        (6.0, 2.0, 4, 8, "4 too few: the environment adds 8, and 2 of 6 are used"),
        (6.0, None, 2, 6, "2 too few: the environment adds 8, and an unknown number of 6 are used"),
        (100.0, None, 0, 0, ""),
        (None, None, 0, 0, ""),
    ],
    ids=["plenty", "exact", "peak", "short", "short without use", "use unknown", "limit unknown"],
)
def test_a_shortage_has_its_size_and_the_command(
    limit: float | None, used: float | None, short: float, short_at_most: float, words: str
) -> None:
    quota = replace(NEEDED, limit=limit, used=used)
    assert (quota.short, quota.short_at_most) == (short, short_at_most)
    sentences = quota.sentences("eu-central-1")
    assert bool(sentences) == bool(words)
    if words:
        assert words in sentences[0]
        desired = int((used or 0) + 12)
        assert sentences[0].endswith(
            "aws service-quotas request-service-quota-increase --service-code fargate --quota-code L-3032A538 "
            f"--desired-value {desired} --region eu-central-1"
        )


def test_limit_and_use_are_read() -> None:
    account = FakeAccount()
    found = {quota.name: quotas.read(connection(account), quota, NOW) for quota in (ON_DEMAND, ELASTIC_IPS, VPCS)}
    assert {name: (quota.limit, quota.used, quota.unknown) for name, quota in found.items()} == {
        ON_DEMAND.name: (100.0, 2.0, ()),
        ELASTIC_IPS.name: (5.0, 2.0, ()),
        VPCS.name: (5.0, 2.0, ()),
    }


def test_without_an_applied_value_the_default_counts() -> None:
    assert quotas.read(connection(FakeAccount(quotas={})), VPCS, NOW).limit == 5.0


@pytest.mark.parametrize(
    ("quota", "operation", "permission", "known"),
    [
        (ON_DEMAND, "get_service_quota", "servicequotas:GetServiceQuota", (None, None)),
        (ON_DEMAND, "get_metric_statistics", "cloudwatch:GetMetricStatistics", (100.0, None)),
        (ELASTIC_IPS, "describe_addresses", "ec2:DescribeAddresses", (5.0, None)),
        (VPCS, "paginate", "ec2:DescribeVpcs", (5.0, None)),
    ],
    ids=lambda value: value if isinstance(value, str) and "_" in value else "",
)
@pytest.mark.parametrize("code", ["AccessDenied", "ThrottlingException", "NoSuchOperation"])
def test_a_failed_call_is_unknown_and_names_the_permission(
    quota: Quota, operation: str, permission: str, known: tuple[float | None, float | None], code: str
) -> None:
    read = quotas.read(
        connection(FakeAccount(faults={operation: refusal(code)})), replace(quota, added=1, at_most=1), NOW
    )
    assert (read.limit, read.used) == known
    assert permission in read.sentences("us-east-1")[0]
    assert read.short == 0


def test_a_use_without_data_is_unknown_and_not_zero() -> None:
    read = quotas.read(connection(FakeAccount(used_vcpus=None)), ON_DEMAND, NOW)
    assert (read.used, read.limit) == (None, 100.0)
    assert "not known whether the quota is enough" in read.unknown[0]


def test_missing_service_linked_roles_have_a_command() -> None:
    account = FakeAccount(faults={"get_role": refusal("NoSuchEntity")})
    sentences = quotas.missing_roles(connection(account), document("quickstart"))
    assert [sentence.split()[0] for sentence in sentences] == [
        "AWSServiceRoleForECS",
        "AWSServiceRoleForElasticLoadBalancing",
        "AWSServiceRoleForRDS",
    ]
    assert sentences[0].endswith("aws iam create-service-linked-role --aws-service-name ecs.amazonaws.com")
    assert quotas.missing_roles(connection(FakeAccount()), document("quickstart")) == ()


def test_service_linked_roles_that_cannot_be_read_are_unknown() -> None:
    account = FakeAccount(faults={"get_role": refusal("AccessDenied")})
    (sentence,) = quotas.missing_roles(connection(account), document("quickstart"))
    assert "unknown" in sentence
    assert "iam:GetRole" in sentence
