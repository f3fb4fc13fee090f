# SPDX-License-Identifier: Apache-2.0
"""Fields of environment.yaml that cannot change after the first apply, and their values in a state.

A plan with a changed field is refused with the name of the field, not with the many resources that it would replace.
`docs/how-to/plan.md` has this table.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Final

from openmwaa.config.airflow_versions import applied_major
from openmwaa.config.environment import Environment
from openmwaa.cost.stack import Resource

State = Sequence[Resource]
OWN: Final = "its own"
_PREFIX: Final = "openmwaa-"
_REGION_OF_ARN: Final = 3


@dataclass(frozen=True)
class ImmutableField:
    """A field, the reason why it cannot change, and the alternative."""

    name: str
    noun: str
    because: str
    applied: Callable[[State], Any]
    """The value in the state; None if unknown, such as before the first apply."""
    attribute: str = ""
    """The attribute of `Environment` with its default, if it is not `name`."""
    alternative: str = ", or create a second environment, move the DAGs to it, then destroy this one"

    @property
    def instead(self) -> str:
        """What to do instead of the change."""
        return f"restore the {self.noun}{self.alternative}"

    def configured(self, environment: Environment) -> Any:
        """The value in the file; a VPC or key that is left out is the environment's own."""
        value = attrgetter(self.attribute or self.name)(environment)
        return OWN if value is None else value


@dataclass(frozen=True)
class ChangedField:
    """An immutable field whose value in the file differs from the applied one."""

    field: ImmutableField
    applied: Any
    configured: Any


def changed(environment: Environment, state: State) -> tuple[ChangedField, ...]:
    """Return the immutable fields whose values in `environment` differ from `state`."""
    compared = [ChangedField(field, field.applied(state), field.configured(environment)) for field in IMMUTABLE_FIELDS]
    changes = [field for field in compared if field.applied is not None and field.applied != field.configured]
    # A change between own and existing VPC also changes range and zones.
    names = {change.field.name for change in changes}
    implied = {"network.vpc_cidr", "network.zones"} if "network.vpc_id" in names else set()
    return tuple(change for change in changes if change.field.name not in implied)


def _find(state: State, kind: str, name: str | None = None) -> Resource | None:
    return next((item for item in state if item.type == kind and name in (None, item.name)), None)


def _value(kind: str, name: str, attribute: str, convert: Callable[[str], str] = str) -> Callable[[State], str | None]:
    """Return a function that reads one attribute of one resource from the state."""

    def applied(state: State) -> str | None:
        found = _find(state, kind, name)
        return convert(str(found.values[attribute])) if found else None

    return applied


def _vpc(state: State) -> str | None:
    if _find(state, "aws_vpc", "network"):
        return OWN
    group = _find(state, "aws_security_group")
    return str(group.values["vpc_id"]) if group else None


def _zones(state: State) -> int | None:
    subnets = [item for item in state if item.type == "aws_subnet" and item.name.startswith("network_private_")]
    return len(subnets) or None


def _database(state: State) -> str | None:
    if _find(state, "aws_rds_cluster", "metadata_database"):
        return "AURORA_SERVERLESS_V2"
    if _find(state, "aws_db_instance", "metadata_database"):
        return "RDS_POSTGRESQL"
    # An existing server has no resource in the state; only services use it.
    return "EXISTING" if _find(state, "aws_ecs_service", "scaler") else None


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


IMMUTABLE_FIELDS: Final = (
    ImmutableField(
        "name",
        "name",
        "the names of all resources contain it",
        _value("aws_ecs_cluster", "cluster", "name", lambda name: name.removeprefix(_PREFIX)),
    ),
    ImmutableField(
        "region",
        "Region",
        "resources cannot move to another Region",
        _value("aws_ecs_cluster", "cluster", "arn", lambda arn: arn.split(":")[_REGION_OF_ARN]),
    ),
    ImmutableField(
        "airflow_version",
        "major version",
        "running tasks of the other one would lose their database or API, and a database of Airflow 3 cannot go back",
        lambda state: applied_major(resource.name for resource in state),
        "airflow.number",
    ),
    ImmutableField("network.vpc_id", "VPC", "database, load balancer and workers cannot leave their VPC", _vpc),
    ImmutableField(
        "network.vpc_cidr",
        "range",
        "a VPC cannot change its range; all subnets and the resources in them would be replaced",
        _value("aws_vpc", "network", "cidr_block"),
        "network.cidr",
    ),
    ImmutableField(
        "network.zones",
        "number",
        "the subnet ranges depend on it; all subnets and the resources in them would be replaced",
        _zones,
    ),
    ImmutableField(
        "metadata_database.kind",
        "kind",
        "the new database would be empty, and the old one deleted with all runs and connections",
        _database,
        alternative="; or create a second environment and move the data with `pg_dump` while both are stopped",
    ),
    ImmutableField("broker.kind", "kind", "messages of queued tasks would be lost with the old broker", _broker),
    ImmutableField(
        "identity.path",
        "path",
        "the roles would be replaced, and running workers would lose theirs",
        _value("aws_iam_role", "roles_scaler", "path"),
    ),
    ImmutableField(
        "identity.role_name_prefix",
        "prefix",
        "the roles would be replaced, and running workers would lose theirs",
        _value("aws_iam_role", "roles_scaler", "name", lambda name: name.partition(_PREFIX)[0]),
    ),
    ImmutableField(
        "kms_key", "key", "existing data is encrypted with the old key, and the database cannot change its key", _key
    ),
)
