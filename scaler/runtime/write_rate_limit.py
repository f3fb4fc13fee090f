# SPDX-License-Identifier: Apache-2.0
"""The rate of UpdateService: one token bucket for the account and region, with priorities.

AWS's own bucket holds 50 calls and gains 5 a second, for everything in the account that changes services. Ours is
smaller, and its rate halves when AWS throttles. A write that would wait too long is left out: the next tick observes
and decides again, so the scaler never writes a count that is a minute old.
"""

import asyncio
import heapq
from enum import IntEnum
from itertools import count

from scaler.ports import ClockPort

SLOWEST = 0.1
"""Share of the rate that remains however often AWS throttles."""
RECOVERY_S = 60.0
"""Time without another throttle until the full rate is back."""


class Urgency(IntEnum):
    """The order of the writes that wait; the lowest number is first."""

    PROTECT = 0
    """Raises desired for protection: ECS refuses a worker's protection, or could stop a worker."""
    GROW = 1
    SHRINK = 2


class WriteRateLimit:
    """A token bucket whose waiting writes are ordered by urgency."""

    def __init__(self, clock: ClockPort, *, per_s: float, burst: int) -> None:
        self._clock = clock
        self._per_s = per_s
        self._burst = burst
        self._tokens = float(burst)
        self._filled_at = clock.monotonic()
        self._share = 1.0
        self._queue: list[tuple[Urgency, int, asyncio.Future[None]]] = []
        self._order = count()
        self._timer: asyncio.TimerHandle | None = None

    def resize(self, *, per_s: float, burst: int) -> None:
        """Change rate and size from now on."""
        self._fill()
        self._per_s, self._burst = per_s, burst
        self._tokens = min(self._tokens, burst)
        self._grant()

    async def take(self, urgency: Urgency, patience_s: float) -> bool:
        """Wait at most `patience_s` for a token; False: leave the write out."""
        self._fill()
        if not self._queue and self._tokens >= 1:
            self._tokens -= 1
            return True
        waiter = asyncio.get_running_loop().create_future()
        heapq.heappush(self._queue, (urgency, next(self._order), waiter))
        self._grant()
        try:
            async with asyncio.timeout(patience_s):
                await waiter
        except TimeoutError:
            return waiter.done() and not waiter.cancelled()
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                self._tokens = min(self._burst, self._tokens + 1)  # the token was granted and will not be used
                self._grant()
            raise
        finally:
            waiter.cancel()
        return True

    def on_throttled(self) -> None:
        """Halve the rate: AWS throttled, so its bucket is empty."""
        self._fill()
        self._tokens = 0.0
        self._share = max(SLOWEST, self._share / 2)

    @property
    def waiting(self) -> int:
        """The number of writes that wait for a token."""
        return sum(1 for _, _, waiter in self._queue if not waiter.done())

    @property
    def rate(self) -> float:
        """The current rate, in writes a second."""
        return self._per_s * self._share

    def _fill(self) -> None:
        now = self._clock.monotonic()
        passed, self._filled_at = max(0.0, now - self._filled_at), now
        self._tokens = min(self._burst, self._tokens + passed * self.rate)
        self._share = min(1.0, self._share + passed / RECOVERY_S)

    def _grant(self) -> None:
        """Grant the available tokens, the most urgent write first, and set a timer for the next token."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._fill()
        while self._queue:
            _, _, waiter = self._queue[0]
            if waiter.done():
                heapq.heappop(self._queue)
            elif self._tokens >= 1:
                heapq.heappop(self._queue)
                self._tokens -= 1
                waiter.set_result(None)
            else:
                # A millisecond extra: a rounding error must not make this a busy loop.
                wait_s = (1 - self._tokens) / self.rate + 0.001
                self._timer = asyncio.get_running_loop().call_later(wait_s, self._grant)
                return
