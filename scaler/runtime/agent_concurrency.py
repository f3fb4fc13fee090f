# SPDX-License-Identifier: Apache-2.0
"""Limits the requests of one fleet to its workers: how many at the same time, and how often to a silent worker.

Without a limit, a thousand workers that do not answer would hold every connection until their deadline, and the workers
of other fleets would look silent. Silent workers wait for places of their own, so they do not delay the others.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

from scaler.core.model import AgentState, Task
from scaler.errors import DeadlineError
from scaler.ports import ClockPort, WorkersPort

SOURCE = "agent"
CONCURRENCY = 100
"""Requests of one fleet at the same time; all fleets share 500 connections. A reduction needs the answers of all
released workers in one tick: at 1.8 s an answer that is a hundred workers."""
SILENT_CONCURRENCY = 8
"""Beside them, requests to workers that did not answer the last one."""
LONGEST_SILENCE = 4
"""Intervals between two requests to a worker that never answers."""
FORGET_S = 600.0
"""After this time without a request the worker is gone."""


class LimitedWorkers:
    """The port `WorkersPort` for one fleet."""

    def __init__(self, workers: WorkersPort, clock: ClockPort, interval_s: float) -> None:
        self._workers = workers
        self._clock = clock
        self._interval_s = interval_s
        self._slots = asyncio.Semaphore(CONCURRENCY)
        self._silent_slots = asyncio.Semaphore(SILENT_CONCURRENCY)
        self._silent: dict[str, tuple[int, float]] = {}
        """Task ARN -> intervals until the next request, and the time of the last one."""

    async def state(self, task: Task) -> AgentState:
        """Return the state that the worker reports."""
        return await self._limited(task, partial(self._workers.state, task))

    async def drain(self, task: Task, lease_s: float) -> AgentState:
        """Stop the worker from taking messages for `lease_s` seconds."""
        return await self._limited(task, partial(self._workers.drain, task, lease_s))

    async def resume(self, task: Task) -> AgentState:
        """Make the worker consume again."""
        return await self._limited(task, partial(self._workers.resume, task))

    async def _limited(self, task: Task, send: Callable[[], Awaitable[AgentState]]) -> AgentState:
        wait, asked_at = self._silent.get(task.arn, (0, 0.0))
        # Half an interval less, because ticks are not exactly one interval apart.
        if wait and 0 <= self._clock.monotonic() - asked_at < (wait - 0.5) * self._interval_s:
            raise DeadlineError(SOURCE, f"no answer to the last request; the next one is {wait} intervals later")
        async with self._silent_slots if wait else self._slots:
            asked_at = self._clock.monotonic()
            try:
                answer = await send()
            except DeadlineError:
                recent = {arn: silent for arn, silent in self._silent.items() if asked_at - silent[1] < FORGET_S}
                self._silent = recent | {task.arn: (min(max(1, 2 * wait), LONGEST_SILENCE), asked_at)}
                raise
        self._silent.pop(task.arn, None)
        return answer
