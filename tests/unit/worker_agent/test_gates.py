# SPDX-License-Identifier: Apache-2.0
"""The gates on kombu's channels, with stand-ins for the channel and a loop that is turned by hand."""

from collections import OrderedDict
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from worker_agent import redis as redis_gate
from worker_agent.gate import Gate, Order, Slots
from worker_agent.redis import RETRY_FOR_S, Debts, RedisGate
from worker_agent.sqs import ERROR_RETRY_S, RETRY_S, SqsGate


class Hub:
    """Keeps what is to be called later."""

    def __init__(self) -> None:
        self.later: list[tuple[float, Callable[..., Any], tuple[Any, ...]]] = []

    def call_later(self, delay: float, callback: Callable[..., Any], *args: Any) -> None:
        self.later.append((delay, callback, args))

    def turn(self) -> None:
        due, self.later = self.later, []
        for _, callback, args in due:
            callback(*args)


class Connection:
    """An AsyncSQSConnection that answers when told."""

    requests: list[tuple[str, int, Callable[[Any], Any]]]

    def __init__(self) -> None:
        self.requests = []
        self.raises: Exception | None = None

    def get_http_connection(self) -> Any:
        raise AssertionError("not asked for here")

    def make_request(self, operation: str, params: Any, url: str, verb: str, **how: Any) -> None:
        self.requests.append((url, params["MaxNumberOfMessages"], how["callback"]))

    def receive_message(
        self, name: str, url: str, *, number_messages: int, wait_time_seconds: int, callback: Any
    ) -> None:
        if self.raises:
            raise self.raises
        params = {"MaxNumberOfMessages": number_messages, "WaitTimeSeconds": wait_time_seconds}
        self.make_request("ReceiveMessage", params, url, "POST", callback=callback)


class Channel:
    """What the gate needs of kombu's SQS channel, and kombu's own loop in short."""

    wait_time_seconds = 20

    def __init__(self, *queues: str, prefetch: int = 0) -> None:
        self.hub = Hub()
        self.qos = SimpleNamespace(
            _delivered=OrderedDict(), _dirty=set(), prefetch_count=prefetch, can_consume=lambda: True
        )
        self._active_queues = list(queues)
        self.connection = Connection()

    def _schedule_queue(self, queue: str) -> None:
        count = min(max(self.qos.can_consume_max_estimate(), 1), 10)
        self._get_from_sqs(queue, queue, self.connection, count, callback=lambda _: None)  # type: ignore[attr-defined]

    def _receive_message(self, queue: str, **_: Any) -> str:
        return queue


class Scene:
    """One gate before one channel, four slots, a clock."""

    def __init__(self, *queues: str, prefetch: int = 0) -> None:
        self.now = 0.0
        self.busy = 0
        self.gate = Gate()
        self.channel: Any = Channel(*queues, prefetch=prefetch)
        slots = Slots(lambda: 4, lambda: self.busy)
        self.sqs = SqsGate(self.channel, gate=self.gate, slots=slots, clock=lambda: self.now)

    def open(self, until: float = 1000.0) -> None:
        self.gate.set(Order(1, until))

    @property
    def requests(self) -> list[tuple[str, int, Callable[[Any], Any]]]:
        return list(self.channel.connection.requests)

    def answer(self, index: int = -1, status: int = 200) -> None:
        self.requests[index][2](SimpleNamespace(status=status))


def test_a_shut_gate_begins_nothing_and_looks_again_without_spinning() -> None:
    scene = Scene("q")
    scene.channel._schedule_queue("q")
    assert (scene.requests, scene.sqs.polls_in_flight()) == ([], 0)
    assert [delay for delay, *_ in scene.channel.hub.later] == [RETRY_S]
    scene.open()
    scene.channel.hub.turn()
    assert scene.sqs.polls_in_flight() == 1


def test_an_open_gate_shuts_by_itself_when_the_protection_ends() -> None:
    scene = Scene("q")
    scene.open(until=10.0)
    assert scene.sqs.can_consume()
    scene.now = 10.0
    assert not scene.sqs.can_consume()


def test_a_sealed_gate_stays_shut_whatever_is_ordered() -> None:
    scene = Scene("q")
    scene.gate.seal()
    scene.open()
    assert not scene.sqs.can_consume()


def test_polling_loops_started_again_and_again_stay_one_poll() -> None:
    scene = Scene("q")
    for _ in range(5):
        scene.channel._schedule_queue("q")
    scene.open()
    for _ in range(5):
        scene.channel.hub.turn()
        scene.channel._schedule_queue("q")
    assert len(scene.requests) == 1


@pytest.mark.parametrize(("busy", "asked"), [(0, [4]), (3, [1]), (4, []), (9, [])])
def test_no_more_is_asked_for_than_slots_are_free(busy: int, asked: list[int]) -> None:
    scene = Scene("q")
    scene.open()
    scene.busy = busy
    scene.channel._schedule_queue("q")
    assert [count for _, count, _ in scene.requests] == asked


def test_the_polls_of_several_queues_never_ask_for_more_than_is_free_together() -> None:
    scene = Scene("a", "b", "c")
    scene.open()
    for queue in "abc":
        scene.channel._schedule_queue(queue)
    assert sum(count for _, count, _ in scene.requests) <= 4
    assert len(scene.requests) == 3


def test_the_queue_that_waited_longest_gets_the_slot() -> None:
    scene = Scene("a", "b")
    scene.open()
    scene.busy = 4
    scene.channel._schedule_queue("b")
    scene.busy = 3
    scene.channel._schedule_queue("a")
    assert scene.requests == [], "a came later and must not overtake b"
    scene.channel.hub.turn()
    assert [queue for queue, *_ in scene.requests] == ["b"]


def test_a_poll_is_in_flight_until_it_is_answered() -> None:
    scene = Scene("q")
    scene.open()
    scene.channel._schedule_queue("q")
    scene.gate.set(Order(2, None))
    assert scene.sqs.polls_in_flight() == 1
    scene.answer()
    assert scene.sqs.polls_in_flight() == 0


@pytest.mark.parametrize("status", [400, 403, 503, 599])
def test_an_answer_that_is_an_error_is_tried_again(status: int) -> None:
    scene = Scene("q")
    scene.open()
    scene.channel._schedule_queue("q")
    scene.answer(status=status)
    assert scene.sqs.polls_in_flight() == 0
    assert [delay for delay, *_ in scene.channel.hub.later] == [ERROR_RETRY_S]
    scene.channel.hub.turn()
    assert len(scene.requests) == 2


def test_a_request_that_cannot_be_sent_is_tried_again_and_raises_nothing() -> None:
    scene = Scene("q")
    scene.open()
    scene.channel.connection.raises = OSError("no credentials")
    scene.channel._schedule_queue("q")
    assert scene.sqs.polls_in_flight() == 0
    scene.channel.connection.raises = None
    scene.channel.hub.turn()
    assert len(scene.requests) == 1


def test_a_channel_let_go_begins_nothing_and_says_until_when_its_poll_may_take_messages() -> None:
    scene = Scene("q")
    scene.open()
    scene.channel._schedule_queue("q")
    assert scene.sqs.detach() > 20 + 15
    scene.channel._schedule_queue("q")
    assert not scene.sqs.can_consume()


def test_unacknowledged_is_delivered_and_not_yet_settled() -> None:
    scene = Scene("q")
    scene.channel.qos._delivered.update({"1": None, "2": None})
    scene.channel.qos._dirty.add("1")
    assert scene.sqs.unacked() == 1


def test_the_blocking_receive_counts_as_a_poll() -> None:
    scene = Scene("q")
    seen = []
    scene.sqs._receive_message = lambda **_: seen.append(scene.sqs.polls_in_flight())
    scene.channel._receive_message("q", 1)
    assert (seen, scene.sqs.polls_in_flight()) == ([1], 0)


@pytest.mark.parametrize(
    ("in_poll", "is_open", "busy", "expected"),
    [
        pytest.param(False, True, 3, True, id="open with a free slot: BRPOP may begin"),
        pytest.param(False, True, 4, False, id="no free slot"),
        pytest.param(False, False, 0, False, id="shut"),
        pytest.param(True, False, 0, True, id="shut, but the reply to the BRPOP in flight is read"),
    ],
)
def test_the_redis_gate(*, in_poll: bool, is_open: bool, busy: int, expected: bool) -> None:
    scene = RedisScene(in_poll=in_poll, is_open=is_open, busy=busy)
    assert scene.channel.qos.can_consume() is expected
    assert scene.redis.polls_in_flight() == int(in_poll)


class Qos:
    """What the Redis gate needs of kombu's QoS; the broker fails as often as `failures` says."""

    def __init__(self) -> None:
        self._delivered: dict[str, object] = {}
        self._dirty: set[str] = set()
        self.failures = 0
        self.told: list[tuple[object, ...]] = []

    def can_consume(self) -> bool:
        return True

    def append(self, message: object, tag: str) -> None:
        self._tell("append", tag)
        self._delivered[tag] = message

    def ack(self, tag: str) -> None:
        self._tell("ack", tag)
        self._dirty.add(tag)

    def reject(self, tag: str, requeue: bool = False) -> None:
        self._tell("reject", tag, requeue)
        self._dirty.add(tag)

    def restore_by_tag(self, tag: str, *, leftmost: bool) -> None:
        self._tell("restore", tag, leftmost)

    def restore_unacked_once(self, _stderr: Any = None) -> None:
        for tag in set(self._delivered) - self._dirty:
            self._tell("restore", tag)
        self._delivered.clear()

    def _remove_from_indices(self, tag: str) -> Any:
        return SimpleNamespace(execute=lambda: self._tell("remove", tag))

    def _tell(self, *words: object) -> None:
        if self.failures:
            self.failures -= 1
            raise OSError("the broker restarts")
        self.told.append(words)


class RedisScene:
    """Gates before the channels of one connection after the other; four slots, a clock."""

    def __init__(self, *, in_poll: bool = False, is_open: bool = True, busy: int = 0) -> None:
        self.gate, self.now, self.debts = Gate(), 0.0, Debts()
        self.gate.set(Order(1, 100.0 if is_open else None))
        self._slots = Slots(lambda: 4, lambda: busy)
        self.connect(in_poll=in_poll)

    def connect(self, *, in_poll: bool = False) -> None:
        self.qos: Any = Qos()
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
            self.channel, gate=self.gate, slots=self._slots, clock=lambda: self.now, debts=self.debts
        )

    def held(self) -> int:
        self.now += redis_gate.RETRY_S
        return self.redis.unacked()


@pytest.mark.parametrize(
    ("settle", "told"),
    [
        pytest.param(lambda qos: qos.ack("a"), ("remove", "a"), id="acknowledged"),
        pytest.param(lambda qos: qos.reject("a"), ("remove", "a"), id="rejected"),
        pytest.param(lambda qos: qos.reject("a", requeue=True), ("restore", "a", True), id="given back"),
    ],
)
def test_what_the_broker_could_not_be_told_is_told_later_and_the_message_is_held_until_then(
    settle: Callable[[Any], None], told: tuple[object, ...]
) -> None:
    scene = RedisScene()
    scene.qos.append("message", "a")
    scene.qos.failures = 3
    with pytest.raises(OSError, match="restarts"):
        settle(scene.qos)
    assert [scene.held(), scene.held()] == [1, 1]
    assert scene.held() == 0
    assert scene.qos.told == [("append", "a"), told]
    assert scene.held() == 0
    assert len(scene.qos.told) == 2, "the broker was told twice"


def test_what_is_owed_is_tried_once_a_second_and_after_a_minute_on_a_working_connection_no_longer_holds_a_drain() -> (
    None
):
    scene = RedisScene()
    for tag in "ab":
        scene.qos.append("message", tag)
    scene.qos.failures = many = 1000
    with pytest.raises(OSError, match="restarts"):
        scene.qos.ack("a")
    scene.now = 3600.0  # nobody looked: the broker was away for an hour
    for _ in range(8):
        assert scene.redis.unacked() == 2
    assert many - scene.qos.failures == 2, "it was tried more often than once a second"
    scene.now += RETRY_FOR_S
    assert scene.redis.unacked() == 1, "b was never acknowledged: its task may still run"


def test_a_popped_message_that_cannot_be_noted_goes_back_to_its_queue_on_the_next_connection() -> None:
    scene = RedisScene()
    scene.qos.failures = 1
    with pytest.raises(OSError, match="restarts"):
        scene.qos.append("message", "a")
    scene.qos.restore_unacked_once()
    scene.connect()
    assert scene.held() == 0
    assert scene.qos.told == [("append", "a"), ("reject", "a", True)]


def test_the_messages_of_tasks_that_run_on_are_not_given_back_with_the_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scene = RedisScene()
    for tag in ("runs", "cancelled", "waits"):
        scene.qos.append("message", tag)
    monkeypatch.setattr(
        "worker_agent.redis.worker_state.active_requests", [_request("runs"), _request("cancelled", cancels=True)]
    )
    old = scene.qos
    old.restore_unacked_once()
    assert sorted(old.told[3:]) == [("restore", "cancelled"), ("restore", "waits")]
    scene.connect()
    old.ack("runs")
    assert scene.redis.unacked() == 0
    assert scene.qos.told == [("remove", "runs")]


def test_at_the_end_of_the_worker_everything_that_is_held_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = RedisScene()
    scene.qos.append("message", "runs")
    monkeypatch.setattr("worker_agent.redis.worker_state.active_requests", [_request("runs")])
    scene.gate.seal()
    scene.qos.restore_unacked_once()
    assert scene.qos.told[1:] == [("restore", "runs")]


def _request(tag: str, *, cancels: bool = False) -> Any:
    conf = SimpleNamespace(worker_cancel_long_running_tasks_on_connection_loss=cancels)
    task = SimpleNamespace(app=SimpleNamespace(conf=conf))
    return SimpleNamespace(message=SimpleNamespace(delivery_tag=tag), task=task)


def test_behind_a_sealed_gate_a_popped_message_finds_no_consumer() -> None:
    scene = RedisScene()
    assert "default" in scene.channel.handlers["BRPOP"]()
    scene.gate.seal()
    assert set(scene.channel._brpop_read()) == {"another channel's"}
