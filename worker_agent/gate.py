# SPDX-License-Identifier: Apache-2.0
"""The gate: one order, written by the agent's thread, read by the consumer's.

An order is replaced as a whole, so a reader sees either the old or the new one. An open gate carries the time at which
it shuts by itself: if the agent's threads die, a worker whose protection ended still takes nothing more.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Order:
    """Which opening or shutting this is, and until when (monotonic seconds) the gate is open; `None` is shut."""

    generation: int
    open_until: float | None

    def is_open(self, now: float) -> bool:
        """Return whether a receive may begin."""
        return self.open_until is not None and now < self.open_until


class Gate:
    """Shut until told otherwise; once sealed, shut for good."""

    def __init__(self) -> None:
        self._order = Order(generation=0, open_until=None)
        self._sealed = False

    @property
    def order(self) -> Order:
        """The order in force."""
        return Order(self._order.generation, None) if self._sealed else self._order

    @property
    def sealed(self) -> bool:
        """Whether it is shut for good: what arrives now is given back, not begun."""
        return self._sealed

    def set(self, order: Order) -> None:
        """Put another order in force."""
        self._order = order

    def seal(self) -> None:
        """Shut for good; safe inside a signal handler."""
        self._sealed = True


@dataclass(frozen=True)
class Slots:
    """How many messages the worker may hold, and how many it holds that are not finished."""

    concurrency: Callable[[], int]
    unfinished: Callable[[], int]

    def free(self) -> int:
        """Return the number of slots without a task, at least 0."""
        return max(self.concurrency() - self.unfinished(), 0)


class ChannelGate(Protocol):
    """A gate put before one consuming channel."""

    def polls_in_flight(self) -> int:
        """Return how many receives began and were not answered yet."""
        ...

    def unacked(self) -> int:
        """Return how many delivered messages are neither acknowledged nor rejected."""
        ...

    def detach(self) -> float:
        """Let go of the channel; returns until when (monotonic seconds) its open receives may still take messages."""
        ...
