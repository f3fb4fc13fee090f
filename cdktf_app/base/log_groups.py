# SPDX-License-Identifier: Apache-2.0
"""The log groups: five with MWAA's names, and one of the scaler."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from cdktn_provider_aws.cloudwatch_log_group import CloudwatchLogGroup
from constructs import Construct

from cdktf_app.base.aws_scope import AwsScope
from cdktf_app.base.stack_context import StackContext
from openmwaa.config.log_modules import LoggingConfiguration, ModuleLogging

_VPC_FLOW_LOGS: Final = "VpcFlowLogs"
# Module -> suffix of the group. The triggerer writes to Scheduler, as in MWAA.
GROUPS: Final[Mapping[str, str]] = {
    "scheduler": "Scheduler",
    "dag_processing": "DAGProcessing",
    "webserver": "WebServer",
    "worker": "Worker",
    "task": "Task",
    "scaler": "Scaler",
}


@dataclass(frozen=True)
class LogGroup:
    """A log group by name and ARN."""

    name: str
    arn: str


class LogGroups(Construct):
    """The log groups of an environment."""

    def __init__(self, scope: Construct, construct_id: str, context: StackContext) -> None:
        super().__init__(scope, construct_id)
        environment = context.environment
        # The default class STANDARD is required: the web server reads task logs with GetLogEvents, which
        # INFREQUENT_ACCESS does not support.
        groups = {
            module: CloudwatchLogGroup(
                self,
                module,
                name=_name(environment.name, word),
                retention_in_days=environment.logging_configuration.retention_days,
                kms_key_id=context.key_arn,
            )
            for module, word in GROUPS.items()
        }
        self._groups = {module: LogGroup(group.name, group.arn) for module, group in groups.items()}

    def group(self, module: str) -> LogGroup:
        """Return the log group of a module of `GROUPS`."""
        return self._groups[module]


def flow_log_group_name(environment_name: str) -> str:
    """Return the name of the log group of the VPC's flow logs."""
    return _name(environment_name, _VPC_FLOW_LOGS)


def group_arns(environment_name: str, aws_scope: AwsScope) -> list[str]:
    """Return the ARNs of the log groups; `airflow-NAME-*` would include those of an environment NAME-2."""
    words = (*GROUPS.values(), _VPC_FLOW_LOGS)
    return [aws_scope.arn("logs", f"log-group:{_name(environment_name, word)}") for word in words]


def _name(environment_name: str, word: str) -> str:
    return f"airflow-{environment_name}-{word}"


def level(logging: LoggingConfiguration, module: str) -> str:
    """Return the log level of `module`; a disabled module writes warnings."""
    configured: ModuleLogging = getattr(logging, f"{module}_logs")
    return configured.log_level if configured.enabled else "WARNING"
