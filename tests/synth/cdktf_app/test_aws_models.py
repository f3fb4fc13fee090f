# SPDX-License-Identifier: Apache-2.0
"""Every example's resources against AWS's own service models: names, enums, ranges.

What Terraform's provider lets through, AWS would refuse in the middle of an apply.
Policies' actions are looked up in the same models by test_policies.py.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.support.aws_model import as_input, operation, problems
from tests.support.stack import Stack
from tests.support.synthesis import example_text
from tools.synthesise_examples import examples
from tools.verify.rules import LIMITS, service_name, violations

# Terraform's own arguments, and those it sends to AWS in other calls.
OF_TERRAFORM = {"depends_on", "lifecycle", "count", "for_each", "tags", "apply_immediately", "timeouts"}


@dataclass(frozen=True)
class AwsOperation:
    """Maps a resource type to the input of an operation."""

    service: str
    operation: str
    renamed: Mapping[str, str] = field(default_factory=dict)
    """Attributes with another name in AWS."""
    without: frozenset[str] = frozenset()
    """Attributes that are not input of this operation."""


KINDS = {
    "aws_cloudwatch_metric_alarm": AwsOperation("cloudwatch", "PutMetricAlarm", {"ok_actions": "OKActions"}),
    "aws_appautoscaling_target": AwsOperation("application-autoscaling", "RegisterScalableTarget"),
    "aws_appautoscaling_policy": AwsOperation("application-autoscaling", "PutScalingPolicy", {"name": "PolicyName"}),
    "aws_lb_target_group": AwsOperation(
        "elbv2", "CreateTargetGroup", without=frozenset({"health_check", "deregistration_delay"})
    ),
    "aws_rds_cluster": AwsOperation(
        "rds",
        "CreateDBCluster",
        {
            "cluster_identifier": "DBClusterIdentifier",
            "enabled_cloudwatch_logs_exports": "EnableCloudwatchLogsExports",
            "performance_insights_enabled": "EnablePerformanceInsights",
            "iam_database_authentication_enabled": "EnableIAMDatabaseAuthentication",
            "serverlessv2_scaling_configuration": "ServerlessV2ScalingConfiguration",
        },
        frozenset({"skip_final_snapshot", "final_snapshot_identifier", "allow_major_version_upgrade"}),
    ),
    "aws_rds_cluster_instance": AwsOperation(
        "rds",
        "CreateDBInstance",
        {
            "identifier": "DBInstanceIdentifier",
            "cluster_identifier": "DBClusterIdentifier",
            "instance_class": "DBInstanceClass",
            "performance_insights_enabled": "EnablePerformanceInsights",
            "performance_insights_kms_key_id": "PerformanceInsightsKMSKeyId",
        },
    ),
    "aws_db_instance": AwsOperation(
        "rds",
        "CreateDBInstance",
        {
            "identifier": "DBInstanceIdentifier",
            "instance_class": "DBInstanceClass",
            "username": "MasterUsername",
            "backup_window": "PreferredBackupWindow",
            "maintenance_window": "PreferredMaintenanceWindow",
            "parameter_group_name": "DBParameterGroupName",
            "enabled_cloudwatch_logs_exports": "EnableCloudwatchLogsExports",
            "performance_insights_enabled": "EnablePerformanceInsights",
            "performance_insights_kms_key_id": "PerformanceInsightsKMSKeyId",
        },
        frozenset(
            {
                *("skip_final_snapshot", "final_snapshot_identifier", "allow_major_version_upgrade"),
                "delete_automated_backups",  # DeleteDBInstance's
            }
        ),
    ),
    "aws_elasticache_replication_group": AwsOperation(
        "elasticache",
        "CreateReplicationGroup",
        {
            "description": "ReplicationGroupDescription",
            "node_type": "CacheNodeType",
            "parameter_group_name": "CacheParameterGroupName",
            "subnet_group_name": "CacheSubnetGroupName",
            "maintenance_window": "PreferredMaintenanceWindow",
        },
    ),
    "aws_elasticache_user": AwsOperation("elasticache", "CreateUser"),
    "aws_ecr_repository": AwsOperation(
        "ecr",
        "CreateRepository",
        {"name": "repositoryName"},
        frozenset({"force_delete"}),
    ),
    "aws_vpc_endpoint": AwsOperation("ec2", "CreateVpcEndpoint", {"policy": "PolicyDocument"}),
    "aws_flow_log": AwsOperation(
        "ec2", "CreateFlowLogs", {"iam_role_arn": "DeliverLogsPermissionArn"}, frozenset({"vpc_id"})
    ),
    "aws_lb": AwsOperation(
        "elbv2",
        "CreateLoadBalancer",
        {"load_balancer_type": "Type"},
        # ModifyLoadBalancerAttributes'
        frozenset(
            {
                *("internal", "drop_invalid_header_fields", "enable_deletion_protection", "desync_mitigation_mode"),
                *("access_logs", "idle_timeout", "enable_http2", "xff_header_processing_mode"),
            }
        ),
    ),
}
SDK_NAMES = {service_name(limit.service): limit.service for limit in LIMITS}
REFERENCE = re.compile(r"\$\{[^{}]*\}")
FILLED_BY_TERRAFORM = {"CreateFlowLogs": {"ResourceIds", "ResourceType"}, "PutScalingPolicy": set()}


@pytest.fixture(scope="module", params=examples())
def stack(request: pytest.FixtureRequest) -> Stack:
    """The stack of an example, synthesised once for all tests of the group."""
    return Stack(json.loads(example_text(request.param)))


def all_problems(stack: Stack, kind: str) -> Iterator[str]:
    """The errors of AWS's model for the resources of a type."""
    how = KINDS[kind]
    for name, resource in stack.resources(kind).items():
        attributes = {key: value for key, value in resource.items() if key not in OF_TERRAFORM | how.without}
        params = as_input(operation(how.service, how.operation), attributes, how.renamed)
        for problem in problems(how.service, how.operation, params):
            missing = problem.removeprefix(f"{how.operation}.").removesuffix(" is missing")
            if missing not in FILLED_BY_TERRAFORM.get(how.operation, set()):
                yield f"{kind}.{name}: {problem}"
        # The rules that are in no shape; an example need not be applied to emulators for them.
        rows = violations([(f"{SDK_NAMES[how.service]}:{how.operation}", without_references(params))])
        yield from (f"{kind}.{name}: {row}" for row in rows if not row.endswith(("(botocore)", "is required")))


def without_references(value: Any) -> Any:
    """The value without what is known only after an apply; a part of a text is a letter in its place."""
    if isinstance(value, dict):
        return {key: without_references(item) for key, item in value.items() if not is_reference(item)}
    if isinstance(value, list):
        return [without_references(item) for item in value if not is_reference(item)]
    return REFERENCE.sub("r", value) if isinstance(value, str) else value


def is_reference(value: Any) -> bool:
    return isinstance(value, str) and REFERENCE.fullmatch(value) is not None


@pytest.mark.parametrize("kind", KINDS)
def test_aws_accepts_every_resource(stack: Stack, kind: str) -> None:
    assert list(all_problems(stack, kind)) == []


def test_every_type_is_in_some_example() -> None:
    used = {kind for name in examples() for kind in json.loads(example_text(name))["resource"]}
    assert set(KINDS) <= used, "a row that nothing uses proves nothing"


def test_ecs_registers_every_task(stack: Stack) -> None:
    found = []
    for name, task in stack.resources("aws_ecs_task_definition").items():
        attributes = {key: value for key, value in task.items() if key not in {*OF_TERRAFORM, "skip_destroy", "volume"}}
        attributes["container_definitions"] = stack.local(task["container_definitions"])
        params = as_input(operation("ecs", "RegisterTaskDefinition"), attributes)
        params["volumes"] = [{"name": volume["name"]} for volume in task.get("volume", ())]
        found += [f"{name}: {problem}" for problem in problems("ecs", "RegisterTaskDefinition", params)]
        mounted = {
            mount["sourceVolume"]
            for container in attributes["container_definitions"]
            for mount in container.get("mountPoints", ())
        }
        if not mounted <= {volume["name"] for volume in params["volumes"]}:
            found.append(f"{name}: mounts {mounted}, of which it has no volume")
    assert found == []


def test_ecs_creates_every_service(stack: Stack) -> None:
    of_deployment = {
        "deployment_maximum_percent": "maximumPercent",
        "deployment_minimum_healthy_percent": "minimumHealthyPercent",
        "deployment_circuit_breaker": "deploymentCircuitBreaker",
    }
    without = {*OF_TERRAFORM, "force_new_deployment", "wait_for_steady_state"}
    renamed = {"name": "serviceName", "load_balancer": "loadBalancers", "cluster": "cluster"}
    found = []
    for name, service in stack.resources("aws_ecs_service").items():
        attributes = {key: value for key, value in service.items() if key not in without}
        deployment = {of_deployment[key]: attributes.pop(key) for key in of_deployment if key in attributes}
        network = attributes.pop("network_configuration")
        attributes["network_configuration"] = {"awsvpcConfiguration": in_ecs_words(network)}
        attributes["deployment_configuration"] = deployment
        params = as_input(operation("ecs", "CreateService"), attributes, renamed)
        found += [f"{name}: {problem}" for problem in problems("ecs", "CreateService", params)]
        percents = (deployment.get("minimumHealthyPercent", 100), deployment.get("maximumPercent", 200))
        if not 0 <= percents[0] <= percents[1] <= 200:
            found.append(f"{name}: keeps between {percents[0]} and {percents[1]} percent of its tasks")
    assert found == []


def in_ecs_words(network: Any) -> dict[str, Any]:
    """`network_configuration` in ECS's format."""
    block = dict(network[0] if isinstance(network, list) else network)
    if "assign_public_ip" in block:
        block["assign_public_ip"] = "ENABLED" if block["assign_public_ip"] else "DISABLED"
    return block


def test_sqs_accepts_the_times_of_every_queue(stack: Stack) -> None:
    """SetQueueAttributes has no ranges in the model; these are from its documentation."""
    ranges = {
        "visibility_timeout_seconds": (0, 43_200),
        "message_retention_seconds": (60, 1_209_600),
        "delay_seconds": (0, 900),
        "receive_wait_time_seconds": (0, 20),
        "max_message_size": (1024, 1_048_576),
        "kms_data_key_reuse_period_seconds": (60, 86_400),
    }
    for name, queue in stack.resources("aws_sqs_queue").items():
        for attribute, (least, most) in ranges.items():
            assert least <= int(queue.get(attribute, least)) <= most, f"{name}: {attribute}"


def test_cloudwatch_supports_the_log_retention(stack: Stack) -> None:
    documented = {
        1,
        3,
        5,
        7,
        14,
        30,
        60,
        90,
        120,
        150,
        180,
        365,
        400,
        545,
        731,
        1096,
        1827,
        2192,
        2557,
        2922,
        3288,
        3653,
    }
    kept = {name: group.get("retention_in_days") for name, group in stack.resources("aws_cloudwatch_log_group").items()}
    assert {name: days for name, days in kept.items() if days not in documented} == {}


def test_an_invalid_value_is_reported() -> None:
    """The checks above detect errors."""
    alarm = {"alarm_name": "x" * 256, "comparison_operator": "Above", "evaluation_periods": 0, "colour": "red"}
    params = as_input(operation("cloudwatch", "PutMetricAlarm"), alarm)
    found = "\n".join(problems("cloudwatch", "PutMetricAlarm", params))
    for part in (
        "AlarmName has 256 characters",
        "ComparisonOperator is Above",
        "EvaluationPeriods is 0",
        "colour is unknown",
    ):
        assert part in found
