# SPDX-License-Identifier: Apache-2.0
"""Where the local ECS takes its time from; two clocks that a test can move."""

import asyncio
import contextlib
import time
from typing import Protocol


class EcsClock(Protocol):
    """Seconds since the epoch, and a sleep that an event cuts short."""

    def now(self) -> float:
        """Return seconds since the epoch."""
        ...

    async def wait_until(self, at: float | None, wake: asyncio.Event) -> None:
        """Wait for the time `at` (None: for ever) or for `wake`, whichever comes first."""
        ...


class RealClock:
    """The machine's clock."""

    def now(self) -> float:
        """Return seconds since the epoch."""
        return time.time()

    async def wait_until(self, at: float | None, wake: asyncio.Event) -> None:
        """Wait for the time `at` (None: for ever) or for `wake`."""
        timeout = None if at is None else max(0.0, at - self.now())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await wake.wait()


class ShiftedClock(RealClock):
    """The machine's clock, which can be put forward: two hours pass at once, real processes go on in real time.

    `move` belongs to the event loop the waiters run in.
    """

    def __init__(self) -> None:
        self._ahead = 0.0
        self._waiting: set[asyncio.Event] = set()

    def now(self) -> float:
        """Return the shifted time."""
        return super().now() + self._ahead

    def move(self, seconds: float) -> None:
        """Put the clock forward."""
        self._ahead += seconds
        for event in self._waiting:
            event.set()

    async def wait_until(self, at: float | None, wake: asyncio.Event) -> None:
        """Wait for the time `at`, for `wake`, or for the clock to be moved."""
        self._waiting.add(wake)
        try:
            await super().wait_until(at, wake)
        finally:
            self._waiting.discard(wake)


class ManualClock(ShiftedClock):
    """A clock that stands still until it is moved."""

    def __init__(self, start: float = 1_760_000_000.0) -> None:
        super().__init__()
        self._start = start

    def now(self) -> float:
        """Return where the clock was put."""
        return self._start + self._ahead

    async def wait_until(self, at: float | None, wake: asyncio.Event) -> None:
        """Wait for `wake` or for the clock to be moved; returns at once when `at` has come."""
        if at is None or at > self.now():
            await super().wait_until(None, wake)
