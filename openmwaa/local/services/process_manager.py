# SPDX-License-Identifier: Apache-2.0
"""Keeps one process of the infrastructure running: starts it, and restarts it with growing pauses."""

import asyncio
import contextlib
import logging
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from local_ecs.runtime.errors import ContainerError
from local_ecs.runtime.process import ContainerProcess
from openmwaa.local.errors import InfrastructureError, LocalError

logger = logging.getLogger(__name__)

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.2, 15.0
RESET_AFTER_S = 60.0
"""After a run of this length, the next restart has the first pause."""

State = Literal["starting", "running", "restarting", "stopped"]


@dataclass(frozen=True)
class ManagedProcess:
    """A process of the infrastructure."""

    name: str
    start: Callable[[], Awaitable[ContainerProcess]]
    answers: Callable[[], Awaitable[bool]]
    """Whether it answers; called until it does."""
    what: str
    """What answers, and where: the subject of an error message."""
    ready_within_s: float = 60.0
    stop_signal: int = signal.SIGTERM
    stop_timeout_s: float = 15.0


@dataclass
class ManagedProcessStatus:
    """Its state, for `status`."""

    state: State = "stopped"
    restarts: int = 0
    last_end: str | None = None
    """One sentence."""


class ProcessManager:
    """Runs one process until `stop`."""

    def __init__(self, managed: ManagedProcess) -> None:
        self.managed = managed
        self.status = ManagedProcessStatus()
        self._process: ContainerProcess | None = None
        self._loop: asyncio.Task[None] | None = None
        self._watched: asyncio.Task[int] | None = None

    @property
    def pid(self) -> int | None:
        """The id of the process while it runs."""
        return self._process.pid if self._process else None

    async def start(self) -> None:
        """Start and wait until it answers; from then on it is kept running.

        Raises:
            LocalError: it does not start.
        """
        self.status.state = "starting"
        await self._start_once()
        self._loop = asyncio.create_task(self._keep(), name=f"keep {self.managed.name}")

    async def stop(self) -> None:
        """Stop; SIGKILL after the stop timeout."""
        if self._loop:
            self._loop.cancel()
            await asyncio.gather(self._loop, return_exceptions=True)
        await self._stop_once()
        self.status.state = "stopped"

    async def _keep(self) -> None:
        loop = asyncio.get_running_loop()
        pause, started = FIRST_PAUSE_S, loop.time()
        while True:
            code = await self._end()
            if loop.time() - started > RESET_AFTER_S:
                pause = FIRST_PAUSE_S
            self.status.state, self.status.last_end = "restarting", f"ended with exit code {code}"
            logger.warning("%s ended with exit code %s; restart in %.1f s", self.managed.name, code, pause)
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_S)
            self.status.restarts += 1
            started = loop.time()
            try:
                await self._start_once()
            except LocalError as error:
                self.status.last_end = str(error)
                logger.warning("%s does not start: %s", self.managed.name, error)
                await self._stop_once()

    async def _end(self) -> int | str:
        """Wait for an end that was not requested."""
        if self._watched is None:
            return "no process"
        code = await asyncio.shield(self._watched)
        self._process = self._watched = None
        return code

    async def _start_once(self) -> None:
        try:
            self._process = await self.managed.start()
        except (ContainerError, OSError) as error:
            raise LocalError(f"{self.managed.name} cannot be started: {error}") from error
        self._watched = asyncio.create_task(self._process.wait(), name=f"wait {self.managed.name}")
        ready = asyncio.create_task(self._ready(), name=f"ready {self.managed.name}")
        try:
            await asyncio.wait((ready, self._watched), return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not ready.done():
                ready.cancel()
                await asyncio.gather(ready, return_exceptions=True)
        if ready.cancelled():
            raise LocalError(f"{self.managed.name} ended with exit code {self._watched.result()} during its start.")
        try:
            await ready
        except BaseException:
            await self._stop_once()
            raise
        self.status.state = "running"

    async def _ready(self) -> None:
        what, name, within_s = self.managed.what, self.managed.name, self.managed.ready_within_s
        try:
            async with asyncio.timeout(within_s):
                while not await self.managed.answers():  # noqa: ASYNC110 - another process has no events
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise InfrastructureError(
                f"{what} does not answer after {within_s:g} s; see `openmwaa local logs {name}`."
            ) from None

    async def _stop_once(self) -> None:
        if self._process is None or self._watched is None:
            return
        self._process.terminate(self.managed.stop_signal)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.managed.stop_timeout_s):
                await asyncio.shield(self._watched)
        if not self._watched.done():
            await self._process.kill()
            await asyncio.gather(self._watched, return_exceptions=True)
        self._process = self._watched = None
