# SPDX-License-Identifier: Apache-2.0
"""The broker and Airflow's database: a queue like SQS, and counted rows.

A received message is in flight until it is deleted or its visibility timeout ends, also if the worker of the poll has
ended. The counts are some seconds old, as in SQS.
"""

import asyncio
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from scaler.core.model import BrokerCount, DatabaseCount


@dataclass(slots=True)
class Message:
    """One task in the queue; it runs for `work_s`."""

    number: int
    work_s: float


@dataclass(slots=True, eq=False)
class QueuePoll:
    """A ReceiveMessage in flight; it is answered once, without messages when its wait ends."""

    most: int
    answer: Callable[[Sequence[Message]], None]
    ends: asyncio.TimerHandle | None = None


@dataclass(slots=True)
class TaskInstanceRows:
    """The task instances of a queue in the database."""

    queued: set[int] = field(default_factory=set)
    running: set[int] = field(default_factory=set)

    def count(self) -> DatabaseCount:
        """Return the counts."""
        return DatabaseCount(len(self.queued), len(self.running))


class SimulatedQueue:
    """One queue of messages."""

    def __init__(self, rng: random.Random, *, visibility_s: float, lag_s: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._rng = rng
        self.visibility_s = visibility_s
        self._lag_s = lag_s
        self._visible: deque[Message] = deque()
        self._in_flight: dict[int, tuple[Message, asyncio.TimerHandle]] = {}
        self._polls: list[QueuePoll] = []
        self._past: deque[tuple[float, int, int]] = deque([(0.0, 0, 0)])
        self.redelivered = 0
        self.rows = TaskInstanceRows()

    def send(self, message: Message) -> None:
        """Add a message; a waiting poll gets it at once."""
        self.rows.queued.add(message.number)
        self._visible.append(message)
        self._deliver()

    def receive(self, most: int, wait_s: float, answer: Callable[[Sequence[Message]], None]) -> QueuePoll:
        """Start a long poll."""
        poll = QueuePoll(most, answer)
        self._polls.append(poll)
        poll.ends = self._loop.call_later(wait_s, self._answer, poll, ())
        self._deliver()
        return poll

    def delete(self, message: Message) -> None:
        """Acknowledge a message."""
        _, timer = self._in_flight.pop(message.number, (None, None))
        if timer is not None:
            timer.cancel()
        self._record_counts()

    def give_back(self, message: Message) -> None:
        """Make a message visible at once, as ChangeMessageVisibility with 0."""
        _, timer = self._in_flight.pop(message.number, (None, None))
        if timer is not None:
            timer.cancel()
            self._visible.append(message)
            self._deliver()

    def holds(self, number: int) -> bool:
        """Return whether the queue has a message, visible or in flight."""
        return number in self._in_flight or any(message.number == number for message in self._visible)

    def depth(self) -> BrokerCount:
        """Return the counts of `lag_s` ago."""
        then = self._loop.time() - self._lag_s
        while len(self._past) > 1 and self._past[1][0] <= then:
            self._past.popleft()
        _, visible, in_flight = self._past[0]
        return BrokerCount(visible, in_flight)

    @property
    def visible(self) -> int:
        """The number of visible messages now."""
        return len(self._visible)

    def restart(self) -> None:
        """Close all connections: polls end without messages; the messages stay."""
        for poll in list(self._polls):
            self._answer(poll, ())

    def _deliver(self) -> None:
        while self._visible and self._polls:
            poll = self._rng.choice(self._polls)
            some = [self._visible.popleft() for _ in range(min(poll.most, len(self._visible)))]
            for message in some:
                timer = self._loop.call_later(self.visibility_s, self._redeliver, message)
                self._in_flight[message.number] = (message, timer)
            self._answer(poll, some)
        self._record_counts()

    def _answer(self, poll: QueuePoll, messages: Sequence[Message]) -> None:
        self._polls.remove(poll)
        if poll.ends is not None:
            poll.ends.cancel()
        # The answer takes time; if the worker ends in between, its messages stay in flight.
        self._loop.call_later(self._rng.uniform(0.01, 0.2), poll.answer, messages)

    def _redeliver(self, message: Message) -> None:
        del self._in_flight[message.number]
        self.redelivered += 1
        self._visible.append(message)
        self._deliver()

    def _record_counts(self) -> None:
        self._past.append((self._loop.time(), len(self._visible), len(self._in_flight)))
