# SPDX-License-Identifier: Apache-2.0
"""Backup and maintenance windows of RDS and ElastiCache, in UTC."""

from typing import Final

from openmwaa.config.strict_model import FieldError
from openmwaa.config.text_rules import DAYS

_DAY_MINUTES: Final = 24 * 60
_WEEK_MINUTES: Final = 7 * _DAY_MINUTES


def check_length(window: str, least: int, source: str, *at: str) -> None:
    """Raise FieldError if `window` has fewer than `least` minutes."""
    _, length = _start_and_length(window)
    if length < least:
        raise FieldError(f"{window} has {length} minutes; the minimum is {least} (rule: {source})", *at)


def check_windows(backup: str, maintenance: str) -> None:
    """Raise FieldError if one of the windows is too short, or if they overlap."""
    check_length(backup, 30, "rds PreferredBackupWindow", "backup_window")
    check_length(maintenance, 30, "rds PreferredMaintenanceWindow", "maintenance_window")
    daily, backup_length = _start_and_length(backup)
    start, length = _start_and_length(maintenance)
    for day in range(7):
        after = (daily + day * _DAY_MINUTES - start) % _WEEK_MINUTES
        if after < length or _WEEK_MINUTES - after < backup_length:
            raise FieldError(
                f"{maintenance} overlaps `backup_window` {backup} (rule: rds PreferredBackupWindow); move one of them",
                "maintenance_window",
            )


def _start_and_length(window: str) -> tuple[int, int]:
    """Return the start in minutes after the day's or the week's, and the length in minutes."""
    start, end = (_minutes(moment) for moment in window.split("-"))
    return start, (end - start) % (_WEEK_MINUTES if window[0].isalpha() else _DAY_MINUTES)


def _minutes(moment: str) -> int:
    *day, hour, minute = moment.split(":")
    return (DAYS.index(day[0]) * _DAY_MINUTES if day else 0) + int(hour) * 60 + int(minute)
