# SPDX-License-Identifier: Apache-2.0
"""Runs the loops of all fleets at the same time; a failure of one fleet does not affect the others.

Each fleet has its own task, deadline and pace. A tick that raises, hangs, or ignores its cancellation is reported
and abandoned. Fleets are added, changed and removed while the others tick.
"""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from scaler.adapters.ecs import SOURCE as ECS
from scaler.errors import ThrottledError
from scaler.ports import ClockPort
from scaler.runtime.backoff import SLOWED, offset_s
from scaler.runtime.fleet_loop import FleetLoop
from scaler.runtime.tick_result import TickResult

TICK_SHARE = 0.95
"""Share of the interval after which a tick is cancelled; the next tick observes again."""
GRACE_S = 1.0
"""Time for a cancelled tick to end; a tick that takes longer is abandoned."""
SILENCE_LIMIT_S = 90.0
PROBE_S = 1.0
"""How often the event loop's lag is measured."""


class StuckTickError(Exception):
    """The fleet's last tick was cancelled and has not ended; a second tick at the same time could contradict it."""


@dataclass
class _FleetRunner:
    """One fleet's loop and the state of its ticks."""

    loop: FleetLoop
    offset_s: float
    intervals: int = 1
    """Intervals between two ticks: more than one while ECS throttles, or while ticks fail."""
    next_loop: FleetLoop | None = None
    removed: bool = False
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    ticked_at: float = 0.0
    failures: int = 0
    """Ticks in a row that were not finished."""
    abandoned: asyncio.Task[TickResult] | None = None

    @property
    def pace_s(self) -> float:
        """Seconds between two ticks."""
        return self.intervals * self.loop.fleet.interval_s


class FleetSupervisor:
    """Runs every fleet's loop and records the time of its last tick."""

    def __init__(
        self,
        loops: Sequence[FleetLoop],
        clock: ClockPort,
        *,
        on_lag: Callable[[float], None] = lambda _: None,
        on_removed: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._clock = clock
        self._on_lag = on_lag
        self._on_removed = on_removed
        self._runners: dict[str, _FleetRunner] = {}
        self._group: asyncio.TaskGroup | None = None
        self.apply(loops)

    def apply(self, loops: Sequence[FleetLoop]) -> None:
        """Use these loops from the next tick on: new fleets start, changed fleets keep their state, other fleets end.

        A fleet that ends does not touch its workers: a drained worker resumes when its lease ends.
        """
        names = {loop.fleet.name for loop in loops}
        for name in self._runners.keys() - names:
            runner = self._runners.pop(name)
            runner.removed = True
            runner.wake.set()
        for loop in loops:
            name = loop.fleet.name
            if name in self._runners:
                self._runners[name].next_loop = loop
                self._runners[name].wake.set()
                continue
            runner = _FleetRunner(loop, offset_s(name, loop.fleet.interval_s, len(loops)))
            runner.ticked_at = self._clock.monotonic()
            self._runners[name] = runner
            if self._group is not None:
                self._group.create_task(self._run(runner), name=f"fleet {name}")

    async def run(self) -> None:
        """Tick until cancelled."""
        async with asyncio.TaskGroup() as self._group:
            for name, runner in self._runners.items():
                self._group.create_task(self._run(runner), name=f"fleet {name}")
            await self._probe()

    def problem(self) -> str | None:
        """Return why the process should be restarted: no fleet ticks at all.

        One stuck fleet among others is no reason: each restart would cost the other fleets their windows. `failing`
        names the stuck fleet, and a Prometheus rule raises an alert.
        """
        now = self._clock.monotonic()
        silent = {name: now - runner.ticked_at for name, runner in self._runners.items()}
        stuck = [name for name, seconds in silent.items() if seconds > self._limit_s(self._runners[name])]
        if not stuck or len(stuck) < len(silent):
            return None
        return f"fleet {stuck[0]} has not ticked for {silent[stuck[0]]:.0f} s" + (
            f", and none of the {len(stuck)} fleets has" if len(stuck) > 1 else ""
        )

    def failing(self) -> dict[str, int]:
        """Return the fleets whose last ticks were not finished, with the number of such ticks in a row."""
        return {name: runner.failures for name, runner in self._runners.items() if runner.failures}

    def tick_intervals(self) -> dict[str, float]:
        """Return the current seconds between two ticks of each fleet."""
        return {name: runner.pace_s for name, runner in [*self._runners.items()]}

    @staticmethod
    def _limit_s(runner: _FleetRunner) -> float:
        return max(SILENCE_LIMIT_S, 3 * SLOWED * runner.loop.fleet.interval_s)

    async def _probe(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + PROBE_S
            await asyncio.sleep(PROBE_S)
            self._on_lag(max(0.0, loop.time() - due))

    async def _run(self, runner: _FleetRunner) -> None:
        due = self._clock.monotonic() + runner.offset_s
        await self._sleep_until(runner, due)
        while not runner.removed:
            self._apply_next_loop(runner)
            await self._tick_once(runner)
            runner.ticked_at = self._clock.monotonic()
            # On the grid, however long the tick took: fleets that tick at the same time share calls.
            interval_s = runner.loop.fleet.interval_s
            due += runner.pace_s
            if due < runner.ticked_at:
                due += interval_s * -(-(runner.ticked_at - due) // interval_s)
            due = min(due, runner.ticked_at + runner.pace_s)  # also if the clock went back
            await self._sleep_until(runner, due)
        self._on_removed(runner.loop.fleet.name)

    def _apply_next_loop(self, runner: _FleetRunner) -> None:
        loop, runner.next_loop = runner.next_loop, None
        if loop is None:
            return
        loop.inherit_state(runner.loop)
        runner.loop = loop

    async def _sleep_until(self, runner: _FleetRunner, due: float) -> None:
        try:
            async with asyncio.timeout(max(0.0, due - self._clock.monotonic())):
                await runner.wake.wait()
        except TimeoutError:
            return
        runner.wake.clear()

    async def _tick_once(self, runner: _FleetRunner) -> None:
        try:
            report = await self._tick(runner)
        except (asyncio.CancelledError, KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # noqa: BLE001  one fleet's defect must not stop the others; it is logged and counted
            runner.failures += 1
            if runner.failures > 1:
                runner.intervals = SLOWED
            with contextlib.suppress(Exception):  # the failure is counted already
                runner.loop.failed(error)
        else:
            runner.failures = 0
            # A fleet that protects workers never slows down: a worker without protection takes no tasks.
            urgent = report.tick.decision.kind == "protect"
            throttled = any(isinstance(error, ThrottledError) and error.source == ECS for error in report.errors)
            runner.intervals = SLOWED if throttled and not urgent else 1

    async def _tick(self, runner: _FleetRunner) -> TickResult:
        if runner.abandoned is not None:
            if not runner.abandoned.done():
                raise StuckTickError("the last tick was cancelled and has not ended")
            runner.abandoned = None
        deadline_s = runner.loop.fleet.interval_s * TICK_SHARE
        task = asyncio.create_task(runner.loop.tick(runner.intervals), name=f"tick {runner.loop.fleet.name}")
        try:
            await asyncio.wait({task}, timeout=deadline_s)
            if not task.done():
                task.cancel()
                await asyncio.wait({task}, timeout=GRACE_S)
        finally:
            if not task.done():
                task.cancel()
                runner.abandoned = task
        if not task.done() or task.cancelled():
            raise TimeoutError(f"the tick was not finished within {deadline_s:g} s")
        return task.result()
