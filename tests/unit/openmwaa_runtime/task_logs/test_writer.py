# SPDX-License-Identifier: Apache-2.0
"""The writer of task logs, in virtual time: no line is lost unsaid, and no task waits."""

import json
import random
import threading
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openmwaa_runtime.task_logs.lines import Line, masker
from openmwaa_runtime.task_logs.writer import BACKOFF_MAX_S, FIRST_S, LINE_OVERHEAD, LogWriter
from tests.support.fake_log_destination import LIMITS, FakeDestination, VirtualWriter


def numbered(count: int, start: int = 0) -> list[str]:
    return [f"line {number}" for number in range(start, start + count)]


def test_the_first_line_is_sent_at_once_and_then_one_request_a_second() -> None:
    virtual = VirtualWriter()
    for _ in range(30):
        virtual.write("a", "line")
        virtual.run(0.1)
    times = [time - 1000 for time, _, _ in virtual.destination.requests]
    assert times == pytest.approx([FIRST_S, FIRST_S + 1, FIRST_S + 2])


def test_20_000_lines_in_4_seconds_are_kept_in_order() -> None:
    virtual = VirtualWriter()
    lines = numbered(20_000)
    for start in range(0, 20_000, 50):
        virtual.write("a", *lines[start : start + 50])
        virtual.run(0.01)
    virtual.finish("a")
    virtual.run(60)
    assert virtual.destination.kept == {"a": lines}


def test_a_full_request_does_not_wait_for_the_interval() -> None:
    virtual = VirtualWriter()
    virtual.write("a", "first")
    virtual.run(FIRST_S)
    virtual.write("a", *["x" * 900] * 4)
    virtual.run(0.0)
    assert len(virtual.destination.requests) == 2


def test_a_finished_log_is_sent_at_once_and_forgotten() -> None:
    virtual = VirtualWriter()
    virtual.write("a", "line")
    assert not virtual.finish("a")
    virtual.run(0.0)
    assert virtual.destination.kept == {"a": ["line"]}
    assert virtual.writer.step() is None, "the log is still open"
    assert virtual.finish("a")


def test_an_outage_delays_lines_and_loses_none() -> None:
    virtual = VirtualWriter()
    virtual.destination.is_away = lambda _: virtual.now < 1600
    for number in range(100):
        virtual.write("a", *numbered(3, 3 * number))
        virtual.run(1)
    virtual.finish("a")
    virtual.run(500 + BACKOFF_MAX_S + 1)
    assert virtual.destination.kept == {"a": numbered(300)}
    assert len(virtual.destination.requests) < 60, "the backoff does not grow"


def test_what_exceeds_the_memory_is_counted_at_the_end_of_the_log() -> None:
    virtual = VirtualWriter(buffer_bytes=10 * (LINE_OVERHEAD + 20))
    virtual.destination.is_away = lambda _: virtual.now < 1100
    virtual.write("a", *[f"line {number:015d}" for number in range(100)])
    virtual.finish("a")
    virtual.run(200)
    *kept, last = virtual.destination.kept["a"]
    assert kept == [f"line {number:015d}" for number in range(90, 100)], "the newest lines are not kept"
    notice = json.loads(last)["event"]
    assert notice.startswith("90 of the 100 lines of this log are missing.")
    assert "ThrottlingException" in notice


def test_a_noisy_log_loses_its_own_lines_and_not_those_of_others() -> None:
    virtual = VirtualWriter(buffer_bytes=20 * LINE_OVERHEAD)
    virtual.destination.is_away = lambda _: virtual.now < 1100
    virtual.write("quiet", "only line")
    virtual.write("noisy", *numbered(500))
    virtual.finish("quiet")
    virtual.finish("noisy")
    virtual.run(200)
    assert virtual.destination.kept["quiet"] == ["only line"]
    assert "lines of this log are missing" in virtual.destination.kept["noisy"][-1]


def test_one_log_that_cannot_be_sent_does_not_delay_another() -> None:
    virtual = VirtualWriter()
    virtual.destination.is_away = lambda stream: stream == "bad"
    virtual.write("bad", "line")
    for number in range(20):
        virtual.write("good", f"line {number}")
        virtual.run(1)
    virtual.run(1)
    assert virtual.destination.kept == {"good": numbered(20)}


def test_a_refused_line_is_found_and_all_others_are_kept() -> None:
    virtual = VirtualWriter()
    virtual.write("a", *numbered(20), "POISON", *numbered(20, 20))
    virtual.finish("a")
    virtual.run(10)
    *kept, last = virtual.destination.kept["a"]
    assert kept == numbered(40)
    assert json.loads(last)["event"].startswith("1 of the 41 lines of this log are missing.")


@pytest.mark.parametrize("step_s", [-5.0, -7200.0, 90_000.0], ids=["a little back", "hours back", "a day ahead"])
def test_a_clock_that_changes_makes_no_invalid_request(step_s: float) -> None:
    virtual = VirtualWriter()
    virtual.write("a", *numbered(5))
    virtual.wall_ahead = step_s
    virtual.write("a", *numbered(5, 5))
    virtual.finish("a")
    virtual.run(10)
    assert virtual.destination.kept == {"a": numbered(10)}


def test_a_line_after_the_end_is_still_sent() -> None:
    virtual = VirtualWriter()
    virtual.write("a", "before")
    virtual.finish("a")
    virtual.run(1)
    virtual.write("a", "after")
    virtual.run(1)
    assert virtual.destination.kept == {"a": ["before", "after"]}


def test_lines_are_masked_and_split_before_they_are_kept() -> None:
    virtual = VirtualWriter(mask=masker(["very-secret"]))
    virtual.write("a", "is very-secret", "x" * 2500)
    virtual.run(10)
    assert virtual.destination.kept["a"] == ["is ***", "x" * 1000, "x" * 1000, "x" * 500]


@given(st.integers(0, 2**32), st.floats(0, 0.9), st.integers(1, 4))
def test_under_random_failures_every_line_is_kept_once_or_counted(seed: int, away: float, logs: int) -> None:
    chance = random.Random(seed)
    virtual = VirtualWriter(buffer_bytes=60 * (LINE_OVERHEAD + 20))
    virtual.destination.is_away = lambda _: chance.random() < away
    names, written = [f"log {number}" for number in range(logs)], dict.fromkeys(range(logs), 0)
    for _ in range(60):
        which = chance.randrange(logs)
        count = chance.randrange(12)
        virtual.write(names[which], *numbered(count, written[which]))
        written[which] += count
        virtual.run(chance.random() / 2)
    virtual.destination.is_away = lambda _: False
    for name in names:
        virtual.finish(name)
    virtual.run(2 * BACKOFF_MAX_S)
    assert virtual.writer.step() is None
    for which, name in enumerate(names):
        kept = virtual.destination.kept[name]
        lost = int(json.loads(kept.pop())["event"].split()[0]) if kept and kept[-1].startswith("{") else 0
        assert len(kept) == len(set(kept)) == written[which] - lost
        assert kept == sorted(kept, key=lambda line: int(line.split()[1]))


# --- with its thread


class SlowDestination(FakeDestination):
    """Answers when the test allows it."""

    def __init__(self) -> None:
        super().__init__(lambda: 0.0)
        self.asked, self.may_answer = threading.Event(), threading.Event()

    def put(self, stream: str, lines: Sequence[Line]) -> int:
        self.asked.set()
        assert self.may_answer.wait(60)
        return super().put(stream, lines)


def test_a_destination_that_does_not_answer_holds_neither_a_line_nor_the_end_of_a_task() -> None:
    destination = SlowDestination()
    writer = LogWriter(destination)
    writer.write("a", b"first")
    assert destination.asked.wait(60)
    for line in numbered(1000):
        writer.write("a", line.encode())
    assert not writer.finish("a", 0.01)
    destination.may_answer.set()
    writer.drain(60)
    assert destination.kept == {"a": ["first", *numbered(1000)]}


def test_the_thread_ends_with_its_logs_and_starts_with_the_next() -> None:
    destination = FakeDestination(lambda: 0.0)
    writer = LogWriter(destination)
    before = threading.active_count()
    for number in range(20):
        writer.write(f"task {number}", b"line")
        assert writer.finish(f"task {number}", 60)
    for thread in threading.enumerate():
        if thread.name == "openmwaa-task-logs":
            thread.join(60)
    assert threading.active_count() == before, "the next task would be forked from a process with threads"
    assert set(destination.kept) == {f"task {number}" for number in range(20)}


def test_the_end_of_a_process_reports_what_it_could_not_send(caplog: pytest.LogCaptureFixture) -> None:
    destination = FakeDestination(lambda: 0.0)
    destination.is_away = lambda _: True
    writer = LogWriter(destination)
    for line in numbered(7):
        writer.write("a", line.encode())
    writer.drain(0.01)
    assert "7 lines of log a are lost" in caplog.text
    destination.is_away = lambda _: False
    writer.drain(60)  # ends the thread


def test_the_limits_are_those_of_the_fake() -> None:
    assert FakeDestination.limits == LIMITS
