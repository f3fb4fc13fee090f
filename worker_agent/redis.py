# SPDX-License-Identifier: Apache-2.0
"""The gate on kombu's Redis channel (kombu 5.7).

A channel has one BRPOP at a time, which brings one message. Redis hands the message over when it pops it, so the reply
to a BRPOP in flight must be read even behind a shut gate: kombu leaves it in the socket while `can_consume` is false.
So `can_consume` stays true until that reply is read (or the BRPOP times out, 1 s), and only then false. Besides:

- **sealed** (SIGTERM): what a BRPOP in flight still brings goes back to its queue at once, and is not begun;
- **a broker that goes away** costs no message and no second run. kombu forgets a message whose entry in `unacked` could
  not be written, Celery forgets an acknowledgement that failed (the message would count as held for ever, and run again
  after the visibility timeout), and with the connection kombu gives back the messages of tasks that still run, so that
  they run twice. Here all three are kept and done on the next connection that works.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from celery.utils.log import get_logger
from celery.worker import state as worker_state

from worker_agent.gate import Gate, Slots

logger = get_logger(__name__)

RETRY_S: Final = 1.0
RETRY_FOR_S: Final = 60.0
"""How long what is owed is tried on a connection that works."""


@dataclass
class _Debt:
    """What the broker was not told about one message; `pay` gets the QoS of a channel that is open."""

    pay: Callable[[Any], None]
    until: float | None = None


class Debts:
    """What a worker owes its broker; it outlives the connections."""

    def __init__(self) -> None:
        self._by_tag: dict[str, _Debt] = {}
        self._next_at = 0.0

    def __len__(self) -> int:
        return len(self._by_tag)

    def __contains__(self, tag: str) -> bool:
        return tag in self._by_tag

    def owe(self, tag: str, pay: Callable[[Any], None]) -> None:
        """Remember what is to be done for a message."""
        self._by_tag[tag] = _Debt(pay)

    def forget(self, tag: str) -> None:
        """It is done."""
        self._by_tag.pop(tag, None)

    def pay(self, qos: Any, now: float) -> None:
        """Do what is owed, if it is time to try again."""
        if now < self._next_at:
            return
        self._next_at = now + RETRY_S
        for tag, debt in list(self._by_tag.items()):
            try:
                debt.pay(qos)
            except Exception as error:  # noqa: BLE001  whatever it is, the next try may work
                debt.until = now + RETRY_FOR_S if debt.until is None else debt.until
                if now < debt.until:
                    return
                logger.error("worker agent: message %s cannot be settled: %s", tag, error)  # noqa: TRY400
            else:
                logger.info("worker agent: message %s is settled after all", tag)
            del self._by_tag[tag]


DEBTS: Final = Debts()
"""Of this process: a worker process has one consumer."""


class RedisGate:
    """Stands before one `kombu.transport.redis.Channel`; every method runs in the consumer's thread."""

    def __init__(
        self,
        channel: Any,
        *,
        gate: Gate,
        slots: Slots,
        clock: Callable[[], float] = time.monotonic,
        debts: Debts = DEBTS,
    ) -> None:
        self._channel = channel
        self._gate = gate
        self._slots = slots
        self._clock = clock
        self._debts = debts
        self._attached = True
        self._closed = False
        self._qos = channel.qos
        self._within_prefetch: Callable[[], bool] = channel.qos.can_consume
        self._restore: Callable[..., Any] = channel.qos.restore_unacked_once
        self._brpop_read: Callable[..., Any] = channel._brpop_read  # noqa: SLF001
        channel.qos.can_consume = self.can_consume
        channel.qos.append = self.append
        channel.qos.ack = self.ack
        channel.qos.reject = self.reject
        channel.qos.restore_unacked_once = self.restore_unacked_once
        channel._brpop_read = channel.handlers["BRPOP"] = self.read  # noqa: SLF001

    def polls_in_flight(self) -> int:
        """Return 1 while a BRPOP waits for its reply, else 0."""
        return 1 if self._channel._in_poll else 0  # noqa: SLF001

    def unacked(self) -> int:
        """Return how many delivered messages are neither acknowledged nor rejected, as far as the broker knows."""
        self._debts.pay(self._qos, self._clock())
        held = set(self._qos._delivered) - set(self._qos._dirty)  # noqa: SLF001
        return len(held) + len(self._debts)

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

    def read(self, **options: Any) -> Any:
        """Read the reply to a BRPOP (`Channel._brpop_read`)."""
        if self._gate.sealed:  # without a consumer's callback kombu puts what it brought back into its queue
            for queue in self._channel._active_queues:  # noqa: SLF001
                self._channel.connection._callbacks.pop(queue, None)  # noqa: SLF001
        return self._brpop_read(**options)

    def append(self, message: Any, delivery_tag: str) -> None:
        """Note a message that was popped (`QoS.append`); it is nowhere else, so it goes back if that fails."""
        try:
            type(self._qos).append(self._qos, message, delivery_tag)
        except Exception:
            self._debts.owe(delivery_tag, partial(_give_back, message, delivery_tag))
            raise

    def ack(self, delivery_tag: str) -> None:
        """Acknowledge one message (`QoS.ack`)."""
        self._settle(delivery_tag, type(self._qos).ack, partial(_remove, delivery_tag))

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        """Reject one message (`QoS.reject`)."""
        later = partial(_requeue if requeue else _remove, delivery_tag)
        self._settle(delivery_tag, partial(type(self._qos).reject, requeue=requeue), later)

    def restore_unacked_once(self, stderr: Any = None) -> None:
        """Give back what is held when the channel closes (`QoS.restore_unacked_once`), but not what runs on."""
        if not self._gate.sealed:
            for tag in _of_tasks_that_run_on():
                self._qos._delivered.pop(tag, None)  # noqa: SLF001
        self._closed = True
        self._restore(stderr)

    def _settle(self, tag: str, now: Callable[[Any, str], None], later: Callable[[Any], None]) -> None:
        if self._closed:  # a task of the last connection ended; the next one tells the broker
            self._debts.owe(tag, later)
            return
        try:
            now(self._qos, tag)
        except Exception:
            # Whatever the broker was told of it: nothing here holds the message any more.
            self._qos._delivered.pop(tag, None)  # noqa: SLF001
            self._debts.owe(tag, later)
            raise
        self._debts.forget(tag)


def _remove(tag: str, qos: Any) -> None:
    qos._remove_from_indices(tag).execute()  # noqa: SLF001


def _requeue(tag: str, qos: Any) -> None:
    qos.restore_by_tag(tag, leftmost=True)


def _give_back(message: Any, tag: str, qos: Any) -> None:
    # Twice would be harmless: both steps are idempotent until another worker takes the message.
    type(qos).append(qos, message, tag)
    type(qos).reject(qos, tag, requeue=True)


def _of_tasks_that_run_on() -> set[str]:
    return {
        request.message.delivery_tag
        for request in list(worker_state.active_requests)
        if not request.task.app.conf.worker_cancel_long_running_tasks_on_connection_loss
    }
