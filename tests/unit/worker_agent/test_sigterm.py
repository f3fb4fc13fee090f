# SPDX-License-Identifier: Apache-2.0
"""SIGTERM returns unstarted messages before Celery's handler runs."""

import signal
from collections.abc import Iterator

import pytest

from worker_agent.sigterm import SigtermHandler


class SigtermCalls:
    """Records the calls in order."""

    def __init__(self) -> None:
        self.now = 100.0
        self.names: list[str] = []
        self.celery_arguments: list[object] = []

    def close_gate(self) -> None:
        self.names.append("close gate")

    def cancel(self) -> None:
        self.names.append("cancel")

    def on_sigterm(self) -> None:
        self.names.append("on_sigterm")

    def celery(self, *arguments: object) -> None:
        self.celery_arguments = list(arguments)
        self.names.append("celery")


@pytest.fixture
def calls() -> SigtermCalls:
    return SigtermCalls()


@pytest.fixture
def handler(calls: SigtermCalls) -> Iterator[SigtermHandler]:
    before = signal.signal(signal.SIGTERM, calls.celery)
    handler = SigtermHandler(close_gate=calls.close_gate, clock=lambda: calls.now)
    handler.install()
    handler.consuming = True
    yield handler
    signal.signal(signal.SIGTERM, before)


def test_without_the_signal_no_call_is_made(handler: SigtermHandler, calls: SigtermCalls) -> None:
    handler.on_tick(0, calls.cancel)
    handler.on_loop_end()
    assert calls.names == []


def test_the_gate_closes_in_the_handler_and_celery_stops_when_no_poll_is_in_flight(
    handler: SigtermHandler, calls: SigtermCalls
) -> None:
    signal.raise_signal(signal.SIGTERM)
    assert calls.names == ["close gate"]
    handler.on_tick(2, calls.cancel)
    handler.on_tick(1, calls.cancel)
    assert calls.names == ["close gate", "cancel"], "Celery stopped with a poll in flight"
    handler.on_tick(0, calls.cancel)
    handler.on_tick(0, calls.cancel)
    assert calls.names == ["close gate", "cancel", "celery"]


def test_the_wait_for_a_poll_is_limited(handler: SigtermHandler, calls: SigtermCalls) -> None:
    signal.raise_signal(signal.SIGTERM)
    calls.now += 24.9
    handler.on_tick(1, calls.cancel)
    assert "celery" not in calls.names
    calls.now += 0.1
    handler.on_tick(1, calls.cancel)
    assert calls.names[-1] == "celery"


def test_without_an_event_loop_celery_stops_at_once(handler: SigtermHandler, calls: SigtermCalls) -> None:
    handler.consuming = False
    signal.raise_signal(signal.SIGTERM)
    assert calls.names == ["close gate", "celery"]


def test_a_lost_connection_during_the_shutdown_does_not_delay_it(handler: SigtermHandler, calls: SigtermCalls) -> None:
    signal.raise_signal(signal.SIGTERM)
    handler.on_tick(1, calls.cancel)
    handler.on_loop_end()
    assert calls.names == ["close gate", "cancel", "celery"]


def test_a_second_signal_calls_celery_once(handler: SigtermHandler, calls: SigtermCalls) -> None:
    signal.raise_signal(signal.SIGTERM)
    signal.raise_signal(signal.SIGTERM)
    handler.on_tick(0, calls.cancel)
    assert calls.names.count("celery") == 1


def test_celerys_handler_gets_the_arguments_of_a_signal_handler(handler: SigtermHandler, calls: SigtermCalls) -> None:
    signal.raise_signal(signal.SIGTERM)
    handler.on_tick(0, calls.cancel)
    assert calls.celery_arguments == [signal.SIGTERM, None]


def test_before_the_first_event_loop_celery_stops_at_once(calls: SigtermCalls) -> None:
    handler = SigtermHandler(close_gate=calls.close_gate, on_sigterm=calls.on_sigterm)
    handler._celery_handler = calls.celery
    handler.handle(signal.SIGTERM, None)
    assert calls.names == ["close gate", "on_sigterm", "celery"]


def test_after_the_event_loop_has_ended_celery_stops_at_once(handler: SigtermHandler, calls: SigtermCalls) -> None:
    handler.on_loop_end()
    signal.raise_signal(signal.SIGTERM)
    assert calls.names == ["close gate", "celery"]


def test_the_callback_is_called_at_the_first_signal_only(calls: SigtermCalls) -> None:
    handler = SigtermHandler(close_gate=calls.close_gate, on_sigterm=calls.on_sigterm)
    handler.consuming = True
    for _ in range(2):
        handler.handle(signal.SIGTERM, None)
    assert calls.names == ["close gate", "on_sigterm", "close gate"]


def test_without_a_handler_before_this_one_the_process_exits_with_143() -> None:
    handler = SigtermHandler(close_gate=lambda: None)
    with pytest.raises(SystemExit) as ended:
        handler.handle(signal.SIGTERM, None)
    assert ended.value.code == 143


@pytest.mark.parametrize(("polls", "seconds", "warnings"), [(2, 25.0, 1), (0, 25.0, 0), (0, 1.0, 0), (2, 1.0, 0)])
def test_polls_that_did_not_end_in_time_are_logged(
    handler: SigtermHandler,
    calls: SigtermCalls,
    caplog: pytest.LogCaptureFixture,
    polls: int,
    seconds: float,
    warnings: int,
) -> None:
    signal.raise_signal(signal.SIGTERM)
    calls.now += seconds
    handler.on_tick(polls, calls.cancel)
    assert len(caplog.records) == warnings
