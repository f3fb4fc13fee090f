# SPDX-License-Identifier: Apache-2.0
"""What containers print: split into lines, kept in one bounded file a service."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

LONGEST_LINE = 256 * 1024
"""Bytes; a longer line is cut into pieces (the limit of one CloudWatch log event)."""


class LogFile:
    """An append-only file that never grows beyond twice `limit` bytes: at the limit it becomes `NAME.1`."""

    def __init__(self, path: Path, *, limit: int = 10 * 1024 * 1024) -> None:
        self._path = path
        self._limit = limit
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("ab")

    def write(self, lines: Sequence[str], *, prefix: str = "") -> None:
        """Append lines; a full disk loses lines, never a task."""
        try:
            self._file.write("".join(f"{prefix}{line}\n" for line in lines).encode("utf-8", "backslashreplace"))
            self._file.flush()
            if self._file.tell() >= self._limit:
                self._rotate()
        except OSError:
            return

    def close(self) -> None:
        """Close the file; further lines are lost."""
        self._file.close()

    def _rotate(self) -> None:
        self._file.close()
        self._path.replace(self._path.with_name(self._path.name + ".1"))
        self._file = self._path.open("ab")


class LogFiles:
    """One `LogFile` a service, opened when it first prints."""

    def __init__(self, directory: Path, *, limit: int = 10 * 1024 * 1024) -> None:
        self._directory = directory
        self._limit = limit
        self._open: dict[str, LogFile] = {}

    def of(self, service: str) -> LogFile:
        """The file of a service."""
        if service not in self._open:
            self._open[service] = LogFile(self._directory / f"{service}.log", limit=self._limit)
        return self._open[service]

    def close(self) -> None:
        """Close all files."""
        for file in self._open.values():
            file.close()
        self._open.clear()


class LineReader(asyncio.Protocol):
    """Reads a pipe and hands over complete lines as they come; `finished` is set when every writer closed it."""

    def __init__(self, on_lines: Callable[[Sequence[str]], None]) -> None:
        self._on_lines = on_lines
        self._rest = b""
        self.finished = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        """Split what came; an unfinished line waits for its end."""
        *complete, self._rest = (self._rest + data).split(b"\n")
        while len(self._rest) > LONGEST_LINE:
            complete.append(self._rest[:LONGEST_LINE])
            self._rest = self._rest[LONGEST_LINE:]
        if complete:
            self._on_lines([line.rstrip(b"\r").decode("utf-8", "replace") for line in complete])

    def connection_lost(self, exc: Exception | None) -> None:
        """Hand over the last, unfinished line."""
        if self._rest:
            self._on_lines([self._rest.decode("utf-8", "replace")])
            self._rest = b""
        self.finished.set()
