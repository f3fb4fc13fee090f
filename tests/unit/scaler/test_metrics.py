# SPDX-License-Identifier: Apache-2.0
"""Prometheus and CloudWatch: known values, NaN or no value for unknown ones, and harmless failures."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from aiobotocore.session import get_session
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from scaler.adapters import aws
from scaler.adapters.aws import ApiCalls
from scaler.adapters.metrics import CloudWatchMetrics
from scaler.core.decide import decide
from scaler.core.model import Known, MetricPolicy, Unknown
from scaler.core.state import FleetState, ServiceState
from scaler.errors import SourceError
from scaler.ports import AirflowHealth, Datum
from scaler.reporting.cloudwatch_metrics import MWAA, OF_AIRFLOW, OF_FLEETS, OF_SERVICES
from scaler.reporting.cloudwatch_publisher import PERIOD_S, CloudWatchPublisher
from scaler.reporting.decision_line import decision_line
from scaler.reporting.explanation import next_steps
from scaler.reporting.prometheus_metrics import PrometheusMetrics
from simulation.loop import run
from tests.support.fake_environment import FakeEnvironment
from tests.support.scaler_builders import FLEET, SERVICE, SILENT, WORKERS, arn, observe, with_changes
from tests.support.scaler_reports import report
from tests.support.virtual_clock import LoopClock


def sample(metrics: PrometheusMetrics, name: str, **labels: str) -> float | None:
    """Return a sample as a scrape would read it; None where there is none."""
    for family in text_string_to_metric_families(metrics.text().decode()):
        for found in family.samples:
            if found.name == f"openmwaa_scaler_{name}" and found.labels == labels:
                return float(found.value)
    return None


# --- Prometheus


def test_metrics_of_a_tick() -> None:
    metrics = PrometheusMetrics()
    seen = observe(["busy", "draining", "refused"], queued=3, running=3, now=100.0)
    metrics.on_tick(report(seen, now=100.0))
    values = {
        name: sample(metrics, name, fleet="default")
        for name in ("running_tasks", "maximum_workers", "minimum_workers", "protection_refused_workers")
    }
    assert values == {
        "running_tasks": 3, "maximum_workers": FLEET.maximum, "minimum_workers": FLEET.minimum,
        "protection_refused_workers": 1,
    }  # fmt: skip
    assert sample(metrics, "demand_slots", fleet="default", state="queued") == 3
    assert sample(metrics, "reading_known", fleet="default", source="database") == 1


def test_the_age_of_the_oldest_drain() -> None:
    metrics = PrometheusMetrics()
    seen = observe(["busy", "draining"], now=100.0)
    (service,) = seen.services
    drains = {arn(0): 70.0, arn(1): 40.0}
    metrics.on_tick(report(seen, state=FleetState(services={service: ServiceState(drains=drains)}), now=100.0))
    assert sample(metrics, "oldest_drain_seconds", fleet="default") == 60.0


def test_unknown_is_nan_and_never_zero() -> None:
    metrics = PrometheusMetrics()
    metrics.on_tick(report(observe(["busy"], broker=SILENT, database=SILENT)))
    for state in ("queued", "running", "slots"):
        assert math.isnan(sample(metrics, "demand_slots", fleet="default", state=state) or 0.0)
    assert sample(metrics, "reading_known", fleet="default", source="database") == 0
    assert math.isnan(sample(metrics, "reading_age_seconds", fleet="default", source="database") or 0.0)


@pytest.mark.parametrize(
    ("unknown", "states"),
    [
        ({}, set()),
        ({"database": SILENT}, {"without_message"}),
        ({"broker": SILENT}, {"without_message", "not_due"}),
    ],
    ids=["all known", "database unknown", "broker unknown"],
)
def test_demand_that_needs_an_unknown_source_is_unknown_everywhere(unknown: dict[str, Any], states: set[str]) -> None:
    metrics, tick = PrometheusMetrics(), report(observe(["busy"], running=2, **unknown))
    metrics.on_tick(tick)
    demand: Any = decision_line(tick, "test")["demand"]
    for state in ("without_message", "not_due"):
        value = sample(metrics, "demand_slots", fleet="default", state=state)
        assert value is not None
        assert math.isnan(value) is (state in states)
        assert demand[state] == (None if state in states else 0)
    lost = OF_FLEETS["TasksWithoutMessage"].of(tick)
    assert lost == (None if "without_message" in states else 0)


def test_the_metric_of_a_fleet_alone_shows_no_lost_and_no_held_message() -> None:
    fleet = replace(FLEET, demand_metric=MetricPolicy("Backlog", 1.0))
    observation = replace(observe([], broker=SILENT, database=SILENT), demand_metric=Known(5.0, 0.0))
    decision, _ = decide(fleet, observation, FleetState(), 0.0)
    assert decision.demand is not None
    assert (decision.demand.source, decision.demand.without_message, decision.demand.not_due) == ("metric", None, None)


def test_worker_states_are_unknown_while_tasks_are_unknown() -> None:
    metrics, blind = (
        PrometheusMetrics(),
        report(with_changes(observe(["busy", "draining"]), tasks=SILENT, protected=SILENT)),
    )
    metrics.on_tick(blind)
    for state in ("busy", "draining", "stuck", "protected"):
        assert math.isnan(sample(metrics, "workers", fleet="default", state=state) or 0.0)
    assert math.isnan(sample(metrics, "oldest_drain_seconds", fleet="default") or 0.0)
    line = decision_line(blind, "test")
    assert set(line["workers"].values()) == {None}  # type: ignore[union-attr]
    assert line["slots"] == {"total": None, "free": None}
    assert "Worker states unknown: the tasks cannot be read." in next_steps(line)


def test_the_last_decision_is_the_last_with_a_count() -> None:
    metrics, decided = PrometheusMetrics(), report()
    decision = decided.tick.decision
    nothing = {name: replace(service, desired=None) for name, service in decision.services.items()}
    blind = replace(
        decided,
        at=decided.at + timedelta(minutes=1),
        tick=replace(decided.tick, decision=replace(decision, services=nothing)),
    )
    for tick in (decided, blind):
        metrics.on_tick(tick)
    assert sample(metrics, "last_decision_timestamp_seconds", fleet="default") == decided.at.timestamp()


def test_a_removed_fleet_leaves_no_values() -> None:
    metrics = PrometheusMetrics()
    for name in ("default", "other"):
        metrics.on_tick(report(name=name, errors=[SourceError("ecs", "down")]))
        metrics.failed(name, ValueError())
    metrics.removed("other")
    fleets = {
        found.labels.get("fleet")
        for family in text_string_to_metric_families(metrics.text().decode())
        for found in family.samples
    }
    assert fleets == {"default", None}


def test_calls_intervals_and_settings_have_metrics() -> None:
    metrics, calls = PrometheusMetrics(), ApiCalls()
    metrics.watch(calls, lambda: {"default": 20.0})
    calls.sent["ecs", "DescribeServices"] += 7
    calls.throttled["ecs", "DescribeServices"] += 2
    labels = {"service": "ecs", "operation": "DescribeServices"}
    assert sample(metrics, "api_calls_total", **labels) == 7
    assert sample(metrics, "api_throttles_total", **labels) == 2
    assert sample(metrics, "interval_seconds", fleet="default") == 20
    assert sample(metrics, "config_applied") == 1
    metrics.config_changed(("broken",))
    assert (sample(metrics, "config_applied"), sample(metrics, "config_rejections_total")) == (0, 1)
    metrics.config_changed(())
    assert sample(metrics, "config_applied") == 1


# --- CloudWatch


class Sink:
    """Keeps the values, or fails as configured."""

    def __init__(self, body: Callable[[], Awaitable[None]] | None = None) -> None:
        self.put_data: list[list[Datum]] = []
        self.body = body

    async def put(self, data: Sequence[Datum]) -> None:
        if self.body is not None:
            await self.body()
        self.put_data.append(list(data))


def published(
    *reports: Any, fleets: Sequence[str] = ("default",), later_s: float = 0.0
) -> dict[tuple[str, ...], float]:
    """Return what is published after these reports, by namespace, name and the dimensions' values."""

    async def main() -> list[Datum]:
        paces = dict.fromkeys(fleets, 5.0)
        publisher = CloudWatchPublisher(
            "test", "openmwaa", Sink(), LoopClock(), intervals=lambda: paces, on_failure=lambda error: None
        )
        for tick in reports:
            publisher.on_tick(tick)
        await asyncio.sleep(later_s)
        return publisher.data()

    return {
        (datum.namespace, datum.name, *(value for _, value in datum.dimensions)): datum.value for datum in run(main())
    }


def test_publishes_mwaas_metrics_and_ours() -> None:
    found = published(report(observe(["busy", "draining"], queued=3, running=3)))
    assert found[MWAA, "RunningTasks", "Executor", "test"] == 3
    assert found[MWAA, "QueuedTasks", "Executor", "test"] == 3
    ours = {name: value for (namespace, name, *_), value in found.items() if namespace == "openmwaa"}
    assert ours["RunningWorkers"] == 2
    assert ours["BacklogSlots"] == 3
    assert ours["NoDecision"] == 0
    fleet, service = ("test", "default"), ("test", "default", SERVICE)
    ours_by = {
        tuple(key[2:]): {other[1] for other in found if other[2:] == key[2:]} for key in found if key[0] == "openmwaa"
    }
    assert ours_by == {fleet: set(OF_FLEETS), service: set(OF_SERVICES)}, "all that is known is published"


@pytest.mark.parametrize(
    ("seen", "absent"),
    [
        pytest.param(
            observe(["busy"], database=SILENT),
            {"RunningTasks", "QueuedTasks", "TasksWithoutMessage"},
            id="database silent",
        ),
        pytest.param(
            observe(["busy"], database=SILENT, broker=SILENT),
            {"RunningTasks", "QueuedTasks", "BacklogSlots", "AtMaximumWithBacklog", "TasksWithoutMessage"},
            id="the demand is unknown",
        ),
        pytest.param(observe(["busy"], protected=Unknown("silent")), {"ProtectedWorkers"}, id="protection silent"),
        pytest.param(observe(["busy", "silent"]), {"ProtectionRefusedWorkers"}, id="a worker silent"),
        pytest.param(
            with_changes(observe(["busy"]), tasks=SILENT, protected=SILENT),
            {"ProtectedWorkers", "DrainingWorkers", "StuckWorkers", "OldestDrainSeconds", "ProtectionRefusedWorkers"},
            id="tasks silent",
        ),
    ],
)
def test_an_unknown_value_is_not_published(seen: Any, absent: set[str]) -> None:
    every = {key[1] for key in published(report())}
    assert every - {key[1] for key in published(report(seen))} == absent


def test_mwaas_metrics_need_every_fleet() -> None:
    both = published(report(name="a"), report(name="b"), fleets=("a", "b"))
    assert both[MWAA, "RunningTasks", "Executor", "test"] == 4, "the sum over all fleets"
    for found in (
        published(report(name="a"), fleets=("a", "b")),
        published(report(name="a"), report(observe(["busy"], database=SILENT), name="b"), fleets=("a", "b")),
    ):
        assert not [key for key in found if key[0] == MWAA], "half a sum is none"


def test_a_fleet_without_ticks_publishes_no_decision_only() -> None:
    found = published(report(), later_s=120.0)
    assert {key[1]: value for key, value in found.items()} == {"NoDecision": 1.0}


def test_a_result_from_the_future_is_not_published() -> None:
    """A monotonic clock that went back leaves the age of a result unknown."""
    clock = FakeEnvironment(1)
    clock.now = 1000.0
    publisher = CloudWatchPublisher(
        "test", "openmwaa", Sink(), clock, intervals=lambda: {"default": 5.0}, on_failure=lambda error: None
    )
    publisher.on_tick(report())
    assert len(publisher.data()) > 1
    clock.now = 10.0
    assert [(datum.name, datum.value) for datum in publisher.data()] == [("NoDecision", 1.0)]


@pytest.mark.parametrize(
    ("seen", "name", "value"),
    [
        pytest.param(observe(["busy"]), "UnknownSources", 0, id="every source known"),
        pytest.param(observe(["busy"], database=SILENT, broker=SILENT), "UnknownSources", 2, id="two sources silent"),
        pytest.param(observe(["busy", "refused", "silent"]), "ProtectionRefusedWorkers", 1, id="refused beside silent"),
        pytest.param(observe(["full"] * 10, queued=99, running=50), "AtMaximumWithBacklog", 1, id="at the maximum"),
        pytest.param(observe(["full"] * 10, running=50), "AtMaximumWithBacklog", 0, id="maximum without backlog"),
        pytest.param(observe(["full"], queued=5, running=5), "AtMaximumWithBacklog", 0, id="backlog below the maximum"),
    ],
)
def test_metrics_of_the_alarms(seen: Any, name: str, value: float) -> None:
    assert published(report(seen))["openmwaa", name, "test", "default"] == value


def test_the_oldest_drain_is_published_in_seconds() -> None:
    seen = observe(["busy", "draining"], now=100.0)
    (service,) = seen.services
    drains = FleetState(services={service: ServiceState(drains={arn(1): 40.0})})
    assert published(report(seen, state=drains, now=100.0))["openmwaa", "OldestDrainSeconds", "test", "default"] == 60


READINGS = ("database", "broker", "tasks", "protected", "service")


@given(st.sets(st.sampled_from(READINGS)), st.lists(st.sampled_from(sorted(WORKERS)), max_size=5), st.integers(0, 99))
def test_unknown_is_never_published_as_a_number(silent: set[str], workers: list[str], queued: int) -> None:
    whole = observe(workers, queued=queued, running=len(workers))
    demand: dict[str, Any] = dict.fromkeys(silent & {"database", "broker"}, SILENT)
    others: dict[str, Any] = dict.fromkeys(silent - demand.keys(), SILENT)
    found = published(report(replace(with_changes(whole, **others), **demand)))
    names = {key[1] for key in found if len(key) == 4 and key[0] == "openmwaa"}
    assert all(math.isfinite(value) and value >= 0 for value in found.values())
    if "tasks" in silent:
        assert not names & {"DrainingWorkers", "StuckWorkers", "OldestDrainSeconds", "ProtectedWorkers"}
    if "service" in silent:
        assert "RunningWorkers" not in names
    if {"database", "broker"} <= silent:
        assert not names & {"BacklogSlots", "AtMaximumWithBacklog"}
    assert {"NoDecision", "UnknownSources", "MaximumWorkers"} <= names, "every finished tick has these"
    assert (found["openmwaa", "UnknownSources", "test", "default"] > 0) == bool(silent)


class Heart:
    """Airflow's database, as far as its vitals go."""

    def __init__(self, answer: AirflowHealth | SourceError) -> None:
        self.answer = answer

    async def health(self, within_s: float) -> AirflowHealth:
        assert within_s == PERIOD_S, "each publication covers the time since the last"
        if isinstance(self.answer, SourceError):
            raise self.answer
        return self.answer


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        pytest.param(AirflowHealth(2, 30.0), {"SchedulerHeartbeat": 2, "ApproximateAgeOfOldestTask": 30}, id="alive"),
        pytest.param(AirflowHealth(0, 0.0), {"SchedulerHeartbeat": 0, "ApproximateAgeOfOldestTask": 0}, id="dead"),
        pytest.param(SourceError("database", "no right"), {}, id="not known"),
    ],
)
def test_airflows_health_is_read_once_a_minute(answer: AirflowHealth | SourceError, expected: dict[str, float]) -> None:
    async def main() -> tuple[list[Datum], int]:
        sink, failures = Sink(), list[SourceError]()
        publisher = CloudWatchPublisher(
            "test", "openmwaa", sink, LoopClock(), intervals=lambda: {"default": 5.0}, on_failure=failures.append,
            health=Heart(answer),
        )  # fmt: skip
        await publisher.publish()
        return sink.put_data[0], len(failures)

    data, failures = run(main())
    found = {datum.name: datum.value for datum in data if datum.name in OF_AIRFLOW}
    assert found == expected, "an unknown heartbeat is not a missing one"
    assert failures == (not expected), "unknown values are counted"
    assert {datum.name for datum in data} > found.keys(), "the other metrics do not depend on the database"
    heartbeat = next((datum for datum in data if datum.name == "SchedulerHeartbeat"), None)
    assert heartbeat is None or heartbeat.dimensions == (("Function", "Scheduler"), ("Environment", "test")), (
        "as MWAA has it"
    )


async def fails() -> None:
    raise SourceError("cloudwatch", "down")


async def has_a_defect() -> None:
    raise ZeroDivisionError("a defect")


async def hangs() -> None:
    await asyncio.Event().wait()


@pytest.mark.parametrize("body", [fails, has_a_defect, hangs], ids=lambda body: body.__name__)
def test_a_failed_publication_is_counted_and_tried_again(body: Callable[[], Awaitable[None]]) -> None:
    async def main() -> tuple[int, int]:
        sink, failures = Sink(body), list[SourceError]()
        publisher = CloudWatchPublisher(
            "test", "openmwaa", sink, LoopClock(), intervals=lambda: {"default": 5.0}, on_failure=failures.append
        )
        running = asyncio.create_task(publisher.run())
        await asyncio.sleep(200)
        failed, sink.body = len(failures), None
        await asyncio.sleep(100)
        running.cancel()
        await asyncio.wait({running})
        return failed, len(sink.put_data)

    failed, put = run(main())
    assert failed >= 2
    assert put >= 1, "and it goes on when CloudWatch is back"


SESSION = get_session()


def data_of(namespace: str, number: int) -> list[Datum]:
    return [Datum(namespace, f"metric-{index}", (("Environment", "test"),), float(index)) for index in range(number)]


async def test_puts_a_namespace_and_a_thousand_values_a_call() -> None:
    calls: list[tuple[str, int]] = []

    class Client:
        async def put_metric_data(self, Namespace: str, MetricData: list[Any]) -> None:  # noqa: N803  AWS's names
            calls.append((Namespace, len(MetricData)))

    await CloudWatchMetrics(Client()).put([*data_of("openmwaa", 2300), *data_of(MWAA, 2)])
    assert calls == [(MWAA, 2), ("openmwaa", 1000), ("openmwaa", 1000), ("openmwaa", 300)]


async def test_a_refused_namespace_does_not_block_another() -> None:
    calls: list[str] = []

    class Client:
        async def put_metric_data(self, Namespace: str, MetricData: list[Any]) -> None:  # noqa: N803  AWS's names
            del MetricData
            calls.append(Namespace)
            if Namespace == MWAA:
                raise OSError("refused")

    with pytest.raises(SourceError, match="refused"):
        await CloudWatchMetrics(Client()).put([*data_of(MWAA, 2), *data_of("openmwaa", 1)])
    assert calls == [MWAA, "openmwaa"]


async def test_an_unreachable_cloudwatch_is_a_source_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aws, "get_session", lambda: SESSION)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    async with aws.open_client("us-east-1", "cloudwatch") as client:
        with pytest.raises(SourceError, match="cloudwatch"):
            await CloudWatchMetrics(client, deadline_s=5.0).put(data_of("openmwaa", 1))
