# SPDX-License-Identifier: Apache-2.0
"""What the code of each component may do in AWS, written out of what it calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from cdktf_app.base.aws_scope import AwsScope
from cdktf_app.base.log_groups import GROUPS, LogGroups
from cdktf_app.base.policies import EVERY, Condition, Statement, kms_via_service
from cdktf_app.broker.base import CeleryBroker
from cdktf_app.compute.cluster import FargateCluster
from cdktf_app.storage.dag_bucket import DagBucket

METRICS_NAMESPACE: Final = "openmwaa"
"""In CloudWatch; only the scaler writes to it."""
# Where MWAA has RunningTasks and QueuedTasks; the scaler says them there too.
MWAA_NAMESPACE: Final = "AmazonMWAA"
_ACCOUNT_WIDE: Final = "the operation knows no resource"


@dataclass(frozen=True)
class TaskPolicies:
    """The statements of every task role of an environment, by what the components use."""

    aws_scope: AwsScope
    key_arn: str
    storage: DagBucket
    broker: CeleryBroker
    logs: LogGroups
    cluster: FargateCluster

    def control_plane(self) -> Mapping[str, Sequence[Statement]]:
        """Return the statements of every component of the control plane."""
        return {
            "scheduler": self._send_messages() if self._queues else self._prepare_broker(),
            "dag-processor": self._read_dags(),
            "triggerer": [*self._read_dags(), *self._write_task_logs()],
            "execution-api": [],
            "web-server": [self._read_task_logs()],
        }

    def worker(self) -> list[Statement]:
        """Return MWAA's execution role, its wildcards spelled out, and the protection that workers ask for themselves.

        Left out of MWAA's are the actions for MWAA itself (`airflow:PublishMetrics`) and for log groups of others.
        """
        return [
            *self._read_source_bucket(),
            *self._worker_logs(),
            self._publish_metrics(),
            *self._work_off_queues(),
            Statement(
                sid="KeyOfBucketAndQueues",
                actions=(
                    "kms:Decrypt",
                    "kms:DescribeKey",
                    "kms:Encrypt",
                    "kms:GenerateDataKey",
                    "kms:GenerateDataKeyWithoutPlaintext",
                ),
                resources=(self.key_arn,),
                conditions=(kms_via_service(self.aws_scope, "sqs", "s3"),),
            ),
            # The agent endpoint acts as the task's role, and a task's id is known only when it runs.
            Statement(
                sid="ProtectOwnTask",
                actions=("ecs:GetTaskProtection", "ecs:UpdateTaskProtection"),
                resources=(self.cluster.every_task,),
            ),
        ]

    def scaler(self, services: Sequence[str], controls_prefix: str) -> list[Statement]:
        """Return what the scaler needs to size the ECS services called `services`, and no other.

        It reads what people ordered under `controls_prefix`, and cannot order anything itself.
        """
        of_cluster = Condition("ArnEquals", "ecs:cluster", (self.cluster.arn,))
        return [
            Statement(
                sid="SizeFleets",
                actions=("ecs:DescribeServices", "ecs:UpdateService"),
                resources=tuple(self.cluster.service_arn(service) for service in _generations(services)),
            ),
            Statement(
                sid="SeeTasks",
                actions=("ecs:DescribeTasks", "ecs:GetTaskProtection"),
                resources=(self.cluster.every_task,),
                conditions=(of_cluster,),
            ),
            Statement(
                sid="ListTasks",
                actions=("ecs:ListTasks",),
                resources=EVERY,
                every_resource_because="ListTasks is authorised by the container instance, and Fargate has none; "
                "the condition holds it to this cluster",
                conditions=(of_cluster,),
            ),
            *self._see_backlog(),
            Statement(
                sid="ReadControls",
                actions=("ssm:GetParameters",),
                resources=(self.aws_scope.arn("ssm", f"parameter{controls_prefix}*"),),
            ),
            Statement(
                sid="PublishScalerMetrics",
                actions=("cloudwatch:PutMetricData",),
                resources=EVERY,
                every_resource_because=_ACCOUNT_WIDE,
                conditions=(Condition("StringEquals", "cloudwatch:namespace", (METRICS_NAMESPACE, MWAA_NAMESPACE)),),
            ),
        ]

    @property
    def _queues(self) -> tuple[str, ...]:
        return tuple(self.broker.arns.values())

    def _prepare_broker(self) -> list[Statement]:
        # The container before the scheduler gives Redis's users what Terraform must not know.
        return [
            Statement(
                sid="PrepareBroker",
                actions=("elasticache:DescribeUsers", "elasticache:ModifyUser"),
                resources=tuple(self.broker.user_arns),
            )
        ]

    def _work_off_queues(self) -> list[Statement]:
        if not self._queues:
            return []
        actions = ("ChangeMessageVisibility", "DeleteMessage", "GetQueueAttributes", "GetQueueUrl", "ReceiveMessage")
        return [
            Statement(
                sid="WorkerQueues",
                actions=tuple(f"sqs:{action}" for action in (*actions, "SendMessage")),
                resources=self._queues,
            )
        ]

    def _see_backlog(self) -> list[Statement]:
        if not self._queues:
            return []
        return [Statement(sid="SeeBacklog", actions=("sqs:GetQueueAttributes",), resources=self._queues)]

    def _send_messages(self) -> list[Statement]:
        return [
            Statement(
                sid="SendTasks",
                actions=("sqs:GetQueueAttributes", "sqs:GetQueueUrl", "sqs:SendMessage"),
                resources=self._queues,
            ),
            Statement(
                sid="KeyOfQueues",
                actions=("kms:Decrypt", "kms:GenerateDataKey"),
                resources=(self.key_arn,),
                conditions=(kms_via_service(self.aws_scope, "sqs"),),
            ),
        ]

    def _read_dags(self) -> list[Statement]:
        return [
            Statement(
                sid="ListDags",
                actions=("s3:GetBucketLocation", "s3:ListBucket"),
                resources=(self.storage.bucket_arn,),
            ),
            Statement(
                sid="ReadDags",
                actions=("s3:GetObject", "s3:GetObjectVersion"),
                resources=(f"{self.storage.bucket_arn}/*",),
            ),
            Statement(
                sid="KeyOfBucket",
                actions=("kms:Decrypt",),
                resources=(self.key_arn,),
                conditions=(kms_via_service(self.aws_scope, "s3"),),
            ),
        ]

    def _read_source_bucket(self) -> list[Statement]:
        bucket = self.storage.bucket_arn
        return [
            Statement(
                sid="SourceBucket",
                actions=(
                    "s3:GetBucketLocation",
                    "s3:GetBucketPublicAccessBlock",
                    "s3:GetBucketVersioning",
                    "s3:GetEncryptionConfiguration",
                    "s3:ListBucket",
                    "s3:ListBucketVersions",
                ),
                resources=(bucket,),
            ),
            Statement(
                sid="SourceObjects",
                actions=(
                    "s3:GetObject",
                    "s3:GetObjectAttributes",
                    "s3:GetObjectTagging",
                    "s3:GetObjectVersion",
                    "s3:GetObjectVersionAttributes",
                ),
                resources=(f"{bucket}/*",),
            ),
            Statement(
                sid="AccountPublicAccessBlock",
                actions=("s3:GetAccountPublicAccessBlock",),
                resources=EVERY,
                every_resource_because=_ACCOUNT_WIDE,
            ),
            Statement(
                sid="NoOtherBuckets",
                effect="Deny",
                actions=("s3:ListAllMyBuckets",),
                resources=EVERY,
                every_resource_because=_ACCOUNT_WIDE,
            ),
        ]

    def _worker_logs(self) -> list[Statement]:
        # MWAA's role says `airflow-NAME-*`, which lets DAG code into the groups of an environment NAME-too.
        groups = [self.logs.group(module).arn for module in GROUPS if module != "scaler"]
        return [
            Statement(
                sid="OwnLogGroups",
                actions=(
                    "logs:CreateLogGroup",
                    "logs:CreateLogStream",
                    "logs:GetLogEvents",
                    "logs:GetLogGroupFields",
                    "logs:GetLogRecord",
                    "logs:GetQueryResults",
                    "logs:PutLogEvents",
                ),
                resources=(*groups, *(f"{group}:*" for group in groups)),
            ),
            self._find_log_groups(),
        ]

    def _write_task_logs(self) -> list[Statement]:
        return [
            Statement(
                sid="WriteTaskLogs",
                actions=("logs:CreateLogStream", "logs:PutLogEvents"),
                resources=(f"{self.logs.group('task').arn}:*",),
            ),
            self._find_log_groups(),
        ]

    def _read_task_logs(self) -> Statement:
        return Statement(
            sid="ReadTaskLogs", actions=("logs:GetLogEvents",), resources=(f"{self.logs.group('task').arn}:*",)
        )

    @staticmethod
    def _find_log_groups() -> Statement:
        return Statement(
            sid="FindLogGroups",
            actions=("logs:DescribeLogGroups",),
            resources=EVERY,
            every_resource_because=_ACCOUNT_WIDE,
        )

    @staticmethod
    def _publish_metrics() -> Statement:
        # As in MWAA's role, but for the numbers that the scaler publishes: DAG code must not tell what alarms watch.
        return Statement(
            sid="PublishMetrics",
            actions=("cloudwatch:PutMetricData",),
            resources=EVERY,
            every_resource_because=_ACCOUNT_WIDE,
            conditions=(Condition("StringNotEquals", "cloudwatch:namespace", (METRICS_NAMESPACE, MWAA_NAMESPACE)),),
        )


def _generations(services: Sequence[str]) -> list[str]:
    """Return `services` with `?` for the letter of the generation: spelled out, twenty fleets are too long for IAM."""
    return sorted({f"{service[:-1]}?" for service in services})
