# SPDX-License-Identifier: Apache-2.0
"""The fleets in a daemon's status: which generation is current, and who is left on an older revision."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

WORKER_SERVICE = re.compile(r"^worker-(?P<fleet>.+)-[ab]$")


@dataclass(frozen=True)
class Generation:
    """One of a fleet's services."""

    service: str
    revision: int
    capacity: str
    desired: int
    running: int
    pending: int

    @property
    def is_empty(self) -> bool:
        """Whether it has no workers and wants none."""
        return not (self.desired or self.running or self.pending)


@dataclass(frozen=True)
class FleetStatus:
    """A fleet with its generations; the newer revision is current."""

    name: str
    current: Generation
    older: tuple[Generation, ...]

    @property
    def left(self) -> tuple[Generation, ...]:
        """Generations that are not empty, though they are not the current one."""
        return tuple(each for each in self.older if not each.is_empty)

    @property
    def trouble(self) -> str | None:
        """Why its work is not done by the current generation; None when it is well.

        The scaler changes a fleet's size all day: one running worker is enough. Older workers that still work are no
        trouble, but a new revision that nobody runs while somebody is wanted is one.
        """
        wanted = self.current.desired or sum(each.desired for each in self.older)
        if not wanted or self.current.running:
            return None
        known = f"0 of {self.current.desired} running"
        return f"{known}; revision {self.current.revision} is not in use yet" if self.left else known

    @property
    def sentence(self) -> str | None:
        """How far a rollout is; None when all workers are on the newest revision."""
        if not self.left:
            return None
        behind = sum(each.running + each.pending for each in self.left)
        workers = "1 worker" if behind == 1 else f"{behind} workers"
        revisions = " and ".join(str(each.revision) for each in self.left)
        return (
            f"{self.name}: {workers} of revision {revisions} end their tasks, {self.current.running} of revision "
            f"{self.current.revision} took over"
        )

    def as_data(self) -> dict[str, Any]:
        """Return plain data for `status --json`."""
        return {
            "fleet": self.name,
            "current": self.current.service,
            "revision": self.current.revision,
            "rollout": "unfinished" if self.left else "finished",
            "running": sum(each.running for each in (self.current, *self.older)),
            "generations": {
                each.service: {
                    "revision": each.revision,
                    "capacity": each.capacity,
                    "desired": each.desired,
                    "running": each.running,
                    "pending": each.pending,
                }
                for each in (self.current, *self.older)
            },
        }


def fleets(services: Sequence[Mapping[str, Any]]) -> tuple[FleetStatus, ...]:
    """Return the fleets that the services of a status make up, by name."""
    by_fleet: dict[str, list[Generation]] = {}
    for service in services:
        if found := WORKER_SERVICE.match(service["name"]):
            by_fleet.setdefault(found["fleet"], []).append(_generation(service))
    return tuple(_fleet(name, by_fleet[name]) for name in sorted(by_fleet))


def _fleet(name: str, generations: Sequence[Generation]) -> FleetStatus:
    # The scaler's own order; a family of one revision has both generations on it, and workers in one.
    current = max(sorted(generations, key=lambda each: each.service), key=lambda each: (each.revision, each.desired))
    return FleetStatus(name, current, tuple(each for each in generations if each is not current))


def _generation(service: Mapping[str, Any]) -> Generation:
    revision = str(service.get("task_definition", "")).rpartition(":")[2]
    return Generation(
        service=service["name"],
        revision=int(revision) if revision.isdecimal() else 0,
        capacity=str(service.get("capacity", "")),
        desired=service["desired"],
        running=service["running"],
        pending=service["pending"],
    )
