# SPDX-License-Identifier: Apache-2.0
"""The SNS topic that alarms go to: encrypted, and written to by the alarms of this account alone."""

from __future__ import annotations

import hashlib
from typing import Final

from cdktn import TerraformOutput
from cdktn_provider_aws.sns_topic import SnsTopic
from cdktn_provider_aws.sns_topic_subscription import SnsTopicSubscription
from constructs import Construct

from cdktf_app.base.aws_scope import AwsScope
from cdktf_app.base.policies import Condition, Statement, policy_json, tls_only
from cdktf_app.base.resource_names import escape_template, truncate_with_hash
from openmwaa.config.monitoring import Monitoring

_NAME_LIMIT: Final = 256


class AlarmTopic(Construct):
    """The topic of an environment, or the one that is given; `arn` is where alarms go.

    The policy of a given topic and of its key is their owner's: CloudWatch must be let in by both.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        name: str,
        aws_scope: AwsScope,
        key_arn: str,
        monitoring: Monitoring,
    ) -> None:
        super().__init__(scope, construct_id)
        if monitoring.alarm_topic_arn is not None:
            self.arn = monitoring.alarm_topic_arn
            return
        named = truncate_with_hash(f"{name}-alarms", limit=_NAME_LIMIT)
        topic = SnsTopic(
            self,
            "topic",
            name=named,
            kms_master_key_id=key_arn,
            signature_version=2,  # SHA-256; 1 is SHA-1
            policy=policy_json(self, "policy", _statements(aws_scope.arn("sns", named), aws_scope)),
        )
        self.arn = topic.arn
        TerraformOutput(
            self, "output", description="Where alarms go; whoever is to hear of them subscribes to it", value=topic.arn
        ).override_logical_id("alarm_topic_arn")
        for email in monitoring.alarm_emails:
            # Named by the address: one more or less asks nobody else to follow the link again that AWS sends them.
            digest = hashlib.sha256(email.encode()).hexdigest()[:8]
            SnsTopicSubscription(
                self, f"email_{digest}", topic_arn=topic.arn, protocol="email", endpoint=escape_template(email)
            )


def _statements(arn: str, aws_scope: AwsScope) -> list[Statement]:
    return [
        Statement(
            sid="AlarmsOfThisAccount",
            actions=("sns:Publish",),
            resources=(arn,),
            principals={"Service": ("cloudwatch.amazonaws.com",)},
            conditions=(
                Condition("StringEquals", "aws:SourceAccount", (aws_scope.account,)),
                Condition("ArnLike", "aws:SourceArn", (aws_scope.arn("cloudwatch", "alarm:*"),)),
            ),
        ),
        tls_only((arn,), "sns:Publish"),
    ]
