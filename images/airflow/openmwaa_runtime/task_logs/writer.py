# SPDX-License-Identifier: Apache-2.0
"""Sends the lines of task logs to their destination, in batches, from a thread.

A line is in memory until the destination has accepted it: normally for less than a second. A destination that refuses
requests or does not answer delays logs, and nothing else: the memory has a bound, the oldest lines leave it first, and
the end of the log has their number.
"""

import contextlib
import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from openmwaa_runtime.task_logs.lines import Line, notice, readable, split

logger = logging.getLogger(__name__)

BUFFER_BYTES: Final = 16 << 20
"""Of all logs of a process. A worker has a process for each slot."""
LINE_OVERHEAD: Final = 200
"""Memory of a line beside its text."""
FIRST_S: Final = 0.2
"""Wait for further lines before the first request after a quiet time."""
IDLE_S: Final = 60.0
BACKOFF_S: Final = 0.25
BACKOFF_MAX_S: Final = 20.0
FLUSH_WITHIN_S: Final = 5.0
"""The longest wait at the end of a task. The scheduler has its result by then; only the slot waits."""
DRAIN_WITHIN_S: Final = 10.0
"""The longest wait at the end of a process."""
CLOCK_STEP_MS: Final = 60_000


class DestinationError(Exception):
    """A request to the destination failed."""


class UnavailableError(DestinationError):
    """The destination may accept the request later."""


class LinesRefusedError(DestinationError):
    """The destination will never accept the request."""


@dataclass(frozen=True)
class RequestLimits:
    """What a destination accepts in one request, and how often it should get one for each log."""

    line_bytes: int
    batch_bytes: int
    batch_lines: int
    interval_s: float
    line_overhead: int = 0


class Destination(Protocol):
    """Where logs are kept."""

    @property
    def limits(self) -> RequestLimits:
        """The limits of `put`."""

    def put(self, stream: str, lines: Sequence[Line]) -> int:
        """Append lines to a log; return how many were refused. LinesRefusedError: one makes the request invalid."""


@dataclass
class _Log:
    """The lines of one log that the destination does not have yet."""

    lines: deque[Line] = field(default_factory=deque)
    sending: int = 0
    bytes: int = 0
    written: int = 0
    lost: int = 0
    last_ms: int = 0
    due_at: float = 0.0
    sent_at: float = float("-inf")
    failures: int = 0
    failing_since: float = 0.0
    reason: str = "none"
    finished: bool = False
    """No further lines are expected."""
    noticed: bool = False
    """The last line has the number of lost lines."""
    ended: bool = False
    """All lines are sent or counted as lost."""


class LogWriter:
    """The logs of one process. `write` returns at once and raises nothing; a thread sends."""

    def __init__(
        self,
        destination: Destination,
        *,
        mask: Callable[[str], str] = lambda text: text,
        buffer_bytes: int = BUFFER_BYTES,
        wall: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
        threaded: bool = True,
    ) -> None:
        self._destination, self._mask, self._buffer_bytes = destination, mask, buffer_bytes
        self._wall, self._clock, self._jitter = wall, clock, jitter
        self._threaded = threaded
        self._thread: threading.Thread | None = None
        self._changed = threading.Condition()
        self._logs: dict[str, _Log] = {}
        self._bytes = self._number = 0

    def write(self, stream: str, data: bytes) -> None:
        """Append one line."""
        parts = [*split(self._mask(readable(data)), self._destination.limits.line_bytes)]
        with self._changed:
            self._append(self._logs.setdefault(stream, _Log()), parts)
            self._start()

    def finish(self, stream: str, within_s: float = FLUSH_WITHIN_S) -> bool:
        """End a log; True if all of it was sent within the time. What was not sent is still sent later."""
        with self._changed:
            log = self._logs.get(stream)
            return log is None or self._finish([log], within_s)

    def drain(self, within_s: float = DRAIN_WITHIN_S) -> None:
        """Send everything before the process ends; log what could not be sent."""
        with self._changed:
            self._finish([*self._logs.values()], within_s)
            for stream, log in self._logs.items():
                missing = log.lost + log.sending + len(log.lines)
                logger.error("%d lines of log %s are lost: %s", missing, stream, log.reason)

    def step(self) -> float | None:
        """Send one batch if one is due. Return the seconds until the next one; None: no log is open."""
        with self._changed:
            self._close_finished()
            stream, wait = self._next()
            if wait != 0.0:
                return wait
            log = self._logs[stream]
            batch = self._take(log)
        refused, error = self._put(stream, batch)
        with self._changed:
            self._settle(stream, log, batch, refused, error)
            self._close_finished()
            self._changed.notify_all()
        return 0.0

    # Except for `_put` and `_run`, the rest is called with the lock.

    def _append(self, log: _Log, parts: Sequence[str]) -> None:
        limits, now, now_ms = self._destination.limits, self._clock(), int(self._wall() * 1000)
        # CloudWatch requires the order of time: a clock that goes back a little stands still here.
        log.last_ms = now_ms if log.last_ms - now_ms > CLOCK_STEP_MS else max(log.last_ms, now_ms)
        wake = not log.lines
        if wake:
            log.due_at = max(now + FIRST_S, log.sent_at + limits.interval_s)
        for text in parts:
            self._number += 1
            log.lines.append(Line(log.last_ms, self._number, text, len(text.encode())))
            log.written += 1
            self._count(log, log.lines[-1].size + LINE_OVERHEAD)
        while self._bytes > self._buffer_bytes and self._drop_oldest():
            pass
        if log.bytes >= limits.batch_bytes and log.due_at > now and not log.failures:
            log.due_at, wake = now, True
        if wake:
            self._changed.notify_all()

    def _count(self, log: _Log, size: int) -> None:
        log.bytes += size
        self._bytes += size

    def _drop_oldest(self) -> bool:
        log = max(self._logs.values(), key=lambda other: other.bytes if other.lines else -1)
        if not log.lines:
            return False  # the rest is in a request
        self._count(log, -log.lines.popleft().size - LINE_OVERHEAD)
        log.lost += 1
        return True

    def _next(self) -> tuple[str, float | None]:
        """Return the log that is due first, and the seconds until then; None if no log is open."""
        if not self._logs:
            return "", None
        now = self._clock()
        waiting = [(log.due_at, stream) for stream, log in self._logs.items() if log.lines]
        due_at, stream = min(waiting, default=(now + IDLE_S, ""))
        return stream, max(0.0, due_at - now)

    def _take(self, log: _Log) -> list[Line]:
        limits, batch, size = self._destination.limits, list[Line](), 0
        while log.lines and len(batch) < limits.batch_lines:
            size += log.lines[0].size + limits.line_overhead
            if batch and size > limits.batch_bytes:
                break
            batch.append(log.lines.popleft())
        log.sending = len(batch)
        return batch

    def _put(self, stream: str, batch: Sequence[Line]) -> tuple[int, Exception | None]:
        """Return the refused lines, which are found by halving, and the last error.

        A request may also be invalid for its times: more than a day, or not in order. Then its halves are valid.
        """
        try:
            return self._destination.put(stream, batch), None
        except LinesRefusedError as error:
            if len(batch) == 1:
                return 1, error
        except Exception as error:  # noqa: BLE001 - nothing may end the thread
            return 0, error
        half = len(batch) // 2
        refused, first = self._put(stream, batch[:half])
        if first is not None and not isinstance(first, LinesRefusedError):
            return 0, first
        more, second = self._put(stream, batch[half:])
        return refused + more, second or first

    def _settle(self, stream: str, log: _Log, batch: Sequence[Line], refused: int, error: Exception | None) -> None:
        now, log.sending = self._clock(), 0
        if error is not None:
            log.reason = str(error)
        if error is None or isinstance(error, LinesRefusedError):
            self._count(log, -sum(line.size + LINE_OVERHEAD for line in batch))
            full = log.finished or log.bytes >= self._destination.limits.batch_bytes
            log.due_at = now if full else now + self._destination.limits.interval_s
            log.lost, log.sent_at, log.failures = log.lost + refused, now, 0
            return
        log.lines.extendleft(reversed(batch))
        if not log.failures:
            log.failing_since = now
            logger.warning("log %s cannot be sent and stays in memory: %s", stream, error)
        log.due_at = now + min(BACKOFF_MAX_S, BACKOFF_S * 2**log.failures) * (0.5 + self._jitter() / 2)
        log.failures = min(log.failures + 1, 10)

    def _finish(self, logs: Sequence[_Log], within_s: float) -> bool:
        """Wait for the end of logs; not for those whose destination has failed for longer already."""
        for log in logs:
            log.finished, log.due_at = True, 0.0
        self._close_finished()
        self._start()
        self._changed.notify_all()

        def is_over(log: _Log) -> bool:
            return log.ended or (log.failures > 0 and self._clock() - log.failing_since >= within_s)

        self._changed.wait_for(lambda: all(map(is_over, logs)), within_s)
        return all(log.ended for log in logs)

    def _close_finished(self) -> None:
        for stream, log in [*self._logs.items()]:
            if not log.finished or log.lines or log.sending:
                continue
            if not log.lost or log.noticed:
                log.ended = True
                del self._logs[stream]
                continue
            text = f"{log.lost} of the {log.written} lines of this log are missing. Last error: {log.reason}"
            log.noticed = True
            self._append(log, [readable(notice(self._wall(), text))])
            log.due_at = 0.0

    def _start(self) -> None:
        if not self._threaded or not self._logs or (self._thread is not None and self._thread.is_alive()):
            return
        self._thread = threading.Thread(target=self._run, name="openmwaa-task-logs", daemon=True)
        with contextlib.suppress(RuntimeError):  # no further thread is possible now: the next line tries again
            self._thread.start()

    def _run(self) -> None:
        while True:
            self.step()
            with self._changed:
                _, wait = self._next()
                if wait is None:
                    self._thread = None
                    return
                self._changed.wait(wait)
