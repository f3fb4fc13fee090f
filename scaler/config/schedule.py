# SPDX-License-Identifier: Apache-2.0
"""The scheduled minimum in force at a time of day.

A row starts at every time that its cron expression names in its time zone, and lasts its number of minutes of real
time. As in Debian's cron, a row at a fixed hour starts once on the day when the clocks change: a skipped time starts at
the end of the gap, and a repeated time starts at its first occurrence. The core gets only the number and a text.

The answer depends only on the time passed in. The cache only saves work, so the clock may jump in either direction.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol
from zoneinfo import ZoneInfo

from cronsim import CronSim

from scaler.core.model import Schedule

SEARCH_AHEAD = timedelta(hours=27)
"""The backward search begins this far in the future. It may miss a start on a day when the clocks change. It only has
to find any start before now: the forward search from there misses none. The longest gap in history is 24 h."""


class ScheduleRow(Protocol):
    """One row of a schedule, of the scaler's settings or of `environment.yaml`."""

    cron: str
    """A valid cron expression with five fields."""
    minutes: int
    """The duration of the row."""
    min: int
    """The minimum of workers while the row is in force."""
    timezone: str
    """A name of the IANA database."""


@dataclass(frozen=True, slots=True)
class _Span:
    """The last start at or before a time, and the first start after it; None: not within 50 years."""

    last: datetime | None
    following: datetime | None

    def covers(self, now: datetime) -> bool:
        return (self.last is None or self.last <= now) and (self.following is None or now < self.following)


class _Starts(CronSim):
    """cronsim, corrected for zones where the clocks go forward at midnight (Cairo, Havana, Santiago).

    cronsim begins such a day at a midnight that does not exist: it matches that time, or moves an hour too far.
    """

    def advance_day(self) -> bool:
        """Go to the next day that matches, and to its first existing time."""
        moved = super().advance_day()
        self._to_existing_time()
        return moved

    def advance_month(self) -> None:
        """Go to the next month that matches, and to its first existing time."""
        super().advance_month()
        self._to_existing_time()

    def _to_existing_time(self) -> None:
        if self.dt.tzinfo is not None:
            self.dt = self.dt.astimezone(UTC).astimezone(self.dt.tzinfo)


class Cron:
    """The times that a cron expression names in a time zone."""

    def __init__(self, expression: str, timezone: str) -> None:
        self.expression = expression
        self.zone = ZoneInfo(timezone)
        self._span: _Span | None = None

    def last(self, now: datetime) -> datetime | None:
        """Return the last of these times at or before `now`; None: there is none within 50 years."""
        if self._span is None or not self._span.covers(now):
            self._span = self._find(now)
        return self._span.last

    def _find(self, now: datetime) -> _Span:
        last = self._any_start_before(now)
        for start in _Starts(self.expression, (last or now - timedelta(seconds=1)).astimezone(self.zone)):
            found = start.astimezone(UTC)
            if found > now:
                return _Span(last, found)
            last = found
        return _Span(last, None)

    def _any_start_before(self, now: datetime) -> datetime | None:
        for start in CronSim(self.expression, (now + SEARCH_AHEAD).astimezone(self.zone), reverse=True):
            found = start.astimezone(UTC)
            is_real = found.astimezone(self.zone).replace(tzinfo=None) == start.replace(tzinfo=None)
            if is_real and found <= now:
                return found
        return None


class Schedules:
    """The rows of one fleet."""

    def __init__(self, rows: Sequence[ScheduleRow]) -> None:
        self._rows = [(row, Cron(row.cron, row.timezone)) for row in rows]

    def at(self, now: datetime) -> Schedule | None:
        """Return the largest minimum in force at `now`, with a text that does not change while it is in force."""
        found: tuple[ScheduleRow, Cron, datetime] | None = None
        for row, cron in self._rows:
            start = cron.last(now)
            end = start and start + timedelta(minutes=row.minutes)
            if end and now < end and (found is None or row.min > found[0].min):
                found = (row, cron, end)
        if found is None:
            return None
        row, cron, end = found
        until = end.astimezone(cron.zone).strftime("%Y-%m-%d %H:%M")
        return Schedule(row.min, f"`{row.cron}` in {row.timezone} for {row.minutes} min, until {until}")
