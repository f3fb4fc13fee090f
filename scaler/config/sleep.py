# SPDX-License-Identifier: Apache-2.0
"""Sleep: the settings, and the record in SSM that `openmwaa sleep`, `openmwaa wake` and the scaler write."""

import json
from dataclasses import fields
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from scaler.config.overrides import Words, parse_as, parse_time
from scaler.config.schedule import Cron
from scaler.core.sleep import SleepPolicy, SleepRecord, SleepState

Name = Annotated[str, Field(min_length=1, max_length=255)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class SleepSettings(_Model):
    """The settings of an environment that may sleep."""

    parameter: Annotated[str, Field(pattern=r"^/[\w./-]+$", max_length=1011)]
    """The SSM parameter of the record."""
    services: Annotated[dict[Name, Annotated[int, Field(ge=1, le=5000)]], Field(min_length=1)]
    """The services of the control plane, with their desired count while awake."""
    scaled: tuple[Name, ...] = ()
    """Those whose desired count Application Auto Scaling raises."""
    database: Name | None = None
    """The RDS instance to stop; None: Aurora, which pauses, or a server that is not the environment's."""
    alarm_prefix: Name | None = None
    """The prefix of the alarms that do not notify during sleep; None: there are no alarms."""
    sleep_at: Name | None = None
    wake_at: Name | None = None
    """Cron expressions in `timezone`; None: only by command."""
    timezone: Name = "UTC"
    wake_on_message: bool = False
    """Whether a message that arrives in a queue wakes the environment."""

    @property
    def policy(self) -> SleepPolicy:
        """The settings as the core uses them."""
        return SleepPolicy(self.services, frozenset(self.scaled), self.database is not None)

    @property
    def schedule(self) -> str:
        """The schedule as text; the record has the one that was in force."""
        return f"{self.sleep_at or '-'} / {self.wake_at or '-'} / {self.timezone}"

    def crons(self) -> dict[SleepState, Cron]:
        """Return the times of each state."""
        found: dict[SleepState, Cron] = {}
        if self.sleep_at:
            found["asleep"] = Cron(self.sleep_at, self.timezone)
        if self.wake_at:
            found["awake"] = Cron(self.wake_at, self.timezone)
        return found


class SleepDocument(_Model):
    """The record as JSON; `SleepRecord` explains the fields."""

    version: Literal[1] = 1
    state: SleepState
    at: str
    by: Words = ""
    reason: Words = ""
    schedule: str = ""
    schedule_since: str | None = None
    messages: Annotated[int, Field(ge=0)] | None = None

    @field_validator("at", "schedule_since")
    @classmethod
    def _is_a_time(cls, value: str | None) -> str | None:
        if value is not None:
            parse_time(value)
        return value

    def to_text(self) -> str:
        """Return the record as stored in SSM, without the fields that have their defaults."""
        return json.dumps({"version": self.version, **self.model_dump(exclude_defaults=True)}, ensure_ascii=False)

    def to_core(self) -> SleepRecord:
        """Return the record as the core uses it."""
        since = self.schedule_since and parse_time(self.schedule_since)
        return SleepRecord(
            self.state, parse_time(self.at), self.by, self.reason, self.schedule, since or None, self.messages
        )


def document(record: SleepRecord) -> SleepDocument:
    """Return the document of a record."""
    since = record.schedule_since and record.schedule_since.isoformat()
    values = {field.name: getattr(record, field.name) for field in fields(record)}
    return SleepDocument(**values | {"at": record.at.isoformat(), "schedule_since": since})


def parse(text: str) -> SleepDocument:
    """Return the record in `text`; raise OverrideDocumentError if it is not valid."""
    return parse_as(SleepDocument, text)
