# SPDX-License-Identifier: Apache-2.0
"""The steps of `openmwaa destroy`: refuse what would stop half-way, drain the workers, destroy, list what stays.

All checks come before the first change: a destroy that fails at the database has stopped Airflow already.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final

from openmwaa.config.artefacts import ArtefactFields
from openmwaa.deploy import pushed_images
from openmwaa.deploy.steps import DeployError, StepRunner, find
from openmwaa.operate import services
from openmwaa.operate.connection import Connection, aws_errors
from openmwaa.operate.decisions import DecisionsLog
from openmwaa.operate.errors import NotRunningError, OperateError
from openmwaa.operate.explanation import IN_FORCE
from openmwaa.operate.override_store import OverrideStore
from openmwaa.operate.sleep import AppliedSleep
from openmwaa.operate.times import rfc3339
from openmwaa.operate.waiting import WaitStatus
from openmwaa.operate.waiting import wait as wait_for
from openmwaa.plan.changes import TerraformPlan
from openmwaa.plan.review import review
from openmwaa.plan.verdict import fleet_of
from scaler.config.overrides import OverrideDocument

_MARGIN: Final = timedelta(hours=1)
_PROTECTION: Final = ("deletion_protection", "enable_deletion_protection")
_APPLIED_BEFORE: Final = (*_PROTECTION, "force_destroy", "skip_final_snapshot")
"""Terraform destroys by the applied values of these, so a change in the file is applied first."""
_BUCKET: Final = "aws_s3_bucket"


@dataclass(frozen=True)
class DestroyOptions:
    """The options of the command."""

    wait: timedelta
    """How long running tasks may take; zero ends them."""
    delete_data: bool = False


def destroy(run: StepRunner, options: DestroyOptions) -> None:
    """Do all steps; `run.report` has the outcome.

    Raises:
        OpenmwaaError: a step failed; a repeated call continues.
    """
    with run.step("prerequisites") as details:
        run.check_programs()
        original = pushed_images.with_pushed_images(run.environment, run.terraform_dir)
        environment = original.model_copy(
            update={"source_bucket_force_destroy": original.source_bucket_force_destroy or options.delete_data}
        )
        document = run.synth(environment)
        state = run.open_state()
        details["resources"] = len(state.before)
        if not state.before:
            run.note("nothing is applied")
            run.report.outcome = "done"
            return
        workers = _worker_services(state)
        kept = run.terraform.outputs().get("retained_resources", [])
        overrides = f"/openmwaa/{environment.name}/"  # this command deletes the overrides and the record of sleep
        retained = [name for name in kept if not name.startswith(overrides)]
        details |= {"busy_workers": _busy(run, workers), "retained": retained}
        _refuse(run, document, state)
        _say_what_stays(run, retained)
    question = f"Destroy {len(state.before)} resources in {environment.region}?"
    if not run.confirm(question, environment.name):
        run.report.outcome = "declined"
        return
    with run.step("drain") as details:
        run.hold_awake(state, "destroy")
        status = _drain(run, options, workers)
        details["left"] = status.awaited
        if status.awaited:
            run.report.outcome = "unfinished"
            return
    with run.step("protection"):
        if changed := list(_to_release(document, state)):
            verdict = run.review(environment, pushed_images.targets(changed))
            if verdict.outcome == "refused":
                raise DeployError("\n".join(map(str, verdict.refusals)))
            if verdict.outcome == "changed":
                run.apply(verdict)
    with run.step("destroy"):
        # Terraform would read the artefacts first, which may be deleted already.
        run.synth(original.model_copy(update=dict.fromkeys(ArtefactFields.model_fields)))
        run.apply(review(run.terraform, original, ["-destroy"]))
        _forget(run, workers)
    _say_what_stays(run, retained)
    run.report.outcome = "done"


def _say_what_stays(run: StepRunner, retained: Sequence[str]) -> None:
    for name in retained:
        run.note(f"stays: {name}")
    run.note("docs/how-to/destroy.md has the end and the cost of what stays")


def _worker_services(state: TerraformPlan) -> dict[str, list[str]]:
    """Return the names of the applied worker services by fleet."""
    found: dict[str, list[str]] = {}
    for service in find(state, "aws_ecs_service"):
        if fleet := fleet_of(service.name):
            found.setdefault(fleet, []).append(str(service.values["name"]))
    return found


def _busy(run: StepRunner, workers: Mapping[str, list[str]]) -> dict[str, int | None]:
    """Return the busy workers of each fleet by the scaler's last decision; None if unknown."""
    busy: dict[str, int | None] = dict.fromkeys(workers)
    now = datetime.now(UTC)
    if workers:
        try:
            for line in DecisionsLog.of(run.connection).read(now - IN_FORCE, now, list(workers)):
                busy[line["fleet"]] = (line.get("workers") or {}).get("busy")
        except OperateError as error:
            run.note(str(error))
    for fleet, count in busy.items():
        run.note(f"{fleet}: busy workers: {'unknown' if count is None else count}")
    return busy


def _refuse(run: StepRunner, document: Mapping[str, Any], state: TerraformPlan) -> None:
    """Refuse a destroy that would stop half-way.

    Raises:
        DeployError: the file protects a resource, or the bucket has objects.
    """
    for resource in state.before:
        configured = document["resource"].get(resource.type, {}).get(resource.name, {})
        if any(configured.get(attribute) is True for attribute in _PROTECTION):
            field = "web_access" if resource.type == "aws_lb" else "metadata_database"
            raise DeployError(
                f"{resource.address} is protected. Set `{field}.deletion_protection: false` in the file, "
                "and run the command again; it applies the change before the destroy."
            )
        if resource.type == _BUCKET and configured.get("force_destroy") is not True:
            name = str(resource.values["bucket"])
            with aws_errors(run.connection, "s3:ListBucketVersions", f"the bucket {name}"):
                versions = run.connection.client("s3").list_object_versions(Bucket=name, MaxKeys=1)
            if versions.get("Versions") or versions.get("DeleteMarkers"):
                raise DeployError(
                    f"The bucket {name} has objects or old versions. Copy what you need; --delete-data deletes them."
                )


def _to_release(document: Mapping[str, Any], state: TerraformPlan) -> Iterator[str]:
    """Yield the applied resources that the destroy would not delete by the values of the file."""
    for resource in state.before:
        configured = document["resource"].get(resource.type, {}).get(resource.name, {})
        if any(name in configured and configured[name] != resource.values.get(name) for name in _APPLIED_BEFORE):
            yield resource.address


def _drain(run: StepRunner, options: DestroyOptions, workers: Mapping[str, list[str]]) -> WaitStatus:
    """Drain all fleets with an override, and wait until no worker is left."""
    if not workers or not options.wait:
        run.note("no worker service" if not workers else "skipped: workers end with their protection, in 62 minutes")
        return WaitStatus()
    now, store = datetime.now(UTC), OverrideStore(run.connection)
    drained = OverrideDocument(
        fixed=0, by=store.user(), at=rfc3339(now), until=rfc3339(now + options.wait + _MARGIN), reason="destroy"
    )
    stored = store.read(list(workers))
    for fleet in workers:
        store.change(stored[fleet], lambda _before: drained, fresh=True)
    names = [name for services_of_fleet in workers.values() for name in services_of_fleet]
    status = wait_for(
        [partial(_workers_left, run.connection, names)], limit_s=options.wait.total_seconds(), progress=run.note
    )
    if status.awaited:
        run.note(f"Not finished: {'; '.join(status.awaited)}. Run the command again, with a longer --wait or --now.")
        run.note(f"To keep the environment instead: {run.connection.command('scale', '--all', '--clear')}")
    return status


def _workers_left(connection: Connection, names: list[str]) -> WaitStatus:
    awaited = []
    for name in names:
        try:
            service = services.describe(connection, [name])[name]
        except NotRunningError:
            continue  # it is deleted already
        if left := max(service["desiredCount"], service["runningCount"] + service["pendingCount"]):
            awaited.append(f"{name}: {left} left")
    return WaitStatus(awaited=tuple(awaited))


def _forget(run: StepRunner, workers: Mapping[str, list[str]]) -> None:
    """Remove the overrides, which would limit the next environment of this name, and the digests of deleted images."""
    (run.folder / pushed_images.FILE).unlink(missing_ok=True)
    if workers:
        OverrideStore(run.connection).delete(list(workers))
    if run.environment.sleep:
        prefix = f"/openmwaa/{run.environment.name}/sleep"
        AppliedSleep(run.connection, prefix, f"{prefix}-memory").delete()
