# SPDX-License-Identifier: Apache-2.0
"""A `TaskRunner` without processes. By default it starts and stops tasks at once."""

from collections.abc import Callable
from typing import Literal

from local_ecs.runtime.api import ContainerState, TaskEvent, TaskHealth, TaskRunning, TaskStopped, TaskToRun


class FakeTaskRunner:
    """Reports RUNNING on start and STOPPED on stop. With `slow_start` and `slow_stop` the test does so."""

    def __init__(self, *, slow_start: bool = False, slow_stop: bool = False, healthy: bool = False) -> None:
        """With `healthy`, every health check of a container succeeds at once."""
        self.slow_start = slow_start
        self.slow_stop = slow_stop
        self.healthy = healthy
        self.started: list[TaskToRun] = []
        self.stops: list[tuple[str, str]] = []
        self.closed = False
        self._listeners: dict[str, Callable[[TaskEvent], None]] = {}
        self._states: dict[str, tuple[ContainerState, ...]] = {}

    async def start(self, task: TaskToRun, on_event: Callable[[TaskEvent], None]) -> None:
        self.started.append(task)
        self._listeners[task.task_arn] = on_event
        self._put(task, "PENDING")
        if not self.slow_start:
            self.runs(task.task_arn)
        if self.healthy:
            self.health(task.task_arn, "HEALTHY")

    async def stop(self, task_arn: str, *, reason: str) -> None:
        self.stops.append((task_arn, reason))
        if not self.slow_stop:
            self.ends(task_arn, exit_code=143)

    def containers(self, task_arn: str) -> tuple[ContainerState, ...]:
        return self._states.get(task_arn, ())

    async def close(self) -> None:
        self.closed = True

    def runs(self, task_arn: str) -> None:
        self._put(next(t for t in self.started if t.task_arn == task_arn), "RUNNING")
        self._listeners[task_arn](TaskRunning(task_arn))

    def health(self, task_arn: str, health: Literal["UNKNOWN", "HEALTHY", "UNHEALTHY"]) -> None:
        self._listeners[task_arn](TaskHealth(task_arn, health))

    def ends(self, task_arn: str, *, exit_code: int = 0) -> None:
        states = tuple(
            ContainerState(s.name, "STOPPED", s.health, exit_code, None, None) for s in self._states.pop(task_arn)
        )
        reason = "Essential container in task exited"
        self._listeners[task_arn](TaskStopped(task_arn, states, "EssentialContainerExited", reason))

    def fails_to_start(self, task_arn: str, reason: str = "CannotPullContainerError: no such image") -> None:
        self._states.pop(task_arn, None)
        self._listeners[task_arn](TaskStopped(task_arn, (), "TaskFailedToStart", reason))

    def _put(self, task: TaskToRun, status: Literal["PENDING", "RUNNING"]) -> None:
        pid = 1000 + len(self.started) if status == "RUNNING" else None
        self._states[task.task_arn] = tuple(
            ContainerState(c["name"], status, "UNKNOWN", None, None, pid)
            for c in task.task_definition["containerDefinitions"]
        )
