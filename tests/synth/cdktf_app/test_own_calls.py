# SPDX-License-Identifier: Apache-2.0
"""Every call of AWS in the code of a component is allowed to the role of its task, and documented for commands.

The calls are found in the source: a method, or a paginator, with the name of an operation. `test_identities.py` has
what the roles must not do.
"""

import ast
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import botocore.session
import pytest
from botocore import xform_name

from tests.support.every_field import METRIC
from tests.support.iam import ACCOUNT, KEY_ID, ResolvedStack
from tests.support.iam_evaluation import Request, allowed
from tests.synth.cdktf_app.conftest import stack_of

ROOT = Path(__file__).parents[3]
ARTEFACTS = {f"{kind}_s3_path": kind for kind in ("requirements", "plugins", "startup_script")}
FLEETS = {"default": {"queues": ["default"], "demand_metric": METRIC}}
ECS = f"arn:aws:ecs:us-east-1:{ACCOUNT}"
SERVICE, TASK = f"{ECS}:service/openmwaa-example/worker-default-a", f"{ECS}:task/openmwaa-example/0123456789abcdef"
CLUSTER = {"ecs:cluster": f"{ECS}:cluster/openmwaa-example"}
QUEUE = f"arn:aws:sqs:us-east-1:{ACCOUNT}:airflow-celery-example-default"
BUCKET = f"arn:aws:s3:::openmwaa-example-us-east-1-{ACCOUNT}"
KEY = f"arn:aws:kms:us-east-1:{ACCOUNT}:key/{KEY_ID}"
LOG_STREAM = f"arn:aws:logs:us-east-1:{ACCOUNT}:log-group:airflow-example-Task:log-stream:one"
SCRIPT_STREAM = LOG_STREAM.replace("Task", "Scheduler").replace("one", "startup_script_execution/scheduler/one")
OVERRIDE = f"arn:aws:ssm:us-east-1:{ACCOUNT}:parameter/openmwaa/example/scaler/default"
CONNECTION = f"arn:aws:secretsmanager:us-east-1:{ACCOUNT}:secret:airflow/connections/one-AbCdEf"
VARIABLE = f"arn:aws:ssm:us-east-1:{ACCOUNT}:parameter/airflow/variables/one"
BROKER_USER = f"arn:aws:elasticache:us-east-1:{ACCOUNT}:user:openmwaa-example-celery"


def via(service: str) -> dict[str, str]:
    return {"kms:ViaService": f"{service}.us-east-1.amazonaws.com"}


RECORD = f"arn:aws:ssm:us-east-1:{ACCOUNT}:parameter/openmwaa/example/sleep-memory"
ALARM = f"arn:aws:cloudwatch:us-east-1:{ACCOUNT}:alarm:openmwaa-example/scheduler_heartbeat"
DATABASE = f"arn:aws:rds:us-east-1:{ACCOUNT}:db:openmwaa-example"
_ON_OFF = ("Enable", "Disable")


class Component(NamedTuple):
    """The source of a component, its role, and what it may call."""

    folders: tuple[str, ...]
    services: tuple[str, ...]
    roles: tuple[str, ...]
    calls: dict[str, Request]
    """By operation in the source."""


SYNCER = {
    "s3:ListObjectsV2": Request("s3:ListBucket", BUCKET),
    "s3:GetObject": Request("s3:GetObject", f"{BUCKET}/dags/one.py"),
}
COMPONENTS = {
    "scaler": Component(
        ("scaler/adapters", "scaler/runtime"),
        ("cloudwatch", "ecs", "rds", "sqs", "ssm"),
        ("scaler",),
        {
            "cloudwatch:GetMetricData": Request("cloudwatch:GetMetricData"),
            "cloudwatch:PutMetricData": Request("cloudwatch:PutMetricData", "*", {"cloudwatch:namespace": "openmwaa"}),
            "ecs:DescribeServices": Request("ecs:DescribeServices", SERVICE),
            "ecs:DescribeTasks": Request("ecs:DescribeTasks", TASK, CLUSTER),
            "ecs:GetTaskProtection": Request("ecs:GetTaskProtection", TASK, CLUSTER),
            "ecs:ListTasks": Request("ecs:ListTasks", "*", CLUSTER),
            "ecs:StopTask": Request("ecs:StopTask", TASK, CLUSTER | {"aws:ResourceTag/openmwaa:component": "worker"}),
            "ecs:UpdateService": Request("ecs:UpdateService", SERVICE),
            "sqs:GetQueueAttributes": Request("sqs:GetQueueAttributes", QUEUE),
            "ssm:GetParameters": Request("ssm:GetParameters", OVERRIDE),
            "ssm:PutParameter": Request("ssm:PutParameter", OVERRIDE),
            "cloudwatch:DescribeAlarms": Request("cloudwatch:DescribeAlarms"),
            **{f"cloudwatch:{word}AlarmActions": Request(f"cloudwatch:{word}AlarmActions", ALARM) for word in _ON_OFF},
            "cloudwatch:SetAlarmState": Request("cloudwatch:SetAlarmState", ALARM),
            **{f"rds:{word}DBInstance": Request(f"rds:{word}DBInstance", DATABASE) for word in ("Start", "Stop")},
            "rds:DescribeDBInstances": Request("rds:DescribeDBInstances", DATABASE),
        },
    ),
    "worker agent": Component(
        ("worker_agent",),
        ("ecs", "sqs"),
        ("worker",),
        {"sqs:ReceiveMessage": Request("sqs:ReceiveMessage", QUEUE)},
    ),
    "DAG syncer": Component(
        ("images/airflow/openmwaa_runtime/sync_dags",), ("s3",), ("worker", "dag_processor", "triggerer"), SYNCER
    ),
    "runtime": Component(
        ("images/airflow/openmwaa_runtime",),
        ("ecs", "elasticache", "iam", "logs", "s3", "secretsmanager", "sqs", "ssm"),
        ("scheduler",),
        {
            "elasticache:DescribeUsers": Request("elasticache:DescribeUsers", BROKER_USER),
            "elasticache:ModifyUser": Request("elasticache:ModifyUser", BROKER_USER),
            "s3:PutObject": Request("s3:PutObject", f"{BUCKET}/openmwaa/example/requirements/one"),
            "logs:CreateLogStream": Request("logs:CreateLogStream", SCRIPT_STREAM),
            "logs:PutLogEvents": Request("logs:PutLogEvents", SCRIPT_STREAM),
        },
    ),
}
# Operations by name that the source does not call: Redis has `execute_command` too.
NO_CALLS = {"ecs:ExecuteCommand"}
# What the ECS agent, libraries and the runtime's task logs call with a role.
BY_LIBRARIES = [
    *(("worker", Request(f"ecs:{name}TaskProtection", TASK)) for name in ("Get", "Update")),
    *(
        ("worker", Request(f"sqs:{name}", QUEUE))
        for name in ("ChangeMessageVisibility", "DeleteMessage", "GetQueueAttributes", "SendMessage")
    ),
    ("scaler", Request("ssm:PutParameter", RECORD)),  # beside the overrides
    *(("scheduler", Request(f"sqs:{name}", QUEUE)) for name in ("GetQueueAttributes", "SendMessage")),
    *(("worker", Request(f"logs:{name}", LOG_STREAM)) for name in ("CreateLogStream", "PutLogEvents")),
    *(("triggerer", Request(f"logs:{name}", LOG_STREAM)) for name in ("CreateLogStream", "PutLogEvents")),
    ("web_server", Request("logs:GetLogEvents", LOG_STREAM)),
    *(
        (role, request)
        for role in ("worker", "dag_processor", "triggerer")
        for request in (
            Request("secretsmanager:GetSecretValue", CONNECTION),
            Request("ssm:GetParameter", VARIABLE),
            Request("kms:Decrypt", KEY, via("secretsmanager")),
            Request("kms:Decrypt", KEY, via("ssm")),
        )
    ),
    ("worker", Request("kms:Decrypt", KEY, via("sqs"))),
    ("worker", Request("kms:GenerateDataKey", KEY, via("sqs"))),
    ("worker", Request("kms:Decrypt", KEY, via("s3"))),
    ("scheduler", Request("kms:GenerateDataKey", KEY, via("sqs"))),
    ("dag_processor", Request("kms:Decrypt", KEY, via("s3"))),
    ("triggerer", Request("kms:Decrypt", KEY, via("s3"))),
]

LOG_BUCKET = f"arn:aws:s3:::openmwaa-example-task-logs-us-east-1-{ACCOUNT}"
TASK_LOGS_IN_S3 = [
    *(
        (role, request)
        for role in ("worker", "triggerer")
        for request in (
            Request("s3:PutObject", f"{LOG_BUCKET}/dag_id=a/1.log"),
            Request("kms:GenerateDataKey", KEY, via("s3")),
        )
    ),
    ("web_server", Request("s3:ListBucket", LOG_BUCKET)),
    ("web_server", Request("s3:GetObject", f"{LOG_BUCKET}/dag_id=a/1.log")),
    ("web_server", Request("kms:Decrypt", KEY, via("s3"))),
]


def operations(folders: Sequence[str], services: Sequence[str]) -> set[str]:
    """The operations of some services whose names are methods or paginators in the source."""
    session = botocore.session.get_session()
    names = {
        xform_name(operation): f"{service}:{operation}"
        for service in services
        for operation in session.get_service_model(service).operation_names
    }
    return {names[word] for folder in folders for word in _called(ROOT / folder) if word in names}


def _called(folder: Path) -> Iterator[str]:
    for file in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                if node.func.attr == "get_paginator":
                    yield from (str(word.value) for word in node.args if isinstance(word, ast.Constant))
                yield node.func.attr


@pytest.fixture(scope="module")
def stacks() -> dict[str, ResolvedStack]:
    brokers: dict[str, dict[str, Any]] = {"SQS": {}, "ELASTICACHE": {"broker": {"kind": "ELASTICACHE"}}}
    more: dict[str, Any] = {**ARTEFACTS, "fleets": FLEETS, "sleep": {}, "metadata_database": {"kind": "RDS_POSTGRESQL"}}
    return {kind: ResolvedStack(stack_of(**more, **fields)) for kind, fields in brokers.items()}


@pytest.mark.parametrize("name", COMPONENTS)
def test_the_table_has_every_call_in_the_source(name: str) -> None:
    component = COMPONENTS[name]
    known = {*component.calls}
    if name == "runtime":  # the syncer is a folder of it; of others the roles are in BY_LIBRARIES or TASK_LOGS_IN_S3
        known |= {*SYNCER, "sqs:GetQueueAttributes", "s3:PutObject"}
        known |= {f"logs:{operation}" for operation in ("CreateLogStream", "GetLogEvents", "PutLogEvents")}
        known |= {"iam:GetRole", "iam:SimulatePrincipalPolicy"}  # with IAM login: test_iam_login.py has the role
    assert operations(component.folders, component.services) - NO_CALLS == known


@pytest.mark.parametrize("name", COMPONENTS)
def test_a_components_role_allows_its_calls(name: str, stacks: dict[str, ResolvedStack]) -> None:
    component = COMPONENTS[name]
    stack = stacks["ELASTICACHE" if name == "runtime" else "SQS"]
    for role in component.roles:
        statements = stack.policy(f"roles_{role}")
        denied = [request.action for request in component.calls.values() if not allowed(statements, request)]
        assert denied == [], role


def test_roles_allow_what_libraries_call(stacks: dict[str, ResolvedStack]) -> None:
    denied = [
        (role, request.action)
        for role, request in BY_LIBRARIES
        if not allowed(stacks["SQS"].policy(f"roles_{role}"), request)
    ]
    assert denied == []


def test_task_logs_in_s3_are_written_by_workers_and_read_by_the_web_server() -> None:
    stack = ResolvedStack(stack_of(logging_configuration={"task_logs": {"destination": "S3"}}))
    denied = [
        (role, request) for role, request in TASK_LOGS_IN_S3 if not allowed(stack.policy(f"roles_{role}"), request)
    ]
    assert denied == []
    for role in ("worker", "triggerer"):
        for action in ("s3:GetObject", "s3:DeleteObject", "s3:ListBucket"):
            request = Request(action, LOG_BUCKET if action == "s3:ListBucket" else f"{LOG_BUCKET}/dag_id=a/1.log")
            assert not allowed(stack.policy(f"roles_{role}"), request), f"{role}: {action}"
        assert not allowed(stack.policy(f"roles_{role}"), Request("logs:PutLogEvents", LOG_STREAM)), role


def test_no_task_reads_a_secret_by_itself(stacks: dict[str, ResolvedStack]) -> None:
    """ECS reads secrets with the execution role; code in a task has only its task role."""
    secret = f"arn:aws:secretsmanager:us-east-1:{ACCOUNT}:secret:openmwaa-example/fernet-key-AbCdEf"
    request = Request("secretsmanager:GetSecretValue", secret)
    for kind, stack in stacks.items():
        for name in stack.stack.resources("aws_iam_role_policy"):
            if not name.endswith("_execution"):
                assert not allowed(stack.policy(name), request), f"{kind}: {name}"


# The page that lists what a user of a command needs.
PAGES = {
    "ecs:DescribeServices": "pipeline.md",
    "ecs:DescribeTaskDefinition": "pipeline.md",
    "ecs:DescribeTasks": "pipeline.md",
    "ecs:ListTasks": "pipeline.md",
    "ecs:UpdateService": "rotate-secrets.md",
    "logs:FilterLogEvents": "explain.md",
    "logs:GetLogEvents": "pipeline.md",
    "rds:DescribeDBInstances": "sleep.md",
    "s3:DeleteObjects": "dags.md",
    "s3:HeadObject": "dags.md",
    "s3:PutObject": "dags.md",
    "secretsmanager:CreateSecret": "connections-and-variables.md",
    "secretsmanager:DescribeSecret": "rotate-secrets.md",
    "secretsmanager:GetSecretValue": "rotate-secrets.md",
    "secretsmanager:ListSecrets": "connections-and-variables.md",
    "secretsmanager:PutSecretValue": "rotate-secrets.md",
    "secretsmanager:UpdateSecretVersionStage": "rotate-secrets.md",
    "ssm:DeleteParameters": "destroy.md",
    "ssm:GetParameter": "scale-by-hand.md",
    "ssm:GetParameterHistory": "scale-by-hand.md",
    "ssm:GetParameters": "scale-by-hand.md",
    "ssm:PutParameter": "scale-by-hand.md",
}


def test_the_documentation_has_every_call_of_the_commands() -> None:
    found = operations(
        ("openmwaa/operate", "openmwaa/cli", "openmwaa/plan"),
        ("ecs", "logs", "rds", "s3", "secretsmanager", "sqs", "ssm"),
    )
    assert found == set(PAGES)
    for action, page in PAGES.items():
        text = (ROOT / "docs" / "how-to" / page).read_text(encoding="utf-8")
        assert re.search(rf"\b{action}\b", text), f"{page} does not name {action}"
