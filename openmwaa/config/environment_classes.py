# SPDX-License-Identifier: Apache-2.0
"""MWAA's environment classes and Fargate's task sizes.

Source of the classes: Amazon MWAA user guide, "Amazon MWAA environment class" (environment-class.md).
Source of the Fargate sizes: Amazon ECS developer guide, "Task CPU and memory" (fargate-tasks-services.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

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
    database_capacity: int
    """Maximum Aurora capacity units of about 2 GiB: the memory of MWAA's database in this class."""


def _class(
    name: str, slots: int, worker: tuple[int, int], webserver: tuple[int, int], database_capacity: int
) -> EnvironmentClass:
    # Schedulers have the size of workers in every class; in mw1.micro MWAA runs both in one task.
    size = TaskSize(worker[0] * 1024, worker[1] * 1024)
    web = TaskSize(webserver[0] * 1024, webserver[1] * 1024)
    return EnvironmentClass(name, size, slots, size, web, database_capacity)


ENVIRONMENT_CLASSES: Final[Mapping[str, EnvironmentClass]] = MappingProxyType(
    {
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
)

# CPU units -> (min MiB, max MiB, step MiB). 256 CPU units allow 512, 1024 and 2048 MiB only.
_FARGATE_MEMORY: Final[Mapping[int, tuple[int, int, int]]] = MappingProxyType(
    {
        512: (1024, 4096, 1024),
        1024: (2048, 8192, 1024),
        2048: (4096, 16384, 1024),
        4096: (8192, 30720, 1024),
        8192: (16384, 61440, 4096),
        16384: (32768, 122880, 8192),
    }
)


def fargate_memory(cpu: int) -> tuple[int, ...]:
    """Return the memory sizes in MiB that Fargate offers with `cpu` CPU units; empty for an unknown `cpu`."""
    if cpu == 256:  # noqa: PLR2004 - the only row that is not a range
        return (512, 1024, 2048)
    if cpu not in _FARGATE_MEMORY:
        return ()
    minimum, maximum, step = _FARGATE_MEMORY[cpu]
    return tuple(range(minimum, maximum + 1, step))


def fargate_cpus() -> tuple[int, ...]:
    """Return the CPU sizes that Fargate offers, in CPU units."""
    return (256, *_FARGATE_MEMORY)
