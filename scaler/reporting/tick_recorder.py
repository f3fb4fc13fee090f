# SPDX-License-Identifier: Apache-2.0
"""Recorded ticks on disk, for `openmwaa-scaler replay`: a bounded ring of files, one JSON line per tick.

A separate thread encodes and writes. Recording never delays a tick and never makes it fail: a tick without room is
counted and dropped. Each line is one write. Each process, and each failed write, starts a new file, so a crash or a
full disk leaves at most one incomplete line, at the end of a file.
"""

import json
import os
import queue
import threading
from collections.abc import Callable
from pathlib import Path

from scaler.core.tick import Tick
from scaler.ports import rfc3339
from scaler.reporting.tick_codec import to_json
from scaler.runtime.tick_result import TickResult

VERSION = 2
SEGMENT_BYTES = 8 * 1024 * 1024
SEGMENTS = 8
BACKLOG = 1000
"""The maximum of ticks in the queue to the disk; they share the objects of the loop."""
CLOSE_WITHIN_S = 5.0
PATTERN = "ticks-*.jsonl"


def record_line(at: str, tick: Tick) -> bytes:
    """Return the line of a tick in a file."""
    document = {"version": VERSION, "at": at, "tick": to_json(tick)}
    return json.dumps(document, separators=(",", ":"), allow_nan=False).encode() + b"\n"


def segments(folder: Path) -> list[Path]:
    """Return the files of a ring, oldest first."""
    return sorted(folder.glob(PATTERN), key=_number)


class TickRecorder:
    """A listener that records every tick; call `start` before the first and `close` after the last."""

    def __init__(self, folder: Path, *, segment_bytes: int = SEGMENT_BYTES, kept: int = SEGMENTS) -> None:
        self._ring = _Ring(folder, segment_bytes=segment_bytes, kept=kept)
        self._waiting: queue.Queue[tuple[str, Tick] | None] = queue.Queue(BACKLOG)
        self._thread = threading.Thread(target=self._work, name="recorder", daemon=True)
        self._on_dropped: Callable[[], None] = lambda: None
        self.dropped = 0
        """The number of ticks that were not written."""
        self.problem: str | None = None
        """Why the last dropped tick was dropped; None after the next successful write."""

    def start(self, *, on_dropped: Callable[[], None] | None = None) -> None:
        """Start the thread; `on_dropped` is called for each dropped tick, from any thread."""
        self._on_dropped = on_dropped or self._on_dropped
        self._thread.start()

    def on_tick(self, result: TickResult) -> None:
        """Queue the tick; drop it if the queue is full."""
        try:
            self._waiting.put_nowait((rfc3339(result.at), result.tick))
        except queue.Full:
            self._drop(f"{BACKLOG} ticks wait for the disk")

    def failed(self, fleet: str, error: BaseException) -> None:
        """Do nothing: an unfinished tick cannot be replayed."""

    def close(self) -> None:
        """Write the queued ticks, for at most some seconds, and end the thread."""
        try:
            self._waiting.put(None, timeout=CLOSE_WITHIN_S)
        except queue.Full:
            return  # the disk does not respond; the thread ends with the process
        self._thread.join(CLOSE_WITHIN_S)

    def _work(self) -> None:
        while (item := self._waiting.get()) is not None:
            try:
                self._ring.append(record_line(*item))
            except Exception as error:  # noqa: BLE001  a failed record must never stop the scaler
                self._drop(f"{type(error).__name__}: {error}")
            else:
                self.problem = None
        self._ring.close()

    def _drop(self, why: str) -> None:
        self.dropped += 1
        self.problem = why
        self._on_dropped()


class _Ring:
    """The files; only the thread uses them."""

    def __init__(self, folder: Path, *, segment_bytes: int, kept: int) -> None:
        self._folder = folder
        self._segment_bytes = segment_bytes
        self._kept = kept
        self._file: int | None = None
        self._size = 0

    def append(self, line: bytes) -> None:
        if len(line) > self._segment_bytes:
            raise OSError(f"a tick of {len(line)} bytes is larger than a file of the ring")
        if self._file is None or self._size + len(line) > self._segment_bytes:
            self._next()
        assert self._file is not None  # noqa: S101  _next opened it
        try:
            written = os.write(self._file, line)
        except OSError:
            self.close()
            raise
        self._size += written
        if written < len(line):
            self.close()
            raise OSError(f"only {written} of {len(line)} bytes were written")

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
        self._file = None

    def _next(self) -> None:
        self.close()
        self._folder.mkdir(parents=True, exist_ok=True)
        there = segments(self._folder)
        number = _number(there[-1]) + 1 if there else 1
        # Old files are removed first, so that the ring never exceeds its limit. It includes files of earlier processes.
        for old in there[: max(0, len(there) - self._kept + 1)]:
            old.unlink(missing_ok=True)
        path = self._folder / f"ticks-{number:08d}.jsonl"
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o640)
        self._size = 0


def _number(path: Path) -> int:
    digits = path.stem.rpartition("-")[2]
    return int(digits) if digits.isascii() and digits.isdigit() else 0
