# SPDX-License-Identifier: Apache-2.0
"""What rules know of Airflow's database: the runs in progress, their tasks, and how long tasks took before."""

from simulation.engine.airflow import DagRun, EngineTask, ProgressListener, children_of


class Progress(ProgressListener):
    """A listener that keeps the runs in progress and the durations of ended tasks."""

    def __init__(self, unknown_s: float) -> None:
        self.runs: dict[int, DagRun] = {}
        self.tasks: dict[int, dict[EngineTask, float | None]] = {}
        """By run: the instances in a queue (None) or in a slot (since when)."""
        self._durations: dict[tuple[str, str], float] = {}
        self._children: dict[tuple[str, int], list[list[int]]] = {}
        self._unknown_s = unknown_s

    def expected_s(self, run: DagRun, node: int) -> float:
        """Return an average of a task's past seconds in a slot, where the last duration weighs one half."""
        return self._durations.get((run.dag.dag_id, run.tasks[node].task_id), self._unknown_s)

    def children(self, run: DagRun) -> list[list[int]]:
        """Return the downstream tasks of each task."""
        key = run.dag.dag_id, run.version
        if key not in self._children:
            self._children[key] = children_of(run.tasks)
        return self._children[key]

    def run_started(self, run: DagRun, now: float) -> None:
        """Keep the run."""
        self.runs[run.number] = run
        self.tasks[run.number] = {}

    def run_ended(self, run: DagRun, now: float) -> None:
        """Forget the run."""
        del self.runs[run.number], self.tasks[run.number]

    def task_queued(self, instance: EngineTask, now: float) -> None:
        """Keep the instance."""
        self.tasks[instance.run.number][instance] = None

    def task_started(self, instance: EngineTask, now: float) -> None:
        """Keep the start."""
        self.tasks[instance.run.number][instance] = now

    def task_waits(self, instance: EngineTask, now: float, until: float) -> None:
        """Forget the instance until it is queued again."""
        self.task_ended(instance, now)

    def task_ended(self, instance: EngineTask, now: float) -> None:
        """Learn the duration."""
        del self.tasks[instance.run.number][instance]
        key, took = (instance.run.dag.dag_id, instance.task.task_id), now - instance.started_at
        self._durations[key] = (self._durations.get(key, took) + took) / 2

    @staticmethod
    def frontier(run: DagRun) -> list[int]:
        """Return the tasks of a run that have not ended, and whose upstream tasks have."""
        return [node for node, missing in enumerate(run.missing) if not missing and not run.ended >> node & 1]
