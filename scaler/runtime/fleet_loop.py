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
from scaler.core.state import Decision, ServiceDecision, FleetState
from scaler.core.tick import Tick
from scaler.errors import SourceError, ThrottledError
from scaler.runtime.observe import Observer, World
from scaler.runtime.tick_result import Listener, Report, Write
from scaler.runtime.write_rate_limit import Urgency

OBSERVE_SHARE = 0.6
"""Of the interval: what remains belongs to the commands and the write."""
PATIENCE_SHARE = 0.15
"""Of the interval: a write waits no longer for its turn."""


class FleetLoop:
    """The loop of one fleet; `tick` is one turn of it."""

    def __init__(
        self,
        fleet: Fleet,
        observer: Observer,
        world: World,
        listeners: Sequence[Listener],
        *,
        deciding: Callable[[Fleet, Observation, FleetState, float], tuple[Decision, FleetState]] = decide,
    ) -> None:
        self.fleet = fleet
        self._decide = deciding
        self._observer = observer
        self._world = world
        self._listeners = listeners
        self._state = FleetState()

    def take_over(self, before: FleetLoop) -> None:
        """Go on with what another loop of the same fleet remembers; its settings changed."""
        if before is not self:
            self._state = before._state
            self._observer.take_over(before._observer)

    async def tick(self) -> Report:
        """Observe, decide, act; the caller sets the deadline."""
        clock = self._world.clock
        began = clock.monotonic()
        observation, errors = await self._observer.observe(self.fleet.interval_s * OBSERVE_SHARE)
        now, before = clock.monotonic(), self._state
        decision, self._state = self._decide(self.fleet, observation, before, now)
        tick = Tick(self.fleet, observation, before, now, decision)
        writes, refused = await self._act(decision, _tasks(observation))
        report = Report(clock.wall(), tick, writes, (*errors, *refused), clock.monotonic() - began)
        for listener in self._listeners:
            listener.ticked(report)
        return report

    def failed(self, error: BaseException) -> None:
        """Tell the listeners that a tick was not finished."""
        for listener in self._listeners:
            listener.failed(self.fleet.name, error)

    async def _act(self, decision: Decision, tasks: dict[str, Task]) -> tuple[dict[str, Write], list[SourceError]]:
        # More workers, or protection, cannot wait for a worker that does not answer.
        writes = await self._each(decision, self._raise, reduces=False)
        answers, errors = await self._command(decision, tasks)

        async def reduce(service: str, order: ServiceDecision) -> Write:
            # The turn first: nothing may come between the last look and the write.
            doubt = await self._turn(order) or await self._doubt(service, order, answers)
            return Write(_count(order), left_out=doubt) if doubt else await self._write(service, order)

        return writes | await self._each(decision, reduce, reduces=True), errors

    async def _each(
        self, decision: Decision, write: Callable[[str, ServiceDecision], Awaitable[Write]], *, reduces: bool
    ) -> dict[str, Write]:
        """Write the services whose count is to be raised, or those whose count is to be lowered, side by side."""
        due = {name: each for name, each in decision.services.items() if each.writes and each.reduces is reduces}
        return dict(zip(due, await asyncio.gather(*(write(name, each) for name, each in due.items())), strict=True))

    async def _doubt(self, name: str, order: ServiceDecision, answers: dict[str, AgentState]) -> str | None:
        """Look once more before the only step that can stop a worker."""
        for arn in order.released:
            answer = answers.get(arn)
            if answer is None or answer.phase != "released":
                return f"{arn} did not confirm that it is released"
        try:
            service = await self._world.cluster.service(name)
        except SourceError as error:
            return f"the service could not be read again: {error}"
        if service.desired != order.observed:
            return f"desired is {service.desired} by now, {order.observed} was decided upon"
        return "a deployment began" if service.rolling else None

    async def _turn(self, order: ServiceDecision) -> str | None:
        """Wait for this write's turn in the account's budget; return why it is left out instead."""
        urgency = Urgency.SHRINK if order.reduces else Urgency.PROTECT if order.kind == "protect" else Urgency.GROW
        patience_s = self.fleet.interval_s * PATIENCE_SHARE
        if self._world.writes is None or await self._world.writes.take(urgency, patience_s):
            return None
        return f"too many writes at once: no turn within {patience_s:g} s; decided anew at the next tick"

    async def _raise(self, service: str, order: ServiceDecision) -> Write:
        waits_too_long = await self._turn(order)
        return Write(_count(order), left_out=waits_too_long) if waits_too_long else await self._write(service, order)

    async def _write(self, service: str, order: ServiceDecision) -> Write:
        clock, desired = self._world.clock, _count(order)
        began = clock.monotonic()
        try:
            await self._world.cluster.set_desired(service, desired)
        except SourceError as error:
            if isinstance(error, ThrottledError) and self._world.writes is not None:
                self._world.writes.throttled()
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
    readings = [seen.tasks for seen in observation.services.values()]
    return {task.arn: task for tasks in readings if isinstance(tasks, Known) for task in tasks.value}


def _count(order: ServiceDecision) -> int:
    assert order.desired is not None  # noqa: S101  it writes
    return order.desired
