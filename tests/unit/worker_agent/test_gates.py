# SPDX-License-Identifier: Apache-2.0
"""The gates of kombu's channels, with fake channels and a manual event loop."""

from collections import OrderedDict
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from worker_agent import redis as redis_gate
from worker_agent.gate import Gate, GateState, Slots
from worker_agent.redis import RETRY_FOR_S, PendingAcks, RedisGate
from worker_agent.sqs import ERROR_RETRY_S, RETRY_S, SqsGate


class Hub:
    """Stores calls for later."""

    def __init__(self) -> None:
        self.later: list[tuple[float, Callable[..., Any], tuple[Any, ...]]] = []

    def call_later(self, delay: float, callback: Callable[..., Any], *args: Any) -> None:
        self.later.append((delay, callback, args))

    def run_due(self) -> None:
        due, self.later = self.later, []
        for _, callback, args in due:
            callback(*args)


class FakeSqsConnection:
    """An AsyncSQSConnection that the test answers."""

    requests: list[tuple[str, int, Callable[[Any], Any]]]

    def __init__(self) -> None:
        self.requests = []
        self.raises: Exception | None = None

    def get_http_connection(self) -> Any:
        raise AssertionError("not used here")

    def make_request(self, operation: str, params: Any, url: str, verb: str, **options: Any) -> None:
        self.requests.append((url, params["MaxNumberOfMessages"], options["callback"]))

    def receive_message(
        self, name: str, url: str, *, number_messages: int, wait_time_seconds: int, callback: Any
    ) -> None:
        if self.raises:
            raise self.raises
        params = {"MaxNumberOfMessages": number_messages, "WaitTimeSeconds": wait_time_seconds}
        self.make_request("ReceiveMessage", params, url, "POST", callback=callback)


class Channel:
    """The part of kombu's SQS channel that the gate uses, with a short version of kombu's loop."""

    wait_time_seconds = 20

    def __init__(self, *queues: str, prefetch: int = 0) -> None:
        self.hub = Hub()
        self.qos = SimpleNamespace(
            _delivered=OrderedDict(), _dirty=set(), prefetch_count=prefetch, can_consume=lambda: True
        )
        self._active_queues = list(queues)
        self.connection = FakeSqsConnection()

    def _schedule_queue(self, queue: str) -> None:
        count = min(max(self.qos.can_consume_max_estimate(), 1), 10)
        self._get_from_sqs(queue, queue, self.connection, count, callback=lambda _: None)  # type: ignore[attr-defined]

    def _receive_message(self, queue: str, **_: Any) -> str:
        return queue


class SqsScenario:
    """One gate before one channel, with four slots and a clock."""

    def __init__(self, *queues: str, prefetch: int = 0) -> None:
        self.now = 0.0
        self.busy = 0
        self.gate = Gate()
        self.channel: Any = Channel(*queues, prefetch=prefetch)
        slots = Slots(lambda: 4, lambda: self.busy)
        self.sqs = SqsGate(self.channel, gate=self.gate, slots=slots, clock=lambda: self.now)

    def open(self, until: float = 1000.0) -> None:
        self.gate.set(GateState(1, until))

    @property
    def requests(self) -> list[tuple[str, int, Callable[[Any], Any]]]:
        return list(self.channel.connection.requests)

    def answer(self, index: int = -1, status: int = 200) -> None:
        self.requests[index][2](SimpleNamespace(status=status))


def test_a_closed_gate_starts_no_poll_and_is_read_again_after_a_pause() -> None:
    scenario = SqsScenario("q")
    scenario.channel._schedule_queue("q")
    assert (scenario.requests, scenario.sqs.polls_in_flight()) == ([], 0)
    assert [delay for delay, *_ in scenario.channel.hub.later] == [RETRY_S]
    scenario.open()
    scenario.channel.hub.run_due()
    assert scenario.sqs.polls_in_flight() == 1


def test_an_open_gate_closes_when_the_protection_ends() -> None:
    scenario = SqsScenario("q")
    scenario.open(until=10.0)
    assert scenario.sqs.can_consume()
    scenario.now = 10.0
    assert not scenario.sqs.can_consume()


def test_a_sealed_gate_stays_closed() -> None:
    scenario = SqsScenario("q")
    scenario.gate.seal()
    scenario.open()
    assert not scenario.sqs.can_consume()


@pytest.mark.parametrize("sealed", [False, True])
def test_messages_that_arrive_after_sigterm_are_not_given_to_the_consumer(*, sealed: bool) -> None:
    scenario, consumed = SqsScenario("q"), list[str]()
    scenario.open()
    scenario.channel.connection._callbacks = {"q": consumed.append}

    def deliver(_: object) -> None:
        # As kombu does it: without a callback it makes the message visible again.
        for consume in filter(None, [scenario.channel.connection._callbacks.get("q")]):
            consume("message")

    scenario.channel._get_from_sqs("q", "q", scenario.channel.connection, 1, callback=deliver)
    if sealed:
        scenario.gate.seal()
    scenario.answer()
    assert consumed == ([] if sealed else ["message"])


def test_repeated_polling_loops_of_a_queue_make_one_poll() -> None:
    scenario = SqsScenario("q")
    for _ in range(5):
        scenario.channel._schedule_queue("q")
    scenario.open()
    for _ in range(5):
        scenario.channel.hub.run_due()
        scenario.channel._schedule_queue("q")
    assert len(scenario.requests) == 1


@pytest.mark.parametrize(("busy", "requested"), [(0, [4]), (3, [1]), (4, []), (9, [])])
def test_a_poll_requests_no_more_messages_than_free_slots(busy: int, requested: list[int]) -> None:
    scenario = SqsScenario("q")
    scenario.open()
    scenario.busy = busy
    scenario.channel._schedule_queue("q")
    assert [count for _, count, _ in scenario.requests] == requested


def test_the_polls_of_several_queues_request_no_more_than_the_free_slots_together() -> None:
    scenario = SqsScenario("a", "b", "c")
    scenario.open()
    for queue in "abc":
        scenario.channel._schedule_queue(queue)
    assert sum(count for _, count, _ in scenario.requests) <= 4
    assert len(scenario.requests) == 3


def test_the_queue_that_waited_longest_gets_the_slot() -> None:
    scenario = SqsScenario("a", "b")
    scenario.open()
    scenario.busy = 4
    scenario.channel._schedule_queue("b")
    scenario.busy = 3
    scenario.channel._schedule_queue("a")
    assert scenario.requests == [], "a came later and must not overtake b"
    scenario.channel.hub.run_due()
    assert [queue for queue, *_ in scenario.requests] == ["b"]


def test_a_poll_is_in_flight_until_it_is_answered() -> None:
    scenario = SqsScenario("q")
    scenario.open()
    scenario.channel._schedule_queue("q")
    scenario.gate.set(GateState(2, None))
    assert scenario.sqs.polls_in_flight() == 1
    scenario.answer()
    assert scenario.sqs.polls_in_flight() == 0


@pytest.mark.parametrize("status", [400, 403, 503, 599])
def test_a_poll_with_an_error_answer_is_repeated(status: int) -> None:
    scenario = SqsScenario("q")
    scenario.open()
    scenario.channel._schedule_queue("q")
    scenario.answer(status=status)
    assert scenario.sqs.polls_in_flight() == 0
    assert [delay for delay, *_ in scenario.channel.hub.later] == [ERROR_RETRY_S]
    scenario.channel.hub.run_due()
    assert len(scenario.requests) == 2


def test_a_poll_that_cannot_be_sent_is_repeated_and_raises_no_error() -> None:
    scenario = SqsScenario("q")
    scenario.open()
    scenario.channel.connection.raises = OSError("no credentials")
    scenario.channel._schedule_queue("q")
    assert scenario.sqs.polls_in_flight() == 0
    scenario.channel.connection.raises = None
    scenario.channel.hub.run_due()
    assert len(scenario.requests) == 1


def test_a_detached_channel_starts_no_poll_and_returns_the_latest_end_of_its_poll() -> None:
    scenario = SqsScenario("q")
    scenario.open()
    scenario.channel._schedule_queue("q")
    assert scenario.sqs.detach() > 20 + 15
    scenario.channel._schedule_queue("q")
    assert not scenario.sqs.can_consume()


def test_unacknowledged_messages_are_those_delivered_and_not_yet_settled() -> None:
    scenario = SqsScenario("q")
    scenario.channel.qos._delivered.update({"1": None, "2": None})
    scenario.channel.qos._dirty.add("1")
    assert scenario.sqs.unacked() == 1


def test_the_blocking_receive_counts_as_a_poll() -> None:
    scenario = SqsScenario("q")
    seen = []
    scenario.sqs._receive_message = lambda **_: seen.append(scenario.sqs.polls_in_flight())
    scenario.channel._receive_message("q", 1)
    assert (seen, scenario.sqs.polls_in_flight()) == ([1], 0)


@pytest.mark.parametrize(
    ("in_poll", "is_open", "busy", "expected"),
    [
        pytest.param(False, True, 3, True, id="open with a free slot: BRPOP may begin"),
        pytest.param(False, True, 4, False, id="no free slot"),
        pytest.param(False, False, 0, False, id="closed"),
        pytest.param(True, False, 0, True, id="closed, but the answer to the BRPOP in flight is read"),
    ],
)
def test_the_redis_gate(*, in_poll: bool, is_open: bool, busy: int, expected: bool) -> None:
    scenario = RedisScenario(in_poll=in_poll, is_open=is_open, busy=busy)
    assert scenario.channel.qos.can_consume() is expected
    assert scenario.redis.polls_in_flight() == int(in_poll)


class FakeQos:
    """The part of kombu's QoS that the Redis gate uses. The next `failures` calls to the broker fail."""

    def __init__(self) -> None:
        self._delivered: dict[str, object] = {}
        self._dirty: set[str] = set()
        self.failures = 0
        self.calls: list[tuple[object, ...]] = []

    def can_consume(self) -> bool:
        return True

    def append(self, message: object, tag: str) -> None:
        self._call("append", tag)
        self._delivered[tag] = message

    def ack(self, tag: str) -> None:
        self._call("ack", tag)
        self._dirty.add(tag)

    def reject(self, tag: str, requeue: bool = False) -> None:
        self._call("reject", tag, requeue)
        self._dirty.add(tag)

    def restore_by_tag(self, tag: str, *, leftmost: bool) -> None:
        self._call("restore", tag, leftmost)

    def restore_unacked_once(self, _stderr: Any = None) -> None:
        for tag in set(self._delivered) - self._dirty:
            self._call("restore", tag)
        self._delivered.clear()

    def _remove_from_indices(self, tag: str) -> Any:
        return SimpleNamespace(execute=lambda: self._call("remove", tag))

    def _call(self, *words: object) -> None:
        if self.failures:
            self.failures -= 1
            raise OSError("the broker restarts")
        self.calls.append(words)


class RedisScenario:
    """Gates before the channels of consecutive connections, with four slots and a clock."""

    def __init__(self, *, in_poll: bool = False, is_open: bool = True, busy: int = 0) -> None:
        self.gate, self.now, self.pending_acks = Gate(), 0.0, PendingAcks()
        self.gate.set(GateState(1, 100.0 if is_open else None))
        self._slots = Slots(lambda: 4, lambda: busy)
        self.connect(in_poll=in_poll)

    def connect(self, *, in_poll: bool = False) -> None:
        self.qos: Any = FakeQos()
        self.callbacks = {"default": object(), "another channel's": object()}
        self.channel: Any = SimpleNamespace(
            qos=self.qos,
            _in_poll=in_poll,
            brpop_timeout=1,
            handlers={},
            _brpop_read=lambda: dict(self.callbacks),
            _active_queues=["default"],
            connection=SimpleNamespace(_callbacks=self.callbacks),
        )
        self.redis = RedisGate(
            self.channel, gate=self.gate, slots=self._slots, clock=lambda: self.now, pending_acks=self.pending_acks
        )

    def unacked_later(self) -> int:
        self.now += redis_gate.RETRY_S
        return self.redis.unacked()


@pytest.mark.parametrize(
    ("settle", "call"),
    [
        pytest.param(lambda qos: qos.ack("a"), ("remove", "a"), id="acknowledged"),
        pytest.param(lambda qos: qos.reject("a"), ("remove", "a"), id="rejected"),
        pytest.param(lambda qos: qos.reject("a", requeue=True), ("restore", "a", True), id="requeued"),
    ],
)
def test_a_failed_acknowledgement_is_retried_and_the_message_counts_until_then(
    settle: Callable[[Any], None], call: tuple[object, ...]
) -> None:
    scenario = RedisScenario()
    scenario.qos.append("message", "a")
    scenario.qos.failures = 3
    with pytest.raises(OSError, match="restarts"):
        settle(scenario.qos)
    assert [scenario.unacked_later(), scenario.unacked_later()] == [1, 1]
    assert scenario.unacked_later() == 0
    assert scenario.qos.calls == [("append", "a"), call]
    assert scenario.unacked_later() == 0
    assert len(scenario.qos.calls) == 2, "the broker received the call twice"


def test_pending_acknowledgements_are_retried_once_a_second_and_for_at_most_a_minute() -> None:
    scenario = RedisScenario()
    for tag in "ab":
        scenario.qos.append("message", tag)
    scenario.qos.failures = many = 1000
    with pytest.raises(OSError, match="restarts"):
        scenario.qos.ack("a")
    scenario.now = 3600.0  # the broker was away for an hour, without a snapshot
    for _ in range(8):
        assert scenario.redis.unacked() == 2
    assert many - scenario.qos.failures == 2, "more than one try a second"
    scenario.now += RETRY_FOR_S
    assert scenario.redis.unacked() == 1, "b was never acknowledged: its task may still run"


def test_a_received_message_that_cannot_be_recorded_returns_to_its_queue_on_the_next_connection() -> None:
    scenario = RedisScenario()
    scenario.qos.failures = 1
    with pytest.raises(OSError, match="restarts"):
        scenario.qos.append("message", "a")
    scenario.qos.restore_unacked_once()
    scenario.connect()
    assert scenario.unacked_later() == 0
    assert scenario.qos.calls == [("append", "a"), ("reject", "a", True)]


def test_messages_of_running_tasks_are_not_returned_with_a_lost_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scenario = RedisScenario()
    for tag in ("runs", "cancelled", "waits"):
        scenario.qos.append("message", tag)
    monkeypatch.setattr(
        "worker_agent.redis.worker_state.active_requests", [_request("runs"), _request("cancelled", cancels=True)]
    )
    old = scenario.qos
    old.restore_unacked_once()
    assert sorted(old.calls[3:]) == [("restore", "cancelled"), ("restore", "waits")]
    scenario.connect()
    old.ack("runs")
    assert scenario.redis.unacked() == 0
    assert scenario.qos.calls == [("remove", "runs")]


def test_a_worker_that_ends_returns_all_its_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    scenario = RedisScenario()
    scenario.qos.append("message", "runs")
    monkeypatch.setattr("worker_agent.redis.worker_state.active_requests", [_request("runs")])
    scenario.gate.seal()
    scenario.qos.restore_unacked_once()
    assert scenario.qos.calls[1:] == [("restore", "runs")]


def _request(tag: str, *, cancels: bool = False) -> Any:
    conf = SimpleNamespace(worker_cancel_long_running_tasks_on_connection_loss=cancels)
    task = SimpleNamespace(app=SimpleNamespace(conf=conf))
    return SimpleNamespace(message=SimpleNamespace(delivery_tag=tag), task=task)


def test_a_message_received_after_the_gate_is_sealed_has_no_callback() -> None:
    scenario = RedisScenario()
    assert "default" in scenario.channel.handlers["BRPOP"]()
    scenario.gate.seal()
    assert set(scenario.channel._brpop_read()) == {"another channel's"}


def test_a_new_gate_is_closed_and_a_sealed_one_keeps_its_generation() -> None:
    gate = Gate()
    assert (gate.state, gate.sealed) == (GateState(0, None), False)
    gate.set(GateState(3, 100.0))
    gate.seal()
    assert (gate.state, gate.sealed) == (GateState(3, None), True)


@pytest.mark.parametrize(("unfinished", "free"), [(0, 4), (3, 1), (4, 0), (9, 0)])
def test_free_slots_are_never_negative(unfinished: int, free: int) -> None:
    assert Slots(lambda: 4, lambda: unfinished).free() == free
