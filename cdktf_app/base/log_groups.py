# SPDX-License-Identifier: Apache-2.0
"""The log groups: MWAA's five by MWAA's names, and the scaler's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from cdktn_provider_aws.cloudwatch_log_group import CloudwatchLogGroup
from constructs import Construct

from cdktf_app.base.aws_scope import AwsScope
from openmwaa.config.environment import Environment, LoggingConfiguration, ModuleLogging

# Module -> the group's last word. The triggerer writes to Scheduler, as in MWAA, and the execution API to WebServer.
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

    def __init__(self, scope: Construct, construct_id: str, *, environment: Environment, key_arn: str) -> None:
        super().__init__(scope, construct_id)
        self._groups = {
            module: self._group(module, f"airflow-{environment.name}-{word}", environment, key_arn)
            for module, word in GROUPS.items()
        }

    def group(self, module: str) -> LogGroup:
        """Return the group of one of `GROUPS`."""
        group = self._groups[module]
        return LogGroup(group.name, group.arn)

    def _group(self, module: str, name: str, environment: Environment, key_arn: str) -> CloudwatchLogGroup:
        # Of the class STANDARD, which is what a group is that says none, and stays: the web server reads task logs by
        # GetLogEvents, which INFREQUENT_ACCESS has not.
        days = environment.logging_configuration.retention_days
        return CloudwatchLogGroup(self, module, name=name, retention_in_days=days, kms_key_id=key_arn)


def group_pattern(environment_name: str, aws_scope: AwsScope) -> str:
    """Return the ARN pattern of the environment's log groups, as MWAA's execution role names them."""
    return aws_scope.arn("logs", f"log-group:airflow-{environment_name}-*")


def level(logging: LoggingConfiguration, module: str) -> str:
    """Return the least severe level that `module` writes; a module that is off still writes warnings."""
    configured: ModuleLogging = getattr(logging, f"{module}_logs")
    return configured.log_level if configured.enabled else "WARNING"
