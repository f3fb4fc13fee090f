# SPDX-License-Identifier: Apache-2.0
"""Dask's adaptive deployments."""

import math
from collections import Counter
from itertools import islice

from simulation.engine.fleet import State, StopProtection
from simulation.engine.policy import EngineFleetView, ScalingRule
from simulation.policies.progress import Progress


class DaskAdaptive(ScalingRule):
    """Enough threads to finish all known work within the target duration, but none without a task.

    Only an idle worker, or one that has not arrived, is closed, and only after three proposals in a row.
    """

    name = "dask-adaptive"
    source = (
        "dask/distributed 2026.8: Scheduler.adaptive_target, AdaptiveCore.recommendations; distributed.yaml: interval"
        " 1s, target-duration 5s, wait-count 3, unknown-task-duration 500ms."
    )
    interval_s = 1.0
    protection = StopProtection.BUSY
    target_duration_s = 5.0
    wait_count = 3
    unknown_task_duration_s = 0.5
    sampled = 100
    """Queued tasks whose durations are added; the others count as their mean."""

    def __init__(self) -> None:
        self.progress = Progress(self.unknown_task_duration_s)
        self._proposals: Counter[int] = Counter()

    @property
    def listener(self) -> Progress:
        """Durations of past tasks."""
        return self.progress

    def tick(self, view: EngineFleetView) -> None:
        """Adapt."""
        arrived = [worker for worker in view.workers if worker.state is State.CONSUMING]
        target = self._target(view)
        idle = [worker.number for worker in arrived if not worker.running]
        if target < len(arrived):
            target = len(arrived) - len(idle)
        target = max(view.settings.minimum, min(view.settings.maximum, target))
        surplus = view.desired - target
        if surplus <= 0:
            self._proposals.clear()
            view.set_desired(target)
            return
        awaited = [worker.number for worker in view.workers if worker.state is State.STARTING]
        proposed = (awaited + idle)[:surplus]
        self._proposals = Counter({number: self._proposals[number] + 1 for number in proposed})
        closed = sum(1 for number in proposed if self._proposals[number] >= self.wait_count)
        view.set_desired(view.desired - closed)

    def _target(self, view: EngineFleetView) -> int:
        """Return the workers for the work that is known."""
        expected_s, queue = self.progress.expected_s, view.fleet.queue
        queued_s = sum(expected_s(instance.run, instance.node) for instance in islice(queue, self.sampled))
        queued_s *= max(1.0, len(queue) / self.sampled)
        running_s = sum(
            expected_s(instance.run, instance.node) for worker in view.workers for instance in worker.running
        )
        threads = min(view.demand, math.ceil((queued_s + running_s) / self.target_duration_s))
        return math.ceil(threads / view.settings.slots) if view.serving else max(threads, min(1, len(queue)))
