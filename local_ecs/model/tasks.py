# SPDX-License-Identifier: Apache-2.0
"""Operations on tasks and their scale-in protection."""

from collections.abc import Sequence
from dataclasses import replace

from local_ecs.model import lifecycle
from local_ecs.model.errors import invalid
from local_ecs.model.records import EcsCluster, EcsFailure, EcsTask, Shape, TaskStatus
from local_ecs.model.state import EcsState

RUN_LIMIT = 10
DESCRIBE_LIMIT = 100
PROTECT_LIMIT = 10
SHORTEST_MINUTES, LONGEST_MINUTES = 1, 2880


class Tasks:
    """RunTask, StopTask, ListTasks, DescribeTasks."""

    def __init__(self, state: EcsState) -> None:
        self._state = state

    def run(
        self,
        task_definition: str,
        *,
        cluster: str | None = None,
        count: int = 1,
        group: str = "",
        started_by: str = "",
        overrides: Shape | None = None,
        details: Shape | None = None,
        tags: dict[str, str] | None = None,
    ) -> list[EcsTask]:
        """Start up to 10 standalone tasks."""
        if not 1 <= count <= RUN_LIMIT:
            raise invalid(f"count must be between 1 and {RUN_LIMIT}.")
        state = self._state
        owner = state.cluster(cluster)
        definition = state.task_definition(task_definition, active=True)
        return [
            lifecycle.create(
                state,
                owner,
                definition,
                group=group,
                started_by=started_by,
                overrides=overrides,
                details=details,
                tags=tags,
            )
            for _ in range(count)
        ]

    def stop(self, task: str, *, cluster: str | None = None, reason: str | None = None) -> EcsTask:
        """Stop a task, protected or not."""
        found = self._state.task(self._state.cluster(cluster), task)
        if found is None:
            raise invalid("The referenced task was not found.")
        return lifecycle.stop(self._state, found, "UserInitiated", reason or "Task stopped by user")

    def describe(self, tasks: Sequence[str], *, cluster: str | None = None) -> tuple[list[EcsTask], list[EcsFailure]]:
        """Find up to 100 tasks by id or ARN."""
        owner = self._state.cluster(cluster)
        if not tasks:
            raise invalid("Tasks cannot be empty.")
        if len(tasks) > DESCRIBE_LIMIT:
            raise invalid(f"Tasks can have at most {DESCRIBE_LIMIT} entries.")
        return _find(self._state, owner, tasks)

    def all(
        self,
        *,
        cluster: str | None = None,
        service: str | None = None,
        family: str | None = None,
        started_by: str | None = None,
        desired_status: str = "RUNNING",
    ) -> list[EcsTask]:
        """List tasks by desiredStatus, as ListTasks does."""
        owner = self._state.cluster(cluster)
        if service is not None:
            service = self._state.service(cluster, service).name
        return [
            t
            for t in self._state.tasks.values()
            if t.cluster_arn == owner.arn
            and t.desired_status == desired_status
            and (service is None or t.service_key == (owner.arn, service))
            and (family is None or t.task_definition_arn.rpartition("/")[2].partition(":")[0] == family)
            and started_by in {None, t.started_by}
        ]


class Protection:
    """UpdateTaskProtection and GetTaskProtection."""

    def __init__(self, state: EcsState) -> None:
        self._state = state

    def get(self, tasks: Sequence[str], *, cluster: str | None = None) -> tuple[list[EcsTask], list[EcsFailure]]:
        """Read the protection of up to 100 tasks. Standalone tasks are failures."""
        owner = self._state.cluster(cluster)
        if not tasks:
            raise invalid("Tasks cannot be empty.")
        if len(tasks) > DESCRIBE_LIMIT:
            raise invalid(f"Tasks can have at most {DESCRIBE_LIMIT} entries.")
        found, failures = _find(self._state, owner, tasks)
        bad = {t.arn: f for t in found if (f := _protection_failure(t)) is not None}
        return [t for t in found if t.arn not in bad], [*failures, *bad.values()]

    def update(
        self, tasks: Sequence[str], *, enabled: bool, minutes: int | None = None, cluster: str | None = None
    ) -> tuple[list[EcsTask], list[EcsFailure]]:
        """Set, renew or clear the protection of up to 10 tasks.

        ECS refuses to set or renew it (DEPLOYMENT_BLOCKED) if more tasks than desiredCount would be protected.
        """
        owner = self._state.cluster(cluster)
        if not 0 < len(tasks) <= PROTECT_LIMIT:
            raise invalid(f"Tasks must have between 1 and {PROTECT_LIMIT} entries.")
        minutes = self._state.settings.default_protection_minutes if minutes is None else minutes
        if enabled and not SHORTEST_MINUTES <= minutes <= LONGEST_MINUTES:
            raise invalid(f"expiresInMinutes must be between {SHORTEST_MINUTES} and {LONGEST_MINUTES}.")
        found, failures = _find(self._state, owner, tasks)
        done: list[EcsTask] = []
        for task in found:
            failure = _protection_failure(task) or (self._blocked(task) if enabled else None)
            if failure is None:
                done.append(self._set(task, self._state.now + 60 * minutes if enabled else None))
            else:
                failures.append(failure)
        return done, failures

    def _blocked(self, task: EcsTask) -> EcsFailure | None:
        if task.service_key is None:
            return None
        service = self._state.services[task.service_key]
        protected = {t.arn for t in self._state.tasks_of(service.key) if t.protected(self._state.now)} | {task.arn}
        if len(protected) <= service.desired_count:
            return None
        detail = f"{len(protected)} tasks would be protected, but the desired count is {service.desired_count}."
        return EcsFailure(task.arn, "DEPLOYMENT_BLOCKED", f"Task protection would block the deployment: {detail}")

    def _set(self, task: EcsTask, until: float | None) -> EcsTask:
        was = task.protected_until
        task = self._state.put_task(replace(task, protected_until=until, version=task.version + 1))
        if until is not None:
            self._state.agenda.schedule(("task", task.arn), until)
        elif was is not None and task.service_key is not None:
            self._state.reconcile_soon(task.service_key)
        return task


def _find(state: EcsState, owner: EcsCluster, tasks: Sequence[str]) -> tuple[list[EcsTask], list[EcsFailure]]:
    found: list[EcsTask] = []
    failures: list[EcsFailure] = []
    for name in dict.fromkeys(tasks):
        task = state.task(owner, name)
        if task is None:
            failures.append(EcsFailure(state.arn(f"task/{owner.name}/{name.rpartition('/')[2]}"), "MISSING"))
        else:
            found.append(task)
    return found, failures


def _protection_failure(task: EcsTask) -> EcsFailure | None:
    """Return the failure for a task without protection: a standalone task or one that does not run.

    A container can call the agent as soon as it runs, when its task is still PENDING in ECS. So a launched task is
    valid.
    """
    if task.service_key is None:
        return EcsFailure(task.arn, "TASK_NOT_VALID", "The specified task is not part of an Amazon ECS service.")
    if task.stopping or not (task.launched or task.status is TaskStatus.RUNNING):
        return EcsFailure(task.arn, "TASK_NOT_VALID", f"The specified task is {task.status}.")
    return None
