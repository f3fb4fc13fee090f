# SPDX-License-Identifier: Apache-2.0
"""A worker fleet: as in the file (`FleetSpec`), and with all defaults resolved (`ResolvedFleet`)."""

from dataclasses import dataclass
from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from openmwaa.config.environment_classes import Architecture, check_fargate
from openmwaa.config.strict_model import FieldError, StrictModel
from openmwaa.config.text_rules import DimensionName, DimensionValue, MetricName, MetricNamespace, QueueName
from openmwaa.config.time_rules import CronExpression, TimeZone

ClassName = Literal["mw1.micro", "mw1.small", "mw1.medium", "mw1.large", "mw1.xlarge", "mw1.2xlarge"]
Capacity = Literal["FARGATE", "FARGATE_SPOT"]
HandMadeDesired = Literal["adopt", "correct"]


class ScheduledMinimum(StrictModel):
    """A time with at least `min` workers, for any backlog."""

    cron: CronExpression
    """Start: minute, hour, day of month, month, day of week; such as `0 6 * * 1-5`."""
    minutes: Annotated[int, Field(ge=1, le=10_080)]
    """Duration, at most a week."""
    min: Annotated[int, Field(ge=1, le=5000)]
    """Minimum workers during this time; if several apply, the highest is used."""
    timezone: TimeZone = "UTC"
    """A name of the IANA time zone database, such as Europe/Zurich."""


class FleetFallback(StrictModel):
    """Behaviour of a fleet while neither database nor broker can be read."""

    mode: Literal["hold", "hold-if-higher", "fixed"] = "hold"
    """`hold`: no change. `hold-if-higher`: at least `count`. `fixed`: exactly `count`; surplus workers drain."""
    count: Annotated[int, Field(ge=0, le=5000)] | None = None
    """Number of workers of `hold-if-higher` and `fixed`."""
    after_seconds: Annotated[float, Field(ge=30, le=86_400)] = 180
    """Seconds without a reading before the fallback starts."""

    @model_validator(mode="after")
    def _count_belongs_to_mode(self) -> Self:
        if self.mode == "hold" and self.count is not None:
            raise FieldError("`hold` has no `count`; use `fixed` or `hold-if-higher`", "count")
        if self.mode != "hold" and self.count is None:
            raise FieldError(f"`{self.mode}` needs a `count` of workers", "mode")
        return self


class DemandMetric(StrictModel):
    """A CloudWatch metric that shows more demand than the fleet's tasks: the larger of both counts.

    While it has no data, the fleet grows with its tasks and does not shrink: publish zeros too.
    """

    namespace: MetricNamespace
    metric_name: MetricName
    dimensions: Annotated[dict[DimensionName, DimensionValue], Field(max_length=30)] = Field(default_factory=dict)
    """All dimensions of the metric: CloudWatch returns no data for a part of them."""
    statistic: Literal["Average", "Maximum", "Minimum", "SampleCount", "Sum"] = "Maximum"
    slots_per_unit: Annotated[float, Field(gt=0, le=10_000)] = 1
    """Slots for each unit of the metric; the product is rounded up."""
    period_seconds: Annotated[int, Field(ge=60, le=3600, multiple_of=60)] = 60
    """The period of the metric; data older than two periods and a minute is not used."""


_HOLD: Final = FleetFallback()


class FleetSpec(StrictModel):
    """A worker fleet; defaults come from the environment."""

    queues: Annotated[tuple[QueueName, ...], Field(min_length=1)]
    """Airflow queues that the fleet serves."""
    environment_class: ClassName | None = Field(default=None, alias="class")
    """Size and slots as an MWAA class; or set `cpu`, `memory` and `slots`."""
    cpu: int | None = None
    """CPU units of a worker, 1024 = 1 vCPU."""
    memory: int | None = None
    """MiB of a worker."""
    slots: Annotated[int, Field(ge=1, le=512)] | None = None
    """Celery processes of a worker: the tasks that it runs at the same time."""
    min: Annotated[int, Field(ge=0, le=5000)] | None = None
    """Minimum workers, may be 0; left out, the environment's `min_workers`."""
    max: Annotated[int, Field(ge=1, le=5000)] | None = None
    """Maximum workers; left out, the environment's `max_workers`."""
    capacity: Capacity = "FARGATE"
    """FARGATE, or FARGATE_SPOT: cheaper, but AWS may stop a worker with two minutes' notice."""
    architecture: Architecture | None = None
    """ARM64 (Graviton) or X86_64; left out, the environment's `architecture`."""
    schedule: tuple[ScheduledMinimum, ...] = ()
    """Times with a higher minimum."""
    fallback: FleetFallback = FleetFallback()
    demand_metric: DemandMetric | None = None
    """A CloudWatch metric as further demand; left out, the demand is that of the fleet's tasks."""
    desired_count_drift: HandMadeDesired = "correct"
    """If desiredCount is changed outside of the scaler: `correct` it, or `adopt` it as a fixed override."""

    @model_validator(mode="after")
    def _size_is_complete(self) -> Self:
        if (self.cpu is None) != (self.memory is None):
            message = "`cpu` and `memory` must be set together; set both, or a `class`"
            raise FieldError(message, "memory" if self.cpu is None else "cpu")
        if self.cpu is None or self.memory is None:
            return self
        if self.environment_class is not None:
            raise FieldError("set a `class`, or `cpu` and `memory`, not both", "class")
        if self.slots is None:
            raise FieldError("`cpu` and `memory` also need `slots`", "cpu")
        check_fargate(self.cpu, self.memory)
        return self


@dataclass(frozen=True)
class ResolvedFleet:
    """A worker fleet with all defaults resolved."""

    name: str
    queues: tuple[str, ...]
    cpu: int
    memory: int
    slots: int
    min: int
    max: int
    capacity: Capacity = "FARGATE"
    architecture: Architecture = "ARM64"
    schedule: tuple[ScheduledMinimum, ...] = ()
    fallback: FleetFallback = _HOLD
    desired_count_drift: HandMadeDesired = "correct"
    demand_metric: DemandMetric | None = None
