# SPDX-License-Identifier: Apache-2.0
"""What the model wants the world to do; the world answers through `Ecs.task_running`, `task_health`, `task_stopped`."""

from dataclasses import dataclass

from local_ecs.model.records import Task


@dataclass(frozen=True, slots=True)
class LaunchTask:
    """Start this task's containers."""

    task: Task


@dataclass(frozen=True, slots=True)
class StopTask:
    """Begin the stop sequence of a task that was launched: SIGTERM, stopTimeout, SIGKILL."""

    task: Task
    reason: str


Effect = LaunchTask | StopTask
