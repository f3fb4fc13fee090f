# SPDX-License-Identifier: Apache-2.0
"""What the scaler needs from the world, one small protocol each; `scaler.adapters` has the real ones.

Every method raises `SourceError` and nothing else, and keeps its own deadline: no call may hang.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from scaler.core.model import AgentState, BrokerCount, Overrides, DatabaseCount, Service, Task
from scaler.errors import SourceError


class Clock(Protocol):
    """Time, passed in."""

    def monotonic(self) -> float:
        """Return seconds that never go back; what decisions are made with."""
        ...

    def wall(self) -> datetime:
        """Return the time of day in UTC; for logs and signatures only."""
        ...


class Database(Protocol):
    """Airflow's metadata database."""

    async def counts(self) -> Mapping[str, DatabaseCount]:
        """Return the task instances queued and running, by queue; a queue without any is absent."""
        ...


class Broker(Protocol):
    """The message broker."""

    async def depth(self, queue_url: str) -> BrokerCount:
        """Return the messages of one queue."""
        ...


class ControlsSource(Protocol):
    """What people ordered, live."""

    async def read(self, fleets: Sequence[str]) -> Mapping[str, Overrides | SourceError]:
        """Return each fleet's controls, expired ones too, or why they cannot be known; without an order `Overrides()`.

        It raises nothing: what cannot be read for one fleet says nothing of the others.
        """
        ...


class Cluster(Protocol):
    """The ECS cluster the fleets live in."""

    async def service(self, name: str) -> Service:
        """Return the service as it is now."""
        ...

    async def tasks(self, service: str) -> tuple[Task, ...]:
        """Return the tasks that ECS wants to run for the service."""
        ...

    async def protected(self, arns: Sequence[str]) -> frozenset[str]:
        """Return those of the tasks that are protected; an answer for each, or an error."""
        ...

    async def set_desired(self, service: str, desired: int) -> None:
        """Write the desired count, an absolute number."""
        ...


class Workers(Protocol):
    """The agents inside the workers."""

    async def state(self, task: Task) -> AgentState:
        """Return what the worker says about itself."""
        ...

    async def drain(self, task: Task, lease_s: float) -> AgentState:
        """Ask the worker to take nothing new for `lease_s` seconds and to let go of its protection when it is idle."""
        ...

    async def resume(self, task: Task) -> AgentState:
        """Ask the worker to protect itself again and to consume."""
        ...


@dataclass(frozen=True, slots=True)
class Vitals:
    """What Airflow's metadata database says of Airflow itself."""

    schedulers: int
    """Schedulers whose heart has beaten within the time that was asked for."""
    oldest_queued_s: float
    """How long the task that is queued the longest has been; 0 without any."""


class AirflowVitals(Protocol):
    """Whether Airflow is alive."""

    async def vitals(self, within_s: float) -> Vitals:
        """Return the schedulers with a heartbeat in the last `within_s` seconds, and the age of the oldest task."""
        ...


@dataclass(frozen=True, slots=True)
class Datum:
    """One value of one CloudWatch metric, as of now."""

    namespace: str
    name: str
    dimensions: tuple[tuple[str, str], ...]
    value: float
    unit: Literal["Count", "Seconds"] = "Count"


class MetricSink(Protocol):
    """Where metrics of the environment are kept."""

    async def put(self, data: Sequence[Datum]) -> None:
        """Keep the values, each of this moment."""
        ...
