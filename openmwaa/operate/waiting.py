# SPDX-License-Identifier: Apache-2.0
"""Waits for something in an environment that runs: looks, says what is new, and knows when to stop."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from openmwaa.operate.errors import UnreachableError

POLL_S = 10.0
Outcome = Literal["done", "unfinished", "failed"]


@dataclass(frozen=True)
class WaitStatus:
    """What one look found."""

    awaited: tuple[str, ...] = ()
    """What is not there yet, a sentence each."""
    failures: tuple[str, ...] = ()
    """What will not come by waiting, and why."""
    data: Mapping[str, Any] = field(default_factory=dict)
    """All of it, for programs."""

    @property
    def outcome(self) -> Outcome:
        """How the waiting would end now."""
        if self.failures:
            return "failed"
        return "unfinished" if self.awaited else "done"

    def __add__(self, other: WaitStatus) -> WaitStatus:
        return WaitStatus(self.awaited + other.awaited, self.failures + other.failures, {**self.data, **other.data})


def wait(
    looks: Sequence[Callable[[], WaitStatus]],
    *,
    limit_s: float,
    say: Callable[[str], None],
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> WaitStatus:
    """Look until nothing is awaited, something failed or `limit_s` are over; return what was seen last.

    Raises:
        OperateError: AWS cannot be asked; a silence that aws_errors again may end only at the end of the time.
    """
    end = clock() + limit_s
    told: tuple[str, ...] = ()
    while True:
        try:
            seen = sum((look() for look in looks), WaitStatus())
        except UnreachableError as error:
            if clock() >= end:
                raise
            words: tuple[str, ...] = (str(error),)
        else:
            if clock() >= end or seen.outcome != "unfinished":
                return seen
            words = seen.awaited
        for line in words:
            if line not in told:
                say(line)
        told = words
        sleep(max(0.0, min(POLL_S, end - clock())))
