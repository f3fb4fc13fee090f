# SPDX-License-Identifier: Apache-2.0
"""Runs the loops of all fleets side by side, and survives whatever any one of them does.

Each fleet has its own task, deadline and pace. One that raises, hangs, or does not even end when it is cancelled is
reported and left to itself; the others do not notice. Fleets come, change and go while the others tick.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from scaler.errors import ThrottledError
from scaler.ports import Clock
from scaler.runtime.backoff import SLOWEST_S, Pace, offset_s
from scaler.runtime.fleet_loop import FleetLoop
from scaler.runtime.tick_result import Report

TICK_SHARE = 0.95
"""A tick that takes longer than this part of its interval is given up: the next one sees the world anew."""
GRACE_S = 1.0
"""A tick that was given up ends within this; one that does not is left behind."""
SILENCE_LIMIT_S = 30.0
PROBE_S = 1.0
"""How often the loop's lag is measured."""


class StuckTickError(Exception):
    """The fleet's last tick was cancelled and has not ended; another one beside it could contradict it."""


@dataclass
class _Seat:
    """One fleet and what is known of its turning."""

    loop: FleetLoop
    pace: Pace
    offset_s: float
    next_loop: FleetLoop | None = None
    gone: bool = False
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    ticked_at: float = 0.0
    failures: int = 0
    left_behind: asyncio.Task[Report] | None = None


class Supervisor:
    """Keeps every fleet's loop ticking and knows when each last did."""

    def __init__(
        self,
        loops: Sequence[FleetLoop],
        clock: Clock,
        *,
        on_lag: Callable[[float], None] = lambda _: None,
        on_gone: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._clock = clock
        self._on_lag = on_lag
        self._on_gone = on_gone
        self._seats: dict[str, _Seat] = {}
        self._group: asyncio.TaskGroup | None = None
        self.apply(loops)

    def apply(self, loops: Sequence[FleetLoop]) -> None:
        """Take these loops from the next tick on: new fleets begin, changed ones keep their state, others end.

        A fleet that ends leaves its workers alone: those in drain resume when their lease ends.
        """
        names = {loop.fleet.name for loop in loops}
        for name in self._seats.keys() - names:
            seat = self._seats.pop(name)
            seat.gone = True
            seat.wake.set()
        for loop in loops:
            name = loop.fleet.name
            if name in self._seats:
                self._seats[name].next_loop = loop
                self._seats[name].wake.set()
                continue
            interval_s = loop.fleet.interval_s
            seat = _Seat(loop, Pace(interval_s), offset_s(name, interval_s, len(loops)))
            seat.ticked_at = self._clock.monotonic()
            self._seats[name] = seat
            if self._group is not None:
                self._group.create_task(self._run(seat), name=f"fleet {name}")

    async def run(self) -> None:
        """Tick until cancelled."""
        async with asyncio.TaskGroup() as self._group:
            for name, seat in self._seats.items():
                self._group.create_task(self._run(seat), name=f"fleet {name}")
            await self._probe()

    def problem(self) -> str | None:
        """Return why the process should be restarted: no loop turns at all.

        One fleet that is stuck among others is no reason: a restart would cost the others their windows, again and
        again. `failing` names it, and a rule tells somebody.
        """
        silent = {name: self._silent_s(seat) for name, seat in self._seats.items()}
        stuck = [name for name, seconds in silent.items() if seconds > self._limit_s(self._seats[name])]
        if not stuck or len(stuck) < len(silent):
            return None
        return f"fleet {stuck[0]} has not ticked for {silent[stuck[0]]:.0f} s" + (
            f", and none of the {len(stuck)} fleets has" if len(stuck) > 1 else ""
        )

    def failing(self) -> dict[str, int]:
        """Return the fleets whose last ticks were not finished, and how many in a row."""
        return {name: seat.failures for name, seat in self._seats.items() if seat.failures}

    def paces(self) -> dict[str, float]:
        """Return the seconds between two ticks of each fleet, as of now."""
        return {name: seat.pace.seconds for name, seat in [*self._seats.items()]}

    def _silent_s(self, seat: _Seat) -> float:
        return self._clock.monotonic() - seat.ticked_at

    @staticmethod
    def _limit_s(seat: _Seat) -> float:
        return max(SILENCE_LIMIT_S + SLOWEST_S, 3 * seat.loop.fleet.interval_s)

    async def _probe(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + PROBE_S
            await asyncio.sleep(PROBE_S)
            self._on_lag(max(0.0, loop.time() - due))

    async def _run(self, seat: _Seat) -> None:
        due = self._clock.monotonic() + seat.offset_s
        await self._sleep_until(seat, due)
        while not seat.gone:
            self._change(seat)
            await self._turn(seat)
            seat.ticked_at = self._clock.monotonic()
            # On the grid, however long the tick took: fleets that ask together share calls.
            interval_s = seat.pace.interval_s
            due += seat.pace.seconds
            if due < seat.ticked_at:
                due += interval_s * -(-(seat.ticked_at - due) // interval_s)
            due = min(due, seat.ticked_at + seat.pace.seconds)  # whatever a clock says that went back
            await self._sleep_until(seat, due)
        self._on_gone(seat.loop.fleet.name)

    def _change(self, seat: _Seat) -> None:
        loop, seat.next_loop = seat.next_loop, None
        if loop is None:
            return
        loop.take_over(seat.loop)
        if loop.fleet.interval_s != seat.pace.interval_s:
            seat.pace = Pace(loop.fleet.interval_s)
        seat.loop = loop

    async def _sleep_until(self, seat: _Seat, due: float) -> None:
        try:
            async with asyncio.timeout(max(0.0, due - self._clock.monotonic())):
                await seat.wake.wait()
        except TimeoutError:
            return
        seat.wake.clear()

    async def _turn(self, seat: _Seat) -> None:
        try:
            report = await self._tick(seat)
        except (asyncio.CancelledError, KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # noqa: BLE001  one fleet's defect must not stop the others; it is logged and counted
            seat.failures += 1
            if seat.failures > 1:
                seat.pace.failed()
            self._tell(seat, error)
        else:
            seat.failures = 0
            seat.pace.ticked(throttled=_throttled(report), urgent=report.tick.decision.kind == "protect")

    async def _tick(self, seat: _Seat) -> Report:
        if seat.left_behind is not None:
            if not seat.left_behind.done():
                raise StuckTickError("the last tick was cancelled and has not ended")
            seat.left_behind = None
        deadline_s = seat.loop.fleet.interval_s * TICK_SHARE
        task = asyncio.create_task(seat.loop.tick(), name=f"tick {seat.loop.fleet.name}")
        try:
            await asyncio.wait({task}, timeout=deadline_s)
            if not task.done():
                task.cancel()
                await asyncio.wait({task}, timeout=GRACE_S)
        finally:
            if not task.done():
                task.cancel()
                seat.left_behind = task
        if not task.done() or task.cancelled():
            raise TimeoutError(f"the tick was not finished within {deadline_s:g} s")
        return task.result()

    def _tell(self, seat: _Seat, error: BaseException) -> None:
        with contextlib.suppress(Exception):  # whoever cannot even be told of a failure has been counted
            seat.loop.failed(error)


def _throttled(report: Report) -> bool:
    return any(isinstance(error, ThrottledError) for error in report.errors)
