# SPDX-License-Identifier: Apache-2.0
"""What each role may do, by IAM's policy simulator: one resource per call, because emulators answer only the first.

The simulator reads no resource policies; those of key, bucket, queues and topic have tests of their own. Its calls have
no context, and a condition on a missing context key denies. Rows that depend on one are denied here and allowed in
`WITH_CONTEXT`.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import boto3
import pytest

from openmwaa.config.environment import Environment
from tests.support.emulator import find_emulator, running_emulator
from tests.support.environments import LEAST
from tests.support.iam import ACCOUNT, KEY_ID, ResolvedStack
from tests.support.iam_evaluation import holds
from tests.support.stack import Json, Stack
from tests.support.synthesis import stack_document

pytestmark = pytest.mark.emulated

FLEETS = {"default": {"queues": ["default"]}, "big": {"queues": ["heavy"]}}
ECS, SQS, LOGS, S3 = (
    f"arn:aws:ecs:us-east-1:{ACCOUNT}",
    f"arn:aws:sqs:us-east-1:{ACCOUNT}",
    "arn:aws:logs",
    "arn:aws:s3",
)
KEY = f"arn:aws:kms:us-east-1:{ACCOUNT}:key/{KEY_ID}"
SERVICE, TASK = f"{ECS}:service/openmwaa-example", f"{ECS}:task/openmwaa-example/0123456789abcdef"
QUEUE, BUCKET = f"{SQS}:airflow-celery-example-default", f"{S3}:::openmwaa-example-us-east-1-{ACCOUNT}"
GROUP = f"{LOGS}:us-east-1:{ACCOUNT}:log-group:airflow-example"
SECRET = f"arn:aws:secretsmanager:us-east-1:{ACCOUNT}:secret:openmwaa-example"
CONNECTIONS = f"arn:aws:secretsmanager:us-east-1:{ACCOUNT}:secret:airflow/connections"
FERNET = f"{SECRET}/fernet-key-{'0' * 26}-AbCdEf"
USER = f"arn:aws:iam::{ACCOUNT}:user/any/path/bob"
ORDERS = f"arn:aws:ssm:us-east-1:{ACCOUNT}:parameter/openmwaa/example/scaler"
OTHER_ENVIRONMENT = {
    "queue": f"{SQS}:airflow-celery-example-two-default",
    "service": f"{ECS}:service/openmwaa-example-two/worker-default-a",
    "task": f"{ECS}:task/openmwaa-example-two/0123456789abcdef",
    "bucket": f"{S3}:::openmwaa-example-two-us-east-1-{ACCOUNT}",
    "logs": f"{LOGS}:us-east-1:{ACCOUNT}:log-group:airflow-example-two-Task:log-stream:x",
    "secret": f"arn:aws:secretsmanager:us-east-1:{ACCOUNT}:secret:openmwaa-example-two/celery-database-password-AbCdEf",
}


class Row(NamedTuple):
    """May `role` do `action` to `resource`?"""

    role: str
    action: str
    resource: str
    allowed: bool


ROWS = [
    Row("scaler", "ecs:UpdateService", f"{SERVICE}/worker-default-a", True),
    Row("scaler", "ecs:UpdateService", f"{SERVICE}/worker-big-b", True),
    Row("scaler", "ecs:DescribeServices", f"{SERVICE}/worker-big-b", True),
    Row("scaler", "ecs:UpdateService", f"{SERVICE}/scheduler", False),
    Row("scaler", "ecs:UpdateService", f"{SERVICE}/scaler", False),
    Row("scaler", "ecs:UpdateService", f"{SERVICE}/worker-unknown-a", False),
    Row("scaler", "ecs:UpdateService", OTHER_ENVIRONMENT["service"], False),
    Row("scaler", "ecs:DeleteService", f"{SERVICE}/worker-default-a", False),
    Row("scaler", "ecs:CreateService", f"{SERVICE}/worker-default-a", False),
    Row("scaler", "ecs:StopTask", TASK, False),
    Row("scaler", "ecs:RunTask", f"{ECS}:task-definition/openmwaa-example-worker-default:1", False),
    Row("scaler", "ecs:UpdateTaskProtection", TASK, False),
    Row("scaler", "ecs:ExecuteCommand", TASK, False),
    Row("scaler", "sqs:GetQueueAttributes", QUEUE, True),
    Row("scaler", "sqs:ReceiveMessage", QUEUE, False),
    Row("scaler", "sqs:SendMessage", QUEUE, False),
    Row("scaler", "ssm:GetParameters", f"{ORDERS}/default", True),
    Row("scaler", "ssm:PutParameter", f"{ORDERS}/default", True),
    Row("scaler", "ssm:PutParameter", ORDERS.replace("/example/", "/example-two/") + "/default", False),
    Row("scaler", "ssm:PutParameter", ORDERS.replace("/scaler", "/sleep"), False),
    Row("web_server", "ssm:PutParameter", f"{ORDERS}/default", False),
    Row("dag_processor", "ssm:PutParameter", f"{ORDERS}/default", False),
    Row("scaler", "ssm:GetParameters", ORDERS.replace("/example/", "/example-two/") + "/default", False),
    Row("scaler", "s3:GetObject", f"{BUCKET}/dags/one.py", False),
    Row("scaler", "iam:PassRole", f"arn:aws:iam::{ACCOUNT}:role/any", False),
    Row("worker", "sqs:ReceiveMessage", QUEUE, True),
    Row("worker", "sqs:DeleteMessage", f"{SQS}:airflow-celery-example-heavy", True),
    Row("worker", "sqs:PurgeQueue", QUEUE, False),
    Row("worker", "sqs:ReceiveMessage", f"{SQS}:airflow-celery-example-dead-letters", False),
    Row("worker", "sqs:ReceiveMessage", OTHER_ENVIRONMENT["queue"], False),
    Row("worker", "s3:GetObject", f"{BUCKET}/dags/one.py", True),
    Row("worker", "s3:ListBucket", BUCKET, True),
    Row("worker", "s3:PutObject", f"{BUCKET}/dags/one.py", False),
    Row("worker", "s3:GetObject", f"{OTHER_ENVIRONMENT['bucket']}/dags/one.py", False),
    Row("worker", "s3:ListAllMyBuckets", "*", False),
    Row("worker", "logs:PutLogEvents", f"{GROUP}-Task:log-stream:x", True),
    Row("worker", "logs:PutLogEvents", f"{GROUP}-Scaler:log-stream:x", False),
    Row("worker", "logs:PutLogEvents", OTHER_ENVIRONMENT["logs"], False),
    Row("worker", "logs:DeleteLogGroup", f"{GROUP}-Task", False),
    Row("worker", "ecs:UpdateTaskProtection", TASK, True),
    Row("worker", "ecs:UpdateTaskProtection", OTHER_ENVIRONMENT["task"], False),
    Row("worker", "ecs:UpdateService", f"{SERVICE}/worker-default-a", False),
    Row("worker", "ecs:StopTask", TASK, False),
    Row("worker", "secretsmanager:GetSecretValue", FERNET, False),
    Row("worker", "secretsmanager:GetSecretValue", f"{CONNECTIONS}/one-AbCdEf", True),
    Row("worker", "secretsmanager:GetSecretValue", f"{CONNECTIONS}-of-others/one-AbCdEf", False),
    Row("worker", "secretsmanager:PutSecretValue", f"{CONNECTIONS}/one-AbCdEf", False),
    Row("scheduler", "secretsmanager:GetSecretValue", f"{CONNECTIONS}/one-AbCdEf", False),
    Row("worker", "secretsmanager:GetSecretValue", f"{SECRET}/celery-database-password-AbCdEf", False),
    Row("worker", "ssm:PutParameter", f"{ORDERS}/default", False),
    Row("worker", "kms:Decrypt", KEY, False),
    Row("worker", "sts:AssumeRole", f"arn:aws:iam::{ACCOUNT}:role/openmwaa-example-us-east-1-scaler", False),
    Row("scheduler", "sqs:SendMessage", QUEUE, True),
    Row("scheduler", "sqs:ReceiveMessage", QUEUE, False),
    Row("scheduler", "sqs:DeleteMessage", QUEUE, False),
    Row("scheduler", "s3:GetObject", f"{BUCKET}/dags/one.py", False),
    Row("scheduler", "ecs:UpdateService", f"{SERVICE}/worker-default-a", False),
    Row("dag_processor", "s3:GetObject", f"{BUCKET}/dags/one.py", True),
    Row("dag_processor", "s3:PutObject", f"{BUCKET}/dags/one.py", False),
    Row("dag_processor", "sqs:SendMessage", QUEUE, False),
    Row("triggerer", "s3:GetObject", f"{BUCKET}/dags/one.py", True),
    Row("triggerer", "logs:PutLogEvents", f"{GROUP}-Task:log-stream:x", True),
    Row("triggerer", "logs:PutLogEvents", f"{GROUP}-Worker:log-stream:x", False),
    Row("web_server", "logs:GetLogEvents", f"{GROUP}-Task:log-stream:x", True),
    Row("web_server", "logs:PutLogEvents", f"{GROUP}-Task:log-stream:x", False),
    Row("web_server", "sqs:SendMessage", QUEUE, False),
    Row("web_server", "iam:SimulatePrincipalPolicy", USER, True),
    Row("web_server", "iam:SimulatePrincipalPolicy", USER.replace(ACCOUNT, "210987654321"), False),
    Row("web_server", "iam:PutUserPolicy", USER, False),
    Row("worker", "iam:SimulatePrincipalPolicy", USER, False),
    Row("scheduler", "iam:SimulatePrincipalPolicy", USER, False),
    Row("worker_execution", "secretsmanager:GetSecretValue", f"{SECRET}/celery-database-password-AbCdEf", True),
    Row("worker_execution", "secretsmanager:GetSecretValue", FERNET, False),
    Row("worker_execution", "secretsmanager:GetSecretValue", OTHER_ENVIRONMENT["secret"], False),
    Row(
        "worker_execution",
        "ecr:PutImage",
        f"arn:aws:ecr:us-east-1:{ACCOUNT}:repository/openmwaa-example/airflow",
        False,
    ),
    Row("scheduler_execution", "secretsmanager:GetSecretValue", FERNET, True),
    Row("web_server_execution", "secretsmanager:GetSecretValue", f"{SECRET}/api-secret-key-AbCdEf", True),
    Row("scheduler_execution", "secretsmanager:GetSecretValue", f"{SECRET}/api-secret-key-AbCdEf", False),
]

# The first may do nothing, which has a test of its own; AWS's own services take the others.
NOT_ASKED = {"execution_api", "flow_logs", "database_monitoring"}

VIA = "kms:ViaService"
COMPONENT = "aws:ResourceTag/openmwaa:component"
OWN_CLUSTER = {"ecs:cluster": f"{ECS}:cluster/openmwaa-example"}
WITH_CONTEXT: list[tuple[Row, Mapping[str, str]]] = [
    (Row("worker", "kms:Decrypt", KEY, True), {VIA: "sqs.us-east-1.amazonaws.com"}),
    (Row("worker", "kms:Decrypt", KEY, True), {VIA: "s3.us-east-1.amazonaws.com"}),
    # For connections that are encrypted with it: `GetSecretValue` is held to their prefixes.
    (Row("worker", "kms:Decrypt", KEY, True), {VIA: "secretsmanager.us-east-1.amazonaws.com"}),
    (Row("worker", "kms:Decrypt", KEY, False), {VIA: "rds.us-east-1.amazonaws.com"}),
    (Row("worker", "cloudwatch:PutMetricData", "*", True), {"cloudwatch:namespace": "mine"}),
    (Row("worker", "cloudwatch:PutMetricData", "*", False), {"cloudwatch:namespace": "openmwaa"}),
    (Row("worker", "cloudwatch:PutMetricData", "*", False), {"cloudwatch:namespace": "AmazonMWAA"}),
    (Row("scaler", "cloudwatch:PutMetricData", "*", True), {"cloudwatch:namespace": "openmwaa"}),
    (Row("scaler", "cloudwatch:PutMetricData", "*", False), {"cloudwatch:namespace": "AWS/ECS"}),
    (Row("scaler", "ecs:ListTasks", "*", True), {"ecs:cluster": f"{ECS}:cluster/openmwaa-example"}),
    (Row("scaler", "ecs:ListTasks", "*", False), {"ecs:cluster": f"{ECS}:cluster/openmwaa-example-two"}),
    (Row("scaler", "ecs:StopTask", TASK, True), OWN_CLUSTER | {COMPONENT: "worker"}),
    (Row("scaler", "ecs:StopTask", TASK, False), OWN_CLUSTER),
    (Row("scaler", "ecs:StopTask", TASK, False), OWN_CLUSTER | {COMPONENT: "scheduler"}),
    (Row("scaler", "ecs:StopTask", OTHER_ENVIRONMENT["task"], False), OWN_CLUSTER | {COMPONENT: "worker"}),
    (Row("scheduler", "kms:GenerateDataKey", KEY, True), {VIA: "sqs.us-east-1.amazonaws.com"}),
    (Row("scheduler", "kms:GenerateDataKey", KEY, False), {VIA: "s3.us-east-1.amazonaws.com"}),
    (Row("worker_execution", "kms:Decrypt", KEY, True), {VIA: "secretsmanager.us-east-1.amazonaws.com"}),
    (Row("worker_execution", "kms:Decrypt", KEY, False), {VIA: "s3.us-east-1.amazonaws.com"}),
]


@pytest.fixture(scope="module")
def applied() -> ResolvedStack:
    fields = {**LEAST, "control_plane": "SEPARATE", "fleets": FLEETS}
    return ResolvedStack(Stack(stack_document(Environment.model_validate(fields))))


@pytest.fixture(scope="module")
def iam() -> Iterator[Any]:
    with running_emulator(find_emulator(), services="iam,sts") as url:
        yield boto3.client(
            "iam", endpoint_url=url, region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test"
        )


@pytest.fixture(scope="module")
def roles(iam: Any, applied: ResolvedStack) -> dict[str, str]:
    """Every role of the stack with its policy, in the emulator: ARN by name."""
    made = {}
    for name, role in applied.stack.resources("aws_iam_role").items():
        trust = applied.resolved(applied.stack.local(role["assume_role_policy"]))
        answer = iam.create_role(RoleName=role["name"], AssumeRolePolicyDocument=written(trust["Statement"]))
        if policy := applied.policy(name):
            iam.put_role_policy(RoleName=role["name"], PolicyName="own", PolicyDocument=written(policy))
        made[name.removeprefix("roles_")] = answer["Role"]["Arn"]
    return made


def written(statements: list[Json]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def named(row: Row) -> str:
    return f"{row.role} {row.action} {row.resource.rpartition(':')[2]}"


def test_roles_may_do_their_work_and_nothing_else(iam: Any, roles: dict[str, str]) -> None:
    wrong = []
    for row in ROWS:
        answer = iam.simulate_principal_policy(
            PolicySourceArn=roles[row.role], ActionNames=[row.action], ResourceArns=[row.resource]
        )
        (result,) = answer["EvaluationResults"]
        allowed = result["EvalDecision"] == "allowed" and not result.get("MissingContextValues")
        if allowed != row.allowed:
            wrong.append(f"{named(row)} is {result['EvalDecision']}")
    assert not wrong, "\n".join(wrong)


def test_conditions_hold_roles_to_services_clusters_and_namespaces(iam: Any, applied: ResolvedStack) -> None:
    wrong = []
    for row, context in WITH_CONTEXT:
        policy = [bare(statement) for statement in applied.policy(f"roles_{row.role}") if holds(statement, context)]
        answer = iam.simulate_custom_policy(
            PolicyInputList=[written(policy)], ActionNames=[row.action], ResourceArns=[row.resource]
        )
        (result,) = answer["EvaluationResults"]
        if (result["EvalDecision"] == "allowed") != row.allowed:
            wrong.append(f"{named(row)} with {dict(context)} is {result['EvalDecision']}")
    assert not wrong, "\n".join(wrong)


def test_every_role_of_a_component_is_in_the_table(roles: dict[str, str]) -> None:
    tested = {row.role for row in ROWS}
    tasks = {name for name in roles if not name.endswith("_execution")} - NOT_ASKED
    assert not tasks - tested, f"no row states what {tasks - tested} may do"


def test_the_execution_api_may_do_nothing_in_aws(applied: ResolvedStack) -> None:
    assert not applied.policy("roles_execution_api")


def bare(statement: Json) -> Json:
    return {key: value for key, value in statement.items() if key != "Condition"}
