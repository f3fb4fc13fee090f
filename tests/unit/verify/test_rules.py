# SPDX-License-Identifier: Apache-2.0
"""A value that breaks a rule of its service is found, by every kind of rule; and values at the bounds are none."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.model import ListShape, Shape, StructureShape

from tests.support.recorded_calls import RECORDING
from tools.verify.rules import LIMITS, input_shape, pattern, violations

TAGS = [{"Key": f"k{number}", "Value": "v"} for number in range(51)]
BROKEN: dict[str, tuple[str, dict[str, Any], str]] = {
    "a pattern": ("IAM:CreateRole", {"RoleName": "a b", "AssumeRolePolicyDocument": "{}"}, "RoleName 'a b' pattern"),
    "a long text": (
        "IAM:CreateRole",
        {"RoleName": "a" * 65, "AssumeRolePolicyDocument": "{}"},
        "at most 64, is 65 (botocore)",
    ),
    "an empty text": ("CloudWatch Logs:CreateLogGroup", {"logGroupName": ""}, "at least 1, is 0 (botocore)"),
    "a number": (
        "CloudWatch:PutMetricAlarm",
        {"AlarmName": "a", "EvaluationPeriods": 0, "ComparisonOperator": "GreaterThanThreshold"},
        "EvaluationPeriods 0 at least 1",
    ),
    "an enum": ("CloudWatch Logs:CreateLogGroup", {"logGroupName": "a", "logGroupClass": "ODD"}, "one of STANDARD"),
    "a long list": (
        "CloudWatch:PutMetricAlarm",
        {
            "AlarmName": "a",
            "EvaluationPeriods": 1,
            "ComparisonOperator": "GreaterThanThreshold",
            "Dimensions": [{"Name": f"n{number}", "Value": "v"} for number in range(31)],
        },
        "Dimensions",
    ),
    "a long map": (
        "CloudWatch Logs:CreateLogGroup",
        {"logGroupName": "a", "tags": {f"k{number}": "v" for number in range(51)}},
        "at most 50, is 51 (botocore)",
    ),
    "a key of a map": (
        "CloudWatch Logs:CreateLogGroup",
        {"logGroupName": "a", "tags": {"a#b": "v"}},
        "tags(key) 'a#b' pattern",
    ),
    "a missing value": ("IAM:CreateRole", {"RoleName": "a"}, "AssumeRolePolicyDocument is required"),
    "a documented pattern": ("SQS:CreateQueue", {"QueueName": "q" * 81}, "(SQS API, CreateQueue)"),
    "a documented length": (
        "KMS:CreateKey",
        {"Policy": "p" * 32_769},
        "at most 32768, is 32769 (KMS developer guide",
    ),
    "a documented number": (
        "SQS:CreateQueue",
        {"QueueName": "q", "Attributes": {"VisibilityTimeout": "43201"}},
        "0 to 43200",
    ),
    "too many tags": ("ECR:CreateRepository", {"repositoryName": "aa", "tags": TAGS}, "at most 50 tags, is 51"),
    "a reserved tag": (
        "ECR:CreateRepository",
        {"repositoryName": "aa", "tags": [{"Key": "aws:x", "Value": "v"}]},
        "aws:x is reserved",
    ),
    "a nested text": (
        "EC2:CreateTags",
        {"Resources": ["vpc-1"], "Tags": [{"Key": "k" * 129, "Value": "v"}]},
        "Tags[].Key",
    ),
    "a task definition": (
        "ECS:RegisterTaskDefinition",
        {"family": "f", "containerDefinitions": [{"name": "n", "image": "i", "command": ["x" * 65_536]}]},
        "at most 65536 bytes",
    ),
}


@pytest.mark.parametrize(("call", "parameters", "rule"), BROKEN.values(), ids=list(BROKEN))
def test_a_broken_rule_is_found(call: str, parameters: dict[str, Any], rule: str) -> None:
    found = violations([(call, parameters)])
    assert all(row.startswith(call) for row in found)
    assert any(rule in row for row in found)


def test_a_role_has_at_most_10240_characters_in_all_its_policies() -> None:
    def policy(name: str, characters: int) -> tuple[str, dict[str, str]]:
        return "IAM:PutRolePolicy", {"RoleName": "r", "PolicyName": name, "PolicyDocument": "x" * characters + " \n"}

    assert violations([policy("a", 5120), policy("b", 5120)]) == []
    assert violations([policy("a", 5120), policy("a", 5121)]) == []
    (found,) = violations([policy("a", 5120), policy("b", 5121)])
    assert found == "IAM:PutRolePolicy r at most 10240, is 10241 (IAM quotas)"


def test_letters_of_any_language_are_in_tags() -> None:
    assert pattern(r"([\p{L}\p{Z}\p{N}_.:/=+\-@]*)").fullmatch("é漢 \u3000٣_.:/=+-@")
    assert not pattern(r"([\p{L}\p{Z}\p{N}_.:/=+\-@]*)").fullmatch("a\tb")


def test_a_secret_is_not_in_the_result() -> None:
    (found,) = violations([("Secrets Manager:PutSecretValue", {"SecretId": "a", "SecretString": "s" * 65_537})])
    assert "sss" not in found
    assert "SecretString (secret) at most 65536, is 65537" in found


def _paths(shape: Shape, path: str, depth: int) -> Iterator[str]:
    yield path
    if not depth:
        return
    if isinstance(shape, StructureShape):
        for name, member in shape.members.items():
            yield from _paths(member, f"{path}.{name}", depth - 1)
    elif isinstance(shape, ListShape):
        yield from _paths(shape.member, f"{path}[]", depth)


def test_every_documented_limit_is_of_a_member_that_exists() -> None:
    """A row whose member has another name in botocore would check nothing."""
    known: dict[str, set[str]] = {}
    for call in {call for calls in RECORDING.values() for call in calls}:
        service, _, operation = call.partition(":")
        if shape := input_shape(service, operation):
            known.setdefault(service, set()).update(_paths(shape, f".{operation}", 5))
    assert [
        (limit.service, member)
        for limit in LIMITS
        for member in limit.members
        if not any(
            path.endswith("." + re.sub(r"(?<=Attributes)[.].*", "", member)) for path in known.get(limit.service, ())
        )
    ] == []
