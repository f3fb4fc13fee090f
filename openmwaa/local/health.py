# SPDX-License-Identifier: Apache-2.0
"""Reads the daemon's status: the fleets and their rollouts, and which services are not healthy yet."""

import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from openmwaa.commands import command
from openmwaa.fleet_rollout import FleetRollout, WorkerService, revision
from openmwaa.local.errors import RolloutUnfinishedError

WORKER_SERVICE = re.compile(r"^worker-(?P<fleet>.+)-[ab]$")


def troubles(status: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Each unhealthy part with its trouble."""
    if status.get("phase") != "ready":
        yield "daemon", str(status.get("phase"))
        return
    if status.get("ecs_fault"):
        yield "ecs", str(status["ecs_fault"])
    for name, process in status.get("infrastructure", {}).items():
        if process["state"] != "running":
            yield name, process["state"]
    services = status.get("services", [])
    if not services:
        yield "services", "none exist yet"
    current = {fleet.current.service: fleet for fleet in fleets(status)}
    for service in services:
        fleet = current.get(service["name"])
        if trouble := (fleet_trouble(fleet) if fleet else None) or service_trouble(service):
            yield service["name"], trouble


def service_trouble(service: Mapping[str, Any]) -> str | None:
    """The trouble of one service; None if it is healthy. The count of a worker service is no trouble of its own."""
    desired, running = service["desired"], service["running"]
    if running < desired and not WORKER_SERVICE.match(service["name"]):
        return f"{running} of {desired} running"
    tasks = [task for task in service.get("tasks", ()) if task["status"] == "RUNNING"]
    unhealthy = sum(task["health"] == "UNHEALTHY" for task in tasks)
    return f"{unhealthy} unhealthy" if unhealthy else None


def fleets(status: Mapping[str, Any] | None) -> tuple[FleetRollout, ...]:
    """Return the fleets of a daemon's status, by name."""
    by_fleet: dict[str, list[WorkerService]] = {}
    for service in (status or {}).get("services", ()):
        if found := WORKER_SERVICE.match(service["name"]):
            by_fleet.setdefault(found["fleet"], []).append(_worker_service(service))
    return tuple(FleetRollout.of(fleet, by_fleet[fleet]) for fleet in sorted(by_fleet))


def fleet_trouble(fleet: FleetRollout) -> str | None:
    """Why the current service does not do the fleet's work; None if it does.

    The scaler changes the desired count all the time, so one running worker is enough.
    """
    desired = fleet.current.desired or sum(service.desired for service in fleet.older)
    if not desired or fleet.current.running:
        return None
    count = f"0 of {fleet.current.desired} running"
    return f"{count}; revision {fleet.current.revision} is not in use yet" if fleet.left else count


def refuse_second_rollout(status: Mapping[str, Any] | None, changed: Collection[str], *, file: Path) -> None:
    """Refuse a new revision of the fleets in `changed` while the last one is unfinished: it would replace busy workers.

    Raises:
        RolloutUnfinishedError: names the fleet with workers of an older revision.
    """
    for fleet in fleets(status):
        if fleet.fleet in changed and fleet.left:
            raise RolloutUnfinishedError(
                f"The last rollout of the workers is unfinished. {fleet.sentence}. Nothing was applied. Wait with "
                f"`{command('wait', '--for', 'workers', file=file)}`, then run `up` again."
            )


def rollout_sentences(status: Mapping[str, Any], changed: Collection[str], *, file: Path) -> Iterator[str]:
    """Yield the rollout of each fleet in `changed`; `up` does not wait for it, since tasks may take hours."""
    for fleet in fleets(status):
        if fleet.fleet not in changed:
            continue
        if fleet.left:
            yield f"{fleet.sentence}. Follow it with `{command('rollout', file=file)}`"
        else:
            yield f"{fleet.fleet}: its workers run revision {fleet.current.revision}"


def _worker_service(service: Mapping[str, Any]) -> WorkerService:
    return WorkerService(
        service=service["name"],
        revision=revision(str(service.get("task_definition", ""))),
        desired=service["desired"],
        running=service["running"],
        pending=service["pending"],
        capacity=service.get("capacity"),
    )
