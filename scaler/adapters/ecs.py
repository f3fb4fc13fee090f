# SPDX-License-Identifier: Apache-2.0
"""ECS: services, tasks, protection, and the one write the scaler makes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from scaler.adapters.aws import aws_call, no_failures
from scaler.adapters.deadline import natural
from scaler.core.model import Deployment, Service, Task
from scaler.errors import BadAnswerError

SOURCE = "ecs"
BATCH = 100
"""DescribeTasks and GetTaskProtection take so many tasks a call."""
PAGES = 50
"""A service has at most 5 000 tasks, 100 a page; a list that goes on is a loop."""


class Ecs:
    """The port `Cluster`."""

    def __init__(self, client: Any, cluster: str, *, deadline_s: float = 2.0) -> None:
        self._client = client
        self._cluster = cluster
        self._deadline_s = deadline_s

    async def service(self, name: str) -> Service:
        """Return the service as DescribeServices tells it."""
        async with aws_call(SOURCE, self._deadline_s):
            answer = await self._client.describe_services(cluster=self._cluster, services=[name])
            no_failures(SOURCE, answer)
            found = [each for each in answer["services"] if each["serviceName"] == name]
            if len(found) != 1 or found[0]["status"] != "ACTIVE":
                raise BadAnswerError(SOURCE, f"service {name} is {found[0]['status'] if found else 'absent'}")
            return _service(found[0])

    async def tasks(self, service: str) -> tuple[Task, ...]:
        """Return the tasks of the service whose desired status is RUNNING, whatever they do now."""
        async with aws_call(SOURCE, self._deadline_s):
            arns = await self._list(service)
            found: list[Task] = []
            for batch in _batches(arns):
                answer = await self._client.describe_tasks(cluster=self._cluster, tasks=batch)
                no_failures(SOURCE, answer)
                found += [_task(each) for each in answer["tasks"]]
            missing = set(arns) - {task.arn for task in found}
            if missing:
                raise BadAnswerError(SOURCE, f"{len(missing)} of {len(arns)} tasks were not described")
            return tuple(sorted(found, key=lambda task: task.arn))

    async def protected(self, arns: Sequence[str]) -> frozenset[str]:
        """Return those of the tasks that are protected; every task must be answered for."""
        async with aws_call(SOURCE, self._deadline_s):
            found: dict[str, bool] = {}
            for batch in _batches(arns):
                answer = await self._client.get_task_protection(cluster=self._cluster, tasks=batch)
                no_failures(SOURCE, answer)
                found |= {each["taskArn"]: each["protectionEnabled"] is True for each in answer["protectedTasks"]}
            if set(found) != set(arns):
                raise BadAnswerError(SOURCE, f"protection of {len(set(arns) ^ set(found))} tasks was not answered")
            return frozenset(arn for arn, protected in found.items() if protected)

    async def set_desired(self, service: str, desired: int) -> None:
        """Write the desired count; ECS starts no deployment for it."""
        async with aws_call(SOURCE, self._deadline_s):
            await self._client.update_service(cluster=self._cluster, service=service, desiredCount=desired)

    async def _list(self, service: str) -> list[str]:
        arns: list[str] = []
        more: dict[str, str] = {}
        for _ in range(PAGES):
            answer = await self._client.list_tasks(
                cluster=self._cluster, serviceName=service, desiredStatus="RUNNING", **more
            )
            arns += answer["taskArns"]
            if not answer.get("nextToken"):
                return sorted(set(arns))
            more = {"nextToken": answer["nextToken"]}
        raise BadAnswerError(SOURCE, f"the list of tasks does not end after {PAGES} pages")


def _batches(arns: Sequence[str]) -> Iterator[list[str]]:
    for start in range(0, len(arns), BATCH):
        yield list(arns[start : start + BATCH])


def _service(answer: dict[str, Any]) -> Service:
    return Service(
        desired=natural(SOURCE, "desiredCount", answer["desiredCount"]),
        running=natural(SOURCE, "runningCount", answer["runningCount"]),
        pending=natural(SOURCE, "pendingCount", answer["pendingCount"]),
        deployments=tuple(
            Deployment(each["status"], each.get("taskDefinition", ""), each.get("rolloutState", ""))
            for each in answer.get("deployments", [])
        ),
    )


def _task(answer: dict[str, Any]) -> Task:
    address = next(
        (
            detail["value"]
            for attachment in answer.get("attachments", [])
            for detail in attachment.get("details", [])
            if detail.get("name") == "privateIPv4Address"
        ),
        None,
    )
    return Task(
        arn=answer["taskArn"],
        last_status=answer["lastStatus"],
        desired_status=answer["desiredStatus"],
        address=address,
        task_definition=answer.get("taskDefinitionArn", ""),
    )
