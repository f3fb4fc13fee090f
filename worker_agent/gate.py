# SPDX-License-Identifier: Apache-2.0
"""The gate: one state, written by the agent's thread and read by the consumer's thread.

A state is replaced as a whole, so a reader sees either the old or the new one. An open gate has a time at which it
closes without a further write. So a worker whose protection has ended takes no message, even if the agent's threads
die.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class GateState:
    """The number of this opening or closing, and until when (monotonic seconds) the gate is open; `None`: closed."""

    generation: int
    open_until: float | None

    def is_open(self, now: float) -> bool:
        """Return whether a poll may begin."""
        return self.open_until is not None and now < self.open_until


class Gate:
    """Closed at first. Once sealed, it stays closed."""

    def __init__(self) -> None:
        self._state = GateState(generation=0, open_until=None)
        self._sealed = False

    @property
    def state(self) -> GateState:
        """The current state."""
        return GateState(self._state.generation, None) if self._sealed else self._state

    @property
    def sealed(self) -> bool:
        """Whether the gate is closed for good. Messages that still arrive return to their queue."""
        return self._sealed

    def set(self, state: GateState) -> None:
        """Replace the state."""
        self._state = state

    def seal(self) -> None:
        """Close the gate for good. This is safe inside a signal handler."""
        self._sealed = True


@dataclass(frozen=True)
class Slots:
    """The number of task slots of the worker, and the number of unfinished messages."""

    concurrency: Callable[[], int]
    unfinished: Callable[[], int]

    def free(self) -> int:
        """Return the number of slots without a task, at least 0."""
        return max(self.concurrency() - self.unfinished(), 0)


class ChannelGate(Protocol):
    """A gate before one consuming channel."""

    def polls_in_flight(self) -> int:
        """Return the number of polls without an answer yet."""
        ...

    def unacked(self) -> int:
        """Return the number of delivered messages that are neither acknowledged nor rejected."""
        ...

    def detach(self) -> float:
        """Detach from the channel. Returns until when (monotonic seconds) its polls may still take messages."""
        ...
