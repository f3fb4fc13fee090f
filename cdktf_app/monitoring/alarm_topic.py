# SPDX-License-Identifier: Apache-2.0
"""The SNS topic of the alarms: encrypted; only alarms of this account can publish."""

import hashlib
from typing import Final

from cdktn import TerraformOutput
from cdktn_provider_aws.sns_topic import SnsTopic
from cdktn_provider_aws.sns_topic_subscription import SnsTopicSubscription
from constructs import Construct

from cdktf_app.base.aws_scope import AwsScope
from cdktf_app.base.policies import Condition, Statement, policy_json, tls_only
from cdktf_app.base.resource_names import escape_template, truncate_with_hash
from cdktf_app.base.stack_context import StackContext

_NAME_LIMIT: Final = 256


class AlarmTopic(Construct):
    """The topic of an environment: a new or an existing one.

    The owner of an existing topic must allow CloudWatch in the policies of the topic and of its key.
    """

    def __init__(self, scope: Construct, construct_id: str, context: StackContext) -> None:
        super().__init__(scope, construct_id)
        monitoring, aws_scope = context.environment.monitoring, context.aws_scope
        if monitoring.alarm_topic_arn is not None:
            self.arn = monitoring.alarm_topic_arn
            return
        topic_name = truncate_with_hash(f"{context.name}-alarms", limit=_NAME_LIMIT)
        topic = SnsTopic(
            self,
            "topic",
            name=topic_name,
            kms_master_key_id=context.key_arn,
            signature_version=2,  # SHA-256; 1 is SHA-1
            policy=policy_json(self, "policy", _statements(aws_scope.arn("sns", topic_name), aws_scope)),
        )
        self.arn = topic.arn
        TerraformOutput(
            self, "output", description="SNS topic of the alarms; subscribe to it to receive them", value=topic.arn
        ).override_logical_id("alarm_topic_arn")
        for email in monitoring.alarm_emails:
            # The construct id depends on the address only: a change of the list does not send other subscribers a new
            # confirmation mail.
            digest = hashlib.sha256(email.encode()).hexdigest()[:8]
            SnsTopicSubscription(
                self, f"email_{digest}", topic_arn=topic.arn, protocol="email", endpoint=escape_template(email)
            )


def _statements(arn: str, aws_scope: AwsScope) -> list[Statement]:
    return [
        Statement(
            "AlarmsOfThisAccount",
            ("sns:Publish",),
            (arn,),
            principals={"Service": ("cloudwatch.amazonaws.com",)},
            conditions=(
                Condition("StringEquals", "aws:SourceAccount", (aws_scope.account,)),
                Condition("ArnLike", "aws:SourceArn", (aws_scope.arn("cloudwatch", "alarm:*"),)),
            ),
        ),
        tls_only((arn,), "sns:Publish"),
    ]
