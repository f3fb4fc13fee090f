# SPDX-License-Identifier: Apache-2.0
"""Every role allows exactly the calls of its code; every exception has a reason beside the policy."""

import re
from typing import Any

import botocore.session
import pytest

from cdktf_app.base.policies import REASONS, Statement
from openmwaa.config.aws_limits import MAX_ROLE_POLICY, POLICY_ROOM, policy_sizes
from openmwaa.config.environment import Environment
from tests.support.environments import LEAST
from tests.support.iam import ACCOUNT, ResolvedStack, characters, statements_of
from tests.support.stack import Json, Stack
from tests.synth.cdktf_app.conftest import stack_of

# Statements that may have the resource `*`, in any variant of a stack: end of the policy's name, statement.
CONTROL_PLANE = ("control_plane", "scheduler", "dag_processor", "triggerer", "execution_api", "web_server")
EVERY_RESOURCE = (
    {
        ("keys_policy", "AdministerByIam"),
        ("keys_policy", "AlarmsToTopic"),
        ("keys_policy", "GrantsOfServices"),
        ("keys_policy", "LogGroups"),
        ("keys_policy", "TaskStorageGrants"),
        ("keys_policy", "TaskStorageKeys"),
        ("keys_policy", "UseThroughServices"),
        ("endpoints_policy", "IdentitiesOfThisAccount"),
        ("endpoints_s3_policy", "IdentitiesOfThisAccount"),
        ("endpoints_sts_policy", "IdentitiesOfThisAccount"),
        ("endpoints_sts_policy", "ProofsOfIdentity"),
        ("roles_execution_role_policy", "AccountPublicAccessBlock"),
        ("roles_execution_role_policy", "FindLogGroups"),
        ("roles_execution_role_policy", "NoOtherBuckets"),
        ("roles_execution_role_policy", "PublishMetrics"),
        ("roles_flow_logs_policy", "FindLogGroups"),
        ("roles_scaler_policy", "FindAlarms"),
        ("roles_scaler_policy", "ListTasks"),
        ("roles_scaler_policy", "PublishMetrics"),
        ("roles_scaler_policy", "ReadDemandMetrics"),
        ("roles_worker_policy", "AccountPublicAccessBlock"),
        ("roles_worker_policy", "FindLogGroups"),
        ("roles_worker_policy", "NoOtherBuckets"),
        ("roles_worker_policy", "PublishMetrics"),
    }
    | {(f"roles_{component}_policy", "ExecuteCommand") for component in CONTROL_PLANE}
    | {(f"roles_{service}_execution_policy", "LogInToRegistry") for service in (*CONTROL_PLANE, "worker", "scaler")}
)
# An endpoint's policy grants nothing: it refuses the identities of other accounts.
EVERY_ACTION = {(f"endpoints{word}_policy", "IdentitiesOfThisAccount") for word in ("", "_s3", "_sts")}
LONGEST_KEY_POLICY = 32_768
# Actions that are no operation of their own, with the operation that needs them.
NOT_OPERATIONS = {
    "kms:ReEncryptFrom": "kms:ReEncrypt",
    "kms:ReEncryptTo": "kms:ReEncrypt",
    "s3:GetAccountPublicAccessBlock": "s3control:GetPublicAccessBlock",
    "s3:GetBucketPublicAccessBlock": "s3:GetPublicAccessBlock",
    "s3:GetEncryptionConfiguration": "s3:GetBucketEncryption",
    "s3:GetObjectVersion": "s3:GetObject",
    "s3:GetObjectVersionAttributes": "s3:GetObjectAttributes",
    "s3:ListBucket": "s3:ListObjectsV2",
    "s3:ListBucketVersions": "s3:ListObjectVersions",
    "s3:ListAllMyBuckets": "s3:ListBuckets",
}
# Session Manager's channels have no public service model.
UNMODELLED = {"ssmmessages"}
OF_BOTOCORE = {"airflow": "mwaa"}


def _actions(statements: list[Json]) -> set[str]:
    return {action for statement in statements if statement["Effect"] == "Allow" for action in statement["Action"]}


def test_no_action_has_a_wildcard(variants: dict[str, Stack]) -> None:
    for variant, stack in variants.items():
        for key, statement in statements_of(stack).items():
            if statement["Effect"] == "Allow" and key not in EVERY_ACTION:
                assert not [action for action in statement["Action"] if "*" in action], (
                    f"{variant}: {key} has a wildcard"
                )


def test_endpoints_allow_identities_of_this_account_only(iam_without_internet: Stack) -> None:
    """Beside them STS's endpoint passes the proofs of accounts in `role_table`."""
    statements = statements_of(iam_without_internet)
    for key in EVERY_ACTION:
        (account,) = statements[key]["Condition"]["StringEquals"]["aws:PrincipalAccount"]
        assert account.endswith(".account_id}"), f"{key} lets {account} through"
    layers = statements["endpoints_s3_policy", "LayersOfImages"]
    assert layers["Action"] == ["s3:GetObject"]
    assert [arn.rpartition(":")[2] for arn in layers["Resource"]] == ["prod-us-east-1-starport-layer-bucket/*"]


def test_every_action_exists(variants: dict[str, Stack]) -> None:
    session = botocore.session.get_session()
    known: dict[str, set[str]] = {}
    for variant, stack in variants.items():
        for key, statement in statements_of(stack).items():
            for action in statement["Action"]:
                service, _, operation = NOT_OPERATIONS.get(action, action).partition(":")
                if service in UNMODELLED or operation == "*" or action == "*":
                    continue
                if service not in known:
                    model = session.get_service_model(OF_BOTOCORE.get(service, service))
                    known[service] = set(model.operation_names)
                assert operation in known[service], f"{variant}: {key} has {action}, which AWS does not have"


def test_a_wildcard_resource_has_a_reason_beside_it(variants: dict[str, Stack]) -> None:
    wildcards = set()
    for variant, stack in variants.items():
        for (policy, sid), statement in statements_of(stack).items():
            if "*" not in statement.get("Resource", ()):
                continue
            reason = stack.document["locals"].get(f"{policy}_{REASONS}", {}).get(sid)
            assert reason, f"{variant}: {policy} names every resource in {sid} and does not say why"
            wildcards.add((policy, sid))
    assert wildcards <= EVERY_RESOURCE, (
        f"new statements for every resource, to be reviewed: {wildcards - EVERY_RESOURCE}"
    )
    assert wildcards == EVERY_RESOURCE, f"no stack has them any more: {EVERY_RESOURCE - wildcards}"


def test_resource_patterns_end_in_ids_that_are_not_known_in_advance(variants: dict[str, Stack]) -> None:
    """Task ids, objects of a bucket, log streams, overrides of fleets: below names of the environment."""
    for variant, stack in variants.items():
        for key, statement in statements_of(stack).items():
            for resource in statement.get("Resource", ()):
                if resource == "*" or "*" not in resource:
                    continue
                assert resource.count("*") == 1, f"{variant}: {key} has {resource}"
                assert re.search(r"(/|:log-group:.+|\.arn\}):?\*$", resource), f"{variant}: {key} has {resource}"


def test_policies_fit_into_iam_with_twenty_fleets_and_the_longest_names(longest_names: Stack) -> None:
    applied = ResolvedStack(longest_names)
    for name in longest_names.resources("aws_iam_role_policy"):
        size = characters(applied.policy(name))
        assert size <= MAX_ROLE_POLICY, f"{name} has {size} characters"
    key = longest_names.local(longest_names.only("aws_kms_key")["policy"])["Statement"]
    assert characters(applied.resolved(key)) <= LONGEST_KEY_POLICY


@pytest.mark.parametrize(
    ("name", "region"),
    [("e" * 80, "ap-southeast-2"), ("e" * 80, "us-gov-east-1"), ("e" * 80, "cn-northwest-1"), ("e", "us-gov-east-1")],
)
@pytest.mark.parametrize("sleeps", [True, False], ids=["sleep", "no sleep"])
def test_policies_are_not_larger_than_validation_counts(name: str, region: str, *, sleeps: bool) -> None:
    """The Regions are the longest of each partition."""
    metric = {"namespace": "Acme/Video", "metric_name": "FramesWaiting", "dimensions": {"Stage": "prod"}}
    fleets: dict[str, Any] = {
        chr(ord("a") + number) * 20: {"queues": [f"q{number:02}" + "q" * 37 if number else "default"]}
        for number in range(18 if sleeps else 20)
    }
    fleets["a" * 20]["demand_metric"] = metric
    fields: dict[str, Any] = {"name": name, "region": region, "enable_execute_command": True, "fleets": fleets}
    fields["startup_script_s3_path"] = "startup.sh"
    if sleeps:
        fields |= {"sleep": {}, "metadata_database": {"kind": "RDS_POSTGRESQL"}}
    applied = ResolvedStack(stack_of(**fields))
    resolved = Environment.model_validate({**LEAST, **fields}).fleets.values()
    for role, counted in policy_sizes(name, region, resolved, has_sqs=True, sleeps=sleeps).items():
        others = characters(applied.policy(f"roles_{role}")) - counted
        assert others <= MAX_ROLE_POLICY - POLICY_ROOM[role], f"{role}: {others} characters beside queues and fleets"


def test_no_statement_names_a_resource_twice(variants: dict[str, Stack]) -> None:
    for variant, stack in variants.items():
        for name in stack.resources("aws_iam_role_policy"):
            for statement in stack.role_policy(name):
                resources = statement["Resource"]
                assert len(resources) == len(set(resources)), f"{variant}: {name} {statement['Sid']}"


def test_each_component_has_its_own_role(quickstart: Stack) -> None:
    roles = [
        (task["task_role_arn"], task["execution_role_arn"])
        for task in quickstart.resources("aws_ecs_task_definition").values()
    ]
    every = [role for pair in roles for role in pair]
    assert len(set(every)) == len(every) == 14, "two components share a role"


def test_scaler_can_change_its_fleets_only(byo_resources: Stack) -> None:
    statements = {statement["Sid"]: statement for statement in byo_resources.role_policy("roles_scaler")}
    assert _actions(list(statements.values())) == {
        "ecs:DescribeServices",
        "ecs:DescribeTasks",
        "ecs:GetTaskProtection",
        "ecs:ListTasks",
        "ecs:StopTask",
        "ecs:UpdateService",
        "sqs:GetQueueAttributes",
        "ssm:GetParameters",
        "ssm:PutParameter",
        "cloudwatch:PutMetricData",
        "logs:FilterLogEvents",
    }
    assert [arn.rpartition(":")[2] for arn in statements["SizeFleets"]["Resource"]] == [
        "service/openmwaa-example/worker-default-?",
        "service/openmwaa-example/worker-graphics-?",
    ]
    assert statements["StopSilentWorkers"]["Condition"]["StringEquals"] == {
        "aws:ResourceTag/openmwaa:component": ["worker"]
    }
    tagged = {
        name
        for name, service in byo_resources.resources("aws_ecs_service").items()
        if "openmwaa:component" in service.get("tags", {})
    }
    assert tagged == {name for name in byo_resources.resources("aws_ecs_service") if name.startswith("fleets_")}
    log, controls = statements["State"]["Resource"]
    assert log == "${aws_cloudwatch_log_group.logs_scaler.arn}:*"
    assert controls.endswith(":parameter/openmwaa/example/scaler/*"), "other parameters could be written"
    assert statements["PublishMetrics"]["Condition"] == {
        "StringEquals": {"cloudwatch:namespace": ["openmwaa", "AmazonMWAA"]}
    }
    assert statements["SeeBacklog"]["Resource"] == [
        "${aws_sqs_queue.broker_queue_default.arn}",
        "${aws_sqs_queue.broker_queue_high.arn}",
        "${aws_sqs_queue.broker_queue_heavy.arn}",
    ]


@pytest.mark.parametrize("sid", ["SeeTasks", "ListTasks"])
def test_scaler_can_read_tasks_of_its_cluster_only(quickstart: Stack, sid: str) -> None:
    (statement,) = [entry for entry in quickstart.role_policy("roles_scaler") if entry["Sid"] == sid]
    assert statement["Condition"] == {"ArnEquals": {"ecs:cluster": ["${aws_ecs_cluster.cluster.arn}"]}}


def test_worker_may_protect_its_own_clusters_tasks(quickstart: Stack) -> None:
    (statement,) = [entry for entry in quickstart.role_policy("roles_worker") if entry["Sid"] == "ProtectOwnTask"]
    assert set(statement["Action"]) == {"ecs:GetTaskProtection", "ecs:UpdateTaskProtection"}
    assert [arn.rpartition(":")[2] for arn in statement["Resource"]] == ["task/openmwaa-quickstart/*"]


def test_worker_has_what_mwaas_execution_role_has(quickstart: Stack) -> None:
    mwaa = {
        "cloudwatch:PutMetricData",
        "kms:Decrypt",
        "kms:DescribeKey",
        "kms:Encrypt",
        "kms:GenerateDataKey",
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


@pytest.mark.parametrize(
    ("fixture", "of_login"), [("quickstart", {"iam"}), ("password_login", set[str]())], ids=["IAM", "PASSWORD"]
)
def test_control_plane_roles_allow_only_the_calls_of_their_code(
    fixture: str, of_login: set[str], request: pytest.FixtureRequest
) -> None:
    stack: Stack = request.getfixturevalue(fixture)
    services = {
        component: {action.partition(":")[0] for action in _actions(stack.role_policy(f"roles_{component}"))}
        for component in ("scheduler", "dag_processor", "triggerer", "execution_api", "web_server")
    }
    assert services == {
        "scheduler": {"kms", "sqs"},
        "dag_processor": {"kms", "s3", "secretsmanager", "ssm"},
        "triggerer": {"kms", "logs", "s3", "secretsmanager", "ssm"},
        "execution_api": set(),
        "web_server": {"logs"} | of_login,
    }


@pytest.mark.parametrize(
    ("fixture", "writes"), [("quickstart", {"ssm:PutParameter"}), ("password_login", set())], ids=["IAM", "PASSWORD"]
)
def test_only_the_scaler_writes_overrides_and_only_with_iam_login(
    fixture: str, writes: set[str], request: pytest.FixtureRequest
) -> None:
    stack: Stack = request.getfixturevalue(fixture)
    for name, policy in stack.policies.items():
        # The scaler also writes its record of sleep, and DAG code reads connections: neither is an override.
        no_overrides = ("RecordSleep", "ReadConnectionsAndVariables")
        others = [entry for entry in policy["Statement"] if entry["Sid"] not in no_overrides]
        granted = {action for action in _actions(others) if action.startswith("ssm:")}
        assert granted == ({"ssm:GetParameters"} | writes if name == "roles_scaler_policy" else set()), name


PREFIXES = ("airflow/connections", "airflow/variables")
OPTIONS = {"secrets.backend": "x.Y", "secrets.backend_kwargs": '{"connections_prefix": "/team/c/"}'}


@pytest.mark.parametrize(
    ("options", "prefixes"), [({}, PREFIXES), (OPTIONS, ("team/c", PREFIXES[1]))], ids=["MWAA's", "of the file"]
)
def test_dag_code_reads_connections_and_variables_below_their_prefixes_only(
    options: dict[str, str], prefixes: tuple[str, ...]
) -> None:
    stack = ResolvedStack(stack_of(airflow_configuration_options=options))
    of_region = f"us-east-1:{ACCOUNT}"
    for role in ("worker", "dag_processor", "triggerer"):
        (statement,) = [
            row for row in stack.policy(f"roles_{role}") if "secretsmanager:GetSecretValue" in _actions([row])
        ]
        assert statement["Resource"] == [
            *(f"arn:aws:secretsmanager:{of_region}:secret:{prefix}/*" for prefix in prefixes),
            *(f"arn:aws:ssm:{of_region}:parameter/{prefix}/*" for prefix in prefixes),
        ]
        assert statement["Action"] == ["secretsmanager:GetSecretValue", "ssm:GetParameter"]


def test_only_the_scaler_writes_its_record_of_sleep(quickstart: Stack) -> None:
    writers = {
        (name, entry["Sid"]): entry["Resource"]
        for name, policy in quickstart.policies.items()
        for entry in policy["Statement"]
        if "ssm:PutParameter" in _actions([entry])
    }
    assert [*writers] == [("roles_scaler_policy", sid) for sid in ("State", "RecordSleep")]
    (resource,) = writers["roles_scaler_policy", "RecordSleep"]
    assert resource.endswith(":parameter/openmwaa/quickstart/sleep-memory"), "commands are written by users only"


def test_dag_code_cannot_write_the_scalers_metrics(quickstart: Stack) -> None:
    (own,) = [entry for entry in quickstart.role_policy("roles_worker") if entry["Sid"] == "PublishMetrics"]
    assert own["Condition"]["StringNotEquals"] == {"cloudwatch:namespace": ["openmwaa", "AmazonMWAA"]}


def test_only_workers_receive_messages(quickstart: Stack) -> None:
    receivers = {
        name for name, policy in quickstart.policies.items() if "sqs:ReceiveMessage" in _actions(policy["Statement"])
    }
    assert receivers == {"roles_worker_policy"}


def test_roles_use_the_key_through_services_only(variants: dict[str, Stack]) -> None:
    for variant, stack in variants.items():
        for (policy, sid), statement in statements_of(stack).items():
            if not policy.startswith("roles_") or not any(action.startswith("kms:") for action in statement["Action"]):
                continue
            variables = {variable for test in statement["Condition"].values() for variable in test}
            assert "kms:ViaService" in variables, f"{variant}: {policy} uses the key without a service in {sid}"


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"actions": ("s3:Get*",), "resources": ("arn",)}, "replace the wildcard of s3:Get"),
        ({"actions": ("s3:GetObject",), "resources": ("*",)}, "needs a reason"),
    ],
    ids=["wildcard-action", "every-resource"],
)
def test_a_statement_with_wildcards_is_rejected(fields: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        Statement(sid="Wide", **fields)
