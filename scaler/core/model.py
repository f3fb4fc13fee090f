# SPDX-License-Identifier: Apache-2.0
"""What the core reads: a fleet's settings and one observation of the world, as frozen data.

Times are seconds on one monotonic clock that the caller chooses; wall-clock times never enter the core, so a clock
that jumps cannot shrink a fleet. A reading is `Known`, `Stale` or `Unknown`, and **unknown is never zero**: there is
no default value to fall back to by accident.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
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
    """The last known value, `age_s` seconds old: it may raise a fleet and never lower it."""

    value: T_co
    age_s: float


@dataclass(frozen=True, slots=True)
class Unknown:
    """Nothing is known, and why."""

    reason: str


Reading: TypeAlias = Known[T_co] | Stale[T_co] | Unknown


@dataclass(frozen=True, slots=True)
class Fallback:
    """What to do when nobody has known the demand for `after_s` seconds.

    `hold` keeps what there is; `hold-if-higher` keeps it, but at least `count`; `fixed` goes to `count`: upward at
    once, downward only by the ordinary drain, which needs the services, the tasks and the protection to be known.
    """

    mode: Literal["hold", "hold-if-higher", "fixed"] = "hold"
    count: int = 0
    after_s: float = 180.0


@dataclass(frozen=True, slots=True)
class Fleet:
    """One worker fleet and how it is to be scaled."""

    name: str
    queues: tuple[str, ...]
    slots: int
    """Celery processes of one worker, until the agents report another number."""
    minimum: int
    maximum: int
    interval_s: float = 5.0
    scale_in_window_s: float = 60.0
    """A fleet shrinks only to the largest need of this many seconds."""
    launch_deadline_s: float = 300.0
    """A worker that does not consume after this long is no longer counted as capacity on its way."""
    disagreement_limit_s: float = 60.0
    """How long the broker may raise the demand above the database: SQS settles within about a minute, while the
    ghosts of a killed worker stay for a whole visibility timeout (hours)."""
    launch_budget: int = 50
    """The most tasks that may be asked for and not yet RUNNING, over all generations."""
    fallback: Fallback = Fallback()
    desired_count_drift: Literal["adopt", "correct"] = "correct"
    """A desired count that somebody wrote by hand. `correct`: what is needed counts, upward at once, downward by the
    ordinary drain. `adopt`: a count above ours is moreover kept for one scale-in window; one below what is needed is
    corrected at once in both, for tasks would wait."""

    @property
    def drain_lease_s(self) -> float:
        """Seconds a drain holds without being posted again: three missed ticks, and at least 30 s."""
        return max(30.0, 3 * self.interval_s)

    @property
    def knowledge_gap_s(self) -> float:
        """Longest pause between two known readings that still count as one uninterrupted window."""
        return 3 * self.interval_s


@dataclass(frozen=True, slots=True)
class DatabaseCount:
    """Task instances of the fleet's queues in Airflow's database; `running` includes `restarting`."""

    queued: int
    running: int


@dataclass(frozen=True, slots=True)
class BrokerCount:
    """Messages of the fleet's queues; `in_flight` was received and not yet deleted, `delayed` is not yet due."""

    visible: int
    in_flight: int
    delayed: int = 0


@dataclass(frozen=True, slots=True)
class Deployment:
    """One deployment of an ECS service."""

    status: str
    task_definition: str
    rollout_state: str = ""


@dataclass(frozen=True, slots=True)
class Service:
    """An ECS service as DescribeServices told it."""

    desired: int
    running: int
    pending: int
    deployments: tuple[Deployment, ...] = ()

    @property
    def primary(self) -> Deployment | None:
        """The deployment whose task definition new tasks get."""
        return next((each for each in self.deployments if each.status == "PRIMARY"), None)

    @property
    def revision(self) -> int:
        """The revision number of the primary task definition; 0 where there is none."""
        number = self.primary.task_definition.rpartition(":")[2] if self.primary else ""
        return int(number) if number.isascii() and number.isdigit() else 0

    @property
    def rolling(self) -> bool:
        """Whether a deployment beside the primary one is unfinished."""
        return len(self.deployments) > 1

    @property
    def empty(self) -> bool:
        """Whether it has no task and wants none."""
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
    """What the agent inside a worker says about it."""

    phase: Phase
    running: int
    reserved: int
    concurrency: int
    protected: bool
    refusal: str | None = None


@dataclass(frozen=True, slots=True)
class Generation:
    """One ECS service of a fleet, and everybody in it."""

    service: Reading[Service]
    tasks: Reading[tuple[Task, ...]]
    protected: Reading[frozenset[str]]
    """ARNs of the running tasks that ECS says are protected; every running task was asked about."""
    agents: Mapping[str, Reading[AgentState]]
    """By task ARN; a running task without an entry counts as unknown."""


@dataclass(frozen=True, slots=True)
class Controls:
    """What a person ordered for a fleet, live; what is None or `none` was not ordered."""

    minimum: int | None = None
    maximum: int | None = None
    fixed: int | None = None
    pause: Literal["none", "in", "out", "both"] = "none"
    dry_run: bool = False
    by: str = ""
    at: str = ""
    why: str = ""
    until: str | None = None


@dataclass(frozen=True, slots=True)
class Schedule:
    """The scheduled minimum that is in force now; what cron and time zone make of it is computed outside."""

    minimum: int
    words: str


@dataclass(frozen=True, slots=True)
class Observation:
    """The world as one tick saw it; `database` is None for fleets that have no Airflow database (plain Celery)."""

    generations: Mapping[str, Generation]
    """By the name of the ECS service."""
    broker: Reading[BrokerCount]
    controls: Reading[Controls]
    """`Unknown` only until they were read for the first time; later the last known ones are given as `Stale`."""
    database: Reading[DatabaseCount] | None = None
    schedule: Schedule | None = None
