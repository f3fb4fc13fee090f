# SPDX-License-Identifier: Apache-2.0
"""The bucket of task logs, if they are in S3: objects expire with the retention of the log groups."""

from cdktn_provider_aws.s3_bucket_lifecycle_configuration import S3BucketLifecycleConfigurationRuleExpiration
from constructs import Construct

from cdktf_app.base.stack_context import StackContext
from cdktf_app.storage.private_bucket import lifecycle_rule, private_bucket


class TaskLogBucket(Construct):
    """A private bucket for nothing else. A destroy deletes it with the logs, as it deletes the log groups."""

    def __init__(self, scope: Construct, construct_id: str, context: StackContext) -> None:
        super().__init__(scope, construct_id)
        days = context.environment.logging_configuration.retention_days
        bucket = private_bucket(
            self,
            context.aws_scope,
            name=f"{context.name}-task-logs",
            force_destroy=True,
            key_arn=context.key_arn,
            policy_id="tls_only",
            rules=[
                lifecycle_rule(
                    "old", expiration=S3BucketLifecycleConfigurationRuleExpiration(days=days), noncurrent_days=1
                )
            ],
        ).bucket
        self.bucket_name = bucket.bucket
        self.bucket_arn = bucket.arn
