# SPDX-License-Identifier: Apache-2.0
"""Every value of a request against the service's own rule: botocore's shapes, and documented limits as rows."""

import functools
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import botocore.session
from botocore.model import ListShape, MapShape, ServiceModel, Shape, StructureShape

from openmwaa.config.aws_limits import MAX_ROLE_POLICY, MAX_TASK_DEFINITION

_SERVICES: Final = {
    "CloudWatch Logs": "logs",
    "Cognito Identity Provider": "cognito-idp",
    "Elastic Load Balancing v2": "elbv2",
    "S3 Control": "s3control",
}
_SPACES: Final = r" \\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000"
_TRANSLATED: Final = (
    (r"\\p\{L\}", r"\\w"),  # Python's `\w` is `_` and Unicode's letters and numbers
    (r"\\p\{N\}", r"\\w"),
    (r"\\p\{Z\}", _SPACES),
    (r"\\p\{Print\}", "[ -~]"),
    (r"\\p\{ASCII\}", r"[\\x00-\\x7f]"),
    (r"\\uD800\\uDC00-\\uDBFF\\uDFFF", r"\\U00010000-\\U0010ffff"),  # of UTF-16
    (r"(\\w)-(?=[_/\\])", r"\1\\-"),
)
"""Syntax of Java's patterns, and the same in Python's."""


@dataclass(frozen=True)
class WrongShape:
    """A rule of botocore that AWS does not apply."""

    call: str
    member: str
    reason: str


WRONG_SHAPES: Final[tuple[WrongShape, ...]] = ()


@dataclass(frozen=True)
class Limit:
    """A documented rule that no shape has; `members` are the ends of paths, `most` counts characters or items."""

    service: str
    members: tuple[str, ...]
    source: str
    pattern: str = ""
    most: int | None = None
    numbers: tuple[int, int] | None = None
    without_blanks: bool = False

    def broken(self, value: Any) -> str:
        """Return the rule if the value breaks it, or an empty text."""
        sized = re.sub(r"\s", "", value) if self.without_blanks else value
        if self.most is not None and len(sized) > self.most:
            return f"at most {self.most}, is {len(sized)} ({self.source})"
        if self.pattern and not re.fullmatch(self.pattern, value):
            return f"pattern {self.pattern} ({self.source})"
        if self.numbers and not self.numbers[0] <= int(value) <= self.numbers[1]:
            return f"{self.numbers[0]} to {self.numbers[1]} ({self.source})"
        return ""


_LB: Final = r"(?!internal-)[A-Za-z0-9]([A-Za-z0-9-]{0,30}[A-Za-z0-9])?"
_RDS: Final = r"[A-Za-z](?!.*--)[A-Za-z0-9-]{0,62}(?<!-)"
_GROUP: Final = r"[A-Za-z0-9 ._:/()#,@\[\]+=&;{}!$*-]{1,255}"
_BUCKET: Final = r"(?!xn--|sthree-|amzn-s3-demo-)(?!.*\.\.)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](?<!-s3alias)(?<!--ol-s3)"
_ECS: Final = r"[A-Za-z0-9_-]{1,255}"
LIMITS: Final = (
    Limit("IAM", ("AssumeRolePolicyDocument",), "IAM user guide, quotas", most=2048, without_blanks=True),
    Limit("KMS", ("CreateKey.Policy",), "KMS developer guide, limits", most=32_768),
    Limit("Elastic Load Balancing v2", ("CreateLoadBalancer.Name",), "elbv2 API, CreateLoadBalancer", _LB),
    Limit("Elastic Load Balancing v2", ("CreateTargetGroup.Name",), "elbv2 API, CreateTargetGroup", _LB),
    Limit("EC2", ("GroupName",), "EC2 API, CreateSecurityGroup", rf"(?!sg-){_GROUP}"),
    Limit("EC2", ("CreateSecurityGroup.Description",), "EC2 API, CreateSecurityGroup", _GROUP),
    Limit("EC2", ("IpRanges[].Description",), "EC2 API, IpRange", _GROUP.replace("{1,", "{0,")),
    Limit("EC2", ("UserIdGroupPairs[].Description",), "EC2 API, UserIdGroupPair", _GROUP.replace("{1,", "{0,")),
    Limit("EC2", ("PrefixListIds[].Description",), "EC2 API, PrefixListId", _GROUP.replace("{1,", "{0,")),
    Limit("EC2", ("PolicyDocument",), "PrivateLink guide, endpoint policies", most=20_480),
    Limit("EC2", ("Tags[].Key",), "EC2 user guide, tag restrictions", r"(?!(?i:aws:)).{1,128}"),
    Limit("EC2", ("Tags[].Value",), "EC2 user guide, tag restrictions", r"(?s:.{0,256})"),
    Limit("RDS", ("DBClusterIdentifier", "DBInstanceIdentifier"), "RDS API, CreateDBInstance", _RDS),
    Limit("RDS", ("DBSubnetGroupName",), "RDS API, CreateDBSubnetGroup", r"[A-Za-z0-9 ._-]{1,255}"),
    Limit(
        "RDS",
        ("DBParameterGroupName", "DBClusterParameterGroupName"),
        "RDS API, CreateDBParameterGroup",
        _RDS.replace("62", "254"),
    ),
    Limit("ElastiCache", ("ReplicationGroupId",), "ElastiCache API", r"[a-z](?!.*--)[a-z0-9-]{0,39}(?<!-)"),
    Limit("ElastiCache", ("UserId", "UserGroupId"), "ElastiCache API", r"[A-Za-z](?!.*--)[A-Za-z0-9-]{0,39}(?<!-)"),
    Limit("ElastiCache", ("CacheSubnetGroupName",), "ElastiCache API", r"[a-z0-9-]{1,255}"),
    Limit("ElastiCache", ("CacheParameterGroupName",), "ElastiCache API", r"[A-Za-z](?!.*--)[A-Za-z0-9-]{0,254}(?<!-)"),
    Limit("SQS", ("QueueName",), "SQS API, CreateQueue", r"[A-Za-z0-9_-]{1,80}"),
    Limit("SQS", ("Attributes.VisibilityTimeout",), "SQS API, CreateQueue", numbers=(0, 43_200)),
    Limit("SQS", ("Attributes.MessageRetentionPeriod",), "SQS API, CreateQueue", numbers=(60, 1_209_600)),
    Limit("SQS", ("Attributes.ReceiveMessageWaitTimeSeconds",), "SQS API, CreateQueue", numbers=(0, 20)),
    Limit("SQS", ("Attributes.KmsDataKeyReusePeriodSeconds",), "SQS API, CreateQueue", numbers=(60, 86_400)),
    Limit("SNS", ("CreateTopic.Name",), "SNS API, CreateTopic", r"[A-Za-z0-9_-]{1,256}"),
    Limit("S3", ("CreateBucket.Bucket",), "S3 user guide, bucketnamingrules", _BUCKET),
    Limit("ECS", ("family", "containerDefinitions[].name"), "ECS API, RegisterTaskDefinition", _ECS),
    Limit("ECS", ("serviceName", "clusterName"), "ECS API, CreateService, CreateCluster", _ECS),
    Limit("ECS", ("containerDefinitions[].image",), "ECS API, ContainerDefinition", r"[A-Za-z0-9._/:@-]{1,255}"),
    Limit("CloudWatch", ("DashboardName",), "CloudWatch API, PutDashboard", r"[A-Za-z0-9_-]{1,255}"),
    Limit("Secrets Manager", ("CreateSecret.Name",), "Secrets Manager API", r"[A-Za-z0-9/_+=.@-]{1,512}"),
)
MAX_TAGS: Final = 50
_SHOWN: Final = 80


def violations(requests: Iterable[tuple[str, Any]]) -> list[str]:
    """Return `SERVICE:Operation parameter value rule` for every value that breaks a rule."""
    found: set[str] = set()
    inline: dict[str, dict[str, int]] = defaultdict(dict)
    for call, parameters in requests:
        service, _, operation = call.partition(":")
        found.update(f"{call} {row}" for row in _of_shape(call, input_shape(service, operation), parameters, ""))
        if call == "IAM:PutRolePolicy":
            policy = re.sub(r"\s", "", parameters["PolicyDocument"])
            inline[parameters["RoleName"]][parameters["PolicyName"]] = len(policy)
        if call == "ECS:RegisterTaskDefinition":
            sized = {name: value for name, value in parameters.items() if name != "tags"}
            size = len(json.dumps(sized, separators=(",", ":")).encode())
            if size > MAX_TASK_DEFINITION:
                found.add(f"{call} {parameters['family']} at most {MAX_TASK_DEFINITION} bytes, is {size} (ECS quotas)")
    for role, sizes in inline.items():
        if sum(sizes.values()) > MAX_ROLE_POLICY:
            found.add(f"IAM:PutRolePolicy {role} at most {MAX_ROLE_POLICY}, is {sum(sizes.values())} (IAM quotas)")
    return sorted(found)


def _of_shape(call: str, shape: Shape | None, value: Any, path: str) -> Iterator[str]:
    if shape is None or value is None:
        return
    for rule in filter(None, (*_of_botocore(call, shape, value, path), *_documented(call, value, path))):
        shown = "(secret)" if shape.metadata.get("sensitive") or "Secret" in path else repr(value)[:_SHOWN]
        yield f"{path} {shown} {rule}"
    yield from _of_members(call, shape, value, path)


def _of_members(call: str, shape: Shape, value: Any, path: str) -> Iterator[str]:
    if isinstance(shape, StructureShape) and isinstance(value, Mapping):
        for name in shape.metadata.get("required", ()):
            if value.get(name) is None:
                yield f"{path}.{name}".lstrip(".") + " is required"
        for name, item in value.items():
            yield from _of_shape(call, shape.members.get(name), item, f"{path}.{name}".lstrip("."))
    elif isinstance(shape, ListShape) and isinstance(value, list):
        for item in value:
            yield from _of_shape(call, shape.member, item, f"{path}[]")
    elif isinstance(shape, MapShape) and isinstance(value, Mapping):
        for key, item in value.items():
            yield from _of_shape(call, shape.key, key, f"{path}(key)")
            yield from _of_shape(call, shape.value, item, f"{path}.{key}")


def _of_botocore(call: str, shape: Shape, value: Any, path: str) -> Iterator[str]:
    if any((row.call, row.member) == (call, path) for row in WRONG_SHAPES):
        return
    own: Mapping[str, Any] = shape.metadata
    size = len(value) if isinstance(value, str | list | dict) else value
    if "min" in own and size < own["min"]:
        yield f"at least {own['min']}, is {size} (botocore)"
    if "max" in own and size > own["max"]:
        yield f"at most {own['max']}, is {size} (botocore)"
    if "enum" in own and value not in own["enum"]:
        yield f"one of {', '.join(own['enum'])[:_SHOWN]} (botocore)"
    if "pattern" in own and isinstance(value, str) and not pattern(own["pattern"]).fullmatch(value):
        yield f"pattern {own['pattern']} (botocore)"


def _documented(call: str, value: Any, path: str) -> Iterator[str]:
    service, _, operation = call.partition(":")
    full = f".{operation}.{path}"
    for limit in LIMITS:
        if limit.service == service and any(full.endswith(f".{member}") for member in limit.members):
            yield limit.broken(value)
    if path.lower().rpartition(".")[2] in ("tags", "taglist", "tagset") and isinstance(value, list | dict):
        keys = (
            [next((tag[name] for name in ("Key", "key", "TagKey") if name in tag), "") for tag in value if tag]
            if (isinstance(value, list) and all(isinstance(tag, dict) for tag in value))
            else list(value)
        )
        if len(keys) > MAX_TAGS:
            yield f"at most {MAX_TAGS} tags, is {len(keys)} (Tagging AWS Resources user guide)"
        if reserved := [key for key in keys if key.lower().startswith("aws:")]:
            yield f"{reserved[0]} is reserved (Tagging AWS Resources user guide)"


@functools.cache
def pattern(smithy: str) -> re.Pattern[str]:
    """Return a pattern of a shape for Python."""
    for java, python in _TRANSLATED:
        smithy = re.sub(java, python, smithy)
    return re.compile(smithy)


def service_name(service: str) -> str:
    """Return botocore's name of a service that the AWS SDK names so."""
    return _SERVICES.get(service, service.lower().replace(" ", "-" if service.startswith("Application") else ""))


@functools.cache
def _model(service: str) -> ServiceModel:
    return botocore.session.get_session().get_service_model(service_name(service))


def input_shape(service: str, operation: str) -> StructureShape | None:
    """Return the input of an operation."""
    return _model(service).operation_model(operation).input_shape
