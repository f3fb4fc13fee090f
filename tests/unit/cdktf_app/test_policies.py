# SPDX-License-Identifier: Apache-2.0
"""Every role may do what its code calls, spelled out; every exception is in a table here with its reason."""

from typing import Any

import pytest

from cdktf_app.policies import Statement
from tests.support.stack import Json, Stack

# (policy, statement) -> why its resource is `*`. A policy that is attached to a key names that key by `*`.
EVERY_RESOURCE = {
    ("keys_policy", "AccountByIam"): "in a key's policy, `*` is that key",
    ("keys_policy", "LogGroups"): "in a key's policy, `*` is that key",
    (
        "roles_scaler_policy",
        "PublishScalerMetrics",
    ): "PutMetricData knows no resource; the condition names the namespaces",
    ("roles_scaler_policy", "ListTasks"): "Fargate tasks have no container instance; the condition names the cluster",
    ("roles_triggerer_policy", "FindLogGroups"): "DescribeLogGroups knows no resource",
    ("roles_worker_policy", "AccountPublicAccessBlock"): "the setting is the account's",
    ("roles_worker_policy", "FindLogGroups"): "DescribeLogGroups knows no resource",
    ("roles_worker_policy", "NoOtherBuckets"): "a denial, as in MWAA's role",
    ("roles_worker_policy", "PublishMetrics"): "PutMetricData knows no resource",
} | {
    (f"roles_{service}_execution_policy", "LogInToRegistry"): "ECR's token is the account's"
    for service in ("scheduler", "dag_processor", "triggerer", "execution_api", "web_server", "worker", "scaler")
}


def _actions(statements: list[Json]) -> set[str]:
    return {action for statement in statements if statement["Effect"] == "Allow" for action in statement["Action"]}


def _statements(stack: Stack) -> dict[tuple[str, str], Json]:
    found = {}
    for name, policy in stack.policies.items():
        for statement in policy["Statement"]:
            key = (name, statement["Sid"])
            assert key not in found, f"{name} says {statement['Sid']} twice"
            found[key] = statement
    return found


def test_no_action_has_a_wildcard(quickstart: Stack, given: Stack) -> None:
    for stack in (quickstart, given):
        for key, statement in _statements(stack).items():
            if statement["Effect"] == "Allow":
                assert not [action for action in statement["Action"] if "*" in action], f"{key} has a wildcard"


def test_every_resource_only_where_the_table_says_why(quickstart: Stack) -> None:
    wide = {key for key, statement in _statements(quickstart).items() if "*" in statement.get("Resource", ())}
    assert wide == set(EVERY_RESOURCE)


def test_principals_are_the_account_services_or_in_a_denial(quickstart: Stack) -> None:
    for key, statement in _statements(quickstart).items():
        for kind, identifiers in statement.get("Principal", {}).items():
            for identifier in identifiers:
                known = kind == "Service" or identifier.endswith(":root") or statement["Effect"] == "Deny"
                assert known, f"{key} lets {identifier} in"


def test_roles_are_assumed_by_this_accounts_tasks_alone(quickstart: Stack) -> None:
    for name, role in quickstart.resources("aws_iam_role").items():
        (statement,) = quickstart.local(role["assume_role_policy"])["Statement"]
        assert statement["Principal"] == {"Service": ["ecs-tasks.amazonaws.com"]}, name
        assert set(statement["Condition"]) == {"StringEquals", "ArnLike"}, f"{name}: another account's tasks could come"


def test_each_component_has_a_role_of_its_own(quickstart: Stack) -> None:
    roles = [
        (task["task_role_arn"], task["execution_role_arn"])
        for task in quickstart.resources("aws_ecs_task_definition").values()
    ]
    every = [role for pair in roles for role in pair]
    assert len(set(every)) == len(every) == 14, "two components share a role"


def test_scaler_may_size_its_fleets_and_nothing_else(given: Stack) -> None:
    statements = {statement["Sid"]: statement for statement in given.role_policy("roles_scaler")}
    assert _actions(list(statements.values())) == {
        "ecs:DescribeServices",
        "ecs:DescribeTasks",
        "ecs:GetTaskProtection",
        "ecs:ListTasks",
        "ecs:UpdateService",
        "sqs:GetQueueAttributes",
        "ssm:GetParameters",
        "cloudwatch:PutMetricData",
    }
    assert [arn.rpartition(":")[2] for arn in statements["SizeFleets"]["Resource"]] == [
        "service/openmwaa-example/worker-default-a",
        "service/openmwaa-example/worker-default-b",
        "service/openmwaa-example/worker-gpu-like-a",
        "service/openmwaa-example/worker-gpu-like-b",
    ]
    (controls,) = statements["ReadControls"]["Resource"]
    assert controls.endswith(":parameter/openmwaa/example/scaler/*"), "another environment's orders could be read"
    assert statements["PublishScalerMetrics"]["Condition"] == {
        "StringEquals": {"cloudwatch:namespace": ["openmwaa", "AmazonMWAA"]}
    }
    assert statements["SeeBacklog"]["Resource"] == [
        "${aws_sqs_queue.broker_queue_default.arn}",
        "${aws_sqs_queue.broker_queue_high.arn}",
        "${aws_sqs_queue.broker_queue_heavy.arn}",
    ]


@pytest.mark.parametrize("sid", ["SeeTasks", "ListTasks"])
def test_scaler_sees_tasks_of_its_cluster_alone(quickstart: Stack, sid: str) -> None:
    (statement,) = [each for each in quickstart.role_policy("roles_scaler") if each["Sid"] == sid]
    assert statement["Condition"] == {"ArnEquals": {"ecs:cluster": ["${aws_ecs_cluster.cluster.arn}"]}}


def test_worker_may_protect_its_own_clusters_tasks(quickstart: Stack) -> None:
    (statement,) = [each for each in quickstart.role_policy("roles_worker") if each["Sid"] == "ProtectOwnTask"]
    assert set(statement["Action"]) == {"ecs:GetTaskProtection", "ecs:UpdateTaskProtection"}
    assert [arn.rpartition(":")[2] for arn in statement["Resource"]] == ["task/openmwaa-quickstart/*"]


def test_worker_has_what_mwaas_execution_role_has(quickstart: Stack) -> None:
    mwaa = {
        "cloudwatch:PutMetricData",
        "kms:Decrypt",
        "kms:DescribeKey",
        "kms:Encrypt",
        "kms:GenerateDataKey",
        "logs:CreateLogGroup",
        "logs:CreateLogStream",
        "logs:DescribeLogGroups",
        "logs:GetLogEvents",
        "logs:GetLogGroupFields",
        "logs:GetLogRecord",
        "logs:GetQueryResults",
        "logs:PutLogEvents",
        "s3:GetAccountPublicAccessBlock",
        "s3:GetBucketLocation",
        "s3:GetObject",
        "s3:ListBucket",
        "sqs:ChangeMessageVisibility",
        "sqs:DeleteMessage",
        "sqs:GetQueueAttributes",
        "sqs:GetQueueUrl",
        "sqs:ReceiveMessage",
        "sqs:SendMessage",
    }
    assert mwaa <= _actions(quickstart.role_policy("roles_worker"))


def test_control_plane_may_no_more_than_its_code_calls(quickstart: Stack) -> None:
    services = {
        component: {action.partition(":")[0] for action in _actions(quickstart.role_policy(f"roles_{component}"))}
        for component in ("scheduler", "dag_processor", "triggerer", "execution_api", "web_server")
    }
    assert services == {
        "scheduler": {"kms", "sqs"},
        "dag_processor": {"kms", "s3"},
        "triggerer": {"kms", "logs", "s3"},
        "execution_api": set(),
        "web_server": {"logs"},
    }


def test_nobody_in_the_environment_orders_workers(quickstart: Stack) -> None:
    for name, policy in quickstart.policies.items():
        granted = _actions(policy["Statement"])
        assert not {action for action in granted if action.startswith("ssm:Put")}, f"{name} could write controls"
        reads = {action for action in granted if action.startswith("ssm:")}
        assert reads == ({"ssm:GetParameters"} if name == "roles_scaler_policy" else set()), name


def test_dag_code_cannot_write_the_scalers_metrics(quickstart: Stack) -> None:
    (own,) = [each for each in quickstart.role_policy("roles_worker") if each["Sid"] == "PublishMetrics"]
    assert own["Condition"]["StringNotEquals"] == {"cloudwatch:namespace": ["openmwaa"]}


def test_nobody_but_workers_receives_messages(quickstart: Stack) -> None:
    receivers = {
        name for name, policy in quickstart.policies.items() if "sqs:ReceiveMessage" in _actions(policy["Statement"])
    }
    assert receivers == {"roles_worker_policy"}


def test_key_is_used_through_services_or_by_the_log_groups_context(quickstart: Stack) -> None:
    for key, statement in _statements(quickstart).items():
        if not any(action.startswith("kms:") for action in statement["Action"]) or key == (
            "keys_policy",
            "AccountByIam",
        ):
            continue
        variables = {variable for test in statement["Condition"].values() for variable in test}
        assert variables & {"kms:ViaService", "kms:EncryptionContext:aws:logs:arn"}, f"{key} uses the key for anything"


@pytest.mark.parametrize("kind", ["aws_sqs_queue", "aws_s3_bucket_policy"])
def test_queues_and_bucket_refuse_what_is_not_tls(quickstart: Stack, kind: str) -> None:
    for name, resource in quickstart.resources(kind).items():
        (statement,) = quickstart.local(resource["policy"])["Statement"]
        assert statement["Effect"] == "Deny", name
        assert statement["Condition"] == {"Bool": {"aws:SecureTransport": ["false"]}}, name


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"actions": ("s3:Get*",), "resources": ("arn",)}, "spell out s3:Get"),
        ({"actions": ("s3:GetObject",), "resources": ("*",)}, "no reason why"),
    ],
    ids=["wildcard-action", "every-resource"],
)
def test_a_wide_statement_cannot_be_written(fields: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        Statement(sid="Wide", **fields)
