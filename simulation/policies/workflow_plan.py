# SPDX-License-Identifier: Apache-2.0
"""The Plan autoscaler for workflows."""

import heapq
import math
from collections import Counter

from simulation.engine.fleet import StopProtection
from simulation.engine.policy import EngineFleetView, ScalingRule
from simulation.policies.progress import Progress


class WorkflowPlan(ScalingRule):
    """A slot for each place that a partial plan of the next interval uses; only idle workers are released.

    The plan takes the tasks that run or wait, and the tasks that become eligible within the interval, in the order in
    which they become eligible, and puts each on a place that is free, or on a new one. It has the structure of the
    runs in progress, and the run times from history.
    """

    name = "workflow-plan"
    source = (
        'Ilyushkin et al., "An Experimental Performance Evaluation of Autoscaling Policies for Complex Workflows",'
        " ICPE 2017, and ACM TOMPECS 3(2), 2018: Plan."
    )
    interval_s = 30.0
    protection = StopProtection.BUSY
    unknown_s = 30.0

    def __init__(self) -> None:
        self.progress = Progress(self.unknown_s)

    @property
    def listener(self) -> Progress:
        """The runs in progress."""
        return self.progress

    def tick(self, view: EngineFleetView) -> None:
        """Set the parallelism of the next interval."""
        view.set_desired(math.ceil(self.parallelism(view) / view.settings.slots))

    def parallelism(self, view: EngineFleetView) -> int:
        """Return the number of places in the plan; times are seconds from now."""
        limit = view.settings.maximum * view.settings.slots
        eligible = self._tasks_in_progress(view.now)
        left = Counter((number, node) for _, number, node, _ in eligible)
        ends: dict[tuple[int, int], float] = {}
        missing: dict[tuple[int, int], int] = {}
        places: list[float] = []
        while eligible and eligible[0][0] < self.interval_s:
            start, number, node, work_s = heapq.heappop(eligible)
            run = self.progress.runs[number]
            if view.fleet.serves(run.tasks[node].queue):
                if places and (places[0] <= start or len(places) >= limit):
                    start = max(start, heapq.heappop(places))
                if start >= self.interval_s:
                    break
                heapq.heappush(places, start + work_s)
            end = ends[number, node] = max(ends.get((number, node), 0.0), start + work_s)
            left[number, node] -= 1
            if left[number, node]:
                continue
            for child in self.progress.children(run)[node]:
                missing[number, child] = missing.get((number, child), run.missing[child]) - 1
                if not missing[number, child]:
                    count = left[number, child] = max(1, round(run.tasks[child].mapped or 1))
                    for _ in range(count):
                        heapq.heappush(eligible, (end, number, child, self.progress.expected_s(run, child)))
        return len(places)

    def _tasks_in_progress(self, now: float) -> list[tuple[float, int, int, float]]:
        """Return (start, run, task, seconds left) of what runs or waits, as a heap."""
        rows = []
        for number, tasks in self.progress.tasks.items():
            for instance, since in tasks.items():
                work_s = self.progress.expected_s(instance.run, instance.node)
                rows.append((0.0, number, instance.node, work_s if since is None else max(1.0, since + work_s - now)))
        heapq.heapify(rows)
        return rows
