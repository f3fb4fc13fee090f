# SPDX-License-Identifier: Apache-2.0
"""The three kinds of metadata database; changes and destroys do not lose data."""

import re
from collections.abc import Mapping
from typing import Any

import pytest

from openmwaa.config.environment import Environment
from tests.support.environments import LEAST
from tests.support.stack import Stack, environment_of, secrets_of
from tests.synth.cdktf_app.conftest import stack_of

KEY = "arn:aws:kms:us-east-1:123456789012:key/11111111-2222-3333-4444-555555555555"
EXISTING: Mapping[str, Any] = {
    "kind": "EXISTING",
    "host": "db.example.com",
    "port": 6432,
    "sslmode": "verify-full",
    "master_secret_arn": "arn:aws:secretsmanager:us-east-1:123456789012:secret:company/postgres-AbCdEf",
    "master_secret_kms_key": "arn:aws:kms:us-east-1:123456789012:key/99999999-2222-3333-4444-555555555555",
    "security_group_id": "sg-0123456789abcdef0",
}


@pytest.fixture(scope="session")
def aurora() -> Stack:
    """Three instances and a final snapshot."""
    database = {"kind": "AURORA_SERVERLESS_V2", "instances": 3, "min_capacity": 3, "final_snapshot": True}
    return stack_of(kms_key=KEY, metadata_database={**database, "engine_version": "16.8"})


@pytest.fixture(scope="session")
def rds() -> Stack:
    """A standby and a final snapshot."""
    database = {"kind": "RDS_POSTGRESQL", "multi_az": True, "allocated_storage": 40, "final_snapshot": True}
    return stack_of(kms_key=KEY, metadata_database={**database, "backup_retention_days": 21, "sslmode": "verify-full"})


@pytest.fixture(scope="session")
def existing_database() -> Stack:
    return stack_of(metadata_database=EXISTING)


@pytest.fixture(params=["aurora", "rds"])
def ours(request: pytest.FixtureRequest) -> tuple[Stack, dict[str, Any]]:
    """A stack, and its database."""
    stack: Stack = request.getfixturevalue(request.param)
    kind = {"aurora": "aws_rds_cluster", "rds": "aws_db_instance"}[request.param]
    return stack, dict(stack.only(kind))


def test_a_managed_database_is_encrypted_private_backed_up_and_protected(ours: tuple[Stack, dict[str, Any]]) -> None:
    stack, database = ours
    assert (database["storage_encrypted"], database["kms_key_id"]) == (True, KEY)
    assert database["deletion_protection"] is True
    assert database["backup_retention_period"] >= 7
    assert database["copy_tags_to_snapshot"] is True
    instances = [*stack.resources("aws_rds_cluster_instance").values(), *stack.resources("aws_db_instance").values()]
    assert instances
    assert {instance["publicly_accessible"] for instance in instances} == {False}


def test_a_managed_database_requires_tls(ours: tuple[Stack, dict[str, Any]]) -> None:
    stack, _ = ours
    groups = stack.resources("aws_rds_cluster_parameter_group") or stack.resources("aws_db_parameter_group")
    assert [group["parameter"] for group in groups.values()] == [[{"name": "rds.force_ssl", "value": "1"}]]


def test_a_new_parameter_group_is_created_before_the_old_one_is_deleted(ours: tuple[Stack, dict[str, Any]]) -> None:
    stack, database = ours
    groups = stack.resources("aws_rds_cluster_parameter_group") or stack.resources("aws_db_parameter_group")
    (group,) = groups.values()
    assert group["name"].endswith(group["family"]), "two groups of one name cannot be there at once"
    assert group["lifecycle"] == {"create_before_destroy": True}
    assert database["allow_major_version_upgrade"] is True


def test_a_major_version_of_aurora_is_resolved_and_kept(no_internet: Stack) -> None:
    """The version of the running cluster, which AWS upgrades, before AWS's default for a new one."""
    prefix = "metadata_database_"
    data = no_internet.document["data"]
    assert data["aws_rds_engine_version"]["metadata_database"] == {
        "default_only": True,
        "engine": "aurora-postgresql",
        "version": "16",
    }
    (by_name,) = data["aws_rds_clusters"][f"{prefix}running"]["filter"]
    cluster = no_internet.only("aws_rds_cluster")
    assert by_name == {"name": "db-cluster-id", "values": [cluster["cluster_identifier"]]}
    assert data["aws_rds_cluster"][f"{prefix}running_cluster"] == {
        "for_each": f"${{toset(data.aws_rds_clusters.{prefix}running.cluster_identifiers)}}",
        "cluster_identifier": "${each.key}",
    }
    running = f"data.aws_rds_cluster.{prefix}running_cluster"
    default = "data.aws_rds_engine_version.metadata_database.version_actual"
    same_major = 'if startswith(cluster.engine_version, "16.")'
    assert cluster["engine_version"] == (
        f"${{coalesce(one([for cluster in {running} : cluster.engine_version {same_major}]), {default})}}"
    )


def test_a_minor_version_of_aurora_is_taken_as_written(aurora: Stack) -> None:
    assert aurora.only("aws_rds_cluster")["engine_version"] == "16.8"
    assert "aws_rds_engine_version" not in aurora.document["data"]


def test_a_reader_has_the_version_of_its_cluster(aurora: Stack) -> None:
    instances = aurora.resources("aws_rds_cluster_instance")
    assert {instance["engine_version"] for instance in instances.values()} == {
        "${aws_rds_cluster.metadata_database.engine_version_actual}"
    }


def test_rds_generates_the_master_password(ours: tuple[Stack, dict[str, Any]]) -> None:
    _, database = ours
    assert database["manage_master_user_password"] is True
    assert not {"password", "master_password", "password_wo", "master_password_wo"} & set(database)


def test_a_final_snapshot_has_a_unique_name_in_every_creation(ours: tuple[Stack, dict[str, Any]]) -> None:
    stack, database = ours
    assert database["skip_final_snapshot"] is False
    name = database["final_snapshot_identifier"]
    secret = "aws_secretsmanager_secret_version.secrets_airflow_database_password"
    assert re.fullmatch(rf"openmwaa-example-final-\$\{{lower\(substr\({secret}\.arn, -6, -1\)\)\}}", name), name
    assert name in stack.document["output"]["retained_resources"]["value"], (
        "the output does not list what destroy leaves"
    )


def test_enhanced_monitoring_has_a_role_for_rds_only(ours: tuple[Stack, dict[str, Any]]) -> None:
    stack, _ = ours
    instances = [*stack.resources("aws_rds_cluster_instance").values(), *stack.resources("aws_db_instance").values()]
    for instance in instances:
        assert instance["monitoring_interval"] == 60
        assert instance["monitoring_role_arn"] == "${aws_iam_role.roles_database_monitoring.arn}"
        assert instance["performance_insights_enabled"] is True
        assert instance["performance_insights_kms_key_id"] == KEY
        assert instance["performance_insights_retention_period"] == 7, "more than seven days cost"
    trust = stack.local(stack.resources("aws_iam_role")["roles_database_monitoring"]["assume_role_policy"])
    (statement,) = trust["Statement"]
    assert statement["Principal"] == {"Service": ["monitoring.rds.amazonaws.com"]}
    assert "aws:SourceArn" in statement["Condition"]["ArnLike"], "any database of any account could take it"


def test_the_log_group_of_the_server_is_part_of_the_stack(ours: tuple[Stack, dict[str, Any]]) -> None:
    stack, database = ours
    group = stack.resources("aws_cloudwatch_log_group")["metadata_database_log"]
    assert database["enabled_cloudwatch_logs_exports"] == ["postgresql"]
    assert re.fullmatch("/aws/rds/(cluster|instance)/openmwaa-example/postgresql", group["name"])
    assert group["kms_key_id"] == KEY
    assert "aws_cloudwatch_log_group.metadata_database_log" in database["depends_on"], "RDS would make it first"


def test_paid_features_are_optional() -> None:
    wished = {"log_exports": False, "enhanced_monitoring_seconds": 0, "performance_insights": False}
    stack = stack_of(metadata_database={"kind": "AURORA_SERVERLESS_V2", **wished})
    assert "metadata_database_log" not in stack.resources("aws_cloudwatch_log_group")
    assert "roles_database_monitoring" not in stack.resources("aws_iam_role")
    assert stack.only("aws_rds_cluster_instance")["performance_insights_enabled"] is False


def test_aurora_readers_have_failover_priority(aurora: Stack) -> None:
    instances = aurora.resources("aws_rds_cluster_instance")
    assert len({instance["identifier"] for instance in instances.values()}) == 3
    # Above tier 1 a serverless reader does not scale with its writer, and takes over too small.
    assert {instance["promotion_tier"] for instance in instances.values()} == {0, 1}
    assert aurora.only("aws_rds_cluster")["serverlessv2_scaling_configuration"] == {
        "min_capacity": 3,
        "max_capacity": 3,
    }


def test_a_minor_version_in_the_file_is_not_upgraded(aurora: Stack, no_internet: Stack) -> None:
    named, left = aurora.resources("aws_rds_cluster_instance"), no_internet.resources("aws_rds_cluster_instance")
    assert {instance["auto_minor_version_upgrade"] for instance in named.values()} == {False}, (
        "AWS would move past the file"
    )
    assert {instance["auto_minor_version_upgrade"] for instance in left.values()} == {True}


def test_rds_storage_grows_and_its_standby_is_in_another_zone(rds: Stack) -> None:
    instance = rds.only("aws_db_instance")
    assert (instance["storage_type"], instance["allocated_storage"]) == ("gp3", 40)
    assert instance["max_allocated_storage"] == 200
    assert instance["multi_az"] is True


def test_clients_check_the_servers_certificate_where_configured(rds: Stack, quickstart: Stack) -> None:
    assert rds.document["locals"]["metadata_database_sslmode"] == "verify-full"
    assert quickstart.document["locals"]["metadata_database_sslmode"] == "require"
    config = rds.local(environment_of(rds.containers["scaler/scaler"])["SCALER_CONFIG"])
    assert config["database"]["sslmode"] == "${local.metadata_database_sslmode}"


def test_tasks_get_the_address_of_an_existing_server(existing_database: Stack) -> None:
    stack = existing_database
    assert not [kind for kind in stack.document["resource"] if kind.startswith(("aws_rds", "aws_db"))]
    variables = environment_of(stack.containers["scheduler/scheduler"])
    assert variables["OPENMWAA_DATABASE_HOST"] == "${local.metadata_database_host}"
    assert variables["OPENMWAA_DATABASE_PORT"] == "6432"
    known = stack.document["locals"]
    assert known["metadata_database_host"] == "db.example.com"
    assert known["metadata_database_sslmode"] == "verify-full"
    config = stack.local(environment_of(stack.containers["scaler/scaler"])["SCALER_CONFIG"])
    assert config["database"]["port"] == 6432


def test_tasks_have_rules_in_the_group_of_an_existing_server(existing_database: Stack) -> None:
    rules = existing_database.resources("aws_vpc_security_group_ingress_rule").values()
    into = [rule for rule in rules if rule["security_group_id"] == EXISTING["security_group_id"]]
    assert into
    assert {(rule["from_port"], rule["to_port"]) for rule in into} == {(6432, 6432)}
    assert all("referenced_security_group_id" in rule for rule in into), "a range is more than our tasks"
    assert "security_groups_database" not in existing_database.resources("aws_security_group")


@pytest.mark.parametrize("kind", ["aurora", "rds", "existing_database"])
def test_only_prepare_database_gets_the_master_secret(kind: str, request: pytest.FixtureRequest) -> None:
    stack: Stack = request.getfixturevalue(kind)
    holders = {
        name for name, container in stack.containers.items() if "OPENMWAA_DATABASE_MASTER" in secrets_of(container)
    }
    assert holders == {"scheduler/prepare-database"}
    (master,) = {secrets_of(stack.containers[name])["OPENMWAA_DATABASE_MASTER"] for name in holders}
    readers = {
        name
        for name, document in stack.policies.items()
        for statement in document["Statement"]
        if "secretsmanager:GetSecretValue" in statement["Action"] and master in statement["Resource"]
    }
    assert readers == {"roles_scheduler_execution_policy"}


def test_ecs_may_decrypt_an_existing_secret_with_its_own_key(existing_database: Stack) -> None:
    (decrypt,) = [
        statement
        for statement in existing_database.role_policy("roles_scheduler_execution")
        if statement["Sid"] == "DecryptSecrets"
    ]
    assert EXISTING["master_secret_kms_key"] in decrypt["Resource"]
    others = existing_database.role_policy("roles_web_server_execution")
    assert EXISTING["master_secret_kms_key"] not in str(others)


@pytest.mark.parametrize(
    ("database", "message"),
    [
        ({"kind": "AURORA_SERVERLESS_V2", "min_capacity": 8, "max_capacity": 4}, "is greater than"),
        ({"kind": "AURORA_SERVERLESS_V2", "final_snapshot": True}, "needs a `kms_key`"),
        ({"kind": "RDS_POSTGRESQL", "final_snapshot": True}, "needs a `kms_key`"),
        ({"kind": "RDS_POSTGRESQL", "engine_version": "9.6"}, "engine_version"),
        ({"kind": "RDS_POSTGRESQL", "maintenance_window": "sunday"}, "maintenance_window"),
        ({**EXISTING, "sslmode": "disable"}, "sslmode"),
    ],
    ids=["capacity", "aurora-snapshot", "rds-snapshot", "version", "window", "no-tls"],
)
def test_invalid_settings_are_rejected(database: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Environment.model_validate({**LEAST, "metadata_database": database})
