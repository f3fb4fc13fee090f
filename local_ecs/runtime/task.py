# SPDX-License-Identifier: Apache-2.0
"""One task: its containers started in order of their dependencies, watched, and stopped in the opposite order."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
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
from local_ecs.runtime.errors import ContainerError, DependencyError, StartError
from local_ecs.runtime.plan import ContainerPlan, Dependency, HealthCheck
from local_ecs.runtime.process import ContainerProcess
from local_ecs.runtime.process_tree import CONTAINER_MARK


class Container:
    """What is known of one container of a task, and the moments others wait for."""

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
        """A snapshot, as the seam has it."""
        status: Status = "PENDING"
        if self.stopped.is_set():
            status = "STOPPED"
        elif self.started.is_set():
            status = "RUNNING"
        pid = self.process.pid if self.process else None
        return ContainerState(self.plan.name, status, self.health, self.exit_code, self.reason, pid)

    def end(self, *, exit_code: int | None = None, reason: str | None = None) -> None:
        """Note the end; the first note stays."""
        if not self.stopped.is_set():
            self.exit_code, self.reason = exit_code, reason
            self.stopped.set()


class TaskWorld:
    """What a task needs from outside; `ProcessTaskRunner` makes one a task."""

    def __init__(
        self,
        *,
        home: Path,
        marks: Mapping[str, str],
        prepare: Callable[[], Awaitable[tuple[ContainerPlan, ...]]],
        environment: Callable[[ContainerPlan], Awaitable[Mapping[str, str]]],
        on_lines: Callable[[ContainerPlan, Sequence[str]], None],
        on_started: Callable[[ContainerPlan, int], None],
    ) -> None:
        self.home = home
        self.marks = marks
        self.prepare = prepare
        self.environment = environment
        """Complete, secrets resolved; raises ContainerError."""
        self.on_lines = on_lines
        self.on_started = on_started


class RunningTask:
    """Runs one task to its end; `run()` returns when no process of it is left."""

    def __init__(self, task: TaskToRun, world: TaskWorld, on_event: Callable[[TaskEvent], None]) -> None:
        self.task = task
        self._world = world
        self._on_event = on_event
        self._containers: dict[str, Container] = {}
        self._environments: dict[str, Mapping[str, str]] = {}
        self._stopping = asyncio.Event()
        self._stop_code: StopCode = "UserInitiated"
        self._reason = ""
        self._health: Health = "UNKNOWN"
        self._longest_stop_s: float | None = None

    def states(self) -> tuple[ContainerState, ...]:
        """The containers now."""
        return tuple(container.state for container in self._containers.values())

    def stop(self, code: StopCode, reason: str, *, at_most_s: float | None = None) -> None:
        """Begin the stop sequence; the first reason stays, a shorter limit for the stop timeouts is taken."""
        if at_most_s is not None:
            self._longest_stop_s = at_most_s
        if not self._stopping.is_set():
            self._stop_code, self._reason = code, reason
            self._stopping.set()

    async def kill(self) -> None:
        """SIGKILL every container at once."""
        for container in self._containers.values():
            if container.process and not container.stopped.is_set():
                await container.process.kill()

    async def run(self) -> None:
        """Start, watch, stop; every outcome ends in one `TaskStopped`."""
        try:
            await self._prepare()
            await self._live()
        except ContainerError as error:
            self.stop("TaskFailedToStart", str(error))
        finally:
            for container in self._containers.values():
                container.end()
            self._on_event(TaskStopped(self.task.task_arn, self.states(), self._stop_code, self._reason))

    async def _prepare(self) -> None:
        for plan in await self._world.prepare():
            self._containers[plan.name] = Container(plan)
        for plan in (container.plan for container in self._containers.values()):
            self._environments[plan.name] = await self._world.environment(plan)

    async def _live(self) -> None:
        containers = tuple(self._containers.values())
        async with asyncio.TaskGroup() as group:
            for container in containers:
                group.create_task(self._drive(container))
            for container in containers:
                group.create_task(self._stop_in_order(container))

    async def _drive(self, container: Container) -> None:
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
        watching = self._watch(container)
        try:
            code = await process.wait()
        finally:
            watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watching
        container.end(exit_code=code)
        if container.plan.essential:
            self.stop("EssentialContainerExited", "Essential container in task exited")
        elif all(one.stopped.is_set() for one in self._containers.values()):
            self.stop("EssentialContainerExited", "Every container in task exited")

    async def _start(self, container: Container) -> ContainerProcess:
        plan = container.plan
        home = self._world.home / plan.name
        try:
            home.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StartError(f"CannotStartContainerError: {error}") from error
        process = await ContainerProcess.start(
            plan.argv,
            environment=self._environments[plan.name],
            home=home,
            marks={**self._world.marks, CONTAINER_MARK: plan.name},
            on_lines=lambda lines: self._world.on_lines(plan, lines),
        )
        container.process = process
        self._world.on_started(plan, process.pid)
        container.started.set()
        if all(one.started.is_set() for one in self._containers.values()) and not self._stopping.is_set():
            self._on_event(TaskRunning(self.task.task_arn))
        return process

    async def _wait_for_dependencies(self, container: Container) -> None:
        for dependency in container.plan.depends_on:
            await self._wait_for(container, dependency)
            if self._stopping.is_set():
                return

    async def _wait_for(self, container: Container, dependency: Dependency) -> None:
        other = self._containers[dependency.container]
        wanted = {"START": other.started, "HEALTHY": other.healthy}.get(dependency.condition, other.stopped)
        await _first(other.started, other.stopped, self._stopping)
        try:
            async with asyncio.timeout(other.plan.start_timeout_s):
                await _first(wanted, other.stopped, self._stopping)
        except TimeoutError:
            raise DependencyError(
                f"container {container.plan.name} depends on {other.plan.name} ({dependency.condition}), which did not "
                f"get there within its start timeout of {other.plan.start_timeout_s:g} s"
            ) from None
        if self._stopping.is_set():
            return
        ended_well = dependency.condition != "SUCCESS" or other.exit_code == 0
        if not wanted.is_set() or not other.started.is_set() or not ended_well:
            ending = "did not start" if other.exit_code is None else f"exited with {other.exit_code}"
            raise DependencyError(
                f"container {container.plan.name} depends on {other.plan.name} ({dependency.condition}), which {ending}"
            )

    def _watch(self, container: Container) -> "asyncio.Task[None]":
        async def probe(check: HealthCheck) -> bool:
            return await self._probe(container, check)

        def changed(now: Health) -> None:
            container.health = now
            if now == "HEALTHY":
                container.healthy.set()
            self._tell_health()

        async def watch() -> None:
            if container.plan.health_check:
                await health.watch(container.plan.health_check, probe, changed)

        return asyncio.create_task(watch())

    async def _probe(self, container: Container, check: HealthCheck) -> bool:
        plan = container.plan
        try:
            process = await ContainerProcess.start(
                check.argv,
                environment=self._environments[plan.name],
                home=self._world.home / plan.name,
                marks={**self._world.marks, CONTAINER_MARK: f"{plan.name}/health"},
                on_lines=lambda _lines: None,
                adopt_orphans=False,
            )
        except StartError:
            return False
        code = None
        try:
            async with asyncio.timeout(check.timeout_s):
                code = await process.wait()
        except TimeoutError:
            pass
        finally:
            if code is None:
                await process.kill()
        return code == 0

    def _tell_health(self) -> None:
        checked = [one for one in self._containers.values() if one.plan.health_check and one.plan.essential]
        now: Health = "UNKNOWN"
        if any(one.health == "UNHEALTHY" for one in checked):
            now = "UNHEALTHY"
        elif checked and all(one.health == "HEALTHY" for one in checked):
            now = "HEALTHY"
        if now != self._health:
            self._health = now
            self._on_event(TaskHealth(self.task.task_arn, now))

    async def _stop_in_order(self, container: Container) -> None:
        """Stop a container once those that depend on it have stopped, as ECS does."""
        await _first(self._stopping, container.stopped)
        if not self._stopping.is_set():
            return
        for other in self._containers.values():
            if any(dependency.container == container.plan.name for dependency in other.plan.depends_on):
                await other.stopped.wait()
        if container.process is None:  # the driver sees _stopping before it starts anything
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
