# SPDX-License-Identifier: Apache-2.0
"""How tasks of a service ended: which container, why, and what it printed last."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from openmwaa.operate.connection import Connection, aws_errors
from openmwaa.operate.errors import OperateError

_LINES: Final = 15
_MOST_TASKS: Final = 100
"""DescribeTasks takes so many; ECS keeps stopped tasks for an hour."""
_PREPARES: Final = "prepare-"
"""What the names of containers begin with that make something ready before a component starts."""


@dataclass(frozen=True)
class StoppedTask:
    """The last task that ended; `container` is the one that failed, None where ECS never started any."""

    service: str
    task: str
    reason: str
    times: int
    """How many tasks in a row ended by this container's failure."""
    container: str | None = None
    log_group: str | None = None
    log_stream: str | None = None

    @property
    def preparation(self) -> bool:
        """Whether what failed prepares something for the component and is not the component itself."""
        return self.container is not None and self.container.startswith(_PREPARES)

    def lines(self, connection: Connection) -> Sequence[str]:
        """Return the last lines that the container printed, or why they cannot be read."""
        if self.log_group is None or self.log_stream is None:
            return ["it has no log in CloudWatch"]
        try:
            with aws_errors(connection, "logs:GetLogEvents", f"the log group {self.log_group}"):
                answer = connection.client("logs").get_log_events(
                    logGroupName=self.log_group, logStreamName=self.log_stream, limit=_LINES, startFromHead=False
                )
        except OperateError as error:  # what failed is told without it
            return [str(error)]
        return [str(event["message"]).rstrip("\n") for event in answer["events"]] or ["nothing"]

    def command(self, connection: Connection) -> str:
        """Return the command that shows more of it."""
        if connection.local:
            return f"openmwaa local logs {self.service} --file {shlex.quote(str(connection.file))}"
        return (
            f"aws logs tail {self.log_group} --log-stream-names {self.log_stream} --since 1h "
            f"--region {connection.environment.region}"
        )

    def as_data(self) -> dict[str, Any]:
        """Return plain data for `--json`."""
        return {
            "task": self.task,
            "reason": self.reason,
            "times": self.times,
            "container": self.container,
            "log_group": self.log_group,
            "log_stream": self.log_stream,
        }


def last_stopped_task(connection: Connection, service: str, task_definition: str) -> StoppedTask | None:
    """Return how the last stopped task of `service` ended that ran `task_definition`, FAMILY:REVISION.

    Raises:
        OperateError: ECS cannot be asked.
    """
    ecs, cluster = connection.client("ecs"), connection.resource_name
    with aws_errors(connection, "ecs:ListTasks", f"the cluster {cluster}"):
        arns = ecs.list_tasks(cluster=cluster, serviceName=service, desiredStatus="STOPPED")["taskArns"]
    if not arns:
        return None
    with aws_errors(connection, "ecs:DescribeTasks", f"the cluster {cluster}"):
        tasks = ecs.describe_tasks(cluster=cluster, tasks=arns[:_MOST_TASKS])["tasks"]
    ours = [task for task in tasks if str(task["taskDefinitionArn"]).rpartition("/")[2] == task_definition]
    ours.sort(key=lambda task: task.get("stoppedAt") or datetime.min.replace(tzinfo=UTC), reverse=True)
    if not ours:
        return None
    failed = [_failed(task) for task in ours]
    name = failed[0]
    times = next((index for index, other in enumerate(failed) if other != name), len(failed))
    return _stop(connection, service, ours[0], name, times)


def _failed(task: Mapping[str, Any]) -> str | None:
    """Return the container that ended with an error: what prepares before what depends on it."""
    wrong = [each["name"] for each in task.get("containers", ()) if each.get("exitCode") not in (None, 0)]
    return next((name for name in wrong if name.startswith(_PREPARES)), wrong[0] if wrong else None)


def _stop(
    connection: Connection, service: str, task: Mapping[str, Any], container: str | None, times: int
) -> StoppedTask:
    task_id = str(task["taskArn"]).rpartition("/")[2]
    codes = {each["name"]: each.get("exitCode") for each in task.get("containers", ())}
    reason = str(task.get("stoppedReason") or "no reason given").rstrip(".")
    if container is None:
        return StoppedTask(service, task_id, reason, times)
    reason = f"{container} ended with exit code {codes[container]} ({reason})"
    group, prefix = _log(connection, str(task["taskDefinitionArn"]), container)
    stream = f"{prefix}/{container}/{task_id}" if prefix else None
    return StoppedTask(service, task_id, reason, times, container, group, stream)


def _log(connection: Connection, task_definition: str, container: str) -> tuple[str | None, str | None]:
    """Return the log group of a container, and what its streams begin with."""
    with aws_errors(connection, "ecs:DescribeTaskDefinition", f"the task definition {task_definition}"):
        answer = connection.client("ecs").describe_task_definition(taskDefinition=task_definition)
    for each in answer["taskDefinition"]["containerDefinitions"]:
        if each["name"] == container:
            options = each.get("logConfiguration", {}).get("options", {})
            return options.get("awslogs-group"), options.get("awslogs-stream-prefix")
    return None, None
