# SPDX-License-Identifier: Apache-2.0
"""MWAA's environment classes and Fargate's task sizes.

Source of the classes: Amazon MWAA user guide, "Amazon MWAA environment class" (environment-class.md).
Source of the Fargate sizes: Amazon ECS developer guide, "Task CPU and memory" (fargate-tasks-services.md).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Self

from pydantic import model_validator

from openmwaa.config.strict_model import FieldError, StrictModel

Architecture = Literal["X86_64", "ARM64"]


@dataclass(frozen=True)
class TaskSize:
    """CPU and memory of one Fargate task: CPU units (1024 = 1 vCPU) and MiB."""

    cpu: int
    memory: int


@dataclass(frozen=True)
class EnvironmentClass:
    """One of MWAA's environment classes: the size of each component, and the slots of a worker."""

    name: str
    worker: TaskSize
    slots: int
    scheduler: TaskSize
    webserver: TaskSize
    control_plane: TaskSize
    """Of a COMPACT control plane: the vCPU of a scheduler, and 3 GB for each."""
    database_capacity: int
    """Maximum Aurora capacity units of about 2 GiB: the memory of MWAA's database in this class."""


def _class(
    name: str, slots: int, worker: tuple[int, int], webserver: tuple[int, int], database_capacity: int
) -> EnvironmentClass:
    # Schedulers have the size of workers in every class; in mw1.micro MWAA runs both in one task.
    size = TaskSize(worker[0] * 1024, worker[1] * 1024)
    web = TaskSize(webserver[0] * 1024, webserver[1] * 1024)
    compact = TaskSize(size.cpu, worker[0] * 3072)
    return EnvironmentClass(name, size, slots, size, web, compact, database_capacity)


ENVIRONMENT_CLASSES: Final[Mapping[str, EnvironmentClass]] = {
    environment_class.name: environment_class
    for environment_class in (
        _class("mw1.micro", 3, (1, 3), (1, 3), 2),
        _class("mw1.small", 5, (1, 2), (1, 2), 2),
        _class("mw1.medium", 10, (2, 4), (1, 2), 4),
        _class("mw1.large", 20, (4, 8), (2, 4), 4),
        _class("mw1.xlarge", 40, (8, 24), (4, 12), 16),
        _class("mw1.2xlarge", 80, (16, 48), (8, 24), 32),
    )
}

FARGATE_MEMORY: Final[Mapping[int, Sequence[int]]] = {
    256: (512, 1024, 2048),
    512: range(1024, 4096 + 1, 1024),
    1024: range(2048, 8192 + 1, 1024),
    2048: range(4096, 16384 + 1, 1024),
    4096: range(8192, 30720 + 1, 1024),
    8192: range(16384, 61440 + 1, 4096),
    16384: range(32768, 122880 + 1, 8192),
}
"""CPU units -> the sizes of memory in MiB that Fargate offers with them."""


def check_fargate(cpu: int, memory: int) -> None:
    """Raise ValueError if Fargate does not offer `memory` MiB with `cpu` CPU units."""
    if cpu not in FARGATE_MEMORY:
        offered = ", ".join(map(str, FARGATE_MEMORY))
        raise FieldError(f"Fargate does not offer {cpu} CPU units; valid: {offered}", "cpu")
    sizes = FARGATE_MEMORY[cpu]
    if memory not in sizes:
        offered = ", ".join(map(str, sizes if len(sizes) < 6 else (*sizes[:3], "…", sizes[-1])))  # noqa: PLR2004
        raise FieldError(f"Fargate does not offer {memory} MiB with {cpu} CPU units; valid: {offered}", "memory")


class Size(StrictModel):
    """CPU and memory of a Fargate task."""

    cpu: int
    """CPU units, 1024 = 1 vCPU."""
    memory: int
    """MiB."""

    @model_validator(mode="after")
    def _is_offered(self) -> Self:
        check_fargate(self.cpu, self.memory)
        return self

    @property
    def task_size(self) -> TaskSize:
        """The size as the stack uses it."""
        return TaskSize(self.cpu, self.memory)


class Sizes(StrictModel):
    """Sizes of control plane components, instead of those of the environment class."""

    scheduler: Size | None = None
    dag_processor: Size | None = None
    triggerer: Size | None = None
    webserver: Size | None = None
    execution_api: Size | None = None
    control_plane: Size | None = None
    """Of a COMPACT control plane, instead of the others."""
