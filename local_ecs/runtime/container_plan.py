# SPDX-License-Identifier: Apache-2.0
"""Reads a task definition and its overrides into one plan for each container. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import Any, Literal

from local_ecs.runtime.api import LocalImage, LocalImages, TaskToRun
from local_ecs.runtime.errors import TaskDefinitionError

Condition = Literal["START", "COMPLETE", "SUCCESS", "HEALTHY"]

DEFAULT_STOP_TIMEOUT_S = 30.0
LONGEST_STOP_TIMEOUT_S = 120.0
DEFAULT_START_TIMEOUT_S = 180.0
"""Fargate's default."""


@dataclass(frozen=True)
class HealthCheck:
    """The health check of a container, with ECS's defaults. Times are seconds."""

    argv: tuple[str, ...]
    interval_s: float
    timeout_s: float
    retries: int
    start_period_s: float


@dataclass(frozen=True)
class Dependency:
    """`dependsOn`: another container and the required condition."""

    container: str
    condition: Condition


@dataclass(frozen=True)
class ContainerPlan:
    """The data to start a container, except for its secrets."""

    name: str
    image: LocalImage
    argv: tuple[str, ...]
    environment: Mapping[str, str]
    secrets: Mapping[str, str]
    """Variable -> `valueFrom`."""
    mounts: Mapping[str, str]
    """Path inside the container -> volume."""
    essential: bool
    depends_on: tuple[Dependency, ...]
    health_check: HealthCheck | None
    start_timeout_s: float
    stop_timeout_s: float
    awslogs: Mapping[str, str] | None
    """The options of the log driver `awslogs`; None for other drivers."""


def plan_containers(task: TaskToRun, images: LocalImages) -> tuple[ContainerPlan, ...]:
    """The plans of a task's containers in order; raises TaskDefinitionError for unknown images or dependencies."""
    overrides = {override.get("name"): override for override in task.overrides.get("containerOverrides") or ()}
    definitions = task.task_definition["containerDefinitions"]
    containers = tuple(
        _container(definition, overrides.get(definition["name"], {}), images) for definition in definitions
    )
    _check_dependencies(containers)
    return containers


def _container(definition: Mapping[str, Any], override: Mapping[str, Any], images: LocalImages) -> ContainerPlan:
    entry_point = tuple(definition.get("entryPoint") or ())
    image = images.find(definition)
    if image is None:
        if not entry_point:
            raise TaskDefinitionError(
                f"CannotPullContainerError: container {definition['name']}: no program on this machine for the "
                f"image {definition.get('image')!r}"
            )
        image = LocalImage(name=str(definition.get("image")), argv_prefix=())
    command = tuple(override.get("command") or definition.get("command") or ())
    health = definition.get("healthCheck")
    log = definition.get("logConfiguration") or {}
    return ContainerPlan(
        name=definition["name"],
        image=image,
        argv=(entry_point or image.argv_prefix) + command,
        environment={
            variable["name"]: variable.get("value", "")
            for source in (definition, override)
            for variable in source.get("environment") or ()
        },
        secrets={secret["name"]: secret["valueFrom"] for secret in definition.get("secrets") or ()},
        mounts={mount["containerPath"]: mount["sourceVolume"] for mount in definition.get("mountPoints") or ()},
        essential=definition.get("essential", True),
        depends_on=tuple(
            Dependency(item["containerName"], item["condition"]) for item in definition.get("dependsOn") or ()
        ),
        health_check=_health_check(health) if health else None,
        start_timeout_s=float(definition.get("startTimeout") or DEFAULT_START_TIMEOUT_S),
        stop_timeout_s=min(float(definition.get("stopTimeout") or DEFAULT_STOP_TIMEOUT_S), LONGEST_STOP_TIMEOUT_S),
        awslogs=dict(log.get("options") or {}) if log.get("logDriver") == "awslogs" else None,
    )


def _health_check(definition: Mapping[str, Any]) -> HealthCheck | None:
    kind, *command = definition.get("command") or ["NONE"]
    match kind:
        case "NONE":
            return None
        case "CMD":
            argv = tuple(command)
        case "CMD-SHELL":
            argv = ("/bin/sh", "-c", " ".join(command))
        case _:  # as in ECS: a list without a keyword is the command itself
            argv = (kind, *command)
    return HealthCheck(
        argv=argv,
        interval_s=float(definition.get("interval") or 30),
        timeout_s=float(definition.get("timeout") or 5),
        retries=int(definition.get("retries") or 3),
        start_period_s=float(definition.get("startPeriod") or 0),
    )


def _check_dependencies(containers: tuple[ContainerPlan, ...]) -> None:
    graph = {container.name: [dependency.container for dependency in container.depends_on] for container in containers}
    for name, others in graph.items():
        for other in others:
            if other not in graph:
                raise TaskDefinitionError(f"container {name} depends on {other}, which is not in the task")
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        before, name, *_ = error.args[1]  # each node of the cycle depends on the one before it
        raise TaskDefinitionError(f"container {name} depends on itself through {before}") from error
