# SPDX-License-Identifier: Apache-2.0
"""The gate on kombu's SQS channel (kombu 5.7).

The gate is in `QoS.can_consume`. Cancelling and adding the consumers again is no alternative: it left 13 long polls
behind after 15 quick cycles. Only the channel that delivers tasks is changed. Besides the gate this module guarantees:

- **at most one ReceiveMessage in flight for each queue**, even if kombu starts its polling loop several times;
- **free slots only**: unfinished messages plus the possible messages of the polls in flight never exceed the
  concurrency. With early acknowledgement kombu alone would take up to twice as many;
- **no busy loop**: a closed gate is read again after 0.2 s, also with `polling_interval = 0`;
- **every poll ends**: kombu sets no timeout on the long poll, so a half-open connection would block the queue for ever.
  And an answer other than 200 raises out of kombu's event loop. Here it is logged and the poll is repeated.
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
"""A poll without an answer is aborted this long after its wait time."""
SHARED_WAIT_S: Final = 1
"""Wait time of a poll if several queues share the slots: a waiting poll reserves slots that other queues need."""
HTTP_OK: Final = 200


@dataclass(frozen=True)
class PollInFlight:
    """A ReceiveMessage without an answer yet; `ends_by` is its latest end (monotonic seconds)."""

    queue: str
    max_messages: int
    ends_by: float


class SqsGate:
    """The gate of one `kombu.transport.SQS.Channel`. Every method runs in the consumer's thread."""

    def __init__(self, channel: Any, *, gate: Gate, slots: Slots, clock: Callable[[], float] = time.monotonic) -> None:
        self._channel = channel
        self._gate = gate
        self._slots = slots
        self._clock = clock
        self._polls: dict[str, PollInFlight] = {}
        self._waiting: dict[str, None] = {}  # queues that need a slot, the longest waiting first
        self._empty_last_time: set[str] = set()
        self._polling: str | None = None
        self._attached = True
        self._within_prefetch: Callable[[], bool] = channel.qos.can_consume
        self._receive_message: Callable[..., Any] = channel._receive_message  # noqa: SLF001
        channel.qos.can_consume = self.can_consume
        channel.qos.can_consume_max_estimate = self.can_consume_max_estimate
        channel._schedule_queue = self.schedule  # noqa: SLF001
        channel._get_from_sqs = self._get_from_sqs  # noqa: SLF001
        channel._receive_message = self._receive_blocking  # noqa: SLF001

    def polls_in_flight(self) -> int:
        """Return the number of ReceiveMessage calls without an answer yet."""
        return len(self._polls)

    def unacked(self) -> int:
        """Return the number of delivered messages that are neither acknowledged nor rejected."""
        qos = self._channel.qos
        return len(set(qos._delivered) - set(qos._dirty))  # noqa: SLF001

    def detach(self) -> float:
        """Start no further poll on this channel. Returns the latest end of those in flight."""
        self._attached = False
        return max((poll.ends_by for poll in self._polls.values()), default=self._clock())

    def can_consume(self) -> bool:
        """Return whether a poll may begin now (`QoS.can_consume`)."""
        gate_open = self._attached and self._gate.state.is_open(self._clock())
        return gate_open and self._free() > 0 and self._within_prefetch()

    def can_consume_max_estimate(self) -> int:
        """Return how many messages the next poll may take (`QoS.can_consume_max_estimate`)."""
        queues = list(self._channel._active_queues)  # noqa: SLF001
        if len(queues) > 1 and self._polling in self._empty_last_time:
            return 1
        others = sum(1 for queue in queues if queue not in self._polls and queue != self._polling)
        share = max(self._free() - others, 1)
        qos = self._channel.qos
        return min(share, qos.prefetch_count - self.unacked()) if qos.prefetch_count else share

    def schedule(self, queue: str) -> None:
        """Begin a poll of `queue`, or try again after 0.2 s (`Channel._schedule_queue`)."""
        if not self._attached or queue not in self._channel._active_queues:  # noqa: SLF001
            self._waiting.pop(queue, None)
            return
        if queue in self._polls or queue in self._waiting:
            return  # this queue has a polling loop already
        self._try(queue)

    def _try(self, queue: str) -> None:
        queues_before = list(self._waiting).index(queue) if queue in self._waiting else len(self._waiting)
        if self.can_consume() and self._free() > queues_before:
            self._waiting.pop(queue, None)
            self._polling = queue
            try:
                type(self._channel)._schedule_queue(self._channel, queue)  # noqa: SLF001
            finally:
                self._polling = None
        else:
            self._waiting.setdefault(queue)
            self._channel.hub.call_later(RETRY_S, self._retry, queue)

    def _retry(self, queue: str) -> None:
        if not self._attached or queue not in self._channel._active_queues:  # noqa: SLF001
            self._waiting.pop(queue, None)
        else:
            self._try(queue)

    def _free(self) -> int:
        return self._slots.free() - sum(poll.max_messages for poll in self._polls.values())

    def _begin(self, queue: str, count: int, wait_s: float) -> None:
        self._polls[queue] = PollInFlight(queue, count, self._clock() + wait_s + ANSWER_MARGIN_S + 1)

    def _wait_s(self) -> int:
        wait_s: int = self._channel.wait_time_seconds
        return min(wait_s, SHARED_WAIT_S) if len(set(self._channel._active_queues)) > 1 else wait_s  # noqa: SLF001

    def _get_from_sqs(
        self, queue_name: str, queue_url: str, connection: Any, count: int = 1, callback: Any = None
    ) -> Any:
        queue = self._polling or queue_name
        wait_s = self._wait_s()
        tracked = copy.copy(connection)
        tracked.make_request = partial(self._make_request, tracked, queue)
        tracked.get_http_connection = partial(_bounded_http, connection, wait_s + ANSWER_MARGIN_S)
        self._begin(queue, count, wait_s)
        try:
            return tracked.receive_message(
                queue_name, queue_url, number_messages=count, wait_time_seconds=wait_s, callback=callback
            )
        except Exception:  # such as missing credentials; it must not end a worker with running tasks
            logger.exception("worker agent: ReceiveMessage on %s could not be sent, trying again", queue)
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
            logger.error("worker agent: ReceiveMessage on %s returned HTTP %s, trying again", queue, response.status)
            self._end_and_retry(queue)
            return
        if self._gate.sealed:  # without a callback kombu makes the messages visible again
            self._channel.connection._callbacks.pop(queue, None)  # noqa: SLF001
        held_before = self.unacked()
        try:
            callback(response)
        except BaseException:  # the poll has ended, also after an error; otherwise it would count as in flight for ever
            self._end_and_retry(queue)
            raise
        self._polls.pop(queue, None)
        (self._empty_last_time.discard if self.unacked() > held_before else self._empty_last_time.add)(queue)

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
