# SPDX-License-Identifier: Apache-2.0
"""What ECS knows: clusters, task definitions, services with their deployments, tasks.

All records are frozen; the state replaces them. What the scheduler does not need is carried untouched in `details` and
`template` (API shapes), so that a caller reads back exactly what was sent.
Times are seconds since the epoch (or since whatever the caller's clock counts from).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

Shape = Mapping[str, Any]
ServiceKey = tuple[str, str]  # cluster ARN, service name


class TaskStatus(StrEnum):
    """A task's lastStatus; ACTIVATING, DEACTIVATING and DEPROVISIONING take no time here and are left out."""

    PROVISIONING = "PROVISIONING"
    PENDING = "PENDING"
    RUNNING = "RUNNING"
    STOPPING = "STOPPING"
    STOPPED = "STOPPED"


class Health(StrEnum):
    """A task's healthStatus: the worst of its containers that have a health check."""

    UNKNOWN = "UNKNOWN"
    HEALTHY = "HEALTHY"
    UNHEALTHY = "UNHEALTHY"


class RolloutState(StrEnum):
    """How far a deployment is."""

    IN_PROGRESS = "IN_PROGRESS"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster; INACTIVE ones stay describable."""

    arn: str
    name: str
    status: str = "ACTIVE"
    details: Shape = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TaskDefinition:
    """One revision of a family."""

    arn: str
    family: str
    revision: int
    registered_at: float
    status: str = "ACTIVE"
    deregistered_at: float | None = None
    details: Shape = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def has_health_check(self) -> bool:
        """Whether an essential container has a health check, so that RUNNING alone does not mean healthy.

        ECS derives a task's health from its essential containers; a sidecar's check only serves `dependsOn`.
        """
        containers = [c for c in self.details.get("containerDefinitions", ()) if c.get("essential", True)]
        return any(c.get("healthCheck", {}).get("command", ["NONE"])[0] != "NONE" for c in containers)


@dataclass(frozen=True, slots=True)
class CircuitBreaker:
    """The deployment circuit breaker of a service."""

    enable: bool = False
    rollback: bool = False


@dataclass(frozen=True, slots=True)
class Deployment:
    """One rollout of a service: the newest is PRIMARY, older ones with tasks left are ACTIVE."""

    id: str
    task_definition_arn: str
    created_at: float
    updated_at: float
    template: Shape = field(default_factory=dict)
    rollout_state: RolloutState = RolloutState.IN_PROGRESS
    rollout_state_reason: str = ""
    failed_tasks: int = 0  # in a row; a task that reaches RUNNING clears it
    ever_completed: bool = False


@dataclass(frozen=True, slots=True)
class ServiceEvent:
    """One line of a service's event log."""

    id: str
    at: float
    message: str


@dataclass(frozen=True, slots=True)
class Service:
    """A service; `deployments[0]` is the PRIMARY one."""

    arn: str
    cluster_arn: str
    name: str
    created_at: float
    desired_count: int
    deployments: tuple[Deployment, ...]
    minimum_healthy_percent: int = 100
    maximum_percent: int = 200
    circuit_breaker: CircuitBreaker = CircuitBreaker()
    template: Shape = field(default_factory=dict)  # a change of it is a new deployment
    details: Shape = field(default_factory=dict)  # a change of it is not
    tags: Mapping[str, str] = field(default_factory=dict)
    status: str = "ACTIVE"
    events: tuple[ServiceEvent, ...] = ()  # newest first, at most 100
    last_completed: Deployment | None = None
    failed_launches: int = 0  # in a row; decides the restart back-off
    next_launch_at: float = 0.0
    steady: bool = False

    @property
    def key(self) -> ServiceKey:
        """Under what the state keeps this service."""
        return (self.cluster_arn, self.name)

    @property
    def primary(self) -> Deployment:
        """The newest deployment."""
        return self.deployments[0]


@dataclass(frozen=True, slots=True)
class Task:
    """A task of a service, or a standalone one (`service_key` is None)."""

    arn: str
    id: str
    cluster_arn: str
    task_definition_arn: str
    group: str
    started_by: str
    created_at: float
    availability_zone: str
    pending_at: float  # PROVISIONING until then
    launch_at: float  # then the world is asked to start its containers
    service_key: ServiceKey | None = None
    deployment_id: str | None = None
    status: TaskStatus = TaskStatus.PROVISIONING
    stopping: bool = False  # desiredStatus is STOPPED
    launched: bool = False  # the world was asked to start it
    health: Health = Health.UNKNOWN
    protected_until: float | None = None
    started_at: float | None = None
    stopping_at: float | None = None
    stopped_at: float | None = None
    stop_code: str | None = None
    stopped_reason: str | None = None
    overrides: Shape = field(default_factory=dict)
    details: Shape = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    version: int = 1

    @property
    def desired_status(self) -> str:
        """The API's desiredStatus."""
        return "STOPPED" if self.stopping else "RUNNING"

    def protected(self, now: float) -> bool:
        """Tell whether scale-in and deployments must leave this task alone at `now`; a stop ends protection."""
        return self.protected_until is not None and now < self.protected_until


@dataclass(frozen=True, slots=True)
class TaskCounts:
    """A service's or deployment's counts as the API shows them."""

    running: int
    pending: int


@dataclass(frozen=True, slots=True)
class Failure:
    """An entry of an answer's `failures`: part of the wish was refused, with HTTP 200."""

    arn: str
    reason: str
    detail: str = ""


def count(tasks: "list[Task] | tuple[Task, ...]") -> TaskCounts:
    """Count RUNNING tasks, and those on their way there."""
    running = sum(1 for t in tasks if t.status is TaskStatus.RUNNING)
    pending = sum(1 for t in tasks if t.status in {TaskStatus.PROVISIONING, TaskStatus.PENDING} and not t.stopping)
    return TaskCounts(running, pending)
