# SPDX-License-Identifier: Apache-2.0
"""The seam between the local ECS and what runs its tasks.

The ECS side decides what should run and speaks the protocol; the containers side starts real processes and tells what
became of them. Neither knows the other's inside: a test of either needs a few lines of the other.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

Status = Literal["PENDING", "RUNNING", "STOPPED"]
Health = Literal["UNKNOWN", "HEALTHY", "UNHEALTHY"]
StopCode = Literal["EssentialContainerExited", "TaskFailedToStart", "UserInitiated", "ServiceSchedulerInitiated"]


@dataclass(frozen=True)
class TaskToRun:
    """One task as the ECS side wants it started."""

    task_arn: str
    task_id: str
    group: str
    """`service:NAME` or `family:NAME`, as ECS says it."""
    address: str
    """The task's own IPv4 address in 127.0.0.0/8."""
    task_definition: Mapping[str, Any]
    """The API shape `TaskDefinition`."""
    overrides: Mapping[str, Any]
    """The API shape `TaskOverride`."""
    ecs_environment: Mapping[str, str]
    """`ECS_AGENT_URI` and `ECS_CONTAINER_METADATA_URI_V4`."""


@dataclass(frozen=True)
class ContainerState:
    """What is known of one container now."""

    name: str
    status: Status
    health: Health
    exit_code: int | None
    reason: str | None
    pid: int | None


@dataclass(frozen=True)
class TaskRunning:
    """Every container that has to run is running."""

    task_arn: str


@dataclass(frozen=True)
class TaskHealth:
    """The health of the task as a whole changed."""

    task_arn: str
    health: Health


@dataclass(frozen=True)
class TaskStopped:
    """No process of the task is left."""

    task_arn: str
    containers: tuple[ContainerState, ...]
    stop_code: StopCode
    reason: str


TaskEvent = TaskRunning | TaskHealth | TaskStopped


class TaskRunner(Protocol):
    """Runs tasks and tells what happens to them."""

    async def start(self, task: TaskToRun, on_event: Callable[[TaskEvent], None]) -> None:
        """Begin a task and return at once; events follow.

        A container that cannot start is an event (`TaskStopped`, `TaskFailedToStart`), never an exception.
        """

    async def stop(self, task_arn: str, *, reason: str) -> None:
        """Begin the stop sequence: SIGTERM, each container's stopTimeout, SIGKILL of all; `TaskStopped` follows."""

    def containers(self, task_arn: str) -> tuple[ContainerState, ...]:
        """The containers of a task; empty when the task is not known."""

    async def close(self) -> None:
        """Stop everything, bounded in time."""


class SecretResolver(Protocol):
    """Finds the value behind `secrets[].valueFrom` of a container definition."""

    async def resolve(self, value_from: str) -> str:
        """The secret's value.

        Takes a Secrets Manager ARN (with `:jsonkey:versionstage:versionid` or without) or an SSM parameter ARN or name.
        """


class LogSink(Protocol):
    """Takes the lines of containers whose log driver is `awslogs`."""

    def write(self, options: Mapping[str, str], stream: str, lines: Sequence[str]) -> None:
        """Take lines at once; never blocks and never raises."""


@dataclass(frozen=True)
class LocalImage:
    """What a container image is on this machine: a program and its environment."""

    name: str
    argv_prefix: tuple[str, ...]
    """What the image's ENTRYPOINT is: `(python, "-m", "openmwaa_runtime")`."""
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class LocalImages:
    """The images this machine can run, found by the docker label `openmwaa.image`, else by the exact image string."""

    by_label: Mapping[str, LocalImage]
    by_reference: Mapping[str, LocalImage] = field(default_factory=dict)

    def find(self, container_definition: Mapping[str, Any]) -> LocalImage | None:
        """The image of a container definition (API shape `ContainerDefinition`); None when there is none here."""
        label = (container_definition.get("dockerLabels") or {}).get("openmwaa.image")
        if isinstance(label, str) and label in self.by_label:
            return self.by_label[label]
        return self.by_reference.get(container_definition.get("image", ""))
