# SPDX-License-Identifier: Apache-2.0
"""What one tick of one fleet did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from scaler.core.tick import Tick
from scaler.errors import SourceError


@dataclass(frozen=True, slots=True)
class Write:
    """One UpdateService: answered, failed, or left out at the last moment."""

    desired: int
    answered_at: datetime | None = None
    duration_s: float = 0.0
    error: SourceError | None = None
    left_out: str | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """One tick and what came of it."""

    at: datetime
    tick: Tick
    writes: Mapping[str, Write]
    """By the name of the service; what was not written is not there."""
    errors: Sequence[SourceError]
    duration_s: float

    @property
    def write(self) -> Write | None:
        """The write of the first service that was written."""
        return next(iter(self.writes.values()), None)


class Listener(Protocol):
    """Somebody who wants to know of every tick."""

    def ticked(self, report: Report) -> None:
        """Take note; must not block and must not raise."""
        ...

    def failed(self, fleet: str, error: BaseException) -> None:
        """Take note that a tick was not finished."""
        ...
