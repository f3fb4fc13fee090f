# SPDX-License-Identifier: Apache-2.0
"""A private, versioned S3 bucket: encrypted, without ACLs and public access, with lifecycle rules."""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from cdktn_provider_aws.s3_bucket import S3Bucket
from cdktn_provider_aws.s3_bucket_lifecycle_configuration import (
    S3BucketLifecycleConfiguration,
    S3BucketLifecycleConfigurationRule,
    S3BucketLifecycleConfigurationRuleAbortIncompleteMultipartUpload,
    S3BucketLifecycleConfigurationRuleExpiration,
    S3BucketLifecycleConfigurationRuleFilter,
    S3BucketLifecycleConfigurationRuleNoncurrentVersionExpiration,
)
from cdktn_provider_aws.s3_bucket_ownership_controls import S3BucketOwnershipControls, S3BucketOwnershipControlsRule
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
from cdktf_app.base.policies import Statement, policy_json, tls_only
from cdktf_app.base.resource_names import host_name

# S3 allows 63 characters; the account's 12 digits and a hyphen are appended.
_NAME_LIMIT: Final = 63 - 12 - 1


class PrivateBucket(NamedTuple):
    """The bucket and its policy."""

    bucket: S3Bucket
    policy: S3BucketPolicy


def private_bucket(
    scope: Construct,
    aws_scope: AwsScope,
    *,
    name: str,
    force_destroy: bool,
    key_arn: str | None,
    policy_id: str,
    writers: Callable[[str], Sequence[Statement]] = lambda _: (),
    rules: Sequence[S3BucketLifecycleConfigurationRule],
) -> PrivateBucket:
    """Return a new bucket in `scope`.

    Args:
        scope: the construct of the bucket and its settings.
        aws_scope: Region and account, for the name.
        name: the start of the bucket's name.
        force_destroy: whether a destroy also deletes the objects.
        key_arn: the KMS key of the objects; None for S3's own keys.
        policy_id: the construct id of the local value with the bucket policy.
        writers: returns further statements of the bucket policy, for the ARN of the bucket.
        rules: lifecycle rules.
    """
    # Bucket names are global: Region and account make the name unique.
    prefix = host_name(name, limit=_NAME_LIMIT - len(aws_scope.region) - 1)
    own_name = f"{prefix}-{aws_scope.region}-{aws_scope.account}"
    bucket = S3Bucket(scope, "bucket", bucket=own_name, force_destroy=force_destroy)
    _encrypt(scope, bucket, key_arn)
    _add_versioning(scope, bucket, rules)
    policy = policy_json(scope, policy_id, [tls_only((bucket.arn, f"{bucket.arn}/*"), "s3:*"), *writers(bucket.arn)])
    # S3 returns OperationAborted when policy and access block are set at the same time.
    dependencies = [_block_public_access(scope, bucket)]
    return PrivateBucket(
        bucket, S3BucketPolicy(scope, "policy", bucket=bucket.id, policy=policy, depends_on=dependencies)
    )


def lifecycle_rule(
    rule_id: str,
    *,
    prefix: str = "",
    expiration: S3BucketLifecycleConfigurationRuleExpiration | None = None,
    noncurrent_days: int | None = None,
    abort_uploads_days: int | None = None,
) -> S3BucketLifecycleConfigurationRule:
    """Return an enabled lifecycle rule for the objects whose keys begin with `prefix`."""
    noncurrent = S3BucketLifecycleConfigurationRuleNoncurrentVersionExpiration
    abort = S3BucketLifecycleConfigurationRuleAbortIncompleteMultipartUpload
    return S3BucketLifecycleConfigurationRule(
        id=rule_id,
        status="Enabled",
        filter=[S3BucketLifecycleConfigurationRuleFilter(prefix=prefix)],
        expiration=[expiration] if expiration else None,
        noncurrent_version_expiration=[noncurrent(noncurrent_days=noncurrent_days)] if noncurrent_days else None,
        abort_incomplete_multipart_upload=[abort(days_after_initiation=abort_uploads_days)]
        if abort_uploads_days
        else None,
    )


def _encrypt(scope: Construct, bucket: S3Bucket, key_arn: str | None) -> None:
    by_default = S3BucketServerSideEncryptionConfigurationRuleApplyServerSideEncryptionByDefaultA(
        sse_algorithm="AES256" if key_arn is None else "aws:kms", kms_master_key_id=key_arn
    )
    rule = S3BucketServerSideEncryptionConfigurationRuleA(
        bucket_key_enabled=None if key_arn is None else True, apply_server_side_encryption_by_default=by_default
    )
    S3BucketServerSideEncryptionConfigurationA(scope, "encryption", bucket=bucket.id, rule=[rule])


def _block_public_access(scope: Construct, bucket: S3Bucket) -> S3BucketPublicAccessBlock:
    S3BucketOwnershipControls(
        scope,
        "ownership_controls",
        bucket=bucket.id,
        rule=S3BucketOwnershipControlsRule(object_ownership="BucketOwnerEnforced"),
    )
    return S3BucketPublicAccessBlock(
        scope,
        "public_access_block",
        bucket=bucket.id,
        block_public_acls=True,
        block_public_policy=True,
        ignore_public_acls=True,
        restrict_public_buckets=True,
    )


def _add_versioning(scope: Construct, bucket: S3Bucket, rules: Sequence[S3BucketLifecycleConfigurationRule]) -> None:
    versioning = S3BucketVersioningA(
        scope,
        "versioning",
        bucket=bucket.id,
        versioning_configuration=S3BucketVersioningVersioningConfiguration(status="Enabled"),
    )
    S3BucketLifecycleConfiguration(scope, "lifecycle", bucket=bucket.id, rule=list(rules), depends_on=[versioning])
