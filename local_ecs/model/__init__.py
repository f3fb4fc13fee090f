# SPDX-License-Identifier: Apache-2.0
"""A model of ECS's service scheduler: services, tasks, protection and deployments. Pure: the time is an argument.

ecs = EcsModel(now=0.0)
ecs.clusters.create("c")
ecs.task_definitions.register("worker", {"containerDefinitions": [{"name": "worker"}]})
ecs.services.create("worker", cluster="c", task_definition="worker", desired_count=2)
for effect in ecs.advance(now=0.0):  # two LaunchTask
    ecs.task_running(effect.task.arn)

It implements the behaviour that AWS documents. Where AWS documents nothing (which running task of a Fargate service
stops first), the caller chooses, and tests choose the worst case.
"""

from local_ecs.model.ecs import EcsModel
from local_ecs.model.effects import Effect, LaunchTask, StopTask
from local_ecs.model.errors import EcsError
from local_ecs.model.records import (
    CircuitBreaker,
    EcsCluster,
    EcsDeployment,
    EcsFailure,
    EcsService,
    EcsTask,
    HealthStatus,
    RolloutState,
    ServiceEvent,
    Shape,
    TaskCounts,
    TaskDefinition,
    TaskStatus,
)
from local_ecs.model.settings import (
    EcsSettings,
    Ids,
    Picker,
    RandomIds,
    SequentialIds,
    newest_first,
    oldest_first,
    shuffled,
    spread_then_oldest,
)

__all__ = [
    "CircuitBreaker",
    "EcsCluster",
    "EcsDeployment",
    "EcsError",
    "EcsFailure",
    "EcsModel",
    "EcsService",
    "EcsSettings",
    "EcsTask",
    "Effect",
    "HealthStatus",
    "Ids",
    "LaunchTask",
    "Picker",
    "RandomIds",
    "RolloutState",
    "SequentialIds",
    "ServiceEvent",
    "Shape",
    "StopTask",
    "TaskCounts",
    "TaskDefinition",
    "TaskStatus",
    "newest_first",
    "oldest_first",
    "shuffled",
    "spread_then_oldest",
]
