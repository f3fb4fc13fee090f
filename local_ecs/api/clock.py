# SPDX-License-Identifier: Apache-2.0
"""The clock of the local ECS, and two clocks that a test can advance."""

import asyncio
import contextlib
import time


class EcsClock:
    """The system clock."""

    def now(self) -> float:
        """Return seconds since the epoch."""
        return time.time()

    async def wait_until(self, at: float | None, changed: asyncio.Event) -> None:
        """Wait for the time `at` (None: for ever) or for `changed`, until the first of them."""
        timeout = None if at is None else max(0.0, at - self.now())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await changed.wait()


class ShiftedClock(EcsClock):
    """The system clock with an offset: time can advance by hours at once, while processes run in real time.

    Call `move` in the event loop of the waiting tasks.
    """

    def __init__(self) -> None:
        self._ahead = 0.0
        self._waiting: set[asyncio.Event] = set()

    def now(self) -> float:
        """Return the shifted time."""
        return super().now() + self._ahead

    def move(self, seconds: float) -> None:
        """Advance the clock."""
        self._ahead += seconds
        for event in self._waiting:
            event.set()

    async def wait_until(self, at: float | None, changed: asyncio.Event) -> None:
        """Wait for the time `at`, for `changed`, or until the clock is advanced."""
        self._waiting.add(changed)
        try:
            await super().wait_until(at, changed)
        finally:
            self._waiting.discard(changed)


class ManualClock(ShiftedClock):
    """A clock that advances only by `move`."""

    def now(self) -> float:
        """Return the current time of this clock."""
        return 1_760_000_000.0 + self._ahead

    async def wait_until(self, at: float | None, changed: asyncio.Event) -> None:
        """Wait for `changed` or until the clock is advanced. Returns at once if `at` has passed."""
        if at is None or at > self.now():
            await super().wait_until(None, changed)
