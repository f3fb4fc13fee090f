# SPDX-License-Identifier: Apache-2.0
"""How large a workload is."""

from dataclasses import dataclass

from simulation.workloads.model import Workload


@dataclass(frozen=True, slots=True)
class WorkloadSize:
    """Sums over all runs."""

    tasks: int
    """Task instances."""
    slot_uses: int
    """How often an instance takes a slot: once for each segment."""
    task_hours: float
    """Time in a slot."""


def size_of(workload: Workload) -> WorkloadSize:
    """Count the instances, and what they do."""
    tasks = slot_uses = 0
    seconds = 0.0
    for run in workload.runs:
        for node, task in enumerate(workload.dags[run.dag_id].versions[run.version]):
            count = 1 if task.mapped is None else run.mapped.get(node, max(0, round(task.mapped)))
            segments = run.segments.get(node, task.segments)
            worked_s = sum(run_s for run_s, _ in segments)
            if run.run_times_s is not None and node not in run.segments and len(segments) == 1:
                worked_s = run.run_times_s[node]
            tasks += count
            slot_uses += count * len(segments)
            seconds += count * worked_s * run.factor
    return WorkloadSize(tasks, slot_uses, seconds / 3600)
