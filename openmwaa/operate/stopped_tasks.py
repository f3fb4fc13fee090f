# SPDX-License-Identifier: Apache-2.0
"""Finds the last stopped task of a service: the failed container, the reason and the last log lines."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from openmwaa.operate.connection import Connection, aws_errors
from openmwaa.operate.errors import OperateError

_LINES: Final = 15
_MOST_TASKS: Final = 100
"""The limit of tasks per DescribeTasks call; ECS keeps stopped tasks for an hour."""
_PREPARATION: Final = "prepare-"
"""The prefix of containers that run before the component, such as prepare-database."""


@dataclass(frozen=True)
class StoppedTask:
    """The last stopped task; `container` is the failed one, None if ECS started none."""

    task: str
    reason: str
    times: int
    """The number of last tasks in a row with a failure of this container."""
    container: str | None = None
    log_group: str | None = None
    log_stream: str | None = None

    @property
    def preparation(self) -> bool:
        """Whether the failed container is a preparation and not the component itself."""
        return self.container is not None and self.container.startswith(_PREPARATION)

    def lines(self, connection: Connection) -> Sequence[str]:
        """Return the last log lines of the container, or why they cannot be read."""
        if self.log_group is None or self.log_stream is None:
            return ["(no log in CloudWatch)"]
        try:
            with aws_errors(connection, "logs:GetLogEvents", f"the log group {self.log_group}"):
                answer = connection.client("logs").get_log_events(
                    logGroupName=self.log_group, logStreamName=self.log_stream, limit=_LINES, startFromHead=False
                )
        except OperateError as error:  # the failure is reported without its log
            return [str(error)]
        return [str(event["message"]).rstrip("\n") for event in answer["events"]] or ["(the log is empty)"]

    def command(self, connection: Connection, service: str) -> str:
        """Return the command that shows the whole log."""
        if connection.local:
            return connection.command("local", "logs", service)
        return (
            f"aws logs tail {self.log_group} --log-stream-names {self.log_stream} --since 1h "
            f"--region {connection.environment.region}"
        )


def last_stopped_task(connection: Connection, service: str, task_definition: str) -> StoppedTask | None:
    """Return the last stopped task of `service` with `task_definition`, FAMILY:REVISION.

    Raises:
        OperateError: ECS refuses or does not answer.
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
    return _stopped_task(connection, ours[0], name, times)


def _failed(task: Mapping[str, Any]) -> str | None:
    """Return the container that ended with an error; a preparation comes first, since the others depend on it."""
    containers = task.get("containers", ())
    failed = [container["name"] for container in containers if container.get("exitCode") not in (None, 0)]
    return next((name for name in failed if name.startswith(_PREPARATION)), failed[0] if failed else None)


def _stopped_task(connection: Connection, task: Mapping[str, Any], container: str | None, times: int) -> StoppedTask:
    task_id = str(task["taskArn"]).rpartition("/")[2]
    codes = {entry["name"]: entry.get("exitCode") for entry in task.get("containers", ())}
    reason = str(task.get("stoppedReason") or "no reason given").rstrip(".")
    if container is None:
        return StoppedTask(task_id, reason, times)
    reason = f"{container} ended with exit code {codes[container]} ({reason})"
    group, prefix = _log(connection, str(task["taskDefinitionArn"]), container)
    stream = f"{prefix}/{container}/{task_id}" if prefix else None
    return StoppedTask(task_id, reason, times, container, group, stream)


def _log(connection: Connection, task_definition: str, container: str) -> tuple[str | None, str | None]:
    """Return the log group of a container, and the prefix of its streams."""
    with aws_errors(connection, "ecs:DescribeTaskDefinition", f"the task definition {task_definition}"):
        answer = connection.client("ecs").describe_task_definition(taskDefinition=task_definition)
    for definition in answer["taskDefinition"]["containerDefinitions"]:
        if definition["name"] == container:
            options = definition.get("logConfiguration", {}).get("options", {})
            return options.get("awslogs-group"), options.get("awslogs-stream-prefix")
    return None, None
