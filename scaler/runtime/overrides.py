# SPDX-License-Identifier: Apache-2.0
"""The manual overrides of all fleets, read once a tick for all of them and remembered without a time limit.

An override stays in force while SSM does not answer: to forget a pause would be worse than to keep it for too long, and
`until` ends it in any case. The overrides are unknown only if the scaler has never read them.
"""

from collections.abc import Mapping, Sequence

from scaler.adapters.shared import SharedByKey
from scaler.config.overrides import in_force
from scaler.core.model import Known, Overrides, Reading, Stale, Unknown
from scaler.errors import SourceError
from scaler.ports import ClockPort, OverridesSource


class SharedOverrides(SharedByKey[Overrides]):
    """One read serves all fleets of a tick."""

    def __init__(self, source: OverridesSource, fleets: Sequence[str], clock: ClockPort, *, max_age_s: float) -> None:
        self._source = source
        self._fleets = tuple(fleets)
        super().__init__(self._read_all, clock.monotonic, max_age_s=max_age_s)

    async def of(self, fleet: str) -> Overrides:
        """Return the fleet's overrides, at most `max_age_s` old; raise SourceError, shared for the same time."""
        if fleet not in self._fleets:
            raise SourceError("overrides", f"fleet {fleet} is not configured")
        return await self.get_key(fleet)

    def watch(self, fleets: Sequence[str]) -> None:
        """Read these fleets from now on; the settings changed."""
        self._fleets = tuple(fleets)
        self.forget()

    async def _read_all(self) -> Mapping[str, Overrides | SourceError]:
        return await self._source.read(self._fleets)


class LastOverrides:
    """The last known overrides of one fleet; they expire also while they cannot be read."""

    def __init__(self) -> None:
        self._last: Known[Overrides] | None = None

    def of(self, reading: Known[Overrides] | Unknown, clock: ClockPort) -> Reading[Overrides]:
        """Return the overrides in force: as read, else as remembered however long ago, else unknown."""
        if isinstance(reading, Known):
            self._last = reading
            return Known(in_force(reading.value, clock.wall()), reading.at)
        if self._last is None:
            return reading
        return Stale(in_force(self._last.value, clock.wall()), max(0.0, clock.monotonic() - self._last.at))
