# SPDX-License-Identifier: Apache-2.0
"""The bucket of the DAGs: the environment's own, or an existing one."""

from cdktn_provider_aws.s3_bucket_lifecycle_configuration import S3BucketLifecycleConfigurationRuleExpiration
from constructs import Construct

from cdktf_app.base.resource_names import escape_template
from cdktf_app.base.stack_context import StackContext
from cdktf_app.storage.private_bucket import lifecycle_rule, private_bucket


class DagBucket(Construct):
    """The source bucket of an environment; the stack's own bucket is private and versioned."""

    def __init__(self, scope: Construct, construct_id: str, context: StackContext) -> None:
        super().__init__(scope, construct_id)
        environment, aws_scope = context.environment, context.aws_scope
        if environment.source_bucket is not None:
            self.bucket_name = environment.source_bucket
            self.bucket_arn = f"arn:{aws_scope.partition}:s3:::{environment.source_bucket}"
            return
        bucket = private_bucket(
            self,
            aws_scope,
            name=context.name,
            force_destroy=environment.source_bucket_force_destroy,
            key_arn=context.key_arn,
            policy_id="tls_only",
            rules=[
                lifecycle_rule("abandoned-uploads", abort_uploads_days=7),
                lifecycle_rule(
                    "old-versions",
                    # Running tasks start with the applied versions of artefacts, which may no longer be the newest.
                    prefix=f"{escape_template(environment.dag_s3_path)}/" if environment.artefacts else "",
                    noncurrent_days=environment.noncurrent_version_expiration_days,
                    # Delete the marker of a deleted object when its versions have expired.
                    expiration=S3BucketLifecycleConfigurationRuleExpiration(expired_object_delete_marker=True),
                ),
            ],
        ).bucket
        self.bucket_name = bucket.bucket
        self.bucket_arn = bucket.arn
