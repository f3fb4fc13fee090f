# SPDX-License-Identifier: Apache-2.0
"""The input of the core: a fleet's settings and one observation, as frozen data.

Times are seconds on one monotonic clock of the caller. The core never uses wall-clock times, so a clock that jumps
cannot shrink a fleet. A reading is `Known`, `Stale` or `Unknown`, and **unknown is never zero**: a reading has no
default value.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Generic, Literal, TypeAlias, TypeVar

T_co = TypeVar("T_co", covariant=True)

Phase = Literal["starting", "refused", "consuming", "draining", "releasing", "released", "stopping"]


@dataclass(frozen=True, slots=True)
class Known(Generic[T_co]):
    """A value that was read in this tick, at `at` (seconds, monotonic)."""

    value: T_co
    at: float


@dataclass(frozen=True, slots=True)
class Stale(Generic[T_co]):
    """The last known value, `age_s` seconds old: it can raise a fleet, never lower it."""

    value: T_co
    age_s: float


@dataclass(frozen=True, slots=True)
class Unknown:
    """No value is known; the reason states why."""

    reason: str


Reading: TypeAlias = Known[T_co] | Stale[T_co] | Unknown


@dataclass(frozen=True, slots=True)
class FallbackPolicy:
    """The target after the demand has been unknown for `after_s` seconds.

    `hold` keeps the present count; `hold-if-higher` keeps it, but at least `count`; `fixed` goes to `count`: upward at
    once, downward by the ordinary drain, which needs known services, tasks and protection.
    """

    mode: Literal["hold", "hold-if-higher", "fixed"] = "hold"
    count: int = 0
    after_s: float = 180.0


@dataclass(frozen=True, slots=True)
class MetricPolicy:
    """A CloudWatch metric as demand: `slots_per_unit` slots for each unit of its newest value."""

    name: str
    slots_per_unit: float


@dataclass(frozen=True, slots=True)
class LookAheadPolicy:
    """The trade of the look-ahead: a worker for one second against the wait of tasks."""

    wait_worth: float = 3.0
    """How many worker-seconds it is worth that a task waits one second less."""
    headroom: bool = False
    """It is worth the same that tasks of runs which people may start wait less."""
    shadow: bool = False
    """The look-ahead is explained only."""
    launch_s: float = 60.0
    """From the request of a worker to its first task, until launches have been seen."""


@dataclass(frozen=True, slots=True)
class FleetPolicy:
    """One worker fleet and its scaling settings."""

    name: str
    queues: tuple[str, ...]
    slots: int
    """Celery processes per worker, until the agents report another number."""
    minimum: int
    maximum: int
    interval_s: float = 5.0
    scale_in_window_s: float = 60.0
    """A fleet shrinks only to the largest need in this time."""
    launch_deadline_s: float = 300.0
    """A worker that does not consume after this time is no longer counted as capacity."""
    disagreement_limit_s: float = 60.0
    """How long the broker can raise the demand above the database: SQS counts settle within about a minute, but the
    messages of a killed worker stay in flight for a whole visibility timeout (hours)."""
    launch_budget: int = 50
    """The maximum of tasks requested and not yet RUNNING, over all services."""
    fallback: FallbackPolicy = FallbackPolicy()
    desired_count_drift: Literal["adopt", "correct"] = "correct"
    """For a desired count that this scaler did not write. `correct`: the need applies, upward at once, downward by the
    ordinary drain. `adopt`: a count above the scaler's own is also kept for one scale-in window. A count below the
    need is corrected at once in both, because tasks would wait."""
    demand_metric: MetricPolicy | None = None
    look_ahead: LookAheadPolicy | None = None
    dry_run: bool = False
    """Every change is explained and none is made, whatever the overrides are."""
    intervals: int = 1
    """Intervals between two readings of the demand now; more than 1 while AWS throttles."""

    @property
    def pace_s(self) -> float:
        """Seconds between two readings of the demand."""
        return self.intervals * self.interval_s

    @property
    def drain_lease_s(self) -> float:
        """Seconds that a drain holds without a new command: three missed readings, and at least 30 s."""
        return max(30.0, 3 * self.pace_s)

    @property
    def knowledge_gap_s(self) -> float:
        """The longest pause between two known readings without a gap in the window: half a window, or one reading."""
        return max(2.5 * self.pace_s, min(3 * self.pace_s, self.scale_in_window_s / 2))

    @property
    def window_s(self) -> float:
        """The scale-in window; at a slower pace at least three readings, because two show too little."""
        return self.scale_in_window_s if self.intervals == 1 else max(self.scale_in_window_s, 3 * self.pace_s)


@dataclass(frozen=True, slots=True)
class DatabaseCount:
    """Task instances of the fleet's queues in Airflow's database; `running` includes `restarting`."""

    queued: int
    running: int


@dataclass(frozen=True, slots=True)
class BrokerCount:
    """Messages of the fleet's queues; `in_flight` are received and not yet deleted, `delayed` are not yet due."""

    visible: int
    in_flight: int
    delayed: int = 0
    incomplete: str | None = None
    """Why there may be more messages; None: all are counted. An incomplete count can raise a fleet, never lower it."""


@dataclass(frozen=True, slots=True)
class Deployment:
    """One deployment of an ECS service."""

    status: str
    task_definition: str
    rollout_state: str = ""


@dataclass(frozen=True, slots=True)
class Service:
    """An ECS service from DescribeServices."""

    desired: int
    running: int
    pending: int
    deployments: tuple[Deployment, ...] = ()

    @property
    def primary(self) -> Deployment | None:
        """The deployment that sets the task definition of new tasks."""
        return next((deployment for deployment in self.deployments if deployment.status == "PRIMARY"), None)

    @property
    def revision(self) -> int:
        """The revision number of the primary task definition; 0 without one."""
        number = self.primary.task_definition.rpartition(":")[2] if self.primary else ""
        return int(number) if number.isascii() and number.isdigit() else 0

    @property
    def rolling(self) -> bool:
        """Whether a deployment beside the primary one is unfinished."""
        return len(self.deployments) > 1

    @property
    def empty(self) -> bool:
        """Whether it has no task and its desired count is 0."""
        return self.desired == self.running == self.pending == 0


@dataclass(frozen=True, slots=True)
class Task:
    """An ECS task of the service."""

    arn: str
    last_status: str
    desired_status: str = "RUNNING"
    address: str | None = None
    task_definition: str = ""


@dataclass(frozen=True, slots=True)
class AgentState:
    """The state that the agent inside a worker reports."""

    phase: Phase
    running: int
    reserved: int
    concurrency: int
    protected: bool
    refusal: str | None = None
    scheduled: int = 0
    """Of the reserved messages those that are not due (ETA, countdown)."""


@dataclass(frozen=True, slots=True)
class ServiceObservation:
    """One ECS service of a fleet, with its tasks, their protection and their agents."""

    service: Reading[Service]
    tasks: Reading[tuple[Task, ...]]
    protected: Reading[frozenset[str]]
    """ARNs of the protected tasks; the reading covers every running task."""
    agents: Mapping[str, Reading[AgentState]]
    """By task ARN; a running task without an entry counts as unknown."""


@dataclass(frozen=True, slots=True)
class Overrides:
    """The manual overrides of a fleet; None and `none` mean no override."""

    minimum: int | None = None
    maximum: int | None = None
    fixed: int | None = None
    pause: Literal["none", "in", "out", "both"] = "none"
    dry_run: bool = False
    by: str = ""
    at: str = ""
    reason: str = ""
    until: str | None = None


@dataclass(frozen=True, slots=True)
class UnplannedRun:
    """A run that may start at any moment: how often, and what it needs from then on."""

    per_s: float
    slots: tuple[float, ...]
    """The mean of each step from its start."""
    task_s: float
    """The mean duration of its tasks."""


@dataclass(frozen=True, slots=True)
class ForecastSource:
    """A DAG that needs many of the slots at the peak of a forecast."""

    dag_id: str
    slots: float
    due_s: float | None
    """The seconds until its run is due; None: its runs are in progress."""
    past_runs: int
    """The ended runs that were read, at most 20."""
    as_large: int
    """Of these, the runs in which at least so many tasks of the fleet ran."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """The slots that are expected if no task waits, in equal steps from `at`."""

    at: float
    step_s: float
    slots: tuple[float, ...]
    """The mean of each step, without tasks on draining workers."""
    spread: tuple[float, ...]
    """The standard deviation of each step."""
    task_s: float
    """The mean duration of those tasks that do not hold a slot yet."""
    present: int
    """Tasks of the plan that run or wait now."""
    waiting_s: float
    """How long the oldest of those that wait has waited."""
    unplanned: tuple[UnplannedRun, ...] = ()
    """Runs that people often start at this time; for fleets with headroom."""
    busy_s: Mapping[str, float] = field(default_factory=dict)
    """By the last part of a worker's ARN: the seconds until all tasks that it runs are expected to have ended."""
    sources: tuple[ForecastSource, ...] = ()
    """The DAGs that need the most slots at the peak, the largest first."""

    @property
    def peak(self) -> int:
        """The first step with the most slots."""
        return max(range(len(self.slots)), key=self.slots.__getitem__)


@dataclass(frozen=True, slots=True)
class Schedule:
    """The scheduled minimum in force now; cron and time zone are evaluated outside the core."""

    minimum: int
    description: str


@dataclass(frozen=True, slots=True)
class Observation:
    """All readings of one tick; `database` is None for fleets without an Airflow database (plain Celery)."""

    services: Mapping[str, ServiceObservation]
    """By the name of the ECS service."""
    broker: Reading[BrokerCount]
    overrides: Reading[Overrides]
    """`Unknown` only before the first successful read; after it the last known overrides are `Stale`."""
    database: Reading[DatabaseCount] | None = None
    schedule: Schedule | None = None
    demand_metric: Reading[float] | None = None
    """The newest value of the fleet's CloudWatch metric; None for fleets without one."""
    forecast: Reading[Forecast] | None = None
    """What Airflow's plan lets expect; None for fleets without look-ahead."""
    absent: tuple[str, ...] = ()
    """Services of the fleet that do not exist."""
