# SPDX-License-Identifier: Apache-2.0
"""Common parts of Aurora and RDS: names, arguments, parameter values, log group and monitoring role."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from cdktn import Fn, ITerraformDependable
from cdktn_provider_aws.cloudwatch_log_group import CloudwatchLogGroup
from cdktn_provider_aws.db_subnet_group import DbSubnetGroup
from constructs import Construct

from cdktf_app.base.aws_scope import AwsScope
from cdktf_app.base.policies import Statement
from cdktf_app.base.resource_names import host_name
from cdktf_app.database.base import DatabaseProps
from openmwaa.config.metadata_database import AuroraServerless, RdsPostgresql

ManagedDatabase = AuroraServerless | RdsPostgresql
INSIGHTS_DAYS: Final = 7  # 7 days are free
_NAME_LIMIT: Final = 50
_CREATION_DIGITS: Final = 6


@dataclass(frozen=True)
class EnhancedMonitoring:
    """Enhanced monitoring: arguments of the instances, and the resources that they depend on."""

    interval_s: int
    role_arn: str | None
    ready: tuple[ITerraformDependable, ...]


def identifier(props: DatabaseProps) -> str:
    """Return the identifier of the cluster or instance."""
    return host_name(props.name, limit=_NAME_LIMIT)


def family(engine: str, database: ManagedDatabase) -> str:
    """Return the parameter group family, such as aurora-postgresql16 or postgres16."""
    return f"{engine}{database.engine_version.partition('.')[0]}"


def auto_minor_upgrade(database: ManagedDatabase) -> bool:
    """Whether AWS may upgrade the minor version: not if the file names one."""
    return "." not in database.engine_version


def subnet_group(scope: Construct, props: DatabaseProps) -> DbSubnetGroup:
    """Return a new subnet group of the private subnets."""
    return DbSubnetGroup(scope, "subnet_group", name=identifier(props), subnet_ids=list(props.subnet_ids))


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
