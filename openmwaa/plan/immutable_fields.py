# SPDX-License-Identifier: Apache-2.0
"""Fields of environment.yaml that cannot change after the first apply, and their values in a state.

A plan with a changed field is refused with the name of the field, not with the many resources that it would replace.
`docs/how-to/plan.md` has this table.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from openmwaa.config.environment import Environment
from openmwaa.plan.changes import Resource

State = Sequence[Resource]
_PREFIX: Final = "openmwaa-"
_REGION_OF_ARN: Final = 3


@dataclass(frozen=True)
class ImmutableField:
    """A field, the reason why it cannot change, and the alternative."""

    name: str
    because: str
    instead: str
    configured: Callable[[Environment], Any]
    applied: Callable[[State], Any]
    """The value in the state; None if unknown, such as before the first apply."""


@dataclass(frozen=True)
class ChangedField:
    """An immutable field whose value in the file differs from the applied one."""

    field: ImmutableField
    applied: Any
    configured: Any


def changed(environment: Environment, state: State) -> tuple[ChangedField, ...]:
    """Return the immutable fields whose values in `environment` differ from `state`."""
    compared = ((field, field.applied(state), field.configured(environment)) for field in IMMUTABLE_FIELDS)
    changes = [ChangedField(*values) for values in compared if values[1] is not None and values[1] != values[2]]
    # A change between own and existing VPC also changes range and zones.
    names = {change.field.name for change in changes}
    implied = {"network.vpc_cidr", "network.zones"} if "network.vpc_id" in names else set()
    return tuple(change for change in changes if change.field.name not in implied)


def _find(state: State, kind: str, name: str | None = None) -> Resource | None:
    return next((item for item in state if item.type == kind and name in (None, item.name)), None)


def _name(state: State) -> str | None:
    cluster = _find(state, "aws_ecs_cluster", "cluster")
    return str(cluster.values["name"]).removeprefix(_PREFIX) if cluster else None


def _region(state: State) -> str | None:
    cluster = _find(state, "aws_ecs_cluster", "cluster")
    return str(cluster.values["arn"]).split(":")[_REGION_OF_ARN] if cluster else None


def _role(state: State) -> Resource | None:
    return _find(state, "aws_iam_role", "roles_scheduler")


def _role_path(state: State) -> str | None:
    role = _role(state)
    return str(role.values["path"]) if role else None


def _role_name_prefix(state: State) -> str | None:
    role = _role(state)
    return str(role.values["name"]).partition(_PREFIX)[0] if role else None


def _vpc(state: State) -> str | None:
    if _find(state, "aws_vpc", "network"):
        return OWN
    group = _find(state, "aws_security_group")
    return str(group.values["vpc_id"]) if group else None


def _cidr(state: State) -> str | None:
    vpc = _find(state, "aws_vpc", "network")
    return str(vpc.values["cidr_block"]) if vpc else None


def _zones(state: State) -> int | None:
    subnets = [item for item in state if item.type == "aws_subnet" and item.name.startswith("network_private_")]
    return len(subnets) or None


def _database(state: State) -> str | None:
    if _find(state, "aws_rds_cluster", "metadata_database"):
        return "AURORA_SERVERLESS_V2"
    if _find(state, "aws_db_instance", "metadata_database"):
        return "RDS_POSTGRESQL"
    # An existing server has no resource in the state; only services use it.
    return "EXISTING" if _find(state, "aws_ecs_service", "airflow_scheduler") else None


def _broker(state: State) -> str | None:
    if _find(state, "aws_sqs_queue", "broker_dead_letters"):
        return "SQS"
    return "ELASTICACHE" if _find(state, "aws_elasticache_replication_group", "broker") else None


def _key(state: State) -> str | None:
    if _find(state, "aws_kms_key", "keys"):
        return OWN
    secret = _find(state, "aws_secretsmanager_secret")
    return str(secret.values["kms_key_id"]) if secret and secret.values.get("kms_key_id") else None


def database_passwords(state: State) -> int | None:
    """Return the applied version of the database passwords."""
    version = _find(state, "aws_secretsmanager_secret_version", "secrets_celery_database_password")
    found = version.values.get("secret_string_wo_version") if version else None
    return None if found is None else int(found)


OWN: Final = "its own"
_NEW_ENVIRONMENT: Final = "create a second environment, move the DAGs to it, then destroy this one"

IMMUTABLE_FIELDS: Final = (
    ImmutableField(
        "name",
        "the names of all resources contain it",
        f"restore the name, or {_NEW_ENVIRONMENT}",
        lambda environment: environment.name,
        _name,
    ),
    ImmutableField(
        "region",
        "resources cannot move to another Region",
        f"restore the Region, or {_NEW_ENVIRONMENT}",
        lambda environment: environment.region,
        _region,
    ),
    ImmutableField(
        "network.vpc_id",
        "database, load balancer and workers cannot leave their VPC",
        f"restore the VPC, or {_NEW_ENVIRONMENT}",
        lambda environment: environment.network.vpc_id or OWN,
        _vpc,
    ),
    ImmutableField(
        "network.vpc_cidr",
        "a VPC cannot change its range; all subnets and the resources in them would be replaced",
        f"restore the range, or {_NEW_ENVIRONMENT}",
        lambda environment: environment.network.cidr,
        _cidr,
    ),
    ImmutableField(
        "network.zones",
        "the subnet ranges depend on it; all subnets and the resources in them would be replaced",
        f"restore the number, or {_NEW_ENVIRONMENT}",
        lambda environment: environment.network.zones,
        _zones,
    ),
    ImmutableField(
        "metadata_database.kind",
        "the new database would be empty, and the old one deleted with all runs and connections",
        "restore the kind; or create a second environment and move the data with `pg_dump` while both are stopped",
        lambda environment: environment.metadata_database.kind,
        _database,
    ),
    ImmutableField(
        "broker.kind",
        "messages of queued tasks would be lost with the old broker",
        f"restore the kind, or {_NEW_ENVIRONMENT}",
        lambda environment: environment.broker.kind,
        _broker,
    ),
    ImmutableField(
        "identity.path",
        "the roles would be replaced, and running workers would lose theirs",
        f"restore the path, or {_NEW_ENVIRONMENT}",
        lambda environment: environment.identity.path,
        _role_path,
    ),
    ImmutableField(
        "identity.role_name_prefix",
        "the roles would be replaced, and running workers would lose theirs",
        f"restore the prefix, or {_NEW_ENVIRONMENT}",
        lambda environment: environment.identity.role_name_prefix,
        _role_name_prefix,
    ),
    ImmutableField(
        "kms_key",
        "existing data is encrypted with the old key, and the database cannot change its key",
        f"restore the key, or {_NEW_ENVIRONMENT}",
        lambda environment: environment.kms_key or OWN,
        _key,
    ),
)
