# SPDX-License-Identifier: Apache-2.0
"""The controls of all fleets, read once a tick for all of them and remembered for ever.

An order that was given stays in force while SSM is silent: forgetting that a person said "pause" would be worse than
obeying for too long, and `until` ends it all the same. Only a scaler that never read any does not know.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from scaler.config.overrides import in_force
from scaler.core.model import Overrides, Known, Reading, Stale, Unknown
from scaler.errors import SourceError
from scaler.ports import Clock, ControlsSource


class SharedControls:
    """One reading answers all fleets of a tick: whoever comes second waits for the first one's answer."""

    def __init__(self, source: ControlsSource, fleets: Sequence[str], clock: Clock, *, max_age_s: float) -> None:
        self._source = source
        self._fleets = tuple(fleets)
        self._clock = clock
        self._max_age_s = max_age_s
        self._lock = asyncio.Lock()
        self._answer: tuple[float, Mapping[str, Overrides | SourceError]] | None = None

    async def controls(self, fleet: str) -> Overrides:
        """Return what was ordered for the fleet, at most `max_age_s` old.

        Raises:
            SourceError: it cannot be known; shared just so.
        """
        async with self._lock:
            if self._answer is None or self._clock.monotonic() - self._answer[0] > self._max_age_s:
                found = await self._source.read(self._fleets)
                self._answer = (self._clock.monotonic(), found)
            answer = self._answer[1].get(fleet)
        if answer is None:
            raise SourceError("controls", f"fleet {fleet} was not asked for")
        if isinstance(answer, SourceError):
            raise answer
        return answer

    def watch(self, fleets: Sequence[str]) -> None:
        """Ask for these fleets from now on; the settings changed."""
        self._fleets = tuple(fleets)
        self._answer = None


class ControlsMemory:
    """The last known controls of one fleet, and whether their time is over."""

    def __init__(self) -> None:
        self._last: Known[Overrides] | None = None

    def of(self, reading: Known[Overrides] | Unknown, clock: Clock) -> Reading[Overrides]:
        """Return what is in force now: as read, else as remembered however long ago, else unknown."""
        if isinstance(reading, Known):
            self._last = reading
            return Known(in_force(reading.value, clock.wall()), reading.at)
        if self._last is None:
            return reading
        return Stale(in_force(self._last.value, clock.wall()), max(0.0, clock.monotonic() - self._last.at))
