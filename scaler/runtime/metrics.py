# SPDX-License-Identifier: Apache-2.0
"""The scaler's metrics for Prometheus; names by its conventions, NaN where nothing is known."""

from __future__ import annotations

import math

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from scaler.core.state import WorkerCounts
from scaler.errors import SourceError
from scaler.runtime.report import Report, Write, reading_ages

PREFIX = "openmwaa_scaler"


class Metrics:
    """A listener that counts."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._desired = self._gauge("desired_workers", "Desired count that was decided")
        self._running = self._gauge("running_tasks", "Running tasks as ECS counts them")
        self._pending = self._gauge("pending_tasks", "Pending tasks as ECS counts them")
        self._workers = self._gauge("workers", "Workers by what they do", "state")
        self._floor = self._gauge("floor_workers", "Protected + about to be protected")
        self._demand = self._gauge("demand_slots", "Slots wanted", "state")
        self._age = self._gauge("reading_age_seconds", "Age of each source's reading", "source")
        self._last = self._gauge("last_decision_timestamp_seconds", "Time of day of the last decision")
        self._decisions = self._counter("decisions", "Decisions by what they mainly do", "fleet", "kind")
        self._writes = self._counter("update_service", "UpdateService by what came of it", "fleet", "result")
        self._errors = self._counter("errors", "Failed calls by source", "fleet", "source", "kind")
        self._failures = self._counter("tick_failures", "Ticks that were not finished", "fleet")
        self._duration = Histogram(
            f"{PREFIX}_tick_duration_seconds",
            "From the first question to the last answer of a tick",
            ["fleet"],
            registry=self._registry,
            buckets=(0.05, 0.1, 0.25, 0.5, 1, 2, 3, 4, 5, 10),
        )

    def ticked(self, report: Report) -> None:
        """Take over what the tick saw and did."""
        fleet, decision = report.tick.fleet.name, report.tick.decision
        self._decisions.labels(fleet, decision.kind).inc()
        self._duration.labels(fleet).observe(report.duration_s)
        self._last.labels(fleet).set(report.at.timestamp())
        self._desired.labels(fleet).set(_number(decision.desired))
        self._floor.labels(fleet).set(_number(decision.floor))
        self._count_workers(fleet, decision.workers)
        seen = report.tick.observation.service
        service = getattr(seen, "value", None)
        self._running.labels(fleet).set(_number(service.running if service else None))
        self._pending.labels(fleet).set(_number(service.pending if service else None))
        demand = decision.demand
        for state, value in (
            ("queued", demand.queued if demand else None),
            ("running", demand.running if demand else None),
            ("slots", demand.slots if demand else None),
        ):
            self._demand.labels(fleet, state).set(_number(value))
        for source, age in reading_ages(report).items():
            self._age.labels(fleet, source).set(_number(age))
        for error in report.errors:
            self._count_error(fleet, error)
        if report.write is not None:
            self._count_write(fleet, report.write)

    def failed(self, fleet: str, error: BaseException) -> None:
        """Count a tick that was not finished."""
        del error
        self._failures.labels(fleet).inc()

    def text(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self._registry)

    def _count_workers(self, fleet: str, workers: WorkerCounts) -> None:
        for state in ("starting", "stuck", "consuming_idle", "busy", "draining", "released", "unknown", "protected"):
            self._workers.labels(fleet, state).set(_number(getattr(workers, state)))

    def _count_write(self, fleet: str, write: Write) -> None:
        result = "answered" if write.answered_at is not None else "left_out"
        if write.error is not None:
            result = "failed"
            self._count_error(fleet, write.error)
        self._writes.labels(fleet, result).inc()

    def _count_error(self, fleet: str, error: SourceError) -> None:
        self._errors.labels(fleet, error.source, type(error).__name__).inc()

    def _gauge(self, name: str, words: str, *labels: str) -> Gauge:
        return Gauge(f"{PREFIX}_{name}", words, ["fleet", *labels], registry=self._registry)

    def _counter(self, name: str, words: str, *labels: str) -> Counter:
        return Counter(f"{PREFIX}_{name}", words, labels, registry=self._registry)


def _number(value: float | None) -> float:
    """Return NaN for what is not known: it is never zero."""
    return math.nan if value is None else float(value)
