# SPDX-License-Identifier: Apache-2.0
"""A value that breaks a rule of its service is found, by every kind of rule; and values at the bounds are none."""

from typing import Any, Final

import pytest

from tests.support.aws_actions import calls_of
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
    "a documented pattern": ("SQS:CreateQueue", {"QueueName": "q" * 81}, "(SQS API, CreateQueue.QueueName)"),
    "a documented length": (
        "KMS:CreateKey",
        {"Policy": "p" * 32_769},
        "at most 32768, is 32769 (KMS developer guide, resource-limits)",
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


_LONG_DOMAIN = ".".join("d" * 63 for _ in range(4))
# An operation, a member, a value at the bound of its documented rule, and one beyond it.
DOCUMENTED: Final[tuple[tuple[str, str, Any, Any], ...]] = (
    ("ACM:RequestCertificate", "DomainName", "a" * 60 + ".com", "a" * 61 + ".com"),
    ("Application Auto Scaling:RegisterScalableTarget", "ResourceId", "service/a-b_1/c", "service/a"),
    ("Application Auto Scaling:PutScalingPolicy", "ResourceId", "service/a/b", "service/a/b/c"),
    ("Application Auto Scaling:RegisterScalableTarget", "MinCapacity", 0, -1),
    ("Application Auto Scaling:RegisterScalableTarget", "MaxCapacity", 0, -1),
    ("CloudFront:CreateDistributionWithTags", "DistributionConfigWithTags.DistributionConfig.Comment", 128, 129),
    ("CloudWatch:PutDashboard", "DashboardName", 255, 256),
    ("CloudWatch Logs:PutRetentionPolicy", "retentionInDays", 3653, 10),
    ("EC2:CreateSecurityGroup", "GroupName", "&" * 255, "sg-a"),
    ("EC2:CreateSecurityGroup", "Description", "&" * 255, ""),
    ("EC2:AuthorizeSecurityGroupIngress", "IpPermissions[].IpRanges[].Description", "&" * 255, "a" * 256),
    ("EC2:AuthorizeSecurityGroupIngress", "IpPermissions[].UserIdGroupPairs[].Description", "a" * 255, "a & b"),
    ("EC2:AuthorizeSecurityGroupIngress", "IpPermissions[].PrefixListIds[].Description", "a" * 255, "a & b"),
    ("EC2:CreateVpcEndpoint", "PolicyDocument", 20_480, 20_481),
    ("EC2:CreateTags", "Tags[].Key", "\u00e9" * 127, "a" * 128),
    ("EC2:CreateTags", "Tags[].Value", "\u00e9" * 256, "a" * 257),
    ("EC2:CreateFlowLogs", "MaxAggregationInterval", 600, 300),
    ("ECR:CreateRepository", "repositoryName", "a1", "1a"),
    ("ECS:RegisterTaskDefinition", "family", 255, 256),
    ("ECS:RegisterTaskDefinition", "containerDefinitions[].name", 255, "a.b"),
    ("ECS:RegisterTaskDefinition", "volumes[].name", 255, "\u00e9"),
    ("ECS:CreateService", "serviceName", 255, 256),
    ("ECS:CreateCluster", "clusterName", 255, 256),
    ("ECS:RegisterTaskDefinition", "containerDefinitions[].image", "a" * 255 + "@sha256:" + "0" * 64, "a@sha256:0"),
    ("ECS:RegisterTaskDefinition", "containerDefinitions[].healthCheck.interval", 300, 301),
    ("ECS:RegisterTaskDefinition", "containerDefinitions[].healthCheck.timeout", 2, 1),
    ("ECS:RegisterTaskDefinition", "containerDefinitions[].healthCheck.retries", 10, 11),
    ("ECS:RegisterTaskDefinition", "containerDefinitions[].healthCheck.startPeriod", 300, 301),
    ("ECS:RegisterTaskDefinition", "containerDefinitions[].stopTimeout", 120, 121),
    ("ElastiCache:CreateReplicationGroup", "ReplicationGroupId", 40, 41),
    ("ElastiCache:CreateUser", "UserId", 40, 41),
    ("ElastiCache:CreateUserGroup", "UserGroupId", 40, "a--b"),
    ("ElastiCache:CreateCacheSubnetGroup", "CacheSubnetGroupName", 255, "a_b"),
    ("ElastiCache:CreateCacheParameterGroup", "CacheParameterGroupName", 255, "a-"),
    ("Elastic Load Balancing v2:CreateLoadBalancer", "Name", 32, "internal-a"),
    ("Elastic Load Balancing v2:CreateTargetGroup", "Name", "internal-" + "a" * 23, 33),
    ("IAM:CreateRole", "AssumeRolePolicyDocument", " " + "a" * 2048, 2049),
    ("KMS:CreateAlias", "AliasName", "alias/a", "alias/aws/a"),
    ("KMS:CreateKey", "Policy", 32_768, 32_769),
    ("KMS:PutKeyPolicy", "Policy", 32_768, 32_769),
    ("KMS:ScheduleKeyDeletion", "PendingWindowInDays", 7, 6),
    ("RDS:CreateDBCluster", "DBClusterIdentifier", 63, "1a"),
    ("RDS:CreateDBInstance", "DBInstanceIdentifier", 63, 64),
    ("RDS:CreateDBSubnetGroup", "DBSubnetGroupName", 255, "Default"),
    ("RDS:CreateDBParameterGroup", "DBParameterGroupName", 255, 256),
    ("RDS:CreateDBClusterParameterGroup", "DBClusterParameterGroupName", 255, 256),
    ("RDS:CreateDBInstance", "MasterUsername", "a_" * 8, "a" * 17),
    ("RDS:CreateDBCluster", "MasterUsername", "a" * 16, "a_b"),
    ("RDS:CreateDBCluster", "BackupRetentionPeriod", 1, 0),
    ("RDS:CreateDBInstance", "BackupRetentionPeriod", 0, 36),
    ("RDS:CreateDBInstance", "AllocatedStorage", 20, 19),
    ("RDS:CreateDBInstance", "MonitoringInterval", 60, 2),
    ("RDS:CreateDBCluster", "ServerlessV2ScalingConfiguration.MinCapacity", 0.5, -0.5),
    ("RDS:CreateDBCluster", "ServerlessV2ScalingConfiguration.MaxCapacity", 256.0, 256.5),
    ("Route 53:ChangeResourceRecordSets", "ChangeBatch.Changes[].ResourceRecordSet.Name", _LONG_DOMAIN, "d" * 64),
    ("S3:CreateBucket", "Bucket", 63, "192.168.5.4"),
    ("S3:CreateBucket", "Bucket", "a.b", "a--table-s3"),
    ("S3:PutBucketLifecycleConfiguration", "LifecycleConfiguration.Rules[].ID", 255, 256),
    ("SNS:CreateTopic", "Name", 256, 257),
    ("SQS:CreateQueue", "QueueName", 80, 81),
    ("SQS:CreateQueue", "Attributes.DelaySeconds", "900", "901"),
    ("SQS:CreateQueue", "Attributes.MaximumMessageSize", "1048576", "1048577"),
    ("SQS:CreateQueue", "Attributes.VisibilityTimeout", "43200", "43201"),
    ("SQS:CreateQueue", "Attributes.MessageRetentionPeriod", "60", "59"),
    ("SQS:CreateQueue", "Attributes.ReceiveMessageWaitTimeSeconds", "20", "21"),
    ("SQS:CreateQueue", "Attributes.KmsDataKeyReusePeriodSeconds", "60", "59"),
    ("SSM:PutParameter", "Name", "/a" * 15, "/a" * 16),
    ("SSM:PutParameter", "Name", "a" * 955, "a" * 956),
    ("SSM:PutParameter", "Name", "/openmwaa/ssm", "/SSM/a"),
    ("SSM:PutParameter", "Value", 4096, "\u00e9" * 2049),
    ("Secrets Manager:CreateSecret", "Name", "/_+=.@-", "a#"),
    ("Secrets Manager:DeleteSecret", "RecoveryWindowInDays", 30, 31),
)


def _request(path: str, value: Any) -> Any:
    """Parameters with one value; a number is that many letters where the rule counts letters."""
    first, _, rest = path.partition(".")
    inner = _request(rest, value) if rest else value
    return {first.removesuffix("[]"): [inner]} if first.endswith("[]") else {first: inner}


def _broken_at(call: str, path: str, value: Any) -> list[str]:
    shape: Any = input_shape(*call.split(":"))
    for member in path.replace("[]", "").split("."):
        shape = shape.member if shape.type_name == "list" else shape
        shape = shape.members[member] if shape.type_name == "structure" else shape.value
    text = "a" * value if shape.type_name == "string" and isinstance(value, int) else value
    rows = violations([(call, _request(path, text))])
    return [
        row for row in rows if row.startswith(f"{call} {path} ") and not row.endswith(("(botocore)", "is required"))
    ]


@pytest.mark.parametrize(("call", "path", "bound", "beyond"), DOCUMENTED)
def test_a_documented_rule_ends_at_its_bound(call: str, path: str, bound: Any, beyond: Any) -> None:
    assert _broken_at(call, path, bound) == []
    assert len(_broken_at(call, path, beyond)) == 1


def test_every_documented_limit_has_a_value_at_its_bound() -> None:
    """So that a row whose member has another name in botocore, and would check nothing, is found."""
    tested = {(call.partition(":")[0], f".{call.partition(':')[2]}.{path}") for call, path, _, _ in DOCUMENTED}
    assert [
        (limit.service, member)
        for limit in LIMITS
        for member in limit.members.split()
        if not any(service == limit.service and path.endswith(f".{member}") for service, path in tested)
    ] == []


def test_every_service_with_a_documented_limit_is_called() -> None:
    calls = {call for phase in calls_of(RECORDING, 5).values() for call in phase}
    assert {limit.service for limit in LIMITS} - {call.partition(":")[0] for call in calls} == {"SSM"}  # of the CLI
