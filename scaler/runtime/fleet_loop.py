# SPDX-License-Identifier: Apache-2.0
"""One tick of one fleet: observe, decide, act, report.

The process may die between any two lines. What was decided is remembered before it is done, and doing it again is
harmless: counts are absolute, drains are leases, and the next observation tells what came of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from scaler.core.decide import decide
from scaler.core.model import AgentState, Fleet, Known, Observation, Task
from scaler.core.record import Tick
from scaler.core.state import Decision, State
from scaler.errors import SourceError
from scaler.runtime.observe import Observer, World
from scaler.runtime.report import Listener, Report, Write

OBSERVE_SHARE = 0.6
"""Of the interval: what remains belongs to the commands and the write."""


class FleetLoop:
    """The loop of one fleet; `tick` is one turn of it."""

    def __init__(
        self, fleet: Fleet, service: str, observer: Observer, world: World, listeners: Sequence[Listener]
    ) -> None:
        self.fleet = fleet
        self._service = service
        self._observer = observer
        self._world = world
        self._listeners = listeners
        self._state = State()

    async def tick(self) -> Report:
        """Observe, decide, act; the caller sets the deadline."""
        clock = self._world.clock
        began = clock.monotonic()
        observation, errors = await self._observer.observe(self.fleet.interval_s * OBSERVE_SHARE)
        now, before = clock.monotonic(), self._state
        decision, self._state = decide(self.fleet, observation, before, now)
        tick = Tick(self.fleet, observation, before, now, decision)
        write, refused = await self._act(decision, _tasks(observation))
        report = Report(clock.wall(), tick, write, (*errors, *refused), clock.monotonic() - began)
        for listener in self._listeners:
            listener.ticked(report)
        return report

    def failed(self, error: BaseException) -> None:
        """Tell the listeners that a tick was not finished."""
        for listener in self._listeners:
            listener.failed(self.fleet.name, error)

    async def _act(self, decision: Decision, tasks: dict[str, Task]) -> tuple[Write | None, list[SourceError]]:
        if not decision.reduces:
            # More workers, or protection, cannot wait for a worker that does not answer.
            write = await self._write(decision.desired) if decision.writes and decision.desired is not None else None
            _, errors = await self._command(decision, tasks)
            return write, errors
        assert decision.desired is not None  # noqa: S101  it reduces
        answers, errors = await self._command(decision, tasks)
        doubt = await self._doubt(decision, answers)
        if doubt is not None:
            return Write(decision.desired, left_out=doubt), errors
        return await self._write(decision.desired), errors

    async def _doubt(self, decision: Decision, answers: dict[str, AgentState]) -> str | None:
        """Look once more before the only step that can stop a worker."""
        for arn in decision.released:
            answer = answers.get(arn)
            if answer is None or answer.phase != "released":
                return f"{arn} did not confirm that it is released"
        try:
            service = await self._world.cluster.service(self._service)
        except SourceError as error:
            return f"the service could not be read again: {error}"
        if service.desired != decision.observed:
            return f"desired is {service.desired} by now, {decision.observed} was decided upon"
        return "a deployment began" if service.rolling else None

    async def _write(self, desired: int) -> Write:
        clock = self._world.clock
        began = clock.monotonic()
        try:
            await self._world.cluster.set_desired(self._service, desired)
        except SourceError as error:
            return Write(desired, error=error, duration_s=clock.monotonic() - began)
        return Write(desired, answered_at=clock.wall(), duration_s=clock.monotonic() - began)

    async def _command(
        self, decision: Decision, tasks: dict[str, Task]
    ) -> tuple[dict[str, AgentState], list[SourceError]]:
        answers: dict[str, AgentState] = {}
        errors: list[SourceError] = []

        async def post(arn: str, send: Callable[[Task], Awaitable[AgentState]]) -> None:
            try:
                answers[arn] = await send(tasks[arn])
            except SourceError as error:
                errors.append(error)

        lease_s = self.fleet.drain_lease_s
        async with asyncio.TaskGroup() as group:
            for arn in decision.drains:
                if arn in tasks:
                    group.create_task(post(arn, lambda task: self._world.workers.drain(task, lease_s)))
            for arn in decision.resumes:
                if arn in tasks:
                    group.create_task(post(arn, self._world.workers.resume))
        return answers, errors


def _tasks(observation: Observation) -> dict[str, Task]:
    return {task.arn: task for task in observation.tasks.value} if isinstance(observation.tasks, Known) else {}
