# SPDX-License-Identifier: Apache-2.0
"""The bucket of the access logs of load balancers and CloudFront; objects expire after a number of days.

Everything is below AWSLogs/ACCOUNT. CloudWatch Logs puts that before CloudFront's path only when it creates a delivery,
not when it updates one, unless the destination has a prefix of its own; so it has this one.
"""

from cdktn_provider_aws.lb import LbAccessLogs
from cdktn_provider_aws.s3_bucket_lifecycle_configuration import S3BucketLifecycleConfigurationRuleExpiration
from constructs import Construct

from cdktf_app.base.aws_scope import GLOBAL_REGION, AwsScope
from cdktf_app.base.policies import Condition, Statement
from cdktf_app.storage.private_bucket import lifecycle_rule, private_bucket


class AccessLogs(Construct):
    """The bucket; `cloudfront` also allows CloudFront to write to it."""

    def __init__(
        self, scope: Construct, construct_id: str, *, name: str, aws_scope: AwsScope, days: int, cloudfront: bool
    ) -> None:
        super().__init__(scope, construct_id)

        def writers(bucket_arn: str) -> list[Statement]:
            statements = [_load_balancers(bucket_arn, aws_scope)]
            return [*statements, _cloudfront(bucket_arn, aws_scope)] if cloudfront else statements

        bucket, self.policy = private_bucket(
            self,
            aws_scope,
            name=f"{name}-access",
            # The logs have a limited retention, so a destroy deletes them.
            force_destroy=True,
            # Load balancers support S3's own keys only.
            key_arn=None,
            policy_id="writers",
            writers=writers,
            rules=[
                lifecycle_rule(
                    "old",
                    expiration=S3BucketLifecycleConfigurationRuleExpiration(days=days),
                    noncurrent_days=1,
                    abort_uploads_days=1,
                )
            ],
        )
        self.cloudfront_arn = f"{_root(bucket.arn, aws_scope)}/CloudFront"
        """The destination of CloudFront's logs: the bucket with a prefix."""
        # A reference to the policy: a load balancer tests its write access when it is created.
        self.of_load_balancers = LbAccessLogs(bucket=self.policy.bucket, enabled=True)


def _load_balancers(bucket_arn: str, aws_scope: AwsScope) -> Statement:
    sources = Condition("ArnLike", "aws:SourceArn", (aws_scope.arn("elasticloadbalancing", "loadbalancer/*"),))
    service = "logdelivery.elasticloadbalancing.amazonaws.com"
    return _writer("LoadBalancers", service, bucket_arn, aws_scope, sources)


def _cloudfront(bucket_arn: str, aws_scope: AwsScope) -> Statement:
    """Return the statement in AWS's own words ("Logs sent to Amazon S3" in the CloudWatch Logs user guide).

    AWS appends its statement to a policy that does not contain it, and Terraform would remove it again.
    """
    source = f"arn:{aws_scope.partition}:logs:{GLOBAL_REGION}:{aws_scope.account}:delivery-source:*"
    conditions = (
        Condition("StringEquals", "s3:x-amz-acl", ("bucket-owner-full-control",)),
        Condition("StringEquals", "aws:SourceAccount", (aws_scope.account,)),
        Condition("ArnLike", "aws:SourceArn", (source,)),
    )
    return _writer("AWSLogDeliveryWrite", "delivery.logs.amazonaws.com", bucket_arn, aws_scope, *conditions)


def _writer(sid: str, service: str, bucket_arn: str, aws_scope: AwsScope, *conditions: Condition) -> Statement:
    objects = (f"{_root(bucket_arn, aws_scope)}/*",)
    return Statement(sid, ("s3:PutObject",), objects, principals={"Service": (service,)}, conditions=conditions)


def _root(bucket_arn: str, aws_scope: AwsScope) -> str:
    return f"{bucket_arn}/AWSLogs/{aws_scope.account}"
