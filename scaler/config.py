# SPDX-License-Identifier: Apache-2.0
"""The scaler's settings: one JSON document in SCALER_CONFIG, two secrets beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from scaler.core.model import Fleet
from scaler.errors import ConfigurationError

Port = Annotated[int, Field(ge=1, le=65535)]
Name = Annotated[str, Field(min_length=1, max_length=255)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=False)


class DatabaseSettings(_Model):
    """Where Airflow's metadata database is; the password comes in SCALER_DATABASE_PASSWORD."""

    host: Name
    port: Port = 5432
    name: Name = "airflow"
    user: Name = "scaler"
    sslmode: Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"] = "require"


class FleetSettings(_Model):
    """One worker fleet."""

    name: Name
    service: Name
    queues: dict[Name, Name] = Field(min_length=1)
    """Queue name to SQS URL."""
    slots: int = Field(ge=1, le=1000)
    min: int = Field(ge=0, le=5000)
    max: int = Field(ge=1, le=5000)

    @model_validator(mode="after")
    def _min_below_max(self) -> Self:
        if self.min > self.max:
            raise ValueError(f"min ({self.min}) must not be above max ({self.max})")
        return self


class Settings(_Model):
    """All settings that are not secret."""

    version: Literal[1]
    environment: Name
    region: Name
    cluster: Name
    interval_s: Annotated[float, Field(ge=1, le=300, allow_inf_nan=False)] = 5.0
    scale_in_window_s: Annotated[float, Field(ge=0, le=86400, allow_inf_nan=False)] = 60.0
    launch_deadline_s: Seconds = 300.0
    agent_port: Port = 8790
    http_port: Port = 8082
    database: DatabaseSettings | None = None
    fleets: tuple[FleetSettings, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _fleets_are_apart(self) -> Self:
        for what, values in (
            ("name", [fleet.name for fleet in self.fleets]),
            ("service", [fleet.service for fleet in self.fleets]),
            ("queue", [queue for fleet in self.fleets for queue in fleet.queues]),
        ):
            twice = sorted({value for value in values if values.count(value) > 1})
            if twice:
                raise ValueError(f"fleets: {what} {', '.join(twice)} is used twice; demand could not be told apart")
        return self

    def core_fleet(self, fleet: FleetSettings) -> Fleet:
        """Return the fleet as the core knows it."""
        return Fleet(
            name=fleet.name,
            queues=tuple(fleet.queues),
            slots=fleet.slots,
            minimum=fleet.min,
            maximum=fleet.max,
            interval_s=self.interval_s,
            scale_in_window_s=self.scale_in_window_s,
            launch_deadline_s=self.launch_deadline_s,
        )


class Secrets(_Model):
    """What must not be logged."""

    database_password: str | None = Field(default=None, repr=False)
    signing_seed: str = Field(min_length=1, repr=False)


def read(environment: Mapping[str, str]) -> tuple[Settings, Secrets]:
    """Read the settings from environment variables.

    Raises:
        ConfigurationError: naming every field that is wrong, and never showing a secret's value.
    """
    problems: list[str] = []
    text = environment.get("SCALER_CONFIG", "")
    if not text:
        raise ConfigurationError(["SCALER_CONFIG is not set; it holds the scaler's settings as JSON"])
    try:
        settings = Settings.model_validate(json.loads(text))
    except json.JSONDecodeError as error:
        raise ConfigurationError([f"SCALER_CONFIG is not JSON: {error.msg} at character {error.pos}"]) from error
    except ValidationError as error:
        raise ConfigurationError([_problem(each) for each in error.errors()]) from error
    password = environment.get("SCALER_DATABASE_PASSWORD")
    seed = environment.get("SCALER_SIGNING_SEED", "")
    if settings.database is not None and not password:
        problems.append("SCALER_DATABASE_PASSWORD is not set, but SCALER_CONFIG has a database")
    if not seed:
        problems.append("SCALER_SIGNING_SEED is not set; workers obey signed commands only")
    if problems:
        raise ConfigurationError(problems)
    return settings, Secrets(database_password=password, signing_seed=seed)


def _problem(error: object) -> str:
    assert isinstance(error, dict)  # noqa: S101  pydantic's ErrorDetails
    place = ".".join(str(part) for part in error["loc"])
    return f"SCALER_CONFIG{'.' if place else ''}{place}: {error['msg'].removeprefix('Value error, ')}"
