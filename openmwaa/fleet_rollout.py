# SPDX-License-Identifier: Apache-2.0
"""How far the rollout of a fleet's workers is.

A fleet is two ECS services. By the scaler's rule, the one with the newer revision of the task definition is current.
The older one is drained to zero, which takes as long as its longest task.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any


def service_names(fleet: str) -> tuple[str, str]:
    """Return the names of a fleet's two ECS services."""
    return f"worker-{fleet}-a", f"worker-{fleet}-b"


def revision(task_definition: str) -> int:
    """Return the revision at the end of a task definition's ARN; 0 if there is none."""
    number = task_definition.rpartition(":")[2]
    return int(number) if number.isascii() and number.isdigit() else 0


@dataclass(frozen=True)
class WorkerService:
    """One ECS service of a fleet."""

    service: str
    revision: int
    desired: int
    running: int
    pending: int
    capacity: str | None = None
    """FARGATE or FARGATE_SPOT; None if unknown."""
    behind: int = 0
    """Its workers that a newer deployment of the same service will replace."""
    failed: str | None = None
    """ECS's reason for the failure of its newest deployment."""

    @property
    def workers(self) -> int:
        """Its workers, including those that start."""
        return self.running + self.pending


@dataclass(frozen=True)
class FleetRollout:
    """A fleet with its current and its older service."""

    fleet: str
    current: WorkerService
    older: tuple[WorkerService, ...]

    @classmethod
    def of(cls, fleet: str, services: Sequence[WorkerService]) -> FleetRollout:
        """Order the services; of two with one revision, the current one is the one with workers."""
        by_name = sorted(services, key=lambda service: service.service)
        current = max(by_name, key=lambda service: (service.revision, service.desired))
        return cls(fleet, current, tuple(service for service in services if service is not current))

    @property
    def left(self) -> int:
        """Workers of older revisions."""
        return self.current.behind + sum(max(service.workers, service.desired) for service in self.older)

    @property
    def finished(self) -> bool:
        """Whether all workers run the newest revision, and at least one runs if any is desired."""
        return self.left == 0 and (self.current.running > 0 or self.current.desired == 0)

    @property
    def sentence(self) -> str:
        """How far the rollout is."""
        new = self.current.running - self.current.behind
        return (
            f"{self.fleet}: {_workers(self.left)} of older revisions left, "
            f"{_workers(new)} of revision {self.current.revision} running"
        )

    def as_data(self) -> dict[str, Any]:
        """Return plain data for `--json`."""
        services = (self.current, *self.older)
        return {
            "fleet": self.fleet,
            "finished": self.finished,
            "left": self.left,
            "current": self.current.service,
            "revision": self.current.revision,
            "running": sum(service.running for service in services),
            "services": {
                service.service: {name: value for name, value in asdict(service).items() if name != "service"}
                for service in services
            },
        }


def _workers(count: int) -> str:
    return "1 worker" if count == 1 else f"{count} workers"
