# SPDX-License-Identifier: Apache-2.0
"""What a policy sees and does: it reads counts at its interval, and sets the desired count and the gates."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulation.engine.airflow import ProgressListener
from simulation.engine.fleet import EngineFleet, EngineFleetSettings, EngineWorker, State, StopProtection

if TYPE_CHECKING:
    from simulation.workloads.model import Workload


class EngineFleetView:
    """A fleet at one time, and the commands to it."""

    __slots__ = ("fleet", "now")

    def __init__(self, fleet: EngineFleet, now: float) -> None:
        self.fleet = fleet
        self.now = now

    @property
    def settings(self) -> EngineFleetSettings:
        """The settings of the fleet."""
        return self.fleet.settings

    @property
    def queued(self) -> int:
        """Tasks that wait for a slot."""
        return len(self.fleet.queue)

    @property
    def running(self) -> int:
        """Tasks that run."""
        return self.fleet.running

    @property
    def demand(self) -> int:
        """Tasks that wait or run."""
        return len(self.fleet.queue) + self.fleet.running

    @property
    def needed(self) -> int:
        """Workers for the demand."""
        return -(-self.demand // self.fleet.settings.slots)

    @property
    def desired(self) -> int:
        """The desired count."""
        return self.fleet.desired

    @property
    def workers(self) -> list[EngineWorker]:
        """All workers that were not stopped."""
        return list(self.fleet.workers.values())

    @property
    def alive(self) -> int:
        """Workers that are requested and not stopped."""
        return len(self.fleet.workers)

    @property
    def serving(self) -> int:
        """Workers that have started and were not stopped."""
        return sum(1 for worker in self.fleet.workers.values() if worker.state is not State.STARTING)

    def set_desired(self, desired: int) -> None:
        """Set the desired count, within the bounds of the fleet."""
        settings = self.settings
        self.fleet.set_desired(max(settings.minimum, min(settings.maximum, desired)), self.now)


class ScalingRule:
    """A scaling rule for one fleet."""

    name = ""
    source = ""
    """Where the rule is published."""
    interval_s = 5.0
    protection = StopProtection.NONE
    stop_timeout_s = 120.0
    """From SIGTERM to SIGKILL (Fargate: at most 120 s)."""

    @property
    def listener(self) -> ProgressListener | None:
        """What the rule reads of Airflow's database beside the counts."""
        return None

    def begin(self, workload: Workload) -> None:
        """Receive the workload; a rule uses only what it may know of it."""

    def tick(self, view: EngineFleetView) -> None:
        """Read the fleet and change it."""
        raise NotImplementedError
