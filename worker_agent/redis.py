# SPDX-License-Identifier: Apache-2.0
"""The gate on kombu's Redis channel (kombu 5.7).

A channel has one BRPOP at a time, which returns one message. Redis removes the message when it answers, so the answer
to a BRPOP in flight must be read even if the gate is closed. kombu does not read it while `can_consume` is false. So
`can_consume` stays true until that answer is read (or the BRPOP times out, 1 s). Besides:

- **sealed gate** (SIGTERM): a message of a BRPOP in flight returns to its queue at once and does not start;
- **a lost broker connection** loses no message and runs no task twice. Without this module, kombu loses a message if
  its entry in `unacked` cannot be written. Celery drops an acknowledgement that failed: the message counts as
  unacknowledged for ever and runs again after the visibility timeout. And kombu returns the messages of running tasks
  when it closes the connection, so these tasks run twice. Here all three are stored and executed on the next working
  connection.
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
"""How long a pending acknowledgement is retried while the broker can be reached."""


@dataclass
class _PendingAck:
    """An operation on one message that has not reached the broker; `send` gets the QoS of an open channel."""

    send: Callable[[Any], None]
    until: float | None = None


class PendingAcks:
    """Acknowledgements and returns that have not reached the broker. They outlive the connections."""

    def __init__(self) -> None:
        self._by_tag: dict[str, _PendingAck] = {}
        self._next_at = 0.0

    def __len__(self) -> int:
        return len(self._by_tag)

    def add(self, tag: str, send: Callable[[Any], None]) -> None:
        """Store an operation on a message for later."""
        self._by_tag[tag] = _PendingAck(send)

    def discard(self, tag: str) -> None:
        """Drop an operation: it is done."""
        self._by_tag.pop(tag, None)

    def flush(self, qos: Any, now: float) -> None:
        """Execute the pending operations, at most once a second."""
        if now < self._next_at:
            return
        self._next_at = now + RETRY_S
        for tag, pending in list(self._by_tag.items()):
            try:
                pending.send(qos)
            except Exception as error:  # noqa: BLE001  the next try may succeed after any error
                pending.until = now + RETRY_FOR_S if pending.until is None else pending.until
                if now < pending.until:
                    return
                logger.error("worker agent: message %s cannot be acknowledged: %s", tag, error)  # noqa: TRY400
            else:
                logger.info("worker agent: message %s is acknowledged after a retry", tag)
            del self._by_tag[tag]


PENDING_ACKS: Final = PendingAcks()
"""One for the process, because a worker process has one consumer."""


class RedisGate:
    """The gate of one `kombu.transport.redis.Channel`. Every method runs in the consumer's thread."""

    def __init__(
        self,
        channel: Any,
        *,
        gate: Gate,
        slots: Slots,
        clock: Callable[[], float] = time.monotonic,
        pending_acks: PendingAcks = PENDING_ACKS,
    ) -> None:
        self._channel = channel
        self._gate = gate
        self._slots = slots
        self._clock = clock
        self._pending_acks = pending_acks
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
        """Return 1 while a BRPOP waits for its answer, else 0."""
        return 1 if self._channel._in_poll else 0  # noqa: SLF001

    def unacked(self) -> int:
        """Return the number of delivered messages that the broker has neither as acknowledged nor as rejected."""
        self._pending_acks.flush(self._qos, self._clock())
        held = set(self._qos._delivered) - set(self._qos._dirty)  # noqa: SLF001
        return len(held) + len(self._pending_acks)

    def detach(self) -> float:
        """Start no further BRPOP on this channel. Returns the latest end of the one in flight."""
        in_flight = self.polls_in_flight()
        self._attached = False
        return self._clock() + in_flight * (float(self._channel.brpop_timeout or 0) + 15.0)

    def can_consume(self) -> bool:
        """Return whether a BRPOP may begin or the answer to the one in flight may be read (`QoS.can_consume`)."""
        if self._channel._in_poll:  # noqa: SLF001
            return True
        gate_open = self._attached and self._gate.state.is_open(self._clock())
        return gate_open and self._slots.free() > 0 and self._within_prefetch()

    def read(self, **options: Any) -> Any:
        """Read the answer to a BRPOP (`Channel._brpop_read`)."""
        if self._gate.sealed:  # without a callback kombu returns the message to its queue
            for queue in self._channel._active_queues:  # noqa: SLF001
                self._channel.connection._callbacks.pop(queue, None)  # noqa: SLF001
        return self._brpop_read(**options)

    def append(self, message: Any, delivery_tag: str) -> None:
        """Record a received message (`QoS.append`). If that fails, return the message: no other copy exists."""
        try:
            type(self._qos).append(self._qos, message, delivery_tag)
        except Exception:
            self._pending_acks.add(delivery_tag, partial(_return_to_queue, message, delivery_tag))
            raise

    def ack(self, delivery_tag: str) -> None:
        """Acknowledge one message (`QoS.ack`)."""
        self._settle(delivery_tag, type(self._qos).ack, partial(_remove, delivery_tag))

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        """Reject one message (`QoS.reject`)."""
        later = partial(_requeue if requeue else _remove, delivery_tag)
        self._settle(delivery_tag, partial(type(self._qos).reject, requeue=requeue), later)

    def restore_unacked_once(self, stderr: Any = None) -> None:
        """Return unstarted messages when the channel closes (`QoS.restore_unacked_once`); running tasks keep theirs."""
        if not self._gate.sealed:
            for tag in _tags_of_running_tasks():
                self._qos._delivered.pop(tag, None)  # noqa: SLF001
        self._closed = True
        self._restore(stderr)

    def _settle(self, tag: str, now: Callable[[Any, str], None], later: Callable[[Any], None]) -> None:
        if self._closed:  # a task of the last connection ended: acknowledge on the next connection
            self._pending_acks.add(tag, later)
            return
        try:
            now(self._qos, tag)
        except Exception:
            # The broker may or may not have the request; either way, kombu must not count the message as delivered.
            self._qos._delivered.pop(tag, None)  # noqa: SLF001
            self._pending_acks.add(tag, later)
            raise
        self._pending_acks.discard(tag)


def _remove(tag: str, qos: Any) -> None:
    qos._remove_from_indices(tag).execute()  # noqa: SLF001


def _requeue(tag: str, qos: Any) -> None:
    qos.restore_by_tag(tag, leftmost=True)


def _return_to_queue(message: Any, tag: str, qos: Any) -> None:
    # A second call is harmless: both steps are idempotent until another worker takes the message.
    type(qos).append(qos, message, tag)
    type(qos).reject(qos, tag, requeue=True)


def _tags_of_running_tasks() -> set[str]:
    return {
        request.message.delivery_tag
        for request in list(worker_state.active_requests)
        if not request.task.app.conf.worker_cancel_long_running_tasks_on_connection_loss
    }
