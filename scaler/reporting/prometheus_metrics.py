# SPDX-License-Identifier: Apache-2.0
"""The scaler's metrics for Prometheus, with its naming conventions; an unknown value is NaN, never zero.

`rules/openmwaa-scaler.rules.yaml` has the alerts; a test compares its names and labels with this module.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from scaler.adapters.aws import ApiCalls
from scaler.core.model import Overrides, Reading, Unknown
from scaler.core.state import total
from scaler.errors import SourceError
from scaler.reporting.decision_line import (
    accuracy_of,
    ecs_services,
    oldest_drain_s,
    reading_ages,
    refused_workers,
    tasks_known,
)
from scaler.runtime.tick_result import TickResult, Write

PREFIX = "openmwaa_scaler"
WORKER_STATES = ("starting", "stuck", "consuming_idle", "busy", "draining", "released", "unknown", "protected")
ACCURACY = (
    ("predicted", "predicted_slots", "Mean of the slots predicted a launch ago, while there was demand"),
    ("seen", "seen_slots", "Mean of the slots seen in the same ticks"),
    ("apart", "error_slots", "Mean of the absolute difference of predicted and seen slots"),
    ("lead_s", "lead_seconds", "Mean time from the request of a worker to the demand that needed it"),
    (
        "unneeded_s",
        "unneeded_worker_seconds",
        "Worker-seconds that the look-ahead requested and the demand did not need",
    ),
    ("saved_s", "saved_wait_seconds", "Task-seconds of wait that the requested workers would have saved"),
)
OVERRIDES = ("min", "max", "fixed", "pause_in", "pause_out", "dry_run")


class PrometheusMetrics:
    """A listener that sets and counts the metrics."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._of_fleets: list[Gauge | Counter | Histogram] = []
        self._seen: set[str] = set()
        self._create_gauges()
        self._create_counters()

    def _create_gauges(self) -> None:
        self._desired = self._gauge("desired_workers", "Desired count of the last decision")
        self._minimum = self._gauge("minimum_workers", "Minimum in force, with schedule and overrides")
        self._maximum = self._gauge("maximum_workers", "Maximum in force, with overrides")
        self._protected_minimum = self._gauge("protected_minimum_workers", "Protected + about to be protected")
        self._running = self._gauge("running_tasks", "Running tasks in ECS")
        self._pending = self._gauge("pending_tasks", "Pending tasks in ECS")
        self._desired_of = self._gauge("service_desired_workers", "Desired count of one ECS service", "service")
        self._running_of = self._gauge("service_running_tasks", "Running tasks of one ECS service", "service")
        self._workers = self._gauge("workers", "Workers by state", "state")
        self._refused = self._gauge(
            "protection_refused_workers", "Workers that ECS refuses to protect: they take no tasks"
        )
        self._oldest_drain = self._gauge("oldest_drain_seconds", "Age of the oldest drain; 0 without drains")
        self._demand = self._gauge("demand_slots", "Slots needed", "state")
        self._look_ahead = self._gauge("look_ahead_slots", "Slots predicted a launch ago, and slots seen", "kind")
        self._accuracy = {
            value: self._gauge(f"look_ahead_{name}", f"{words}, over the last 12 to 24 hours")
            for value, name, words in ACCURACY
        }
        self._age = self._gauge("reading_age_seconds", "Age of each source's reading", "source")
        self._known = self._gauge("reading_known", "1 while the source has a known or stale reading", "source")
        self._overrides = self._gauge("overrides_in_force", "1 while the manual override is in force", "override")
        self._last = self._gauge(
            "last_decision_timestamp_seconds", "Time of the last decision with a desired count, or of the first tick"
        )
        self._config = Gauge(
            f"{PREFIX}_config_applied", "1 while the settings of the file are in force", registry=self._registry
        )
        self._config.set(1)

    def _create_counters(self) -> None:
        self._decisions = self._counter("decisions", "Decisions by kind", "kind")
        self._writes = self._counter("update_service", "UpdateService calls by result", "result")
        self._errors = self._counter("errors", "Failed calls by source", "source", "kind")
        self._drift = self._counter("desired_count_drift", "Desired counts that the scaler did not write")
        self._failures = self._counter("tick_failures", "Ticks that were not finished")
        self._duration = Histogram(
            f"{PREFIX}_tick_duration_seconds",
            "Duration of a tick, from the first request to the last answer",
            ["fleet"],
            registry=self._registry,
            buckets=(0.05, 0.1, 0.25, 0.5, 1, 2, 3, 4, 5, 10),
        )
        self._of_fleets.append(self._duration)
        self._lag = Histogram(
            f"{PREFIX}_loop_lag_seconds",
            "Delay of the event loop, measured once a second",
            registry=self._registry,
            buckets=(0.005, 0.02, 0.1, 0.5, 1, 2, 5),
        )
        self._unpublished = Counter(
            f"{PREFIX}_publish_failures", "Publications to CloudWatch that failed", registry=self._registry
        )
        self._unrecorded = Counter(
            f"{PREFIX}_ticks_not_recorded", "Ticks that were not recorded on disk", registry=self._registry
        )
        self._rejected = Counter(
            f"{PREFIX}_config_rejections", "Changes of the settings' file that were rejected", registry=self._registry
        )

    def watch(self, calls: ApiCalls, intervals: Callable[[], Mapping[str, float]]) -> None:
        """Also expose the calls of AWS's API and the interval of each fleet; call this once."""
        self._registry.register(_Collector(calls, intervals))

    def on_tick(self, result: TickResult) -> None:
        """Set and count the metrics of a tick."""
        fleet, decision = result.tick.fleet.name, result.tick.decision
        self._decisions.labels(fleet, decision.kind).inc()
        self._duration.labels(fleet).observe(result.duration_s)
        if decision.desired is not None or fleet not in self._seen:
            self._last.labels(fleet).set(result.at.timestamp())
            self._seen.add(fleet)
        self._desired.labels(fleet).set(_number(decision.desired))
        self._minimum.labels(fleet).set(decision.minimum)
        self._maximum.labels(fleet).set(decision.maximum)
        self._protected_minimum.labels(fleet).set(_number(decision.protected_minimum))
        workers = decision.workers if tasks_known(result) else None
        for state in WORKER_STATES:
            self._workers.labels(fleet, state).set(_number(getattr(workers, state, None)))
        self._count_services(fleet, result)
        services = ecs_services(result).values()
        running = total(service.running if service else None for service in services)
        pending = total(service.pending if service else None for service in services)
        self._running.labels(fleet).set(_number(running))
        self._pending.labels(fleet).set(_number(pending))
        for state in ("queued", "running", "slots", "not_due", "without_message"):
            self._demand.labels(fleet, state).set(_number(getattr(decision.demand, state, None)))
        self._set_accuracy(fleet, accuracy_of(result))
        for source, age in reading_ages(result).items():
            self._age.labels(fleet, source).set(_number(age))
            self._known.labels(fleet, source).set(age is not None)
        for override, value in overrides_in_force(decision.overrides).items():
            self._overrides.labels(fleet, override).set(value)
        self._oldest_drain.labels(fleet).set(_number(oldest_drain_s(result) if tasks_known(result) else None))
        self._refused.labels(fleet).set(_number(refused_workers(result)))
        if decision.desired_count_drift is not None:
            self._drift.labels(fleet).inc()
        for error in result.errors:
            self._count_error(fleet, error)
        for write in result.writes.values():
            self._count_write(fleet, write)

    def failed(self, fleet: str, error: BaseException) -> None:
        """Count a tick that was not finished."""
        del error
        self._failures.labels(fleet).inc()

    def removed(self, fleet: str) -> None:
        """Remove a fleet: its last values would look like a fleet that does not change."""
        for metric in self._of_fleets:
            metric.remove_by_labels({"fleet": fleet})
        self._seen.discard(fleet)

    def lagged(self, seconds: float) -> None:
        """Record the delay of the event loop."""
        self._lag.observe(seconds)

    def not_published(self) -> None:
        """Count a failed publication to CloudWatch."""
        self._unpublished.inc()

    def not_recorded(self) -> None:
        """Count a tick that was not recorded for `replay`."""
        self._unrecorded.inc()

    def config_changed(self, problems: Sequence[str]) -> None:
        """Record whether the settings' file is in force."""
        self._config.set(not problems)
        if problems:
            self._rejected.inc()

    def text(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self._registry)

    def families(self) -> list[Metric]:
        """Return every metric with its samples."""
        return list(self._registry.collect())

    def _set_accuracy(self, fleet: str, accuracy: Mapping[str, float]) -> None:
        for kind in ("predicted", "seen"):
            self._look_ahead.labels(fleet, kind).set(_number(accuracy.get(f"{kind}_now")))
        for value, gauge in self._accuracy.items():
            gauge.labels(fleet).set(_number(accuracy.get(value)))

    def _count_services(self, fleet: str, result: TickResult) -> None:
        for name, service in ecs_services(result).items():
            decided = result.tick.decision.services[name].desired
            self._desired_of.labels(fleet, name).set(_number(decided))
            self._running_of.labels(fleet, name).set(_number(service.running if service else None))

    def _count_write(self, fleet: str, write: Write) -> None:
        result = "answered" if write.answered_at is not None else "left_out"
        if write.error is not None:
            result = "failed"
            self._count_error(fleet, write.error)
        self._writes.labels(fleet, result).inc()

    def _count_error(self, fleet: str, error: SourceError) -> None:
        self._errors.labels(fleet, error.source, type(error).__name__).inc()

    def _gauge(self, name: str, words: str, *labels: str) -> Gauge:
        gauge = Gauge(f"{PREFIX}_{name}", words, ["fleet", *labels], registry=self._registry)
        self._of_fleets.append(gauge)
        return gauge

    def _counter(self, name: str, words: str, *labels: str) -> Counter:
        counter = Counter(f"{PREFIX}_{name}", words, ["fleet", *labels], registry=self._registry)
        self._of_fleets.append(counter)
        return counter


class _Collector(Collector):
    """Values that other objects count, read at each scrape."""

    def __init__(self, calls: ApiCalls, intervals: Callable[[], Mapping[str, float]]) -> None:
        self._calls = calls
        self._intervals = intervals

    def collect(self) -> Iterator[Metric]:
        for name, words, counted in (
            ("api_calls", "Requests to AWS, including retries", self._calls.sent),
            ("api_throttles", "Requests that AWS throttled", self._calls.throttled),
        ):
            counter = CounterMetricFamily(f"{PREFIX}_{name}", words, labels=["service", "operation"])
            for key, number in sorted([*counted.items()]):
                counter.add_metric(key, number)
            yield counter
        words = "Seconds between two ticks; twice the setting while ECS throttles"
        gauge = GaugeMetricFamily(f"{PREFIX}_interval_seconds", words, labels=["fleet"])
        for fleet, seconds in sorted(self._intervals().items()):
            gauge.add_metric([fleet], seconds)
        yield gauge


def overrides_in_force(reading: Reading[Overrides]) -> dict[str, float]:
    """Return 1 for each override in force and 0 for the others; NaN while they are unknown."""
    if isinstance(reading, Unknown):
        return dict.fromkeys(OVERRIDES, math.nan)
    overrides = reading.value
    return {
        "min": float(overrides.minimum is not None),
        "max": float(overrides.maximum is not None),
        "fixed": float(overrides.fixed is not None),
        "pause_in": float(overrides.pause in ("in", "both")),
        "pause_out": float(overrides.pause in ("out", "both")),
        "dry_run": float(overrides.dry_run),
    }


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)
