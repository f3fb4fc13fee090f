# SPDX-License-Identifier: Apache-2.0
"""What an ECS service scheduler does with services, tasks, protection and deployments: pure, time passed in.

ecs = Ecs(now=0.0)
ecs.clusters.create("c")
ecs.task_definitions.register("worker", {"containerDefinitions": [{"name": "worker"}]})
ecs.services.create("worker", cluster="c", task_definition="worker", desired_count=2)
for effect in ecs.advance(now=0.0):  # two LaunchTask
    ecs.task_running(effect.task.arn)

It knows what AWS documents. Where AWS documents nothing (which running task of a Fargate service goes first), the
caller chooses, and should choose the worst.
"""

from local_ecs.model.ecs import Ecs
from local_ecs.model.effects import Effect, LaunchTask, StopTask
from local_ecs.model.errors import EcsError
from local_ecs.model.records import (
    CircuitBreaker,
    Cluster,
    Deployment,
    Failure,
    Health,
    RolloutState,
    Service,
    ServiceEvent,
    Shape,
    Task,
    TaskCounts,
    TaskDefinition,
    TaskStatus,
)
from local_ecs.model.settings import (
    Ids,
    Picker,
    RandomIds,
    SequentialIds,
    Settings,
    newest_first,
    oldest_first,
    shuffled,
    spread_then_oldest,
)

__all__ = [
    "CircuitBreaker",
    "Cluster",
    "Deployment",
    "Ecs",
    "EcsError",
    "Effect",
    "Failure",
    "Health",
    "Ids",
    "LaunchTask",
    "Picker",
    "RandomIds",
    "RolloutState",
    "SequentialIds",
    "Service",
    "ServiceEvent",
    "Settings",
    "Shape",
    "StopTask",
    "Task",
    "TaskCounts",
    "TaskDefinition",
    "TaskStatus",
    "newest_first",
    "oldest_first",
    "shuffled",
    "spread_then_oldest",
]
