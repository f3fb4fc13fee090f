# SPDX-License-Identifier: Apache-2.0
"""The alarms of an environment in CloudWatch: `alarm_table` as resources."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from cdktn import ITerraformDependable
from cdktn_provider_aws.cloudwatch_metric_alarm import CloudwatchMetricAlarm
from constructs import Construct

from cdktf_app.base.aws_scope import AwsScope
from cdktf_app.monitoring.alarm_definitions import PERIOD_S, Alarm, anchor

_RUNBOOK: Final = "What to do: docs/how-to/alarms.md"


class Alarms(Construct):
    """One alarm a row; each tells `topic_arn` when it begins and when it ends.

    Those for which silence is an alarm come `after` the services that are to speak, and go before them: nobody is
    woken by an environment that is made or destroyed.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        name: str,
        aws_scope: AwsScope,
        topic_arn: str,
        alarms: Sequence[Alarm],
        after: Sequence[ITerraformDependable] = (),
    ) -> None:
        super().__init__(scope, construct_id)
        self._after = list(after)
        for alarm in alarms:
            self._alarm(f"{name}/{alarm.id}", alarm, topic_arn)
        # By name: a place without alarms has nobody to ask for their ARNs.
        self.arns = [aws_scope.arn("cloudwatch", f"alarm:{name}/{alarm.id}") for alarm in alarms]

    def _alarm(self, name: str, alarm: Alarm, topic_arn: str) -> None:
        alarm_type, metric = alarm.type, alarm.metric
        CloudwatchMetricAlarm(
            self,
            alarm.id,
            alarm_name=name,
            alarm_description=f"{alarm.words} {_RUNBOOK}#{anchor(alarm_type.name)}",
            namespace=metric.namespace,
            metric_name=metric.name,
            dimensions=dict(metric.dimensions),
            statistic=metric.statistic,
            period=PERIOD_S,
            evaluation_periods=alarm_type.periods,
            datapoints_to_alarm=alarm_type.periods,
            comparison_operator=alarm_type.comparison,
            threshold=alarm_type.threshold,
            treat_missing_data=alarm_type.missing,
            alarm_actions=[topic_arn],
            ok_actions=[topic_arn],
            depends_on=self._after if alarm_type.missing == "breaching" and self._after else None,
        )
