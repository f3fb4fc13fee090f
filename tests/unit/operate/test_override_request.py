# SPDX-License-Identifier: Apache-2.0
"""What one call of `openmwaa scale` makes of what was ordered before."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from openmwaa.config.environment import Environment
from openmwaa.operate.override_request import Bound, Duration, OverrideRefusedError, OverrideRequest, in_force, notes
from scaler.config.overrides import OverrideDocument
from tests.support.environments import LEAST

NOW = datetime(2027, 3, 1, 6, 30, tzinfo=UTC)  # a Monday
LATER = "2027-03-01T08:30:00+00:00"
FLEET = Environment.model_validate(
    {
        **LEAST,
        "fleets": {
            "default": {
                "queues": ["default"],
                "min": 2,
                "max": 10,
                "schedule": [{"cron": "0 6 * * 1-5", "minutes": 60, "min": 4}],
            }
        },
    }
).fleets["default"]


def order(before: OverrideDocument | None = None, **asked: Any) -> OverrideDocument:
    return OverrideRequest(**asked).apply(before or OverrideDocument(), FLEET, by="somebody", now=NOW)


def bounds(document: OverrideDocument) -> tuple[int | None, int | None, int | None]:
    return document.min, document.max, document.fixed


def test_an_order_says_who_when_and_why() -> None:
    found = order(maximum=Bound(3), why="a migration", duration=Duration(timedelta(hours=2)))
    assert found == OverrideDocument(
        max=3, by="somebody", at="2027-03-01T06:30:00+00:00", why="a migration", until=LATER
    )


@pytest.mark.parametrize(
    ("before", "asked", "expected"),
    [
        pytest.param({"max": 3}, {"minimum": Bound(1)}, (1, 3, None), id="adds up"),
        pytest.param({"min": 1, "max": 3}, {"fixed": Bound(5)}, (None, None, 5), id="fixed takes the bounds' place"),
        pytest.param({"fixed": 5}, {"maximum": Bound(3)}, (None, 3, None), id="a bound takes fixed's place"),
        pytest.param({"fixed": 5}, {"fixed": Bound(None)}, (None, None, None), id="fixed is taken back"),
        pytest.param({"min": 1, "max": 3}, {"maximum": Bound(None)}, (1, None, None), id="one bound is taken back"),
        pytest.param({"min": 1, "max": 3}, {"clear": True}, (None, None, None), id="all is taken back"),
        pytest.param({"min": 1}, {"clear": True, "maximum": Bound(3)}, (None, 3, None), id="all but the new one"),
        pytest.param({}, {"fixed": Bound(0)}, (None, None, 0), id="zero is a size"),
        pytest.param(
            {"max": 3}, {"fixed": Bound(None), "minimum": Bound(2)}, (2, 3, None), id="no fixed size and a bound"
        ),
    ],
)
def test_what_an_order_makes_of_the_one_before(before: Any, asked: Any, expected: Any) -> None:
    assert bounds(order(OverrideDocument(**before), **asked)) == expected


def test_pause_and_dry_run_are_kept_until_they_are_taken_back() -> None:
    found = order(order(pause="in", dry_run=True), maximum=Bound(3))
    assert (found.pause, found.dry_run, found.max) == ("in", True, 3)
    found = order(found, pause="none", dry_run=False)
    assert (found.pause, found.dry_run, found.max) == ("none", False, 3)


def test_an_end_is_kept_until_another_is_given() -> None:
    timed = order(maximum=Bound(3), duration=Duration(timedelta(hours=2)))
    assert order(timed, pause="in").until == LATER
    assert order(timed, pause="in", duration=Duration(timedelta(hours=1))).until == "2027-03-01T07:30:00+00:00"
    assert order(timed, pause="in", duration=Duration(None)).until is None
    assert order(timed, clear=True, maximum=Bound(4)).until is None
    assert order(timed, maximum=Bound(None)).until is None, "an end of nothing"


@pytest.mark.parametrize(
    ("before", "asked", "words"),
    [
        pytest.param({}, {"fixed": Bound(3), "maximum": Bound(3)}, "--fixed leaves no room", id="fixed and max"),
        pytest.param({}, {"minimum": Bound(4), "maximum": Bound(3)}, "must not be above", id="min above max"),
        pytest.param({"max": 3}, {"minimum": Bound(4)}, "must not be above", id="min above an ordered max"),
        pytest.param({}, {"minimum": Bound(11)}, "Give --max 11 too", id="min above the file's max"),
        pytest.param({}, {"why": "because"}, "belong to an order", id="a reason for nothing"),
        pytest.param({}, {"duration": Duration(None)}, "belong to an order", id="a time for nothing"),
    ],
)
def test_an_order_that_makes_no_sense_is_refused(before: Any, asked: Any, words: str) -> None:
    with pytest.raises(OverrideRefusedError, match=words):
        order(OverrideDocument(**before), **asked)


@pytest.mark.parametrize(
    ("controls", "minimum", "maximum"),
    [
        pytest.param({}, 4, 10, id="file and schedule"),
        pytest.param({"min": 1}, 1, 10, id="an ordered minimum wins over the schedule"),
        pytest.param({"max": 3}, 3, 3, id="the maximum counts"),
        pytest.param({"fixed": 0}, 0, 0, id="fixed"),
        pytest.param({"fixed": 0, "until": "2027-03-01T06:30:00+00:00"}, 4, 10, id="over"),
    ],
)
def test_what_holds_is_what_the_scaler_works_out(controls: Any, minimum: int, maximum: int) -> None:
    holds = in_force(FLEET, OverrideDocument(**controls), NOW)
    assert (holds.minimum, holds.maximum) == (minimum, maximum)
    assert holds.schedule is not None
    assert holds.schedule.minimum == 4


@pytest.mark.parametrize(
    ("controls", "words"),
    [
        ({"max": 12}, "Above the file's maximum"),
        ({"fixed": 12}, "Above the file's maximum"),
        ({"max": 3}, "stay until these end"),
        ({"max": 1}, "minimum of 2 gives way"),
        ({"dry_run": True}, "not even what protection demands"),
        ({"pause": "out"}, "No worker is started"),
    ],
)
def test_who_orders_is_told_what_follows(controls: Any, words: str) -> None:
    assert any(words in note for note in notes(FLEET, OverrideDocument(**controls)))
    assert notes(FLEET, OverrideDocument()) == []


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("90m", 5400), ("2h", 7200), ("1d12h", 129600), ("1h30m", 5400), ("forever", None)],
)
def test_durations(text: str, seconds: int | None) -> None:
    assert Duration.parse(text) == Duration(None if seconds is None else timedelta(seconds=seconds))


@pytest.mark.parametrize("text", ["", "2", "h", "-2h", "2 h", "0s", "2w", "367d", "999999d", "²h", "soon"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no duration|is not between"):
        Duration.parse(text)


@pytest.mark.parametrize("text", ["", "-1", "1.5", "5001", "²", "many", "None"])
def test_what_is_no_number_of_workers(text: str) -> None:
    with pytest.raises(ValueError, match="no number of workers"):
        Bound.parse(text)
