# SPDX-License-Identifier: Apache-2.0
"""Sleep: the settings, the command of `openmwaa sleep` and `openmwaa wake`, and what the scaler records."""

import json
from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator

from scaler.config.overrides import Words, parse_as, parse_time
from scaler.config.schedule import Cron
from scaler.core.sleep import SleepCommand, SleepMemory, SleepPolicy, SleepRequest, SleepState

Name = Annotated[str, Field(min_length=1, max_length=255)]
ParameterName = Annotated[str, Field(pattern=r"^/[\w./-]+$", max_length=1011)]
_MEMORY = TypeAdapter(SleepMemory)


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class SleepSettings(_Model):
    """The settings of an environment that may sleep."""

    id: Name
    """The id of sleep in the stack; it changes when the field is taken out of the file and added again."""
    command: ParameterName
    """The SSM parameter of the last command of a user."""
    memory: ParameterName
    """The SSM parameter that only the scaler writes."""
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

    def crons(self) -> dict[SleepState, Cron]:
        """Return the times of each state."""
        expressions: dict[SleepState, str | None] = {"asleep": self.sleep_at, "awake": self.wake_at}
        return {state: Cron(text, self.timezone) for state, text in expressions.items() if text}


class SleepDocument(_Model):
    """The command: the wanted state, with time, author and reason."""

    version: Literal[1] = 1
    state: SleepState
    at: str
    by: Words = ""
    reason: Words = ""
    hold: str | None = None
    """Until this time the schedule has no effect."""

    @field_validator("at", "hold")
    @classmethod
    def _is_a_time(cls, value: str | None) -> str | None:
        if value is not None:
            parse_time(value)
        return value

    def to_core(self, modified: datetime) -> SleepCommand:
        """Return the command with AWS's time of the write; clocks of users may be wrong."""
        hold = None if self.hold is None else parse_time(self.hold)
        return SleepCommand(SleepRequest(self.state, modified, self.by, self.reason), hold)

    def to_text(self) -> str:
        """Return the command as stored in SSM, without the fields that have their defaults."""
        return json.dumps({"version": self.version, **self.model_dump(exclude_defaults=True)}, ensure_ascii=False)


def parse(text: str) -> SleepDocument:
    """Return the command in `text`; raise OverrideDocumentError if it is not valid."""
    return parse_as(SleepDocument, text)


def memory_text(memory: SleepMemory) -> str:
    """Return the scaler's record as stored in SSM."""
    return _MEMORY.dump_json(memory, exclude_none=True).decode()


def parse_memory(text: str) -> SleepMemory | None:
    """Return the scaler's record; None if it is not valid."""
    try:
        return _MEMORY.validate_json(text)
    except ValidationError:
        return None
