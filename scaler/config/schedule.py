# SPDX-License-Identifier: Apache-2.0
"""The scheduled minimum that is in force at a time of day.

A row starts at every instant its cron expression names in its time zone, and lasts so many minutes of real time. As in
Debian's cron, a row at a fixed hour starts once on the day the clocks change: a time that is skipped starts when the
gap ends, one that comes twice starts the first time. The core knows nothing of this: it gets a number and words.

The answer depends on the time passed in alone; what is remembered only saves work, so a clock may jump either way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol
from zoneinfo import ZoneInfo

from cronsim import CronSim

from scaler.core.model import Schedule

SEARCH_AHEAD = timedelta(hours=27)
"""The backward search begins so far in the future. It may pass by a start on a day when clocks change; it then only
has to find any start before now, and going forward from there passes by none. 24 h is the longest gap there was."""


class Row(Protocol):
    """One row as the settings have it."""

    @property
    def cron(self) -> str:
        """Five fields; checked where settings are read."""
        ...

    @property
    def minutes(self) -> int:
        """How long it lasts."""
        ...

    @property
    def min(self) -> int:
        """The fewest workers meanwhile."""
        ...

    @property
    def timezone(self) -> str:
        """A name of the IANA database."""
        ...


@dataclass(frozen=True, slots=True)
class _Span:
    """From one start to the next: the last start at or before a time, and the first after it; None: not in 50 years."""

    last: datetime | None
    following: datetime | None

    def covers(self, now: datetime) -> bool:
        return (self.last is None or self.last <= now) and (self.following is None or now < self.following)


class _Starts(CronSim):
    """cronsim, right also where clocks go forward at midnight (Cairo, Havana, Santiago).

    It begins a day at a midnight that such a day does not have, takes that for a match or steps an hour too far.
    """

    def advance_day(self) -> bool:
        """Go to the next day that matches, and to its first real moment."""
        moved = super().advance_day()
        self._to_reality()
        return moved

    def advance_month(self) -> None:
        """Go to the next month that matches, and to its first real moment."""
        super().advance_month()
        self._to_reality()

    def _to_reality(self) -> None:
        if self.dt.tzinfo is not None:
            self.dt = self.dt.astimezone(UTC).astimezone(self.dt.tzinfo)


class _Cron:
    """The starts of one row."""

    def __init__(self, row: Row) -> None:
        self.row = row
        self.zone = ZoneInfo(row.timezone)
        self._span: _Span | None = None

    def end(self, now: datetime) -> datetime | None:
        """Return when the row ends, if it is in force."""
        if self._span is None or not self._span.covers(now):
            self._span = self._find(now)
        if self._span.last is None:
            return None
        end = self._span.last + timedelta(minutes=self.row.minutes)
        return end if now < end else None

    def _find(self, now: datetime) -> _Span:
        last = self._some_start_before(now)
        for start in _Starts(self.row.cron, (last or now - timedelta(seconds=1)).astimezone(self.zone)):
            found = start.astimezone(UTC)
            if found > now:
                return _Span(last, found)
            last = found
        return _Span(last, None)

    def _some_start_before(self, now: datetime) -> datetime | None:
        for start in CronSim(self.row.cron, (now + SEARCH_AHEAD).astimezone(self.zone), reverse=True):
            found = start.astimezone(UTC)
            is_real = found.astimezone(self.zone).replace(tzinfo=None) == start.replace(tzinfo=None)
            if is_real and found <= now:
                return found
        return None


class Schedules:
    """The rows of one fleet."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._crons = [_Cron(row) for row in rows]

    def at(self, now: datetime) -> Schedule | None:
        """Return the largest minimum in force at `now`, in words that stay the same while it is."""
        found: tuple[int, _Cron, datetime] | None = None
        for cron in self._crons:
            end = cron.end(now)
            if end is not None and (found is None or cron.row.min > found[0]):
                found = (cron.row.min, cron, end)
        if found is None:
            return None
        minimum, cron, end = found
        until = end.astimezone(cron.zone).strftime("%Y-%m-%d %H:%M")
        return Schedule(minimum, f"`{cron.row.cron}` in {cron.row.timezone} for {cron.row.minutes} min, until {until}")
