# SPDX-License-Identifier: Apache-2.0
"""Tasks whose message the broker has lost: what counts as lost, and what does not."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from openmwaa_runtime.lost_messages import (
    EMPTY_FOR_S,
    KNOWN_GAP_S,
    EmptyQueues,
    lost,
    messages_in_redis,
    messages_in_sqs,
)

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
EVERY_S = 30.0


class Queue:
    """A queue `default` that is read every 30 s; an error is a reading that fails."""

    def __init__(self, *readings: int | Exception, every_s: float = EVERY_S) -> None:
        self.now = 0.0
        self._readings = list(readings)
        self._every_s = every_s

    def read(self, _name: str) -> int:
        reading = self._readings.pop(0)
        if isinstance(reading, Exception):
            raise reading
        return reading

    def empty_for(self) -> float | None:
        """Read it until the last reading; return for how long it is known to be empty."""
        queues = EmptyQueues(self.read, clock=lambda: self.now)
        found = None
        while self._readings:
            found = queues.empty_for(["default"]).get("default")
            self.now += self._every_s
        return found


UNKNOWN = TimeoutError("no answer")


@pytest.mark.parametrize(
    ("readings", "empty_s"),
    [
        pytest.param([0] * 5, EMPTY_FOR_S, id="empty for two minutes"),
        pytest.param([0] * 7, EMPTY_FOR_S + 60, id="empty for longer"),
        pytest.param([0] * 4, None, id="not yet"),
        pytest.param([0, 0, 1, 0, 0, 0], None, id="a message came"),
        pytest.param([0, 0, UNKNOWN, 0, 0, 0], None, id="a reading failed"),
        pytest.param([0] * 5 + [1], None, id="no longer empty"),
        pytest.param([0] * 5 + [UNKNOWN], None, id="unknown now"),
        pytest.param([UNKNOWN] * 9, None, id="never known"),
    ],
)
def test_a_queue_is_empty_only_if_every_reading_of_two_minutes_was_zero(
    readings: list[int | Exception], empty_s: float | None
) -> None:
    assert Queue(*readings).empty_for() == empty_s


def test_a_pause_between_two_readings_starts_again() -> None:
    assert Queue(0, 0, 0, every_s=KNOWN_GAP_S).empty_for() is not None
    assert Queue(0, 0, 0, every_s=KNOWN_GAP_S + 1).empty_for() is None


def test_a_queue_without_waiting_tasks_starts_again() -> None:
    now = 0.0
    queues = EmptyQueues(lambda _: 0, clock=lambda: now)
    queues.empty_for(["default"])
    now = EMPTY_FOR_S
    queues.empty_for([])
    now += 1
    assert queues.empty_for(["default"]) == {}


def test_messages_in_every_state_count() -> None:
    names = ("", "NotVisible", "Delayed")
    asked: list[dict[str, Any]] = []

    def answer(**request: Any) -> dict[str, Any]:
        asked.append(request)
        return {"Attributes": {f"ApproximateNumberOfMessages{name}": "1" for name in names}}

    assert messages_in_sqs(SimpleNamespace(get_queue_attributes=answer), {"default": "url"})("default") == 3
    assert asked[0]["QueueUrl"] == "url"


def test_an_incomplete_answer_is_unknown() -> None:
    sqs = SimpleNamespace(get_queue_attributes=lambda **_: {"Attributes": {"ApproximateNumberOfMessages": "0"}})
    with pytest.raises(KeyError):
        messages_in_sqs(sqs, {"default": "url"})("default")


def test_only_a_task_that_was_queued_before_its_queue_was_empty_is_lost() -> None:
    def task(queue: str, age_s: float) -> Any:
        return SimpleNamespace(queue=queue, queued_dttm=NOW - timedelta(seconds=age_s))

    old, new, other = task("default", 121), task("default", 119), task("other", 9999)
    assert lost([old, new, other], {"default": 120.0}, NOW) == [old]


@pytest.mark.parametrize(
    ("lists", "unacked", "messages"),
    [
        pytest.param({}, 0, 0, id="none"),
        pytest.param({"default": 2}, 0, 2, id="waiting"),
        pytest.param({"default\x06\x163": 1, "default\x06\x169": 1}, 0, 2, id="waiting with a priority"),
        pytest.param({"other": 5}, 0, 0, id="in another queue"),
        pytest.param({}, 3, 3, id="in flight, of any queue"),
    ],
)
def test_messages_in_redis(lists: dict[str, int], unacked: int, messages: int) -> None:
    hashes = {"unacked": unacked}
    redis = SimpleNamespace(llen=lambda name: lists.get(name, 0), hlen=hashes.__getitem__)
    assert messages_in_redis(redis)("default") == messages
