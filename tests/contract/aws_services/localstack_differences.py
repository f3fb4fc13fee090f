# SPDX-License-Identifier: Apache-2.0
"""The known wrong answers of LocalStack's last community release. Each is a row of docs/reference/emulators.md."""

import json
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
from botocore.exceptions import ClientError

Client = Callable[[str], Any]


@dataclass(frozen=True)
class Difference:
    """A call that LocalStack answers in another way than AWS."""

    name: str
    call: str
    aws: str
    """AWS's answer, by its documentation."""
    localstack: str
    observe: Callable[[Client, str], str]
    """Makes the call for a unique name, and describes the answer in the words of `aws` or `localstack`."""


def _answer_or_error(call: Callable[[], str]) -> str:
    try:
        return call()
    except ClientError as error:
        return f"error {error.response['ResponseMetadata']['HTTPStatusCode']}"


def _ecs(client: Client, name: str) -> str:
    return _answer_or_error(lambda: f"status `{client('ecs').create_cluster(clusterName=name)['cluster']['status']}`")


def _metric_math(client: Client, name: str) -> str:
    cloudwatch, now = client("cloudwatch"), datetime.now(UTC)
    at = now.replace(second=0, microsecond=0) - timedelta(minutes=2)
    cloudwatch.put_metric_data(Namespace=name, MetricData=[{"MetricName": "a", "Timestamp": at, "Value": 7.0}])
    queries = [
        {
            "Id": "a",
            "MetricStat": {"Metric": {"Namespace": name, "MetricName": "a"}, "Period": 60, "Stat": "Sum"},
            "ReturnData": False,
        },
        {"Id": "b", "Expression": "a*2"},
    ]

    def read() -> str:
        answer = cloudwatch.get_metric_data(
            MetricDataQueries=queries, StartTime=at - timedelta(minutes=5), EndTime=now + timedelta(minutes=5)
        )
        return f"values {[result['Values'] for result in answer['MetricDataResults']]}"

    return _answer_or_error(read)


def _role(client: Client, name: str, *statements: dict[str, str]) -> str:
    iam = client("iam")
    trust = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}
    arn: str = iam.create_role(
        RoleName=name, AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": trust})
    )["Role"]["Arn"]
    if statements:
        policy = json.dumps({"Version": "2012-10-17", "Statement": statements})
        iam.put_role_policy(RoleName=name, PolicyName="policy", PolicyDocument=policy)
    return arn


QUEUE = "arn:aws:sqs:us-east-1:000000000000:queue"


def _simulated(client: Client, role: str) -> str:
    answer = client("iam").simulate_principal_policy(
        PolicySourceArn=role, ActionNames=["sqs:SendMessage"], ResourceArns=[QUEUE]
    )
    return f"`{answer['EvaluationResults'][0]['EvalDecision']}`"


def _allowed_by_a_pattern(client: Client, name: str) -> str:
    return _simulated(client, _role(client, name, {"Effect": "Allow", "Action": "sqs:*", "Resource": "*"}))


def _denied_by_a_statement(client: Client, name: str) -> str:
    deny = {"Effect": "Deny", "Action": "sqs:SendMessage", "Resource": QUEUE}
    return _simulated(client, _role(client, name, deny, deny | {"Effect": "Allow"}))


def _presigned_identity(client: Client, name: str) -> str:
    sts = client("sts")
    given = sts.assume_role(RoleArn=_role(client, name), RoleSessionName="someone")["Credentials"]
    assumed = boto3.client(
        "sts",
        endpoint_url=sts.meta.endpoint_url,
        region_name=sts.meta.region_name,
        aws_access_key_id=given["AccessKeyId"],
        aws_secret_access_key=given["SecretAccessKey"],
        aws_session_token=given["SessionToken"],
    )
    url = assumed.generate_presigned_url("get_caller_identity", HttpMethod="GET")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=60) as response:
            answer = response.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return f"error {error.code}"
    if f"assumed-role/{name}/someone" in answer:
        return "the role's session"
    return "the account's root" if ":root" in answer else answer


def _user_of_a_write(client: Client, name: str) -> str:
    ssm = client("ssm")
    ssm.put_parameter(Name=f"/{name}", Value="1", Type="String")
    (written,) = ssm.get_parameter_history(Name=f"/{name}")["Parameters"]
    user: str = written["LastModifiedUser"]
    return "the caller's ARN" if user.startswith("arn:aws:") else f"`{user}`"


DIFFERENCES = (
    Difference("ECS", "ECS, all calls: they need a licence", "status `ACTIVE`", "error 501", _ecs),
    Difference(
        "metric math", "CloudWatch `GetMetricData`, an expression", "values [[14.0]]", "error 500", _metric_math
    ),
    Difference(
        "pattern of a policy",
        "IAM `SimulatePrincipalPolicy`, allowed by a pattern",
        "`allowed`",
        "`explicitDeny`",
        _allowed_by_a_pattern,
    ),
    Difference(
        "deny of a policy",
        "IAM `SimulatePrincipalPolicy`, allowed and denied",
        "`explicitDeny`",
        "`allowed`",
        _denied_by_a_statement,
    ),
    Difference(
        "presigned identity",
        "STS `GetCallerIdentity`, presigned by an assumed role",
        "the role's session",
        "the account's root",
        _presigned_identity,
    ),
    Difference(
        "user of a write",
        "SSM `GetParameterHistory`, the user of a write",
        "the caller's ARN",
        "`N/A`",
        _user_of_a_write,
    ),
)
