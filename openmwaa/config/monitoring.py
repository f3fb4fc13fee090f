# SPDX-License-Identifier: Apache-2.0
"""Who is told when something is wrong, and what is drawn."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, StringConstraints, model_validator

from openmwaa.config.strict_model import StrictModel

Email = Annotated[str, StringConstraints(pattern=r"^\S+@\S+\.\S+$")]


class Monitoring(StrictModel):
    """Alarms, the topic that they go to, and dashboards."""

    alarms: bool = True
    """MWAA's recommended alarms, the scaler's and the dead letters', at 0.10 USD a month each."""
    alarm_topic_arn: Annotated[str, StringConstraints(pattern=r"^arn:aws[a-z-]*:sns:.+$")] | None = None
    """An SNS topic that exists; left out, the stack has its own."""
    alarm_emails: Annotated[tuple[Email, ...], Field(max_length=20)] = ()
    """Who is written to by the stack's own topic; each confirms once."""
    dashboard: bool = True
    """A CloudWatch dashboard, at 3 USD a month beyond an account's first three."""
    container_insights: bool = False
    """ECS's Container Insights: per-task numbers, at a price that exceeds a small environment's."""

    @model_validator(mode="after")
    def _emails_are_of_the_own_topic(self) -> Self:
        if self.alarm_emails and self.alarm_topic_arn:
            raise ValueError("`alarm_emails` subscribe to the stack's own topic; subscribe them to yours instead")
        return self
