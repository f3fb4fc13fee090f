# SPDX-License-Identifier: Apache-2.0
"""Reviews a plan: refuses one that deletes protected resources, and names the field that causes it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from openmwaa.config.environment import Environment
from openmwaa.plan import immutable_fields
from openmwaa.plan.changes import Change, TerraformPlan

Outcome = Literal["unchanged", "changed", "refused"]
EXIT_CODES: Final[Mapping[Outcome, int]] = {"unchanged": 0, "changed": 2, "refused": 4}
"""0 and 2 as in `terraform plan -detailed-exitcode`; 1 is an error."""


@dataclass(frozen=True)
class PlanRefusal:
    """A reason not to apply: the field if known, cause, alternative, and resource."""

    field: str | None
    because: str
    instead: str
    address: str | None = None

    def __str__(self) -> str:
        subject = f"`{self.field}`" if self.field else self.address
        return f"{subject}: {self.because}. Instead: {self.instead}."


@dataclass(frozen=True)
class Verdict:
    """The result of the review."""

    outcome: Outcome
    plan: TerraformPlan
    refusals: tuple[PlanRefusal, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        """The exit code of `openmwaa plan`."""
        return EXIT_CODES[self.outcome]

    @property
    def to_untaint(self) -> list[str]:
        """The refused resources whose creation was interrupted: they exist, and the next apply completes them."""
        refused = {refusal.address for refusal in self.refusals}
        return [change.address for change in self.plan.changes if change.tainted and change.address in refused]


_EXECUTION_API: Final = "execution_api_url"
_DRAIN: Final = (
    "Drain all workers first: `openmwaa scale --all --fixed 0`, apply when no worker is left, then `--clear`."
)
_DATABASE_LOST: Final = "the metadata database would be deleted with all runs, variables and connections"
_TASKS_LOST: Final = "all running tasks of the fleet would be killed"
_MESSAGES_LOST: Final = "messages of queued tasks would be lost"
_NETWORK_LOST: Final = "all resources in it, including database and workers, would be replaced"
PROTECTED: Final[Mapping[str, str]] = {
    "aws_db_instance.metadata_database": _DATABASE_LOST,
    "aws_elasticache_replication_group.broker": _MESSAGES_LOST,
    "aws_iam_role.roles_worker": "running workers would lose the role that they read their queues with",
    "aws_iam_role.roles_worker_execution": "logs of running workers would be lost",
    "aws_kms_key.keys": "all data that it encrypts would be unreadable",
    "aws_rds_cluster.metadata_database": _DATABASE_LOST,
    "aws_s3_bucket.storage": "the bucket would be deleted with the DAGs in it",
    "aws_secretsmanager_secret.secrets_fernet_key": "connections and variables in the database would be unreadable",
    "aws_security_group.security_groups_workers": "running workers would lose their network access",
    "aws_sqs_queue.broker_dead_letters": _MESSAGES_LOST,
    "aws_vpc.network": _NETWORK_LOST,
}
"""Resources that a plan must not delete, and the consequence; `_lost` adds those of fleets, queues and zones."""
CAUSES: Final[Mapping[str, str]] = {
    "aws_iam_role.roles_worker": "execution_role_arn",
    "aws_s3_bucket.storage": "source_bucket",
}
"""The field that causes the deletion of a protected resource, if there is only one."""


def _lost(change: Change, environment: Environment) -> str | None:
    """Return the consequence if the deleted resource is protected."""
    match change.type:
        case "aws_ecs_service" if fleet_of(change.name) in environment.fleets:
            return _TASKS_LOST
        case "aws_sqs_queue" if change.name.removeprefix("broker_queue_") in environment.queues:
            return _MESSAGES_LOST
        case "aws_subnet" if change.name.startswith("network_private_"):
            return _NETWORK_LOST
    return PROTECTED.get(f"{change.type}.{change.name}")


def judge(plan: TerraformPlan, environment: Environment, *, destroying: bool = False) -> Verdict:
    """Return the verdict of `plan`; with `destroying` all deletions are allowed."""
    if not plan.changes and not plan.outputs_changed:
        return Verdict("unchanged", plan)
    if destroying:
        note = "This plan destroys the environment; docs/how-to/destroy.md lists what remains."
        return Verdict("changed", plan, notes=(note,))
    if refusals := tuple(_refusals(plan, environment)):
        return Verdict("refused", plan, refusals)
    return Verdict("changed", plan, notes=tuple(_notes(plan, environment)))


def judge_failure(state: TerraformPlan, environment: Environment) -> Verdict | None:
    """Return a refusal if planning failed because of an immutable field, such as the Region, else None.

    `state` is the applied state.
    """
    refusals = tuple(_immutable(state, environment))
    return Verdict("refused", state, refusals) if refusals else None


def _immutable(plan: TerraformPlan, environment: Environment) -> Iterator[PlanRefusal]:
    for change in immutable_fields.changed(environment, plan.before):
        because = f"was {change.applied} and is now {change.configured}, but cannot change: {change.field.because}"
        yield PlanRefusal(change.field.name, because, change.field.instead)


def _refusals(plan: TerraformPlan, environment: Environment) -> Iterator[PlanRefusal]:
    if fields := tuple(_immutable(plan, environment)):  # they explain the deletions
        yield from fields
        return
    yield from _rotation(plan, environment)
    for change in plan.changes:
        if change.deletes and (lost := _lost(change, environment)):
            yield _refusal(change, lost)


def _rotation(plan: TerraformPlan, environment: Environment) -> Iterator[PlanRefusal]:
    """Refuse a new password for the login in use: each role alternates between two logins."""
    applied, configured = immutable_fields.database_passwords(plan.before), environment.rotation.database_passwords
    if applied is not None and configured != applied and (configured - applied) % 2 == 0:
        because = (
            f"was {applied} and is now {configured}: roles alternate between two logins, and the login in use would "
            "get a new password, which fails all running containers"
        )
        yield PlanRefusal("rotation.database_passwords", because, f"set it to {applied + 1}")


def _refusal(change: Change, lost: str) -> PlanRefusal:
    effect = "replaced" if change.action == "replace" else "destroyed"
    causes = "".join(
        f"; {cause.path} cannot change in place" + (f" ({cause.before} to {cause.after})" if cause.after else "")
        for cause in change.replaced_for
    )
    field = CAUSES.get(f"{change.type}.{change.name}") if change.action == "destroy" else None
    where = "" if field is None else f" ({change.address})"
    because = f"would be {effect}{where}, and {lost}{causes}"
    return PlanRefusal(field, because, _instead(change, field), change.address)


def _instead(change: Change, field: str | None) -> str:
    if field is not None:
        return (
            f"restore `{field}`; or remove {change.address} and its dependent resources with `terraform state rm`, "
            "and delete them yourself later"
        )
    if change.tainted:
        return f"its creation was interrupted; `openmwaa deploy` keeps it, as `terraform untaint {change.address}` does"
    if change.replaced_for:
        return "find the field in the diff of the file, and restore it"
    return "revert the change that removes it"


def _notes(plan: TerraformPlan, environment: Environment) -> Iterator[str]:
    revised = {change.name for change in plan.changes if change.action == "revise"}
    rolled = [fleet for fleet in environment.fleets if f"fleets_{fleet}" in revised]
    if rolled:
        yield (
            f"New revision of the workers of {', '.join(rolled)}: new workers use it, running workers finish their "
            "tasks first. `openmwaa wait` shows the progress, which can take as long as the longest task."
        )
    deleted = [change for change in plan.changes if change.type == "aws_ecs_service" and change.action == "destroy"]
    ended = {fleet_of(change.name) for change in deleted}
    for fleet in sorted(ended - {"", *environment.fleets}):
        yield (
            f"Fleet {fleet} is no longer in the file: its services are deleted, which kills running tasks. "
            f"Drain it first, with the earlier file: `openmwaa scale --fleet {fleet} --fixed 0`, then apply."
        )
    if any(change.name.startswith("airflow_") for change in deleted):
        yield _new_form(plan, environment)
    if _EXECUTION_API in plan.outputs_moved:
        yield f"The execution API gets another address: running tasks lose it and fail after 10 minutes. {_DRAIN}"
    if any(change.type == "aws_route" and change.deletes for change in plan.changes):
        yield f"A route to the internet is removed: running tasks that use it lose their connections. {_DRAIN}"
    for change in plan.changes:
        if change.type == "aws_sqs_queue" and change.action == "destroy":
            yield f"{change.address} is destroyed with its messages: make sure that no task is queued there."
        elif change.type == "aws_lb" and change.deletes:
            yield f"{change.address} is replaced or destroyed: its host name changes, and running tasks lose it."
    if any(change.part == "Workers" or change.name == "scaler" for change in plan.changes):
        yield (
            "Overrides of `openmwaa scale` stay active: an apply does not change them. "
            "`openmwaa scale` shows them, and `--clear` removes them."
        )


def _new_form(plan: TerraformPlan, environment: Environment) -> str:
    """Return the note about a change of `control_plane`, for which the state must have the order of the services."""
    form, old = environment.control_plane, {"COMPACT": "SEPARATE", "SEPARATE": "COMPACT"}[environment.control_plane]
    if any(resource.type == "terraform_data" and resource.name == "airflow_services" for resource in plan.before):
        return (
            f"The control plane becomes {form}: the old services are deleted when the new ones are healthy. Until then "
            "both run, and running tasks continue."
        )
    return (
        f"The control plane becomes {form}, and an older version wrote the state: Terraform deletes the old services "
        "at once. Running tasks lose the execution API until the new services are healthy, and fail after 10 minutes. "
        f"To avoid that, apply with `control_plane: {old}` first: it writes the order of the services to the state."
    )


def fleet_of(name: str) -> str:
    """Return the fleet of a worker service: `etl` for the resource `fleets_etl_a`."""
    return name.removeprefix("fleets_").rpartition("_")[0] if name.startswith("fleets_") else ""
