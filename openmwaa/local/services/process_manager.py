# SPDX-License-Identifier: Apache-2.0
"""Keeps one piece of the infrastructure running: starts it, notices its end, starts it again with growing pauses."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from local_ecs.runtime.errors import ContainerError
from local_ecs.runtime.process import ContainerProcess
from openmwaa.local.errors import LocalError

logger = logging.getLogger(__name__)

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.2, 15.0
FORGIVEN_AFTER_S = 60.0
"""Who ran this long starts again with the first pause."""

State = Literal["starting", "running", "restarting", "stopped"]


@dataclass(frozen=True)
class ManagedProcess:
    """A piece of infrastructure."""

    name: str
    start: Callable[[], Awaitable[ContainerProcess]]
    ready: Callable[[], Awaitable[None]]
    """Returns when it answers; raises LocalError when it does not in time."""
    stop_signal: int = signal.SIGTERM
    stop_timeout_s: float = 15.0


@dataclass
class ManagedProcessStatus:
    """What `status` says of it."""

    state: State = "stopped"
    restarts: int = 0
    last_end: str | None = None
    """One sentence."""


class ProcessManager:
    """Runs one part until it is told to stop."""

    def __init__(self, part: ManagedProcess) -> None:
        self.part = part
        self.status = ManagedProcessStatus()
        self._process: ContainerProcess | None = None
        self._running = asyncio.Event()
        self._loop: asyncio.Task[None] | None = None
        self._busy = asyncio.Lock()
        self._watched: asyncio.Task[int] | None = None

    @property
    def pid(self) -> int | None:
        """Of the main process while it runs."""
        return self._process.pid if self._process else None

    async def start(self) -> None:
        """Start for the first time and wait until it answers; from then on it is kept running.

        Raises:
            LocalError: it does not start.
        """
        self.status.state = "starting"
        await self._start_once()
        self._loop = asyncio.create_task(self._keep(), name=f"keep {self.part.name}")

    async def stop(self) -> None:
        """Stop for good; SIGKILL after the part's stop timeout."""
        if self._loop:
            self._loop.cancel()
            await asyncio.gather(self._loop, return_exceptions=True)
        async with self._busy:
            await self._stop_once()
        self.status.state = "stopped"

    async def stop_and_start(self) -> None:
        """An orderly stop and start, not counted as a restart."""
        async with self._busy:
            await self._stop_once()
            self.status.state = "starting"
            await self._start_once()

    async def wait_running(self) -> None:
        """Wait until it runs; the caller sets the deadline."""
        await self._running.wait()

    async def _keep(self) -> None:
        loop = asyncio.get_running_loop()
        pause, started = FIRST_PAUSE_S, loop.time()
        while True:
            code = await self._end()
            if loop.time() - started > FORGIVEN_AFTER_S:
                pause = FIRST_PAUSE_S
            self._running.clear()
            self.status.state, self.status.last_end = "restarting", f"ended with {code}"
            logger.warning("%s ended with %s; it is started again in %.1f s", self.part.name, code, pause)
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_S)
            self.status.restarts += 1
            started = loop.time()
            async with self._busy:
                try:
                    await self._start_once()
                except LocalError as error:
                    self.status.last_end = str(error)
                    logger.warning("%s does not start: %s", self.part.name, error)
                    await self._stop_once()

    async def _end(self) -> int | str:
        """Wait for an end that nobody ordered."""
        while True:
            if (watched := self._watched) is None:
                return "no process"
            code = await asyncio.shield(watched)
            async with self._busy:  # an ordered stop and start holds this until the new process is there
                if self._watched is watched:
                    self._process = self._watched = None
                    return code

    async def _start_once(self) -> None:
        try:
            self._process = await self.part.start()
        except (ContainerError, OSError) as error:
            raise LocalError(f"{self.part.name} cannot be started: {error}") from error
        self._watched = asyncio.create_task(self._process.wait(), name=f"wait {self.part.name}")
        ready = asyncio.ensure_future(self.part.ready())
        try:
            await asyncio.wait((ready, self._watched), return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not ready.done():
                ready.cancel()
                await asyncio.gather(ready, return_exceptions=True)
        if ready.cancelled():
            raise LocalError(f"{self.part.name} ended with {self._watched.result()} while it started.")
        try:
            await ready
        except BaseException:
            await self._stop_once()
            raise
        self.status.state = "running"
        self._running.set()

    async def _stop_once(self) -> None:
        self._running.clear()
        if self._process is None or self._watched is None:
            return
        self._process.terminate(self.part.stop_signal)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.part.stop_timeout_s):
                await asyncio.shield(self._watched)
        if not self._watched.done():
            await self._process.kill()
            await asyncio.gather(self._watched, return_exceptions=True)
        self._process = self._watched = None
