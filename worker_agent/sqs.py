# SPDX-License-Identifier: Apache-2.0
"""The gate on kombu's SQS channel (kombu 5.7).

The gate is on `QoS.can_consume`, not on the consumers: cancelling and adding them again left 13 long polls behind after
15 quick cycles. Only the instance that feeds the tasks is touched. Besides the gate itself this keeps:

- **at most one ReceiveMessage a queue in flight**, however often kombu starts its polling loop;
- **free slots only**: what is unfinished plus what the polls in flight may bring never exceeds the concurrency. With
  early acknowledgement kombu alone would take up to twice as many;
- **no busy loop**: a shut gate is looked at again after 0.2 s, also with `polling_interval = 0`;
- **every poll ends**: kombu sets no timeout on the long poll (a half-open connection would hang the queue for ever),
  and an answer that is not 200 raises out of its event loop. Here it is logged and asked again.
"""

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from celery.utils.log import get_logger
from vine import promise

from worker_agent.gate import Gate, Slots

logger = get_logger(__name__)

RETRY_S: Final = 0.2
ERROR_RETRY_S: Final = 2.0
ANSWER_MARGIN_S: Final = 15.0
"""How long after its wait time a poll may take to be answered before it is given up."""
SHARED_WAIT_S: Final = 1
"""Wait time of a poll where several queues share the slots: a poll that waits keeps slots from the other queues."""
HTTP_OK: Final = 200


@dataclass(frozen=True)
class Poll:
    """A ReceiveMessage that began; `ends_by` is when (monotonic seconds) it is over for certain."""

    queue: str
    may_bring: int
    ends_by: float


class SqsGate:
    """Stands before one `kombu.transport.SQS.Channel`; every method runs in the consumer's thread."""

    def __init__(self, channel: Any, *, gate: Gate, slots: Slots, clock: Callable[[], float] = time.monotonic) -> None:
        self._channel = channel
        self._gate = gate
        self._slots = slots
        self._clock = clock
        self._polls: dict[str, Poll] = {}
        self._waiting: dict[str, None] = {}  # queues that want a slot, longest waiting first
        self._was_empty: set[str] = set()
        self._asking: str | None = None
        self._attached = True
        self._within_prefetch: Callable[[], bool] = channel.qos.can_consume
        self._receive_message: Callable[..., Any] = channel._receive_message  # noqa: SLF001
        channel.qos.can_consume = self.can_consume
        channel.qos.can_consume_max_estimate = self.can_consume_max_estimate
        channel._schedule_queue = self.schedule  # noqa: SLF001
        channel._get_from_sqs = self._get_from_sqs  # noqa: SLF001
        channel._receive_message = self._receive_blocking  # noqa: SLF001

    def polls_in_flight(self) -> int:
        """Return how many ReceiveMessage calls began and were not answered yet."""
        return len(self._polls)

    def unacked(self) -> int:
        """Return how many delivered messages are neither acknowledged nor rejected."""
        qos = self._channel.qos
        return len(set(qos._delivered) - set(qos._dirty))  # noqa: SLF001

    def detach(self) -> float:
        """Start nothing more on this channel; returns when its open polls are over for certain."""
        self._attached = False
        return max((poll.ends_by for poll in self._polls.values()), default=self._clock())

    def can_consume(self) -> bool:
        """Return whether a receive may begin now (`QoS.can_consume`)."""
        gate_open = self._attached and self._gate.order.is_open(self._clock())
        return gate_open and self._free() > 0 and self._within_prefetch()

    def can_consume_max_estimate(self) -> int:
        """Return how many messages the next receive may bring (`QoS.can_consume_max_estimate`)."""
        queues = list(self._channel._active_queues)  # noqa: SLF001
        if len(queues) > 1 and self._asking in self._was_empty:
            return 1
        others = sum(1 for queue in queues if queue not in self._polls and queue != self._asking)
        share = max(self._free() - others, 1)
        qos = self._channel.qos
        return min(share, qos.prefetch_count - self.unacked()) if qos.prefetch_count else share

    def schedule(self, queue: str) -> None:
        """Begin a receive on `queue`, or look again a little later (`Channel._schedule_queue`)."""
        if not self._attached or queue not in self._channel._active_queues:  # noqa: SLF001
            self._waiting.pop(queue, None)
            return
        if queue in self._polls or queue in self._waiting:
            return  # another polling loop of this queue lives
        self._try(queue)

    def _try(self, queue: str) -> None:
        queues_before = list(self._waiting).index(queue) if queue in self._waiting else len(self._waiting)
        if self.can_consume() and self._free() > queues_before:
            self._waiting.pop(queue, None)
            self._asking = queue
            try:
                type(self._channel)._schedule_queue(self._channel, queue)  # noqa: SLF001
            finally:
                self._asking = None
        else:
            self._waiting.setdefault(queue)
            self._channel.hub.call_later(RETRY_S, self._retry, queue)

    def _retry(self, queue: str) -> None:
        if not self._attached or queue not in self._channel._active_queues:  # noqa: SLF001
            self._waiting.pop(queue, None)
        else:
            self._try(queue)

    def _free(self) -> int:
        return self._slots.free() - sum(poll.may_bring for poll in self._polls.values())

    def _begin(self, queue: str, count: int, wait_s: float) -> None:
        self._polls[queue] = Poll(queue, count, self._clock() + wait_s + ANSWER_MARGIN_S + 1)

    def _wait_s(self) -> int:
        wait_s: int = self._channel.wait_time_seconds
        return min(wait_s, SHARED_WAIT_S) if len(set(self._channel._active_queues)) > 1 else wait_s  # noqa: SLF001

    def _get_from_sqs(
        self, queue_name: str, queue_url: str, connection: Any, count: int = 1, callback: Any = None
    ) -> Any:
        queue = self._asking or queue_name
        wait_s = self._wait_s()
        tracked = copy.copy(connection)
        tracked.make_request = partial(self._make_request, tracked, queue)
        tracked.get_http_connection = partial(_bounded_http, connection, wait_s + ANSWER_MARGIN_S)
        self._begin(queue, count, wait_s)
        try:
            return tracked.receive_message(
                queue_name, queue_url, number_messages=count, wait_time_seconds=wait_s, callback=callback
            )
        except Exception:  # no credentials for the moment, say: never a reason to end a worker whose tasks run
            logger.exception("ReceiveMessage on %s could not be sent, trying again", queue)
            self._end_and_retry(queue)
            return callback

    def _make_request(
        self,
        tracked: Any,
        queue: str,
        operation: str,
        params: Any,
        queue_url: str,
        verb: str,
        callback: Any = None,
        protocol_params: Any = None,
    ) -> Any:
        answered = promise(partial(self._answered, queue, callback))
        return type(tracked).make_request(
            tracked, operation, params, queue_url, verb, callback=answered, protocol_params=protocol_params
        )

    def _answered(self, queue: str, callback: Callable[[Any], Any], response: Any) -> None:
        if response.status != HTTP_OK:
            logger.error("ReceiveMessage on %s was answered with %s, trying again", queue, response.status)
            self._end_and_retry(queue)
            return
        if self._gate.sealed:  # without a consumer's callback kombu makes what it received visible again
            self._channel.connection._callbacks.pop(queue, None)  # noqa: SLF001
        held_before = self.unacked()
        try:
            callback(response)
        except BaseException:  # the receive is over whatever came of it; else it would count as in flight for ever
            self._end_and_retry(queue)
            raise
        self._polls.pop(queue, None)
        (self._was_empty.discard if self.unacked() > held_before else self._was_empty.add)(queue)

    def _end_and_retry(self, queue: str) -> None:
        self._polls.pop(queue, None)
        self._channel.hub.call_later(ERROR_RETRY_S, self.schedule, queue)

    def _receive_blocking(
        self, queue: str, max_number_of_messages: int = 1, wait_time_seconds: int | None = None
    ) -> Any:
        self._begin(queue, max_number_of_messages, wait_time_seconds or self._wait_s())
        try:
            return self._receive_message(
                queue=queue, max_number_of_messages=max_number_of_messages, wait_time_seconds=wait_time_seconds
            )
        finally:
            self._polls.pop(queue, None)


def _bounded_http(connection: Any, timeout_s: float) -> Any:
    http = type(connection).get_http_connection(connection)
    make = http.getrequest

    def getrequest() -> Any:
        request = make()
        request.on_prepare = lambda curl: curl.setopt(curl.TIMEOUT_MS, int(timeout_s * 1000))
        return request

    http.getrequest = getrequest
    return http
