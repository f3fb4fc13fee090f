# SPDX-License-Identifier: Apache-2.0
"""The output of containers: split into lines and written to one bounded file for each service."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

LONGEST_LINE = 256 * 1024
"""Bytes; a longer line is split (the limit of one CloudWatch log event)."""


class LogFile:
    """An append-only file. At `limit` bytes it is renamed to `NAME.1`, so both files have at most twice `limit`."""

    def __init__(self, path: Path, *, limit: int = 10 * 1024 * 1024) -> None:
        self._path = path
        self._limit = limit
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("ab")

    def write(self, lines: Sequence[str], *, prefix: str = "") -> None:
        """Append lines. With a full disk lines are lost, and the task continues."""
        try:
            self._file.write("".join(f"{prefix}{line}\n" for line in lines).encode("utf-8", "backslashreplace"))
            self._file.flush()
            if self._file.tell() >= self._limit:
                self._rotate()
        except OSError:
            return

    def close(self) -> None:
        """Close the file. Later lines are lost."""
        self._file.close()

    def _rotate(self) -> None:
        self._file.close()
        self._path.replace(self._path.with_name(self._path.name + ".1"))
        self._file = self._path.open("ab")


class LogFiles:
    """One `LogFile` for each service, opened at its first line."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._open: dict[str, LogFile] = {}

    def of(self, service: str) -> LogFile:
        """The file of a service."""
        if service not in self._open:
            self._open[service] = LogFile(self._directory / f"{service}.log")
        return self._open[service]

    def close(self) -> None:
        """Close all files."""
        for file in self._open.values():
            file.close()
        self._open.clear()


class LineReader(asyncio.Protocol):
    """Reads a pipe and passes on complete lines. `finished` is set when every writer has closed the pipe."""

    def __init__(self, on_lines: Callable[[Sequence[str]], None]) -> None:
        self._on_lines = on_lines
        self._incomplete = b""
        self.finished = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        """Split the data into lines. An incomplete line waits for its end."""
        *complete, self._incomplete = (self._incomplete + data).split(b"\n")
        while len(self._incomplete) > LONGEST_LINE:
            complete.append(self._incomplete[:LONGEST_LINE])
            self._incomplete = self._incomplete[LONGEST_LINE:]
        if complete:
            self._on_lines([line.rstrip(b"\r").decode("utf-8", "replace") for line in complete])

    def connection_lost(self, exc: Exception | None) -> None:
        """Pass on the last, incomplete line."""
        if self._incomplete:
            self._on_lines([self._incomplete.decode("utf-8", "replace")])
            self._incomplete = b""
        self.finished.set()
