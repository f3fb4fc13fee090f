# SPDX-License-Identifier: Apache-2.0
"""The end of a Redis channel, and acknowledgements that reach the broker later."""

import pytest

from tests.unit.worker_agent.test_gates import RedisScenario
from worker_agent.gate import GateState
from worker_agent.redis import PendingAcks


@pytest.mark.parametrize(
    ("in_poll", "timeout", "ends"),
    [
        pytest.param(True, 1, 116.0, id="a BRPOP in flight ends 15 s after its time-out"),
        pytest.param(True, None, 115.0, id="without a time-out"),
        pytest.param(False, 1, 100.0, id="none in flight"),
    ],
)
def test_a_detached_redis_channel_returns_the_end_of_its_brpop(
    *, in_poll: bool, timeout: int | None, ends: float
) -> None:
    scenario = RedisScenario(in_poll=in_poll)
    scenario.now = 100.0
    scenario.gate.set(GateState(1, 1000.0))
    scenario.channel.brpop_timeout = timeout
    assert scenario.redis.detach() == ends
    assert scenario.redis.can_consume() is in_poll, "the answer in flight is still read"


def test_kombus_own_prefetch_limit_holds_on_redis_too() -> None:
    scenario = RedisScenario()
    scenario.redis._within_prefetch = lambda: False
    assert not scenario.redis.can_consume()


def test_a_message_acknowledged_at_the_second_try_of_celery_is_not_acknowledged_again() -> None:
    scenario = RedisScenario()
    scenario.qos.append("message", "a")
    scenario.qos.failures = 1
    with pytest.raises(OSError, match="restarts"):
        scenario.qos.ack("a")
    assert (scenario.qos._delivered, len(scenario.pending_acks)) == ({}, 1)
    scenario.qos.ack("a")
    assert (scenario.unacked_later(), scenario.qos.calls[1:]) == (0, [("ack", "a")])


def test_an_acknowledgement_of_an_unknown_message_that_fails_is_kept() -> None:
    scenario = RedisScenario()
    scenario.qos.failures = 1
    with pytest.raises(OSError, match="restarts"):
        scenario.qos.ack("unknown")
    assert scenario.redis.unacked() == 0


def test_the_stream_for_messages_reaches_kombus_restore() -> None:
    scenario, streams = RedisScenario(), list[object]()
    scenario.redis._restore = streams.append
    scenario.qos.restore_unacked_once("stderr")
    scenario.qos.restore_unacked_once()
    assert streams == ["stderr", None]


def test_the_options_of_a_read_reach_kombu() -> None:
    scenario = RedisScenario()
    scenario.redis._brpop_read = lambda **options: options
    scenario.gate.seal()
    scenario.channel._active_queues.append("without a callback")
    assert scenario.channel.handlers["BRPOP"](timeout=3) == {"timeout": 3}


def test_the_first_pending_acknowledgements_are_executed_at_once_and_then_once_a_second() -> None:
    acks, qos, sent = PendingAcks(), object(), list[object]()
    acks.add("a", sent.append)
    acks.flush(qos, 0.0)
    acks.add("b", sent.append)
    acks.flush(qos, 0.9)
    assert (sent, len(acks)) == ([qos], 1)
    acks.flush(qos, 1.0)
    assert (sent, len(acks)) == ([qos, qos], 0)
    acks.discard("unknown")


def test_an_acknowledgement_that_fails_for_a_minute_is_dropped_with_an_error(caplog: pytest.LogCaptureFixture) -> None:
    def fail(_: object) -> None:
        raise OSError("no such key")

    acks = PendingAcks()
    acks.add("a", fail)
    for now in (10.0, 69.9):
        acks.flush(None, now)
        assert len(acks) == 1
    acks.flush(None, 70.9)
    assert len(acks) == 0
    assert [record.levelname for record in caplog.records] == ["ERROR"]
