# SPDX-License-Identifier: Apache-2.0
"""The Helm chart of Airflow: KEDA counts the tasks in the database, and the HPA of Kubernetes scales the workers."""

import math
from collections import deque

from simulation.engine.policy import EngineFleetView, ScalingRule


class ChartKeda(ScalingRule):
    """HPA on ceil(tasks / worker_concurrency) with a target of 1; KEDA itself only wakes the fleet and empties it."""

    name = "chart-keda"
    source = (
        "apache/airflow chart (keda: pollingInterval 5, cooldownPeriod 30; terminationGracePeriodSeconds 600);"
        ' Kubernetes, "Horizontal Pod Autoscaling": algorithm, tolerance and default behavior.'
    )
    interval_s = 5.0
    stop_timeout_s = 600.0
    cooldown_s = 30.0
    sync_s = 15.0
    tolerance = 0.1
    up_pods = 4
    up_ratio = 2.0
    """100 % more within 15 s."""
    down_window_s = 300.0

    def __init__(self) -> None:
        self._recent: deque[tuple[float, int]] = deque()
        self._active_at = -math.inf
        self._synced_at = -math.inf

    def tick(self, view: EngineFleetView) -> None:
        """Poll as KEDA; at each sync period, scale as the HPA."""
        if view.demand:
            self._active_at = view.now
        if view.settings.minimum == 0 and view.now - self._active_at >= self.cooldown_s:
            view.set_desired(0)
        elif view.desired == 0:
            view.set_desired(1)
        elif view.now - self._synced_at >= self.sync_s:
            self._synced_at = view.now
            view.set_desired(self._recommend(view.now, view.desired, view.needed))

    def _recommend(self, now: float, current: int, needed: int) -> int:
        """Return the replicas that the HPA sets."""
        proposed = current if abs(needed / current - 1.0) <= self.tolerance else max(1, needed)
        self._recent.append((now, proposed))
        while self._recent[0][0] < now - self.down_window_s:
            self._recent.popleft()
        stabilised = min(max(current, proposed), max(replicas for _, replicas in self._recent))
        return min(stabilised, max(current + self.up_pods, math.floor(current * self.up_ratio)))
