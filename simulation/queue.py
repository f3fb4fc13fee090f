# SPDX-License-Identifier: Apache-2.0
"""The broker and Airflow's database: a queue as SQS is one, and rows that are counted.

A message that was handed out is in flight until it is deleted or its visibility timeout ends, also when the poll that
took it belongs to a worker that is gone. Counts are some seconds old, as SQS's are.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from scaler.core.model import BrokerCount, DatabaseCount


@dataclass(slots=True)
class Message:
    """One task in the queue; its `work_s` is how long it runs."""

    number: int
    work_s: float
    sent_at: float
    receipts: int = 0


@dataclass(slots=True, eq=False)
class QueuePoll:
    """A ReceiveMessage on its way; answered once, with nothing at the latest when its wait ends."""

    most: int
    answer: Callable[[Sequence[Message]], None]
    ends: asyncio.TimerHandle | None = None


@dataclass(slots=True)
class TaskInstanceRows:
    """What the database says of a queue's task instances."""

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
        self._flying: dict[int, tuple[Message, asyncio.TimerHandle]] = {}
        self._polls: list[QueuePoll] = []
        self._past: deque[tuple[float, int, int]] = deque([(0.0, 0, 0)])
        self.redelivered = 0
        self.rows = TaskInstanceRows()

    def send(self, message: Message) -> None:
        """Put a message in; a waiting poll gets it at once."""
        self.rows.queued.add(message.number)
        self._visible.append(message)
        self._hand_out()

    def receive(self, most: int, wait_s: float, answer: Callable[[Sequence[Message]], None]) -> QueuePoll:
        """Begin a long poll."""
        poll = QueuePoll(most, answer)
        self._polls.append(poll)
        poll.ends = self._loop.call_later(wait_s, self._answer, poll, ())
        self._hand_out()
        return poll

    def delete(self, message: Message) -> None:
        """Acknowledge a message, wherever it is."""
        _, timer = self._flying.pop(message.number, (None, None))
        if timer is not None:
            timer.cancel()
        self._note()

    def give_back(self, message: Message) -> None:
        """Make a message visible again at once, as ChangeMessageVisibility with 0 does."""
        _, timer = self._flying.pop(message.number, (None, None))
        if timer is not None:
            timer.cancel()
            self._visible.append(message)
            self._hand_out()

    def holds(self, number: int) -> bool:
        """Return whether a message will come, or come back."""
        return number in self._flying or any(each.number == number for each in self._visible)

    def depth(self) -> BrokerCount:
        """Return the counts as they were `lag_s` ago."""
        then = self._loop.time() - self._lag_s
        while len(self._past) > 1 and self._past[1][0] <= then:
            self._past.popleft()
        _, visible, flying = self._past[0]
        return BrokerCount(visible, flying)

    @property
    def visible(self) -> int:
        """How many messages wait now."""
        return len(self._visible)

    def restart(self) -> None:
        """Lose the connections: polls end with nothing; messages stay where they are."""
        for poll in list(self._polls):
            self._answer(poll, ())

    def _hand_out(self) -> None:
        while self._visible and self._polls:
            poll = self._rng.choice(self._polls)
            some = [self._visible.popleft() for _ in range(min(poll.most, len(self._visible)))]
            for message in some:
                message.receipts += 1
                timer = self._loop.call_later(self.visibility_s, self._come_back, message)
                self._flying[message.number] = (message, timer)
            self._answer(poll, some)
        self._note()

    def _answer(self, poll: QueuePoll, messages: Sequence[Message]) -> None:
        self._polls.remove(poll)
        if poll.ends is not None:
            poll.ends.cancel()
        # The answer travels; whoever ends meanwhile takes it along.
        self._loop.call_later(self._rng.uniform(0.01, 0.2), poll.answer, messages)

    def _come_back(self, message: Message) -> None:
        del self._flying[message.number]
        self.redelivered += 1
        self._visible.append(message)
        self._hand_out()

    def _note(self) -> None:
        self._past.append((self._loop.time(), len(self._visible), len(self._flying)))
