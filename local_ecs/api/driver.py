# SPDX-License-Identifier: Apache-2.0
"""Between the pure model and running tasks: time drives the model, its effects drive the runner, events come back.

Everything here happens in one event loop, so no lock is needed; only the runner's calls are awaited.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from local_ecs.api import shapes
from local_ecs.api.clock import EcsClock
from local_ecs.api.journal import Journal
from local_ecs.api.settings import AddressPool, TargetRegistry
from local_ecs.model import EcsModel, EcsTask, Effect, LaunchTask, StopTask
from local_ecs.runtime.api import ContainerState, TaskEvent, TaskHealth, TaskRunner, TaskRunning, TaskStopped, TaskToRun

logger = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True)
class TaskView:
    """What the model does not know of a launched task."""

    address: str
    token: str
    last_containers: tuple[ContainerState, ...] = ()
    targets: tuple[tuple[str, int], ...] = field(default=())  # target group ARN and port, while registered


class Driver:
    """Runs a model in a world of processes."""

    def __init__(
        self,
        model: EcsModel,
        runner: TaskRunner,
        *,
        clock: EcsClock,
        addresses: AddressPool,
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
        self._views: dict[str, TaskView] = {}
        self._effects: list[Effect] = []
        self._wake = asyncio.Event()
        self._said: dict[str, str] = {}  # service ARN -> id of its newest event in the journal
        self._closing = False
        self._obeying = False

    # --- the loop ---------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Drive until cancelled."""
        while True:
            self._wake.clear()
            self._obeying = True
            self._advance()
            await self._obey()
            self.save()
            self._obeying = False
            await self._clock.wait_until(self.model.next_due(), self._wake)

    @property
    def busy(self) -> bool:
        """Whether something was asked for that the loop has not yet seen to."""
        return self._wake.is_set() or bool(self._effects) or self._obeying

    async def close(self) -> None:
        """Stop all tasks; the model is left as it is, for the services shall run again after the next start."""
        self._closing = True
        await self._runner.close()

    def act(self, verb: Callable[[], T]) -> T:
        """Do something with the model now, and let the loop see to its consequences."""
        self._advance()
        try:
            return verb()
        finally:
            self._wake.set()

    def _advance(self) -> None:
        if not self._closing:
            self._effects += self.model.advance(self._clock.now())
            self._note_service_events()

    async def _obey(self) -> None:
        while self._effects and not self._closing:
            effect = self._effects.pop(0)
            try:
                if isinstance(effect, LaunchTask):
                    await self._launch(effect.task)
                else:
                    await self._stop(effect)
            except Exception as error:  # one task that cannot be started must not end the whole ECS
                logger.exception("task %s", effect.task.arn)
                self.model.task_stopped(effect.task.arn, "TaskFailedToStart", f"ResourceInitializationError: {error}")

    # --- effects ----------------------------------------------------------------------------------------------

    async def _launch(self, task: EcsTask) -> None:
        self._forget_old_views()
        view = TaskView(self._addresses.acquire(task.id), f"{task.id}-{task.id[-10:]}")
        self._views[task.arn] = view
        self.journal.add("TaskStarted", task=task.arn, group=task.group, address=view.address)
        definition = self.model.task_definitions.get(task.task_definition_arn)
        await self._runner.start(
            TaskToRun(
                task_arn=task.arn,
                task_id=task.id,
                group=task.group,
                address=view.address,
                task_definition=shapes.task_definition(definition),
                overrides=task.overrides,
                ecs_environment=self._ecs_environment(view.token),
            ),
            self._on_event,
        )

    async def _stop(self, effect: StopTask) -> None:
        self._leave_targets(effect.task.arn)
        self.journal.add(
            "TaskStopping",
            task=effect.task.arn,
            group=effect.task.group,
            code=effect.task.stop_code,
            reason=effect.reason,
        )
        await self._runner.stop(effect.task.arn, reason=effect.reason)

    # --- what the runner tells --------------------------------------------------------------------------------

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
        self._wake.set()

    def _ended(self, arn: str, containers: tuple[ContainerState, ...]) -> None:
        view, task = self._views.get(arn), self.model.task(arn)
        if view is not None:
            self._views[arn] = replace(view, last_containers=containers)
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
            last = self._said.get(service.arn)
            new = []
            for event in service.events:
                if event.id == last:
                    break
                new.append(event)
            if new:
                self._said[service.arn] = new[0].id
            for event in reversed(new):
                self.journal.add("ServiceEvent", service=service.name, message=event.message)

    # --- load balancers ---------------------------------------------------------------------------------------

    def _join_targets(self, arn: str) -> None:
        task, view = self.model.task(arn), self._views.get(arn)
        if task is None or view is None or view.targets or task.stopping:
            return
        balancers = [b for b in task.details.get("loadBalancers", ()) if "targetGroupArn" in b]
        targets = tuple((b["targetGroupArn"], int(b["containerPort"])) for b in balancers)
        self._views[arn] = replace(view, targets=targets)
        for group, port in targets:
            self._targets.register(group, view.address, port)

    def _leave_targets(self, arn: str) -> None:
        view = self._views.get(arn)
        if view is None:
            return
        self._views[arn] = replace(view, targets=())
        for group, port in view.targets:
            self._targets.deregister(group, view.address, port)

    # --- views ------------------------------------------------------------------------------------------------

    def task_of_token(self, token: str) -> EcsTask | None:
        """Find the task a token of the metadata or agent endpoint was given to, while it is not stopped."""
        arn = next((a for a, v in self._views.items() if v.token == token), None)
        task = self.model.task(arn) if arn is not None else None
        return task if task is not None and task.stopped_at is None else None

    def address(self, arn: str) -> str | None:
        """Return a task's address, once it was launched."""
        view = self._views.get(arn)
        return view.address if view else None

    def containers(self, arn: str) -> tuple[ContainerState, ...]:
        """Return a task's containers as they are, or were at its end."""
        view = self._views.get(arn)
        return self._runner.containers(arn) or (view.last_containers if view else ())

    def _forget_old_views(self) -> None:
        for arn in [a for a in self._views if self.model.task(a) is None]:
            del self._views[arn]
