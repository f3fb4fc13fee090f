# SPDX-License-Identifier: Apache-2.0
"""Two environments in one account, Region and VPC have no unique name in common."""

from collections import Counter
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any

import pytest

from tests.support.iam import ResolvedStack
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


@pytest.mark.parametrize("other", ["data-1", "data-2", "data-3", "data-instance-1"])
def test_an_instance_of_aurora_is_no_rds_instance_of_another_environment(other: str) -> None:
    """Identifiers of instances are unique in an account and Region, whatever the engine."""
    aurora = stack("data", metadata_database={"kind": "AURORA_SERVERLESS_V2", "instances": 3})
    instances = aurora.resources("aws_rds_cluster_instance").values()
    rds = stack(other, metadata_database={"kind": "RDS_POSTGRESQL"}).only("aws_db_instance")
    assert rds["identifier"] not in {instance["identifier"] for instance in instances}


# Patterns without a name, for an AWS service that acts on resources of this account.
OF_ACCOUNT = {"ecs:us-east-1:123456789012:*", "elasticloadbalancing:us-east-1:123456789012:loadbalancer/*"}


def patterns_of(found: Stack) -> set[str]:
    """Every ARN and name that a policy allows, resolved; with `*` and `?` a pattern."""
    resolved = ResolvedStack(found)
    values = (
        (path, value)
        for policy in found.policies.values()
        for path, value in walk([resolved.resolved(statement) for statement in policy["Statement"]])
    )
    return {
        value for path, value in values if isinstance(value, str) and {"Resource", "aws:SourceArn", CONTEXT} & {*path}
    }


CONTEXT = "kms:EncryptionContext:aws:logs:arn"


def arns_of(found: Stack) -> set[str]:
    """The ARNs of an environment, each with something in it."""
    at = ResolvedStack(found)
    named = {
        "aws_cloudwatch_log_group": ("logs", "log-group:{}", ("", ":log-stream:x")),
        "aws_sqs_queue": ("sqs", "{}", ("",)),
        "aws_ecs_cluster": ("ecs", "cluster/{}", ("",)),
        "aws_ecr_repository": ("ecr", "repository/{}", ("",)),
        "aws_secretsmanager_secret": ("secretsmanager", "secret:{}", ("-AbCdEf",)),
        "aws_rds_cluster_instance": ("rds", "db:{}", ("",)),
        "aws_db_instance": ("rds", "db:{}", ("",)),
        "aws_elasticache_user": ("elasticache", "user:{}", ("",)),
    }
    names = ("name", "name_prefix", "identifier", "user_id")
    arns = {
        at.arn(service, form.format(next(resource[name] for name in names if name in resource)) + more)
        for kind, (service, form, inside) in named.items()
        for resource in found.resources(kind).values()
        for more in inside
    }
    cluster = found.only("aws_ecs_cluster")["name"]
    arns |= {at.arn("ecs", f"{kind}/{cluster}/x") for kind in ("task", "service")}
    arns |= {at.arn("ecs", f"service/{cluster}/{name}") for name in found.services}
    arns |= {
        at.arn("ssm", f"parameter{name}")
        for name in found.document["output"]["scaling_override_parameters"]["value"].values()
    }
    buckets = [at.resolved(bucket["bucket"]) for bucket in found.resources("aws_s3_bucket").values()]
    return arns | {f"arn:aws:s3:::{bucket}{key}" for bucket in buckets for key in ("", "/dags/x")}


@pytest.mark.parametrize("stores", [{}, STORES], ids=["Aurora and SQS", "RDS and Redis"])
@pytest.mark.parametrize("pair", [("data", "data-2"), ("data", "data-1"), ("data-", "data--"), ("Data", "data")])
def test_no_policy_of_an_environment_matches_anything_of_another(pair: tuple[str, str], stores: dict[str, Any]) -> None:
    first, other = (stack_of(name=name, **stores) for name in pair)
    theirs = arns_of(other)
    own = patterns_of(first)
    assert len(theirs) > 30, "there is much to match"
    assert any(fnmatchcase(arn, pattern) for arn in arns_of(first) for pattern in own), "and patterns match their own"
    for pattern in own - {"*"}:
        if not any(pattern.endswith(account_wide) for account_wide in OF_ACCOUNT):
            assert not [arn for arn in theirs if fnmatchcase(arn, pattern)], pattern


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
