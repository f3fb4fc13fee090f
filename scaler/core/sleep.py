# SPDX-License-Identifier: Apache-2.0
"""The next step of an environment that falls asleep, sleeps or wakes.

A record has the wanted state; it is never inferred from services that have no task. The order of the steps keeps
tasks safe: the control plane stops after the last worker, the database after the control plane; workers start after
both. An unknown reading allows no step.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final, Literal

from scaler.core.model import Service

SleepState = Literal["awake", "asleep"]
Phase = Literal["unknown", "awake", "draining", "stopping", "asleep", "starting"]

_AWAKE: Final[SleepState] = "awake"
_ASLEEP: Final[SleepState] = "asleep"
NOT_SERVING: Final = frozenset({"stopped", "stopping", "starting"})
"""States of an RDS instance without connections; in the others, such as `backing-up`, it serves."""


@dataclass(frozen=True, slots=True)
class SleepRecord:
    """The wanted state, with its time, author and reason."""

    state: SleepState
    at: datetime
    by: str = ""
    reason: str = ""
    schedule: str = ""
    """The schedule that is in force since `schedule_since`; a new one has no effect on the time before."""
    schedule_since: datetime | None = None
    messages: int | None = None
    """The messages in the queues when the environment had fallen asleep; read to wake it by a further one."""

    def after_clock(self, sleep_at: datetime | None, wake_at: datetime | None) -> "SleepRecord":
        """Return the record after the last times that the schedule names; at the same time, waking wins."""
        events = [(at, state) for at, state in ((sleep_at, _ASLEEP), (wake_at, _AWAKE)) if at is not None]
        if not events:
            return self
        at, state = max(events, key=lambda event: (event[0], event[1] == _AWAKE))
        if at <= max(self.at, self.schedule_since or self.at) or state == self.state:
            return self
        return replace(self, state=state, at=at, by="schedule", reason="", messages=None)


@dataclass(frozen=True, slots=True)
class SleepPolicy:
    """What sleeps, apart from the worker fleets."""

    services: Mapping[str, int]
    """The services of the control plane, with their desired count while awake."""
    scaled: frozenset[str] = frozenset()
    """Those of the services whose desired count Application Auto Scaling raises."""
    has_database: bool = False
    """Whether there is an RDS instance to stop; Aurora pauses by itself without connections."""


@dataclass(frozen=True, slots=True)
class SleepObservation:
    """Everything as read now; None is unknown."""

    workers: int | None
    """Tasks and desired counts of all worker services."""
    services: Mapping[str, Service | None]
    healthy: Mapping[str, int | None] = field(default_factory=dict)
    """Healthy tasks of the services; read while the environment wakes."""
    database: str | None = None
    """The status of the RDS instance."""


@dataclass(frozen=True, slots=True)
class SleepDecision:
    """The phase, the writes that are due, and what the phase waits for."""

    phase: Phase
    desired: Mapping[str, int] = field(default_factory=dict)
    database: Literal["stop", "start"] | None = None
    waits_for: str = ""

    @property
    def reads_database(self) -> bool:
        """Whether fleets read the database; a connection would keep Aurora from its pause."""
        return self.phase in ("unknown", "awake", "draining")


def decide_sleep(policy: SleepPolicy, wanted: SleepState, before: Phase, seen: SleepObservation) -> SleepDecision:
    """Return the next step towards the wanted state."""
    services = {name: service for name in policy.services if (service := seen.services.get(name)) is not None}
    unknown = sorted(policy.services.keys() - services.keys())
    if wanted == "asleep":
        return _fall_asleep(policy, before, seen, services, unknown)
    if before == "unknown" and unknown:
        return SleepDecision("unknown", waits_for=f"{unknown[0]} is unknown")
    # A scaler that starts while the control plane runs must not drain its workers.
    if before == "awake" or (before == "unknown" and all(service.desired for service in services.values())):
        # A desired count of 0 is the beginning of a destroy.
        changes = {name: count for name, count in _to_set(policy, services).items() if services[name].desired}
        return SleepDecision("awake", changes)
    return _wake(policy, seen, services, unknown)


def _fall_asleep(
    policy: SleepPolicy,
    before: Phase,
    seen: SleepObservation,
    services: Mapping[str, Service],
    unknown: list[str],
) -> SleepDecision:
    if seen.workers is None:
        phase: Phase = "draining" if before in ("awake", "draining", "starting") else "stopping"
        return SleepDecision(phase, waits_for="the number of workers is unknown")
    if seen.workers:
        return SleepDecision("draining", waits_for=f"{seen.workers} workers")
    desired = {name: 0 for name, service in services.items() if service.desired}
    left = sum(service.running + service.pending for service in services.values())
    if unknown or desired or left:
        waits_for = f"{unknown[0]} is unknown" if unknown else f"{left} tasks of the control plane"
        return SleepDecision("stopping", desired, waits_for=waits_for)
    if policy.has_database and seen.database != "stopped":
        stop = seen.database == "available"
        return SleepDecision("stopping", database="stop" if stop else None, waits_for=_database(seen.database))
    return SleepDecision("asleep")


def _wake(
    policy: SleepPolicy, seen: SleepObservation, services: Mapping[str, Service], unknown: list[str]
) -> SleepDecision:
    if policy.has_database and (seen.database is None or seen.database in NOT_SERVING):
        start = seen.database == "stopped"
        return SleepDecision("starting", database="start" if start else None, waits_for=_database(seen.database))
    desired = _to_set(policy, services)
    waits_for = next(
        (
            f"{name}: {seen.healthy.get(name) or 0} of {count} tasks are healthy"
            for name, count in policy.services.items()
            if (seen.healthy.get(name) or 0) < count
        ),
        "",
    )
    if unknown or desired or waits_for:
        return SleepDecision("starting", desired, waits_for=f"{unknown[0]} is unknown" if unknown else waits_for)
    return SleepDecision("awake")


def _to_set(policy: SleepPolicy, services: Mapping[str, Service]) -> dict[str, int]:
    return {
        name: policy.services[name]
        for name, service in services.items()
        if (
            service.desired < policy.services[name]
            if name in policy.scaled
            else service.desired != policy.services[name]
        )
    }


def _database(status: str | None) -> str:
    return f"the database is {status or 'unknown'}"
