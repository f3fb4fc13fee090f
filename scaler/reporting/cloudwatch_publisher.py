# SPDX-License-Identifier: Apache-2.0
"""Publishes the metrics of the last ticks and Airflow's health to CloudWatch once a minute.

Unknown values are not published (`scaler.reporting.cloudwatch_metrics`). The publisher never delays a tick.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from scaler.errors import SourceError
from scaler.ports import AirflowHealthSource, ClockPort, Datum, MetricSink
from scaler.reporting.cloudwatch_metrics import NO_DECISION, of_airflow, of_fleet, of_sleep, of_tasks
from scaler.runtime.tick_result import TickResult

PERIOD_S = 60.0
DEADLINE_S = 20.0
MISSED_TICKS = 3
"""A result older than this number of intervals is not published."""


@dataclass(eq=False)
class CloudWatchPublisher:
    """A listener that keeps the last result of each fleet."""

    environment: str
    namespace: str
    sink: MetricSink
    clock: ClockPort
    intervals: Callable[[], Mapping[str, float]]
    on_failure: Callable[[SourceError], None]
    health: AirflowHealthSource | None = None
    waking_s: Callable[[], float] | None = None
    """Seconds that the environment has been waking; None: it cannot sleep."""
    quiet: bool = False
    """Whether only the metrics of alarms that notify during sleep are published: AWS charges metrics by the hour."""
    _latest: dict[str, tuple[float, TickResult]] = field(default_factory=dict, init=False)

    def on_tick(self, result: TickResult) -> None:
        """Keep the result."""
        self._latest[result.tick.fleet.name] = (self.clock.monotonic(), result)

    def failed(self, fleet: str, error: BaseException) -> None:
        """Keep the last result after an unfinished tick; its age grows."""

    def removed(self, fleet: str) -> None:
        """Remove the fleet."""
        self._latest.pop(fleet, None)

    async def run(self) -> None:
        """Publish once a minute until cancelled."""
        while True:
            await asyncio.sleep(PERIOD_S)
            await self.publish()

    async def publish(self) -> None:
        """Publish the known metrics; a failure is reported and not repeated."""
        try:
            async with asyncio.timeout(DEADLINE_S):
                airflow = await self._airflow()
                await self.sink.put(self.data() + airflow)
        except SourceError as error:
            self.on_failure(error)
        except Exception as error:  # noqa: BLE001  metrics must never stop the scaler
            self.on_failure(SourceError("cloudwatch", f"{type(error).__name__}: {error}"))

    def data(self) -> list[Datum]:
        """Return the known metrics of all fleets."""
        now, intervals = self.clock.monotonic(), self.intervals()
        fresh = {
            fleet: result
            for fleet, (at, result) in self._latest.items()
            if fleet in intervals and 0 <= now - at <= MISSED_TICKS * intervals[fleet] + PERIOD_S / 2
        }
        data = [
            datum
            for fleet in sorted(intervals)
            for datum in of_fleet(self.namespace, self.environment, fleet, fresh.get(fleet))
            if not self.quiet or datum.name == NO_DECISION
        ]
        if self.waking_s is not None:
            data.append(of_sleep(self.namespace, self.environment, self.waking_s()))
        return [*data, *of_tasks(self.environment, [fresh.get(fleet) for fleet in intervals])]

    async def _airflow(self) -> list[Datum]:
        """Return the metrics of Airflow's health; none while it is unknown."""
        if self.health is None or self.quiet:
            return []
        try:
            return [*of_airflow(self.environment, await self.health.health(PERIOD_S))]
        except SourceError as error:
            self.on_failure(error)
            return []
