# SPDX-License-Identifier: Apache-2.0
"""Common parts of Aurora and RDS: names, arguments, parameter values, log group and monitoring role."""

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
from cdktf_app.database.base import DatabaseProps, MetadataDatabase
from openmwaa.config.metadata_database import AuroraServerless, RdsPostgresql
from openmwaa.config.ports import DATABASE_PORT

Database = TypeVar("Database", AuroraServerless, RdsPostgresql)
_INSIGHTS_DAYS: Final = 7  # 7 days are free
_NAME_LIMIT: Final = 45  # RDS allows 63; an instance of a cluster has 18 more
_CREATION_DIGITS: Final = 6


@dataclass(frozen=True)
class EnhancedMonitoring:
    """Enhanced monitoring: arguments of the instances, and the resources that they depend on."""

    interval_s: int
    role_arn: str | None
    ready: tuple[ITerraformDependable, ...]


class ManagedServer(MetadataDatabase, Generic[Database]):
    """What an Aurora cluster and an RDS instance have in common."""

    def __init__(self, scope: Construct, construct_id: str, props: DatabaseProps, database: Database) -> None:
        super().__init__(scope, construct_id)
        self._props, self._context = props, props.context
        self._database: Database = database
        self._identifier = _identifier(self._context.name)
        self._subnets = DbSubnetGroup(self, "subnet_group", name=self._identifier, subnet_ids=list(props.subnet_ids))
        self._monitoring = self._enhanced_monitoring()
        if database.final_snapshot:
            # Unique for each creation: the last characters of a secret's ARN are random. RDS requires lower case.
            digits = Fn.lower(Fn.substr(props.unique_arn, -_CREATION_DIGITS, -1))
            self.final_snapshot = f"{self._identifier}-final-{digits}"
        self.port = DATABASE_PORT
        self.sslmode = overridable_local(self, "sslmode", database.sslmode)
        self.master_key_arn = self._context.key_arn

    def _instance_identifiers(self) -> list[str]:
        """Return the identifiers of the instances."""
        raise NotImplementedError

    def _parameter_group_arguments(self, engine: str) -> dict[str, Any]:
        # The family of a major version: aurora-postgresql16, postgres16.
        family = f"{engine}{self._database.engine_version.partition('.')[0]}"
        return {
            # The parameter group of a new major version exists before the old one is deleted.
            "name": f"{self._identifier}-{family}",
            "family": family,
            "description": f"{self._context.name}: TLS only",
        }

    def _server_arguments(self) -> dict[str, Any]:
        """Return the arguments that a cluster and an instance have in common."""
        database = self._database
        return {
            "allow_major_version_upgrade": True,
            "db_subnet_group_name": self._subnets.name,
            "vpc_security_group_ids": [self._props.security_group_id],
            "port": DATABASE_PORT,
            # RDS stores and rotates the master password; only `prepare-database` reads it.
            "manage_master_user_password": True,
            "master_user_secret_kms_key_id": self._context.key_arn,
            "storage_encrypted": True,
            "kms_key_id": self._context.key_arn,
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
            "performance_insights_kms_key_id": self._context.key_arn if insights else None,
            "performance_insights_retention_period": _INSIGHTS_DAYS if insights else None,
            "monitoring_interval": self._monitoring.interval_s,
            "monitoring_role_arn": self._monitoring.role_arn,
        }

    def _log_group(self, kind: str) -> list[ITerraformDependable]:
        """Return the log group of the server.

        Without it, RDS would create one without a key and without expiry, and a destroy would not delete it.
        """
        if not self._database.log_exports:
            return []
        return [
            CloudwatchLogGroup(
                self,
                "log",
                name=f"/aws/rds/{kind}/{self._identifier}/postgresql",
                retention_in_days=self._context.environment.logging_configuration.retention_days,
                kms_key_id=self._context.key_arn,
            )
        ]

    def _enhanced_monitoring(self) -> EnhancedMonitoring:
        if not self._database.enhanced_monitoring_seconds:
            return EnhancedMonitoring(0, None, ())
        aws_scope = self._context.aws_scope
        # AWS's managed policy allows `RDS*`; enhanced monitoring writes to this group only.
        group = aws_scope.arn("logs", "log-group:RDSOSMetrics")
        write = ("logs:CreateLogStream", "logs:DescribeLogStreams", "logs:GetLogEvents", "logs:PutLogEvents")
        role = self._props.roles.service_role(
            "database-monitoring",
            service="monitoring.rds.amazonaws.com",
            sources=[aws_scope.arn("rds", f"db:{identifier}") for identifier in self._instance_identifiers()],
            statements=[
                Statement("MakeItsLogGroup", ("logs:CreateLogGroup", "logs:PutRetentionPolicy"), (group,)),
                Statement("WriteToIt", write, (f"{group}:log-stream:*",)),
            ],
        )
        return EnhancedMonitoring(self._database.enhanced_monitoring_seconds, role.arn, (role.ready,))


def _identifier(name: str) -> str:
    return host_name(name, limit=_NAME_LIMIT)


def log_group_pattern(name: str, aws_scope: AwsScope) -> str:
    """Return the ARN pattern of the server's log group, for the key policy."""
    return aws_scope.arn("logs", f"log-group:/aws/rds/*/{_identifier(name)}/postgresql")
