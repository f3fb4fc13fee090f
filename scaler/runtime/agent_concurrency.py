# SPDX-License-Identifier: Apache-2.0
"""Limits the concurrent requests of one fleet to its workers.

Without a limit, a thousand workers that do not answer would hold every connection until their deadline, and the workers
of other fleets would look silent.
"""

import asyncio

from scaler.core.model import AgentState, Task
from scaler.ports import WorkersPort

CONCURRENCY = 32
"""Requests of one fleet at the same time; all fleets share 500 connections."""


class LimitedWorkers:
    """The port `WorkersPort` for one fleet."""

    def __init__(self, workers: WorkersPort, concurrency: int = CONCURRENCY) -> None:
        self._workers = workers
        self._slots = asyncio.Semaphore(concurrency)

    async def state(self, task: Task) -> AgentState:
        """Return the state that the worker reports."""
        async with self._slots:
            return await self._workers.state(task)

    async def drain(self, task: Task, lease_s: float) -> AgentState:
        """Stop the worker from taking messages for `lease_s` seconds."""
        async with self._slots:
            return await self._workers.drain(task, lease_s)

    async def resume(self, task: Task) -> AgentState:
        """Make the worker consume again."""
        async with self._slots:
            return await self._workers.resume(task)
