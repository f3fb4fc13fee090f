# SPDX-License-Identifier: Apache-2.0
"""How far a rollout of workers is: which generation of a fleet is current, and who is left on an older one.

A fleet is two ECS services. The one with the higher revision of the task definition is current, as for the scaler; the
other is drained to zero, for as long as its longest task runs. Only the scaler acts on it: this looks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from openmwaa.live.connection import Connection, asking
from openmwaa.live.errors import NotRunningError

GENERATIONS = ("a", "b")
_BATCH = 10
"""DescribeServices takes so many services a call."""


@dataclass(frozen=True)
class Generation:
    """One ECS service of a fleet."""

    service: str
    revision: int
    desired: int
    running: int
    pending: int
    behind: int
    """Workers of it that a newer deployment of the same service is to replace."""
    failed: str | None = None
    """Why ECS says that its newest deployment failed."""

    @property
    def workers(self) -> int:
        """Its workers, those that start too."""
        return self.running + self.pending


@dataclass(frozen=True)
class FleetRollout:
    """One fleet."""

    fleet: str
    current: Generation
    older: tuple[Generation, ...]

    @property
    def left(self) -> int:
        """Workers that are not on the newest revision."""
        return self.current.behind + sum(max(each.workers, each.desired) for each in self.older)

    @property
    def finished(self) -> bool:
        """Whether all workers are on the newest revision, and it runs where any is wanted."""
        return self.left == 0 and (self.current.running > 0 or self.current.desired == 0)


def look(connection: Connection) -> Sequence[FleetRollout]:
    """Return how far every fleet is.

    Raises:
        LiveError: ECS cannot be asked.
        NotRunningError: a fleet of the file has no services there.
    """
    names = {fleet: [f"worker-{fleet}-{each}" for each in GENERATIONS] for fleet in connection.environment.fleets}
    found = _describe(connection, [name for pair in names.values() for name in pair])
    missing = [name for pair in names.values() for name in pair if name not in found]
    if missing:
        raise NotRunningError(
            f"The cluster {connection.resource_name} has no service {', '.join(missing)}. Was this file applied?"
        )
    return [_fleet(fleet, [found[name] for name in pair]) for fleet, pair in names.items()]


def _describe(connection: Connection, names: Sequence[str]) -> Mapping[str, Generation]:
    ecs = connection.client("ecs")
    found: dict[str, Generation] = {}
    for start in range(0, len(names), _BATCH):
        with asking(connection, "ecs:DescribeServices", f"the services of the cluster {connection.resource_name}"):
            answer = ecs.describe_services(
                cluster=connection.resource_name, services=list(names[start : start + _BATCH])
            )
        for service in answer["services"]:
            if service["status"] == "ACTIVE":
                found[service["serviceName"]] = _generation(service)
    return found


def _generation(service: Mapping[str, Any]) -> Generation:
    deployments = service.get("deployments", ())
    primary: Mapping[str, Any] = next((each for each in deployments if each["status"] == "PRIMARY"), {})
    revision = str(primary.get("taskDefinition", "")).rpartition(":")[2]
    reason = str(primary.get("rolloutStateReason", ""))
    return Generation(
        service=service["serviceName"],
        revision=int(revision) if revision.isascii() and revision.isdigit() else 0,
        desired=service["desiredCount"],
        running=service["runningCount"],
        pending=service["pendingCount"],
        behind=sum(each["runningCount"] + each["pendingCount"] for each in deployments if each is not primary),
        failed=(reason or "no reason given") if primary.get("rolloutState") == "FAILED" else None,
    )


def _fleet(fleet: str, generations: Sequence[Generation]) -> FleetRollout:
    # The scaler's own order; where revisions are equal it is the one with the workers.
    current = max(sorted(generations, key=lambda each: each.service), key=lambda each: (each.revision, each.desired))
    return FleetRollout(fleet, current, tuple(each for each in generations if each is not current))
