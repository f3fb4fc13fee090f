# SPDX-License-Identifier: Apache-2.0
"""Flow logs of the environment's own VPC: rejected connections, or all.

CloudWatch charges about 0.50 USD per GB. Rejected connections are few, and show which rule is missing.
"""

from cdktn_provider_aws.cloudwatch_log_group import CloudwatchLogGroup
from cdktn_provider_aws.flow_log import FlowLog
from constructs import Construct

from cdktf_app.base.log_groups import flow_log_group_name
from cdktf_app.base.policies import EVERY, Statement
from cdktf_app.base.stack_context import StackContext
from cdktf_app.security.roles import Roles

_SERVICE = "vpc-flow-logs.amazonaws.com"
_LONGEST_S = 600
_SHORTEST_S = 60


class FlowLogs(Construct):
    """The log group `airflow-NAME-VpcFlowLogs`, its flow log and role."""

    def __init__(
        self, scope: Construct, construct_id: str, context: StackContext, *, vpc_id: str, roles: Roles
    ) -> None:
        super().__init__(scope, construct_id)
        environment = context.environment
        group = CloudwatchLogGroup(
            self,
            "group",
            name=flow_log_group_name(environment.name),
            retention_in_days=environment.logging_configuration.retention_days,
            kms_key_id=context.key_arn,
        )
        role = roles.service_role(
            "flow-logs",
            _statements(group.arn),
            service=_SERVICE,
            sources=[context.aws_scope.arn("ec2", "vpc-flow-log/*")],
        )
        FlowLog(
            self,
            "log",
            vpc_id=vpc_id,
            traffic_type=environment.network.flow_logs,
            log_destination_type="cloud-watch-logs",
            log_destination=group.arn,
            iam_role_arn=role.arn,
            # 10 minutes gives a tenth of the records of 1 minute; ALL uses 1 minute for exact times.
            max_aggregation_interval=_SHORTEST_S if environment.network.flow_logs == "ALL" else _LONGEST_S,
            tags={"Name": context.name},
            depends_on=[role.ready],
        )


def _statements(group_arn: str) -> list[Statement]:
    # No CreateLogGroup: a late delivery must not create the group again after a destroy.
    write = ("logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents")
    return [
        Statement("WriteFlowLogs", write, (f"{group_arn}:*",)),
        Statement(
            "FindLogGroups",
            ("logs:DescribeLogGroups",),
            EVERY,
            every_resource_because="the operation does not support resources",
        ),
    ]
