# SPDX-License-Identifier: Apache-2.0
"""Waits for a condition of a running environment: polls, prints changes, and stops at success, failure or timeout."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from openmwaa.operate.errors import UnreachableError

POLL_S = 10.0
WaitOutcome = Literal["done", "unfinished", "failed"]


@dataclass(frozen=True)
class WaitStatus:
    """The result of one poll."""

    awaited: tuple[str, ...] = ()
    """Conditions that do not hold yet, a sentence each."""
    failures: tuple[str, ...] = ()
    """Conditions that waiting will not fulfil, with the reason."""
    data: Mapping[str, Any] = field(default_factory=dict)
    """All results, for programs."""

    @property
    def outcome(self) -> WaitOutcome:
        """The outcome if the wait ended now."""
        if self.failures:
            return "failed"
        return "unfinished" if self.awaited else "done"

    def __add__(self, other: WaitStatus) -> WaitStatus:
        return WaitStatus(self.awaited + other.awaited, self.failures + other.failures, {**self.data, **other.data})


def wait(
    checks: Sequence[Callable[[], WaitStatus]],
    poll_s: float | None = None,
    *,
    limit_s: float,
    progress: Callable[[str], None],
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> WaitStatus:
    """Poll until nothing is awaited, a check has failed or `limit_s` is over; return the last status.

    Raises:
        OperateError: a call failed; an UnreachableError is retried until the time is over.
    """
    end = clock() + limit_s
    printed: tuple[str, ...] = ()
    while True:
        try:
            status = sum((check() for check in checks), WaitStatus())
        except UnreachableError as error:
            if clock() >= end:
                raise
            lines: tuple[str, ...] = (str(error),)
        else:
            if clock() >= end or status.outcome != "unfinished":
                return status
            lines = status.awaited
        for line in lines:
            if line not in printed:
                progress(line)
        printed = lines
        sleep(max(0.0, min(POLL_S if poll_s is None else poll_s, end - clock())))
