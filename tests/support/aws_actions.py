# SPDX-License-Identifier: Apache-2.0
"""The IAM requests behind calls of AWS's APIs: `SERVICE:Operation`, with the service as the AWS SDK names it.

An operation needs the action of its own name. The exceptions are rows, from the service authorization reference
(https://docs.aws.amazon.com/service-authorization/latest/reference/). An unknown service is an error.
"""

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from tests.support.iam import ACCOUNT
from tests.support.iam_evaluation import Request, allowed
from tests.support.pipeline_roles import (
    OIDC_SECRET,
    REGION,
    REPOSITORY,
    ROLES,
    STATE_BUCKET,
    STATE_KEY,
    statements_of_role,
)
from tests.support.stack import Json

PREFIXES: Final = {
    "ACM": "acm",
    "Application Auto Scaling": "application-autoscaling",
    "CloudFront": "cloudfront",
    "CloudWatch": "cloudwatch",
    "CloudWatch Logs": "logs",
    "Cognito Identity Provider": "cognito-idp",
    "EC2": "ec2",
    "ECR": "ecr",
    "ECS": "ecs",
    "ElastiCache": "elasticache",
    "Elastic Load Balancing v2": "elasticloadbalancing",
    "IAM": "iam",
    "KMS": "kms",
    "RDS": "rds",
    "Route 53": "route53",
    "S3": "s3",
    "S3 Control": "s3",
    "SNS": "sns",
    "SQS": "sqs",
    "SSM": "ssm",
    "Secrets Manager": "secretsmanager",
    "Service Quotas": "servicequotas",
    "WAFV2": "wafv2",
}
# Services with one endpoint, in us-east-1.
GLOBAL: Final = {"CloudFront", "IAM", "Route 53"}
NO_PERMISSION: Final = {
    "STS:GetCallerIdentity",
    "IAM:GetUser",  # only with `skip_credentials_validation`, which the emulators' override sets; a failure is ignored
}
ACTIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "CloudFront:CreateDistributionWithTags": ("cloudfront:CreateDistribution", "cloudfront:TagResource"),
    "S3:DeleteBucketEncryption": ("s3:PutEncryptionConfiguration",),
    "S3:DeleteBucketLifecycle": ("s3:PutLifecycleConfiguration",),
    "S3:DeleteBucketOwnershipControls": ("s3:PutBucketOwnershipControls",),
    "S3:DeleteBucketTagging": ("s3:PutBucketTagging",),
    "S3:DeleteObjects": ("s3:DeleteObject", "s3:DeleteObjectVersion"),
    "S3:DeletePublicAccessBlock": ("s3:PutBucketPublicAccessBlock",),
    "S3:GetBucketAccelerateConfiguration": ("s3:GetAccelerateConfiguration",),
    "S3:GetBucketCors": ("s3:GetBucketCORS",),
    "S3:GetBucketEncryption": ("s3:GetEncryptionConfiguration",),
    "S3:GetBucketLifecycleConfiguration": ("s3:GetLifecycleConfiguration",),
    "S3:GetBucketReplication": ("s3:GetReplicationConfiguration",),
    "S3:GetObjectLockConfiguration": ("s3:GetBucketObjectLockConfiguration",),
    "S3:GetPublicAccessBlock": ("s3:GetBucketPublicAccessBlock",),
    "S3:HeadBucket": ("s3:ListBucket",),
    "S3:HeadObject": ("s3:GetObject",),
    "S3:ListObjectVersions": ("s3:ListBucketVersions",),
    "S3:ListObjectsV2": ("s3:ListBucket",),
    "S3:PutBucketEncryption": ("s3:PutEncryptionConfiguration",),
    "S3:PutBucketLifecycleConfiguration": ("s3:PutLifecycleConfiguration",),
    "S3:PutPublicAccessBlock": ("s3:PutBucketPublicAccessBlock",),
}
TASK_ROLE: Final = f"arn:aws:iam::{ACCOUNT}:role/openmwaa-example-{REGION}-worker"
OWN_SECRET: Final = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:openmwaa-example/fernet-key-AbCdEf"


def pass_role(service: str, role: str = TASK_ROLE) -> Request:
    """The permission to give a role to a service."""
    return Request("iam:PassRole", role, {"iam:PassedToService": service})


def service_linked_role(service: str, name: str) -> Request:
    """The permission that a service needs at its first use in an account."""
    return Request("iam:CreateServiceLinkedRole", f"arn:aws:iam::{ACCOUNT}:role/aws-service-role/{service}/{name}")


def decrypt(secret: str) -> Request:
    """The permission that Secrets Manager needs from the caller, on a key of an unknown id."""
    via = f"secretsmanager.{REGION}.amazonaws.com"
    context = {"aws:RequestedRegion": REGION, "kms:ViaService": via, "kms:EncryptionContext:SecretARN": secret}
    return Request("kms:Decrypt", f"arn:aws:kms:{REGION}:{ACCOUNT}:key/of-the-secret", context)


# What an operation needs in addition, because it acts for its caller.
ALSO: Final[Mapping[str, tuple[Request, ...]]] = {
    "Application Auto Scaling:RegisterScalableTarget": (
        service_linked_role(
            "ecs.application-autoscaling.amazonaws.com", "AWSServiceRoleForApplicationAutoScaling_ECSService"
        ),
    ),
    "CloudFront:CreateVpcOrigin": (
        service_linked_role("vpcorigin.cloudfront.amazonaws.com", "AWSServiceRoleForCloudFrontVPCOrigin"),
    ),
    "WAFV2:AssociateWebACL": (Request("elasticloadbalancing:SetWebACL", "*", {"aws:RequestedRegion": REGION}),),
    "WAFV2:PutLoggingConfiguration": (service_linked_role("wafv2.amazonaws.com", "AWSServiceRoleForWAFV2Logging"),),
    "CloudWatch Logs:PutDeliverySource": (
        Request("cloudfront:AllowVendedLogDeliveryForResource", "*", {"aws:RequestedRegion": "us-east-1"}),
    ),
    "EC2:CreateFlowLogs": (pass_role("vpc-flow-logs.amazonaws.com"),),
    "ECS:CreateCluster": (service_linked_role("ecs.amazonaws.com", "AWSServiceRoleForECS"),),
    "ECS:RegisterTaskDefinition": (pass_role("ecs-tasks.amazonaws.com"),),
    "ElastiCache:CreateReplicationGroup": (
        service_linked_role("elasticache.amazonaws.com", "AWSServiceRoleForElastiCache"),
    ),
    "Elastic Load Balancing v2:CreateLoadBalancer": (
        service_linked_role("elasticloadbalancing.amazonaws.com", "AWSServiceRoleForElasticLoadBalancing"),
    ),
    "Secrets Manager:GetSecretValue": (decrypt(OWN_SECRET),),
    "RDS:CreateDBCluster": (service_linked_role("rds.amazonaws.com", "AWSServiceRoleForRDS"),),
    "RDS:CreateDBInstance": (
        service_linked_role("rds.amazonaws.com", "AWSServiceRoleForRDS"),
        pass_role("monitoring.rds.amazonaws.com"),
    ),
}


_ALL: Final = ("apply", "plan", "update", "destroy")


@dataclass(frozen=True)
class Row:
    """Calls that no recording has, or that another version of the provider makes."""

    phases: tuple[str, ...]
    calls: tuple[str, ...]
    reason: str
    types: tuple[str, ...] = ()
    """Resource types that no example has."""


def _rows(service: str, reads: str, writes: str, types: str) -> tuple[Row, Row]:
    """Return the calls of types that no example has, out of the provider's source (internal/service)."""
    calls = [tuple(f"{service}:{word}" for word in words.split()) for words in (reads, writes)]
    reason = "no example has these types, because no emulator has all of their calls"
    return (
        Row(_ALL, calls[0], reason, tuple(types.split())),
        Row(("apply", "update", "destroy"), calls[1], reason),
    )


# What emulators cannot show; see docs/reference/emulators.md.
NOT_RECORDED: Final = (
    Row(
        _ALL,
        (
            "Application Auto Scaling:DescribeScalableTargets",
            "Application Auto Scaling:DescribeScalingPolicies",
            "Application Auto Scaling:ListTagsForResource",
        ),
        "no emulator has scaling targets for the local ECS; calls of the provider's resources",
    ),
    Row(
        ("apply", "update", "destroy"),
        (
            "Application Auto Scaling:DeleteScalingPolicy",
            "Application Auto Scaling:DeregisterScalableTarget",
            "Application Auto Scaling:PutScalingPolicy",
            "Application Auto Scaling:RegisterScalableTarget",
            "Application Auto Scaling:TagResource",
        ),
        "as above",
    ),
    Row(
        ("apply", "update"),
        ("Cognito Identity Provider:DescribeUserPoolClient",),
        "a listener with a Cognito action, which ministack does not keep; the load balancer calls it for its caller",
    ),
    Row(
        ("apply", "update", "destroy"),
        (
            "IAM:AttachRolePolicy",
            "IAM:DetachRolePolicy",
            "IAM:PutRolePermissionsBoundary",
            "IAM:UntagRole",
            "IAM:UpdateAssumeRolePolicy",
            "IAM:UpdateRole",
        ),
        "updates of a role that the verified update does not make: policies, boundary, trust, description, tags",
    ),
)
NO_EXAMPLE: Final = (
    *_rows(
        "CloudFront",
        "DescribeFunction GetDistribution GetFunction GetVpcOrigin ListTagsForResource",
        "CreateDistributionWithTags CreateFunction CreateVpcOrigin DeleteDistribution DeleteFunction DeleteVpcOrigin "
        "PublishFunction TagResource UntagResource UpdateDistribution UpdateFunction UpdateVpcOrigin",
        "cloudfront_distribution cloudfront_function cloudfront_vpc_origin",
    ),
    *_rows(
        "CloudWatch Logs",
        "GetDelivery GetDeliveryDestination GetDeliverySource ListTagsForResource",
        "CreateDelivery DeleteDelivery DeleteDeliveryDestination DeleteDeliverySource PutDeliveryDestination "
        "PutDeliverySource UpdateDeliveryConfiguration",
        "cloudwatch_log_delivery cloudwatch_log_delivery_destination cloudwatch_log_delivery_source",
    ),
    *_rows(
        "WAFV2",
        "GetIPSet GetLoggingConfiguration GetWebACL GetWebACLForResource ListTagsForResource",
        "AssociateWebACL CreateIPSet CreateWebACL DeleteIPSet DeleteLoggingConfiguration DeleteWebACL "
        "DisassociateWebACL PutLoggingConfiguration TagResource UntagResource UpdateIPSet UpdateWebACL",
        "wafv2_ip_set wafv2_web_acl wafv2_web_acl_association wafv2_web_acl_logging_configuration",
    ),
)
ELASTICACHE: Final = (
    Row(
        _ALL,
        (
            *(f"ElastiCache:DescribeCache{kind}" for kind in ("Clusters", "ParameterGroups", "Parameters")),
            *(f"ElastiCache:Describe{kind}" for kind in ("CacheSubnetGroups", "ReplicationGroups", "Users")),
            *("ElastiCache:DescribeUserGroups", "ElastiCache:ListTagsForResource"),
        ),
        "a broker in ElastiCache, out of the provider's source: the emulated apply of many-fleets adds the rest",
    ),
    Row(
        ("apply", "update", "destroy"),
        tuple(
            f"ElastiCache:{verb}{kind}"
            for kind in ("CacheParameterGroup", "CacheSubnetGroup", "ReplicationGroup", "User", "UserGroup")
            for verb in ("Create", "Delete", "Modify")
        ),
        "as above",
    ),
)
# Provider 6: https://github.com/hashicorp/terraform-provider-aws/blob/main/CHANGELOG.md
PROVIDER_6_LEAVES_OUT: Final = {"Secrets Manager:GetSecretValue"}  # 6.26.0, pull request 44876
PROVIDER_6: Final = (
    Row(_ALL, ("Secrets Manager:ListSecretVersionIds",), "6.26.0, pull request 44876: in place of GetSecretValue"),
    Row(_ALL, ("S3 Control:ListTagsForResource",), "6.23.0, pull request 45251: in place of GetBucketTagging"),
    Row(("apply", "update"), ("S3 Control:TagResource", "S3 Control:UntagResource"), "6.23.0, pull request 45251"),
)

Recording = Mapping[str, list[str]]


def calls_of(recording: Recording, provider: int) -> dict[str, set[str]]:
    """The calls of each phase: as recorded with provider 5, or as provider 6 makes them."""
    left_out = PROVIDER_6_LEAVES_OUT if provider == 6 else set()
    calls = {phase: set(recording.get(phase, ())) - left_out for phase in _ALL}
    for row in (*NOT_RECORDED, *NO_EXAMPLE, *ELASTICACHE, *(PROVIDER_6 if provider == 6 else ())):
        for phase in row.phases:
            calls[phase].update(row.calls)
    return calls


def requests_of(calls: Iterable[str]) -> Iterator[Request]:
    """What IAM decides for some calls: on a resource of an environment, in its Region."""
    for call in sorted(set(calls) - NO_PERMISSION):
        service, _, operation = call.partition(":")
        prefix = PREFIXES[service]
        region = "us-east-1" if service in GLOBAL else REGION
        for action in ACTIONS.get(call, (f"{prefix}:{operation}",)):
            yield Request(action, _RESOURCES.get(prefix, "*"), {"aws:RequestedRegion": region})
        yield from ALSO.get(call, ())


_RESOURCES: Final = {"iam": TASK_ROLE, "secretsmanager": OWN_SECRET}


def requests_of_role(role: str, provider: int, recording: Recording) -> list[Request]:
    """Everything that the jobs of the workflow do with a role; `tests/synth/docs/test_pipeline.py` has the jobs."""
    made = calls_of(recording, provider)
    here = {"aws:RequestedRegion": REGION}
    if role == "deploy":
        calls = set[str]().union(*made.values(), _WAIT, _QUOTAS, {"CloudWatch Logs:GetLogEvents"})
        return [
            *requests_of(calls),
            *_READ_SLEEP,
            Request("ssm:PutParameter", SLEEP, here),
            *state_requests("openmwaa", write=True),
            *state_requests("openmwaa-secret", write=True),
        ]
    requests = [*requests_of(made["plan"] | {"ECR:ListImages"}), *state_requests("openmwaa", write=False)]
    if role == "main":
        requests += [*requests_of(_WAIT), *_READ_SLEEP, *state_requests("openmwaa-secret", write=False)]
        requests.append(Request("ecr:GetAuthorizationToken", "*", here))
        requests += [Request(f"ecr:{operation}", REPOSITORY, here) for operation in _PUSH]
    return requests


# The check of `openmwaa deploy --plan-only`; a denied call is a warning.
_QUOTAS: Final = {
    "CloudWatch:GetMetricStatistics",
    "EC2:DescribeAddresses",
    "EC2:DescribeVpcs",
    "IAM:GetRole",
    "Service Quotas:GetAWSDefaultServiceQuota",
    "Service Quotas:GetServiceQuota",
}
# `openmwaa wait`.
_WAIT: Final = {"ECS:DescribeServices", "ECS:DescribeTaskDefinition", "ECS:DescribeTasks", "ECS:ListTasks"}
SLEEP: Final = f"arn:aws:ssm:{REGION}:{ACCOUNT}:parameter/openmwaa/example/sleep"
_READ_SLEEP: Final = tuple(
    Request("ssm:GetParameters", f"{SLEEP}{end}", {"aws:RequestedRegion": REGION}) for end in ("", "-memory")
)
# https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-push-iam.html
_PUSH: Final = (
    *("BatchCheckLayerAvailability", "BatchGetImage", "CompleteLayerUpload", "InitiateLayerUpload", "PutImage"),
    "UploadLayerPart",
)


def state_requests(folder: str, *, write: bool) -> Iterator[Request]:
    """What Terraform's S3 backend does with a state and its lock; `tests/emulated/test_bootstrap.py` records it."""
    state = f"{STATE_BUCKET}/{folder}/example.tfstate"
    here = {"aws:RequestedRegion": REGION}
    yield Request("s3:ListBucket", STATE_BUCKET, here)
    yield Request("s3:GetObject", state, here)
    for action in ("s3:GetObject", "s3:PutObject", "s3:DeleteObject"):
        yield Request(action, f"{state}.tflock", here)
    for action in ("kms:Decrypt", "kms:GenerateDataKey"):
        yield Request(action, STATE_KEY, here)
    if write:
        yield Request("s3:PutObject", state, here)


OIDC: Final = (
    Request("secretsmanager:GetSecretValue", OIDC_SECRET, {"aws:RequestedRegion": REGION}),
    decrypt(OIDC_SECRET),
)
"""What `web_access.oidc` adds to a plan, for the roles that may read the state with the secret."""


def denied(plans: Mapping[str, Mapping[str, Json]], recording: Recording) -> dict[str, list[str]]:
    """The calls that each role of the pipeline is denied, with both versions of the provider."""
    found: dict[str, list[str]] = {}
    for role, provider in itertools.product(ROLES, (5, 6)):
        statements = statements_of_role(plans[f"provider {provider}"], role)
        found.setdefault(role, []).extend(
            f"{request.action} (provider {provider})"
            for request in requests_of_role(role, provider, recording)
            if not allowed(statements, request)
        )
    return found
