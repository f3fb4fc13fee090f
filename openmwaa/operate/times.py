# SPDX-License-Identifier: Apache-2.0
"""Reads a time of the command line, such as `14:30`, `2h ago`, `2026-01-31T14:30:00Z`; writes RFC 3339."""

import re
from datetime import UTC, datetime, time, timedelta, tzinfo

FORMS = "2026-01-31T14:30:00Z, 2026-01-31 14:30, 14:30, yesterday 14:30, or 2h ago"
_AGO = re.compile(r"((?:\d{1,6}\s*[smhd]\s*)+)(?:ago)?", re.ASCII)
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def parse(text: str, now: datetime, zone: tzinfo | None = None) -> datetime:
    """Return the time in UTC; without an offset, `text` is in `zone` or in the zone of this machine.

    A time of day in the future is taken as yesterday's.

    Raises:
        ValueError: the text is not a time.
    """
    words = " ".join(text.split()).lower()
    if words == "now":
        return now.astimezone(UTC)
    if ago := _AGO.fullmatch(words):
        try:
            return (now - duration(ago[1])).astimezone(UTC)
        except OverflowError:
            raise ValueError(f"{text!r} is before the year 1") from None
    try:
        if day := re.fullmatch(r"(yesterday|today) (.+)", words):
            return _on(now, _time(day[2]), zone, days=int(day[1] == "yesterday"))
        if re.fullmatch(r"\d\d?:.*", words):
            found = _on(now, _time(words), zone, days=0)
            return found if found <= now else _on(now, _time(words), zone, days=1)
        return _in(zone, datetime.fromisoformat(words.upper())).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(f"{text!r} is not a time such as {FORMS}") from None


def duration(text: str) -> timedelta:
    """Return the sum of the parts of a duration such as 1d12h."""
    return timedelta(seconds=sum(int(n) * _UNITS[unit] for n, unit in re.findall(r"(\d+)\s*([smhd])", text)))


def rfc3339(at: datetime) -> str:
    """Return the time in UTC, to the second."""
    return at.astimezone(UTC).isoformat(timespec="seconds")


def _time(words: str) -> time:
    return time.fromisoformat(f"0{words}".upper() if words[1:2] == ":" else words.upper())


def _on(now: datetime, at: time, zone: tzinfo | None, *, days: int) -> datetime:
    date = now.astimezone(at.tzinfo or zone).date() - timedelta(days=days)
    return _in(zone, datetime.combine(date, at)).astimezone(UTC)


def _in(zone: tzinfo | None, at: datetime) -> datetime:
    """Add the zone to a local time; without a zone, that of this machine with its summer time."""
    if at.tzinfo is not None:
        return at
    return at.astimezone() if zone is None else at.replace(tzinfo=zone)
