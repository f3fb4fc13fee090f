# SPDX-License-Identifier: Apache-2.0
"""Operations on tasks and their protection."""

from datetime import UTC, datetime
from typing import Any

from local_ecs.api import shapes
from local_ecs.api.backend import Backend, page
from local_ecs.api.protocol import Caller, Handlers
from local_ecs.model import EcsFailure, EcsTask

Json = dict[str, Any]
RUN_DETAILS = ("capacityProviderStrategy", "launchType", "networkConfiguration", "platformVersion")


class TaskOperations:
    """RunTask, StopTask, ListTasks, DescribeTasks."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._model = backend.model

    @property
    def handlers(self) -> Handlers:
        """The operations by name."""
        return {
            "DescribeTasks": self.describe,
            "ListTasks": self.list,
            "RunTask": self.run,
            "StopTask": self.stop,
        }

    def run(self, request: Json, caller: Caller) -> Json:
        """Start standalone tasks."""
        tasks = self._model.tasks.run(
            request["taskDefinition"],
            cluster=request.get("cluster"),
            count=request.get("count", 1),
            group=request.get("group", ""),
            started_by=request.get("startedBy", ""),
            overrides=request.get("overrides"),
            details={k: request[k] for k in RUN_DETAILS if request.get(k)},
            tags=shapes.tag_map(request.get("tags", ())),
        )
        self._backend.journal.add("RunTask", tasks=[t.arn for t in tasks], caller=caller.name)
        return {"tasks": [self._backend.task(t, tags=True) for t in tasks], "failures": []}

    def stop(self, request: Json, caller: Caller) -> Json:
        """Stop a task, protected or not."""
        task = self._model.tasks.stop(request["task"], cluster=request.get("cluster"), reason=request.get("reason"))
        self._backend.journal.add("StopTask", task=task.arn, group=task.group, caller=caller.name)
        return {"task": self._backend.task(task)}

    def list(self, request: Json, _caller: Caller) -> Json:
        """List tasks by desiredStatus (RUNNING by default), service, family or startedBy."""
        found = self._model.tasks.all(
            cluster=request.get("cluster"),
            service=request.get("serviceName"),
            family=request.get("family"),
            started_by=request.get("startedBy"),
            desired_status="STOPPED" if request.get("desiredStatus") == "STOPPED" else "RUNNING",
        )
        arns, rest = page([t.arn for t in found], request)
        return {"taskArns": arns, **rest}

    def describe(self, request: Json, _caller: Caller) -> Json:
        """Describe up to 100 tasks."""
        found, failures = self._model.tasks.describe(request["tasks"], cluster=request.get("cluster"))
        tags = "TAGS" in request.get("include", ())
        return shapes.found("tasks", (self._backend.task(t, tags=tags) for t in found), failures)


class ProtectionOperations:
    """UpdateTaskProtection and GetTaskProtection, also for the agent endpoint."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._model = backend.model

    @property
    def handlers(self) -> Handlers:
        """The operations by name."""
        return {"GetTaskProtection": self.get, "UpdateTaskProtection": self.update}

    def get(self, request: Json, _caller: Caller) -> Json:
        """Read the protection of tasks."""
        found, failures = self._model.protection.get(request.get("tasks", ()), cluster=request["cluster"])
        return shapes.found("protectedTasks", map(_protected, found), failures)

    def update(self, request: Json, caller: Caller) -> Json:
        """Set, renew or clear the protection of tasks."""
        done, failures = self.change(
            request["tasks"],
            cluster=request["cluster"],
            enabled=request["protectionEnabled"],
            minutes=request.get("expiresInMinutes"),
            by=caller.name,
        )
        return shapes.found("protectedTasks", map(_protected, done), failures)

    def change(
        self, tasks: list[str], *, cluster: str, enabled: bool, minutes: int | None, by: str
    ) -> tuple[list[EcsTask], list[EcsFailure]]:
        """Change the protection and add the result of every task to the journal."""
        done, failures = self._model.protection.update(tasks, enabled=enabled, minutes=minutes, cluster=cluster)
        changed = [(task.arn, task.protected_until, None) for task in done]
        for arn, until, refused in (*changed, *((failure.arn, None, failure.reason) for failure in failures)):
            task = self._model.task(arn)
            group = task.group if task else ""
            self._backend.journal.add(
                "Protection", task=arn, group=group, enabled=enabled, until=until, refused=refused, by=by
            )
        return done, failures


def _protected(task: EcsTask) -> Json:
    shape: Json = {"taskArn": task.arn, "protectionEnabled": task.protected_until is not None}
    return shape | ({} if task.protected_until is None else {"expirationDate": task.protected_until})


def rfc3339(at: float) -> str:
    """Return a time in the agent's format: UTC, whole seconds, rounded down so that it is never too late."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
