# SPDX-License-Identifier: Apache-2.0
"""The next step of an environment that falls asleep, sleeps or wakes.

A command, the clock or a message sets the wanted state; the later one is in force. Whether the control plane is down
is recorded before it stops, and never inferred from services without tasks. The order of the steps keeps tasks safe:
the control plane stops after the last worker, the database after the control plane; workers start after both. An
unknown reading allows no step.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal

from scaler.core.model import Service

SleepState = Literal["awake", "asleep"]
Phase = Literal["unknown", "awake", "draining", "stopping", "asleep", "starting"]

NOT_SERVING: Final = frozenset({"stopped", "stopping", "starting"})
"""States of an RDS instance without connections; in the others, such as `backing-up`, it serves."""
PATIENCE_S: Final = 900.0
"""After so long with a database, a control plane that is not healthy holds no fleet back, as without sleep."""


@dataclass(frozen=True, slots=True)
class SleepRequest:
    """A state that was wanted at a time, with author and reason."""

    state: SleepState
    at: datetime
    by: str = ""
    reason: str = ""


def wanted(now: datetime, requests: Iterable[SleepRequest], *, hold: SleepRequest | None = None) -> SleepRequest | None:
    """Return the request in force: `hold`, or the last one before `now`; at the same time, waking wins."""
    if hold is not None:
        return hold
    past = [request for request in requests if request.at <= now]
    return max(past, key=lambda request: (request.at, request.state == "awake"), default=None)


@dataclass(frozen=True, slots=True)
class SleepCommand:
    """The command of a user; it is in force until the clock names a later time, and until `hold` in any case."""

    request: SleepRequest
    hold: datetime | None = None


@dataclass(frozen=True, slots=True)
class SleepMemory:
    """What the scaler records for its next process."""

    id: str
    """The id of sleep in the stack: after its removal and return, everything before `created` has no effect."""
    created: datetime
    request: SleepRequest
    """The request in force."""
    down: bool = False
    """Whether the control plane is stopped, or may be."""
    muted: bool = False
    """Whether notifications of alarms are disabled, or may be."""
    schedule: Mapping[SleepState, tuple[str, datetime]] = field(default_factory=dict)
    """The cron expression of each state, and since when it is known: it has no effect on the time before."""
    messages: int | None = None
    """The fewest messages in the queues since the environment fell asleep."""
    message_at: datetime | None = None
    """When a further message has woken the environment."""


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


def decide_sleep(
    policy: SleepPolicy, state: SleepState, *, down: bool, seen: SleepObservation, waited_s: float = 0.0
) -> SleepDecision:
    """Return the next step towards the wanted state.

    `down`: the control plane has been stopped, or may be. `waited_s`: since when an environment that wakes has a
    database.
    """
    services = {name: service for name in policy.services if (service := seen.services.get(name)) is not None}
    unknown = sorted(policy.services.keys() - services.keys())
    if state == "asleep":
        return _fall_asleep(policy, down, seen, services, unknown)
    if not down:
        # A desired count of 0 is the beginning of a destroy.
        changes = {name: count for name, count in _to_set(policy, services).items() if services[name].desired}
        return SleepDecision("awake", changes)
    return _wake(policy, seen, services, unknown, waited_s)


def _fall_asleep(
    policy: SleepPolicy, down: bool, seen: SleepObservation, services: Mapping[str, Service], unknown: list[str]
) -> SleepDecision:
    if seen.workers != 0:
        waits_for = "the number of workers is unknown" if seen.workers is None else f"{seen.workers} workers"
        return SleepDecision("stopping" if down else "draining", waits_for=waits_for)
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
    policy: SleepPolicy,
    seen: SleepObservation,
    services: Mapping[str, Service],
    unknown: list[str],
    waited_s: float,
) -> SleepDecision:
    if policy.has_database and (seen.database is None or seen.database in NOT_SERVING):
        start = seen.database == "stopped"
        return SleepDecision("starting", database="start" if start else None, waits_for=_database(seen.database))
    desired = _to_set(policy, services)
    unhealthy = [name for name in policy.services if not seen.healthy.get(name)]
    if desired or (unhealthy and waited_s < PATIENCE_S):
        waits_for = f"{unknown[0]} is unknown" if unknown else f"{[*desired, *unhealthy][0]} has no healthy task"
        return SleepDecision("starting", desired, waits_for=waits_for)
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
