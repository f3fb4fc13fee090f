# SPDX-License-Identifier: Apache-2.0
"""The lifecycle of a task: created, launched, running, stopping, stopped, removed after an hour."""

from collections import Counter
from dataclasses import replace

from local_ecs.model import rollout
from local_ecs.model.effects import LaunchTask, StopTask
from local_ecs.model.records import EcsCluster, EcsService, EcsTask, HealthStatus, Shape, TaskDefinition, TaskStatus
from local_ecs.model.state import EcsState


def create(
    state: EcsState,
    cluster: EcsCluster,
    definition: TaskDefinition,
    *,
    service: EcsService | None = None,
    group: str = "",
    started_by: str = "",
    overrides: Shape | None = None,
    details: Shape | None = None,
    tags: dict[str, str] | None = None,
) -> EcsTask:
    """Create a task in PROVISIONING. With a service it belongs to the PRIMARY deployment."""
    task_id = state.ids.hex32()
    pending_at = state.now + state.settings.provisioning_s
    task = EcsTask(
        arn=state.arn(f"task/{cluster.name}/{task_id}"),
        id=task_id,
        cluster_arn=cluster.arn,
        task_definition_arn=definition.arn,
        group=f"service:{service.name}" if service else group or f"family:{definition.family}",
        started_by=service.primary.id if service else started_by,
        created_at=state.now,
        availability_zone=_emptiest_zone(state, service),
        pending_at=pending_at,
        launch_at=pending_at + state.settings.pending_s,
        service_key=service.key if service else None,
        deployment_id=service.primary.id if service else None,
        overrides=overrides or {},
        details=details or {},
        tags=tags or {},
    )
    state.put_task(task)
    state.agenda.schedule(("task", task.arn), task.pending_at)
    return task


def _emptiest_zone(state: EcsState, service: EcsService | None) -> str:
    zones = state.settings.zones
    if service is None:
        return zones[len(state.tasks) % len(zones)]
    used = Counter(t.availability_zone for t in state.tasks_of(service.key) if not t.stopping)
    return min(zones, key=lambda zone: (used[zone], zones.index(zone)))


def due(state: EcsState, arn: str) -> None:
    """Process everything that is due for a task and schedule the next time."""
    task = state.tasks.get(arn)
    if task is None:
        return
    if task.status is TaskStatus.STOPPED:
        if task.stopped_at is not None and state.now >= task.stopped_at + state.settings.stopped_retention_s:
            del state.tasks[arn]
            return
    elif task.status is TaskStatus.PROVISIONING and state.now >= task.pending_at:
        task = state.put_task(replace(task, status=TaskStatus.PENDING, version=task.version + 1))
    if task.status is TaskStatus.PENDING and not task.launched and state.now >= task.launch_at:
        _launch(state, task)
        task = state.tasks[arn]
    if task.protected_until is not None and state.now >= task.protected_until:
        task = state.put_task(replace(task, protected_until=None, version=task.version + 1))
        if task.service_key is not None:
            state.reconcile_soon(task.service_key)
    _schedule_next(state, task)


def _schedule_next(state: EcsState, task: EcsTask) -> None:
    times: list[float] = []
    if task.status is TaskStatus.STOPPED and task.stopped_at is not None:
        times.append(task.stopped_at + state.settings.stopped_retention_s)
    if task.status is TaskStatus.PROVISIONING:
        times.append(task.pending_at)
    if task.status is TaskStatus.PENDING and not task.launched and not _held(state, task):
        times.append(task.launch_at)
    if task.protected_until is not None:
        times.append(task.protected_until)
    if times:
        state.agenda.schedule(("task", task.arn), min(times))


def _fault_names(task: EcsTask) -> tuple[str, str]:
    family = task.task_definition_arn.rpartition("/")[2].partition(":")[0]
    return (task.service_key[1] if task.service_key else "", family)


def _held(state: EcsState, task: EcsTask) -> bool:
    return any(name in state.held for name in _fault_names(task))


def _launch(state: EcsState, task: EcsTask) -> None:
    """Launch a task's containers, unless a fault is injected."""
    if _held(state, task):
        return
    for name in _fault_names(task):
        if state.launch_failures.get(name, 0) > 0:
            state.launch_failures[name] -= 1
            stopped(state, task.arn, "TaskFailedToStart", "CannotPullContainerError: injected launch failure")
            return
    task = state.put_task(replace(task, launched=True))
    state.effects.append(LaunchTask(task))


def stop(state: EcsState, task: EcsTask, code: str, reason: str) -> EcsTask:
    """Stop a task. A task that was never launched is STOPPED at once."""
    if task.stopping or task.status is TaskStatus.STOPPED:
        return task
    task = replace(
        task,
        stopping=True,
        status=TaskStatus.STOPPING,
        protected_until=None,
        stopping_at=state.now,
        stop_code=code,
        stopped_reason=reason,
        version=task.version + 1,
    )
    state.put_task(task)
    if task.launched:
        state.effects.append(StopTask(task, reason))
    else:
        stopped(state, task.arn, code, reason)
    if task.service_key is not None:
        state.reconcile_soon(task.service_key)
    return state.tasks[task.arn]


def running(state: EcsState, arn: str) -> None:
    """Process the report that all containers of a task run."""
    task = state.tasks.get(arn)
    if task is None or task.stopping or task.status is not TaskStatus.PENDING:
        return  # the task was stopped before the report
    task = replace(task, status=TaskStatus.RUNNING, started_at=state.now, version=task.version + 1)
    state.put_task(task)
    if task.service_key is not None:
        rollout.note_running(state, task.service_key, task.deployment_id)
        state.reconcile_soon(task.service_key)


def health(state: EcsState, arn: str, reported: HealthStatus) -> None:
    """Process the report of a task's health."""
    task = state.tasks.get(arn)
    if task is None or task.stopping or task.status is TaskStatus.STOPPED or task.health is reported:
        return
    state.put_task(replace(task, health=reported, version=task.version + 1))
    if task.service_key is not None:
        state.reconcile_soon(task.service_key)


def stopped(state: EcsState, arn: str, code: str, reason: str) -> None:
    """Process the report of a task's end. If ECS stopped the task, its stopCode and reason stay."""
    task = state.tasks.get(arn)
    if task is None or task.status is TaskStatus.STOPPED:
        return
    unexpected = not task.stopping
    task = replace(
        task,
        stopping=True,
        status=TaskStatus.STOPPED,
        protected_until=None,
        stopping_at=task.stopping_at if task.stopping_at is not None else state.now,
        stopped_at=state.now,
        stop_code=code if unexpected else task.stop_code,
        stopped_reason=reason if unexpected else task.stopped_reason,
        version=task.version + 1,
    )
    state.put_task(task)
    _schedule_next(state, task)
    if task.service_key is None:
        return
    if unexpected and task.started_at is None:
        rollout.note_failed_launch(state, task.service_key)
        rollout.note_failed_task(state, task.service_key, task.deployment_id)
    state.reconcile_soon(task.service_key)
