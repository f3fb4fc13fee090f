# SPDX-License-Identifier: Apache-2.0
"""The bound: a rule with every task to come before it."""

import heapq
import math
from collections import deque
from collections.abc import Callable

from simulation.engine.airflow import Airflow, EngineTask
from simulation.engine.fleet import StopProtection
from simulation.engine.policy import EngineFleetView, ScalingRule
from simulation.policies.draining import needed, resize
from simulation.workloads.model import Workload


class Clairvoyant(ScalingRule):
    """Workers for the largest demand within one slow cold start, from the true times of every task.

    The demand is that of a fleet which always has its maximum. Where a late cold start delays tasks, the present demand
    counts too.
    """

    name = "clairvoyant"
    source = (
        "A bound, not a product: the runs that people will start, and the time that a task will take, are not known."
    )
    protection = StopProtection.DRAIN
    slow_sigmas = 1.65
    """A launch leads by the 95th percentile of the cold start."""

    def begin(self, workload: Workload) -> None:
        """Keep the workload."""
        self._workload = workload
        self._running: list[int] = []

    def tick(self, view: EngineFleetView) -> None:
        """Set the largest demand of the lead."""
        settings = view.settings
        if not self._running:
            self._running = self._simulate(settings.maximum * settings.slots, view.fleet.serves)
        lead_s = settings.cold_start_s * math.exp(self.slow_sigmas * settings.cold_start_sigma) + self.interval_s
        first, last = int(view.now / self.interval_s), int((view.now + lead_s) / self.interval_s)
        coming = max(self._running[first : last + 1], default=0)
        resize(view, max(math.ceil(coming / settings.slots), needed(view)))

    def _simulate(self, slots: int, serves: Callable[[str], bool]) -> list[int]:
        """Return the most running tasks of each interval, with all slots there from the start."""
        horizon_s = self._workload.horizon_s
        most = [0] * (int(horizon_s / self.interval_s) + 1)
        events: list[tuple[float, int, Callable[[float], None]]] = []
        queue: deque[EngineTask] = deque()
        count = running = 0
        filled = 0

        def call_at(when: float, callback: Callable[[float], None]) -> None:
            nonlocal count
            count += 1
            heapq.heappush(events, (when, count, callback))

        def note(now: float, change: int) -> None:
            nonlocal running, filled
            interval = int(now / self.interval_s)
            most[filled : interval + 1] = [max(most[filled], running)] + [running] * (interval - filled)
            filled = interval
            running += change
            most[interval] = max(most[interval], running)

        def send(instance: EngineTask, now: float) -> None:
            if serves(instance.task.queue) and running >= slots:
                queue.append(instance)
                return
            note(now, +1 if serves(instance.task.queue) else 0)
            call_at(now + instance.work_s, lambda then: end(instance, then))

        def end(instance: EngineTask, now: float) -> None:
            note(now, -1 if serves(instance.task.queue) else 0)
            airflow.worked(instance, now)
            if queue and running < slots:
                send(queue.popleft(), now)

        airflow = Airflow(self._workload, call_at, send, latency_s=1.0)
        while events and events[0][0] <= horizon_s:
            when, _, callback = heapq.heappop(events)
            callback(when)
        return most
