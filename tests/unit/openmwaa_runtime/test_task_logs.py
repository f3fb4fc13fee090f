# SPDX-License-Identifier: Apache-2.0
"""Log streams end with their task."""

import queue
import threading
from types import SimpleNamespace
from typing import Any

from openmwaa_runtime.task_logs import end_streams_of


class FakeHandler:
    """Like watchtower's: one thread and one queue for each stream, until END."""

    END = 1

    def __init__(self) -> None:
        self.queues: dict[str, queue.Queue[Any]] = {}
        self.threads: list[threading.Thread] = []
        self.sequence_tokens: dict[str, str | None] = {}
        self.sent: list[Any] = []

    def log(self, stream: str, line: str) -> None:
        if stream not in self.queues:
            self.queues[stream] = queue.Queue()
            self.sequence_tokens[stream] = None
            self.threads.append(threading.Thread(target=self._send, args=(self.queues[stream],)))
            self.threads[-1].start()
        self.queues[stream].put(line)

    def _send(self, lines: "queue.Queue[Any]") -> None:
        while (line := lines.get(timeout=120)) != self.END:
            self.sent.append(line)


def test_a_hundred_tasks_leave_no_thread_and_lose_no_line() -> None:
    handler = FakeHandler()
    threads = []
    for number in range(100):
        handler.log(f"task {number}", f"line {number}")
        threads += [thread for thread in handler.threads if thread not in threads]
        end_streams_of(handler)
    for thread in threads:
        thread.join(10)
    end_streams_of(handler)
    assert handler.threads == []
    assert handler.queues == {}
    assert handler.sequence_tokens == {}
    assert sorted(handler.sent) == sorted(f"line {number}" for number in range(100))


def test_other_handlers_are_not_changed() -> None:
    other = SimpleNamespace(queues={"task": "not watchtower's"})
    for handler in (None, other):
        end_streams_of(handler)
    assert other == SimpleNamespace(queues={"task": "not watchtower's"})
