# SPDX-License-Identifier: Apache-2.0
"""A consumer of Celery and the parts around the agent's step, as fakes."""

from types import SimpleNamespace
from typing import Any

from kombu.asynchronous.timer import Timer
from kombu.common import QoS

from worker_agent.gate import Gate, Slots
from worker_agent.state_machine import Phase, Snapshot


class CountedRequest:
    """The counted part of a Celery request."""

    def __init__(self, name: str, started: float | None = None) -> None:
        self.id = name
        self.time_start = started


class FakeAgent:
    """Records its calls."""

    def __init__(self) -> None:
        self.started: list[Snapshot] = []
        self.posted: list[Snapshot] = []
        self.follows: list[bool] = []
        self.terminated = 0
        self.phases: list[Phase] = []

    def post_snapshot(self, snapshot: Snapshot, *, follows: bool = True) -> None:
        self.posted.append(snapshot)
        self.follows.append(follows)

    def report(self) -> Any:
        return SimpleNamespace(state=SimpleNamespace(phase=self.phases.pop(0)))

    def start(self, first: Snapshot) -> None:
        self.started.append(first)

    def terminate(self) -> None:
        self.terminated += 1


class FakeTimer:
    """Records the repeated calls and their ends."""

    def __init__(self) -> None:
        self.calls: list[tuple[float, Any, tuple[Any, ...]]] = []
        self.cancelled = 0
        self.schedule = Timer()

    def call_repeatedly(self, seconds: float, call: Any, arguments: tuple[Any, ...]) -> Any:
        self.calls.append((seconds, call, arguments))
        return self

    def cancel(self) -> None:
        self.cancelled += 1


class FakeGate:
    """The gate of a channel: three polls in flight, two unacknowledged messages."""

    def __init__(self, channel: Any, *, gate: Gate, slots: Slots) -> None:
        self.channel, self.gate, self.slots = channel, gate, slots

    def polls_in_flight(self) -> int:
        return 3

    def unacked(self) -> int:
        return 2

    def detach(self) -> float:
        return 130.0


class FakeSigterm:
    """Records how the step uses the handler of SIGTERM."""

    def __init__(self, **callbacks: Any) -> None:
        self.callbacks = callbacks
        self.calls: list[Any] = []
        self.consuming = False

    def install(self) -> None:
        self.calls.append("install")

    def on_loop_end(self) -> None:
        self.calls.append("loop end")

    def on_tick(self, polls: int, cancel: Any) -> None:
        self.calls.append((polls, cancel))


def job(name: str, *, accepted: bool) -> SimpleNamespace:
    return SimpleNamespace(correlation_id=name, _accepted=accepted)


def consumer_with(*jobs: SimpleNamespace, kind: str = "sqs") -> Any:
    pool = SimpleNamespace(num_processes=4, _pool=SimpleNamespace(_cache=dict(enumerate(jobs))))
    connection = SimpleNamespace(transport=SimpleNamespace(driver_type=kind))
    return SimpleNamespace(
        pool=pool,
        connection=connection,
        controller=SimpleNamespace(autoscaler=None),
        hub=object(),
        timer=Timer(),
        qos=QoS(print, 4),
        prefetch_multiplier=1,
    )


def connected(*jobs: SimpleNamespace) -> Any:
    consumer = consumer_with(*jobs)
    consumer.timer = FakeTimer()
    consumer.task_consumer = SimpleNamespace(channel=object(), cancel=lambda: None)
    return consumer
