# SPDX-License-Identifier: Apache-2.0
"""Reads the log files of services."""

import os
import time
from collections import deque
from collections.abc import Generator
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
    text = file.open(encoding="utf-8", errors="replace")
    try:
        text.seek(0, 2)
        rest = ""
        while True:
            data = text.read()
            *lines, rest = (rest + data).split("\n")
            yield from lines
            if data:
                continue
            if _rotated(text.fileno(), file):
                text.close()
                text = file.open(encoding="utf-8", errors="replace")
            time.sleep(_POLL_S)
    finally:
        text.close()


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
