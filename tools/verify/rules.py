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
    "Application Auto Scaling": "application-autoscaling",
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
class Limit:
    """A documented rule that no shape has; `members` are ends of paths, `most` counts bytes.

    Without `source`, the text of the member in the API reference has the rule, as botocore's documentation does.
    """

    service: str
    members: str
    pattern: str = ""
    source: str = ""
    most: int | None = None
    numbers: tuple[int, int] | None = None
    without_blanks: bool = False

    def broken(self, value: Any, path: str) -> str:
        """Return the rule if the value breaks it, or an empty text."""
        source = self.source or f"{self.service} API, {path}"
        if self.most is not None:
            size = len((re.sub(r"\s", "", value) if self.without_blanks else value).encode())
            if size > self.most:
                return f"at most {self.most}, is {size} ({source})"
        if self.pattern and not re.fullmatch(self.pattern, str(value), re.ASCII):
            return f"pattern {self.pattern} ({source})"
        if self.numbers and not self.numbers[0] <= float(value) <= self.numbers[1]:
            return f"{self.numbers[0]} to {self.numbers[1]} ({source})"
        return ""


_ELB: Final = "Elastic Load Balancing v2"
_SCALING: Final = "Application Auto Scaling"
_WORD: Final = r"[\w-]{1,%d}"
_NAME: Final = r"[A-Za-z](?!.*--)[A-Za-z0-9-]{0,%d}(?<!-)"
_GROUP: Final = r"[A-Za-z0-9 ._:/()#,@\[\]+=&;{}!$*-]"
_TARGET_GROUP: Final = r"[A-Za-z0-9]([A-Za-z0-9-]{0,30}[A-Za-z0-9])?"
_BUCKET: Final = (
    r"(?!xn--|sthree-|amzn-s3-demo-|(\d+\.){3}\d+$)(?!.*\.\.)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]"
    r"(?<!-s3alias)(?<!--ol-s3)(?<!\.mrap)(?<!--x-s3)(?<!--table-s3)"
)
_DOMAIN: Final = r"(?=.{1,255}$)([^.]{1,63}\.)*[^.]{1,63}\.?"
_RETENTION: Final = "1|3|5|7|14|30|60|90|120|150|180|365|400|545|731|1096|1827|2192|2557|2922|3288|3653"
_PARAMETER: Final = r"(?!/?(?i:aws|ssm))([\w.-]+|(/[\w.-]+){1,15})"
_PARAMETER_ARN: Final = "arn:aws-us-gov:ssm:us-gov-east-1:111122223333:parameter/"
LIMITS: Final = (
    Limit("ACM", "RequestCertificate.DomainName", most=64),
    Limit(_SCALING, "RegisterScalableTarget.ResourceId PutScalingPolicy.ResourceId", r"service/[\w-]+/[\w-]+"),
    Limit(_SCALING, "RegisterScalableTarget.MinCapacity RegisterScalableTarget.MaxCapacity", r"\d+"),
    Limit("CloudFront", "DistributionConfig.Comment", most=128),
    Limit("CloudWatch", "PutDashboard.DashboardName", _WORD % 255),
    Limit("CloudWatch Logs", "PutRetentionPolicy.retentionInDays", _RETENTION),
    Limit("EC2", "CreateSecurityGroup.GroupName", rf"(?!sg-){_GROUP}{{1,255}}"),
    Limit("EC2", "CreateSecurityGroup.Description", rf"{_GROUP}{{1,255}}"),
    Limit("EC2", "IpRanges[].Description", rf"{_GROUP}{{0,255}}"),
    Limit("EC2", "UserIdGroupPairs[].Description PrefixListIds[].Description", rf"(?!.*&){_GROUP}{{0,255}}"),
    Limit("EC2", "PolicyDocument", source="PrivateLink guide, vpc-endpoints-access", most=20_480),
    Limit("EC2", "Tags[].Key", r"(?!(?i:aws:)).{1,127}"),
    Limit("EC2", "Tags[].Value", r"(?s:.{0,256})"),
    Limit("EC2", "CreateFlowLogs.MaxAggregationInterval", "60|600"),
    Limit("ECR", "CreateRepository.repositoryName", "[a-z].*"),
    Limit("ECS", "family containerDefinitions[].name volumes[].name serviceName clusterName", _WORD % 255),
    Limit("ECS", "containerDefinitions[].image", r"[\w./:#-]{1,255}(@sha256:[A-Fa-f0-9]{64})?"),
    Limit("ECS", "containerDefinitions[].healthCheck.interval", numbers=(5, 300)),
    Limit("ECS", "containerDefinitions[].healthCheck.timeout", numbers=(2, 60)),
    Limit("ECS", "containerDefinitions[].healthCheck.retries", numbers=(1, 10)),
    Limit("ECS", "containerDefinitions[].healthCheck.startPeriod", numbers=(0, 300)),
    Limit("ECS", "containerDefinitions[].stopTimeout", numbers=(0, 120)),
    Limit("ElastiCache", "ReplicationGroupId", _NAME % 39),
    Limit("ElastiCache", "UserId UserGroupId", _NAME % 39, "aws-cdk, pull request 36459: 40 characters"),
    Limit("ElastiCache", "CacheSubnetGroupName", r"[A-Za-z0-9-]{1,255}"),
    Limit("ElastiCache", "CacheParameterGroupName", _NAME % 254, "ElastiCache guide, ParameterGroups.Creating"),
    Limit(_ELB, "CreateLoadBalancer.Name", rf"(?!internal-){_TARGET_GROUP}"),
    Limit(_ELB, "CreateTargetGroup.Name", _TARGET_GROUP),
    Limit("IAM", "AssumeRolePolicyDocument", "", "IAM guide, reference_iam-quotas", 2048, without_blanks=True),
    Limit("KMS", "CreateAlias.AliasName", r"alias/(?!aws/).+"),
    Limit("KMS", "CreateKey.Policy PutKeyPolicy.Policy", "", "KMS developer guide, resource-limits", 32_768),
    Limit("KMS", "PendingWindowInDays", numbers=(7, 30)),
    Limit("RDS", "DBClusterIdentifier DBInstanceIdentifier", _NAME % 62),
    Limit("RDS", "DBSubnetGroupName", r"(?!(?i:default)$)[A-Za-z][\w .-]{0,254}"),
    Limit("RDS", "DBParameterGroupName", _NAME % 254),
    Limit("RDS", "DBClusterParameterGroupName", _NAME % 254, "RDS API, RestoreDBClusterFromSnapshot"),
    Limit("RDS", "CreateDBInstance.MasterUsername", r"[A-Za-z]\w{0,15}"),
    Limit("RDS", "CreateDBCluster.MasterUsername", r"[A-Za-z][A-Za-z0-9]{0,15}"),
    Limit("RDS", "CreateDBCluster.BackupRetentionPeriod", numbers=(1, 35)),
    Limit("RDS", "CreateDBInstance.BackupRetentionPeriod", numbers=(0, 35)),
    Limit("RDS", "CreateDBInstance.AllocatedStorage", numbers=(20, 65_536)),
    Limit("RDS", "CreateDBInstance.MonitoringInterval", "0|1|5|10|15|30|60"),
    Limit("RDS", "ServerlessV2ScalingConfiguration.MinCapacity", numbers=(0, 256)),
    Limit("RDS", "ServerlessV2ScalingConfiguration.MaxCapacity", numbers=(0, 256)),
    Limit("Route 53", "ResourceRecordSet.Name", _DOMAIN, "Route 53 developer guide, DomainNameFormat"),
    Limit("S3", "CreateBucket.Bucket", _BUCKET, "S3 user guide, bucketnamingrules"),
    Limit("S3", "LifecycleConfiguration.Rules[].ID", most=255),
    Limit("SNS", "CreateTopic.Name", _WORD % 256),
    Limit("SQS", "CreateQueue.QueueName", _WORD % 80),
    Limit("SQS", "Attributes.DelaySeconds", numbers=(0, 900)),
    Limit("SQS", "Attributes.MaximumMessageSize", numbers=(1024, 1_048_576)),
    Limit("SQS", "Attributes.VisibilityTimeout", numbers=(0, 43_200)),
    Limit("SQS", "Attributes.MessageRetentionPeriod", numbers=(60, 1_209_600)),
    Limit("SQS", "Attributes.ReceiveMessageWaitTimeSeconds", numbers=(0, 20)),
    Limit("SQS", "Attributes.KmsDataKeyReusePeriodSeconds", numbers=(60, 86_400)),
    Limit("SSM", "PutParameter.Name", _PARAMETER, most=1_011 - len(_PARAMETER_ARN)),
    Limit("SSM", "PutParameter.Value", most=4_096),
    Limit("Secrets Manager", "CreateSecret.Name", r"[\w/+=.@-]{1,512}"),
    Limit("Secrets Manager", "RecoveryWindowInDays", numbers=(7, 30)),
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
    for rule in filter(None, (*_of_botocore(shape, value), *_documented(call, value, path))):
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


def _of_botocore(shape: Shape, value: Any) -> Iterator[str]:
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
    full = f"{operation}.{path}"
    for limit in LIMITS:
        if limit.service == service and any(f".{full}".endswith(f".{member}") for member in limit.members.split()):
            yield limit.broken(value, full)
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
    return _SERVICES.get(service, service.lower().replace(" ", ""))


@functools.cache
def _model(service: str) -> ServiceModel:
    return botocore.session.get_session().get_service_model(service_name(service))


def input_shape(service: str, operation: str) -> StructureShape | None:
    """Return the input of an operation."""
    return _model(service).operation_model(operation).input_shape
