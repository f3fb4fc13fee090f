# SPDX-License-Identifier: Apache-2.0
"""Common parts of Aurora and RDS: names, arguments, parameter values, log group and monitoring role."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from cdktn import Fn, ITerraformDependable
from cdktn_provider_aws.cloudwatch_log_group import CloudwatchLogGroup
from cdktn_provider_aws.db_subnet_group import DbSubnetGroup
from constructs import Construct

from cdktf_app.base.aws_scope import AwsScope
from cdktf_app.base.local_values import overridable_local
from cdktf_app.base.policies import Statement
from cdktf_app.base.resource_names import host_name
from cdktf_app.database.base import DatabaseProps
from openmwaa.config.metadata_database import AuroraServerless, RdsPostgresql
from openmwaa.config.ports import DATABASE_PORT

ManagedDatabase = AuroraServerless | RdsPostgresql
Database = TypeVar("Database", AuroraServerless, RdsPostgresql)
_INSIGHTS_DAYS: Final = 7  # 7 days are free
_NAME_LIMIT: Final = 50
_CREATION_DIGITS: Final = 6


@dataclass(frozen=True)
class EnhancedMonitoring:
    """Enhanced monitoring: arguments of the instances, and the resources that they depend on."""

    interval_s: int
    role_arn: str | None
    ready: tuple[ITerraformDependable, ...]


class ManagedServer(Construct, Generic[Database]):
    """What an Aurora cluster and an RDS instance have in common."""

    def __init__(self, scope: Construct, construct_id: str, props: DatabaseProps, database: Database) -> None:
        super().__init__(scope, construct_id)
        self._props = props
        self._database: Database = database
        self._subnets = DbSubnetGroup(self, "subnet_group", name=identifier(props), subnet_ids=list(props.subnet_ids))
        self._monitoring = enhanced_monitoring(props, database)
        self.final_snapshot = snapshot_name(props, database)
        self.port = DATABASE_PORT
        self.sslmode = overridable_local(self, "sslmode", database.sslmode)
        self.master_key_arn = props.key_arn

    def _parameter_group_arguments(self, engine: str) -> dict[str, Any]:
        # The family of a major version: aurora-postgresql16, postgres16.
        family = f"{engine}{self._database.engine_version.partition('.')[0]}"
        return {
            # The parameter group of a new major version exists before the old one is deleted.
            "name": f"{identifier(self._props)}-{family}",
            "family": family,
            "description": f"{self._props.name}: TLS only",
        }

    def _server_arguments(self) -> dict[str, Any]:
        """Return the arguments that a cluster and an instance have in common."""
        props, database = self._props, self._database
        return {
            "engine_version": database.engine_version,
            "allow_major_version_upgrade": True,
            "db_subnet_group_name": self._subnets.name,
            "vpc_security_group_ids": [props.security_group_id],
            "port": DATABASE_PORT,
            # RDS stores and rotates the master password; only `prepare-database` reads it.
            "manage_master_user_password": True,
            "master_user_secret_kms_key_id": props.key_arn,
            "storage_encrypted": True,
            "kms_key_id": props.key_arn,
            "backup_retention_period": database.backup_retention_days,
            # The plan was reviewed; a change in the next maintenance window would come as a surprise.
            "apply_immediately": True,
            "copy_tags_to_snapshot": True,
            "enabled_cloudwatch_logs_exports": ["postgresql"] if database.log_exports else None,
            "deletion_protection": database.deletion_protection,
            "skip_final_snapshot": not database.final_snapshot,
            "final_snapshot_identifier": self.final_snapshot,
        }

    def _instance_arguments(self) -> dict[str, Any]:
        """Return the arguments of an instance, in a cluster or alone."""
        insights = self._database.performance_insights
        return {
            "publicly_accessible": False,
            # AWS may upgrade the minor version, unless the file names one.
            "auto_minor_version_upgrade": "." not in self._database.engine_version,
            "performance_insights_enabled": insights,
            "performance_insights_kms_key_id": self._props.key_arn if insights else None,
            "performance_insights_retention_period": _INSIGHTS_DAYS if insights else None,
            "monitoring_interval": self._monitoring.interval_s,
            "monitoring_role_arn": self._monitoring.role_arn,
        }


def identifier(props: DatabaseProps) -> str:
    """Return the identifier of the cluster or instance."""
    return host_name(props.name, limit=_NAME_LIMIT)


def snapshot_name(props: DatabaseProps, database: ManagedDatabase) -> str | None:
    """Return the name of the final snapshot, unique for each creation of the environment, or None."""
    if not database.final_snapshot:
        return None
    # The last characters of a secret's ARN are random. RDS requires lower case.
    digits = Fn.lower(Fn.substr(props.unique_arn, -_CREATION_DIGITS, -1))
    return f"{identifier(props)}-final-{digits}"


def log_group(
    scope: Construct, props: DatabaseProps, database: ManagedDatabase, kind: str
) -> list[ITerraformDependable]:
    """Return the log group of the server.

    Without it, RDS would create one without a key and without expiry, and a destroy would not delete it.
    """
    if not database.log_exports:
        return []
    return [
        CloudwatchLogGroup(
            scope,
            "log",
            name=f"/aws/rds/{kind}/{identifier(props)}/postgresql",
            retention_in_days=props.environment.logging_configuration.retention_days,
            kms_key_id=props.key_arn,
        )
    ]


def log_group_pattern(name: str, aws_scope: AwsScope) -> str:
    """Return the ARN pattern of the server's log group, for the key policy."""
    return aws_scope.arn("logs", f"log-group:/aws/rds/*/{host_name(name, limit=_NAME_LIMIT)}/postgresql")


def enhanced_monitoring(props: DatabaseProps, database: ManagedDatabase) -> EnhancedMonitoring:
    """Return the enhanced monitoring of `database`, with a role that can write to RDS's log group only."""
    if not database.enhanced_monitoring_seconds:
        return EnhancedMonitoring(0, None, ())
    aws_scope = props.aws_scope
    # AWS's managed policy allows `RDS*`; enhanced monitoring writes to this group only.
    group = aws_scope.arn("logs", "log-group:RDSOSMetrics")
    role = props.roles.service_role(
        "database-monitoring",
        service="monitoring.rds.amazonaws.com",
        source=aws_scope.arn("rds", f"db:{identifier(props)}*"),
        statements=[
            Statement(
                sid="MakeItsLogGroup",
                actions=("logs:CreateLogGroup", "logs:PutRetentionPolicy"),
                resources=(group,),
            ),
            Statement(
                sid="WriteToIt",
                actions=(
                    "logs:CreateLogStream",
                    "logs:DescribeLogStreams",
                    "logs:GetLogEvents",
                    "logs:PutLogEvents",
                ),
                resources=(f"{group}:log-stream:*",),
            ),
        ],
    )
    return EnhancedMonitoring(database.enhanced_monitoring_seconds, role.arn, (role.ready,))
