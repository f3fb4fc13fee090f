# SPDX-License-Identifier: Apache-2.0
"""Settings of alarms and dashboards."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from openmwaa.config.strict_model import FieldError, StrictModel
from openmwaa.config.text_rules import Email, TopicArn


class Monitoring(StrictModel):
    """Alarms, their SNS topic, and dashboards."""

    alarms: bool = True
    """MWAA's recommended alarms, and those of scaler and dead letters; 0.10 USD per month each."""
    alarm_topic_arn: TopicArn | None = None
    """An existing SNS topic; left out, the stack creates one."""
    alarm_emails: Annotated[tuple[Email, ...], Field(max_length=20)] = ()
    """Email subscribers of the stack's own topic; each must confirm once."""
    dashboard: bool = True
    """A CloudWatch dashboard; 3 USD per month after an account's first three."""
    container_insights: bool = False
    """ECS Container Insights: metrics per task; they cost more than a small environment."""

    @model_validator(mode="after")
    def _emails_are_of_the_own_topic(self) -> Self:
        if self.alarm_emails and self.alarm_topic_arn:
            raise FieldError(
                "`alarm_emails` are for the stack's own topic; subscribe them to `alarm_topic_arn` yourself",
                "alarm_emails",
            )
        return self
