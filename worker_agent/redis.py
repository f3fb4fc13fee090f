# SPDX-License-Identifier: Apache-2.0
"""The gate on kombu's Redis channel (kombu 5.7).

A channel has one BRPOP at a time, which brings one message. Redis hands the message over when it pops it, so the reply
to a BRPOP in flight must be read even behind a shut gate: kombu leaves it in the socket while `can_consume` is false.
So `can_consume` stays true until that reply is read (or the BRPOP times out, 1 s), and only then false.
"""

import time
from collections.abc import Callable
from typing import Any

from worker_agent.gate import Gate, Slots


class RedisGate:
    """Stands before one `kombu.transport.redis.Channel`; every method runs in the consumer's thread."""

    def __init__(self, channel: Any, *, gate: Gate, slots: Slots, clock: Callable[[], float] = time.monotonic) -> None:
        self._channel = channel
        self._gate = gate
        self._slots = slots
        self._clock = clock
        self._attached = True
        self._within_prefetch: Callable[[], bool] = channel.qos.can_consume
        channel.qos.can_consume = self.can_consume

    def polls_in_flight(self) -> int:
        """Return 1 while a BRPOP waits for its reply, else 0."""
        return 1 if self._channel._in_poll else 0  # noqa: SLF001

    def unacked(self) -> int:
        """Return how many delivered messages are neither acknowledged nor rejected."""
        qos = self._channel.qos
        return len(set(qos._delivered) - set(qos._dirty))  # noqa: SLF001

    def detach(self) -> float:
        """Start nothing more on this channel; returns when its BRPOP is over for certain."""
        in_flight = self.polls_in_flight()
        self._attached = False
        return self._clock() + in_flight * (float(self._channel.brpop_timeout or 0) + 15.0)

    def can_consume(self) -> bool:
        """Return whether a BRPOP may begin, or the reply to the one in flight be read (`QoS.can_consume`)."""
        if self._channel._in_poll:  # noqa: SLF001
            return True
        gate_open = self._attached and self._gate.order.is_open(self._clock())
        return gate_open and self._slots.free() > 0 and self._within_prefetch()
