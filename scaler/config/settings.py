# SPDX-License-Identifier: Apache-2.0
"""The scaler's settings: one JSON document in SCALER_CONFIG or in the file SCALER_CONFIG_FILE.

The file is read again when it changes (`scaler.config.reload`); `LIVE` names the settings that may change at run time.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from importlib import resources
from typing import Annotated, Any, Literal, Self

from cronsim import CronSim, CronSimError
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from scaler.config.broker_urls import queue_problem, redis_url
from scaler.config.sleep import SleepSettings
from scaler.core.model import FallbackPolicy, FleetPolicy, LookAheadPolicy, MetricPolicy
from scaler.errors import ConfigurationError

Port = Annotated[int, Field(ge=1, le=65535)]
Name = Annotated[str, Field(min_length=1, max_length=255)]
Text = Annotated[str, Field(min_length=1, max_length=2048)]
WEEK_S = 7 * 86400
Link = Annotated[str, Field(pattern=r"^(https?://\S+)?$", max_length=2048)]
Seconds = Annotated[float, Field(gt=0, le=WEEK_S, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, le=5000)]
"""ECS runs at most 5 000 tasks a service."""

TIME_ZONES = frozenset(resources.files("tzdata").joinpath("zones").read_text(encoding="utf-8").split()) - {"Factory"}
"""IANA's names; zoneinfo also takes files of the host, such as localtime."""
LIVE = frozenset({"fleets", "interval_s", "scale_in_window_s", "launch_deadline_s", "calls"})
"""Settings that change with the file; the other settings need a restart."""


class _Model(BaseModel):
    # JSON has numbers and strings: "5" instead of 5 is an error.
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class DatabaseSettings(_Model):
    """The connection to Airflow's metadata database; the password is in SCALER_DATABASE_PASSWORD.

    That may also be Secrets Manager's {"username", "password"}; its user name then replaces `user`.
    """

    host: Name
    port: Port = 5432
    name: Name = "airflow"
    user: Name = "scaler"
    sslmode: Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"] = "require"
    executors: Annotated[tuple[Name, ...], Field(min_length=1)] = (
        "CeleryExecutor",
        "airflow.providers.celery.executors.celery_executor.CeleryExecutor",
    )
    """The values of a task's `executor` that mean these workers; add an alias of `[core] executor` here."""


class SqsSettings(_Model):
    """The broker is SQS; a fleet's `queues` map to queue URLs."""

    kind: Literal["sqs"] = "sqs"


class RedisSettings(_Model):
    """The broker is Redis; a fleet's `queues` map to the names of its queues.

    `url` is Celery's broker URL without a password. None: it is in SCALER_BROKER_URL, where it may have a password.
    """

    kind: Literal["redis"]
    url: Text | None = None
    ca_file: Text | None = None
    """The CA certificates for a rediss:// server; None: those of the system."""
    global_keyprefix: Annotated[str, Field(max_length=255)] = ""
    """This and the next three are kombu's transport options; they must equal those of the workers."""
    sep: Annotated[str, Field(min_length=1, max_length=8)] = "\x06\x16"
    priority_steps: Annotated[tuple[Annotated[int, Field(ge=0, le=255)], ...], Field(min_length=1)] = (0, 3, 6, 9)
    unacked_key: Name = "unacked"

    @field_validator("url")
    @classmethod
    def _can_be_read(cls, url: str | None) -> str | None:
        return url and redis_url(url)

    @model_validator(mode="after")
    def _certificates_for_tls(self) -> Self:
        url = self.url or "rediss:"
        if self.ca_file is not None and not url.startswith("rediss:"):
            raise ValueError("ca_file is for rediss:// only; this connection is not encrypted")
        if self.ca_file is not None and "ssl_ca_certs=" in url:
            raise ValueError("ca_file and ssl_ca_certs of the URL are the same setting; set one of them")
        return self


def _is_a_period(period_s: int) -> int:
    if period_s not in (1, 5, 10, 20, 30) and period_s % 60:
        raise ValueError("must be 1, 5, 10, 20, 30 or a multiple of 60: CloudWatch has no other periods")
    return period_s


PeriodS = Annotated[int, Field(ge=1, le=3600), AfterValidator(_is_a_period)]
DelayS = Annotated[int, Field(ge=0, le=3600)]
"""The maximum delay of a period's last value."""


class CloudWatchSettings(_Model):
    """The broker is read from CloudWatch's metrics; a fleet's `queues` map to values of `dimension`.

    The defaults read SQS's own metrics by queue name.
    """

    kind: Literal["cloudwatch"]
    namespace: Name = "AWS/SQS"
    dimension: Name = "QueueName"
    dimensions: Annotated[dict[Name, Name], Field(max_length=29)] = {}
    """Further dimensions of all queues' metrics."""
    visible: Name = "ApproximateNumberOfMessagesVisible"
    in_flight: Name | None = "ApproximateNumberOfMessagesNotVisible"
    delayed: Name | None = "ApproximateNumberOfMessagesDelayed"
    """The names of the metrics; None: the broker has no such metric."""
    period_s: PeriodS = 60
    delay_s: DelayS = 60

    @model_validator(mode="after")
    def _metrics_differ(self) -> Self:
        names = [name for name in (self.visible, self.in_flight, self.delayed) if name]
        if len(set(names)) < len(names):
            raise ValueError("visible, in_flight and delayed must be different metrics")
        return self


BrokerSettings = Annotated[SqsSettings | RedisSettings | CloudWatchSettings, Field(discriminator="kind")]


class ScheduleSettings(_Model):
    """A minimum for some minutes from each time that a cron expression names."""

    cron: Name
    minutes: Annotated[int, Field(ge=1, le=7 * 24 * 60)]
    min: Count
    timezone: Name = "UTC"

    @field_validator("cron")
    @classmethod
    def _is_cron(cls, cron: str) -> str:
        try:
            CronSim(cron, datetime.now(UTC))
        except CronSimError as error:
            raise ValueError(f"{cron!r} is not a cron expression: {error}") from error
        return cron

    @field_validator("timezone")
    @classmethod
    def _is_zone(cls, timezone: str) -> str:
        if timezone not in TIME_ZONES:
            raise ValueError(f"{timezone!r} is not a time zone of the IANA database")
        return timezone


class CallSettings(_Model):
    """The rate of UpdateService; AWS's quota is 5 a second, burst 50, for the account and region."""

    writes_per_s: Annotated[float, Field(gt=0, le=100, allow_inf_nan=False)] = 5.0
    burst: Annotated[int, Field(ge=1, le=1000)] = 20


class DemandMetricSettings(_Model):
    """A CloudWatch metric that raises the demand of a fleet above that of its tasks."""

    namespace: Name
    metric_name: Name
    dimensions: Annotated[dict[Name, Text], Field(max_length=30)] = {}
    statistic: Literal["Average", "Maximum", "Minimum", "SampleCount", "Sum"] = "Maximum"
    slots_per_unit: Annotated[float, Field(gt=0, le=10_000, allow_inf_nan=False)] = 1.0
    period_s: PeriodS = 60
    delay_s: DelayS = 60

    @property
    def core_metric(self) -> MetricPolicy:
        """The metric as the core uses it."""
        return MetricPolicy(f"{self.namespace} {self.metric_name}", self.slots_per_unit)


class LookAheadSettings(_Model):
    """Whether a worker that is not needed yet is worth its cost."""

    wait_worth: Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False)] = LookAheadPolicy().wait_worth
    """How many worker-seconds it is worth that a task waits one second less."""
    headroom: bool = False
    """Workers are also free for runs that people often start at this time."""
    shadow: bool = False
    """The look-ahead is explained, and the present demand decides."""

    @property
    def core_policy(self) -> LookAheadPolicy:
        """The settings as the core uses them."""
        return LookAheadPolicy(self.wait_worth, headroom=self.headroom, shadow=self.shadow)


class FleetSettings(_Model):
    """One worker fleet."""

    name: Name
    services: Annotated[tuple[Name, ...], Field(min_length=1, max_length=4)]
    """ECS services of the fleet: one, or a blue and a green one."""
    queues: Annotated[dict[Name, Text], Field(min_length=1)]
    """Queue name to its identifier in the broker: an SQS URL, a Redis key."""
    slots: Annotated[int, Field(ge=1, le=1000)]
    min: Count
    max: Annotated[int, Field(ge=1, le=5000)]
    schedule: tuple[ScheduleSettings, ...] = ()
    fallback: FallbackPolicy = FallbackPolicy()
    desired_count_drift: Literal["adopt", "correct"] = "correct"
    launch_budget: Annotated[int, Field(ge=1, le=5000)] = 50
    """The limit of launched tasks that are not yet running: Fargate launches 20 a second."""
    demand_metric: DemandMetricSettings | None = None
    look_ahead: LookAheadSettings | None = None
    """None: no worker is launched before its task is queued. It needs `database`."""
    worker_hour_usd: Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False)] | None = None
    """The price of one worker an hour, for the page; None: it is unknown."""

    @model_validator(mode="after")
    def _within_max(self) -> Self:
        if self.min > self.max:
            raise ValueError(f"min ({self.min}) must not be above max ({self.max})")
        for row in self.schedule:
            if row.min > self.max:
                raise ValueError(f"schedule: min ({row.min}) of {row.cron!r} must not be above max ({self.max})")
        if not 0 <= self.fallback.count <= self.max:
            raise ValueError(f"fallback: count ({self.fallback.count}) must be from 0 to max ({self.max})")
        if not 0 < self.fallback.after_s <= WEEK_S:
            raise ValueError(f"fallback: after_s ({self.fallback.after_s}) must be above 0 and at most {WEEK_S}")
        return self


class ScalerConfig(_Model):
    """All settings that are not secret."""

    version: Literal[2]
    environment: Name
    region: Name
    cluster: Name
    interval_s: Annotated[float, Field(ge=1, le=300, allow_inf_nan=False)] = 5.0
    scale_in_window_s: Annotated[float, Field(ge=0, le=86400, allow_inf_nan=False)] = 60.0
    launch_deadline_s: Seconds = 300.0
    agent_port: Port = 8790
    http_port: Port = 8082
    database: DatabaseSettings | None = None
    broker: BrokerSettings = SqsSettings()
    overrides_prefix: Annotated[str, Field(pattern=r"^/[\w./-]+/$", max_length=900)] | None = None
    """The SSM parameter of this prefix and a fleet's name has the fleet's overrides; None: no overrides."""
    metrics_namespace: Annotated[str, Field(pattern=r"^[^:].{0,254}$")] | None = None
    """CloudWatch namespace of the scaler's own metrics; None: nothing is published to CloudWatch."""
    log_group: Name | None = None
    """The log group with this program's output, for the history from before its start; None: it is not read."""
    web_url: Link = ""
    """Airflow's address, for a link on the page."""
    log_url: Link = ""
    """The address of the log in a browser, for a link on the page."""
    record_dir: Text | None = None
    """The folder for recorded ticks, for `replay`; None: ticks are not recorded."""
    calls: CallSettings = CallSettings()
    sleep: SleepSettings | None = None
    """None: the environment cannot sleep."""
    fleets: Annotated[tuple[FleetSettings, ...], Field(min_length=1)]

    @field_validator("metrics_namespace")
    @classmethod
    def _not_an_aws_namespace(cls, namespace: str | None) -> str | None:
        if namespace is not None and namespace.startswith("AWS/"):
            raise ValueError("CloudWatch reserves namespaces that begin with AWS/")
        return namespace

    @field_validator("fleets")
    @classmethod
    def _fleets_differ(cls, fleets: tuple[FleetSettings, ...]) -> tuple[FleetSettings, ...]:
        problems = []
        for what, values in (
            ("name", [fleet.name for fleet in fleets]),
            ("service", [service for fleet in fleets for service in fleet.services]),
            ("queue", [queue for fleet in fleets for queue in fleet.queues]),
        ):
            twice = sorted({value for value in values if values.count(value) > 1})
            if twice:
                problems.append(f"{what} {', '.join(twice)} is used twice")
        if problems:
            raise ValueError(f"{'; '.join(problems)}; the demand of each could not be counted")
        return fleets

    @field_validator("fleets")
    @classmethod
    def _queues_are_of_the_broker(
        cls, fleets: tuple[FleetSettings, ...], info: ValidationInfo
    ) -> tuple[FleetSettings, ...]:
        broker = info.data.get("broker")  # absent if it is wrong itself
        problems = [
            f"queue {queue} of {fleet.name} {problem}"
            for fleet in fleets
            for queue, address in fleet.queues.items()
            if broker is not None and (problem := queue_problem(broker.kind, address))
        ]
        if problems:
            raise ValueError("; ".join(problems))
        return fleets

    @model_validator(mode="after")
    def _look_ahead_has_its_source(self) -> Self:
        ahead = [fleet.name for fleet in self.fleets if fleet.look_ahead]
        if ahead and self.database is None:
            raise ValueError(f"look_ahead of {', '.join(ahead)} needs the database")
        return self

    def core_fleet(self, fleet: FleetSettings) -> FleetPolicy:
        """Return the fleet as the core uses it."""
        return FleetPolicy(
            name=fleet.name,
            queues=tuple(fleet.queues),
            slots=fleet.slots,
            minimum=fleet.min,
            maximum=fleet.max,
            interval_s=self.interval_s,
            scale_in_window_s=self.scale_in_window_s,
            launch_deadline_s=self.launch_deadline_s,
            launch_budget=fleet.launch_budget,
            fallback=fleet.fallback,
            desired_count_drift=fleet.desired_count_drift,
            demand_metric=fleet.demand_metric.core_metric if fleet.demand_metric else None,
            look_ahead=fleet.look_ahead.core_policy if fleet.look_ahead else None,
        )

    def changes_at_start_only(self, other: Self) -> list[str]:
        """Return the settings that differ and need a restart."""
        fixed = type(self).model_fields.keys() - LIVE
        return sorted(name for name in fixed if getattr(self, name) != getattr(other, name))


def parse_settings(text: str | bytes, source: str = "SCALER_CONFIG") -> ScalerConfig:
    """Read the settings from JSON; raise ConfigurationError, which names every wrong field as `source`.field."""
    try:
        return ScalerConfig.model_validate_json(text)
    except ValidationError as error:
        raise ConfigurationError(list(describe(error.errors(include_url=False), source))) from error


def describe(errors: Sequence[Mapping[str, Any]], source: str) -> Iterable[str]:
    """Return pydantic's errors as lines with the place in `source`."""
    in_fleets = any(error["loc"][:1] == ("fleets",) and len(error["loc"]) > 1 for error in errors)
    for error in errors:
        if in_fleets and error["loc"] == ("fleets",) and error["type"] == "too_short":
            continue  # pydantic counts only the valid fleets
        place = ".".join(str(part) for part in error["loc"])
        yield f"{source}{'.' if place else ''}{place}: {error['msg'].removeprefix('Value error, ')}"
