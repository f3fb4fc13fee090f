# SPDX-License-Identifier: Apache-2.0
"""The state of a fleet from tick to tick, and the decision of a tick; both are values, passed in and returned.

A restarted scaler starts from `FleetState()`: everything that matters for safety is read again from ECS and from the
agents (a draining worker is known by its agent's phase), and there is no scale-in before a full window.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from scaler.core.forecast.accuracy import Accuracy
from scaler.core.model import Overrides, Reading
from scaler.core.window import NeedWindow

Value = int | float | str | bool | None

Kind = Literal["hold", "grow", "protect", "resume", "drain", "shrink", "blind"]
"""The main effect of a decision. `protect` raises desired for protection; `blind` has no desired count."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """A decided UpdateService: counted whether or not it succeeded."""

    desired: int
    instead_of: int
    count: int


@dataclass(frozen=True, slots=True)
class ServiceState:
    """The state of one service of a fleet."""

    drains: Mapping[str, float] = field(default_factory=dict)
    """Draining workers by task ARN: since when."""
    resumes: Mapping[str, float] = field(default_factory=dict)
    """Resumed workers that do not consume yet: since when."""
    launching: Mapping[str, float] = field(default_factory=dict)
    """Tasks that do not consume yet: when they were first seen."""
    idle: Mapping[str, float] = field(default_factory=dict)
    """Workers without a task: since when."""
    served: Mapping[str, float] = field(default_factory=dict)
    """Workers that have consumed: since when. One without an answer and protection may be dead, and does not start."""
    failing_since: float | None = None
    """Since when it has fewer started workers than desired, and no new worker has begun to consume."""
    expected: int | None = None
    """The desired count of the service unless something else wrote it."""
    attempt: Attempt | None = None
    silent: Mapping[str, float] = field(default_factory=dict)
    """Workers that do not answer: since when."""


@dataclass(frozen=True, slots=True)
class MissingMessages:
    """Queued tasks without a message: the smallest number of them since a time."""

    tasks: int
    since: float


@dataclass(frozen=True, slots=True)
class FleetState:
    """The state of one fleet."""

    window: NeedWindow = field(default_factory=NeedWindow)
    broker_above_since: float | None = None
    zero_ticks: int = 0
    """For how many ticks in a row two sources have reported no work."""
    unknown_since: float | None = None
    """Since when the demand has been unknown."""
    overrides_unknown_since: float | None = None
    """Since when the overrides have been unknown."""
    adopted: tuple[int, float] | None = None
    """A drifted desired count that is kept for one window, and since when."""
    current: str | None = None
    """The service that starts new workers."""
    scheduled: Mapping[str, tuple[int, float]] = field(default_factory=dict)
    """Messages that are not due, by the ARN of the worker that holds them: how many, and when it reported them."""
    missing_messages: MissingMessages | None = None
    launch_latencies: tuple[float, ...] = ()
    """Seconds from the first sight of a starting worker until it consumed, of the last launches."""
    accuracy: Accuracy = field(default_factory=Accuracy)
    """Of the look-ahead."""
    services: Mapping[str, ServiceState] = field(default_factory=dict)

    def of(self, service: str) -> ServiceState:
        """Return the state of a service."""
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
    source: Literal["database", "database+broker", "broker", "metric"]
    may_shrink: bool
    stale: bool = False
    """The source did not answer in this tick: this is its last reading."""
    unread: int = 0
    """Of the slots those of workers that do not answer: they raise a fleet, and do not keep it for a window."""
    without_message: int | None = None
    """Queued tasks that are no demand, because the broker has lost their messages; None: database or broker unknown."""
    not_due: int | None = None
    """Messages that are no demand yet: delayed in the queue, or held by a worker until their ETA or countdown."""


@dataclass(frozen=True, slots=True)
class WorkerCounts:
    """Workers of the fleet by state."""

    starting: int = 0
    stuck: int = 0
    """Of the starting workers: those later than the launch deadline."""
    consuming_idle: int = 0
    busy: int = 0
    draining: int = 0
    released: int = 0
    unknown: int = 0
    protected: int | None = None
    slots_total: int = 0
    slots_free: int = 0

    def plus(self, other: WorkerCounts) -> WorkerCounts:
        """Return the sum; a number that is unknown in one is unknown in the sum."""
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
    """The decision for one service, in absolute numbers."""

    desired: int | None
    """The new desired count; None when it is unknown, and then there is no write."""
    observed: int | None
    """The present desired count."""
    drains: tuple[str, ...]
    """Task ARNs that get a drain command, in every tick again."""
    resumes: tuple[str, ...]
    released: tuple[str, ...]
    """The released workers that allow a lower count; empty unless this decision lowers it."""
    kind: Kind
    protected_minimum: int | None
    """Protected + about to be protected; None when the tasks are unknown."""
    workers: WorkerCounts
    desired_count_drift: int | None = None
    """A desired count that this scaler did not write, seen in this tick."""

    @property
    def writes(self) -> bool:
        """Whether UpdateService must be called."""
        return self.desired is not None and self.desired != self.observed

    @property
    def reduces(self) -> bool:
        """Whether the write lowers the desired count."""
        return self.desired is not None and self.observed is not None and self.desired < self.observed


@dataclass(frozen=True, slots=True)
class Decision:
    """The decision for every service of a fleet, and its explanation."""

    services: Mapping[str, ServiceDecision]
    current: str | None
    """The service that starts new workers; None when it is unknown."""
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
    """The bounds in force, with schedule and overrides."""
    overrides: Reading[Overrides]
    workers: WorkerCounts
    stop: str | None = None
    """A silent worker that StopTask ends, if a last check shows that nothing runs there."""

    @property
    def desired(self) -> int | None:
        """The sum of the new desired counts; None when one is unknown."""
        return total(service.desired for service in self.services.values())

    @property
    def observed(self) -> int | None:
        """The sum of the present desired counts; None when one is unknown."""
        return total(service.observed for service in self.services.values())

    @property
    def protected_minimum(self) -> int | None:
        """The sum of the protected minimums; None when one is unknown."""
        return total(service.protected_minimum for service in self.services.values())

    @property
    def drains(self) -> tuple[str, ...]:
        """All tasks that get a drain command."""
        return tuple(arn for service in self.services.values() for arn in service.drains)

    @property
    def resumes(self) -> tuple[str, ...]:
        """All tasks that get a resume command."""
        return tuple(arn for service in self.services.values() for arn in service.resumes)

    @property
    def released(self) -> tuple[str, ...]:
        """All released workers that allow a lower count."""
        return tuple(arn for service in self.services.values() for arn in service.released)

    @property
    def desired_count_drift(self) -> int | None:
        """A desired count that this scaler did not write, seen in this tick."""
        return next(
            (
                service.desired_count_drift
                for service in self.services.values()
                if service.desired_count_drift is not None
            ),
            None,
        )

    @property
    def writes(self) -> bool:
        """Whether any UpdateService must be called."""
        return any(service.writes for service in self.services.values())

    @property
    def reduces(self) -> bool:
        """Whether any write lowers a desired count."""
        return any(service.reduces for service in self.services.values())


def total(numbers: Iterable[int | None]) -> int | None:
    """Return the sum; None when one of the numbers is unknown: unknown is never zero."""
    found = list(numbers)
    known = [number for number in found if number is not None]
    return sum(known) if len(known) == len(found) else None


STRONGEST: Sequence[Kind] = ("protect", "grow", "shrink", "resume", "drain", "blind", "hold")


def strongest(kinds: Iterable[Kind]) -> Kind:
    """Return the kind of a decision over several services: the strongest of their kinds."""
    return min(kinds, key=STRONGEST.index, default="hold")
