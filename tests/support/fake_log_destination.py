# SPDX-License-Identifier: Apache-2.0
"""A destination of task logs that can fail, and a writer for it in virtual time."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from openmwaa_runtime.task_logs.lines import Line
from openmwaa_runtime.task_logs.writer import LinesRefusedError, LogWriter, RequestLimits, UnavailableError

LIMITS = RequestLimits(line_bytes=1000, batch_bytes=4000, batch_lines=50, interval_s=1.0, line_overhead=26)


class FakeDestination:
    """Keeps lines. `is_away` decides for each request; a line with POISON or a wrong order of times is refused."""

    limits = LIMITS

    def __init__(self, clock: Callable[[], float]) -> None:
        self.kept: dict[str, list[str]] = defaultdict(list)
        self.requests: list[tuple[float, str, list[Line]]] = []
        self.is_away: Callable[[str], bool] = lambda _stream: False
        self._clock = clock

    def put(self, stream: str, lines: Sequence[Line]) -> int:
        self.requests.append((self._clock(), stream, [*lines]))
        if self.is_away(stream):
            raise UnavailableError("put_log_events: ThrottlingException")
        assert 0 < len(lines) <= LIMITS.batch_lines
        assert sum(line.size + LIMITS.line_overhead for line in lines) <= LIMITS.batch_bytes
        times = [line.time_ms for line in lines]
        in_order = times == sorted(times) and times[-1] - times[0] < 24 * 3600 * 1000
        if not in_order or any("POISON" in line.text for line in lines):
            raise LinesRefusedError("put_log_events: InvalidParameterException")
        self.kept[stream] += [line.text for line in lines]
        return 0


class VirtualWriter:
    """A writer without a thread; `run` does what its thread would do until a time."""

    def __init__(self, **options: Any) -> None:
        self.now = 1000.0
        self.wall_ahead = 0.0
        self.destination = FakeDestination(lambda: self.now)
        self.writer = LogWriter(
            self.destination,
            clock=lambda: self.now,
            wall=lambda: 1_700_000_000 + self.now + self.wall_ahead,
            jitter=lambda: 1.0,
            threaded=False,
            **options,
        )

    def write(self, stream: str, *lines: str) -> None:
        for line in lines:
            self.writer.write(stream, line.encode())

    def finish(self, stream: str) -> bool:
        return self.writer.finish(stream, 0.0)

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while (wait := self.writer.step()) is not None and self.now + wait <= end:
            self.now += wait
        self.now = end
