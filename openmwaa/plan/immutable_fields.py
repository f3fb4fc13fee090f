# SPDX-License-Identifier: Apache-2.0
"""Fields of environment.yaml that cannot change once the environment exists, and how a state shows what they were.

Each is compared with what was applied, so that a plan is refused by the field's name and not by the dozen resources
that it would replace. `docs/how-to/plan.md` has this table.
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
class ConstantField:
    """A field with the reason why it stays, and what to do instead."""

    field: str
    because: str
    instead: str
    said: Callable[[Environment], Any]
    applied: Callable[[State], Any]
    """What the state shows; None where it shows nothing, as before the first apply."""


@dataclass(frozen=True)
class Changed:
    """A constant field that the file says otherwise than it was applied."""

    constant: ConstantField
    applied: Any
    said: Any


def changed(environment: Environment, state: State) -> tuple[Changed, ...]:
    """Return the constant fields that `environment` says otherwise than `state` shows."""
    compared = ((one, one.applied(state), one.said(environment)) for one in CONSTANT_FIELDS)
    found = [Changed(one, before, now) for one, before, now in compared if before is not None and before != now]
    # In another VPC there is no range of one's own, nor zones.
    fields = {one.constant.field for one in found}
    implied = {"network.vpc_cidr", "network.zones"} if "network.vpc_id" in fields else set()
    return tuple(one for one in found if one.constant.field not in implied)


def _one(state: State, kind: str, name: str | None = None) -> Resource | None:
    return next((one for one in state if one.type == kind and name in (None, one.name)), None)


def _name(state: State) -> str | None:
    cluster = _one(state, "aws_ecs_cluster", "cluster")
    return str(cluster.values["name"]).removeprefix(_PREFIX) if cluster else None


def _region(state: State) -> str | None:
    cluster = _one(state, "aws_ecs_cluster", "cluster")
    return str(cluster.values["arn"]).split(":")[_REGION_OF_ARN] if cluster else None


def _role(state: State) -> Resource | None:
    return _one(state, "aws_iam_role", "roles_scheduler")


def _role_path(state: State) -> str | None:
    role = _role(state)
    return str(role.values["path"]) if role else None


def _role_name_prefix(state: State) -> str | None:
    role = _role(state)
    return str(role.values["name"]).partition(_PREFIX)[0] if role else None


def _vpc(state: State) -> str | None:
    if _one(state, "aws_vpc", "network"):
        return OWN
    group = _one(state, "aws_security_group")
    return str(group.values["vpc_id"]) if group else None


def _cidr(state: State) -> str | None:
    vpc = _one(state, "aws_vpc", "network")
    return str(vpc.values["cidr_block"]) if vpc else None


def _zones(state: State) -> int | None:
    subnets = [one for one in state if one.type == "aws_subnet" and one.name.startswith("network_private_")]
    return len(subnets) or None


def _database(state: State) -> str | None:
    if _one(state, "aws_rds_cluster", "metadata_database"):
        return "AURORA_SERVERLESS_V2"
    if _one(state, "aws_db_instance", "metadata_database"):
        return "RDS_POSTGRESQL"
    # A server that exists leaves no trace but tasks that use it.
    return "EXISTING" if _one(state, "aws_ecs_service", "airflow_scheduler") else None


def _broker(state: State) -> str | None:
    if _one(state, "aws_sqs_queue", "broker_dead_letters"):
        return "SQS"
    return "ELASTICACHE" if _one(state, "aws_elasticache_replication_group", "broker") else None


def _key(state: State) -> str | None:
    if _one(state, "aws_kms_key", "keys"):
        return OWN
    secret = _one(state, "aws_secretsmanager_secret")
    return str(secret.values["kms_key_id"]) if secret and secret.values.get("kms_key_id") else None


def database_passwords(state: State) -> int | None:
    """Return the number that the database's passwords were made with."""
    version = _one(state, "aws_secretsmanager_secret_version", "secrets_celery_database_password")
    found = version.values.get("secret_string_wo_version") if version else None
    return None if found is None else int(found)


OWN: Final = "its own"
_ANEW: Final = "make a second environment beside this one, move the DAGs over, then destroy this one"

CONSTANT_FIELDS: Final = (
    ConstantField(
        "name",
        "every resource is called by it",
        f"take the name back, or {_ANEW}",
        lambda environment: environment.name,
        _name,
    ),
    ConstantField(
        "region",
        "nothing moves from one Region to another",
        f"take the Region back, or {_ANEW}",
        lambda environment: environment.region,
        _region,
    ),
    ConstantField(
        "network.vpc_id",
        "database, load balancer and workers cannot leave their VPC",
        f"take the VPC back, or {_ANEW}",
        lambda environment: environment.network.vpc_id or OWN,
        _vpc,
    ),
    ConstantField(
        "network.vpc_cidr",
        "a VPC keeps its range, and its subnets with everything in them would be replaced",
        f"take the range back, or {_ANEW}",
        lambda environment: environment.network.cidr,
        _cidr,
    ),
    ConstantField(
        "network.zones",
        "the range is divided by the number of zones, so every subnet would be replaced with everything in it",
        f"take the number back, or {_ANEW}",
        lambda environment: environment.network.zones,
        _zones,
    ),
    ConstantField(
        "metadata_database.kind",
        "the new database would be empty, and the old one deleted with every run and connection in it",
        "take the kind back; or make a second environment and move the data with `pg_dump` while both stand still",
        lambda environment: environment.metadata_database.kind,
        _database,
    ),
    ConstantField(
        "broker.kind",
        "messages of queued tasks would be lost with the old broker",
        f"take the kind back, or {_ANEW}",
        lambda environment: environment.broker.kind,
        _broker,
    ),
    ConstantField(
        "identity.path",
        "the roles would be made anew, and workers that run lose theirs",
        f"take the path back, or {_ANEW}",
        lambda environment: environment.identity.path,
        _role_path,
    ),
    ConstantField(
        "identity.role_name_prefix",
        "the roles would be made anew, and workers that run lose theirs",
        f"take the prefix back, or {_ANEW}",
        lambda environment: environment.identity.role_name_prefix,
        _role_name_prefix,
    ),
    ConstantField(
        "kms_key",
        "what is stored is encrypted with the key it was made with, and the database cannot change its key",
        f"take the key back, or {_ANEW}",
        lambda environment: environment.kms_key or OWN,
        _key,
    ),
)
