# SPDX-License-Identifier: Apache-2.0
"""The interface between the local ECS and the runtime of its tasks.

The ECS decides which tasks run and implements the protocol. The runtime starts processes and reports their events. Each
side can be tested with a small fake of the other.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

Status = Literal["PENDING", "RUNNING", "STOPPED"]
Health = Literal["UNKNOWN", "HEALTHY", "UNHEALTHY"]
StopCode = Literal["EssentialContainerExited", "TaskFailedToStart", "UserInitiated", "ServiceSchedulerInitiated"]


@dataclass(frozen=True)
class TaskToRun:
    """A task to start."""

    task_arn: str
    task_id: str
    group: str
    """`service:NAME` or `family:NAME`, as in ECS."""
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
    """The current state of a container."""

    name: str
    status: Status
    health: Health
    exit_code: int | None
    reason: str | None
    pid: int | None


@dataclass(frozen=True)
class TaskRunning:
    """Every container of the task runs."""

    task_arn: str


@dataclass(frozen=True)
class TaskHealth:
    """The health of the task as a whole changed."""

    task_arn: str
    health: Health


@dataclass(frozen=True)
class TaskStopped:
    """All processes of the task have ended."""

    task_arn: str
    containers: tuple[ContainerState, ...]
    stop_code: StopCode
    reason: str


TaskEvent = TaskRunning | TaskHealth | TaskStopped


class TaskRunner(Protocol):
    """Runs tasks and reports their events."""

    async def start(self, task: TaskToRun, on_event: Callable[[TaskEvent], None]) -> None:
        """Start a task and return at once; events follow.

        A container that cannot start is an event (`TaskStopped`, `TaskFailedToStart`), not an exception.
        """

    async def stop(self, task_arn: str, *, reason: str) -> None:
        """Start the stop sequence: SIGTERM, each container's stopTimeout, SIGKILL. `TaskStopped` follows."""

    def containers(self, task_arn: str) -> tuple[ContainerState, ...]:
        """The containers of a task; empty for an unknown task."""

    async def close(self) -> None:
        """Stop all tasks, within a limited time."""


class SecretResolver(Protocol):
    """Reads the value of `secrets[].valueFrom` in a container definition."""

    async def resolve(self, value_from: str) -> str:
        """The value of a secret.

        `value_from`: a Secrets Manager ARN (with or without `:jsonkey:versionstage:versionid`), or an SSM parameter ARN
        or name.
        """


class LogSink(Protocol):
    """Receives the lines of containers with the log driver `awslogs`."""

    def write(self, options: Mapping[str, str], stream: str, lines: Sequence[str]) -> None:
        """Store lines; never blocks and never raises."""


@dataclass(frozen=True)
class LocalImage:
    """The program and environment that replace a container image on this machine."""

    name: str
    argv_prefix: tuple[str, ...]
    """The ENTRYPOINT of the image, such as `(python, "-m", "openmwaa_runtime")`."""
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class LocalImages:
    """The images that this machine can run, by the docker label `openmwaa.image` or by the exact image name."""

    by_label: Mapping[str, LocalImage]
    by_reference: Mapping[str, LocalImage] = field(default_factory=dict)

    def find(self, container_definition: Mapping[str, Any]) -> LocalImage | None:
        """The image of a container definition (API shape `ContainerDefinition`); None if it is unknown."""
        label = (container_definition.get("dockerLabels") or {}).get("openmwaa.image")
        if isinstance(label, str) and label in self.by_label:
            return self.by_label[label]
        return self.by_reference.get(container_definition.get("image", ""))
