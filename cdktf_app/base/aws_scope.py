# SPDX-License-Identifier: Apache-2.0
"""The AWS account, Region and partition of an environment, and its provider."""

from typing import Final

from cdktn_provider_aws.data_aws_caller_identity import DataAwsCallerIdentity
from cdktn_provider_aws.data_aws_partition import DataAwsPartition
from cdktn_provider_aws.provider import AwsProvider, AwsProviderDefaultTags
from constructs import Construct

from cdktf_app.base.resource_names import escape_template
from openmwaa.config.environment import Environment

GLOBAL_REGION: Final = "us-east-1"


class AwsScope(Construct):
    """Region, account, partition and default tags of an environment."""

    def __init__(self, scope: Construct, construct_id: str, *, environment: Environment) -> None:
        super().__init__(scope, construct_id)
        tags = {escape_template(key): escape_template(value) for key, value in environment.tags.items()}
        self._default_tags = [AwsProviderDefaultTags(tags={**tags, "openmwaa:environment": environment.name})]
        AwsProvider(self, "aws", region=environment.region, default_tags=self._default_tags)
        self.region = environment.region
        self.account: str = DataAwsCallerIdentity(self, "caller").account_id
        partition = DataAwsPartition(self, "partition")
        self.partition: str = partition.partition
        self._dns_suffix: str = partition.dns_suffix

    def global_provider(self) -> AwsProvider:
        """Return a new provider of us-east-1, where CloudFront's WAF and log deliveries must be."""
        return AwsProvider(self, "global", alias="global", region=GLOBAL_REGION, default_tags=self._default_tags)

    def arn(self, service: str, resource: str) -> str:
        """Return the ARN of `resource` of `service` in this account and Region."""
        return f"arn:{self.partition}:{service}:{self.region}:{self.account}:{resource}"

    def iam_arn(self, resource: str) -> str:
        """Return the ARN of `resource` of IAM in this account; IAM has no Region."""
        return f"arn:{self.partition}:iam::{self.account}:{resource}"

    def host(self, service: str) -> str:
        """Return the host name of `service` in this Region, as policies name it; China has another suffix."""
        return f"{service}.{self.region}.{self._dns_suffix}"
