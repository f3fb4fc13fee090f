# SPDX-License-Identifier: Apache-2.0
"""Where Airflow's metadata lives: Aurora PostgreSQL serverless v2, RDS for PostgreSQL, or a server that exists."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from openmwaa.strict_model import StrictModel

Days = Annotated[int, Field(ge=1, le=35)]


class _OfOurs(StrictModel):
    backup_retention_days: Days = 7
    """Days that RDS keeps its daily backups, and can go back to any second of."""
    deletion_protection: bool = True
    """Whether AWS refuses to delete it: a destroy then needs an apply with `false` before it."""
    final_snapshot: bool = False
    """Whether destroy leaves a last snapshot; it needs a `kms_key` of yours, for the environment's own goes with it."""


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


class ExistingPostgresql(StrictModel):
    """A PostgreSQL server that exists; `prepare-database` makes databases and roles on it."""

    kind: Literal["EXISTING"]
    host: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9.-]{1,255}$")]
    port: Annotated[int, Field(ge=1, le=65_535)] = 5432
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
