# SPDX-License-Identifier: Apache-2.0
"""What the scaler needs from outside, one small protocol each; `scaler.adapters` has the implementations.

Every method raises `SourceError` and nothing else, and keeps its own deadline: no call may hang.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from scaler.core.forecast.plan import AirflowPlan
from scaler.core.model import AgentState, BrokerCount, DatabaseCount, Overrides, Service, Task
from scaler.core.sleep import SleepCommand, SleepMemory
from scaler.errors import SourceError


def rfc3339(at: datetime) -> str:
    """Return a time in UTC with milliseconds, as in "2026-01-31T12:00:00.000Z"."""
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class ClockPort(Protocol):
    """Time, passed in."""

    def monotonic(self) -> float:
        """Return seconds that never go back; decisions use them."""

    def wall(self) -> datetime:
        """Return the time of day in UTC; for logs and signatures only."""


class DatabasePort(Protocol):
    """Airflow's metadata database."""

    async def counts(self) -> Mapping[str, DatabaseCount]:
        """Return the queued and running task instances by queue; a queue without any is absent."""

    async def running_on(self, host: str) -> int:
        """Return the running task instances of one host name, read now; of a worker it is the id of its ECS task."""


class AirflowPlanPort(Protocol):
    """What Airflow's metadata database shows of the near future."""

    async def plan(self, queues: frozenset[str], *, headroom: bool = False) -> AirflowPlan:
        """Return the plan of the fleet that serves these queues, complete; an error if it is too large.

        With `headroom` it has, within some ticks, the arrivals of runs that people start.
        """


class BrokerPort(Protocol):
    """The message broker."""

    async def depth(self, queue_url: str) -> BrokerCount:
        """Return the messages of one queue."""


class OverridesSource(Protocol):
    """The manual overrides of the fleets."""

    async def read(self, fleets: Sequence[str]) -> Mapping[str, Overrides | SourceError]:
        """Return each fleet's overrides, expired ones too, or the error; `Overrides()` for a fleet without any.

        It raises nothing: an error of one fleet does not affect the others.
        """


class WritableOverrides(OverridesSource, Protocol):
    """The overrides, where the scaler may write them."""

    async def write(self, fleet: str, document: str) -> int:
        """Replace the override of one fleet; return the number of this version."""


class ClusterPort(Protocol):
    """The ECS cluster that runs the fleets."""

    async def service(self, name: str) -> Service:
        """Return the current state of the service; AbsentError: it does not exist."""

    async def tasks(self, service: str) -> tuple[Task, ...]:
        """Return the tasks of the service whose desired status is RUNNING."""

    async def protected(self, arns: Sequence[str], *, for_s: float = 0.0) -> frozenset[str]:
        """Return those of the tasks that are protected for `for_s` more seconds; an error if one is missing."""

    async def set_desired(self, service: str, desired: int) -> None:
        """Write the desired count, an absolute number."""

    async def stop(self, arn: str, reason: str) -> None:
        """Stop one task, protected or not."""


class WorkersPort(Protocol):
    """The agents inside the workers."""

    async def state(self, task: Task) -> AgentState:
        """Return the state that the worker reports."""

    async def drain(self, task: Task, lease_s: float) -> AgentState:
        """Stop the worker from taking messages for `lease_s` seconds; it gives up its protection when it is idle."""

    async def resume(self, task: Task) -> AgentState:
        """Make the worker protect itself again and consume."""


@dataclass(frozen=True, slots=True)
class AirflowHealth:
    """The health of Airflow itself, from its metadata database."""

    schedulers: int
    """Schedulers with a heartbeat within the requested time."""
    oldest_queued_s: float
    """Age of the task instance that is queued the longest; 0 without any."""


@dataclass(frozen=True, slots=True)
class ImportProblem:
    """A DAG file that does not import, and the last line of the error."""

    file: str
    error: str


@dataclass(frozen=True, slots=True)
class WaitingTask:
    """A task instance that is queued for long."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    queue: str
    queued_s: float


@dataclass(frozen=True, slots=True)
class AirflowProblems:
    """What an author of DAGs has to see; the numbers count all, the tuples are the first of them."""

    import_errors: int
    files: tuple[ImportProblem, ...]
    waiting: int
    tasks: tuple[WaitingTask, ...]


class AirflowProblemsSource(Protocol):
    """The source of Airflow's problems."""

    async def problems(self, waiting_s: float, limit: int) -> AirflowProblems:
        """Return files that do not import, and tasks that are queued for longer than `waiting_s`; `limit` of each."""


class AirflowHealthSource(Protocol):
    """The source of Airflow's health."""

    async def health(self, within_s: float) -> AirflowHealth:
        """Return the schedulers with a heartbeat in the last `within_s` seconds, and the age of the oldest task."""


@dataclass(frozen=True, slots=True)
class Datum:
    """One current value of one CloudWatch metric."""

    namespace: str
    name: str
    dimensions: tuple[tuple[str, str], ...]
    value: float
    unit: Literal["Count", "Seconds"] = "Count"


class MetricSink(Protocol):
    """The destination of the environment's metrics."""

    async def put(self, data: Sequence[Datum]) -> None:
        """Store the values with the current time."""


class SleepPort(Protocol):
    """What only sleep needs, beside the cluster and the broker."""

    async def read(self) -> tuple[SleepCommand | None, SleepMemory | None]:
        """Return the last command and the scaler's record; None: it does not exist."""

    async def write(self, memory: SleepMemory) -> None:
        """Replace the scaler's record."""

    async def healthy(self, service: str) -> int:
        """Return the number of a service's tasks whose health checks succeed."""

    async def database(self) -> str:
        """Return the status of the RDS instance."""

    async def set_database(self, step: Literal["stop", "start"]) -> None:
        """Stop or start the RDS instance."""

    async def set_alarms(self, *, enabled: bool, late: bool = False) -> None:
        """Enable or disable the notifications of the environment's alarms.

        An alarm in the state ALARM is enabled only if it is `late`, and then evaluated again, so that it notifies.
        """


class LogSource(Protocol):
    """The log of this scaler, which outlives its process."""

    def decisions(self, start: datetime, end: datetime) -> AsyncIterator[Sequence[str]]:
        """Yield pages of the decision lines from `start` to `end`, oldest first."""
