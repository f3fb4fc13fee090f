# SPDX-License-Identifier: Apache-2.0
"""The state after a restart: clusters, task definitions and services as JSON data.

Tasks are not included: their processes have ended, so services start without tasks and launch their desiredCount again.
"""

from dataclasses import asdict, replace
from typing import Any

from local_ecs.model.records import (
    CircuitBreaker,
    EcsCluster,
    EcsDeployment,
    EcsService,
    RolloutState,
    ServiceEvent,
    TaskDefinition,
)
from local_ecs.model.state import EcsState

Snapshot = dict[str, Any]
VERSION = 1


def take_snapshot(state: EcsState) -> Snapshot:
    """Return the persistent part of a state as JSON data."""
    return {
        "version": VERSION,
        "clusters": [asdict(c) for c in state.clusters.values()],
        "task_definitions": [asdict(d) for d in state.task_definitions.values()],
        "revisions": dict(state.revisions),
        "services": [asdict(s) for s in state.services.values()],
    }


def restore(state: EcsState, snapshot: Snapshot) -> None:
    """Load a snapshot into an empty state. Raises ValueError for an unknown version."""
    version = snapshot.get("version")
    if version != VERSION:
        raise ValueError(f"snapshot version {version!r} is not {VERSION}")
    for shape in snapshot["clusters"]:
        state.clusters[shape["arn"]] = EcsCluster(**shape)
    for shape in snapshot["task_definitions"]:
        state.task_definitions[shape["arn"]] = TaskDefinition(**shape)
    state.revisions.update(snapshot["revisions"])
    for shape in snapshot["services"]:
        service = _service(shape)
        state.put_service(service)
        if service.status == "ACTIVE":
            state.reconcile_soon(service.key)


def _service(shape: dict[str, Any]) -> EcsService:
    """Build a service from JSON, with the PRIMARY deployment only: there are no tasks of older ones."""
    last = shape["last_completed"]
    service = EcsService(
        **{
            **shape,
            "deployments": tuple(_deployment(d) for d in shape["deployments"][:1]),
            "events": tuple(ServiceEvent(**e) for e in shape["events"]),
            "circuit_breaker": CircuitBreaker(**shape["circuit_breaker"]),
            "last_completed": None if last is None else _deployment(last),
            "failed_launches": 0,
            "next_launch_at": 0.0,
            "steady": False,
        }
    )
    return replace(service, status="INACTIVE") if service.status == "DRAINING" else service


def _deployment(shape: dict[str, Any]) -> EcsDeployment:
    return EcsDeployment(**{**shape, "rollout_state": RolloutState(shape["rollout_state"])})
