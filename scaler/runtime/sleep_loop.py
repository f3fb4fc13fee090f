# SPDX-License-Identifier: Apache-2.0
"""Keeps the environment in the state that is wanted: reads, decides, acts, every 15 seconds.

Commands, the clock and messages set the state. All steps are repeated until a reading shows their effect, so that the
process may die between any two of them.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar

from scaler.config.sleep import SleepSettings
from scaler.core.model import BrokerCount, Overrides
from scaler.core.sleep import (
    NOT_SERVING,
    Phase,
    SleepCommand,
    SleepDecision,
    SleepMemory,
    SleepObservation,
    SleepRequest,
    decide_sleep,
    wanted,
)
from scaler.errors import AbsentError, SourceError
from scaler.ports import BrokerPort, ClockPort, ClusterPort, SleepPort, rfc3339

T = TypeVar("T")
PERIOD_S = 15.0
"""Within an hour of the start that AWS makes after seven days, the database is stopped again."""
DEADLINE_S = 60.0
SETTLE_S = 120.0
"""The broker's counts of messages settle in this time."""
ABSENT_AFTER = 6
"""A service of a fleet has no workers after so many answers in a row that it does not exist."""
LATE_S, REPAIR_S = 900.0, 3600.0
"""After a wake, alarms still in the state ALARM are enabled after the first time. Until the second one, alarms that an
apply disables again are enabled: its plan is from the sleep."""


@dataclass(frozen=True, slots=True)
class SleepStatus:
    """The phase, the request in force, and what the phase waits for."""

    phase: Phase = "unknown"
    request: SleepRequest | None = None
    waits_for: str = ""
    reads_database: bool = True

    @property
    def overrides(self) -> Overrides | None:
        """The overrides that replace those of each fleet; None while the environment is awake."""
        if self.phase == "awake":
            return None
        if self.phase == "unknown" or self.request is None:
            return Overrides(pause="both", by="scaler", reason="the state of sleep is unknown")
        reason = "asleep" if self.request.state == "asleep" else "waking"
        more = f": {self.request.reason}" if self.request.reason else ""
        return Overrides(fixed=0, by=self.request.by, at=rfc3339(self.request.at), reason=f"{reason}{more}")


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
    _command: SleepCommand | None = None
    _memory: SleepMemory | None = None
    _stored: SleepMemory | None = None
    """The record as it was read or written last."""
    _since: dict[str, float] = field(default_factory=dict)
    """Since when something is so, in monotonic seconds."""
    _absent: dict[str, int] = field(default_factory=dict)
    _more: int = 0
    """Readings in a row with more messages than before."""
    _problem: str = ""

    def __post_init__(self) -> None:
        self._crons = self.settings.crons()

    async def run(self) -> None:
        """Repeat the step until cancelled."""
        while True:
            problem = ""
            try:
                async with asyncio.timeout(DEADLINE_S):
                    await self.step()
            except TimeoutError:
                problem = f"not finished within {DEADLINE_S:g} s"
            except Exception as error:  # noqa: BLE001  the fleets must not end with it
                problem = f"{type(error).__name__}: {error}"
            if problem and problem != self._problem:
                self.on_event("sleep_failed", error=problem)
            self._problem = problem
            await asyncio.sleep(self.period_s)

    def waking_s(self) -> float:
        """Return for how long the environment has been waking, or its state unknown; 0 while it is awake or asleep."""
        return self._for_s("waking", holds=self.status.phase in ("unknown", "starting"))

    async def step(self) -> None:
        """Read everything, decide, act.

        Raises:
            Exception: a call failed; all other calls of the step were made, and the next step repeats it.
        """
        failed: list[BaseException] = []
        await self._attempt(self._read(), failed)
        if self._memory is not None:
            memory = await self._with_request(self._memory)
            seen = await self._observe(memory)
            serves = not self.settings.policy.has_database or seen.database not in {None, *NOT_SERVING}
            waited_s = self._for_s("serves", holds=memory.down and memory.request.state == "awake" and serves)
            decision = decide_sleep(
                self.settings.policy, memory.request.state, down=memory.down, seen=seen, waited_s=waited_s
            )
            self._set(SleepStatus(decision.phase, memory.request, decision.waits_for, decision.reads_database))
            await self._attempt(self._act(decision, memory), failed)
            await self._attempt(self._watch_messages(), failed)
            await self._attempt(self._store(), failed)
        if failed:
            raise failed[0]

    async def _read(self) -> None:
        """Read command and record; the last known ones stay in force while they cannot be read."""
        command, stored = await self.port.read()
        self._command = command
        if self._memory is None:  # only this process writes it
            self._stored = stored
            now = self.clock.wall()
            known = stored is not None and stored.id == self.settings.id
            self._memory = stored if known else SleepMemory(self.settings.id, now, SleepRequest("awake", now, "scaler"))

    async def _with_request(self, memory: SleepMemory) -> SleepMemory:
        """Return the record with the schedule of the settings and the request in force now."""
        now, crons = self.clock.wall(), self._crons
        known = {state: memory.schedule.get(state, ("", now)) for state in crons}
        schedule = {
            state: known[state]
            if known[state][0] == self._text(cron.expression)
            else (self._text(cron.expression), now)
            for state, cron in crons.items()
        }
        requests = [
            SleepRequest(state, last, "schedule")
            for state, cron in crons.items()
            if (last := cron.last(now)) is not None and last > schedule[state][1]
        ]
        hold = None
        if (command := self._command) is not None and command.request.at > memory.created:
            requests.append(replace(command.request, at=min(command.request.at, now)))
            hold = command.request if command.hold is not None and now < command.hold else None
        if memory.message_at is not None:
            requests.append(SleepRequest("awake", memory.message_at, "message"))
        request = wanted(now, requests, hold=hold) or SleepRequest("awake", memory.created, "scaler")
        if request.state != memory.request.state:
            memory = replace(memory, messages=None)
        self._memory = replace(memory, schedule=schedule, request=request)
        return self._memory

    def _text(self, expression: str) -> str:
        return f"{expression} {self.settings.timezone}"

    async def _observe(self, memory: SleepMemory) -> SleepObservation:
        policy, sleeps = self.settings.policy, memory.request.state == "asleep"
        services = await asyncio.gather(*(self._known(partial(self.cluster.service, name)) for name in policy.services))
        wakes = memory.down and not sleeps
        healthy = (
            {name: await self._known(partial(self.port.healthy, name)) for name in policy.services} if wakes else {}
        )
        return SleepObservation(
            workers=await self._workers() if sleeps else None,
            services=dict(zip(policy.services, services, strict=True)),
            healthy=healthy,
            database=await self._known(self.port.database) if policy.has_database and (sleeps or wakes) else None,
        )

    async def _workers(self) -> int | None:
        """Return the workers; unknown until no fleet can start one any more."""
        held = self.status.overrides
        if self._for_s("held", holds=held is not None and held.fixed == 0) < self.hold_s:
            return None
        numbers = [await self._workers_of(name) for name in self.workers()]
        known = [number for number in numbers if number is not None]
        return sum(known) if len(known) == len(numbers) else None

    async def _workers_of(self, name: str) -> int | None:
        try:
            service = await self.cluster.service(name)
        except AbsentError:
            self._absent[name] = self._absent.get(name, 0) + 1
            return 0 if self._absent[name] >= ABSENT_AFTER else None
        except SourceError:
            return None
        self._absent.pop(name, None)
        return max(service.desired, service.running + service.pending)

    async def _act(self, decision: SleepDecision, memory: SleepMemory) -> None:
        """Do all steps; raise the first error at the end. What is about to be done is recorded before."""
        asleep = decision.phase in ("stopping", "asleep")
        awake_s = self._for_s("awake", holds=decision.phase == "awake")
        if asleep:
            self._memory = replace(memory, down=True, muted=True)
            if self._stored is None or not (self._stored.down and self._stored.muted):
                await self._store()
        elif decision.phase == "awake" and memory.down:
            self._memory = replace(memory, down=False)
        calls: list[Awaitable[None]] = [
            self.cluster.set_desired(name, count) for name, count in decision.desired.items()
        ]
        if decision.database is not None:
            calls.append(self.port.set_database(decision.database))
        if asleep or (decision.phase == "awake" and memory.muted):
            calls.append(self._set_alarms(enabled=not asleep, awake_s=awake_s))
        for error in await asyncio.gather(*calls, return_exceptions=True):
            if isinstance(error, BaseException):
                raise error

    async def _set_alarms(self, *, enabled: bool, awake_s: float) -> None:
        await self.port.set_alarms(enabled=enabled, late=awake_s >= LATE_S)
        if enabled and awake_s >= REPAIR_S and self._memory is not None:
            self._memory = replace(self._memory, muted=False)

    async def _watch_messages(self) -> None:
        """Wake the environment if there are more messages than before, as two readings show."""
        memory = self._memory
        settled_s = self._for_s("asleep", holds=self.status.phase == "asleep")
        if memory is None or not self.settings.wake_on_message or settled_s < SETTLE_S:
            self._more = 0
            return
        depths = await asyncio.gather(*(self._known(partial(self.broker.depth, queue)) for queue in self.queues()))
        known = [depth for depth in depths if isinstance(depth, BrokerCount)]
        if len(known) < len(depths):
            return
        messages = sum(depth.visible + depth.in_flight + depth.delayed for depth in known)
        if memory.messages is None or messages < memory.messages:
            self._memory = replace(memory, messages=messages)
        self._more = self._more + 1 if memory.messages is not None and messages > memory.messages else 0
        if self._more > 1:
            self._memory = replace(memory, message_at=self.clock.wall())

    async def _store(self) -> None:
        if self._memory is not None and self._memory != self._stored:
            await self.port.write(self._memory)
            self._stored = self._memory

    def _set(self, status: SleepStatus) -> None:
        before, self.status = self.status, status
        self._for_s("held", holds=status.overrides is not None and status.overrides.fixed == 0)
        if (before.overrides, before.reads_database) != (status.overrides, status.reads_database):
            self.on_change(status)
        if (before.phase, before.waits_for) != (status.phase, status.waits_for) and status.request is not None:
            request = status.request
            self.on_event("sleep", phase=status.phase, waits_for=status.waits_for, state=request.state, by=request.by)

    def _for_s(self, what: str, *, holds: bool) -> float:
        """Return for how many seconds something holds; 0 if it does not."""
        if not holds:
            self._since.pop(what, None)
            return 0.0
        now = self.clock.monotonic()
        return now - self._since.setdefault(what, now)

    @staticmethod
    async def _attempt(call: Awaitable[None], failed: list[BaseException]) -> None:
        try:
            await call
        except Exception as error:  # noqa: BLE001  the step raises it at its end
            failed.append(error)

    @staticmethod
    async def _known(call: Callable[[], Awaitable[T]]) -> T | None:
        try:
            return await call()
        except SourceError:
            return None
