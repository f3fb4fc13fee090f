# SPDX-License-Identifier: Apache-2.0
"""One step of the service scheduler: a pure function from a service and its tasks to launches and stops.

Rules, in this order:

1. A task whose health check failed is replaced, protected or not (protection covers scale-in and deployments only). 2.
Tasks of older deployments stop as soon as `minimumHealthyPercent` allows. Those that are not healthy yet stop at once.
3. Tasks above desiredCount stop: starting tasks first, then running ones in the picker's order. 4. Rules 2 and 3 never
stop a protected task. It continues, even if there are then more tasks than desired. 5. The PRIMARY deployment launches
tasks up to desiredCount as long as all tasks, including protected old ones, stay within `maximumPercent`.

Stopping tasks do not count: AWS counts RUNNING and PENDING ones. Since November 2025 AWS replaces old tasks that exit
during a deployment with tasks of their own revision. How many is not documented; here all launches belong to the
PRIMARY deployment.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from local_ecs.model.records import EcsService, EcsTask, HealthStatus, RolloutState, TaskStatus
from local_ecs.model.settings import Picker


@dataclass(frozen=True, slots=True)
class SchedulingPlan:
    """The stops and launches of one service in one step."""

    unhealthy: tuple[EcsTask, ...]
    stop: tuple[EcsTask, ...]
    launch: int


def healthy(task: EcsTask, *, needs_check: bool) -> bool:
    """Whether a task counts for minimumHealthyPercent and for a steady state."""
    if task.status is not TaskStatus.RUNNING or task.health is HealthStatus.UNHEALTHY:
        return False
    return task.health is HealthStatus.HEALTHY or not needs_check


def plan_service(
    service: EcsService, tasks: Sequence[EcsTask], now: float, picker: Picker, *, checked: frozenset[str] = frozenset()
) -> SchedulingPlan:
    """Plan one step. `checked` has the ARNs of the task definitions with a health check."""
    live = [t for t in tasks if not t.stopping]
    unhealthy = tuple(t for t in live if t.health is HealthStatus.UNHEALTHY)
    live = [t for t in live if t.health is not HealthStatus.UNHEALTHY]
    new = [t for t in live if t.deployment_id == service.primary.id]
    old = [t for t in live if t.deployment_id != service.primary.id]
    healthy_now = sum(1 for t in live if healthy(t, needs_check=t.task_definition_arn in checked))
    stop = [*_old_tasks(service, old, healthy_now, now, picker, checked)]
    stop += _surplus(new, len(new) - service.desired_count, now, picker)
    return SchedulingPlan(unhealthy, tuple(stop), _launches(service, new=len(new), live=len(live) - len(stop), now=now))


def _old_tasks(
    service: EcsService, old: list[EcsTask], healthy_now: int, now: float, picker: Picker, checked: frozenset[str]
) -> list[EcsTask]:
    """Choose tasks of older deployments to stop, so that the service keeps its minimum of healthy tasks."""
    unprotected = [t for t in old if not t.protected(now)]
    not_ready = [t for t in unprotected if not healthy(t, needs_check=t.task_definition_arn in checked)]
    serving = [t for t in unprotected if t not in not_ready]
    # A failed PRIMARY deployment replaces no tasks, so the old healthy ones stay.
    if service.primary.rollout_state is RolloutState.FAILED:
        return _surplus(unprotected, len(old) - service.desired_count, now, picker)
    minimum = math.ceil(service.desired_count * service.minimum_healthy_percent / 100)
    spare = max(0, healthy_now - minimum)
    return [*not_ready, *list(picker(serving))[:spare]]


def _surplus(tasks: list[EcsTask], excess: int, now: float, picker: Picker) -> list[EcsTask]:
    """Choose `excess` tasks to stop, never a protected one."""
    if excess <= 0:
        return []
    unprotected = [t for t in tasks if not t.protected(now)]
    starting = sorted(
        (t for t in unprotected if t.status is not TaskStatus.RUNNING), key=lambda t: (-t.created_at, t.arn)
    )
    running = [t for t in unprotected if t.status is TaskStatus.RUNNING]
    return [*starting, *picker(running)][:excess]


def _launches(service: EcsService, *, new: int, live: int, now: float) -> int:
    """Count the tasks to launch."""
    if service.primary.rollout_state is RolloutState.FAILED or now < service.next_launch_at:
        return 0
    maximum = math.floor(service.desired_count * service.maximum_percent / 100)
    return max(0, min(service.desired_count - new, maximum - live))
