# SPDX-License-Identifier: Apache-2.0
"""A tick that was kept: what is read back is what was, and what cannot be a tick is refused."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from scaler.core.decide import decide
from scaler.core.state import State
from scaler.core.tick import Tick
from scaler.reporting.tick_codec import RecordError, from_json, replay, to_json
from tests.support.scaler_builders import FLEET, SERVICE, SILENT, but, observe


def tick() -> Tick:
    _, state = decide(FLEET, observe(["full", "pending"], queued=9, running=5), State(), 0.0)
    seen = observe(["full", "released", "silent"], queued=9, running=5)
    return Tick(FLEET, seen, state, 5.0, decide(FLEET, seen, state, 5.0)[0])


def test_read_back_it_is_what_was() -> None:
    for one in (tick(), replace(tick(), observation=but(tick().observation, service=SILENT, tasks=SILENT))):
        assert from_json(json.loads(json.dumps(to_json(one)))) == one


def test_decided_again_it_does_not_differ() -> None:
    assert replay(tick()) == ()


def test_what_differs_is_named() -> None:
    one = tick()
    other = replace(one, decision=replace(one.decision, wanted=7, reason="Because."))
    differences = replay(other)
    assert len(differences) == 2
    assert differences[1] == "decision.wanted: was 7, is 3"


def at(*path: str) -> Callable[[Any, Any], None]:
    def change(document: Any, value: Any) -> None:
        for name in path[:-1]:
            document = document[name]
        document[path[-1]] = value

    return change


SERVICE_PATH = ("observation", "generations", SERVICE, "service")


@pytest.mark.parametrize(
    ("change", "value", "words"),
    [
        pytest.param(at("now"), math.nan, "now: nan is not a number from 0", id="NaN"),
        pytest.param(at("now"), math.inf, "inf is not a number from 0", id="infinity"),
        pytest.param(at("now"), -1.0, "-1.0 is not a number from 0", id="a negative time"),
        pytest.param(at("now"), "5", "'5' is no number", id="a number in quotes"),
        pytest.param(at("now"), True, "True is no number", id="yes is no number"),
        pytest.param(at(*SERVICE_PATH, "value", "desired"), -1, "desired: -1", id="a negative count"),
        pytest.param(at(*SERVICE_PATH, "value", "desired"), 1.5, "1.5 is no whole number", id="half a worker"),
        pytest.param(at(*SERVICE_PATH, "reading"), "guess", "'guess' is no kind of reading", id="another reading"),
        pytest.param(at(*SERVICE_PATH), None, "NoneType where an object belongs", id="nothing for a reading"),
        pytest.param(at("fleet", "colour"), "red", "lacks them: colour", id="a field too many"),
        pytest.param(at("fleet", "desired_count_drift"), "ignore", "none of adopt, correct", id="a word that is none"),
        pytest.param(at("fleet", "queues"), "default", "str where a list belongs", id="a word for a list"),
        pytest.param(at("before", "window", "samples"), [[1.0]], "1 values where 2 belong", id="half a sample"),
        pytest.param(at("decision", "kind"), None, "None is none of", id="no kind"),
    ],
)
def test_what_cannot_be_a_tick_is_refused(change: Callable[[Any, Any], None], value: Any, words: str) -> None:
    document = json.loads(json.dumps(to_json(tick())))
    change(document, value)
    with pytest.raises(RecordError) as refused:
        from_json(document)
    assert words in str(refused.value)


def test_a_field_that_is_missing_is_refused() -> None:
    document: Any = to_json(tick())
    del document["before"]["adopted"]
    with pytest.raises(RecordError, match="State has not these fields, or lacks them: adopted"):
        from_json(document)
