# SPDX-License-Identifier: Apache-2.0
"""The records of ECS: clusters, task definitions, services with their deployments, tasks.

All records are frozen; the state replaces them. `details` and `template` have the fields of the API that the scheduler
does not use, so that a caller reads back what it sent. Times are seconds since the epoch (or since the zero of the
caller's clock).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

Shape = Mapping[str, Any]
ServiceKey = tuple[str, str]  # cluster ARN, service name


class TaskStatus(StrEnum):
    """A task's lastStatus. ACTIVATING, DEACTIVATING and DEPROVISIONING take no time here and are omitted."""

    PROVISIONING = "PROVISIONING"
    PENDING = "PENDING"
    RUNNING = "RUNNING"
    STOPPING = "STOPPING"
    STOPPED = "STOPPED"


class HealthStatus(StrEnum):
    """A task's healthStatus: the worst of its containers that have a health check."""

    UNKNOWN = "UNKNOWN"
    HEALTHY = "HEALTHY"
    UNHEALTHY = "UNHEALTHY"


class RolloutState(StrEnum):
    """The state of a deployment."""

    IN_PROGRESS = "IN_PROGRESS"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True)
class EcsCluster:
    """A cluster, ACTIVE or INACTIVE (deleted)."""

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
        """Whether an essential container has a health check, so that a RUNNING task is not necessarily healthy.

        ECS derives a task's health from its essential containers. The check of a sidecar is for `dependsOn` only.
        """
        containers = [c for c in self.details.get("containerDefinitions", ()) if c.get("essential", True)]
        return any(c.get("healthCheck", {}).get("command", ["NONE"])[0] != "NONE" for c in containers)


@dataclass(frozen=True, slots=True)
class CircuitBreaker:
    """The deployment circuit breaker of a service."""

    enable: bool = False
    rollback: bool = False


@dataclass(frozen=True, slots=True)
class EcsDeployment:
    """One rollout of a service. The newest is PRIMARY; older ones that still have tasks are ACTIVE."""

    id: str
    task_definition_arn: str
    created_at: float
    updated_at: float
    template: Shape = field(default_factory=dict)
    rollout_state: RolloutState = RolloutState.IN_PROGRESS
    rollout_state_reason: str = ""
    failed_tasks: int = 0  # in a row; reset by a task that reaches RUNNING
    ever_completed: bool = False


@dataclass(frozen=True, slots=True)
class ServiceEvent:
    """One line of a service's event log."""

    id: str
    at: float
    message: str


@dataclass(frozen=True, slots=True)
class EcsService:
    """A service; `deployments[0]` is the PRIMARY deployment."""

    arn: str
    cluster_arn: str
    name: str
    created_at: float
    desired_count: int
    deployments: tuple[EcsDeployment, ...]
    minimum_healthy_percent: int = 100
    maximum_percent: int = 200
    circuit_breaker: CircuitBreaker = CircuitBreaker()
    template: Shape = field(default_factory=dict)  # a change creates a new deployment
    details: Shape = field(default_factory=dict)  # a change does not
    tags: Mapping[str, str] = field(default_factory=dict)
    status: str = "ACTIVE"
    events: tuple[ServiceEvent, ...] = ()  # newest first, at most 100
    last_completed: EcsDeployment | None = None
    failed_launches: int = 0  # in a row; for the back-off of restarts
    next_launch_at: float = 0.0
    steady: bool = False

    @property
    def key(self) -> ServiceKey:
        """The key of this service in the state."""
        return (self.cluster_arn, self.name)

    @property
    def primary(self) -> EcsDeployment:
        """The newest deployment."""
        return self.deployments[0]


@dataclass(frozen=True, slots=True)
class EcsTask:
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
    launch_at: float  # then its containers are launched
    service_key: ServiceKey | None = None
    deployment_id: str | None = None
    status: TaskStatus = TaskStatus.PROVISIONING
    stopping: bool = False  # desiredStatus is STOPPED
    launched: bool = False  # its containers were launched
    health: HealthStatus = HealthStatus.UNKNOWN
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
        """Whether the task is protected from scale-in and deployments at `now`. A stop ends the protection."""
        return self.protected_until is not None and now < self.protected_until


@dataclass(frozen=True, slots=True)
class TaskCounts:
    """Numbers of tasks of a service or deployment, as in the API."""

    running: int
    pending: int


@dataclass(frozen=True, slots=True)
class EcsFailure:
    """An entry of `failures` in an answer: a part of the request was refused, with HTTP 200."""

    arn: str
    reason: str
    detail: str = ""


def count(tasks: "list[EcsTask] | tuple[EcsTask, ...]") -> TaskCounts:
    """Count the RUNNING tasks and those that are starting."""
    running = sum(1 for t in tasks if t.status is TaskStatus.RUNNING)
    pending = sum(1 for t in tasks if t.status in {TaskStatus.PROVISIONING, TaskStatus.PENDING} and not t.stopping)
    return TaskCounts(running, pending)
