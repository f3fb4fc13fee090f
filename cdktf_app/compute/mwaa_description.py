# SPDX-License-Identifier: Apache-2.0
"""The environment as `GetEnvironment` of MWAA's API describes it, for the web server that answers the call.

The members are those of the shape `Environment` in botocore's model. Numbers of workers are read live, so a new minimum
of workers creates no new revision of the web server.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from cdktn import TerraformLocal, TerraformResource, TerraformResourceLifecycle
from constructs import Construct

from cdktf_app.base.expressions import expression_of
from cdktf_app.base.log_groups import LogGroups
from cdktf_app.base.resource_names import escape_template
from cdktf_app.base.stack_context import StackContext
from cdktf_app.broker.base import CeleryBroker
from cdktf_app.security.roles import Roles
from cdktf_app.storage.artefacts import Artefacts
from cdktf_app.storage.dag_bucket import DagBucket
from openmwaa.config.environment import DEFAULT_QUEUE, Environment
from openmwaa.config.metadata_database import ExistingPostgresql

_LOGS: Final[Mapping[str, str]] = {
    "DagProcessingLogs": "dag_processing",
    "SchedulerLogs": "scheduler",
    "WebserverLogs": "webserver",
    "WorkerLogs": "worker",
    "TaskLogs": "task",
}
_ARTEFACTS: Final[Mapping[str, str]] = {
    "PluginsS3": "plugins",
    "RequirementsS3": "requirements",
    "StartupScriptS3": "startup_script",
}


@dataclass(frozen=True)
class DescribedParts:
    """The resources that the description names."""

    roles: Roles
    storage: DagBucket
    artefacts: Artefacts
    broker: CeleryBroker
    logs: LogGroups
    subnet_ids: Sequence[str]
    security_group_ids: Sequence[str]
    web_url: str


def mwaa_description(scope: Construct, context: StackContext, parts: DescribedParts) -> str:
    """Return the JSON; the time of creation is that of a resource in `scope`."""
    environment = context.environment
    members = {
        **_members(environment),
        "Arn": context.aws_scope.arn("airflow", f"environment/{environment.name}"),
        "CreatedAt": _created_at(scope),
        "WebserverUrl": parts.web_url,
        "ExecutionRoleArn": environment.execution_role_arn or parts.roles.arn("worker"),
        "KmsKey": context.key_arn,
        "SourceBucketArn": parts.storage.bucket_arn,
        **{
            f"{member}{what}": parts.artefacts.variables.get(f"OPENMWAA_{kind.upper()}_{variable}")
            for member, kind in _ARTEFACTS.items()
            for what, variable in (("Path", "KEY"), ("ObjectVersion", "VERSION"))
        },
        "NetworkConfiguration": {
            "SubnetIds": [*parts.subnet_ids],
            "SecurityGroupIds": [*parts.security_group_ids],
        },
        "LoggingConfiguration": {
            member: {
                "Enabled": logging.enabled,
                "LogLevel": logging.log_level,
                "CloudWatchLogGroupArn": parts.logs.group(module).arn,
            }
            for member, module in _LOGS.items()
            if (logging := getattr(environment.logging_configuration, f"{module}_logs"))
        },
        "CeleryExecutorQueue": parts.broker.arns.get(DEFAULT_QUEUE),
    }
    known = {name: value for name, value in members.items() if value is not None}
    return f"${{jsonencode({TerraformLocal(scope, 'mwaa_environment', known).fqn})}}"


def _members(environment: Environment) -> dict[str, Any]:
    """Return the members that are fields of the file."""
    options, tags = environment.airflow_configuration_options, environment.tags
    own_tags = {escape_template(key): escape_template(value) for key, value in tags.items()}
    option_names = expression_of(options)
    database = environment.metadata_database
    # `sun:04:00-sun:05:00` is SUN:04:00.
    window = None if isinstance(database, ExistingPostgresql) else database.maintenance_window[:9].upper()
    return {
        "Name": environment.name,
        "AirflowVersion": environment.airflow_version,
        "DagS3Path": escape_template(environment.dag_s3_path),
        # Only names: the values are variables of the container already.
        "AirflowConfigurationOptions": f"${{keys({option_names})}}" if option_names else [*options],
        "EnvironmentClass": environment.environment_class,
        "WeeklyMaintenanceWindowStart": window,
        "Tags": f"${{{expression}}}" if (expression := expression_of(tags)) else own_tags or None,
        "WebserverAccessMode": environment.webserver_access_mode,
        "Schedulers": environment.schedulers,
        "MinWebservers": environment.min_webservers,
        "MaxWebservers": environment.max_webservers,
    }


def _created_at(scope: Construct) -> str:
    created = TerraformResource(
        scope,
        "created",
        terraform_resource_type="terraform_data",
        lifecycle=TerraformResourceLifecycle(ignore_changes=["input"]),
    )
    created.add_override("input", "${timestamp()}")
    return created.get_string_attribute("output")
