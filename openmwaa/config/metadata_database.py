# SPDX-License-Identifier: Apache-2.0
"""Airflow's metadata database: Aurora PostgreSQL serverless v2, RDS for PostgreSQL, or an existing server."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from openmwaa.config.ports import DATABASE_PORT
from openmwaa.config.strict_model import WHOLE_NUMBER, FieldError, StrictModel
from openmwaa.config.text_rules import (
    DailyWindow,
    HostName,
    InstanceClass,
    KmsKey,
    PostgresVersion,
    SecretArn,
    SecurityGroupId,
    WeeklyWindow,
)
from openmwaa.config.windows import check_windows

Days = Annotated[int, Field(ge=1, le=35)]
SslMode = Literal["require", "verify-full"]


class _ManagedPostgresql(StrictModel):
    engine_version: PostgresVersion = "16"
    """A PostgreSQL version: major, such as 16, with automatic minor upgrades; or minor, such as 16.8, without."""
    sslmode: SslMode = "require"
    """Certificate check of clients: `require` does none; `verify-full` needs RDS's CA bundle in your images."""
    backup_retention_days: Days = 7
    """Days of RDS's daily backups and point-in-time recovery."""
    backup_window: DailyWindow = "02:00-03:00"
    """Window of the daily backup, in UTC."""
    maintenance_window: WeeklyWindow = "sun:04:00-sun:05:00"
    """Window for AWS's patches, in UTC; it must not overlap the backup window."""
    deletion_protection: bool = True
    """Whether AWS rejects its deletion: a destroy then needs an apply with `false` first."""
    final_snapshot: bool = False
    """Whether a destroy creates a final snapshot; this needs a `kms_key`, because the own key is deleted."""
    performance_insights: bool = True
    """Performance Insights with seven days of history, at no cost."""
    enhanced_monitoring_seconds: Annotated[Literal[0, 1, 5, 10, 15, 30, 60], WHOLE_NUMBER] = 60
    """Interval of enhanced monitoring, 0 for none; it is charged as CloudWatch logs. With 60, an instance writes a few
    hundred MiB per month."""
    log_exports: bool = True
    """Whether the server's log (errors, slow locks) is exported to CloudWatch, which charges per GiB."""

    @model_validator(mode="after")
    def _windows_are_accepted(self) -> Self:
        check_windows(self.backup_window, self.maintenance_window)
        return self


class AuroraServerless(_ManagedPostgresql):
    """Aurora PostgreSQL, serverless v2."""

    kind: Literal["AURORA_SERVERLESS_V2"] = "AURORA_SERVERLESS_V2"
    min_capacity: Annotated[float, Field(ge=0, le=256, multiple_of=0.5)] = 0.5
    """Minimum Aurora capacity units (2 GiB of memory); with 0, Aurora pauses after 5 minutes without connections."""
    max_capacity: Annotated[float, Field(ge=1, le=256, multiple_of=0.5)] | None = None
    """Maximum; left out, as much memory as MWAA's database of the environment class."""
    instances: Annotated[int, Field(ge=1, le=3)] = 1
    """2 or 3 add readers in other zones, for failover."""

    @model_validator(mode="after")
    def _capacity_bounds_are_ordered(self) -> Self:
        if self.max_capacity is not None and self.min_capacity > self.max_capacity:
            raise FieldError(
                f"`min_capacity` ({self.min_capacity}) is greater than `max_capacity` ({self.max_capacity})",
                "min_capacity",
            )
        return self


class RdsPostgresql(_ManagedPostgresql):
    """RDS for PostgreSQL: one instance, or with `multi_az` a standby in another zone."""

    kind: Literal["RDS_POSTGRESQL"]
    instance_class: InstanceClass = "db.t4g.medium"
    multi_az: bool = False
    allocated_storage: Annotated[int, Field(ge=20, le=65_536)] = 20
    """Initial GiB; the storage grows automatically, at most to five times as many."""

    @property
    def max_allocated_storage(self) -> int:
        """Maximum GiB of automatic storage growth."""
        return min(5 * self.allocated_storage, 65_536)


class ExistingPostgresql(StrictModel):
    """An existing PostgreSQL server; `prepare-database` creates databases and roles on it."""

    kind: Literal["EXISTING"]
    host: HostName
    port: Annotated[int, Field(ge=1, le=65_535)] = DATABASE_PORT
    sslmode: SslMode = "require"
    """Certificate check of clients: `require` does none; `verify-full` uses the CAs that the image trusts."""
    master_secret_arn: SecretArn
    """Secret {"username", "password"} of a role that can create roles and databases, for `prepare-database`."""
    master_secret_kms_key: KmsKey | None = None
    """The KMS key of that secret, if it is not the environment's."""
    security_group_id: SecurityGroupId
    """The server's security group; the stack adds ingress rules for its tasks."""


MetadataDatabase = Annotated[AuroraServerless | RdsPostgresql | ExistingPostgresql, Field(discriminator="kind")]
