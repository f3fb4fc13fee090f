# SPDX-License-Identifier: Apache-2.0
"""The policies of a synthesised stack, with all references resolved."""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from openmwaa.config.regions import region_table
from tests.support.stack import Json, Stack

ACCOUNT = "123456789012"
KEY_ID = "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee"
_REFERENCE = re.compile(r"\$\{(data\.\w+|\w+)\.([\w-]+)\.([\w.\[\]]+)\}")
# What Secrets Manager adds to a secret's name.
_SUFFIX = "AbCdEf"


class ResolvedStack:
    """A stack whose ARNs are known."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        (provider,) = stack.document["provider"]["aws"]
        self.region: str = provider["region"]
        self.partition = region_table().partitions[self.region]

    def policy(self, role: str) -> list[Json]:
        """The statements of a role's own policy, resolved."""
        return [self.resolved(statement) for statement in self.stack.role_policy(role)]

    def resolved(self, value: Any) -> Any:
        """The value with every reference replaced."""
        if isinstance(value, dict):
            return {key: self.resolved(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.resolved(item) for item in value]
        return _REFERENCE.sub(self._referred, value) if isinstance(value, str) else value

    def arn(self, service: str, resource: str) -> str:
        """An ARN of this account and Region."""
        return f"arn:{self.partition}:{service}:{self.region}:{ACCOUNT}:{resource}"

    def _referred(self, match: re.Match[str]) -> str:
        kind, name, attribute = match.groups()
        if kind.startswith("data."):
            suffix = "amazonaws.com.cn" if self.partition == "aws-cn" else "amazonaws.com"
            return {"partition": self.partition, "account_id": ACCOUNT, "dns_suffix": suffix}[attribute]
        resource = self.stack.resources(kind)[name]
        if kind == "aws_secretsmanager_secret_version":
            return str(self.resolved(resource["secret_id"]))
        if "master_user_secret" in attribute:
            return self.arn("secretsmanager", f"secret:rds!cluster-{KEY_ID}-{_SUFFIX}")
        if kind not in _ARNS or attribute not in {"arn", "id"}:
            raise KeyError(f"no value is known for {match[0]}")
        return _ARNS[kind](self, resource)


def _secret_name(secret: Json) -> str:
    # Terraform adds 26 characters to a prefix.
    return str(secret["name"] if "name" in secret else f"{secret['name_prefix']}{'0' * 26}")


_ARNS: Final[Mapping[str, Callable[[ResolvedStack, Json], str]]] = {
    "aws_cloudwatch_log_group": lambda to, resource: to.arn("logs", f"log-group:{resource['name']}"),
    "aws_ecr_repository": lambda to, resource: to.arn("ecr", f"repository/{resource['name']}"),
    "aws_ecs_cluster": lambda to, resource: to.arn("ecs", f"cluster/{resource['name']}"),
    "aws_elasticache_user": lambda to, resource: to.arn("elasticache", f"user:{resource['user_id']}"),
    "aws_kms_key": lambda to, _: to.arn("kms", f"key/{KEY_ID}"),
    "aws_s3_bucket": lambda to, resource: f"arn:{to.partition}:s3:::{to.resolved(resource['bucket'])}",
    "aws_secretsmanager_secret": lambda to, resource: to.arn(
        "secretsmanager", f"secret:{_secret_name(resource)}-{_SUFFIX}"
    ),
    "aws_sns_topic": lambda to, resource: to.arn("sns", resource["name"]),
    "aws_sqs_queue": lambda to, resource: to.arn("sqs", resource["name"]),
}


def characters(statements: list[Json]) -> int:
    """The size of a policy as IAM counts it, which leaves white space out."""
    return len(json.dumps({"Version": "2012-10-17", "Statement": statements}, separators=(",", ":")))


def statements_of(stack: Stack) -> dict[tuple[str, str], Json]:
    """Every statement of a stack's policies by policy and Sid."""
    found = {}
    for name, policy in stack.policies.items():
        for statement in policy["Statement"]:
            key = (name, statement["Sid"])
            assert key not in found, f"{name} has {statement['Sid']} twice"
            found[key] = statement
    return found
