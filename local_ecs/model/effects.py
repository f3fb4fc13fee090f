# SPDX-License-Identifier: Apache-2.0
"""The effects for the runtime, which reports through `EcsModel.task_running`, `task_health` and `task_stopped`."""

from dataclasses import dataclass

from local_ecs.model.records import EcsTask


@dataclass(frozen=True, slots=True)
class LaunchTask:
    """Start this task's containers."""

    task: EcsTask


@dataclass(frozen=True, slots=True)
class StopTask:
    """Start the stop sequence of a launched task: SIGTERM, stopTimeout, SIGKILL."""

    task: EcsTask
    reason: str


Effect = LaunchTask | StopTask
