# SPDX-License-Identifier: Apache-2.0
"""One tick of one fleet: observe, decide, act, report.

The process may die between any two lines. The state keeps a decision before the loop acts on it. A repeated action does
no harm: counts are absolute, drains are leases, and the next observation shows the result.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Self

from scaler.core.decide import decide
from scaler.core.look_ahead import launch_latency_s
from scaler.core.model import AgentState, FleetPolicy, Known, Observation, Task
from scaler.core.state import Decision, FleetState, ServiceDecision
from scaler.core.tick import Tick
from scaler.errors import DeadlineError, SourceError, ThrottledError
from scaler.runtime.observe import Observer, Ports
from scaler.runtime.tick_result import TickListener, TickResult, Write
from scaler.runtime.write_rate_limit import Urgency

OBSERVE_SHARE = 0.6
"""Share of the interval for reads; the rest is for the commands and the writes."""
COMMAND_SHARE = 0.75
"""Share of the interval after which commands without an answer are given up; the rest is for the reductions."""
STOP_REASON = "openmwaa: no answer, no protection and no running task"
"""ECS shows it with the stopped task."""
PATIENCE_SHARE = 0.15
"""Share of the interval that a write waits for a token of the rate limit."""


class FleetLoop:
    """The loop of one fleet; each call of `tick` runs it once."""

    def __init__(
        self,
        fleet: FleetPolicy,
        observer: Observer,
        ports: Ports,
        listeners: Sequence[TickListener],
        *,
        decide_with: Callable[[FleetPolicy, Observation, FleetState, float], tuple[Decision, FleetState]] = decide,
    ) -> None:
        self.fleet = fleet
        self._decide = decide_with
        self._observer = observer
        self._ports = ports
        self._listeners = listeners
        self._state = FleetState()

    def inherit_state(self, before: Self) -> None:
        """Take over the state of an earlier loop of the same fleet; its settings changed."""
        if before is not self:
            self._state = before._state
            self._observer.inherit_state(before._observer)

    async def tick(self, intervals: int = 1) -> TickResult:
        """Observe, decide, act; the caller sets the deadline, and ticks every so many `intervals`."""
        fleet = replace(self.fleet, intervals=intervals * self._observer.intervals)
        clock = self._ports.clock
        started_at = clock.monotonic()
        commands_end = asyncio.get_running_loop().time() + fleet.interval_s * COMMAND_SHARE
        before, launch_s = self._state, 0.0
        if fleet.look_ahead is not None:
            launch_s = launch_latency_s(fleet.look_ahead, before.launch_latencies) + fleet.pace_s
        seconds = fleet.interval_s * OBSERVE_SHARE
        observation, errors = await self._observer.observe(seconds, fleet.knowledge_gap_s, launch_s)
        now = clock.monotonic()
        decision, self._state = self._decide(fleet, observation, before, now)
        tick = Tick(fleet, observation, before, now, decision)
        writes, failed = await self._act(decision, _tasks(observation), fleet.drain_lease_s, commands_end)
        report = TickResult(clock.wall(), tick, writes, (*errors, *failed), clock.monotonic() - started_at)
        for listener in self._listeners:
            listener.on_tick(report)
        return report

    def failed(self, error: BaseException) -> None:
        """Report to the listeners that a tick was not finished."""
        for listener in self._listeners:
            listener.failed(self.fleet.name, error)

    async def _act(
        self, decision: Decision, tasks: dict[str, Task], lease_s: float, commands_end: float
    ) -> tuple[dict[str, Write], list[SourceError]]:
        due = {name: service for name, service in decision.services.items() if service.writes}
        # Growth does not wait for workers that do not answer, nor a lease for a slow write.
        async with asyncio.TaskGroup() as group:
            raises = {name: order for name, order in due.items() if not order.reduces}
            raised = group.create_task(self._write_each(raises, {}))
            stopped = group.create_task(self._stop_silent(decision.stop, tasks, commands_end))
            answers, errors = await self._command(decision, tasks, lease_s, commands_end)
            reduced = await self._write_each({name: order for name, order in due.items() if order.reduces}, answers)
        return await raised | reduced, [*errors, *await stopped]

    async def _write_each(self, orders: dict[str, ServiceDecision], answers: dict[str, AgentState]) -> dict[str, Write]:
        writes = await asyncio.gather(*(self._write(name, order, answers) for name, order in orders.items()))
        return dict(zip(orders, writes, strict=True))

    async def _recheck(self, name: str, order: ServiceDecision, answers: dict[str, AgentState]) -> str | None:
        """Read once more before the only step that can stop a worker; return why the write is left out, or None."""
        for arn in order.released:
            answer = answers.get(arn)
            if answer is None or answer.phase != "released" or answer.running or answer.reserved:
                return f"{arn} did not confirm that it is released"
        cluster = self._ports.cluster
        try:
            service, protected = await asyncio.gather(cluster.service(name), cluster.protected(order.released))
        except SourceError as error:
            return f"the service could not be read again: {error}"
        if protected:  # another scaler has resumed it: it consumes
            return f"{min(protected)} is protected again"
        if service.desired != order.observed:
            return f"desired changed to {service.desired}; the decision used {order.observed}"
        return "a deployment started" if service.rolling else None

    async def _stop_silent(self, arn: str | None, tasks: dict[str, Task], end: float) -> list[SourceError]:
        """Stop a worker that does not answer, if new readings show that it is not protected and runs no task."""
        ports = self._ports
        if arn is None or arn not in tasks or ports.database is None:
            return []
        try:
            async with asyncio.timeout_at(end):
                running, protected = await asyncio.gather(
                    ports.database.running_on(arn.rpartition("/")[2]), ports.cluster.protected([arn])
                )
                if running and not protected:
                    return [SourceError("agent", f"{arn} does not answer and runs {running} tasks: it is not stopped")]
                if not protected:
                    await ports.cluster.stop(arn, STOP_REASON)
        except TimeoutError:
            return [DeadlineError("agent", f"{arn} could not be checked before it is stopped")]
        except SourceError as error:
            return [error]
        return []

    async def _await_token(self, order: ServiceDecision) -> str | None:
        """Wait for a token of the account's rate limit; return why the write is left out, or None."""
        urgency = Urgency.SHRINK if order.reduces else Urgency.PROTECT if order.kind == "protect" else Urgency.GROW
        patience_s = self.fleet.interval_s * PATIENCE_SHARE
        limit = self._ports.write_rate_limit
        if limit is None or await limit.take(urgency, patience_s):
            return None
        return f"too many writes at once: no token within {patience_s:g} s; the next tick decides again"

    async def _write(self, service: str, order: ServiceDecision, answers: dict[str, AgentState]) -> Write:
        clock, desired = self._ports.clock, order.desired
        assert desired is not None  # noqa: S101  the decision writes
        # The token first: nothing may delay the write after the last check.
        reason = await self._await_token(order)
        if reason is None and order.reduces:
            reason = await self._recheck(service, order, answers)
        if reason is not None:
            return Write(desired, left_out=reason)
        started_at = clock.monotonic()
        try:
            await self._ports.cluster.set_desired(service, desired)
        except SourceError as error:
            if isinstance(error, ThrottledError) and self._ports.write_rate_limit is not None:
                self._ports.write_rate_limit.on_throttled()
            return Write(desired, error=error, duration_s=clock.monotonic() - started_at)
        return Write(desired, answered_at=clock.wall(), duration_s=clock.monotonic() - started_at)

    async def _command(
        self, decision: Decision, tasks: dict[str, Task], lease_s: float, end: float
    ) -> tuple[dict[str, AgentState], list[SourceError]]:
        answers: dict[str, AgentState] = {}
        errors: list[SourceError] = []

        async def post(arn: str, send: Callable[[Task], Awaitable[AgentState]]) -> None:
            try:
                async with asyncio.timeout_at(end):
                    answers[arn] = await send(tasks[arn])
            except TimeoutError:
                errors.append(DeadlineError("agent", "no answer before the deadline of the tick's commands"))
            except SourceError as error:
                errors.append(error)

        # Resumes first: a task waits for a resumed worker, and nothing waits for a drained one.
        sends = dict.fromkeys(decision.resumes, self._ports.workers.resume)
        sends |= dict.fromkeys(decision.drains, lambda task: self._ports.workers.drain(task, lease_s))
        async with asyncio.TaskGroup() as group:
            for arn, send in sends.items():
                if arn in tasks:
                    group.create_task(post(arn, send))
        return answers, errors


def _tasks(observation: Observation) -> dict[str, Task]:
    readings = [service.tasks for service in observation.services.values()]
    return {task.arn: task for tasks in readings if isinstance(tasks, Known) for task in tasks.value}
