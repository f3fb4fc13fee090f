# SPDX-License-Identifier: Apache-2.0
"""Limits the requests to workers at the same time: of one fleet, of silent workers, and of the whole process.

Without a limit, a thousand workers that do not answer would hold every connection until their deadline, and the workers
of other fleets would look silent. A request waits here before its own deadline begins, so waiting is no silence. Silent
workers wait for places of their own, and the one that got no request for the longest time is first.
"""

import asyncio
import heapq
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from itertools import count

from scaler.core.model import AgentState, Task
from scaler.errors import DeadlineError, SourceError
from scaler.ports import ClockPort, WorkersPort

SOURCE = "agent"
CONNECTIONS = 500
"""Workers of all fleets that are read at the same time, with at most two requests each."""
CONCURRENCY = 100
"""The same for one fleet. A reduction needs the answers of all released workers in one tick: at 1.8 s an answer that
is a hundred workers."""
SILENT_CONNECTIONS = 100
"""Of all requests those to workers that did not answer the last one."""
SILENT_CONCURRENCY = 8
"""The same for one fleet: a worker that answers again is read after a tick for every eight silent ones at most."""
ONCE_A_TICK = 0.75
"""Share of the interval between two requests to a silent worker: in one tick there is no second one."""
SECOND_AFTER_S = 0.5
"""An agent answers within 0.1 s; a connection that lost a packet takes longer."""
FORGET_S = 600.0
"""After this time without a request the worker is gone."""


class AgentPlaces:
    """The places for requests of all fleets of the process."""

    def __init__(self) -> None:
        self.answering = asyncio.Semaphore(CONNECTIONS - SILENT_CONNECTIONS)
        self.silent = asyncio.Semaphore(SILENT_CONNECTIONS)


class LimitedWorkers:
    """The port `WorkersPort` for one fleet."""

    def __init__(self, workers: WorkersPort, clock: ClockPort, interval_s: float, places: AgentPlaces) -> None:
        self._workers = workers
        self._clock = clock
        self._pause_s = interval_s * ONCE_A_TICK
        self._places = places
        self._slots = asyncio.Semaphore(CONCURRENCY)
        self._turns = _Turns(SILENT_CONCURRENCY)
        self._silent: dict[str, float] = {}
        """Workers that did not answer: task ARN -> the time of the last request."""

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
        since = self._silent.get(task.arn)
        if since is None:
            async with self._slots, self._places.answering:
                return await self._send(task, partial(_first_answer, send))
        if 0 <= self._clock.monotonic() - since < self._pause_s:
            raise DeadlineError(SOURCE, "no answer to the last request; the next one is in the next tick")
        async with self._turns.turn(since), self._places.silent:
            return await self._send(task, send)

    async def _send(self, task: Task, send: Callable[[], Awaitable[AgentState]]) -> AgentState:
        now = self._clock.monotonic()
        try:
            answer = await send()
        except DeadlineError:
            recent = {arn: at for arn, at in self._silent.items() if 0 <= now - at < FORGET_S}
            self._silent = recent | {task.arn: now}
            raise
        self._silent.pop(task.arn, None)
        return answer


async def _first_answer(send: Callable[[], Awaitable[AgentState]]) -> AgentState:
    """Return the first answer to two requests; the second one follows an error, or `SECOND_AFTER_S` without an answer.

    A command has the same effect twice. A reduction needs two answers of every released worker in one tick: if one in
    five is lost, eight workers would give them in one tick of 36.
    """
    requests = [asyncio.ensure_future(send())]
    try:
        await asyncio.wait(requests, timeout=SECOND_AFTER_S)
        if not requests[0].done() or isinstance(requests[0].exception(), SourceError):
            requests.append(asyncio.ensure_future(send()))
        pending = set(requests)
        while pending:
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            for request in done:
                if request.exception() is None:
                    return request.result()
        errors = [error for request in requests if (error := request.exception()) is not None]
        raise next((error for error in errors if isinstance(error, DeadlineError)), errors[-1])
    finally:
        for request in requests:
            request.cancel()
        await asyncio.gather(*requests, return_exceptions=True)


class _Turns:
    """A number of places; of those that wait, the one with the earliest time is next."""

    def __init__(self, places: int) -> None:
        self._free = places
        self._queue: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = count()

    @asynccontextmanager
    async def turn(self, since: float) -> AsyncIterator[None]:
        loop = asyncio.get_running_loop()
        waiter = loop.create_future()
        heapq.heappush(self._queue, (since, next(self._order), waiter))
        loop.call_soon(self._grant)  # after the others of this tick have come
        try:
            await waiter
            yield
        finally:
            if waiter.done() and not waiter.cancelled():
                self._free += 1
                self._grant()
            waiter.cancel()

    def _grant(self) -> None:
        while self._queue and self._free:
            _, _, waiter = heapq.heappop(self._queue)
            if not waiter.done():
                self._free -= 1
                waiter.set_result(None)
