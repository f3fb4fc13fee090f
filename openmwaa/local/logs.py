# SPDX-License-Identifier: Apache-2.0
"""Reads the log files of services."""

import os
import time
from collections import deque
from collections.abc import Generator
from contextlib import ExitStack, closing
from pathlib import Path

from openmwaa.local.errors import LocalError

_POLL_S = 0.3


def tail(file: Path, count: int) -> list[str]:
    """The last lines of a log file and of its rotated predecessor; empty if neither exists."""
    lines: deque[str] = deque(maxlen=count)
    for part in (file.with_name(file.name + ".1"), file):
        try:
            with part.open(encoding="utf-8", errors="replace") as text:
                lines.extend(line.rstrip("\n") for line in text)
        except OSError:
            continue
    return list(lines)


def follow(file: Path) -> Generator[str, None, None]:
    """New lines of the file, across rotations, until the caller stops."""
    with closing(_NewLines(file)) as new:
        while True:
            lines = new.read()
            yield from lines
            if not lines:
                time.sleep(_POLL_S)


def follow_all(folder: Path) -> Generator[str | None, None, None]:
    """`SERVICE: LINE` for each new line of each log; None when there is no further line yet."""
    with ExitStack() as stack:
        followed = {file: stack.enter_context(closing(_NewLines(file))) for file in folder.glob("*.log")}
        while True:
            for file in set(folder.glob("*.log")) - set(followed):
                followed[file] = stack.enter_context(closing(_NewLines(file, from_start=True)))
            for file, new in followed.items():
                yield from (f"{file.stem}: {line}" for line in new.read())
            yield None
            time.sleep(_POLL_S)


class _NewLines:
    """The complete lines that are written to a file from now on."""

    def __init__(self, file: Path, *, from_start: bool = False) -> None:
        self._file = file
        self._text = file.open(encoding="utf-8", errors="replace")
        self._text.seek(0, 0 if from_start else 2)
        self._rest = ""

    def read(self) -> list[str]:
        data = self._text.read()
        *lines, self._rest = (self._rest + data).split("\n")
        if not data and _rotated(self._text.fileno(), self._file):
            self._text.close()
            self._text = self._file.open(encoding="utf-8", errors="replace")
        return lines

    def close(self) -> None:
        self._text.close()


def log_file(folder: Path, service: str) -> Path:
    """The log file of a service.

    Raises:
        LocalError: it does not exist; the text names the existing ones.
    """
    file = folder / f"{service}.log"
    if Path(service).name == service and file.is_file():
        return file
    known = ", ".join(sorted(log.stem for log in folder.glob("*.log"))) if folder.is_dir() else ""
    raise LocalError(
        f"There is no log of {service!r}. " + (f"Logs: {known}." if known else "Run `openmwaa local up` first.")
    )


def _rotated(descriptor: int, file: Path) -> bool:
    try:
        return os.fstat(descriptor).st_ino != file.stat().st_ino
    except OSError:
        return False
