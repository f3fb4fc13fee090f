# SPDX-License-Identifier: Apache-2.0
"""A fleet's share of what all fleets use: it asks so many of its workers at once and no more.

A thousand workers that do not answer would otherwise hold every connection until their deadline, and the workers of
other fleets would look silent.
"""

from __future__ import annotations

import asyncio

from scaler.core.model import AgentState, Task
from scaler.ports import Workers

AT_ONCE = 32


class BoundedWorkers:
    """The port `Workers` for one fleet."""

    def __init__(self, workers: Workers, at_once: int = AT_ONCE) -> None:
        self._workers = workers
        self._room = asyncio.Semaphore(at_once)

    async def state(self, task: Task) -> AgentState:
        """Return what the worker says about itself."""
        async with self._room:
            return await self._workers.state(task)

    async def drain(self, task: Task, lease_s: float) -> AgentState:
        """Ask the worker to take nothing new for `lease_s` seconds."""
        async with self._room:
            return await self._workers.drain(task, lease_s)

    async def resume(self, task: Task) -> AgentState:
        """Ask the worker to consume again."""
        async with self._room:
            return await self._workers.resume(task)
