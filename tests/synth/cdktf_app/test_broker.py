# SPDX-License-Identifier: Apache-2.0
"""Both kinds of broker: permissions, and settings that do not lose messages."""

import json
import re

import pytest

from openmwaa_runtime import prepare_broker
from openmwaa_runtime.settings.container_env import REQUIRED
from scaler.config import settings as scaler_config
from tests.support.stack import Stack, environment_of, secrets_of
from tests.synth.cdktf_app.conftest import stack_of

QUEUES = {"default": {"queues": ["default", "high"]}}


@pytest.fixture(scope="session")
def redis() -> Stack:
    return stack_of(broker={"kind": "ELASTICACHE", "replicas": 2}, fleets=QUEUES)


def test_redis_is_encrypted_and_has_users(redis: Stack) -> None:
    group = redis.only("aws_elasticache_replication_group")
    assert (group["transit_encryption_enabled"], group["transit_encryption_mode"]) == (True, "required")
    assert (group["at_rest_encryption_enabled"], group["kms_key_id"]) == ("true", "${aws_kms_key.keys.arn}")
    assert group["user_group_ids"] == ["${aws_elasticache_user_group.broker.id}"]
    assert "auth_token" not in group


@pytest.mark.parametrize(("replicas", "takes_over"), [(0, False), (1, True)])
def test_a_replica_allows_failover_to_another_zone(replicas: int, takes_over: bool) -> None:
    group = stack_of(broker={"kind": "ELASTICACHE", "replicas": replicas}).only("aws_elasticache_replication_group")
    assert group["num_cache_clusters"] == replicas + 1
    assert (group["multi_az_enabled"], group["automatic_failover_enabled"]) == (takes_over, takes_over)


def test_redis_never_evicts_a_message(redis: Stack) -> None:
    (parameter,) = redis.only("aws_elasticache_parameter_group")["parameter"]
    assert parameter == {"name": "maxmemory-policy", "value": "noeviction"}


def test_users_are_created_disabled_and_without_a_password(redis: Stack) -> None:
    users = redis.resources("aws_elasticache_user")
    assert {user["user_name"] for user in users.values()} == {"default", "celery", "scaler"}
    for name, user in users.items():
        assert user["access_string"] == "off -@all", name
        assert user["authentication_mode"] == {"type": "no-password-required"}, f"{name}: a password is in the state"
        # What prepare-broker sets must not be taken back by the next apply.
        ignored = set(user["lifecycle"]["ignore_changes"])
        assert {"access_string", "authentication_mode", "passwords"} <= ignored, name


def test_a_group_with_users_without_a_password_has_the_engine_redis(redis: Stack) -> None:
    # ElastiCache refuses them in a group of the engine `valkey`; one of `redis` serves Valkey too, and needs `default`.
    group = redis.only("aws_elasticache_user_group")
    assert group["engine"] == "redis"
    assert "${aws_elasticache_user.broker_user_default.user_id}" in group["user_ids"]
    assert len(group["user_ids"]) == 3


def test_prepare_broker_runs_first_with_all_variables(redis: Stack) -> None:
    first, second, third = redis.tasks["scheduler"]
    assert (first["name"], first["command"], first["essential"]) == ("prepare-broker", ["prepare-broker"], False)
    assert "dependsOn" not in first
    assert second["dependsOn"] == [{"containerName": "prepare-broker", "condition": "SUCCESS"}]
    assert third["dependsOn"] == [{"containerName": "prepare-database", "condition": "SUCCESS"}]
    values = {**environment_of(first), **secrets_of(first)}
    assert set(REQUIRED["prepare-broker"]) <= set(values)
    ids = re.findall(r'"(\w+)" = aws_elasticache_user\.broker_user_(\w+)\.user_id', values["OPENMWAA_BROKER_USER_IDS"])
    assert ids == [(party, party) for party in prepare_broker.PERMISSIONS]


def test_only_the_scheduler_task_can_change_the_stacks_users(redis: Stack) -> None:
    asking = {
        name: statement
        for name, document in redis.policies.items()
        for statement in document["Statement"]
        if any(action.startswith("elasticache:") for action in statement["Action"]) and "Principal" not in statement
    }
    assert set(asking) == {"roles_scheduler_policy"}
    statement = asking["roles_scheduler_policy"]
    assert set(statement["Action"]) == {"elasticache:DescribeUsers", "elasticache:ModifyUser"}
    assert set(statement["Resource"]) == {
        "${aws_elasticache_user.broker_user_celery.arn}",
        "${aws_elasticache_user.broker_user_scaler.arn}",
    }


def test_without_sqs_no_role_has_sqs_permissions(redis: Stack) -> None:
    roles = {name: text for name, text in redis.policies.items() if name.startswith("roles_")}
    assert "sqs:" not in json.dumps(roles)
    assert not redis.resources("aws_sqs_queue")
    assert "dead_letter_queue_url" not in redis.document["output"]


def test_only_celery_and_the_scaler_have_a_broker_password(redis: Stack) -> None:
    holders: dict[str, set[str]] = {}
    for name, container in redis.containers.items():
        for variable, arn in secrets_of(container).items():
            if "broker_password" in arn:
                holders.setdefault(arn.removeprefix("${aws_secretsmanager_secret_version.secrets_"), set()).add(
                    f"{name} {variable}"
                )
    assert holders == {
        "broker_password.arn}": {
            "scheduler/prepare-broker OPENMWAA_BROKER_PASSWORD",
            "scheduler/scheduler OPENMWAA_BROKER_PASSWORD",
            "worker-default/worker OPENMWAA_BROKER_PASSWORD",
        },
        "scaler_broker_password.arn}": {
            "scheduler/prepare-broker OPENMWAA_SCALER_BROKER_PASSWORD",
            "scaler/scaler SCALER_REDIS_PASSWORD",
        },
    }


def test_the_scaler_counts_the_lists_that_celery_uses(redis: Stack) -> None:
    config = redis.local(environment_of(redis.containers["scaler/scaler"])["SCALER_CONFIG"])
    urls = redis.document["locals"]
    assert config["broker"] == {"kind": "redis", "url": "${local.broker_scaler_url}"}
    assert urls["broker_scaler_url"].startswith("rediss://scaler@")
    assert urls["broker_url"].startswith("rediss://celery@")
    config["broker"]["url"] = "rediss://scaler@redis.example.com:6379/0"
    config["database"]["sslmode"] = "require"
    config |= {"web_url": "", "log_url": ""}
    (fleet,) = scaler_config.parse_settings(json.dumps(config)).fleets
    assert fleet.queues == {"default": "default", "high": "high"}
    values = environment_of(redis.containers["worker-default/worker"])
    assert values["OPENMWAA_QUEUES"] == '${jsonencode({"default" = "default", "high" = "high"})}'
    assert values["OPENMWAA_BROKER_URL"] == "${local.broker_url}"


def test_three_components_reach_the_group_of_redis(redis: Stack) -> None:
    group = redis.only("aws_elasticache_replication_group")
    assert group["security_group_ids"] == ["${aws_security_group.security_groups_broker.id}"]
    rules = redis.resources("aws_vpc_security_group_ingress_rule").values()
    into = [rule for rule in rules if rule["security_group_id"] == group["security_group_ids"][0]]
    assert {rule["from_port"] for rule in into} == {6379}
    assert {rule["referenced_security_group_id"] for rule in into} == {
        f"${{aws_security_group.security_groups_{caller}.id}}" for caller in ("scheduler", "workers", "scaler")
    }


def test_services_depend_on_redis(redis: Stack) -> None:
    for name, service in redis.services.items():
        assert "aws_elasticache_replication_group.broker" in service["depends_on"], f"{name} could start before Redis"


def test_the_receive_count_comes_from_the_file() -> None:
    stack = stack_of(broker={"kind": "SQS", "max_receive_count": 250})
    redrive = json.loads(stack.resources("aws_sqs_queue")["broker_queue_default"]["redrive_policy"])
    assert redrive["maxReceiveCount"] == 250


@pytest.mark.parametrize("length", [24, 25, 27, 32, 33, 80])
def test_ids_of_elasticache_have_at_most_40_characters(length: int) -> None:
    stack = stack_of(name="n" * length, broker={"kind": "ELASTICACHE"})
    ids = [user["user_id"] for user in stack.resources("aws_elasticache_user").values()]
    ids += [stack.only("aws_elasticache_user_group")["user_group_id"]]
    ids += [stack.only("aws_elasticache_replication_group")["replication_group_id"]]
    assert max(map(len, ids)) <= 40, ids
