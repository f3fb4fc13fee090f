# SPDX-License-Identifier: Apache-2.0
"""Publishes to CloudWatch once a minute what the last ticks saw: MWAA's RunningTasks and QueuedTasks, and ours.

What is not known is not published: a gap in a graph is honest, a zero is not. Nothing here can hold up a tick.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping

from scaler.core.model import Known
from scaler.core.state import total
from scaler.errors import SourceError
from scaler.ports import Clock, Datum, MetricSink
from scaler.runtime.report import Report, services

PERIOD_S = 60.0
DEADLINE_S = 20.0
MISSED_TICKS = 3
"""A report older than so many intervals tells of the past."""
MWAA = "AmazonMWAA"
"""The namespace in which MWAA publishes the metrics of Airflow."""


class Publisher:
    """A listener that remembers each fleet's last report."""

    def __init__(
        self,
        environment: str,
        namespace: str,
        sink: MetricSink,
        clock: Clock,
        *,
        paces: Callable[[], Mapping[str, float]],
        on_failure: Callable[[SourceError], None],
    ) -> None:
        self._environment = environment
        self._namespace = namespace
        self._sink = sink
        self._clock = clock
        self._paces = paces
        self._on_failure = on_failure
        self._latest: dict[str, tuple[float, Report]] = {}

    def ticked(self, report: Report) -> None:
        """Remember the report."""
        self._latest[report.tick.fleet.name] = (self._clock.monotonic(), report)

    def failed(self, fleet: str, error: BaseException) -> None:
        """A tick that was not finished leaves the last report; it grows old."""

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
                await self._sink.put(self.data())
        except SourceError as error:
            self._on_failure(error)
        except Exception as error:  # noqa: BLE001  metrics must never end the process that keeps workers alive
            self._on_failure(SourceError("cloudwatch", f"{type(error).__name__}: {error}"))

    def data(self) -> list[Datum]:
        """Return what is known now."""
        now, paces = self._clock.monotonic(), self._paces()
        fresh = {
            fleet: report
            for fleet, (at, report) in self._latest.items()
            if fleet in paces and now - at <= MISSED_TICKS * paces[fleet] + PERIOD_S / 2
        }
        data = [
            Datum(self._namespace, name, self._of_fleet(fleet), value)
            for fleet in sorted(paces)
            for name, value in _values(fresh.get(fleet))
            if value is not None
        ]
        return data + self._airflow([fresh.get(fleet) for fleet in paces])

    def _of_fleet(self, fleet: str) -> tuple[tuple[str, str], ...]:
        return (("Environment", self._environment), ("Fleet", fleet))

    def _airflow(self, reports: Iterable[Report | None]) -> list[Datum]:
        """Return MWAA's two metrics; nothing unless every fleet's queues are known from the database."""
        readings = [report.tick.observation.database if report else None for report in reports]
        counts = [each.value for each in readings if isinstance(each, Known)]
        if not counts or len(counts) < len(readings):
            return []
        dimensions = (("Function", "Executor"), ("Environment", self._environment))
        return [
            Datum(MWAA, "RunningTasks", dimensions, sum(each.running for each in counts)),
            Datum(MWAA, "QueuedTasks", dimensions, sum(each.queued for each in counts)),
        ]


def _values(report: Report | None) -> Iterable[tuple[str, float | None]]:
    if report is None:
        yield "NoDecision", 1
        return
    decision = report.tick.decision
    workers = decision.workers
    yield "NoDecision", float(decision.desired is None)
    yield "DesiredWorkers", decision.desired
    yield "MaximumWorkers", decision.maximum
    yield "RunningWorkers", total(each.running if each else None for each in services(report).values())
    yield "ProtectedWorkers", workers.protected
    tasks_known = all(isinstance(each.tasks, Known) for each in report.tick.observation.generations.values())
    yield "DrainingWorkers", workers.draining + workers.released if tasks_known else None
    yield "StuckWorkers", workers.stuck if tasks_known else None
    demand = decision.demand
    yield "BacklogSlots", demand.queued if demand and "stale" not in demand.source else None
