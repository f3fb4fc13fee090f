# SPDX-License-Identifier: Apache-2.0
"""What the core remembers from tick to tick, and what it decides; both are values, passed in and returned.

A scaler that starts anew starts from `FleetState()`: everything that matters for safety is read again from ECS and from
the agents (a worker in drain is recognised by its agent's phase), and nothing shrinks before a full window was seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from scaler.core.model import Overrides, Reading
from scaler.core.window import NeedWindow

Value = int | float | str | bool | None

Kind = Literal["hold", "grow", "protect", "resume", "drain", "shrink", "blind"]
"""What a decision mainly does. `protect` raises desired because protection demands it; `blind` cannot say a number."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """An UpdateService that was decided: counted whether or not it succeeded."""

    desired: int
    instead_of: int
    count: int


@dataclass(frozen=True, slots=True)
class ServiceState:
    """The memory of one service of a fleet."""

    drains: Mapping[str, float] = field(default_factory=dict)
    """Victims in drain, by task ARN: since when."""
    resumes: Mapping[str, float] = field(default_factory=dict)
    """Victims called back and not consuming yet: since when."""
    launching: Mapping[str, float] = field(default_factory=dict)
    """Tasks that do not consume yet: first seen when."""
    idle: Mapping[str, float] = field(default_factory=dict)
    """Workers without a task: since when."""
    short_since: float | None = None
    """Since when ECS has fewer tasks than desired and none on the way."""
    expected: int | None = None
    """The desired count the service should show if nobody else wrote it."""
    attempt: Attempt | None = None


@dataclass(frozen=True, slots=True)
class FleetState:
    """The memory of one fleet."""

    window: NeedWindow = field(default_factory=NeedWindow)
    broker_above_since: float | None = None
    zero_seen: int = 0
    """How many ticks in a row two sources agreed that nothing is target."""
    unknown_since: float | None = None
    """Since when nobody knows the demand."""
    overrides_unknown_since: float | None = None
    """Since when what a person ordered could not be read at all."""
    adopted: tuple[int, float] | None = None
    """A desired count somebody wrote by hand that is kept for a while, and since when."""
    current: str | None = None
    """The service that new workers start on."""
    services: Mapping[str, ServiceState] = field(default_factory=dict)

    def of(self, service: str) -> ServiceState:
        """Return what is remembered of a service."""
        return self.services.get(service, ServiceState())


@dataclass(frozen=True, slots=True)
class ExplanationStep:
    """One step of a decision: a short statement for people, and its numbers for programs."""

    name: str
    text: str
    values: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Demand:
    """Slots needed now, and the source of the number."""

    queued: int
    running: int
    slots: int
    source: Literal["database", "database+broker", "broker"]
    may_shrink: bool
    stale: bool = False
    """The source did not answer in this tick: this is its last reading."""


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

    def plus(self, other: WorkerCounts) -> WorkerCounts:
        """Return both together; what is unknown in one is unknown in the sum."""
        return WorkerCounts(
            starting=self.starting + other.starting,
            stuck=self.stuck + other.stuck,
            consuming_idle=self.consuming_idle + other.consuming_idle,
            busy=self.busy + other.busy,
            draining=self.draining + other.draining,
            released=self.released + other.released,
            unknown=self.unknown + other.unknown,
            protected=total((self.protected, other.protected)),
            slots_total=self.slots_total + other.slots_total,
            slots_free=self.slots_free + other.slots_free,
        )


@dataclass(frozen=True, slots=True)
class ServiceDecision:
    """What to do with one service now, absolute."""

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
    protected_minimum: int | None
    """Protected + about to be protected; None when the tasks could not be read."""
    workers: WorkerCounts
    desired_count_drift: int | None = None
    """The desired count that somebody else wrote, seen in this tick."""

    @property
    def writes(self) -> bool:
        """Whether UpdateService is to be called."""
        return self.desired is not None and self.desired != self.observed

    @property
    def reduces(self) -> bool:
        """Whether the write lowers the desired count."""
        return self.desired is not None and self.observed is not None and self.desired < self.observed


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do now with every service of a fleet, and why."""

    services: Mapping[str, ServiceDecision]
    current: str | None
    """The service that new workers start on; None when that is not known."""
    kind: Kind
    reason: str
    explanation: tuple[ExplanationStep, ...]
    demand: Demand | None
    slots_per_worker: int | None
    """The slots per worker that `needed` was computed with; None where the demand is unknown."""
    needed: int | None
    target: int | None
    minimum: int
    maximum: int
    """The bounds in force, after schedule and overrides."""
    overrides: Reading[Overrides]
    workers: WorkerCounts

    @property
    def desired(self) -> int | None:
        """The sum of what the services should have; None when one cannot be said."""
        return total(each.desired for each in self.services.values())

    @property
    def observed(self) -> int | None:
        """The sum of what the services had; None when one is unknown."""
        return total(each.observed for each in self.services.values())

    @property
    def protected_minimum(self) -> int | None:
        """The sum of what protection demands; None when one is unknown."""
        return total(each.protected_minimum for each in self.services.values())

    @property
    def drains(self) -> tuple[str, ...]:
        """All tasks to post a drain to."""
        return tuple(arn for each in self.services.values() for arn in each.drains)

    @property
    def resumes(self) -> tuple[str, ...]:
        """All tasks to post a resume to."""
        return tuple(arn for each in self.services.values() for arn in each.resumes)

    @property
    def released(self) -> tuple[str, ...]:
        """All released workers that reductions count on."""
        return tuple(arn for each in self.services.values() for arn in each.released)

    @property
    def desired_count_drift(self) -> int | None:
        """A desired count that somebody else wrote, seen in this tick."""
        return next(
            (each.desired_count_drift for each in self.services.values() if each.desired_count_drift is not None), None
        )

    @property
    def writes(self) -> bool:
        """Whether any UpdateService is to be called."""
        return any(each.writes for each in self.services.values())

    @property
    def reduces(self) -> bool:
        """Whether any write lowers a desired count."""
        return any(each.reduces for each in self.services.values())


def total(numbers: Iterable[int | None]) -> int | None:
    """Return the sum; None when one of the numbers is not known, for unknown is never zero."""
    found = list(numbers)
    known = [number for number in found if number is not None]
    return sum(known) if len(known) == len(found) else None


LOUDEST: Sequence[Kind] = ("protect", "grow", "shrink", "resume", "drain", "blind", "hold")


def loudest(kinds: Iterable[Kind]) -> Kind:
    """Return what a decision over several services is called: by the most that any of them does."""
    return min(kinds, key=LOUDEST.index, default="hold")
