# SPDX-License-Identifier: Apache-2.0
"""Where Airflow's metadata lives: Aurora PostgreSQL serverless v2, RDS for PostgreSQL, or a server that exists."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from openmwaa.config.ports import DATABASE_PORT
from openmwaa.config.strict_model import StrictModel

Days = Annotated[int, Field(ge=1, le=35)]
SslMode = Literal["require", "verify-full"]
_TIME = r"([01]\d|2[0-3]):[0-5]\d"
_DAY = r"(mon|tue|wed|thu|fri|sat|sun)"
DailyWindow = Annotated[str, StringConstraints(pattern=rf"^{_TIME}-{_TIME}$")]
WeeklyWindow = Annotated[str, StringConstraints(pattern=rf"^{_DAY}:{_TIME}-{_DAY}:{_TIME}$")]


class _OfOurs(StrictModel):
    engine_version: Annotated[str, StringConstraints(pattern=r"^1[5-7](\.\d{1,2})?$")] = "16"
    """PostgreSQL's version, such as 16: AWS then moves to newer minor ones in the maintenance window. With a minor one,
    such as 16.8, nobody moves but you."""
    sslmode: SslMode = "require"
    """How clients check the server's certificate: not at all, or against RDS's bundle in your images and its name."""
    backup_retention_days: Days = 7
    """Days that RDS keeps its daily backups, and can go back to any second of."""
    backup_window: DailyWindow = "02:00-03:00"
    """When the daily backup is taken, in UTC."""
    maintenance_window: WeeklyWindow = "sun:04:00-sun:05:00"
    """When AWS may restart it for patches, in UTC; not within the backup window."""
    deletion_protection: bool = True
    """Whether AWS refuses to delete it: a destroy then needs an apply with `false` before it."""
    final_snapshot: bool = False
    """Whether destroy leaves a last snapshot; it needs a `kms_key` of yours, for the environment's own goes with it."""
    performance_insights: bool = True
    """What the server waits for, by statement, for seven days: at no cost."""
    enhanced_monitoring_seconds: Literal[0, 1, 5, 10, 15, 30, 60] = 60
    """How often the server's machine says what it does, 0 for never; you pay for it as for logs of CloudWatch, and at
    60 an instance writes a few hundred MiB a month."""
    log_exports: bool = True
    """Whether the server's log goes to CloudWatch, where you pay for it by the GiB; it holds errors and slow locks."""


class AuroraServerless(_OfOurs):
    """Aurora PostgreSQL, serverless v2."""

    kind: Literal["AURORA_SERVERLESS_V2"] = "AURORA_SERVERLESS_V2"
    min_capacity: Annotated[float, Field(ge=0.5, le=256, multiple_of=0.5)] = 0.5
    """Fewest Aurora capacity units, about 2 GiB of memory each."""
    max_capacity: Annotated[float, Field(ge=1, le=256, multiple_of=0.5)] | None = None
    """Most; left out, the memory that MWAA's database of the environment class has."""
    instances: Annotated[int, Field(ge=1, le=3)] = 1
    """2 or 3 put a reader into another zone, which takes over when the writer fails."""

    @model_validator(mode="after")
    def _least_is_no_more_than_most(self) -> Self:
        if self.max_capacity is not None and self.min_capacity > self.max_capacity:
            raise ValueError(f"`min_capacity` ({self.min_capacity}) is more than `max_capacity` ({self.max_capacity})")
        return self


class RdsPostgresql(_OfOurs):
    """RDS for PostgreSQL: one instance, or with `multi_az` a standby in another zone."""

    kind: Literal["RDS_POSTGRESQL"]
    instance_class: Annotated[str, StringConstraints(pattern=r"^db\.[a-z0-9]+\.[a-z0-9]+$")] = "db.t4g.medium"
    multi_az: bool = False
    allocated_storage: Annotated[int, Field(ge=20, le=65_536)] = 20
    """GiB at first; it grows by itself to five times as many."""

    @property
    def max_allocated_storage(self) -> int:
        """The most that the storage grows to by itself, in GiB."""
        return min(5 * self.allocated_storage, 65_536)


class ExistingPostgresql(StrictModel):
    """A PostgreSQL server that exists; `prepare-database` makes databases and roles on it."""

    kind: Literal["EXISTING"]
    host: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9.-]{1,255}$")]
    port: Annotated[int, Field(ge=1, le=65_535)] = DATABASE_PORT
    sslmode: SslMode = "require"
    """How its certificate is checked: not at all, or against the authorities that the image trusts and its name."""
    master_secret_arn: Annotated[str, StringConstraints(pattern=r"^arn:aws[a-z-]*:secretsmanager:.+:secret:.+$")]
    """A secret {"username", "password"} of a role that may make roles and databases: for `prepare-database` alone."""
    master_secret_kms_key: Annotated[str, StringConstraints(pattern=r"^arn:aws[a-z-]*:kms:.+:key/.+$")] | None = None
    """The key of that secret, when it is not the environment's."""
    security_group_id: Annotated[str, StringConstraints(pattern=r"^sg-[0-9a-f]{8,17}$")]
    """The server's security group: the environment's tasks are let in there."""


MetadataDatabase = Annotated[
    AuroraServerless | RdsPostgresql | ExistingPostgresql,
    Field(discriminator="kind"),
]
