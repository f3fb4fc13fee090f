# SPDX-License-Identifier: Apache-2.0
"""An event loop whose clock jumps: when nothing is ready it is at once the time of the next timer.

Everything that asyncio does with time (`sleep`, `timeout`, `call_later`) is real and costs no time. Nothing outside
of the loop can wake it: threads and sockets are not for simulations.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class DeadlockError(Exception):
    """Nothing is ready and no timer is set: everybody waits for everybody."""


class _JumpingSelector(selectors.SelectSelector):
    """Waits by moving the loop's clock."""

    loop: VirtualTimeLoop | None = None

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if self.loop is not None and (timeout is None or timeout > 0):
            self.loop.jump()
        return []


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """Starts at 0 seconds."""

    def __init__(self) -> None:
        self._virtual_now = 0.0
        selector = _JumpingSelector()
        super().__init__(selector)
        selector.loop = self

    def time(self) -> float:
        """Return the virtual time in seconds."""
        return self._virtual_now

    def jump(self) -> None:
        """Move to the next timer, exactly: a sum of differences would miss it by a rounding."""
        timers: list[asyncio.TimerHandle] = self._scheduled  # type: ignore[attr-defined]
        if not timers:
            raise DeadlockError("nothing is ready and no timer is set")
        self._virtual_now = max(self._virtual_now, timers[0].when())


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in virtual time of its own, which begins at 0."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(main)
