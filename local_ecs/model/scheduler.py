# SPDX-License-Identifier: Apache-2.0
"""What the service scheduler does now: a pure function from a service and its tasks to launches and stops.

Rules, in this order:

1. A task whose health check failed is replaced, protected or not (protection covers scale-in and deployments only).
2. Tasks of older deployments go as soon as `minimumHealthyPercent` allows; those that serve nothing yet, at once.
3. Tasks above desiredCount go: those not yet running first, then in the picker's order.
4. A protected task is taken by neither 2 nor 3. It runs on, also when that leaves more tasks than desired.
5. The PRIMARY deployment is filled up to desiredCount while all tasks, protected old ones included, stay within
   `maximumPercent`.

Tasks already told to stop count nowhere: AWS counts RUNNING and PENDING ones.
Since November 2025 AWS replaces old tasks that end by themselves during a deployment with tasks of their own revision;
how it weighs both is not documented, and here all launches are the PRIMARY deployment's.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from local_ecs.model.records import Health, RolloutState, Service, Task, TaskStatus
from local_ecs.model.settings import Picker


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do for one service now."""

    unhealthy: tuple[Task, ...]
    stop: tuple[Task, ...]
    launch: int


def healthy(task: Task, *, needs_check: bool) -> bool:
    """Tell whether a task counts for minimumHealthyPercent and for a steady state."""
    if task.status is not TaskStatus.RUNNING or task.health is Health.UNHEALTHY:
        return False
    return task.health is Health.HEALTHY or not needs_check


def plan(
    service: Service, tasks: Sequence[Task], now: float, picker: Picker, *, checked: frozenset[str] = frozenset()
) -> Plan:
    """Plan one step; `checked` are the ARNs of task definitions that have a health check."""
    live = [t for t in tasks if not t.stopping]
    unhealthy = tuple(t for t in live if t.health is Health.UNHEALTHY)
    live = [t for t in live if t.health is not Health.UNHEALTHY]
    new = [t for t in live if t.deployment_id == service.primary.id]
    old = [t for t in live if t.deployment_id != service.primary.id]
    healthy_now = sum(1 for t in live if healthy(t, needs_check=t.task_definition_arn in checked))
    stop = [*_old_tasks(service, old, healthy_now, now, picker, checked)]
    stop += _surplus(new, len(new) - service.desired_count, now, picker)
    return Plan(unhealthy, tuple(stop), _launches(service, new=len(new), live=len(live) - len(stop), now=now))


def _old_tasks(
    service: Service, old: list[Task], healthy_now: int, now: float, picker: Picker, checked: frozenset[str]
) -> list[Task]:
    """Choose tasks of older deployments to stop; service must keep its minimum of healthy tasks."""
    free = [t for t in old if not t.protected(now)]
    useless = [t for t in free if not healthy(t, needs_check=t.task_definition_arn in checked)]
    serving = [t for t in free if t not in useless]
    # A failed PRIMARY deployment replaces nothing any more: what still serves stays.
    if service.primary.rollout_state is RolloutState.FAILED:
        return _surplus(free, len(old) - service.desired_count, now, picker)
    minimum = math.ceil(service.desired_count * service.minimum_healthy_percent / 100)
    spare = max(0, healthy_now - minimum)
    return [*useless, *list(picker(serving))[:spare]]


def _surplus(tasks: list[Task], excess: int, now: float, picker: Picker) -> list[Task]:
    """Choose `excess` tasks to stop, never a protected one."""
    if excess <= 0:
        return []
    free = [t for t in tasks if not t.protected(now)]
    starting = sorted((t for t in free if t.status is not TaskStatus.RUNNING), key=lambda t: (-t.created_at, t.arn))
    running = [t for t in free if t.status is TaskStatus.RUNNING]
    return [*starting, *picker(running)][:excess]


def _launches(service: Service, *, new: int, live: int, now: float) -> int:
    """Count the tasks to launch."""
    if service.primary.rollout_state is RolloutState.FAILED or now < service.next_launch_at:
        return 0
    maximum = math.floor(service.desired_count * service.maximum_percent / 100)
    return max(0, min(service.desired_count - new, maximum - live))
