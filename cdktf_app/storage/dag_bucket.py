# SPDX-License-Identifier: Apache-2.0
"""The bucket that DAGs come from: the environment's own, or one that is given."""

from __future__ import annotations

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

from cdktf_app.base.aws_scope import AwsScope
from cdktf_app.base.policies import policy_json, tls_only
from cdktf_app.base.resource_names import host_name
from openmwaa.config.environment import Environment

# 63 are allowed; the account's 12 digits and two hyphens follow the rest.
_NAME_LIMIT = 63 - 12 - 1


class DagBucket(Construct):
    """The source bucket of an environment, versioned and private when it is ours."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        environment: Environment,
        name: str,
        aws_scope: AwsScope,
        key_arn: str,
    ) -> None:
        super().__init__(scope, construct_id)
        self._versions_days = environment.noncurrent_version_expiration_days
        given = environment.source_bucket
        if given is not None:
            self.bucket_name = given
            self.bucket_arn = f"arn:{aws_scope.partition}:s3:::{given}"
            return
        # Bucket names are the world's: account and Region make this one ours.
        own = f"{host_name(name, limit=_NAME_LIMIT - len(aws_scope.region) - 1)}-{aws_scope.region}-{aws_scope.account}"
        bucket = S3Bucket(self, "bucket", bucket=own, force_destroy=environment.source_bucket_force_destroy)
        self.bucket_name = bucket.bucket
        self.bucket_arn = bucket.arn
        self._protect(bucket, key_arn)
        self._keep_tidy(bucket)

    def _protect(self, bucket: S3Bucket, key_arn: str) -> None:
        block = S3BucketPublicAccessBlock(
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
        S3BucketServerSideEncryptionConfigurationA(
            self,
            "encryption",
            bucket=bucket.id,
            rule=[
                S3BucketServerSideEncryptionConfigurationRuleA(
                    bucket_key_enabled=True,
                    apply_server_side_encryption_by_default=(
                        S3BucketServerSideEncryptionConfigurationRuleApplyServerSideEncryptionByDefaultA(
                            sse_algorithm="aws:kms", kms_master_key_id=key_arn
                        )
                    ),
                )
            ],
        )
        policy = policy_json(self, "tls_only", [tls_only((bucket.arn, f"{bucket.arn}/*"), "s3:*")])
        # S3 answers OperationAborted when policy and access block are set at once.
        S3BucketPolicy(self, "policy", bucket=bucket.id, policy=policy, depends_on=[block])

    def _keep_tidy(self, bucket: S3Bucket) -> None:
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
                    id="abandoned-uploads",
                    status="Enabled",
                    filter=[S3BucketLifecycleConfigurationRuleFilter(prefix="")],
                    abort_incomplete_multipart_upload=[
                        S3BucketLifecycleConfigurationRuleAbortIncompleteMultipartUpload(days_after_initiation=7)
                    ],
                ),
                S3BucketLifecycleConfigurationRule(
                    id="old-versions",
                    status="Enabled",
                    filter=[S3BucketLifecycleConfigurationRuleFilter(prefix="")],
                    noncurrent_version_expiration=[
                        S3BucketLifecycleConfigurationRuleNoncurrentVersionExpiration(
                            noncurrent_days=self._versions_days
                        )
                    ],
                    # What is left of a deleted object when its versions are gone.
                    expiration=[S3BucketLifecycleConfigurationRuleExpiration(expired_object_delete_marker=True)],
                ),
            ],
            depends_on=[versioning],
        )
