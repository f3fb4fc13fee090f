# SPDX-License-Identifier: Apache-2.0
"""The override that one call of `openmwaa scale` makes of the existing one."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from openmwaa.config.environment import Environment
from openmwaa.operate.override_request import (
    Bound,
    Duration,
    OverrideRefusedError,
    OverrideRequest,
    active_bounds,
    notes,
)
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


def override(before: OverrideDocument | None = None, **options: Any) -> OverrideDocument:
    return OverrideRequest(**options).apply(before or OverrideDocument(), FLEET, by="an operator", now=NOW)


def bounds_of(document: OverrideDocument) -> tuple[int | None, int | None, int | None]:
    return document.min, document.max, document.fixed


def test_an_override_has_user_time_and_reason() -> None:
    found = override(maximum=Bound(3), reason="a migration", duration=Duration(timedelta(hours=2)))
    assert found == OverrideDocument(
        max=3, by="an operator", at="2027-03-01T06:30:00+00:00", reason="a migration", until=LATER
    )


@pytest.mark.parametrize(
    ("before", "options", "expected"),
    [
        pytest.param({"max": 3}, {"minimum": Bound(1)}, (1, 3, None), id="the bounds are combined"),
        pytest.param({"min": 1, "max": 3}, {"fixed": Bound(5)}, (None, None, 5), id="fixed replaces the bounds"),
        pytest.param({"fixed": 5}, {"maximum": Bound(3)}, (None, 3, None), id="a bound replaces fixed"),
        pytest.param({"fixed": 5}, {"fixed": Bound(None)}, (None, None, None), id="fixed is removed"),
        pytest.param({"min": 1, "max": 3}, {"maximum": Bound(None)}, (1, None, None), id="one bound is removed"),
        pytest.param({"min": 1, "max": 3}, {"clear": True}, (None, None, None), id="all is removed"),
        pytest.param({"min": 1}, {"clear": True, "maximum": Bound(3)}, (None, 3, None), id="only the new one remains"),
        pytest.param({}, {"fixed": Bound(0)}, (None, None, 0), id="zero is valid"),
        pytest.param(
            {"max": 3}, {"fixed": Bound(None), "minimum": Bound(2)}, (2, 3, None), id="no fixed size and a bound"
        ),
    ],
)
def test_an_override_changes_the_existing_one(before: Any, options: Any, expected: Any) -> None:
    assert bounds_of(override(OverrideDocument(**before), **options)) == expected


def test_pause_and_dry_run_are_kept_until_they_are_removed() -> None:
    found = override(override(pause="in", dry_run=True), maximum=Bound(3))
    assert (found.pause, found.dry_run, found.max) == ("in", True, 3)
    found = override(found, pause="none", dry_run=False)
    assert (found.pause, found.dry_run, found.max) == ("none", False, 3)


def test_the_end_is_kept_until_another_is_set() -> None:
    timed = override(maximum=Bound(3), duration=Duration(timedelta(hours=2)))
    assert override(timed, pause="in").until == LATER
    assert override(timed, pause="in", duration=Duration(timedelta(hours=1))).until == "2027-03-01T07:30:00+00:00"
    assert override(timed, pause="in", duration=Duration(None)).until is None
    assert override(timed, clear=True, maximum=Bound(4)).until is None
    assert override(timed, maximum=Bound(None)).until is None, "an empty override has no end"


@pytest.mark.parametrize(
    ("before", "options", "message"),
    [
        pytest.param({}, {"fixed": Bound(3), "maximum": Bound(3)}, "--fixed cannot be combined", id="fixed and max"),
        pytest.param({}, {"minimum": Bound(4), "maximum": Bound(3)}, "must not be above", id="min above max"),
        pytest.param({"max": 3}, {"minimum": Bound(4)}, "must not be above", id="min above the existing max"),
        pytest.param({}, {"minimum": Bound(11)}, "Add --max 11", id="min above the file's max"),
        pytest.param({}, {"reason": "because"}, "need an override", id="a reason without an override"),
        pytest.param({}, {"duration": Duration(None)}, "need an override", id="a duration without an override"),
    ],
)
def test_an_invalid_override_is_refused(before: Any, options: Any, message: str) -> None:
    with pytest.raises(OverrideRefusedError, match=message):
        override(OverrideDocument(**before), **options)


@pytest.mark.parametrize(
    ("document", "minimum", "maximum"),
    [
        pytest.param({}, 4, 10, id="file and schedule"),
        pytest.param({"min": 1}, 1, 10, id="an override takes precedence over the schedule"),
        pytest.param({"max": 3}, 3, 3, id="the maximum limits the minimum"),
        pytest.param({"fixed": 0}, 0, 0, id="fixed"),
        pytest.param({"fixed": 0, "until": "2027-03-01T06:30:00+00:00"}, 4, 10, id="expired"),
    ],
)
def test_the_active_bounds_are_those_of_the_scaler(document: Any, minimum: int, maximum: int) -> None:
    bounds, schedule = active_bounds(FLEET, OverrideDocument(**document), NOW)
    assert (bounds.minimum, bounds.maximum) == (minimum, maximum)
    assert schedule is not None
    assert schedule.minimum == 4


@pytest.mark.parametrize(
    ("document", "note"),
    [
        ({"max": 12}, "Above the file's maximum"),
        ({"fixed": 12}, "Above the file's maximum"),
        ({"max": 3}, "stay until the tasks end"),
        ({"max": 1}, "minimum of 2 does not apply"),
        ({"dry_run": True}, "not even to protect workers"),
        ({"pause": "out"}, "No worker is started"),
    ],
)
def test_notes_name_the_consequences(document: Any, note: str) -> None:
    assert any(note in text for text in notes(FLEET, OverrideDocument(**document)))
    assert notes(FLEET, OverrideDocument()) == []


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("90m", 5400), ("2h", 7200), ("1d12h", 129600), ("1h30m", 5400), ("forever", None)],
)
def test_durations(text: str, seconds: int | None) -> None:
    assert Duration.parse(text) == Duration(None if seconds is None else timedelta(seconds=seconds))


@pytest.mark.parametrize("text", ["", "2", "h", "-2h", "2 h", "0s", "2w", "367d", "999999d", "²h", "soon"])
def test_invalid_durations(text: str) -> None:
    with pytest.raises(ValueError, match=r"is neither a duration|is not between"):
        Duration.parse(text)


@pytest.mark.parametrize("text", ["", "-1", "1.5", "5001", "²", "many", "None"])
def test_invalid_numbers_of_workers(text: str) -> None:
    with pytest.raises(ValueError, match="neither a number of workers"):
        Bound.parse(text)
