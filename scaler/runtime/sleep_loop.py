# SPDX-License-Identifier: Apache-2.0
"""Keeps the environment in the state of its record: reads, decides, acts, every 15 seconds.

The record changes by command, by the clock, or by a message. All steps are repeated until a reading shows their effect,
so that the process may die between any two of them.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from scaler.config.sleep import SleepSettings
from scaler.core.model import BrokerCount, Overrides, Service
from scaler.core.sleep import Phase, SleepDecision, SleepObservation, SleepRecord, decide_sleep
from scaler.errors import SourceError
from scaler.ports import BrokerPort, ClockPort, ClusterPort, SleepPort, rfc3339

T = TypeVar("T")
PERIOD_S = 15.0
"""Within an hour of the start that AWS makes after seven days, the database is stopped again."""
DEADLINE_S = 60.0
SETTLE_S = 120.0
"""The broker's counts of messages settle in this time."""


@dataclass(frozen=True, slots=True)
class SleepStatus:
    """The phase, the record, and what the phase waits for."""

    phase: Phase = "unknown"
    record: SleepRecord | None = None
    waits_for: str = ""
    reads_database: bool = True

    @property
    def overrides(self) -> Overrides | None:
        """The overrides that replace those of each fleet; None while the environment is awake."""
        if self.phase == "awake":
            return None
        if self.phase == "unknown" or self.record is None:
            return Overrides(pause="both", by="scaler", reason="the record of sleep is unknown")
        reason = "asleep" if self.record.state == "asleep" else "waking"
        more = f": {self.record.reason}" if self.record.reason else ""
        return Overrides(fixed=0, by=self.record.by, at=rfc3339(self.record.at), reason=f"{reason}{more}")


@dataclass(eq=False)
class SleepLoop:
    """One loop an environment; `on_change` gets each new status."""

    settings: SleepSettings
    port: SleepPort
    cluster: ClusterPort
    broker: BrokerPort
    clock: ClockPort
    on_event: Callable[..., Any]
    """Writes a line of the log."""
    on_change: Callable[[SleepStatus], None]
    workers: Callable[[], Sequence[str]]
    """The names of the worker services."""
    queues: Callable[[], Sequence[str]]
    """The addresses of the queues."""
    hold_s: float
    """Seconds until a new status is in force in every fleet."""
    period_s: float = PERIOD_S
    status: SleepStatus = field(default_factory=SleepStatus)
    _held_at: float | None = None
    _asleep_at: float | None = None
    _alarms: bool | None = None
    _more: int = 0
    """Readings in a row with more messages than when the environment fell asleep."""
    _problem: str = ""

    def __post_init__(self) -> None:
        self._crons = self.settings.crons()

    async def run(self) -> None:
        """Repeat the step until cancelled."""
        while True:
            try:
                async with asyncio.timeout(DEADLINE_S):
                    await self.step()
                self._failed("")
            except TimeoutError:
                self._failed(f"not finished within {DEADLINE_S:g} s")
            except SourceError as error:
                self._failed(str(error))
            await asyncio.sleep(self.period_s)

    def waking_s(self) -> float:
        """Return the seconds since the environment was to wake; 0 while it is awake or asleep."""
        record = self.status.record
        if record is None or record.state == "asleep" or self.status.phase == "awake":
            return 0.0
        return max(0.0, (self.clock.wall() - record.at).total_seconds())

    async def step(self) -> None:
        """Read the record and everything it concerns, decide, act.

        Raises:
            SourceError: the record could not be read and never has been, or a write failed; the next step repeats it.
        """
        record = await self._record()
        seen = await self._observe(record)
        before = self.status.phase
        decision = decide_sleep(self.settings.policy, record.state, before, seen)
        self._set(SleepStatus(decision.phase, record, decision.waits_for, decision.reads_database))
        await self._act(decision)
        await self._watch_messages(record)

    async def _record(self) -> SleepRecord:
        """Return the record after the clock's change; the last known one while it cannot be read."""
        try:
            record = await self.port.record()
        except SourceError:
            if self.status.record is None:
                raise
            return self.status.record
        now, schedule = self.clock.wall(), self.settings.schedule
        changed = record or SleepRecord("awake", now, by="scaler", reason="first start")
        if changed.schedule != schedule:  # a new schedule has no effect on the time before
            changed = replace(changed, schedule=schedule, schedule_since=now)
        last = {state: cron.last(now) for state, cron in self._crons.items()}
        changed = changed.after_clock(last.get("asleep"), last.get("awake"))
        return changed if changed == record else await self._write(changed)

    async def _write(self, record: SleepRecord) -> SleepRecord:
        await self.port.write(record)
        found = await self.port.record()
        return record if found is None else found

    async def _observe(self, record: SleepRecord) -> SleepObservation:
        policy = self.settings.policy
        services = [self._known(self.cluster.service(name)) for name in policy.services]
        wakes = record.state == "awake" and self.status.phase != "awake"
        healthy = {name: await self._known(self.port.healthy(name)) for name in policy.services} if wakes else {}
        has_database = policy.has_database and (wakes or record.state == "asleep")
        return SleepObservation(
            workers=await self._workers() if record.state == "asleep" else None,
            services=dict(zip(policy.services, await asyncio.gather(*services), strict=True)),
            healthy=healthy,
            database=await self._known(self.port.database()) if has_database else None,
        )

    async def _workers(self) -> int | None:
        """Return the workers; unknown until no fleet can start one any more."""
        if self._held_at is None or self.clock.monotonic() - self._held_at < self.hold_s:
            return None
        found = await asyncio.gather(*(self._known(self.cluster.service(name)) for name in self.workers()))
        numbers = [None if service is None else _size(service) for service in found]
        known = [number for number in numbers if number is not None]
        return sum(known) if len(known) == len(numbers) else None

    async def _act(self, decision: SleepDecision) -> None:
        """Do all steps; raise the first error at the end."""
        calls = [self.cluster.set_desired(name, count) for name, count in decision.desired.items()]
        if decision.database is not None:
            calls.append(self.port.set_database(decision.database))
        if decision.phase != "unknown" and self._alarms != (decision.phase == "awake"):
            calls.append(self._set_alarms(enabled=decision.phase == "awake"))
        done = await asyncio.gather(*calls, return_exceptions=True)
        for error in done:
            if isinstance(error, BaseException):
                raise error

    async def _set_alarms(self, *, enabled: bool) -> None:
        await self.port.set_alarms(enabled=enabled)
        self._alarms = enabled

    async def _watch_messages(self, record: SleepRecord) -> None:
        """Wake the environment if a message has arrived since it fell asleep, as two readings show."""
        if self.status.phase != "asleep" or not self.settings.wake_on_message or self._asleep_at is None:
            self._more = 0
            return
        depths = await asyncio.gather(*(self._known(self.broker.depth(queue)) for queue in self.queues()))
        known = [depth for depth in depths if isinstance(depth, BrokerCount)]
        if len(known) < len(depths):
            return
        messages = sum(depth.visible + depth.in_flight + depth.delayed for depth in known)
        if record.messages is None:
            if self.clock.monotonic() - self._asleep_at >= SETTLE_S:
                await self._write(replace(record, messages=messages))
            return
        self._more = self._more + 1 if messages > record.messages else 0
        if self._more > 1:
            now, reason = self.clock.wall(), f"{messages} messages"
            await self._write(replace(record, state="awake", at=now, by="message", reason=reason, messages=None))

    def _set(self, status: SleepStatus) -> None:
        before, self.status = self.status, status
        now = self.clock.monotonic()
        self._held_at = None if status.overrides is None else (self._held_at if self._held_at is not None else now)
        if status.phase != "asleep":
            self._asleep_at = None
        elif self._asleep_at is None:
            self._asleep_at = now
        if (before.overrides, before.reads_database) != (status.overrides, status.reads_database):
            self.on_change(status)
        if (before.phase, before.waits_for) != (status.phase, status.waits_for) and status.record is not None:
            record = status.record
            self.on_event("sleep", phase=status.phase, waits_for=status.waits_for, state=record.state, by=record.by)

    @staticmethod
    async def _known(call: Awaitable[T]) -> T | None:
        try:
            return await call
        except SourceError:
            return None

    def _failed(self, problem: str) -> None:
        if problem and problem != self._problem:
            self.on_event("sleep_failed", error=problem)
        self._problem = problem


def _size(service: Service) -> int:
    return max(service.desired, service.running + service.pending)
