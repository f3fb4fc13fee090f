# SPDX-License-Identifier: Apache-2.0
"""A recorded tick: it is read back equal, and an invalid tick is refused."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from scaler.core.decide import decide
from scaler.core.model import Forecast, ForecastSource, Known, LookAheadPolicy, Unknown
from scaler.core.state import FleetState
from scaler.core.tick import Tick
from scaler.reporting.tick_codec import RecordError, from_json, replay, to_json
from tests.support.scaler_builders import FLEET, SERVICE, SILENT, observe, with_changes


def tick() -> Tick:
    _, state = decide(FLEET, observe(["full", "pending"], queued=9, running=5), FleetState(), 0.0)
    seen = observe(["full", "released", "silent"], queued=9, running=5)
    return Tick(FLEET, seen, state, 5.0, decide(FLEET, seen, state, 5.0)[0])


def forecast_tick() -> Tick:
    fleet = replace(FLEET, look_ahead=LookAheadPolicy())
    forecast = Forecast(5.0, 5.0, (9.0,) * 20, (0.5,) * 20, task_s=30.0, present=14, waiting_s=2.0)
    forecast = replace(forecast, sources=(ForecastSource("sales", 9.0, 12.5, 14, 13),))
    seen = replace(tick().observation, forecast=Known(forecast, 5.0))
    before = replace(tick().before, launch_latencies=(42.5,))
    _, before = decide(fleet, seen, before, 0.0)
    assert before.accuracy.pending
    decision = decide(fleet, seen, before, 5.0)[0]
    assert "look-ahead" in [step.name for step in decision.explanation]
    return Tick(fleet, seen, before, 5.0, decision)


def test_a_tick_is_read_back_equal() -> None:
    for recorded in (
        tick(),
        forecast_tick(),
        replace(forecast_tick(), observation=replace(tick().observation, forecast=Unknown("too slow"))),
        replace(tick(), observation=with_changes(tick().observation, service=SILENT, tasks=SILENT)),
    ):
        assert from_json(json.loads(json.dumps(to_json(recorded)))) == recorded


def test_replay_without_difference() -> None:
    assert replay(tick()) == ()
    assert replay(from_json(to_json(forecast_tick()))) == ()


def test_replay_names_the_difference() -> None:
    recorded = tick()
    other = replace(recorded, decision=replace(recorded.decision, target=7, reason="Because."))
    differences = replay(other)
    assert len(differences) == 2
    assert differences[1] == f"decision.target: was 7, is {recorded.decision.target}"


def at(*path: str) -> Callable[[Any, Any], None]:
    def change(document: Any, value: Any) -> None:
        for name in path[:-1]:
            document = document[name]
        document[path[-1]] = value

    return change


SERVICE_PATH = ("observation", "services", SERVICE, "service")


@pytest.mark.parametrize(
    ("change", "value", "words"),
    [
        pytest.param(at("now"), math.nan, "now: Input should be a finite number", id="NaN"),
        pytest.param(at("now"), math.inf, "now: Input should be a finite number", id="infinity"),
        pytest.param(at("now"), -1.0, "now: Input should be greater than or equal to 0", id="a negative time"),
        pytest.param(at("now"), "5", "now: Input should be a valid number", id="a number in quotes"),
        pytest.param(at("now"), True, "now: Input should be a valid number", id="yes is no number"),
        pytest.param(
            at(*SERVICE_PATH, "value", "desired"),
            -1,
            "desired: Input should be greater than or equal to 0",
            id="a negative count",
        ),
        pytest.param(
            at(*SERVICE_PATH, "value", "desired"), 1.5, "desired: Input should be a valid integer", id="half a worker"
        ),
        pytest.param(
            at(*SERVICE_PATH, "guess"),
            "known",
            "service.Known.guess: Unexpected keyword argument",
            id="another reading",
        ),
        pytest.param(at(*SERVICE_PATH), None, "service.Known: Input should be an object", id="nothing for a reading"),
        pytest.param(at("fleet", "colour"), "red", "fleet.colour: Unexpected keyword argument", id="a field too many"),
        pytest.param(
            at("fleet", "desired_count_drift"),
            "ignore",
            "Input should be 'adopt' or 'correct'",
            id="a word that is none",
        ),
        pytest.param(
            at("fleet", "queues"), "default", "fleet.queues: Input should be a valid array", id="a word for a list"
        ),
        pytest.param(
            at("before", "window", "samples"), [[1.0]], "before.window.samples.0.1: Field required", id="half a sample"
        ),
        pytest.param(at("decision", "kind"), None, "decision.kind: Input should be", id="no kind"),
    ],
)
def test_an_invalid_tick_is_refused(change: Callable[[Any, Any], None], value: Any, words: str) -> None:
    document = json.loads(json.dumps(to_json(tick())))
    change(document, value)
    with pytest.raises(RecordError) as refused:
        from_json(document)
    assert words in str(refused.value)


def test_a_missing_field_is_refused() -> None:
    document: Any = to_json(tick())
    del document["before"]["adopted"]
    with pytest.raises(RecordError, match=r"before\.adopted: Field required"):
        from_json(document)
