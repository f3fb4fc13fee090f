# SPDX-License-Identifier: Apache-2.0
"""A fleet of workers as the file says it, and with nothing left open: size, bounds, capacity, and how it is scaled."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Final, Literal, Self
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError
from pydantic import Field, StringConstraints, field_validator, model_validator

from openmwaa.config.environment_classes import Architecture, fargate_cpus, fargate_memory
from openmwaa.config.strict_model import StrictModel

ClassName = Literal["mw1.micro", "mw1.small", "mw1.medium", "mw1.large", "mw1.xlarge", "mw1.2xlarge"]
QueueName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,40}$")]
FleetName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,19}$")]
Capacity = Literal["FARGATE", "FARGATE_SPOT"]
HandMadeDesired = Literal["adopt", "correct"]

_CRON_FIELDS: Final = 5
_ANY_TIME: Final = datetime(2026, 1, 1, tzinfo=UTC)


class ScheduledMinimum(StrictModel):
    """A time at which a fleet has at least `min` workers, whatever its backlog."""

    cron: str
    """When it begins: minute, hour, day of month, month, day of week; such as `0 6 * * 1-5`."""
    minutes: Annotated[int, Field(ge=1, le=10_080)]
    """How long it lasts, at most a week."""
    min: Annotated[int, Field(ge=1, le=5000)]
    """Fewest workers meanwhile; where several are in force, the greatest counts."""
    timezone: str = "UTC"
    """A name of the IANA time zone database, such as Europe/Zurich."""

    @field_validator("cron")
    @classmethod
    def _comes_due(cls, value: str) -> str:
        fields = len(value.split())
        if fields != _CRON_FIELDS:
            raise ValueError(
                f"is {value!r}, which has {fields} fields; cron has 5: minute, hour, day of month, month, day of week"
            )
        try:
            CronSim(value, _ANY_TIME)  # which finds out as well whether it ever comes due: 31 April does not
        except CronSimError as error:
            raise ValueError(f"is {value!r}, which is no cron expression ({error}); such as `0 6 * * 1-5`") from None
        return " ".join(value.split())

    @field_validator("timezone")
    @classmethod
    def _is_known(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (KeyError, ValueError, OSError):  # unknown; no name at all, such as ../x; a folder, such as Europe
            raise ValueError(f"is {value!r}, which the IANA database does not have; such as Europe/Zurich") from None
        return value


class Fallback(StrictModel):
    """What a fleet does while neither database nor broker tells how much there is to do."""

    mode: Literal["hold", "hold-if-higher", "fixed"] = "hold"
    """`hold`: no change. `hold-if-higher`: at least `count`. `fixed`: `count`, downward by draining as ever."""
    count: Annotated[int, Field(ge=0, le=5000)] | None = None
    """Workers of `hold-if-higher` and `fixed`."""
    after_seconds: Annotated[float, Field(ge=30, le=86_400)] = 180
    """How long the need must have been unknown."""

    @model_validator(mode="after")
    def _count_belongs_to_mode(self) -> Self:
        if self.mode == "hold" and self.count is not None:
            raise ValueError("`hold` keeps what there is and takes no `count`; say `fixed` or `hold-if-higher`")
        if self.mode != "hold" and self.count is None:
            raise ValueError(f"`{self.mode}` needs a `count` of workers")
        return self


_HOLD: Final = Fallback()


class FleetSpec(StrictModel):
    """One fleet of workers as the file says it; what is left out comes from the environment."""

    queues: Annotated[tuple[QueueName, ...], Field(min_length=1)]
    """Airflow queues that the fleet's workers serve."""
    environment_class: ClassName | None = Field(default=None, alias="class")
    """Size and slots by an MWAA class; or give `cpu`, `memory` and `slots`."""
    cpu: int | None = None
    """CPU units of a worker, 1024 = 1 vCPU."""
    memory: int | None = None
    """MiB of a worker."""
    slots: Annotated[int, Field(ge=1, le=512)] | None = None
    """Celery processes of a worker: the tasks it runs at once."""
    min: Annotated[int, Field(ge=0, le=5000)] | None = None
    """Fewest workers, 0 too; the environment's `min_workers` when left out."""
    max: Annotated[int, Field(ge=1, le=5000)] | None = None
    """Most workers; the environment's `max_workers` when left out."""
    capacity: Capacity = "FARGATE"
    """On demand, or FARGATE_SPOT: cheaper, and AWS may take a worker back at two minutes' notice."""
    architecture: Architecture | None = None
    """X86_64, or ARM64 by Graviton; the environment's `architecture` when left out."""
    schedule: tuple[ScheduledMinimum, ...] = ()
    """Times with a higher minimum."""
    fallback: Fallback = Fallback()
    desired_count_drift: HandMadeDesired = "correct"
    """Somebody else changed desiredCount: `correct` it, or `adopt` it as a fixed size until it is cleared."""

    @model_validator(mode="after")
    def _size_is_whole(self) -> Self:
        if (self.cpu is None) != (self.memory is None):
            raise ValueError("`cpu` and `memory` go together; give both, or a `class`")
        if self.cpu is None or self.memory is None:
            return self
        if self.environment_class is not None:
            raise ValueError("give a `class`, or `cpu` and `memory`, not both")
        if self.slots is None:
            raise ValueError("a size of your own needs `slots` too")
        sizes = fargate_memory(self.cpu)
        if not sizes:
            raise ValueError(f"Fargate has no task of {self.cpu} CPU units; it has {_words(fargate_cpus())}")
        if self.memory not in sizes:
            raise ValueError(
                f"Fargate has no task of {self.cpu} CPU units with {self.memory} MiB; with that CPU it has "
                f"{_words(sizes if len(sizes) < 6 else (*sizes[:3], '…', sizes[-1]))}"  # noqa: PLR2004
            )
        return self


@dataclass(frozen=True)
class Fleet:
    """A fleet with nothing left open: workers that serve the same queues and look alike."""

    name: str
    queues: tuple[str, ...]
    cpu: int
    memory: int
    slots: int
    min: int
    max: int
    capacity: Capacity = "FARGATE"
    architecture: Architecture = "X86_64"
    schedule: tuple[ScheduledMinimum, ...] = ()
    fallback: Fallback = _HOLD
    desired_count_drift: HandMadeDesired = "correct"

    def check_bounds(self, *, called: str) -> None:
        """Raise ValueError where numbers of workers contradict each other; `called` is the greatest one's field."""
        if self.min > self.max:
            raise ValueError(
                f"fleet {self.name}: the fewest workers ({self.min}) are more than the most ({self.max}); "
                f"raise `{called}`"
            )
        for one in self.schedule:
            if not self.min < one.min <= self.max:
                raise ValueError(
                    f"fleet {self.name}: the schedule {one.cron!r} wants at least {one.min} workers; it must be more "
                    f"than the fewest ({self.min}) and no more than the most ({self.max})"
                )
        if (count := self.fallback.count) is not None and count > self.max:
            raise ValueError(
                f"fleet {self.name}: the fallback's `count` ({count}) is more than the most workers ({self.max})"
            )


def _words(values: tuple[object, ...]) -> str:
    return ", ".join(str(value) for value in values)
