# SPDX-License-Identifier: Apache-2.0
"""The gates on kombu's channels, with stand-ins for the channel and a loop that is turned by hand."""

from collections import OrderedDict
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from worker_agent.gate import Gate, Order, Slots
from worker_agent.redis import RedisGate
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
    gate = Gate()
    gate.set(Order(1, 100.0 if is_open else None))
    qos = SimpleNamespace(_delivered=OrderedDict(), _dirty=set(), can_consume=lambda: True)
    channel = SimpleNamespace(qos=qos, _in_poll=in_poll, brpop_timeout=1)
    redis = RedisGate(channel, gate=gate, slots=Slots(lambda: 4, lambda: busy), clock=lambda: 0.0)
    assert channel.qos.can_consume() is expected
    assert redis.polls_in_flight() == int(in_poll)
