# SPDX-License-Identifier: Apache-2.0
"""Two environments in one account, Region and VPC have no unique name in common."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.stack import Stack, walk
from tests.synth.cdktf_app.conftest import stack_of

# How AWS calls names that have to be unique. What has none of them, AWS numbers.
NAMES = (
    *("name", "name_prefix", "family", "identifier", "cluster_identifier", "bucket", "bucket_prefix", "alarm_name"),
    *("dashboard_name", "replication_group_id", "user_id", "user_group_id", "policy_name", "topic_name"),
    *("final_snapshot_identifier", "db_name", "function_name"),
)
# Names that are unique within something else, which is of one environment.
WITHIN = {
    "aws_ecs_service": "cluster",
    "aws_iam_role_policy": "role",
    "aws_appautoscaling_policy": "resource_id",
    "aws_route53_record": "zone_id",  # the domain is the user's, and differs
}
# A family of parameters is the engine's version.
VERSIONS = {
    (kind, "family")
    for kind in ("aws_db_parameter_group", "aws_rds_cluster_parameter_group", "aws_elasticache_parameter_group")
}
# IAM, RDS, ElastiCache, S3 and ECR do not tell capitals apart; load balancers' names are host names.
_CASELESS = ("aws_iam_", "aws_rds_", "aws_db_", "aws_elasticache_", "aws_s3_bucket", "aws_ecr_", "aws_lb")
VPC = {
    "vpc_id": "vpc-0123456789abcdef0",
    "private_subnet_ids": ["subnet-0123456789abcdef1", "subnet-0123456789abcdef2"],
}
STORES = {"broker": {"kind": "ELASTICACHE"}, "metadata_database": {"kind": "RDS_POSTGRESQL"}}
PAIRS = {
    "the last of 80 characters": ("e" * 79 + "a", "e" * 79 + "b"),
    "hyphen and underscore": ("data-team", "data_team"),
    "capitals": ("Airflow", "airflow"),
    "one begins the other": ("data", "data-2"),
    "hyphens at the end": ("data-", "data--"),
}


def stack(name: str, **more: Any) -> Stack:
    return stack_of(name=name, network=VPC, **more)


def physical_names(stack: Stack) -> Iterator[tuple[str, str, str]]:
    """Every unique name: type, attribute and name, with local values resolved."""
    local = {f"${{local.{name}}}": value for name, value in stack.document["locals"].items() if isinstance(value, str)}
    for kind, resources in stack.document["resource"].items():
        for resource in resources.values():
            for attribute in NAMES:
                value = resource.get(attribute)
                if not isinstance(value, str) or kind in WITHIN or (kind, attribute) in VERSIONS:
                    continue
                value = local.get(value, value)
                if not value.startswith("${aws_"):  # the name of another resource is already in the list
                    yield kind, attribute, value.lower() if kind.startswith(_CASELESS) else value


@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)
def test_names_of_two_environments_differ(pair: tuple[str, str]) -> None:
    first, other = (set(physical_names(stack(name))) for name in pair)
    assert len({kind for kind, _, _ in first}) > 15, "names are looked for, and there are many"
    assert not first & other


def test_names_of_redis_and_rds_differ() -> None:
    first, other = (set(physical_names(stack(name, **STORES))) for name in PAIRS["the last of 80 characters"])
    assert {"aws_db_instance", "aws_elasticache_replication_group"} <= {kind for kind, _, _ in first}
    assert not first & other


MISTAKABLE = {
    "a queue with a hyphen": (("x", ("y-default",)), ("x-y", ())),
    "a queue that ends as dead letters do": (("x", ()), ("x-dead", ("letters",))),
    "a fleet called as a component": (("x", ("scheduler",)), ("x-worker", ())),
    "a fleet with a hyphen": (("x", ("a-worker-b",)), ("x-worker-a", ("b",))),
}


@pytest.mark.parametrize("pair", MISTAKABLE.values(), ids=MISTAKABLE)
def test_user_words_do_not_make_names_equal(pair: tuple[tuple[str, tuple[str, ...]], ...]) -> None:
    first, other = (
        set(physical_names(stack(name, fleets={word: {"queues": [word]} for word in ("default", *words)})))
        for name, words in pair
    )
    assert not first & other


def test_names_are_unique_within_one_environment() -> None:
    names = Counter(physical_names(stack("e" * 80)))
    assert not [name for name, times in names.items() if times > 1]


def test_two_environments_can_share_a_vpc() -> None:
    """Private DNS names of endpoints apply to the whole VPC: a second environment cannot create them too."""
    made = stack("data").resources("aws_vpc_endpoint")
    assert not made, "in a VPC that exists, endpoints are made only where `egress` requires them"


def test_data_sources_use_the_environments_own_name() -> None:
    looked_up = [value for path, value in walk(stack("data").document["data"]) if path[-1:] == ("name",)]
    assert not [
        name for name in looked_up if isinstance(name, str) and name.startswith("openmwaa-") and "data" not in name
    ]
