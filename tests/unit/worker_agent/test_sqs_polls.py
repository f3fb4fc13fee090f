# SPDX-License-Identifier: Apache-2.0
"""What each poll of the SQS gate requests, how it ends, and which queue polls next."""

from types import SimpleNamespace
from typing import Any

import pytest

from tests.unit.worker_agent.test_gates import FakeSqsConnection, SqsScenario
from worker_agent.sqs import _bounded_http


def options_of(scenario: SqsScenario, queue: str) -> dict[str, Any]:
    """Poll a queue; return what the connection gets, with its bounded HTTP client."""
    seen: dict[str, Any] = {}

    class RecordingConnection(FakeSqsConnection):
        def receive_message(self, name: str, url: str, **options: Any) -> None:
            seen.update(options, name=name, url=url, http=self.get_http_connection)

    scenario.channel.connection = RecordingConnection()
    scenario.channel._schedule_queue(queue)
    return seen


@pytest.mark.parametrize(
    ("queues", "wait_s"), [(("q",), 20), (("q", "other"), 1), (("q", "q"), 20)], ids=["one", "two", "the same twice"]
)
def test_a_poll_waits_20_s_for_a_message_or_1_s_if_queues_share_the_slots(queues: tuple[str, ...], wait_s: int) -> None:
    scenario = SqsScenario(*queues)
    scenario.open()
    scenario.now = 100.0
    seen = options_of(scenario, "q")
    assert seen["wait_time_seconds"] == wait_s
    assert (seen["name"], seen["url"]) == ("q", "q")
    assert seen["http"].args[1] == wait_s + 15.0, "the HTTP request is aborted 15 s after the wait time"
    assert seen["http"].args[0] is scenario.channel.connection
    assert scenario.sqs.detach() == 100.0 + wait_s + 16.0


def test_a_channel_without_polls_ends_at_once() -> None:
    scenario = SqsScenario("q")
    scenario.now = 100.0
    assert scenario.sqs.detach() == 100.0


def test_the_http_client_has_a_time_limit_in_milliseconds() -> None:
    set_options: list[tuple[object, int]] = []
    curl: Any = SimpleNamespace(TIMEOUT_MS="limit", setopt=lambda option, value: set_options.append((option, value)))
    http = SimpleNamespace(getrequest=lambda: SimpleNamespace(on_prepare=None))
    connection = type("Connection", (), {"get_http_connection": lambda _self: http})()
    request = _bounded_http(connection, 35.5).getrequest()
    request.on_prepare(curl)
    assert set_options == [("limit", 35500)]


@pytest.mark.parametrize(
    ("prefetch", "held", "estimate"),
    [
        pytest.param(0, 1, 4, id="no prefetch limit: the free slots"),
        pytest.param(3, 0, 3, id="the prefetch limit is below the free slots"),
        pytest.param(3, 2, 1, id="unacknowledged messages count against the prefetch limit"),
        pytest.param(9, 1, 4, id="the free slots are below the prefetch limit"),
    ],
)
def test_the_next_poll_takes_the_smaller_of_free_slots_and_prefetch(prefetch: int, held: int, estimate: int) -> None:
    scenario = SqsScenario("q", prefetch=prefetch)
    scenario.channel.qos._delivered.update({str(number): None for number in range(held)})
    scenario.sqs._polling = "q"
    assert scenario.channel.qos.can_consume_max_estimate() == estimate


def test_kombus_own_prefetch_limit_holds_too() -> None:
    scenario = SqsScenario("q")
    scenario.open()
    scenario.sqs._within_prefetch = lambda: False
    assert not scenario.channel.qos.can_consume()


def test_each_other_queue_without_a_poll_keeps_one_slot() -> None:
    scenario = SqsScenario("a", "b", "c")
    scenario.open()
    scenario.channel._schedule_queue("a")
    assert [count for _, count, _ in scenario.requests] == [2], "b and c keep one slot each"
    scenario.channel._schedule_queue("b")
    assert [count for _, count, _ in scenario.requests] == [2, 1]


def test_a_queue_that_was_empty_takes_one_message_until_it_has_some() -> None:
    scenario = SqsScenario("a", "b")
    scenario.open()
    scenario.channel._schedule_queue("a")
    scenario.answer()
    scenario.channel._schedule_queue("a")
    assert [count for _, count, _ in scenario.requests] == [3, 1], "its last answer had no message"

    def deliver(_: object) -> None:
        scenario.channel.qos._delivered["1"] = None

    scenario.answer()
    scenario.sqs._polling = "a"
    scenario.channel._get_from_sqs("a", "a", scenario.channel.connection, 1, callback=deliver)
    scenario.sqs._polling = None
    scenario.answer()
    scenario.channel._schedule_queue("a")
    assert [count for _, count, _ in scenario.requests][-1] == 3


def test_one_queue_that_was_empty_takes_all_free_slots() -> None:
    scenario = SqsScenario("q")
    scenario.open()
    for _ in range(2):
        scenario.channel._schedule_queue("q")
        scenario.answer()
    assert [count for _, count, _ in scenario.requests] == [4, 4]


def test_a_cancelled_queue_gives_up_its_place() -> None:
    scenario = SqsScenario("a", "b")
    scenario.busy = 4
    scenario.open()
    for queue in "ab":
        scenario.channel._schedule_queue(queue)
    scenario.channel._active_queues.remove("a")
    scenario.busy = 3
    scenario.channel.hub.run_due()
    assert [queue for queue, *_ in scenario.requests] == ["b"]
    assert scenario.sqs._waiting == {}
    scenario.channel._schedule_queue("a")
    assert len(scenario.channel.hub.later) == 0, "a cancelled queue has no polling loop"


def test_a_detached_channel_ends_its_polling_loops() -> None:
    scenario = SqsScenario("q")
    scenario.channel._schedule_queue("q")
    scenario.sqs.detach()
    scenario.open()
    scenario.channel.hub.run_due()
    assert (scenario.requests, scenario.channel.hub.later, scenario.sqs._waiting) == ([], [], {})


def test_a_waiting_queue_keeps_its_place_while_its_loop_is_started_again() -> None:
    scenario = SqsScenario("a", "b")
    scenario.busy = 4
    scenario.open()
    for queue in "aba":
        scenario.channel._schedule_queue(queue)
    assert list(scenario.sqs._waiting) == ["a", "b"]
    assert len(scenario.channel.hub.later) == 2, "one loop for each queue"
    scenario.channel.hub.run_due()
    assert list(scenario.sqs._waiting) == ["a", "b"]
    scenario.busy = 2
    scenario.channel.hub.run_due()
    assert [queue for queue, *_ in scenario.requests] == ["a", "b"]


@pytest.mark.parametrize(("wait", "ends"), [(None, 36.0), (5, 21.0), (0, 36.0)])
def test_the_blocking_receive_has_an_end_and_passes_its_arguments_on(wait: int | None, ends: float) -> None:
    scenario = SqsScenario("q")
    seen: list[Any] = []

    def receive(**options: Any) -> str:
        seen.append((options, scenario.sqs._polls["q"]))
        return "messages"

    scenario.sqs._receive_message = receive
    answer = scenario.channel._receive_message("q", max_number_of_messages=3, wait_time_seconds=wait)
    ((options, poll),) = seen
    assert answer == "messages"
    assert options == {"queue": "q", "max_number_of_messages": 3, "wait_time_seconds": wait}
    assert (poll.queue, poll.max_messages, poll.ends_by) == ("q", 3, ends)


def test_the_gate_keeps_the_channels_own_receive() -> None:
    scenario = SqsScenario("q")
    assert scenario.channel._receive_message("q") == "q"
    assert scenario.sqs.polls_in_flight() == 0


def test_every_argument_of_a_request_reaches_the_connection() -> None:
    scenario, seen = SqsScenario("q"), list[Any]()

    class RecordingConnection(FakeSqsConnection):
        def make_request(self, *arguments: Any, **options: Any) -> Any:
            seen.append((arguments, sorted(options)))
            assert options["protocol_params"] == {"json": 1}
            return "request"

        def receive_message(self, name: str, url: str, **options: Any) -> Any:
            return self.make_request("Receive", {"A": 1}, url, "POST", options["callback"], protocol_params={"json": 1})

    connection = RecordingConnection()
    assert scenario.channel._get_from_sqs("q", "url", connection, callback=lambda _: None) == "request"
    assert seen == [(("Receive", {"A": 1}, "url", "POST"), ["callback", "protocol_params"])]
    assert scenario.sqs._polls["q"].max_messages == 1


def test_an_error_while_messages_are_delivered_ends_the_poll_and_repeats_it() -> None:
    scenario = SqsScenario("q")
    scenario.open()

    def fail(_: object) -> None:
        raise KeyError("a message without a type")

    scenario.channel._get_from_sqs("q", "q", scenario.channel.connection, 1, callback=fail)
    with pytest.raises(KeyError):
        scenario.answer()
    assert scenario.sqs.polls_in_flight() == 0
    scenario.channel.hub.run_due()
    assert scenario.sqs.polls_in_flight() == 1


def test_a_queue_without_a_callback_is_no_error_after_sigterm() -> None:
    scenario = SqsScenario("q")
    scenario.open()
    scenario.channel.connection._callbacks = {}
    scenario.channel._schedule_queue("q")
    scenario.gate.seal()
    scenario.answer()
    assert scenario.sqs.polls_in_flight() == 0
