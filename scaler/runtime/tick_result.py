# SPDX-License-Identifier: Apache-2.0
"""The result of one tick of one fleet."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from scaler.core.tick import Tick
from scaler.errors import SourceError


@dataclass(frozen=True, slots=True)
class Write:
    """One UpdateService: answered, failed, or left out after the last check."""

    desired: int
    answered_at: datetime | None = None
    duration_s: float = 0.0
    error: SourceError | None = None
    left_out: str | None = None


@dataclass(frozen=True, slots=True)
class TickResult:
    """One tick and its result."""

    at: datetime
    tick: Tick
    writes: Mapping[str, Write]
    """By service name; a service without a write is absent."""
    errors: Sequence[SourceError]
    duration_s: float

    @property
    def write(self) -> Write | None:
        """The write of the first service that was written."""
        return next(iter(self.writes.values()), None)


class TickListener(Protocol):
    """An observer of every tick."""

    def on_tick(self, report: TickResult) -> None:
        """Record the tick; must not block and must not raise."""

    def failed(self, fleet: str, error: BaseException) -> None:
        """Record that a tick was not finished."""
