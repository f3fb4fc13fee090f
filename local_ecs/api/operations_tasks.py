# SPDX-License-Identifier: Apache-2.0
"""Operations on tasks and their protection."""

from datetime import UTC, datetime

from local_ecs.api import shapes
from local_ecs.api.driver import Driver, Operation
from local_ecs.api.shapes import Json, page
from local_ecs.model import EcsFailure, EcsTask

RUN_DETAILS = ("capacityProviderStrategy", "launchType", "networkConfiguration", "platformVersion")


def _run(driver: Driver, request: Json, caller: str) -> Json:
    tasks = driver.model.tasks.run(
        request["taskDefinition"],
        cluster=request.get("cluster"),
        count=request.get("count", 1),
        group=request.get("group", ""),
        started_by=request.get("startedBy", ""),
        overrides=request.get("overrides"),
        details={k: request[k] for k in RUN_DETAILS if request.get(k)},
        tags=shapes.tag_map(request.get("tags", ())),
    )
    driver.journal.add("RunTask", tasks=[t.arn for t in tasks], caller=caller)
    return {"tasks": [driver.task_shape(t, tags=True) for t in tasks], "failures": []}


def _stop(driver: Driver, request: Json, caller: str) -> Json:
    task = driver.model.tasks.stop(request["task"], cluster=request.get("cluster"), reason=request.get("reason"))
    driver.journal.add("StopTask", task=task.arn, group=task.group, caller=caller)
    return {"task": driver.task_shape(task)}


def _list(driver: Driver, request: Json, _caller: str) -> Json:
    found = driver.model.tasks.all(
        cluster=request.get("cluster"),
        service=request.get("serviceName"),
        family=request.get("family"),
        started_by=request.get("startedBy"),
        desired_status="STOPPED" if request.get("desiredStatus") == "STOPPED" else "RUNNING",
    )
    return page("taskArns", [t.arn for t in found], request)


def _describe(driver: Driver, request: Json, _caller: str) -> Json:
    found, failures = driver.model.tasks.describe(request["tasks"], cluster=request.get("cluster"))
    tags = "TAGS" in request.get("include", ())
    return shapes.found("tasks", (driver.task_shape(t, tags=tags) for t in found), failures)


def _get_protection(driver: Driver, request: Json, _caller: str) -> Json:
    found, failures = driver.model.protection.get(request.get("tasks", ()), cluster=request["cluster"])
    return shapes.found("protectedTasks", map(_protected, found), failures)


def _update_protection(driver: Driver, request: Json, caller: str) -> Json:
    done, failures = change_protection(
        driver,
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
    driver: Driver, tasks: list[str], *, cluster: str, enabled: bool, minutes: int | None, by: str
) -> tuple[list[EcsTask], list[EcsFailure]]:
    """Set, renew or clear the protection of tasks, and add the result of every task to the journal."""
    done, failures = driver.model.protection.update(tasks, enabled=enabled, minutes=minutes, cluster=cluster)
    changed = [(task.arn, task.protected_until, None) for task in done]
    for arn, until, refused in (*changed, *((failure.arn, None, failure.reason) for failure in failures)):
        task = driver.model.task(arn)
        group = task.group if task else ""
        driver.journal.add("Protection", task=arn, group=group, enabled=enabled, until=until, refused=refused, by=by)
    return done, failures


def _protected(task: EcsTask) -> Json:
    shape: Json = {"taskArn": task.arn, "protectionEnabled": task.protected_until is not None}
    return shape | ({} if task.protected_until is None else {"expirationDate": task.protected_until})


def rfc3339(at: float) -> str:
    """Return a time in the agent's format: UTC, whole seconds, rounded down so that it is never too late."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
