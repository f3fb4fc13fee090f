# SPDX-License-Identifier: Apache-2.0
"""The key policy: principals, services and purposes; and that the key encrypts all data at rest."""

from fnmatch import fnmatchcase as fnmatch

import pytest

from tests.support.iam import ACCOUNT, ResolvedStack
from tests.support.stack import Json, Stack, walk

KEY = "${aws_kms_key.keys.arn}"


@pytest.fixture(scope="module")
def key_policy(quickstart: Stack) -> dict[str, Json]:
    applied = ResolvedStack(quickstart)
    policy = quickstart.local(quickstart.only("aws_kms_key")["policy"])
    return {statement["Sid"]: applied.resolved(statement) for statement in policy["Statement"]}


def test_the_account_uses_the_key_only_through_storage_services(key_policy: dict[str, Json]) -> None:
    for sid in ("UseThroughServices", "GrantsOfServices"):
        condition = key_policy[sid]["Condition"]["StringEquals"]
        assert condition["kms:CallerAccount"] == [ACCOUNT], sid
        assert condition["kms:ViaService"] == [
            f"{service}.us-east-1.amazonaws.com"
            for service in ("ecr", "elasticache", "rds", "s3", "secretsmanager", "sns", "sqs", "ssm")
        ], sid
    assert key_policy["GrantsOfServices"]["Condition"]["Bool"] == {"kms:GrantIsForAWSResource": ["true"]}


def test_the_account_administers_the_key_without_using_it(key_policy: dict[str, Json]) -> None:
    use = set(key_policy["UseThroughServices"]["Action"]) | {"kms:CreateGrant"}
    assert set(key_policy["AdministerByIam"]["Action"]) & use == {"kms:DescribeKey"}
    assert {"kms:PutKeyPolicy", "kms:ScheduleKeyDeletion"} <= set(key_policy["AdministerByIam"]["Action"])


def test_the_key_encrypts_log_groups_of_the_environment_only(key_policy: dict[str, Json]) -> None:
    statement = key_policy["LogGroups"]
    assert statement["Principal"] == {"Service": ["logs.us-east-1.amazonaws.com"]}
    (patterns,) = statement["Condition"]["ArnLike"].values()
    for pattern in patterns:
        assert pattern.startswith(f"arn:aws:logs:us-east-1:{ACCOUNT}:log-group:"), pattern
        assert "quickstart" in pattern, f"{pattern} is not of this environment"


def test_the_key_policy_covers_every_log_group(variants: dict[str, Stack]) -> None:
    for variant, stack in variants.items():
        applied = ResolvedStack(stack)
        policy = stack.document["locals"]["keys_policy"]["Statement"]
        (statement,) = [entry for entry in policy if entry["Sid"] == "LogGroups"]
        (patterns,) = applied.resolved(statement)["Condition"]["ArnLike"].values()
        for name, group in stack.resources("aws_cloudwatch_log_group").items():
            arn = applied.arn("logs", f"log-group:{applied.resolved(group['name'])}")
            assert any(fnmatch(arn, pattern) for pattern in patterns), (
                f"{variant}: {name} ({arn}) could not be made: its key's policy does not name it"
            )


def test_alarms_of_this_account_can_publish_to_an_encrypted_topic(key_policy: dict[str, Json]) -> None:
    statement = key_policy["AlarmsToTopic"]
    assert statement["Principal"] == {"Service": ["cloudwatch.amazonaws.com"]}
    assert statement["Action"] == ["kms:Decrypt", "kms:GenerateDataKey"]
    assert statement["Condition"] == {"StringEquals": {"aws:SourceAccount": [ACCOUNT]}}


@pytest.mark.parametrize(
    ("sid", "action"),
    [("TaskStorageKeys", "kms:GenerateDataKeyWithoutPlaintext"), ("TaskStorageGrants", "kms:CreateGrant")],
)
def test_fargate_encrypts_disks_of_this_cluster_only(key_policy: dict[str, Json], sid: str, action: str) -> None:
    statement = key_policy[sid]
    assert statement["Principal"] == {"Service": ["fargate.amazonaws.com"]}
    assert statement["Action"] == [action]
    assert statement["Condition"]["StringEquals"] == {
        "kms:EncryptionContext:aws:ecs:clusterAccount": [ACCOUNT],
        "kms:EncryptionContext:aws:ecs:clusterName": ["openmwaa-quickstart"],
    }


def test_fargates_grants_allow_reading_and_no_more(key_policy: dict[str, Json]) -> None:
    operations = key_policy["TaskStorageGrants"]["Condition"]["ForAllValues:StringEquals"]
    assert operations == {"kms:GrantOperations": ["Decrypt"]}


def test_disks_of_tasks_are_under_the_key(quickstart: Stack) -> None:
    storage = quickstart.only("aws_ecs_cluster")["configuration"]["managed_storage_configuration"]
    assert storage == {"fargate_ephemeral_storage_kms_key_id": KEY}


# The attribute of the key for each kind of resource; kinds without data at rest are left out.
ENCRYPTED = {
    "aws_cloudwatch_log_group": ("kms_key_id",),
    "aws_db_instance": ("kms_key_id", "master_user_secret_kms_key_id"),
    "aws_ecr_repository": ("encryption_configuration.0.kms_key",),
    "aws_elasticache_replication_group": ("kms_key_id",),
    "aws_rds_cluster": ("kms_key_id", "master_user_secret_kms_key_id"),
    "aws_secretsmanager_secret": ("kms_key_id",),
    "aws_sns_topic": ("kms_master_key_id",),
    "aws_sqs_queue": ("kms_master_key_id",),
    "aws_ssm_parameter": ("key_id",),
}


def test_everything_at_rest_is_under_the_key(variants: dict[str, Stack]) -> None:
    seen = set()
    for variant, stack in variants.items():
        key = KEY if stack.resources("aws_kms_key") else stack.only("aws_ecs_cluster")["configuration"]
        for kind, places in ENCRYPTED.items():
            for name, resource in stack.resources(kind).items():
                values = {".".join(path): value for path, value in walk(resource)}
                for place in places:
                    want = values.get(place)
                    expected = key if isinstance(key, str) else _given(key)
                    assert want == expected, f"{variant}: {kind}.{name} has {place} = {want}"
                seen.add(kind)
    assert seen >= {"aws_cloudwatch_log_group", "aws_sqs_queue", "aws_secretsmanager_secret", "aws_rds_cluster"}


def _given(configuration: Json) -> str:
    return str(configuration["managed_storage_configuration"]["fargate_ephemeral_storage_kms_key_id"])


def test_buckets_are_encrypted_with_the_key_if_the_writer_supports_it(variants: dict[str, Stack]) -> None:
    for variant, stack in variants.items():
        rules = stack.resources("aws_s3_bucket_server_side_encryption_configuration")
        assert len(rules) == len(stack.resources("aws_s3_bucket")), f"{variant}: a bucket has no rule"
        source = [rule for name, rule in rules.items() if name.startswith("storage")]
        for rule in source:
            (by_default,) = [
                value for path, value in walk(rule) if path[-1:] == ("apply_server_side_encryption_by_default",)
            ]
            assert by_default["sse_algorithm"] == "aws:kms", variant


def test_the_policy_of_an_existing_key_is_an_output(byo_resources: Stack) -> None:
    assert not byo_resources.resources("aws_kms_key")
    policy = byo_resources.local(byo_resources.document["output"]["kms_key_policy"]["value"])
    sids = [statement["Sid"] for statement in policy["Statement"]]
    assert "AdministerByIam" not in sids, "its owner administers it"
    assert {"UseThroughServices", "LogGroups", "AlarmsToTopic", "TaskStorageKeys", "TaskStorageGrants"} <= set(sids)


def test_the_environments_own_key_has_no_such_output(quickstart: Stack) -> None:
    assert "kms_key_policy" not in quickstart.document["output"]
    assert quickstart.only("aws_kms_key")["enable_key_rotation"] is True
