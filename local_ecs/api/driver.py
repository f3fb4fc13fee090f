# SPDX-License-Identifier: Apache-2.0
"""Connects the pure model with the task runner: advances the model, executes its effects, and reports events to it.

All code runs in one event loop, so no lock is needed. Only the runner's calls are awaited.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from local_ecs.api import shapes
from local_ecs.api.clock import EcsClock
from local_ecs.api.journal import Journal
from local_ecs.api.settings import BlockAddresses, TargetRegistry
from local_ecs.model import EcsModel, EcsTask, Effect, LaunchTask, StopTask
from local_ecs.runtime.api import ContainerState, TaskEvent, TaskHealth, TaskRunner, TaskRunning, TaskStopped, TaskToRun

logger = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True)
class LaunchedTask:
    """The data of a launched task that the model does not have."""

    address: str
    token: str
    last_containers: tuple[ContainerState, ...] = ()
    targets: tuple[tuple[str, int], ...] = ()  # target group ARN and port, while registered


class Driver:
    """Runs the tasks of a model with a task runner."""

    def __init__(
        self,
        model: EcsModel,
        runner: TaskRunner,
        *,
        clock: EcsClock,
        addresses: BlockAddresses,
        targets: TargetRegistry,
        journal: Journal,
        ecs_environment: Callable[[str], Mapping[str, str]],
        save: Callable[[], None],
    ) -> None:
        self.model = model
        self.journal = journal
        self._runner = runner
        self._clock = clock
        self._addresses = addresses
        self._targets = targets
        self._ecs_environment = ecs_environment
        self.save = save
        self.client_tokens: dict[str, str] = {}
        """Service ARN -> clientToken of its creation; lost at a restart."""
        self._launched: dict[str, LaunchedTask] = {}
        self._effects: list[Effect] = []
        self._changed = asyncio.Event()
        self._last_events: dict[str, str] = {}  # service ARN -> id of its newest event in the journal
        self._closing = False
        self._executing = False

    # --- the loop ---------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Run until cancelled."""
        while True:
            self._changed.clear()
            self._executing = True
            self._advance()
            await self._execute_effects()
            self.save()
            self._executing = False
            await self._clock.wait_until(self.model.next_due(), self._changed)

    @property
    def busy(self) -> bool:
        """Whether the loop has pending work."""
        return self._changed.is_set() or bool(self._effects) or self._executing

    async def close(self) -> None:
        """Stop all tasks. The model does not change, so the services run again after the next start."""
        self._closing = True
        await self._runner.close()

    def act(self, operation: Callable[[], T]) -> T:
        """Execute an operation on the model now. The loop then executes its effects."""
        self._advance()
        try:
            return operation()
        finally:
            self._changed.set()

    def _advance(self) -> None:
        if not self._closing:
            self._effects += self.model.advance(self._clock.now())
            self._note_service_events()

    async def _execute_effects(self) -> None:
        while self._effects and not self._closing:
            effect = self._effects.pop(0)
            try:
                if isinstance(effect, LaunchTask):
                    await self._launch(effect.task)
                else:
                    await self._stop(effect)
            except Exception as error:  # a task that cannot start must not stop the local ECS
                logger.exception("task %s", effect.task.arn)
                self.model.task_stopped(effect.task.arn, "TaskFailedToStart", f"ResourceInitializationError: {error}")

    # --- effects ----------------------------------------------------------------------------------------------

    async def _launch(self, task: EcsTask) -> None:
        self._launched = {arn: old for arn, old in self._launched.items() if self.model.task(arn) is not None}
        launched = LaunchedTask(self._addresses.acquire(task.id), f"{task.id}-{task.id[-10:]}")
        self._launched[task.arn] = launched
        self.journal.add("TaskStarted", task=task.arn, group=task.group, address=launched.address)
        definition = self.model.task_definitions.get(task.task_definition_arn)
        await self._runner.start(
            TaskToRun(
                task_arn=task.arn,
                task_id=task.id,
                group=task.group,
                address=launched.address,
                task_definition=shapes.task_definition(definition),
                overrides=task.overrides,
                ecs_environment=self._ecs_environment(launched.token),
            ),
            self._on_event,
        )

    async def _stop(self, effect: StopTask) -> None:
        task = effect.task
        self._leave_targets(task.arn)
        self.journal.add("TaskStopping", task=task.arn, group=task.group, code=task.stop_code, reason=effect.reason)
        await self._runner.stop(task.arn, reason=effect.reason)

    # --- events of the runner --------------------------------------------------------------------------------

    def _on_event(self, event: TaskEvent) -> None:
        if self._closing:
            return
        self._advance()
        match event:
            case TaskRunning(arn):
                self.model.task_running(arn)
                self._join_targets(arn)
                self._note(arn, "TaskRunning")
            case TaskHealth(arn, health):
                self.model.task_health(arn, health)
                self._note(arn, "TaskHealth", health=health)
            case TaskStopped(arn, containers, code, reason):
                self._leave_targets(arn)
                self.model.task_stopped(arn, code, reason)
                self._ended(arn, containers)
        self._changed.set()

    def _ended(self, arn: str, containers: tuple[ContainerState, ...]) -> None:
        launched, task = self._launched.get(arn), self.model.task(arn)
        if launched is not None:
            self._launched[arn] = replace(launched, last_containers=containers)
            self._addresses.release(arn.rpartition("/")[2])
        if task is not None:
            exits = {c.name: c.exit_code for c in containers}
            self._note(arn, "TaskStopped", code=task.stop_code, reason=task.stopped_reason, exit_codes=exits)

    def _note(self, arn: str, kind: str, **detail: Any) -> None:
        task = self.model.task(arn)
        if task is not None:
            self.journal.add(kind, task=arn, group=task.group, **detail)

    def _note_service_events(self) -> None:
        for service in self.model.services.everywhere():
            last = self._last_events.get(service.arn)
            new = []
            for event in service.events:
                if event.id == last:
                    break
                new.append(event)
            if new:
                self._last_events[service.arn] = new[0].id
            for event in reversed(new):
                self.journal.add("ServiceEvent", service=service.name, message=event.message)

    # --- load balancers ---------------------------------------------------------------------------------------

    def _join_targets(self, arn: str) -> None:
        task, launched = self.model.task(arn), self._launched.get(arn)
        if task is None or launched is None or launched.targets or task.stopping:
            return
        balancers = [b for b in task.details.get("loadBalancers", ()) if "targetGroupArn" in b]
        targets = tuple((b["targetGroupArn"], int(b["containerPort"])) for b in balancers)
        self._launched[arn] = replace(launched, targets=targets)
        for group, port in targets:
            self._targets.register(group, launched.address, port)

    def _leave_targets(self, arn: str) -> None:
        launched = self._launched.get(arn)
        if launched is None:
            return
        self._launched[arn] = replace(launched, targets=())
        for group, port in launched.targets:
            self._targets.deregister(group, launched.address, port)

    # --- launched tasks ---------------------------------------------------------------------------------------

    def task_of_token(self, token: str) -> EcsTask | None:
        """Find the running task that has this token in its metadata and agent endpoints."""
        arn = next((a for a, v in self._launched.items() if v.token == token), None)
        task = self.model.task(arn) if arn is not None else None
        return task if task is not None and task.stopped_at is None else None

    def address(self, arn: str) -> str | None:
        """Return the address of a launched task."""
        launched = self._launched.get(arn)
        return launched.address if launched else None

    def containers(self, arn: str) -> tuple[ContainerState, ...]:
        """Return the current or last states of a task's containers."""
        launched = self._launched.get(arn)
        return self._runner.containers(arn) or (launched.last_containers if launched else ())

    def task_shape(self, task: EcsTask, *, tags: bool = False) -> shapes.Json:
        """Return the shape Task."""
        definition = self.model.task_definitions.get(task.task_definition_arn)
        address, containers = self.address(task.arn), self.containers(task.arn)
        return shapes.task(task, definition, address=address, containers=containers, tags=tags)


Operation = Callable[[Driver, shapes.Json, str], shapes.Json]
"""Answers a request of a caller, whose short name goes to the journal."""
