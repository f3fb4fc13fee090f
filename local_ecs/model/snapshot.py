# SPDX-License-Identifier: Apache-2.0
"""What outlives a restart: clusters, task definitions and services as plain JSON data.

Tasks do not: their processes died with the world, so services begin with none and launch their desiredCount anew.
"""

from dataclasses import asdict, replace
from typing import Any

from local_ecs.model.records import (
    CircuitBreaker,
    Cluster,
    Deployment,
    RolloutState,
    Service,
    ServiceEvent,
    TaskDefinition,
)
from local_ecs.model.state import State

Snapshot = dict[str, Any]
VERSION = 1


def take(state: State) -> Snapshot:
    """Return the lasting part of a state as JSON data."""
    return {
        "version": VERSION,
        "clusters": [asdict(c) for c in state.clusters.values()],
        "task_definitions": [asdict(d) for d in state.task_definitions.values()],
        "revisions": dict(state.revisions),
        "services": [asdict(s) for s in state.services.values()],
    }


def restore(state: State, snapshot: Snapshot) -> None:
    """Fill an empty state; raises ValueError for a version this code does not know."""
    version = snapshot.get("version")
    if version != VERSION:
        raise ValueError(f"snapshot version {version!r} is not {VERSION}")
    for shape in snapshot["clusters"]:
        state.clusters[shape["arn"]] = Cluster(**shape)
    for shape in snapshot["task_definitions"]:
        state.task_definitions[shape["arn"]] = TaskDefinition(**shape)
    state.revisions.update(snapshot["revisions"])
    for shape in snapshot["services"]:
        service = _service(shape)
        state.put_service(service)
        if service.status == "ACTIVE":
            state.reconcile_soon(service.key)


def _service(shape: dict[str, Any]) -> Service:
    """Build a service from JSON; only its PRIMARY deployment is left, as no task of an older one is."""
    last = shape["last_completed"]
    service = Service(
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


def _deployment(shape: dict[str, Any]) -> Deployment:
    return Deployment(**{**shape, "rollout_state": RolloutState(shape["rollout_state"])})
