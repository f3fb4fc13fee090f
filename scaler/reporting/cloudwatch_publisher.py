# SPDX-License-Identifier: Apache-2.0
"""Publishes to CloudWatch once a minute what the last ticks saw, and whether Airflow's schedulers live.

What is not known is not published (`scaler.reporting.cloudwatch_metrics`). Nothing here can hold up a tick.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from scaler.errors import SourceError
from scaler.ports import AirflowHealthSource, Clock, Datum, MetricSink
from scaler.reporting.cloudwatch_metrics import of_fleet, of_tasks, of_vitals
from scaler.runtime.tick_result import TickResult

PERIOD_S = 60.0
DEADLINE_S = 20.0
MISSED_TICKS = 3
"""A result older than so many intervals tells of the past."""


class Publisher:
    """A listener that remembers each fleet's last result."""

    def __init__(
        self,
        environment: str,
        namespace: str,
        sink: MetricSink,
        clock: Clock,
        *,
        paces: Callable[[], Mapping[str, float]],
        on_failure: Callable[[SourceError], None],
        vitals: AirflowHealthSource | None = None,
    ) -> None:
        self._environment = environment
        self._namespace = namespace
        self._sink = sink
        self._clock = clock
        self._paces = paces
        self._on_failure = on_failure
        self._vitals = vitals
        self._latest: dict[str, tuple[float, TickResult]] = {}

    def on_tick(self, result: TickResult) -> None:
        """Remember the result."""
        self._latest[result.tick.fleet.name] = (self._clock.monotonic(), result)

    def failed(self, fleet: str, error: BaseException) -> None:
        """A tick that was not finished leaves the last result; it grows old."""

    def removed(self, fleet: str) -> None:
        """Forget the fleet."""
        self._latest.pop(fleet, None)

    async def run(self) -> None:
        """Publish once a minute until cancelled."""
        while True:
            await asyncio.sleep(PERIOD_S)
            await self.publish()

    async def publish(self) -> None:
        """Publish what is known now; a failure is told and forgotten."""
        try:
            async with asyncio.timeout(DEADLINE_S):
                felt = await self._felt()
                await self._sink.put(self.data() + felt)
        except SourceError as error:
            self._on_failure(error)
        except Exception as error:  # noqa: BLE001  metrics must never end the process that keeps workers alive
            self._on_failure(SourceError("cloudwatch", f"{type(error).__name__}: {error}"))

    def data(self) -> list[Datum]:
        """Return what is known now."""
        now, paces = self._clock.monotonic(), self._paces()
        fresh = {
            fleet: result
            for fleet, (at, result) in self._latest.items()
            if fleet in paces and now - at <= MISSED_TICKS * paces[fleet] + PERIOD_S / 2
        }
        data = [
            datum
            for fleet in sorted(paces)
            for datum in of_fleet(self._namespace, self._environment, fleet, fresh.get(fleet))
        ]
        return [*data, *of_tasks(self._environment, [fresh.get(fleet) for fleet in paces])]

    async def _felt(self) -> list[Datum]:
        """Return whether Airflow's heart beats; nothing when that cannot be said."""
        if self._vitals is None:
            return []
        try:
            return [*of_vitals(self._environment, await self._vitals.health(PERIOD_S))]
        except SourceError as error:
            self._on_failure(error)
            return []
