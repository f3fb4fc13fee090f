# SPDX-License-Identifier: Apache-2.0
"""SIGTERM gives back what has not begun before Celery hears of it."""

import signal
from collections.abc import Iterator

import pytest

from worker_agent.sigterm import LONGEST_WAIT_S, Leaving


class Told:
    """Keeps in order what was done."""

    def __init__(self) -> None:
        self.now = 100.0
        self.done: list[str] = []

    def seal(self) -> None:
        self.done.append("seal")

    def cancel(self) -> None:
        self.done.append("cancel")

    def celery(self, *_: object) -> None:
        self.done.append("celery")


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def leaving(told: Told) -> Iterator[Leaving]:
    before = signal.signal(signal.SIGTERM, told.celery)
    leaving = Leaving(seal=told.seal, clock=lambda: told.now)
    leaving.install()
    leaving.consuming = True
    yield leaving
    signal.signal(signal.SIGTERM, before)


def test_nothing_happens_without_the_signal(leaving: Leaving, told: Told) -> None:
    leaving.look(0, told.cancel)
    leaving.stop_looking()
    assert told.done == []


def test_the_gate_is_shut_in_the_handler_and_celery_hears_when_no_poll_is_open(leaving: Leaving, told: Told) -> None:
    signal.raise_signal(signal.SIGTERM)
    assert told.done == ["seal"]
    leaving.look(2, told.cancel)
    leaving.look(1, told.cancel)
    assert told.done == ["seal", "cancel"], "Celery was told to stop while a poll was open"
    leaving.look(0, told.cancel)
    leaving.look(0, told.cancel)
    assert told.done == ["seal", "cancel", "celery"]


def test_a_poll_that_does_not_end_is_not_waited_for_without_end(leaving: Leaving, told: Told) -> None:
    signal.raise_signal(signal.SIGTERM)
    told.now += LONGEST_WAIT_S - 0.1
    leaving.look(1, told.cancel)
    assert "celery" not in told.done
    told.now += 0.1
    leaving.look(1, told.cancel)
    assert told.done[-1] == "celery"


def test_without_an_event_loop_celery_hears_at_once(leaving: Leaving, told: Told) -> None:
    leaving.consuming = False
    signal.raise_signal(signal.SIGTERM)
    assert told.done == ["seal", "celery"]


def test_a_connection_that_breaks_while_leaving_does_not_keep_the_worker(leaving: Leaving, told: Told) -> None:
    signal.raise_signal(signal.SIGTERM)
    leaving.look(1, told.cancel)
    leaving.stop_looking()
    assert told.done == ["seal", "cancel", "celery"]


def test_a_second_signal_tells_celery_nothing_twice(leaving: Leaving, told: Told) -> None:
    signal.raise_signal(signal.SIGTERM)
    signal.raise_signal(signal.SIGTERM)
    leaving.look(0, told.cancel)
    assert told.done.count("celery") == 1
