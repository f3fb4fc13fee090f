# SPDX-License-Identifier: Apache-2.0
"""Writes task logs to their destination, and reads them from there."""

import os
import time
from collections.abc import Callable, Iterator
from functools import cache
from typing import Final

from openmwaa_runtime.task_logs.destination import open_destination
from openmwaa_runtime.task_logs.lines import masker, notice
from openmwaa_runtime.task_logs.worker_secrets import secret_values
from openmwaa_runtime.task_logs.writer import DestinationError, LogWriter

READ_ATTEMPTS: Final = 4
_ENDED: Final = ("success", "failed", "up_for_retry", "removed")
_NO_LINE: Final = (
    "This try has no line: it did not start on a worker, its worker was lost within seconds, or its log has expired."
)


class TaskLogStore:
    """The logs at one destination."""

    def __init__(self, url: str) -> None:
        self.writer = LogWriter(open_destination(url), mask=_mask)
        self._source = open_destination(url, attempts=READ_ATTEMPTS)

    def place_of(self, stream: str) -> str:
        """Return where a log is, for people."""
        return f"{self._source.place}, log {stream}"

    def lines(self, stream: str, state: str | None) -> Iterator[str]:
        """Yield the lines of the log of a task in this state."""
        empty = True
        try:
            for line in self._source.read(stream):
                empty = False
                yield line
        except DestinationError as error:
            yield notice(time.time(), f"The log cannot be read: {error}").decode()
            return
        if empty and state in _ENDED:
            yield notice(time.time(), _NO_LINE).decode()


@cache
def _masker() -> Callable[[str], str]:
    return masker(secret_values(os.environ))


def _mask(text: str) -> str:
    return _masker()(text)  # made at the first line: by then a worker has collected its secrets
