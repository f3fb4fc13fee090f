# SPDX-License-Identifier: Apache-2.0
"""An event loop in virtual time: if nothing is ready, its clock jumps to the next timer.

All time functions of asyncio (`sleep`, `timeout`, `call_later`) work and take no real time. A simulation cannot use
threads and sockets: nothing outside of the loop can wake it.
"""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class DeadlockError(Exception):
    """Nothing is ready and no timer is set: all tasks wait for each other."""


class _JumpingSelector(selectors.SelectSelector):
    """Moves the loop's clock instead of waiting."""

    loop: "VirtualTimeLoop | None" = None

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
        """Set the clock to the next timer exactly: a sum of differences would have a rounding error."""
        timers: list[asyncio.TimerHandle] = self._scheduled  # type: ignore[attr-defined]
        if not timers:
            raise DeadlockError("nothing is ready and no timer is set")
        self._virtual_now = max(self._virtual_now, timers[0].when())


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in virtual time of its own, which begins at 0."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(main)
