# SPDX-License-Identifier: Apache-2.0
"""The policy statements of the task roles: exactly the AWS calls of each component."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from cdktf_app.base.log_groups import GROUPS, LogGroups
from cdktf_app.base.policies import EVERY, Condition, Statement, kms_via_service
from cdktf_app.base.stack_context import StackContext
from cdktf_app.broker.base import CeleryBroker
from cdktf_app.compute.cluster import FargateCluster
from cdktf_app.database.base import MetadataDatabase
from cdktf_app.storage.artefacts import Artefacts
from cdktf_app.storage.dag_bucket import DagBucket
from cdktf_app.storage.task_log_bucket import TaskLogBucket
from openmwaa.config.secret_prefixes import secret_prefixes

METRICS_NAMESPACE: Final = "openmwaa"
"""CloudWatch namespace of the scaler; only the scaler can write to it."""
# Namespace of MWAA's RunningTasks and QueuedTasks, which the scaler publishes too.
MWAA_NAMESPACE: Final = "AmazonMWAA"

WORKER_TAG: Final = {"openmwaa:component": "worker"}
"""Tag of the services of workers, which ECS gives to their tasks; the scaler may stop only these."""


def _account_wide(sid: str, action: str, *conditions: Condition) -> Statement:
    reason = "the operation does not support resources"
    return Statement(sid, (action,), EVERY, conditions=conditions, every_resource_because=reason)


_READ_METRICS: Final = _account_wide("ReadDemandMetrics", "cloudwatch:GetMetricData")
_OF_WORKERS: Final = Condition("StringEquals", "aws:ResourceTag/openmwaa:component", ("worker",))


@dataclass(frozen=True)
class TaskPolicies:
    """Builds the statements of every task role of an environment."""

    context: StackContext
    storage: DagBucket
    artefacts: Artefacts
    broker: CeleryBroker
    logs: LogGroups
    cluster: FargateCluster
    task_logs: TaskLogBucket | None = None
    """The bucket of task logs; None if they are in their log group."""

    def control_plane(self) -> Mapping[str, Sequence[Statement]]:
        """Return the statements of each control plane component."""
        read, scripts = self._read_artefacts(), self._write_script_logs
        broker = self._send_messages() if self._queues else self._prepare_broker()
        return {
            "scheduler": [*broker, *read, *self._write_artefacts(), *scripts("scheduler")],
            "dag-processor": [*self._read_dags(), *self._read_secrets(), *scripts("dag_processing")],
            "triggerer": [
                *self._read_dags(),
                *self._read_secrets(),
                *self._write_task_logs(),
                *scripts("scheduler"),
            ],
            "execution-api": [*read, *scripts("webserver")],
            "web-server": [*self._read_task_logs(), *read, *scripts("webserver"), *self._simulate_policies()],
        }

    def worker(self) -> list[Statement]:
        """Return the statements of MWAA's execution role without wildcards, and of task protection.

        Not included: MWAA's own action `airflow:PublishMetrics`, log groups of other environments, and writing to other
        groups than that of tasks: ECS writes the components' logs.
        """
        use_key = ("Decrypt", "DescribeKey", "Encrypt", "GenerateDataKey", "GenerateDataKeyWithoutPlaintext")
        # As in MWAA's role, without the scaler's namespaces: DAG code must not write metrics that alarms use.
        other_namespaces = Condition("StringNotEquals", "cloudwatch:namespace", (METRICS_NAMESPACE, MWAA_NAMESPACE))
        protect = ("ecs:GetTaskProtection", "ecs:UpdateTaskProtection")
        return [
            *self._read_source_bucket(),
            self._read_logs(),
            *self._write_task_logs(),
            _account_wide("FindLogGroups", "logs:DescribeLogGroups"),
            _account_wide("PublishMetrics", "cloudwatch:PutMetricData", other_namespaces),
            *self._consume_queues(),
            self._key_of("KeyOfBucketAndQueues", use_key, "sqs", "s3", "secretsmanager", "ssm"),
            *self._read_secrets(),
            # The ECS agent endpoint uses the task role, and task ids are not known in advance.
            Statement("ProtectOwnTask", protect, (self.cluster.every_task,)),
            *self._write_script_logs("worker"),
        ]

    def scaler(self, services: Sequence[str], overrides_prefix: str) -> list[Statement]:
        """Return the statements of the scaler, which can change the desired counts of `services` only.

        It can read its own log, and read and, for the web server with IAM login, write the manual overrides under
        `overrides_prefix`.
        """
        of_cluster = Condition("ArnEquals", "ecs:cluster", (self.cluster.arn,))
        fleets = tuple(self.cluster.service_arn(service) for service in _any_suffix(services))
        tasks = (self.cluster.every_task,)
        overrides = (self.context.aws_scope.arn("ssm", f"parameter{overrides_prefix}*"),)
        write = ("ssm:PutParameter",) if self.context.environment.web_access.uses_iam else ()
        own_log = f"{self.logs.group('scaler').arn}:*"
        own_namespaces = Condition("StringEquals", "cloudwatch:namespace", (METRICS_NAMESPACE, MWAA_NAMESPACE))
        backlog = Statement("SeeBacklog", ("sqs:GetQueueAttributes",), self._queues)
        return [
            Statement("SizeFleets", ("ecs:DescribeServices", "ecs:UpdateService"), fleets),
            Statement("SeeTasks", ("ecs:DescribeTasks", "ecs:GetTaskProtection"), tasks, conditions=(of_cluster,)),
            # One worker that does not answer, is not protected and runs no task: it would block every scale-in.
            Statement("StopSilentWorkers", ("ecs:StopTask",), tasks, conditions=(of_cluster, _OF_WORKERS)),
            Statement(
                "ListTasks",
                ("ecs:ListTasks",),
                EVERY,
                every_resource_because="ListTasks is authorised by the container instance, and Fargate has none; "
                "the condition holds it to this cluster",
                conditions=(of_cluster,),
            ),
            *([backlog] if self._queues else []),
            # One statement, because 20 fleets with the longest names leave no room for two.
            Statement("State", ("logs:FilterLogEvents", "ssm:GetParameters", *write), (own_log, *overrides)),
            _account_wide("PublishMetrics", "cloudwatch:PutMetricData", own_namespaces),
            *([_READ_METRICS] if self.context.environment.has_demand_metrics else []),
        ]

    def sleep(self, parameters: Mapping[str, str], database: MetadataDatabase) -> list[Statement]:
        """Return the scaler's further statements in an environment that may sleep."""
        scope = self.context.aws_scope
        services = tuple(self.cluster.service_arn(service) for service in self.context.environment.services)
        every = parameters.values()
        alarms = (scope.arn("cloudwatch", f"alarm:{self.context.name}/*"),)
        instance = database.dimensions.get("DBInstanceIdentifier")
        of_alarms = ("DisableAlarmActions", "EnableAlarmActions", "SetAlarmState")
        of_database = ("rds:DescribeDBInstances", "rds:StartDBInstance", "rds:StopDBInstance")
        return [
            Statement("SizeControlPlane", ("ecs:DescribeServices", "ecs:UpdateService"), services),
            Statement(
                "ReadSleep", ("ssm:GetParameters",), tuple(scope.arn("ssm", f"parameter{name}") for name in every)
            ),
            Statement("RecordSleep", ("ssm:PutParameter",), (scope.arn("ssm", f"parameter{parameters['memory']}"),)),
            *([Statement("StopDatabase", of_database, (scope.arn("rds", f"db:{instance}"),))] if instance else []),
            *(
                [
                    _account_wide("FindAlarms", "cloudwatch:DescribeAlarms"),
                    Statement("SilenceAlarms", tuple(f"cloudwatch:{action}" for action in of_alarms), alarms),
                ]
                if self.context.environment.monitoring.alarms
                else []
            ),
        ]

    @property
    def _queues(self) -> tuple[str, ...]:
        return tuple(self.broker.arns.values())

    def _key_of(self, sid: str, actions: Sequence[str], *services: str) -> Statement:
        conditions = (kms_via_service(self.context.aws_scope, *services),)
        return Statement(
            sid, tuple(f"kms:{action}" for action in actions), (self.context.key_arn,), conditions=conditions
        )

    def _prepare_broker(self) -> list[Statement]:
        # `prepare-broker`, in the scheduler's task, sets passwords that Terraform must not store.
        actions = ("elasticache:DescribeUsers", "elasticache:ModifyUser")
        return [Statement("PrepareBroker", actions, tuple(self.broker.user_arns))]

    def _consume_queues(self) -> list[Statement]:
        if not self._queues:
            return []
        receive = ("ChangeMessageVisibility", "DeleteMessage", "GetQueueAttributes", "GetQueueUrl", "ReceiveMessage")
        actions = tuple(f"sqs:{action}" for action in (*receive, "SendMessage"))
        return [Statement("WorkerQueues", actions, self._queues)]

    def _send_messages(self) -> list[Statement]:
        actions = ("sqs:GetQueueAttributes", "sqs:GetQueueUrl", "sqs:SendMessage")
        return [
            Statement("SendTasks", actions, self._queues),
            self._key_of("KeyOfQueues", ("Decrypt", "GenerateDataKey"), "sqs"),
        ]

    def _read_dags(self) -> list[Statement]:
        bucket = self.storage.bucket_arn
        return [
            Statement("ListDags", ("s3:GetBucketLocation", "s3:ListBucket"), (bucket,)),
            Statement("ReadDags", ("s3:GetObject", "s3:GetObjectVersion"), (f"{bucket}/*",)),
            self._key_of("KeyOfBucketAndSecrets", ("Decrypt",), "s3", "secretsmanager", "ssm"),
        ]

    def _read_secrets(self) -> list[Statement]:
        """Return the statement for connections and variables under MWAA's prefixes, or under those of the file."""
        scope, prefixes = (
            self.context.aws_scope,
            secret_prefixes(self.context.environment.airflow_configuration_options),
        )
        names = [
            scope.arn(service, f"{kind}{prefix}/*")
            for service, kind in (("secretsmanager", "secret:"), ("ssm", "parameter/"))
            for prefix in prefixes.values()
        ]
        actions = ("secretsmanager:GetSecretValue", "ssm:GetParameter")
        return [Statement("ReadConnectionsAndVariables", actions, tuple(names))] if names else []

    def _read_artefacts(self) -> list[Statement]:
        """Return the statements of components that do not read the whole bucket."""
        if not self.artefacts.arns:
            return []
        objects = (*self.artefacts.arns, *([self.artefacts.built_arn] if self.artefacts.built_arn else []))
        return [
            Statement("ReadArtefacts", ("s3:GetObject", "s3:GetObjectVersion"), objects),
            self._key_of("KeyOfArtefacts", ("Decrypt",), "s3"),
        ]

    def _write_artefacts(self) -> list[Statement]:
        if not self.artefacts.built_arn:
            return []
        return [
            Statement("WriteRequirements", ("s3:PutObject",), (self.artefacts.built_arn,)),
            self._key_of("KeyOfRequirements", ("GenerateDataKey",), "s3"),
        ]

    def _write_script_logs(self, module: str) -> list[Statement]:
        """Return the permission for streams of the startup script alone: ECS writes the other ones."""
        if "startup_script" not in self.context.environment.artefacts:
            return []
        streams = (f"{self.logs.group(module).arn}:log-stream:startup_script_execution/*",)
        sid = f"WriteScriptLogs{module.title().replace('_', '')}"
        return [Statement(sid, ("logs:CreateLogStream", "logs:PutLogEvents"), streams)]

    def _read_source_bucket(self) -> list[Statement]:
        bucket = self.storage.bucket_arn
        of_bucket = (
            "s3:GetBucketLocation",
            "s3:GetBucketPublicAccessBlock",
            "s3:GetBucketVersioning",
            "s3:GetEncryptionConfiguration",
            "s3:ListBucket",
            "s3:ListBucketVersions",
        )
        of_objects = (
            "s3:GetObject",
            "s3:GetObjectAttributes",
            "s3:GetObjectTagging",
            "s3:GetObjectVersion",
            "s3:GetObjectVersionAttributes",
        )
        return [
            Statement("SourceBucket", of_bucket, (bucket,)),
            Statement("SourceObjects", of_objects, (f"{bucket}/*",)),
            _account_wide("AccountPublicAccessBlock", "s3:GetAccountPublicAccessBlock"),
            replace(_account_wide("NoOtherBuckets", "s3:ListAllMyBuckets"), effect="Deny"),
        ]

    def _write_task_logs(self) -> list[Statement]:
        if self.task_logs is None:
            streams = (f"{self.logs.group('task').arn}:*",)
            return [Statement("WriteTaskLogs", ("logs:CreateLogStream", "logs:PutLogEvents"), streams)]
        return [
            Statement("WriteTaskLogs", ("s3:PutObject",), (f"{self.task_logs.bucket_arn}/*",)),
            self._key_of("KeyOfTaskLogs", ("GenerateDataKey",), "s3"),
        ]

    def _read_task_logs(self) -> list[Statement]:
        if self.task_logs is None:
            return [Statement("ReadTaskLogs", ("logs:GetLogEvents",), (f"{self.logs.group('task').arn}:*",))]
        bucket = self.task_logs.bucket_arn
        return [
            Statement("ReadTaskLogs", ("s3:GetObject", "s3:ListBucket"), (bucket, f"{bucket}/*")),
            self._key_of("KeyOfTaskLogs", ("Decrypt",), "s3"),
        ]

    def _simulate_policies(self) -> list[Statement]:
        """Return the permissions to evaluate the policies of this account's users and roles, and to find roles."""
        if not self.context.environment.web_access.simulates_policies:
            return []
        users, roles = (self.context.aws_scope.iam_arn(f"{kind}/*") for kind in ("user", "role"))
        return [
            Statement("SimulatePolicies", ("iam:SimulatePrincipalPolicy",), (users, roles)),
            Statement("FindRoles", ("iam:GetRole",), (roles,)),
        ]

    def _read_logs(self) -> Statement:
        # MWAA's role allows `airflow-NAME-*`, which includes the groups of an environment NAME-2.
        groups = [self.logs.group(module).arn for module in GROUPS if module != "scaler"]
        actions = (
            "logs:GetLogEvents",
            "logs:GetLogGroupFields",
            "logs:GetLogRecord",
            "logs:GetQueryResults",
        )
        return Statement("OwnLogGroups", actions, (*groups, *(f"{group}:*" for group in groups)))


def _any_suffix(services: Sequence[str]) -> list[str]:
    """Return `services` with `?` for the suffix a or b: both names of 20 fleets would exceed the size limit of IAM."""
    return sorted({f"{service[:-1]}?" for service in services})
