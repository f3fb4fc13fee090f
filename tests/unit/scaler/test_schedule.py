# SPDX-License-Identifier: Apache-2.0
"""The scheduled minimum against a scan of every minute, on ordinary days, when clocks change, and when time jumps."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from scaler.config.schedule import Schedules


@dataclass
class Row:
    cron: str
    minutes: int
    min: int
    timezone: str = "UTC"


OFFICE = Row("0 6 * * 1-5", 720, 4, "Europe/Zurich")


def at(text: str) -> datetime:
    """A time in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def minimum(rows: Sequence[Row], now: datetime) -> int | None:
    found = Schedules(rows).at(now)
    return found.minimum if found else None


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        pytest.param("2027-03-01T04:59:59", None, id="a second before six in Zurich"),
        pytest.param("2027-03-01T05:00:00", 4, id="at six"),
        pytest.param("2027-03-01T16:59:59.999999", 4, id="the last microsecond"),
        pytest.param("2027-03-01T17:00:00", None, id="after twelve hours"),
        pytest.param("2027-03-06T09:00:00", None, id="Saturday"),
        pytest.param("2027-06-01T04:00:00", 4, id="in summer an hour earlier in UTC"),
    ],
)
def test_a_row_starts_at_its_cron_time_in_its_zone_and_lasts_its_minutes(now: str, expected: int | None) -> None:
    assert minimum([OFFICE], at(now)) == expected


def test_the_row_with_the_largest_minimum_is_in_force() -> None:
    rows = [OFFICE, Row("0 8 * * *", 60, 9), Row("0 0 1 * *", 1440, 2)]
    found = Schedules(rows).at(at("2027-03-01T08:30:00"))
    assert found is not None
    assert (found.minimum, found.description) == (9, "`0 8 * * *` in UTC for 60 min, until 2027-03-01 09:00")
    assert minimum(rows, at("2027-03-01T09:00:00")) == 4
    assert minimum(rows, at("2027-03-01T17:30:00")) == 2


def test_the_text_does_not_change_while_a_row_is_in_force() -> None:
    schedules = Schedules([OFFICE])
    start = at("2027-03-01T05:00:00")
    descriptions = {
        getattr(schedules.at(start + timedelta(minutes=minute)), "description", None) for minute in range(720)
    }
    assert descriptions == {"`0 6 * * 1-5` in Europe/Zurich for 720 min, until 2027-03-01 18:00"}


@pytest.mark.parametrize(
    ("row", "started", "why"),
    [
        # Clocks go from 02:00 to 03:00 on 28 March 2027 in Zurich: 01:00 UTC.
        (Row("30 2 * * *", 10, 1, "Europe/Zurich"), ["2027-03-28T01:00"], "a skipped time starts when the gap ends"),
        # From 03:00 back to 02:00 on 31 October 2027: 02:30 is 00:30 and again 01:30 UTC.
        (Row("30 2 31 10 *", 10, 1, "Europe/Zurich"), ["2027-10-31T00:30"], "a time that comes twice starts once"),
        (
            Row("*/30 2 31 10 *", 10, 1, "Europe/Zurich"),
            ["2027-10-31T00:00", "2027-10-31T00:30", "2027-10-31T01:00", "2027-10-31T01:30"],
            "every half hour is every half hour",
        ),
    ],
)
def test_days_when_the_clocks_change(row: Row, started: list[str], why: str) -> None:
    day = at(started[0][:10] + "T00:00")
    seen = [minute for minute in every_minute(day - timedelta(hours=3), 27 * 60) if minimum([row], minute)]
    runs = [minute for minute in seen if minute - timedelta(minutes=1) not in seen]
    expected = [at(time) for time in started]
    assert [run for run in runs if run >= day] == expected, why


def test_twelve_hours_last_twelve_hours_on_a_day_with_23() -> None:
    row = Row("0 0 28 3 *", 720, 1, "Europe/Zurich")
    start = at("2027-03-27T23:00:00")
    assert minimum([row], start + timedelta(minutes=719)) == 1
    assert minimum([row], start + timedelta(minutes=720)) is None


def test_a_row_that_can_never_start_is_never_in_force() -> None:
    schedules = Schedules([Row("0 0 */31 * 1#5", 10, 1)])  # the first of a month is never its fifth Monday
    assert [schedules.at(at(f"20{year}-02-01T00:00")) for year in (27, 28, 21)] == [None, None, None]


# --- against a scan of every minute -----------------------------------------------------------------------------------


def every_minute(start: datetime, count: int) -> Iterator[datetime]:
    for minute in range(count):
        yield start + timedelta(minutes=minute)


def _field(text: str, low: int, high: int) -> set[int]:
    found: set[int] = set()
    for part in text.split(","):
        span, _, step = part.partition("/")
        first, _, last = span.partition("-")
        start, end = (low, high) if first == "*" else (int(first), int(last or (high if step else first)))
        found |= set(range(start, end + 1, int(step or 1)))
    return found


def _matches(cron: str, local: datetime) -> bool:
    minute, hour, day, month, weekday = cron.split()
    if local.minute not in _field(minute, 0, 59) or local.hour not in _field(hour, 0, 23):
        return False
    of_month = local.day in _field(day, 1, 31)
    of_week = bool({local.isoweekday(), local.isoweekday() % 7} & _field(weekday, 0, 7))
    in_days = of_month and of_week if day.startswith("*") or weekday.startswith("*") else of_month or of_week
    return in_days and local.month in _field(month, 1, 12)


def starts(row: Row, first: datetime, last: datetime) -> set[datetime]:
    """Every start between two times, by looking at every minute in between."""
    zone = ZoneInfo(row.timezone)
    minutes = int((last - first).total_seconds() // 60) + 1
    minute, hour, *_ = row.cron.split()
    if minute.startswith("*") or hour.startswith("*"):
        return {start for start in every_minute(first, minutes) if _matches(row.cron, start.astimezone(zone))}
    found = set()
    begin = first.astimezone(zone).replace(tzinfo=None) - timedelta(hours=3)
    for naive in (begin + timedelta(minutes=minute) for minute in range(minutes + 6 * 60)):
        if not _matches(row.cron, naive):
            continue
        moved = naive
        while moved.replace(tzinfo=zone).astimezone(UTC).astimezone(zone).replace(tzinfo=None) != moved:
            moved += timedelta(minutes=1)
        found.add(moved.replace(tzinfo=zone).astimezone(UTC))
    return found


CHANGES = {
    "Europe/Zurich": ("2027-03-28T01:00", "2027-10-31T01:00"),
    "America/New_York": ("2027-03-14T07:00", "2027-11-07T06:00"),
    "Australia/Lord_Howe": ("2027-04-03T15:00", "2027-10-02T15:30"),  # half an hour
    "America/Havana": ("2027-03-14T05:00", "2027-11-07T05:00"),  # at midnight
    "America/Asuncion": ("2024-03-24T03:00", "2023-10-01T04:00"),  # midnight comes twice, or is skipped
    "Asia/Kolkata": ("2027-01-01T00:00",),  # never, and half an hour off
    "UTC": ("2027-02-28T23:00", "2028-02-29T00:00"),
}
moments = st.one_of(
    st.sampled_from([(zone, when) for zone, times in CHANGES.items() for when in times]).flatmap(
        lambda pair: st.tuples(
            st.just(pair[0]),
            st.integers(-36 * 60, 36 * 60).map(lambda minutes: at(pair[1]) + timedelta(minutes=minutes)),
        )
    ),
    st.tuples(
        st.sampled_from(sorted(CHANGES)),
        st.datetimes(datetime(2020, 1, 1), datetime(2035, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    ),
)


def fields(low: int, high: int) -> st.SearchStrategy[str]:
    number = st.integers(low, high)
    spans = st.tuples(number, number).map(lambda pair: f"{min(pair)}-{max(pair)}")
    stars = st.sampled_from(["*", "*/2", "*/15"])
    plain = st.one_of(
        number.map(str), spans, st.lists(number, min_size=1, max_size=3).map(lambda x: ",".join(map(str, x)))
    )
    return st.one_of(plain, plain, stars)


crons = st.tuples(
    st.one_of(st.sampled_from(["0", "30", "45"]), fields(0, 59)),
    st.one_of(st.sampled_from(["0", "1", "2", "3", "23"]), fields(0, 23)),
    st.one_of(st.just("*"), fields(1, 28)),
    st.just("*"),
    st.one_of(st.just("*"), fields(0, 6)),
).map(" ".join)


@given(crons, st.integers(1, 26 * 60), moments)
@example("*/15 * * * 6", 20, ("America/Asuncion", at("2024-03-24T03:10")))
@example("* 0 * * 0", 1, ("America/Asuncion", at("2023-10-01T04:00")))
@example("*/2 1 * * 0", 1, ("America/Asuncion", at("2023-10-01T04:00")))
@example("45 2 * * *", 50, ("Europe/Zurich", at("2027-10-31T01:30")))
@example("30 2 * * *", 50, ("Europe/Zurich", at("2027-03-28T01:00")))
@settings(max_examples=150, deadline=None)
def test_the_result_equals_a_scan_of_every_minute(cron: str, minutes: int, moment: tuple[str, datetime]) -> None:
    zone, now = moment
    row = Row(cron, minutes, 3, zone)
    floor = now.replace(second=0, microsecond=0)
    found = {start for start in starts(row, floor - timedelta(minutes=minutes), floor) if start <= now}
    expected = any(now < start + timedelta(minutes=minutes) for start in found)
    assert minimum([row], now) == (3 if expected else None), f"{row} at {now.isoformat()}"


@given(crons, st.lists(st.tuples(st.integers(-(10**6), 10**6), st.integers(0, 59)), min_size=2, max_size=8))
@settings(max_examples=100, deadline=None)
def test_the_result_does_not_depend_on_earlier_times(cron: str, jumps: list[tuple[int, int]]) -> None:
    rows = [Row(cron, 90, 3, "Europe/Zurich"), OFFICE]
    living = Schedules(rows)
    for minutes, seconds in jumps:
        now = at("2027-03-28T01:00") + timedelta(minutes=minutes, seconds=seconds)
        assert living.at(now) == Schedules(rows).at(now), f"after a jump to {now.isoformat()}"
