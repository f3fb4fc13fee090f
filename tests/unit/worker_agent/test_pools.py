# SPDX-License-Identifier: Apache-2.0
"""Celery's pools: autoscaled, in threads, and in the event loop itself."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from celery import signals
from celery.concurrency.prefork import TaskPool as PreforkPool
from celery.concurrency.solo import TaskPool as SoloPool
from celery.worker import state
from kombu.common import QoS

from tests.support.fake_consumer import CountedRequest, connected, consumer_with, job
from worker_agent.consumer_state import concurrency, read_consumer_state

pytestmark = pytest.mark.usefixtures("clean_celery_state")


def autoscaled(*jobs: SimpleNamespace, maximum: int = 6) -> Any:
    """Return the consumer of a worker with --autoscale=6,4."""
    consumer = connected(*jobs)
    consumer.controller.autoscaler = SimpleNamespace(max_concurrency=maximum)
    return consumer


def test_an_autoscaled_worker_has_the_slots_of_its_maximum(attached: Any) -> None:
    consumer = autoscaled(job("a", accepted=True))
    attached.start(consumer)
    assert (concurrency(consumer), attached._channel_gate.slots.free()) == (6, 5)
    assert attached.take_snapshot(consumer).concurrency == 6, "the scaler counts these slots"
    consumer.controller.autoscaler.max_concurrency = 8  # `celery control autoscale 8 4`
    assert attached.take_snapshot(consumer).concurrency == 8


@pytest.mark.parametrize(
    ("scaled", "before", "multiplier", "after"),
    [
        pytest.param(True, 4, 1, 6, id="a connection after a loss: the processes at that time"),
        pytest.param(True, 4, 2, 12, id="with a prefetch multiplier"),
        pytest.param(True, 9, 1, 9, id="never lower"),
        pytest.param(True, 0, 0, 0, id="no limit"),
        pytest.param(False, 2, 1, 2, id="a pool of fixed size: Celery raises it itself"),
    ],
)
def test_a_connection_of_an_autoscaled_worker_allows_a_message_for_each_slot(
    attached: Any, scaled: bool, before: int, multiplier: int, after: int
) -> None:
    consumer = autoscaled() if scaled else connected()
    consumer.qos, consumer.prefetch_multiplier = QoS(print, before), multiplier
    attached.start(consumer)
    assert consumer.qos.value == after


class ChangingRequests:
    """A set of Celery that a thread changes during the first two iterations."""

    def __init__(self, *requests: CountedRequest) -> None:
        self.requests, self.changes = requests, 2

    def __iter__(self) -> Iterator[CountedRequest]:
        yield from self.requests
        if self.changes:
            self.changes -= 1
            raise RuntimeError("Set changed size during iteration")


def test_a_thread_may_change_the_tasks_while_they_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "active_requests", ChangingRequests(CountedRequest("a")))
    monkeypatch.setattr(state, "reserved_requests", ChangingRequests(CountedRequest("a"), CountedRequest("b")))
    work = read_consumer_state(consumer_with())
    assert (set(work.unfinished), set(work.running)) == ({"a", "b"}, {"a"})


@pytest.mark.parametrize(("pool", "posted"), [(SoloPool, 1), (PreforkPool, 0)], ids=["solo", "prefork"])
def test_a_task_in_the_event_loop_is_reported_at_its_start(
    attached: Any, monkeypatch: pytest.MonkeyPatch, pool: Any, posted: int
) -> None:
    prerun: Any = signals.task_prerun
    monkeypatch.setattr(prerun, "receivers", [])
    prerun.sender_receivers_cache.clear()
    consumer = connected()
    consumer.pool = pool.__new__(pool)
    consumer.pool.limit, consumer.pool._pool = 1, SimpleNamespace(_processes=1)
    for _ in range(2):  # two connections
        attached.start(consumer)
    request = CountedRequest("a", started=1.0)
    state.active_requests.add(request)
    prerun.send(sender=None, task_id="a")
    assert [snapshot.running for snapshot in attached.agent.posted] == [1] * posted
    assert attached.agent.follows == [False] * posted, "the next snapshot comes when the task has ended"
