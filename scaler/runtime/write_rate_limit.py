# SPDX-License-Identifier: Apache-2.0
"""How fast UpdateService may be called: one token bucket for the account and region, the urgent first.

AWS's own bucket holds 50 calls and fills with 5 a second, for everything in the account that changes services; ours is
smaller, and halves when AWS throttles. A write that would wait too long is not made at all: the next tick sees the
world anew and decides again, and nothing that was true a minute ago is ever written.
"""

from __future__ import annotations

import asyncio
import heapq
from enum import IntEnum
from itertools import count

from scaler.ports import Clock

SLOWEST = 0.1
"""Of the rate: throttled however often, some writes go out."""
RECOVERY_S = 60.0
"""A throttled budget is back at its full rate after this long without another throttle."""


class Urgency(IntEnum):
    """Who goes first."""

    PROTECT = 0
    """Raises desired because protection demands it: a worker is refused, or could be stopped."""
    GROW = 1
    SHRINK = 2


class WriteBudget:
    """A token bucket with a queue by urgency."""

    def __init__(self, clock: Clock, *, per_s: float, burst: int) -> None:
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
        self._serve()

    async def take(self, urgency: Urgency, patience_s: float) -> bool:
        """Wait for a token for at most `patience_s`; False: the write is to be left out."""
        self._fill()
        if not self._queue and self._tokens >= 1:
            self._tokens -= 1
            return True
        turn = asyncio.get_running_loop().create_future()
        heapq.heappush(self._queue, (urgency, next(self._order), turn))
        self._serve()
        try:
            async with asyncio.timeout(patience_s):
                await turn
        except TimeoutError:
            return turn.done() and not turn.cancelled()
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._tokens = min(self._burst, self._tokens + 1)  # it was given and will not be used
                self._serve()
            raise
        finally:
            turn.cancel()
        return True

    def throttled(self) -> None:
        """AWS said no: its bucket is empty, whoever emptied it."""
        self._fill()
        self._tokens = 0.0
        self._share = max(SLOWEST, self._share / 2)

    @property
    def waiting(self) -> int:
        """How many writes wait for a token."""
        return sum(1 for _, _, turn in self._queue if not turn.done())

    @property
    def rate(self) -> float:
        """Writes a second that the budget gives out now."""
        return self._per_s * self._share

    def _fill(self) -> None:
        now = self._clock.monotonic()
        passed, self._filled_at = max(0.0, now - self._filled_at), now
        self._tokens = min(self._burst, self._tokens + passed * self.rate)
        self._share = min(1.0, self._share + passed / RECOVERY_S)

    def _serve(self) -> None:
        """Give out what there is, the most urgent first, and come back when there is more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._fill()
        while self._queue:
            _, _, turn = self._queue[0]
            if turn.done():
                heapq.heappop(self._queue)
            elif self._tokens >= 1:
                heapq.heappop(self._queue)
                self._tokens -= 1
                turn.set_result(None)
            else:
                # A millisecond more than the arithmetic says: a rounding must not make this a busy loop.
                wait_s = (1 - self._tokens) / self.rate + 0.001
                self._timer = asyncio.get_running_loop().call_later(wait_s, self._serve)
                return
