# SPDX-License-Identifier: Apache-2.0
"""A task: starts its containers in the order of their dependencies, monitors them, and stops them in reverse order."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from local_ecs.runtime import health
from local_ecs.runtime.api import (
    ContainerState,
    Health,
    Status,
    StopCode,
    TaskEvent,
    TaskHealth,
    TaskRunning,
    TaskStopped,
    TaskToRun,
)
from local_ecs.runtime.container_plan import ContainerPlan, Dependency, HealthCheck
from local_ecs.runtime.errors import ContainerError, DependencyError, StartError
from local_ecs.runtime.process import ContainerProcess
from local_ecs.runtime.process_tree import CONTAINER_MARK


class RunningContainer:
    """One container of a task, with events for its states."""

    def __init__(self, plan: ContainerPlan) -> None:
        self.plan = plan
        self.started = asyncio.Event()
        self.healthy = asyncio.Event()
        self.stopped = asyncio.Event()
        self.health: Health = "UNKNOWN"
        self.exit_code: int | None = None
        self.reason: str | None = None
        self.process: ContainerProcess | None = None

    @property
    def state(self) -> ContainerState:
        """The current state."""
        status: Status = "PENDING"
        if self.stopped.is_set():
            status = "STOPPED"
        elif self.started.is_set():
            status = "RUNNING"
        pid = self.process.pid if self.process else None
        return ContainerState(self.plan.name, status, self.health, self.exit_code, self.reason, pid)

    def end(self, *, exit_code: int | None = None, reason: str | None = None) -> None:
        """Record the end. Later calls have no effect."""
        if not self.stopped.is_set():
            self.exit_code, self.reason = exit_code, reason
            self.stopped.set()


@dataclass(frozen=True)
class TaskContext:
    """The dependencies of a task; `ProcessTaskRunner` creates one for each task."""

    home: Path
    marks: Mapping[str, str]
    prepare: Callable[[], Awaitable[tuple[ContainerPlan, ...]]]
    environment: Callable[[ContainerPlan], Awaitable[Mapping[str, str]]]
    """The complete environment with secrets; raises ContainerError."""
    on_lines: Callable[[ContainerPlan, Sequence[str]], None]
    on_started: Callable[[ContainerPlan, int], None]


class RunningTask:
    """Runs one task. `run()` returns when all its processes have ended."""

    def __init__(self, task: TaskToRun, context: TaskContext, on_event: Callable[[TaskEvent], None]) -> None:
        self.task = task
        self._context = context
        self._on_event = on_event
        self._containers: dict[str, RunningContainer] = {}
        self._environments: dict[str, Mapping[str, str]] = {}
        self._stopping = asyncio.Event()
        self._stop_code: StopCode = "UserInitiated"
        self._reason = ""
        self._health: Health = "UNKNOWN"
        self._longest_stop_s: float | None = None

    def states(self) -> tuple[ContainerState, ...]:
        """The current states of the containers."""
        return tuple(container.state for container in self._containers.values())

    def environment_of(self, name: str) -> Mapping[str, str] | None:
        """The variables of a container that runs; None if it does not."""
        container = self._containers.get(name)
        return self._environments[name] if container and container.state.status == "RUNNING" else None

    def stop(self, code: StopCode, reason: str, *, at_most_s: float | None = None) -> None:
        """Start the stop sequence. The first reason stays; a later limit for the stop timeouts applies."""
        if at_most_s is not None:
            self._longest_stop_s = at_most_s
        if not self._stopping.is_set():
            self._stop_code, self._reason = code, reason
            self._stopping.set()

    async def kill(self) -> None:
        """Kill every container at once."""
        for container in self._containers.values():
            if container.process and not container.stopped.is_set():
                await container.process.kill()

    async def run(self) -> None:
        """Start, monitor and stop the containers. Every run ends with one `TaskStopped`."""
        try:
            await self._prepare()
            await self._run_containers()
        except ContainerError as error:
            self.stop("TaskFailedToStart", str(error))
        finally:
            for container in self._containers.values():
                container.end()
            self._on_event(TaskStopped(self.task.task_arn, self.states(), self._stop_code, self._reason))

    async def _prepare(self) -> None:
        for plan in await self._context.prepare():
            self._containers[plan.name] = RunningContainer(plan)
        for plan in (container.plan for container in self._containers.values()):
            self._environments[plan.name] = await self._context.environment(plan)

    async def _run_containers(self) -> None:
        containers = tuple(self._containers.values())
        async with asyncio.TaskGroup() as group:
            for container in containers:
                group.create_task(self._run_container(container))
            for container in containers:
                group.create_task(self._stop_in_order(container))

    async def _run_container(self, container: RunningContainer) -> None:
        try:
            await self._wait_for_dependencies(container)
            if self._stopping.is_set():
                container.end()
                return
            process = await self._start(container)
        except ContainerError as error:
            container.end(reason=str(error))
            self.stop("TaskFailedToStart", str(error))
            return
        monitor = asyncio.create_task(self._watch(container))
        try:
            code = await process.wait()
        finally:
            monitor.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await monitor
        container.end(exit_code=code)
        if container.plan.essential:
            self.stop("EssentialContainerExited", "Essential container in task exited")
        elif all(other.stopped.is_set() for other in self._containers.values()):
            self.stop("EssentialContainerExited", "Every container in task exited")

    async def _start(self, container: RunningContainer) -> ContainerProcess:
        plan = container.plan
        home = self._context.home / plan.name
        try:
            home.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StartError(f"CannotStartContainerError: {error}") from error
        process = await ContainerProcess.start(
            plan.argv,
            environment=self._environments[plan.name],
            home=home,
            marks={**self._context.marks, CONTAINER_MARK: plan.name},
            on_lines=lambda lines: self._context.on_lines(plan, lines),
        )
        container.process = process
        self._context.on_started(plan, process.pid)
        container.started.set()
        if all(other.started.is_set() for other in self._containers.values()) and not self._stopping.is_set():
            self._on_event(TaskRunning(self.task.task_arn))
        return process

    async def _wait_for_dependencies(self, container: RunningContainer) -> None:
        for dependency in container.plan.depends_on:
            await self._wait_for(container, dependency)
            if self._stopping.is_set():
                return

    async def _wait_for(self, container: RunningContainer, dependency: Dependency) -> None:
        other = self._containers[dependency.container]
        condition = {"START": other.started, "HEALTHY": other.healthy}.get(dependency.condition, other.stopped)
        await _first(other.started, other.stopped, self._stopping)
        try:
            async with asyncio.timeout(other.plan.start_timeout_s):
                await _first(condition, other.stopped, self._stopping)
        except TimeoutError:
            raise DependencyError(
                f"container {container.plan.name} depends on {other.plan.name} ({dependency.condition}), which did not "
                f"reach this within its start timeout of {other.plan.start_timeout_s:g} s"
            ) from None
        if self._stopping.is_set():
            return
        succeeded = dependency.condition != "SUCCESS" or other.exit_code == 0
        if not condition.is_set() or not other.started.is_set() or not succeeded:
            ending = "did not start" if other.exit_code is None else f"exited with {other.exit_code}"
            raise DependencyError(
                f"container {container.plan.name} depends on {other.plan.name} ({dependency.condition}), which {ending}"
            )

    async def _watch(self, container: RunningContainer) -> None:
        if container.plan.health_check is None:
            return

        def changed(now: Health) -> None:
            container.health = now
            if now == "HEALTHY":
                container.healthy.set()
            self._report_health()

        await health.watch(container.plan.health_check, partial(self._probe, container), changed)

    async def _probe(self, container: RunningContainer, check: HealthCheck) -> bool:
        plan = container.plan
        try:
            process = await ContainerProcess.start(
                check.argv,
                environment=self._environments[plan.name],
                home=self._context.home / plan.name,
                marks={**self._context.marks, CONTAINER_MARK: f"{plan.name}/health"},
                on_lines=lambda _lines: None,
                adopt_orphans=False,
            )
        except StartError:
            return False
        code = None
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(check.timeout_s):
                    code = await process.wait()
        finally:
            if code is None:
                await process.kill()
        return code == 0

    def _report_health(self) -> None:
        checked = [item for item in self._containers.values() if item.plan.health_check and item.plan.essential]
        now: Health = "UNKNOWN"
        if any(item.health == "UNHEALTHY" for item in checked):
            now = "UNHEALTHY"
        elif checked and all(item.health == "HEALTHY" for item in checked):
            now = "HEALTHY"
        if now != self._health:
            self._health = now
            self._on_event(TaskHealth(self.task.task_arn, now))

    async def _stop_in_order(self, container: RunningContainer) -> None:
        """Stop a container after those that depend on it, as ECS does."""
        await _first(self._stopping, container.stopped)
        if not self._stopping.is_set():
            return
        for other in self._containers.values():
            if any(dependency.container == container.plan.name for dependency in other.plan.depends_on):
                await other.stopped.wait()
        if container.process is None:  # _run_container checks _stopping before it starts a process
            await _first(container.started, container.stopped)
        if container.process is None or container.stopped.is_set():
            return
        container.process.terminate()
        timeout = container.plan.stop_timeout_s
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout if self._longest_stop_s is None else min(timeout, self._longest_stop_s)):
                await container.stopped.wait()
        if not container.stopped.is_set():
            await container.process.kill()


async def _first(*events: asyncio.Event) -> None:
    """Wait for the first of several events."""
    waits = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
