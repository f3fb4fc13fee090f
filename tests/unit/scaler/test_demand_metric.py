# SPDX-License-Identifier: Apache-2.0
"""A CloudWatch metric as demand of a fleet: it raises the demand of the tasks, and without data nothing shrinks."""

import json
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from scaler.adapters.cloudwatch import CloudWatchDemand, Timing
from scaler.config.settings import DemandMetricSettings, parse_settings
from scaler.core.decide import decide
from scaler.core.model import (
    BrokerCount,
    DatabaseCount,
    FleetPolicy,
    Known,
    MetricPolicy,
    Observation,
    Reading,
    Stale,
    Unknown,
)
from scaler.core.state import Decision, FleetState
from scaler.errors import BadAnswerError, ConfigurationError, SourceError
from scaler.reporting.decision_line import decision_line, reading_ages
from scaler.reporting.explanation import summary
from scaler.reporting.tick_codec import from_json, to_json
from scaler.runtime.fleet_loop import FleetLoop
from scaler.runtime.observe import Observer, Ports
from tests.support.scaler_builders import FLEET, explained, observe, state_after_window, state_of
from tests.unit.scaler.test_cloudwatch import NOON, Client
from tests.unit.scaler.test_config import FLEET as WRITTEN
from tests.unit.scaler.test_config import GOOD
from tests.unit.scaler.test_runtime import ports

METRIC = MetricPolicy("Acme/Video FramesWaiting", 0.5)
SETTINGS = DemandMetricSettings(namespace="Acme/Video", metric_name="FramesWaiting", dimensions={"Stage": "prod"})
FLEET_WITH_METRIC = replace(FLEET, demand_metric=METRIC)
NO_DATA = Unknown("no data of FramesWaiting since 11:57")
IDLE = ["idle"] * 3


def decided(reading: Reading[float] | None, workers: list[str] = IDLE, **seen: Any) -> tuple[Decision, FleetState]:
    before = state_after_window(observe(workers))
    observation = replace(observe(workers, **seen), demand_metric=reading)
    return decide(FLEET_WITH_METRIC, observation, before, FLEET.scale_in_window_s)


# --- the decision


@pytest.mark.parametrize(
    ("reading", "seen", "desired", "words"),
    [
        pytest.param(Known(37.0, 0.0), {}, 4, "FramesWaiting: 37 x 0.5 slots = 19 slots", id="more than the tasks"),
        pytest.param(Known(4.0, 0.0), {"queued": 22}, 5, "4 x 0.5 slots = 2 slots", id="fewer than the tasks"),
        pytest.param(Known(500.0, 0.0), {}, 10, "250 slots", id="bounded by the maximum"),
        pytest.param(Stale(37.0, 9.0), {}, 4, "FramesWaiting 9 s ago: 37 x 0.5", id="a stale value raises"),
        pytest.param(Stale(0.0, 9.0), {}, 3, "0 slots: no scale-in", id="a stale value never lowers"),
        pytest.param(NO_DATA, {}, 3, "unknown (no data of FramesWaiting since 11:57): no scale-in", id="no data holds"),
        pytest.param(NO_DATA, {"queued": 22}, 5, "unknown", id="without data the tasks raise"),
        pytest.param(None, {}, 3, "not read", id="a metric that is not read is unknown"),
        pytest.param(
            Known(37.0, 0.0),
            {"database": Unknown("down"), "broker": Unknown("down")},
            4,
            "19 slots",
            id="the metric alone raises",
        ),
        pytest.param(
            Known(0.0, 0.0),
            {"database": Unknown("down"), "broker": Unknown("down")},
            3,
            "0 slots",
            id="the metric alone never lowers",
        ),
        pytest.param(
            Known(0.0, 0.0), {"database": Unknown("down")}, 3, "can raise the fleet, not lower", id="database unknown"
        ),
    ],
)
def test_a_metric_raises_and_only_known_values_lower(
    reading: Reading[float] | None, seen: dict[str, Any], desired: int, words: str
) -> None:
    decision, state = decided(reading, **seen)
    assert decision.desired == desired
    assert explained(decision.explanation, words), decision.explanation
    if desired == 3:
        assert not state_of(state).drains, "a fleet was drained on an unknown metric"


@pytest.mark.fault("source empty", "Without data of its metric a fleet grows with its tasks and does not shrink")
def test_a_known_metric_without_demand_lets_the_fleet_shrink() -> None:
    assert len(decided(Known(0.0, 0.0))[0].drains) == 2
    assert not decided(NO_DATA)[0].drains


def test_without_a_database_the_metric_is_demand_beside_the_broker() -> None:
    observation = replace(
        observe(IDLE, broker=Known(BrokerCount(1, 0), 0.0)), database=None, demand_metric=Known(50.0, 0.0)
    )
    decision, _ = decide(FLEET_WITH_METRIC, observation, FleetState(), 0.0)
    assert (decision.desired, decision.demand and decision.demand.source) == (5, "metric")


def test_a_fleet_with_minimum_0_starts_for_its_metric_and_stays_while_it_has_no_data() -> None:
    fleet = replace(FLEET_WITH_METRIC, minimum=0)
    asleep = replace(observe([], desired=0), demand_metric=Known(1.0, 0.0))
    assert decide(fleet, asleep, FleetState(), 0.0)[0].desired == 1
    state = state_after_window(observe(["idle"]))
    for tick in range(1, 4):
        seen = replace(observe(["idle"]), demand_metric=NO_DATA)
        decision, state = decide(fleet, seen, state, FLEET.scale_in_window_s + 5.0 * tick)
        assert (decision.desired, decision.drains) == (1, ())


def test_a_fraction_is_rounded_up_and_not_by_binary_digits() -> None:
    fleet = replace(FLEET, demand_metric=replace(METRIC, slots_per_unit=1.1))
    slots = []
    for value in (10.0, 10.1):
        decision, _ = decide(fleet, replace(observe(["idle"]), demand_metric=Known(value, 0.0)), FleetState(), 0.0)
        assert decision.demand is not None
        slots.append(decision.demand.slots)
    assert slots == [11, 12], "10 x 1.1 is 11.000000000000002 in binary"


# --- the observation and the reports


def runtime_fleet() -> FleetPolicy:
    return FleetPolicy("default", ("default",), 5, 1, 5, scale_in_window_s=30.0, demand_metric=METRIC)


def observer(ports: Ports, answers: list[float | SourceError]) -> Observer:
    """Observe a fleet whose metric has the last of `answers`."""

    async def metric() -> float:
        if isinstance(answers[-1], SourceError):
            raise answers[-1]
        return answers[-1]

    return Observer(runtime_fleet(), ["worker-default"], {"default": "url"}, ports, metric=metric)


async def test_a_metric_is_stale_for_three_ticks_and_then_unknown() -> None:
    environment = ports()
    answers: list[float | SourceError] = [7.0]
    observing = observer(environment.environment(), answers)
    kinds = [type((await observing.observe(3.0, 15.0))[0].demand_metric)]
    answers.append(SourceError("cloudwatch", "no data"))
    for _ in range(4):
        environment.advance(5.0)
        observation, errors = await observing.observe(3.0, 15.0)
        kinds.append(type(observation.demand_metric))
        assert [str(error) for error in errors] == ["cloudwatch: no data"]
    assert kinds == [Known, Stale, Stale, Unknown, Unknown]


async def test_log_page_and_record_name_the_metric() -> None:
    environment = ports().environment()
    result = await FleetLoop(runtime_fleet(), observer(environment, [40.0]), environment, ()).tick()
    line = decision_line(result, "example")
    assert line["desired"] == 4
    sentences = summary(json.loads(json.dumps(line)))
    shown = "20 slots needed (from the CloudWatch metric Acme/Video FramesWaiting; 0 queued + 0 running) / 5 per worker"
    assert any(text.startswith(shown) for text in sentences), sentences
    assert reading_ages(result)["metric"] is not None
    assert from_json(json.loads(json.dumps(to_json(result.tick)))) == result.tick


def test_a_fleet_without_a_metric_has_no_reading_of_one() -> None:
    observation = observe(IDLE, database=Known(DatabaseCount(0, 0), 0.0))
    assert isinstance(observation, Observation)
    assert observation.demand_metric is None
    assert not explained(decide(FLEET, observation, FleetState(), 0.0)[0].explanation, "CloudWatch")


# --- the adapter


def timing(now: list[float]) -> Timing:
    return Timing(lambda: now[0], lambda: NOON + timedelta(seconds=now[0]), max_failure_age_s=0.5, deadline_s=0.2)


def of(**changes: Any) -> DemandMetricSettings:
    return SETTINGS.model_copy(update=changes)


async def test_the_request_names_metric_dimensions_statistic_and_period() -> None:
    client = Client()
    client.metrics["prod", "FramesWaiting"] = {2: 6.25}
    demand = CloudWatchDemand(client, timing([0.0]))
    assert await demand.value(of(statistic="Average")) == 6.25, "a fraction is kept for the slots"
    (request,) = client.requests
    (query,) = request["MetricDataQueries"]
    assert query["MetricStat"] == {
        "Metric": {
            "Namespace": "Acme/Video",
            "MetricName": "FramesWaiting",
            "Dimensions": [{"Name": "Stage", "Value": "prod"}],
        },
        "Period": 60,
        "Stat": "Average",
    }


async def test_metrics_of_a_period_share_a_call_and_other_periods_have_their_own_window() -> None:
    client, now = Client(), [0.0]
    client.metrics |= {("prod", "FramesWaiting"): {2: 6, 10: 9}, ("prod", "Other"): {2: 5}}
    demand = CloudWatchDemand(client, timing(now))
    assert await demand.value(SETTINGS) == 6
    assert await demand.value(of(metric_name="Other")) == 5
    assert await demand.value(of(period_s=300)) == 9, "12:00:30 less a minute: periods to 11:55"
    starts: list[datetime] = [request["StartTime"] for request in client.requests]
    assert [NOON - start for start in starts] == [timedelta(seconds=s) for s in (210, 210, 930)]
    now[0] = 21.0
    client.requests.clear()
    await demand.value(SETTINGS)
    assert [len(request["MetricDataQueries"]) for request in client.requests] == [2]
    await demand.close()


@pytest.mark.parametrize(
    ("points", "kind"),
    [
        pytest.param({}, SourceError, id="missing"),
        pytest.param({4: 9}, SourceError, id="late by more than two periods"),
        pytest.param({1: 9, 0: 9}, SourceError, id="a period that may be incomplete"),
        pytest.param({2: -1}, BadAnswerError, id="negative"),
        pytest.param({2: float("nan")}, BadAnswerError, id="not a number"),
    ],
)
async def test_missing_late_and_invalid_data_points_are_unknown(points: Any, kind: type[SourceError]) -> None:
    client = Client()
    client.metrics["prod", "FramesWaiting"] = points
    with pytest.raises(kind):
        await CloudWatchDemand(client, timing([0.0])).value(SETTINGS)


async def test_a_changed_file_may_name_another_metric_of_the_same_period() -> None:
    client = Client()
    client.metrics |= {("prod", "FramesWaiting"): {2: 6}, ("test", "FramesWaiting"): {2: 1}}
    demand = CloudWatchDemand(client, timing([0.0]))
    assert await demand.value(SETTINGS) == 6
    assert await demand.value(of(dimensions={"Stage": "test"})) == 1


async def test_a_failed_metric_affects_its_own_fleet_only() -> None:
    client = Client()
    client.metrics["prod", "Other"] = {2: 5}
    demand = CloudWatchDemand(client, timing([0.0]))
    with pytest.raises(SourceError, match="no data of FramesWaiting"):
        await demand.value(SETTINGS)
    assert await demand.value(of(metric_name="Other")) == 5


# --- the settings


def config(**metric: Any) -> str:
    return json.dumps(GOOD | {"fleets": [WRITTEN | {"demand_metric": SETTINGS.model_dump() | metric}]})


def test_the_settings_of_a_fleet_have_its_metric() -> None:
    settings = parse_settings(config(slots_per_unit=0.5))
    assert settings.core_fleet(settings.fleets[0]).demand_metric == METRIC
    without = parse_settings(json.dumps(GOOD))
    assert without.core_fleet(without.fleets[0]).demand_metric is None


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"namespace": ""}, "namespace"),
        ({"slots_per_unit": 0}, "slots_per_unit"),
        ({"slots_per_unit": float("inf")}, "slots_per_unit"),
        ({"period_s": 45}, "period_s"),
        ({"statistic": "p99"}, "statistic"),
        ({"dimensions": {f"d{number}": "x" for number in range(31)}}, "dimensions"),
        ({"unit": "Count"}, "unit"),
    ],
)
def test_a_wrong_metric_names_its_field(change: dict[str, Any], field: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"SCALER_CONFIG\.fleets\.0\.demand_metric\.{field}"):
        parse_settings(config(**change))


@pytest.mark.parametrize("zone", ["localtime", "Factory", "right/UTC"])
def test_a_time_zone_of_the_host_is_no_time_zone(zone: str) -> None:
    row = {"cron": "0 6 * * *", "minutes": 60, "min": 2, "timezone": zone}
    with pytest.raises(ConfigurationError, match="not a time zone of the IANA database"):
        parse_settings(json.dumps(GOOD | {"fleets": [WRITTEN | {"schedule": [row]}]}))
