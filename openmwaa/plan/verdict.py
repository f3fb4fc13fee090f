# SPDX-License-Identifier: Apache-2.0
"""Judges a plan: refused where something ends that must not, by the field of environment.yaml that causes it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from openmwaa.config.environment import Environment
from openmwaa.plan import immutable_fields
from openmwaa.plan.changes import Change, Plan

Word = Literal["unchanged", "changed", "refused"]
EXIT_CODES: Final[Mapping[Word, int]] = {"unchanged": 0, "changed": 2, "refused": 4}
"""0 and 2 as of `terraform plan -detailed-exitcode`; 1 is an error there and here."""


@dataclass(frozen=True)
class Refusal:
    """A reason not to apply: the field that causes it where it is known, why, what to do, and the resource."""

    field: str | None
    because: str
    instead: str
    address: str | None = None

    def __str__(self) -> str:
        what = f"`{self.field}`" if self.field else self.address
        return f"{what}: {self.because}. Instead: {self.instead}."


@dataclass(frozen=True)
class Verdict:
    """A plan with what is to be said of it."""

    word: Word
    plan: Plan
    refusals: tuple[Refusal, ...] = ()
    notes: tuple[str, ...] = field(default=())

    @property
    def exit_code(self) -> int:
        """The exit code of `openmwaa plan`."""
        return EXIT_CODES[self.word]


@dataclass(frozen=True)
class Protected:
    """A kind of resource that no plan may end, and what is lost with it."""

    types: frozenset[str]
    names: Callable[[str, Environment], bool]
    lost: str
    field: str | None = None
    """What causes it to be destroyed, where there is one field alone."""


def _named(*names: str) -> Callable[[str, Environment], bool]:
    return lambda name, _environment: name in names


def _is_worker(name: str, environment: Environment) -> bool:
    return _fleet_of(name) in environment.fleets


def _is_queue(name: str, environment: Environment) -> bool:
    return name == "broker_dead_letters" or name.removeprefix("broker_queue_") in environment.queues


_EXECUTION_API: Final = "execution_api_url"
_REDIS: Final = frozenset({"aws_elasticache_replication_group"})
PROTECTED: Final = (
    Protected(frozenset({"aws_ecs_service"}), _is_worker, "every task that the fleet's workers run would be killed"),
    Protected(
        frozenset({"aws_rds_cluster", "aws_db_instance"}),
        _named("metadata_database"),
        "the metadata database would be deleted with every run, variable and connection in it",
    ),
    Protected(frozenset({"aws_sqs_queue"}), _is_queue, "messages of queued tasks would be lost"),
    Protected(_REDIS, _named("broker"), "messages of queued tasks would be lost"),
    Protected(
        frozenset({"aws_s3_bucket"}),
        _named("storage"),
        "the bucket would be deleted with the DAGs in it",
        field="source_bucket",
    ),
    Protected(
        frozenset({"aws_iam_role"}),
        _named("roles_worker"),
        "workers that run would lose the role that they read their queues with",
        field="execution_role_arn",
    ),
    Protected(
        frozenset({"aws_iam_role"}),
        _named("roles_worker_execution"),
        "nobody would write the logs of workers that run any more",
    ),
    Protected(
        frozenset({"aws_security_group"}),
        _named("security_groups_workers"),
        "workers that run would be cut off",
    ),
    Protected(frozenset({"aws_kms_key"}), _named("keys"), "nobody could read any more what it encrypts"),
    Protected(
        frozenset({"aws_secretsmanager_secret"}),
        _named("secrets_fernet_key"),
        "nobody could read the connections and variables in the database any more",
    ),
    Protected(
        frozenset({"aws_vpc", "aws_subnet"}),
        lambda name, _environment: name == "network" or name.startswith("network_private_"),
        "everything in it would be replaced, database and workers too",
    ),
)


def judge(plan: Plan, environment: Environment, *, destroying: bool = False) -> Verdict:
    """Return what is to be said of `plan`; with `destroying` everything may end, for that was asked."""
    if not plan.changes and not plan.outputs_changed:
        return Verdict("unchanged", plan)
    if destroying:
        note = "This plan destroys the environment; docs/how-to/destroy.md says what is left."
        return Verdict("changed", plan, notes=(note,))
    if refusals := tuple(_refusals(plan, environment)):
        return Verdict("refused", plan, refusals)
    return Verdict("changed", plan, notes=tuple(_notes(plan, environment)))


def judge_failure(state: Plan, environment: Environment) -> Verdict | None:
    """Return a refusal where a plan could not even be made because of a field that cannot change, such as the Region.

    `state` is what was applied last; None where it explains nothing.
    """
    refusals = tuple(_constant(state, environment))
    return Verdict("refused", state, refusals) if refusals else None


def _constant(plan: Plan, environment: Environment) -> Iterator[Refusal]:
    for one in immutable_fields.changed(environment, plan.before):
        because = f"was {one.applied} and is now {one.said}, and it cannot change: {one.constant.because}"
        yield Refusal(one.constant.field, because, one.constant.instead)


def _refusals(plan: Plan, environment: Environment) -> Iterator[Refusal]:
    if fields := tuple(_constant(plan, environment)):  # which explain what ends
        yield from fields
        return
    yield from _rotation(plan, environment)
    for change in plan.changes:
        if change.ends:
            yield from _refusal(change, environment)


def _rotation(plan: Plan, environment: Environment) -> Iterator[Refusal]:
    """Refuse new passwords for the role that is in use: each owner has two, which log in by turns."""
    before, said = immutable_fields.database_passwords(plan.before), environment.rotation.database_passwords
    if before is not None and said != before and (said - before) % 2 == 0:
        because = (
            f"was {before} and is now {said}: roles log in by turns, and the one in use would get a new password, "
            "which shuts out everybody who runs with the old one"
        )
        yield Refusal("rotation.database_passwords", because, f"make it {before + 1}")


def _refusal(change: Change, environment: Environment) -> Iterator[Refusal]:
    for protected in PROTECTED:
        if change.type in protected.types and protected.names(change.name, environment):
            done = "replaced" if change.action == "replace" else "destroyed"
            why = "".join(
                f"; {one.path} cannot change in place" + (f" ({one.before} to {one.after})" if one.after else "")
                for one in change.replaced_for
            )
            field = protected.field if change.action == "destroy" else None
            where = "" if field is None else f" ({change.address})"
            because = f"would be {done}{where}, and {protected.lost}{why}"
            yield Refusal(field, because, _instead(change, field), change.address)


def _instead(change: Change, field: str | None) -> str:
    if field is not None:
        return (
            f"take `{field}` back; or let go of {change.address} and of what belongs to it by `terraform state rm`, "
            "and delete them yourself when nobody needs them any more"
        )
    if change.replaced_for:
        return "find the field by a look at the difference of the file, and take it back"
    return "take the change back that removes it"


def _notes(plan: Plan, environment: Environment) -> Iterator[str]:
    revised = {change.name for change in plan.changes if change.action == "revise"}
    rolled = [fleet for fleet in environment.fleets if f"fleets_{fleet}" in revised]
    if rolled:
        yield (
            f"New revision of the workers of {', '.join(rolled)}: new workers start with it, those that run finish "
            "their tasks first. `openmwaa wait` watches that, which may take as long as the longest task."
        )
    ended = sorted({_fleet_of(c.name) for c in plan.changes if _is_fleet_service(c) and c.action == "destroy"})
    for fleet in ended:
        if fleet not in environment.fleets:
            yield (
                f"Fleet {fleet} is no longer in the file: its workers end with its services, and a task that still "
                f"runs is killed. Empty it first: `openmwaa scale --fleet {fleet} --fixed 0`, then apply."
            )
    if _EXECUTION_API in plan.outputs_moved:
        yield (
            "The execution API moves to another address: tasks that run now lose it, and fail after 10 minutes. Let "
            "them end first: `openmwaa scale --all --fixed 0`, apply when no worker is left, then `--clear`."
        )
    for change in plan.changes:
        if change.type == "aws_sqs_queue" and change.action == "destroy":
            yield f"{change.address} is destroyed with the messages in it: no task may be queued there any more."
        elif change.type == "aws_lb" and change.ends:
            yield f"{change.address} is replaced or destroyed: its host name changes, and tasks that run lose it."
    if any(change.part == "Workers" or change.name == "scaler" for change in plan.changes):
        yield (
            "What people ordered by `openmwaa scale` stays in force: an apply does not touch it. "
            "`openmwaa scale` shows it, and `--clear` takes it back."
        )


def _is_fleet_service(change: Change) -> bool:
    return change.type == "aws_ecs_service" and change.name.startswith("fleets_")


def _fleet_of(name: str) -> str:
    """Return the fleet of a worker service: the resource `fleets_etl_a` is of `etl`."""
    return name.removeprefix("fleets_").rpartition("_")[0] if name.startswith("fleets_") else ""
