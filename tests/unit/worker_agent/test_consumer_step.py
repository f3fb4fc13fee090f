# SPDX-License-Identifier: Apache-2.0
"""The numbers in a snapshot of Celery's consumer, also after a lost connection with running tasks."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery
from celery.worker import state
from celery.worker.request import Request

from tests.support.fake_consumer import CountedRequest, connected, consumer_with, job
from worker_agent import installation
from worker_agent.bootstep import TICK_S, ProtectionStep, gate_for
from worker_agent.consumer_state import concurrency, read_consumer_state, scheduled
from worker_agent.errors import UnsupportedTransportError
from worker_agent.gate import Gate, GateState, Slots
from worker_agent.state_machine import Phase, Snapshot, WorkerState
from worker_agent.wire import AgentReport


class OneChannel:
    """A channel gate with one poll in flight until `ends_at`."""

    def __init__(self, ends_at: float) -> None:
        self.ends_at = ends_at

    def polls_in_flight(self) -> int:
        return 1

    def unacked(self) -> int:
        return 0

    def detach(self) -> float:
        return self.ends_at


def held_request(name: str) -> Request:
    """Return a request of a task with an ETA."""
    message = SimpleNamespace(
        headers={"id": name, "task": "t"}, body=b"", content_type="application/json", content_encoding="utf-8",
        delivery_info={}, properties={},
    )  # fmt: skip
    app = Celery(set_as_current=False)
    return Request(message, app=app, task=app.task(name="t")(_no_callback), body=((), {}, {}), decoded=True)


pytestmark = pytest.mark.usefixtures("clean_celery_state")


def test_reserved_active_and_pool_jobs_are_one_set_of_tasks() -> None:
    reserved, active = CountedRequest("a"), CountedRequest("b", started=1.0)
    state.reserved_requests |= {reserved, active}
    state.active_requests.add(active)
    work = read_consumer_state(consumer_with(job("b", accepted=True), job("c", accepted=False)))
    assert (set(work.unfinished), set(work.running)) == ({"a", "b", "c"}, {"b"})
    assert work.longest_running_s is not None


def test_tasks_with_an_eta_are_scheduled_until_they_are_due(step: ProtectionStep) -> None:
    consumer = consumer_with()
    held = [held_request(name) for name in ("a", "b", "c")]
    entries = [consumer.timer.call_after(3600.0, print, (request,)) for request in held]
    consumer.timer.call_after(3600.0, print)
    assert scheduled(consumer) == {"a", "b", "c"}
    entries[0].cancel()
    state.reserved_requests |= {held[1]}  # due: Celery reserves it before it runs
    snapshot = step.take_snapshot(consumer)
    assert (snapshot.scheduled, snapshot.reserved) == (1, 1)


def test_a_poll_does_not_read_the_tasks_that_are_held() -> None:
    """The slots are read before every poll, in the consumer's thread: ten thousand held tasks would delay it."""
    consumer = consumer_with(job("a", accepted=True))
    consumer.timer = None
    assert read_consumer_state(consumer).unfinished == {"a"}


def test_a_snapshot_counts_scheduled_tasks(step: ProtectionStep) -> None:
    consumer = consumer_with()
    consumer.timer.call_after(3600.0, print, (held_request("a"),))
    snapshot = step.take_snapshot(consumer)
    assert (snapshot.scheduled, snapshot.reserved, snapshot.busy) == (1, 0, True)
    report = AgentReport("task/1", WorkerState(snapshot=replace(snapshot, unacked=1)), now=0.0, wall=0.0)
    assert [report.to_wire()[name] for name in ("scheduled", "reserved", "running")] == [1, 1, 0]


def test_running_tasks_count_after_celery_cleared_them_with_a_lost_connection() -> None:
    work = read_consumer_state(consumer_with(job("a", accepted=True)))  # reserved and active requests are empty
    assert (set(work.unfinished), set(work.running)) == ({"a"}, {"a"})


def test_polls_of_a_lost_connection_count_until_their_latest_end(step: ProtectionStep, monkeypatch: Any) -> None:
    now = [100.0]
    monkeypatch.setattr("worker_agent.bootstep.time.monotonic", lambda: now[0])
    step._channel_gate = OneChannel(ends_at=130.0)
    step.stop(None)
    step._channel_gate = OneChannel(ends_at=0.0)
    assert step.take_snapshot(consumer_with()).polls_in_flight == 2
    now[0] = 130.0
    assert step.take_snapshot(consumer_with()).polls_in_flight == 1


def test_a_snapshot_has_the_state_of_the_gate(step: ProtectionStep) -> None:
    step.gate.set(GateState(7, float("inf")))
    snapshot = step.take_snapshot(consumer_with())
    assert (snapshot.generation, snapshot.gate_open, snapshot.concurrency) == (7, True, 4)
    assert not snapshot.drainable, "without a gate before the channel a release is not safe"


def test_a_transport_without_a_gate_waits_for_protection_and_never_drains(
    step: ProtectionStep, monkeypatch: Any
) -> None:
    waited = []
    monkeypatch.setattr(step, "_wait_for_protection", lambda: waited.append(True))
    step.start(consumer_with(kind="amqp"))
    assert waited, "it would have consumed unprotected"
    assert [snapshot.drainable for snapshot in step.agent.started] == [False]  # type: ignore[attr-defined]


def test_a_consumer_that_stops_with_its_worker_closes_the_gate(step: ProtectionStep, monkeypatch: Any) -> None:
    step.stop(None)
    assert step.agent.terminated == 0, "a lost connection does not end the worker"  # type: ignore[attr-defined]
    monkeypatch.setattr(state, "should_stop", 0)
    step.stop(None)
    assert step.agent.terminated == 1  # type: ignore[attr-defined]


def _no_callback() -> None:
    pass


def test_outside_ecs_no_step_is_added(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ECS_AGENT_URI", raising=False)
    app = Celery("outside", set_as_current=False)
    installation._on_worker_init(_no_callback, SimpleNamespace(app=app))
    assert app.steps["consumer"] == set()


def test_a_worker_that_cannot_be_protected_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ECS_AGENT_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("WORKER_AGENT_PORT", "none")
    with pytest.raises(SystemExit):
        installation._on_worker_init(_no_callback, SimpleNamespace(app=Celery("wrong", set_as_current=False)))
    monkeypatch.delenv("WORKER_AGENT_PORT")
    with pytest.raises(SystemExit):
        installation._on_worker_init(_no_callback, None)


def test_a_connection_gets_a_gate_with_the_free_slots_of_its_consumer(attached: Any) -> None:
    consumer = connected(job("a", accepted=True))
    attached.start(consumer)
    gate = attached._channel_gate
    assert (gate.channel, gate.gate) == (consumer.task_consumer.channel, attached.gate)
    assert (gate.slots.concurrency(), gate.slots.unfinished(), gate.slots.free()) == (4, 1, 3)


def test_the_first_connection_starts_the_agent_and_every_one_starts_the_snapshots(attached: Any) -> None:
    first, second = connected(), connected()
    attached.start(first)
    attached.stop(first)
    attached.start(second)
    assert len(attached.agent.started) == 1
    assert attached.agent.started[0].drainable
    assert [consumer.timer.calls for consumer in (first, second)] == [
        [(0.25, attached._tick, (consumer,))] for consumer in (first, second)
    ]
    assert (first.timer.cancelled, second.timer.cancelled) == (1, 0)


def test_the_handler_of_sigterm_is_installed_once_and_follows_the_connections(attached: Any) -> None:
    consumer = connected()
    attached.start(consumer)
    handler = attached._sigterm
    assert handler.callbacks == {"close_gate": attached.agent.terminate, "on_sigterm": attached.on_sigterm}
    assert handler.consuming
    attached.stop(consumer)
    attached.start(connected())
    assert attached._sigterm is handler
    assert handler.calls == ["install", "loop end"]


def test_each_tick_posts_a_snapshot_and_continues_a_shutdown(attached: Any) -> None:
    consumer = connected()
    attached.start(consumer)
    attached._tick(consumer)
    assert [snapshot.polls_in_flight for snapshot in attached.agent.posted] == [3]
    assert attached._sigterm.calls[1:] == [(3, consumer.task_consumer.cancel)]


def test_a_tick_without_a_gate_posts_a_snapshot(step: ProtectionStep) -> None:
    step._tick(connected())
    assert len(step.agent.posted) == 1  # type: ignore[attr-defined]


def test_a_snapshot_has_every_number(attached: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker_agent.consumer_state.time.time", lambda: 1000.0)
    attached.gate.set(GateState(7, 100.1))
    consumer = connected(job("a", accepted=True), job("b", accepted=False))
    request = CountedRequest("a", started=990.0)
    state.active_requests.add(request)
    attached.start(consumer)
    expected = Snapshot(7, True, 3, 2, 1, 2, 4, longest_running_s=10.0, drainable=True)
    assert attached.take_snapshot(consumer) == expected
    attached.stop(consumer)
    after = attached.take_snapshot(consumer)
    assert (after.polls_in_flight, after.unacked, after.drainable) == (3, 0, False), "abandoned polls still count"


def test_without_a_gate_no_poll_and_no_message_is_counted(step: ProtectionStep) -> None:
    snapshot = step.take_snapshot(connected())
    assert (snapshot.polls_in_flight, snapshot.unacked) == (0, 0)


def test_a_transport_without_a_gate_waits_until_the_worker_is_protected(
    step: ProtectionStep, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    shutdowns: list[bool] = []
    monkeypatch.setattr("worker_agent.bootstep.time.sleep", slept.append)
    monkeypatch.setattr(state, "maybe_shutdown", lambda: shutdowns.append(True))
    step.agent.phases = [Phase.STARTING, Phase.REFUSED, Phase.CONSUMING]  # type: ignore[attr-defined]
    step.start(consumer_with(kind="amqp"))
    assert (slept, len(shutdowns)) == ([TICK_S, TICK_S], 2)


@pytest.mark.parametrize(
    ("kind", "hub", "words"),
    [
        pytest.param("amqp", object(), "'amqp' is not supported", id="another broker"),
        pytest.param("sqs", None, "'sqs' needs Celery's event loop", id="no event loop"),
    ],
)
def test_a_channel_that_cannot_have_a_gate_is_an_error(kind: str, hub: object, words: str) -> None:
    consumer = consumer_with(kind=kind)
    consumer.hub = hub
    with pytest.raises(UnsupportedTransportError, match=words):
        gate_for(consumer, Gate(), Slots(lambda: 1, lambda: 0))


@pytest.mark.parametrize("name", ["should_stop", "should_terminate"])
@pytest.mark.parametrize(("value", "terminated"), [(None, 0), (False, 0), (0, 1), (True, 1)])
def test_only_the_end_of_the_worker_closes_the_gate_for_good(
    step: ProtectionStep, monkeypatch: pytest.MonkeyPatch, name: str, value: Any, terminated: int
) -> None:
    monkeypatch.setattr(state, name, value)
    step.stop(None)
    assert step.agent.terminated == terminated  # type: ignore[attr-defined]


def test_the_step_runs_after_the_channel_exists_and_passes_its_arguments_on(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []
    monkeypatch.setattr(
        "worker_agent.bootstep.bootsteps.StartStopStep.__init__", lambda _self, *args, **kw: made.append((args, kw))
    )
    ProtectionStep("consumer", option=1)
    assert made == [(("consumer",), {"option": 1})]
    assert ProtectionStep.requires == ("celery.worker.consumer.tasks:Tasks",)
    ProtectionStep.on_sigterm()


def test_the_oldest_running_task_gives_the_longest_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker_agent.consumer_state.time.time", lambda: 1000.0)
    assert read_consumer_state(consumer_with()).longest_running_s is None
    requests = [CountedRequest("a", 990.0), CountedRequest("b", 995.0), CountedRequest("c")]
    state.active_requests |= set(requests)
    assert read_consumer_state(consumer_with()).longest_running_s == 10.0


def test_a_start_in_the_future_is_zero_seconds_ago(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker_agent.consumer_state.time.time", lambda: 1000.0)
    request = CountedRequest("a", 1500.0)
    state.active_requests.add(request)
    assert read_consumer_state(consumer_with()).longest_running_s == 0.0


def test_jobs_without_an_id_count_one_by_one() -> None:
    jobs = [SimpleNamespace(correlation_id=None, _accepted=False) for _ in range(2)]
    assert len(read_consumer_state(consumer_with(*jobs)).unfinished) == 2


def test_a_pool_without_a_cache_of_jobs_has_none() -> None:
    for pool in (SimpleNamespace(num_processes=1), SimpleNamespace(num_processes=1, _pool=SimpleNamespace(_cache=[1]))):
        assert read_consumer_state(SimpleNamespace(pool=pool)).unfinished == set()


@pytest.mark.parametrize(("processes", "expected"), [(4, 4), (None, 7), (0, 7)])
def test_the_concurrency_is_that_of_the_pool_or_the_configured_one(processes: int | None, expected: int) -> None:
    pool = SimpleNamespace(num_processes=processes)
    controller = SimpleNamespace(concurrency=7, autoscaler=None)
    assert concurrency(SimpleNamespace(pool=pool, controller=controller)) == expected
