# SPDX-License-Identifier: Apache-2.0
"""How far a rollout of workers is: which generation of a fleet is current, and who is left on an older one.

A fleet is two ECS services. The one with the higher revision of the task definition is current, as for the scaler; the
other is drained to zero, for as long as its longest task runs. Only the scaler acts on it: this looks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from openmwaa.operate import services
from openmwaa.operate.connection import Connection
from openmwaa.operate.waiting import WaitStatus

GENERATIONS = ("a", "b")


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

    @property
    def sentence(self) -> str:
        """How far it is."""
        plural = "" if self.left == 1 else "s"
        return (
            f"{self.fleet}: {self.left} worker{plural} left before revision {self.current.revision}, "
            f"{self.current.running - self.current.behind} on it"
        )

    def as_data(self) -> dict[str, Any]:
        """Return plain data for `--json`."""
        return {
            "fleet": self.fleet,
            "finished": self.finished,
            "left": self.left,
            "current": self.current.service,
            "generations": {
                each.service: {
                    "revision": each.revision,
                    "desired": each.desired,
                    "running": each.running,
                    "pending": each.pending,
                    "behind": each.behind,
                    "failed": each.failed,
                }
                for each in (self.current, *self.older)
            },
        }


def look(connection: Connection) -> Sequence[FleetRollout]:
    """Return how far every fleet is.

    Raises:
        OperateError: ECS cannot be asked.
        NotRunningError: a fleet of the file has no services there.
    """
    names = {fleet: [f"worker-{fleet}-{each}" for each in GENERATIONS] for fleet in connection.environment.fleets}
    found = services.describe(connection, [name for pair in names.values() for name in pair])
    return [_fleet(fleet, [_generation(found[name]) for name in pair]) for fleet, pair in names.items()]


def watch(connection: Connection) -> WaitStatus:
    """Return how far all fleets are, for somebody who waits for them.

    Raises:
        OperateError: ECS cannot be asked.
        NotRunningError: a fleet of the file has no services there.
    """
    fleets = look(connection)
    return WaitStatus(
        awaited=tuple(fleet.sentence for fleet in fleets if not fleet.finished),
        # ECS starts no more tasks of a deployment that failed.
        failures=tuple(
            f"{fleet.fleet}: ECS gave up on revision {fleet.current.revision} of {fleet.current.service}: "
            f"{fleet.current.failed}"
            for fleet in fleets
            if fleet.current.failed
        ),
        data={"fleets": [fleet.as_data() for fleet in fleets]},
    )


def _generation(service: Mapping[str, Any]) -> Generation:
    deployments = service.get("deployments", ())
    newest = services.primary(service)
    reason = str(newest.get("rolloutStateReason", ""))
    return Generation(
        service=service["serviceName"],
        revision=services.revision(str(newest.get("taskDefinition", ""))),
        desired=service["desiredCount"],
        running=service["runningCount"],
        pending=service["pendingCount"],
        behind=sum(each["runningCount"] + each["pendingCount"] for each in deployments if each is not newest),
        failed=(reason or "no reason given") if newest.get("rolloutState") == "FAILED" else None,
    )


def _fleet(fleet: str, generations: Sequence[Generation]) -> FleetRollout:
    # The scaler's own order; where revisions are equal it is the one with the workers.
    current = max(sorted(generations, key=lambda each: each.service), key=lambda each: (each.revision, each.desired))
    return FleetRollout(fleet, current, tuple(each for each in generations if each is not current))
