# SPDX-License-Identifier: Apache-2.0
"""Runs the loops of all fleets side by side, and survives the failure of any one of them."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Sequence

from scaler.ports import Clock
from scaler.runtime.fleet_loop import FleetLoop

TICK_SHARE = 0.95
"""A tick that takes longer than this part of its interval is given up: the next one sees the world anew."""
BACKOFF_LIMIT_S = 60.0
SILENCE_LIMIT_S = 30.0


class Supervisor:
    """Keeps every fleet's loop ticking and knows when each last did."""

    def __init__(self, loops: Sequence[FleetLoop], clock: Clock) -> None:
        self._loops = loops
        self._clock = clock
        self._started = clock.monotonic()
        self._ticked: dict[str, float] = {}
        self._failures: dict[str, int] = {}

    async def run(self) -> None:
        """Tick until cancelled."""
        async with asyncio.TaskGroup() as group:
            for loop in self._loops:
                group.create_task(self._run(loop), name=f"fleet {loop.fleet.name}")

    def problem(self) -> str | None:
        """Return which loop does not turn; one that fails again and again does turn, and `failing` names it."""
        now = self._clock.monotonic()
        for loop in self._loops:
            silent = now - self._ticked.get(loop.fleet.name, self._started)
            if silent > max(SILENCE_LIMIT_S + BACKOFF_LIMIT_S, 3 * loop.fleet.interval_s):
                return f"fleet {loop.fleet.name} has not ticked for {silent:.0f} s"
        return None

    def failing(self) -> dict[str, int]:
        """Return the fleets whose last ticks were not finished, and how many in a row."""
        return {name: count for name, count in self._failures.items() if count}

    async def _run(self, loop: FleetLoop) -> None:
        interval = loop.fleet.interval_s
        if len(self._loops) > 1:
            # Fleets do not all ask AWS in the same instant; the same fleet always at the same offset.
            await asyncio.sleep(interval * (zlib.crc32(loop.fleet.name.encode()) % 1000) / 1000)
        while True:
            began = self._clock.monotonic()
            await self._turn(loop)
            self._ticked[loop.fleet.name] = self._clock.monotonic()
            failures = self._failures.get(loop.fleet.name, 0)
            pause = interval if failures <= 1 else min(BACKOFF_LIMIT_S, interval * 2 ** min(failures - 1, 10))
            await asyncio.sleep(max(0.0, began + pause - self._clock.monotonic()))

    async def _turn(self, loop: FleetLoop) -> None:
        name = loop.fleet.name
        try:
            async with asyncio.timeout(loop.fleet.interval_s * TICK_SHARE):
                await loop.tick()
            self._failures[name] = 0
        except Exception as error:  # noqa: BLE001  one fleet's defect must not stop the others; it is logged and counted
            self._failures[name] = self._failures.get(name, 0) + 1
            loop.failed(error)
