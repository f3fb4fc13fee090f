# SPDX-License-Identifier: Apache-2.0
"""A bucket for who asked what of the load balancers and CloudFront: written by AWS alone, and gone after some days."""

from __future__ import annotations

from typing import Final

from cdktn_provider_aws.lb import LbAccessLogs
from cdktn_provider_aws.s3_bucket import S3Bucket
from cdktn_provider_aws.s3_bucket_lifecycle_configuration import (
    S3BucketLifecycleConfiguration,
    S3BucketLifecycleConfigurationRule,
    S3BucketLifecycleConfigurationRuleAbortIncompleteMultipartUpload,
    S3BucketLifecycleConfigurationRuleExpiration,
    S3BucketLifecycleConfigurationRuleFilter,
    S3BucketLifecycleConfigurationRuleNoncurrentVersionExpiration,
)
from cdktn_provider_aws.s3_bucket_ownership_controls import (
    S3BucketOwnershipControls,
    S3BucketOwnershipControlsRule,
)
from cdktn_provider_aws.s3_bucket_policy import S3BucketPolicy
from cdktn_provider_aws.s3_bucket_public_access_block import S3BucketPublicAccessBlock
from cdktn_provider_aws.s3_bucket_server_side_encryption_configuration import (
    S3BucketServerSideEncryptionConfigurationA,
    S3BucketServerSideEncryptionConfigurationRuleA,
    S3BucketServerSideEncryptionConfigurationRuleApplyServerSideEncryptionByDefaultA,
)
from cdktn_provider_aws.s3_bucket_versioning import S3BucketVersioningA, S3BucketVersioningVersioningConfiguration
from constructs import Construct

from cdktf_app.base.aws_scope import GLOBAL_REGION, AwsScope
from cdktf_app.base.policies import Condition, Statement, policy_json, tls_only
from cdktf_app.base.resource_names import host_name

# 63 are allowed; the account's 12 digits and two hyphens follow the rest.
_NAME_LIMIT: Final = 63 - 12 - 1


class AccessLogs(Construct):
    """The bucket; `cloudfront` says whether CloudFront writes to it too."""

    def __init__(
        self, scope: Construct, construct_id: str, *, name: str, aws_scope: AwsScope, days: int, cloudfront: bool
    ) -> None:
        super().__init__(scope, construct_id)
        own = f"{host_name(f'{name}-access', limit=_NAME_LIMIT - len(aws_scope.region) - 1)}-{aws_scope.region}-{aws_scope.account}"
        # What is kept is said in days: a destroy takes the rest with it.
        bucket = S3Bucket(self, "bucket", bucket=own, force_destroy=True)
        self.bucket_arn: str = bucket.arn
        self._protect(bucket)
        self._expire(bucket, days)
        statements = [tls_only((bucket.arn, f"{bucket.arn}/*"), "s3:*"), _load_balancers(bucket, aws_scope)]
        if cloudfront:
            statements.append(_cloudfront(bucket, aws_scope))
        policy = S3BucketPolicy(
            self,
            "policy",
            bucket=bucket.id,
            policy=policy_json(self, "writers", statements),
            # S3 answers OperationAborted when policy and access block are set at once.
            depends_on=[self._block],
        )
        self.allowed = policy
        # By the policy's name of it: a load balancer tries at once whether it may write.
        self.of_load_balancers = LbAccessLogs(bucket=policy.bucket, enabled=True)

    def _protect(self, bucket: S3Bucket) -> None:
        self._block = S3BucketPublicAccessBlock(
            self,
            "public_access_block",
            bucket=bucket.id,
            block_public_acls=True,
            block_public_policy=True,
            ignore_public_acls=True,
            restrict_public_buckets=True,
        )
        S3BucketOwnershipControls(
            self,
            "ownership_controls",
            bucket=bucket.id,
            rule=S3BucketOwnershipControlsRule(object_ownership="BucketOwnerEnforced"),
        )
        # Load balancers write with S3's own keys and with no other.
        by_s3 = S3BucketServerSideEncryptionConfigurationRuleApplyServerSideEncryptionByDefaultA(sse_algorithm="AES256")
        S3BucketServerSideEncryptionConfigurationA(
            self,
            "encryption",
            bucket=bucket.id,
            rule=[S3BucketServerSideEncryptionConfigurationRuleA(apply_server_side_encryption_by_default=by_s3)],
        )

    def _expire(self, bucket: S3Bucket, days: int) -> None:
        versioning = S3BucketVersioningA(
            self,
            "versioning",
            bucket=bucket.id,
            versioning_configuration=S3BucketVersioningVersioningConfiguration(status="Enabled"),
        )
        S3BucketLifecycleConfiguration(
            self,
            "lifecycle",
            bucket=bucket.id,
            rule=[
                S3BucketLifecycleConfigurationRule(
                    id="old",
                    status="Enabled",
                    filter=[S3BucketLifecycleConfigurationRuleFilter(prefix="")],
                    expiration=[S3BucketLifecycleConfigurationRuleExpiration(days=days)],
                    noncurrent_version_expiration=[
                        S3BucketLifecycleConfigurationRuleNoncurrentVersionExpiration(noncurrent_days=1)
                    ],
                    abort_incomplete_multipart_upload=[
                        S3BucketLifecycleConfigurationRuleAbortIncompleteMultipartUpload(days_after_initiation=1)
                    ],
                )
            ],
            depends_on=[versioning],
        )


def _load_balancers(bucket: S3Bucket, aws_scope: AwsScope) -> Statement:
    return Statement(
        sid="LoadBalancers",
        actions=("s3:PutObject",),
        resources=(f"{bucket.arn}/AWSLogs/{aws_scope.account}/*",),
        principals={"Service": ("logdelivery.elasticloadbalancing.amazonaws.com",)},
        conditions=(Condition("ArnLike", "aws:SourceArn", (aws_scope.arn("elasticloadbalancing", "loadbalancer/*"),)),),
    )


def _cloudfront(bucket: S3Bucket, aws_scope: AwsScope) -> Statement:
    sources = f"arn:{aws_scope.partition}:logs:{GLOBAL_REGION}:{aws_scope.account}:delivery-source:*"
    return Statement(
        sid="CloudFront",
        actions=("s3:PutObject",),
        resources=(f"{bucket.arn}/AWSLogs/{aws_scope.account}/*",),
        principals={"Service": ("delivery.logs.amazonaws.com",)},
        conditions=(
            Condition("ArnLike", "aws:SourceArn", (sources,)),
            Condition("StringEquals", "aws:SourceAccount", (aws_scope.account,)),
        ),
    )
