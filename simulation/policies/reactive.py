# SPDX-License-Identifier: Apache-2.0
"""Plain reactive scaling with the drain protocol."""

from collections import deque

from simulation.engine.fleet import StopProtection
from simulation.engine.policy import EngineFleetView, ScalingRule
from simulation.policies.draining import needed, resize


class Reactive(ScalingRule):
    """Workers for all queued and running tasks at once; down to the largest need of the last minute, by draining."""

    name = "reactive"
    source = "The exact need and the down-scale stabilisation window of Knative and the HPA, with ECS task protection."
    protection = StopProtection.DRAIN
    window_s = 60.0

    def __init__(self) -> None:
        self._needs: deque[tuple[float, int]] = deque()

    def tick(self, view: EngineFleetView) -> None:
        """Set the largest need of the window."""
        needs = self._needs
        while needs and needs[0][0] < view.now - self.window_s:
            needs.popleft()
        while needs and needs[-1][1] <= needed(view):
            needs.pop()
        needs.append((view.now, needed(view)))
        resize(view, needs[0][1])
