# SPDX-License-Identifier: Apache-2.0
"""The policy statements of the task roles: exactly the AWS calls of each component."""

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
"""CloudWatch namespace of the scaler; only the scaler can write to it."""
# Namespace of MWAA's RunningTasks and QueuedTasks, which the scaler publishes too.
MWAA_NAMESPACE: Final = "AmazonMWAA"
_ACCOUNT_WIDE: Final = "the operation does not support resources"


@dataclass(frozen=True)
class TaskPolicies:
    """Builds the statements of every task role of an environment."""

    aws_scope: AwsScope
    key_arn: str
    storage: DagBucket
    broker: CeleryBroker
    logs: LogGroups
    cluster: FargateCluster

    def control_plane(self) -> Mapping[str, Sequence[Statement]]:
        """Return the statements of each control plane component."""
        return {
            "scheduler": self._send_messages() if self._queues else self._prepare_broker(),
            "dag-processor": self._read_dags(),
            "triggerer": [*self._read_dags(), *self._write_task_logs()],
            "execution-api": [],
            "web-server": [self._read_task_logs()],
        }

    def worker(self) -> list[Statement]:
        """Return the statements of MWAA's execution role without wildcards, and of task protection.

        Not included: MWAA's own action `airflow:PublishMetrics`, and log groups of other environments.
        """
        return [
            *self._read_source_bucket(),
            *self._worker_logs(),
            self._publish_metrics(),
            *self._consume_queues(),
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
            # The ECS agent endpoint uses the task role, and task ids are not known in advance.
            Statement(
                sid="ProtectOwnTask",
                actions=("ecs:GetTaskProtection", "ecs:UpdateTaskProtection"),
                resources=(self.cluster.every_task,),
            ),
        ]

    def scaler(self, services: Sequence[str], overrides_prefix: str) -> list[Statement]:
        """Return the statements of the scaler, which can change the desired counts of `services` only.

        It can read the manual overrides under `overrides_prefix`, but not write them.
        """
        of_cluster = Condition("ArnEquals", "ecs:cluster", (self.cluster.arn,))
        return [
            Statement(
                sid="SizeFleets",
                actions=("ecs:DescribeServices", "ecs:UpdateService"),
                resources=tuple(self.cluster.service_arn(service) for service in _any_suffix(services)),
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
            *self._read_backlog(),
            Statement(
                sid="ReadControls",
                actions=("ssm:GetParameters",),
                resources=(self.aws_scope.arn("ssm", f"parameter{overrides_prefix}*"),),
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
        # `prepare-broker`, in the scheduler's task, sets passwords that Terraform must not store.
        return [
            Statement(
                sid="PrepareBroker",
                actions=("elasticache:DescribeUsers", "elasticache:ModifyUser"),
                resources=tuple(self.broker.user_arns),
            )
        ]

    def _consume_queues(self) -> list[Statement]:
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

    def _read_backlog(self) -> list[Statement]:
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
        # MWAA's role allows `airflow-NAME-*`, which includes the groups of an environment NAME-2.
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
        # As in MWAA's role, without the scaler's namespaces: DAG code must not write metrics that alarms use.
        return Statement(
            sid="PublishMetrics",
            actions=("cloudwatch:PutMetricData",),
            resources=EVERY,
            every_resource_because=_ACCOUNT_WIDE,
            conditions=(Condition("StringNotEquals", "cloudwatch:namespace", (METRICS_NAMESPACE, MWAA_NAMESPACE)),),
        )


def _any_suffix(services: Sequence[str]) -> list[str]:
    """Return `services` with `?` for the suffix a or b: both names of 20 fleets would exceed the size limit of IAM."""
    return sorted({f"{service[:-1]}?" for service in services})
