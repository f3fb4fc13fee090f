# SPDX-License-Identifier: Apache-2.0
"""Times of the command line."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from openmwaa.operate import times

ZURICH = ZoneInfo("Europe/Zurich")
NOW = datetime(2026, 3, 30, 12, 0, tzinfo=UTC)  # 14:00 in Zurich; summer time began the day before


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("now", "2026-03-30T12:00:00", id="now"),
        pytest.param("13:30", "2026-03-30T11:30:00", id="today"),
        pytest.param("9:05", "2026-03-30T07:05:00", id="one digit"),
        pytest.param("9:05:07", "2026-03-30T07:05:07", id="one digit and seconds"),
        pytest.param("14:30", "2026-03-29T12:30:00", id="in the future, so yesterday"),
        pytest.param("11:30Z", "2026-03-30T11:30:00", id="a time of day in UTC"),
        pytest.param("23:30", "2026-03-29T21:30:00", id="yesterday, after the clocks changed"),
        pytest.param("yesterday 01:30", "2026-03-29T00:30:00", id="yesterday, before the clocks changed"),
        pytest.param("today 01:30", "2026-03-29T23:30:00", id="today's early morning is yesterday in UTC"),
        pytest.param("2h ago", "2026-03-30T10:00:00", id="hours"),
        pytest.param("1h30m ago", "2026-03-30T10:30:00", id="hours and minutes"),
        pytest.param("90 s ago", "2026-03-30T11:58:30", id="seconds, spaced"),
        pytest.param("2h", "2026-03-30T10:00:00", id="without ago"),
        pytest.param("3d ago", "2026-03-27T12:00:00", id="days"),
        pytest.param("2026-01-31T14:30:00Z", "2026-01-31T14:30:00", id="RFC 3339"),
        pytest.param("2026-01-31T14:30:00.123+01:00", "2026-01-31T13:30:00.123000", id="RFC 3339 with an offset"),
        pytest.param("2026-01-31 14:30", "2026-01-31T13:30:00", id="a local time in winter"),
    ],
)
def test_valid_times(text: str, expected: str) -> None:
    assert times.parse(text, NOW, ZURICH) == datetime.fromisoformat(expected).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    "text", ["", "noon", "25:00", "2h later", "ago", "2026-02-30", "999999d ago", "-1h", "1:2:3:4"]
)
def test_an_invalid_time_is_refused_with_the_valid_forms(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a time such as|before the year 1"):
        times.parse(text, NOW, ZURICH)
