# SPDX-License-Identifier: Apache-2.0
"""The numbers in a snapshot of Celery's consumer, also after a lost connection with running tasks."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery
from celery.worker import state

from worker_agent import installation
from worker_agent.bootstep import ProtectionStep
from worker_agent.consumer_state import read_consumer_state
from worker_agent.gate import Gate, GateState
from worker_agent.state_machine import Snapshot


class CountedRequest:
    """The counted part of a Celery request."""

    def __init__(self, name: str, started: float | None = None) -> None:
        self.id = name
        self.time_start = started


class FakeAgent:
    """Records its calls."""

    def __init__(self) -> None:
        self.started: list[Snapshot] = []
        self.terminated = 0

    def start(self, first: Snapshot) -> None:
        self.started.append(first)

    def terminate(self) -> None:
        self.terminated += 1


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


def job(name: str, *, accepted: bool) -> SimpleNamespace:
    return SimpleNamespace(correlation_id=name, _accepted=accepted)


def consumer_with(*jobs: SimpleNamespace, kind: str = "sqs") -> Any:
    pool = SimpleNamespace(num_processes=4, _pool=SimpleNamespace(_cache=dict(enumerate(jobs))))
    connection = SimpleNamespace(transport=SimpleNamespace(driver_type=kind))
    return SimpleNamespace(pool=pool, connection=connection, hub=object())


@pytest.fixture(autouse=True)
def clean_celery_state() -> Iterator[None]:
    state.reset_state()
    yield
    state.reset_state()


@pytest.fixture
def step() -> ProtectionStep:
    step = ProtectionStep(None)
    step.agent, step.gate = FakeAgent(), Gate()  # type: ignore[assignment]
    return step


def test_reserved_active_and_pool_jobs_are_one_set_of_tasks() -> None:
    reserved, active = CountedRequest("a"), CountedRequest("b", started=1.0)
    state.reserved_requests |= {reserved, active}
    state.active_requests.add(active)
    work = read_consumer_state(consumer_with(job("b", accepted=True), job("c", accepted=False)))
    assert (set(work.unfinished), set(work.running)) == ({"a", "b", "c"}, {"b"})
    assert work.longest_running_s is not None


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
