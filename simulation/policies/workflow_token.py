# SPDX-License-Identifier: Apache-2.0
"""The Token autoscaler for workflows."""

import math

from simulation.engine.airflow import DagRun
from simulation.engine.fleet import StopProtection
from simulation.engine.policy import EngineFleetView, ScalingRule
from simulation.policies.progress import Progress


class WorkflowToken(ScalingRule):
    """A slot for each token of the widest wave that may pass through the runs within the next interval.

    Each eligible task of a run has a token. In a step, the tokens move to the downstream tasks whose upstream tasks all
    have or had one. The number of steps follows from the run's critical path: interval x tasks on it / its run time.
    """

    name = "workflow-token"
    source = (
        'Ilyushkin et al., "An Experimental Performance Evaluation of Autoscaling Policies for Complex Workflows",'
        " ICPE 2017, and ACM TOMPECS 3(2), 2018: Token."
    )
    interval_s = 30.0
    protection = StopProtection.BUSY
    unknown_s = 30.0

    def __init__(self) -> None:
        self.progress = Progress(self.unknown_s)
        self._steps: dict[int, int] = {}

    @property
    def listener(self) -> Progress:
        """The runs in progress."""
        return self.progress

    def tick(self, view: EngineFleetView) -> None:
        """Set the parallelism of the next interval."""
        runs = self.progress.runs
        self._steps = {number: self._steps.get(number) or self._depth(run) for number, run in runs.items()}
        slots = sum(self._widest(view, run, self._steps[number]) for number, run in runs.items())
        view.set_desired(math.ceil(slots / view.settings.slots))

    def _depth(self, run: DagRun) -> int:
        """Return the steps of the interval."""
        longest: list[tuple[float, int]] = []
        for node, task in enumerate(run.tasks):
            before_s, length = max((longest[parent] for parent in task.upstream), default=(0.0, 0))
            longest.append((before_s + self.progress.expected_s(run, node), length + 1))
        seconds, length = max(longest)
        return math.ceil(self.interval_s * length / max(seconds, 1.0))

    def _widest(self, view: EngineFleetView, run: DagRun, steps: int) -> float:
        """Return the largest number of tokens."""
        children = self.progress.children(run)
        tokens = set(self.progress.frontier(run))
        reached = set(tokens)
        widest = self._count(view, run, tokens)
        for _ in range(steps):
            moved: set[int] = set()
            for node in tokens:
                free = [
                    child
                    for child in children[node]
                    if all(run.ended >> parent & 1 or parent in reached for parent in run.tasks[child].upstream)
                ]
                moved.update(free)
                if len(free) < len(children[node]):
                    moved.add(node)
            if moved == tokens or not moved:
                break
            tokens = moved
            reached |= tokens
            widest = max(widest, self._count(view, run, tokens))
        return widest

    @staticmethod
    def _count(view: EngineFleetView, run: DagRun, tokens: set[int]) -> float:
        """Return the slots of the tasks with a token; a mapped task has one for each instance."""
        tasks = run.tasks
        return sum(run.left[node] or tasks[node].mapped or 1 for node in tokens if view.fleet.serves(tasks[node].queue))
