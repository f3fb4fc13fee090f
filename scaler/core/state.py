# SPDX-License-Identifier: Apache-2.0
"""What the core remembers from tick to tick, and what it decides; both are values, passed in and returned.

A scaler that starts anew starts from `State()`: everything that matters for safety is read again from ECS and from
the agents (a worker in drain is recognised by its agent's phase), and nothing shrinks before a full window was seen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from scaler.core.window import Window

Kind = Literal["hold", "grow", "protect", "resume", "drain", "shrink", "blind"]
"""What a decision mainly does. `protect` raises desired because protection demands it; `blind` cannot say a number."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """An UpdateService that was decided: counted whether or not it succeeded."""

    desired: int
    instead_of: int
    count: int


@dataclass(frozen=True, slots=True)
class State:
    """The memory of one fleet."""

    window: Window = field(default_factory=Window)
    drains: Mapping[str, float] = field(default_factory=dict)
    """Victims in drain, by task ARN: since when."""
    resumes: Mapping[str, float] = field(default_factory=dict)
    """Victims called back and not consuming yet: since when."""
    launching: Mapping[str, float] = field(default_factory=dict)
    """Tasks that do not consume yet: first seen when."""
    idle: Mapping[str, float] = field(default_factory=dict)
    """Workers without a task: since when."""
    broker_above_since: float | None = None
    short_since: float | None = None
    """Since when ECS has fewer tasks than desired and none on the way."""
    zero_seen: int = 0
    """How many ticks in a row two witnesses agreed that nothing is wanted."""
    expected: int | None = None
    """The desired count the service should show if nobody else wrote it."""
    attempt: Attempt | None = None


@dataclass(frozen=True, slots=True)
class Demand:
    """Slots wanted now, and who says so."""

    queued: int
    running: int
    slots: int
    source: Literal["database", "database+broker", "database (stale)", "broker", "broker (stale)"]
    may_shrink: bool


@dataclass(frozen=True, slots=True)
class WorkerCounts:
    """Tasks of the fleet by what they do."""

    starting: int = 0
    stuck: int = 0
    """Of those starting: longer than the launch deadline."""
    consuming_idle: int = 0
    busy: int = 0
    draining: int = 0
    released: int = 0
    unknown: int = 0
    protected: int | None = None
    slots_total: int = 0
    slots_free: int = 0


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do now, absolute, and why."""

    desired: int | None
    """The desired count the service should have; None when that cannot be said, and then nothing is written."""
    observed: int | None
    """The desired count the service had."""
    drains: tuple[str, ...]
    """Task ARNs to post a drain to, in this tick again."""
    resumes: tuple[str, ...]
    released: tuple[str, ...]
    """The released workers that a reduction counts on; empty unless this decision reduces."""
    kind: Kind
    reason: str
    explanation: tuple[str, ...]
    demand: Demand | None
    needed: int | None
    floor: int | None
    """Protected + about to be protected; None when the tasks could not be read."""
    workers: WorkerCounts
    foreign_desired: int | None = None
    """The desired count that somebody else wrote, seen in this tick."""

    @property
    def writes(self) -> bool:
        """Whether UpdateService is to be called."""
        return self.desired is not None and self.desired != self.observed

    @property
    def reduces(self) -> bool:
        """Whether the write lowers the desired count."""
        return self.desired is not None and self.observed is not None and self.desired < self.observed
