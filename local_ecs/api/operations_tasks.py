# SPDX-License-Identifier: Apache-2.0
"""Operations on tasks and their protection."""

from datetime import UTC, datetime

from local_ecs.api import shapes
from local_ecs.api.backend import Backend, Json, Operation, page
from local_ecs.model import EcsFailure, EcsTask

RUN_DETAILS = ("capacityProviderStrategy", "launchType", "networkConfiguration", "platformVersion")


def _run(backend: Backend, request: Json, caller: str) -> Json:
    tasks = backend.model.tasks.run(
        request["taskDefinition"],
        cluster=request.get("cluster"),
        count=request.get("count", 1),
        group=request.get("group", ""),
        started_by=request.get("startedBy", ""),
        overrides=request.get("overrides"),
        details={k: request[k] for k in RUN_DETAILS if request.get(k)},
        tags=shapes.tag_map(request.get("tags", ())),
    )
    backend.journal.add("RunTask", tasks=[t.arn for t in tasks], caller=caller)
    return {"tasks": [backend.task(t, tags=True) for t in tasks], "failures": []}


def _stop(backend: Backend, request: Json, caller: str) -> Json:
    task = backend.model.tasks.stop(request["task"], cluster=request.get("cluster"), reason=request.get("reason"))
    backend.journal.add("StopTask", task=task.arn, group=task.group, caller=caller)
    return {"task": backend.task(task)}


def _list(backend: Backend, request: Json, _caller: str) -> Json:
    found = backend.model.tasks.all(
        cluster=request.get("cluster"),
        service=request.get("serviceName"),
        family=request.get("family"),
        started_by=request.get("startedBy"),
        desired_status="STOPPED" if request.get("desiredStatus") == "STOPPED" else "RUNNING",
    )
    return page("taskArns", [t.arn for t in found], request)


def _describe(backend: Backend, request: Json, _caller: str) -> Json:
    found, failures = backend.model.tasks.describe(request["tasks"], cluster=request.get("cluster"))
    tags = "TAGS" in request.get("include", ())
    return shapes.found("tasks", (backend.task(t, tags=tags) for t in found), failures)


def _get_protection(backend: Backend, request: Json, _caller: str) -> Json:
    found, failures = backend.model.protection.get(request.get("tasks", ()), cluster=request["cluster"])
    return shapes.found("protectedTasks", map(_protected, found), failures)


def _update_protection(backend: Backend, request: Json, caller: str) -> Json:
    done, failures = change_protection(
        backend,
        request["tasks"],
        cluster=request["cluster"],
        enabled=request["protectionEnabled"],
        minutes=request.get("expiresInMinutes"),
        by=caller,
    )
    return shapes.found("protectedTasks", map(_protected, done), failures)


OPERATIONS: dict[str, Operation] = {
    "DescribeTasks": _describe,
    "ListTasks": _list,
    "RunTask": _run,
    "StopTask": _stop,
    "GetTaskProtection": _get_protection,
    "UpdateTaskProtection": _update_protection,
}


def change_protection(
    backend: Backend, tasks: list[str], *, cluster: str, enabled: bool, minutes: int | None, by: str
) -> tuple[list[EcsTask], list[EcsFailure]]:
    """Set, renew or clear the protection of tasks, and add the result of every task to the journal."""
    done, failures = backend.model.protection.update(tasks, enabled=enabled, minutes=minutes, cluster=cluster)
    changed = [(task.arn, task.protected_until, None) for task in done]
    for arn, until, refused in (*changed, *((failure.arn, None, failure.reason) for failure in failures)):
        task = backend.model.task(arn)
        group = task.group if task else ""
        backend.journal.add("Protection", task=arn, group=group, enabled=enabled, until=until, refused=refused, by=by)
    return done, failures


def _protected(task: EcsTask) -> Json:
    shape: Json = {"taskArn": task.arn, "protectionEnabled": task.protected_until is not None}
    return shape | ({} if task.protected_until is None else {"expirationDate": task.protected_until})


def rfc3339(at: float) -> str:
    """Return a time in the agent's format: UTC, whole seconds, rounded down so that it is never too late."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
