# SPDX-License-Identifier: Apache-2.0
"""Cron expressions and time zones."""

from datetime import UTC, datetime
from importlib import resources
from typing import Annotated, Final

from cronsim import CronSim, CronSimError
from pydantic import AfterValidator

_CRON_FIELDS: Final = 5
_ANY_TIME: Final = datetime(2026, 1, 1, tzinfo=UTC)
# zoneinfo also takes files of the host, such as localtime.
_TIME_ZONES: Final = frozenset(resources.files("tzdata").joinpath("zones").read_text().split()) - {"Factory"}


def _cron(value: str) -> str:
    fields = len(value.split())
    if fields != _CRON_FIELDS:
        raise ValueError(
            f"is {value!r}, which has {fields} fields; cron has 5: minute, hour, day of month, month, day of week"
        )
    try:
        CronSim(value, _ANY_TIME)  # also rejects dates that do not exist, such as 31 April
    except (CronSimError, ValueError) as error:
        raise ValueError(f"is {value!r}, which is not a cron expression ({error}); example: `0 6 * * 1-5`") from None
    return " ".join(value.split())


def _zone(value: str) -> str:
    if value not in _TIME_ZONES:
        raise ValueError(f"is {value!r}, which is not in the IANA database; example: Europe/Zurich")
    return value


CronExpression = Annotated[str, AfterValidator(_cron)]
TimeZone = Annotated[str, AfterValidator(_zone)]
