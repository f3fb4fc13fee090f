# SPDX-License-Identifier: Apache-2.0
"""The alarms of an environment as CloudWatch resources."""

from collections.abc import Sequence
from typing import Final

from cdktn import ITerraformDependable, TerraformResourceLifecycle
from cdktn_provider_aws.cloudwatch_metric_alarm import CloudwatchMetricAlarm
from constructs import Construct

from cdktf_app.base.stack_context import StackContext
from cdktf_app.monitoring.alarm_definitions import PERIOD_S, Alarm, anchor

_RUNBOOK: Final = "What to do: docs/how-to/alarms.md"


class Alarms(Construct):
    """One alarm per definition; each notifies `topic_arn` when it starts and when it ends.

    Alarms that treat missing data as breaching are created after the services in `depends_on` and destroyed before
    them. That suppresses alarms while an environment is created or destroyed.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        context: StackContext,
        *,
        topic_arn: str,
        alarms: Sequence[Alarm],
        depends_on: Sequence[ITerraformDependable],
    ) -> None:
        super().__init__(scope, construct_id)
        sleeps = context.environment.sleep is not None
        for alarm in alarms:
            alarm_type, metric = alarm.type, alarm.metric
            CloudwatchMetricAlarm(
                self,
                alarm.id,
                alarm_name=f"{context.name}/{alarm.id}",
                alarm_description=f"{alarm.text} {_RUNBOOK}#{anchor(alarm_type.name)}",
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
                # The scaler disables the actions during sleep.
                lifecycle=TerraformResourceLifecycle(ignore_changes=["actions_enabled"]) if sleeps else None,
                depends_on=list(depends_on) if alarm_type.missing == "breaching" else None,
            )
        # Built from the names, because emulators without alarms cannot return ARNs.
        self.arns = [context.aws_scope.arn("cloudwatch", f"alarm:{context.name}/{alarm.id}") for alarm in alarms]
