# SPDX-License-Identifier: Apache-2.0
"""ECS: services, tasks, protection, and the scaler's two writes.

Fleets that tick at the same time share calls: DescribeServices in tens, DescribeTasks and GetTaskProtection in
hundreds, and one list of the whole cluster's tasks if that takes fewer pages than one list a service. ListTasks and
DescribeTasks share a quota of 20 calls a second in an account and region (burst 100); DescribeServices has its own
quota of the same size.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from scaler.adapters.aws import aws_call
from scaler.adapters.batching import WINDOW_S, Answers, Batcher
from scaler.adapters.deadline import calling, natural
from scaler.core.model import Deployment, Service, Task
from scaler.errors import AbsentError, BadAnswerError, SourceError

T = TypeVar("T")

SOURCE = "ecs"
SERVICES = 10
"""The limit of services in one DescribeServices call."""
TASKS = 100
"""The limit of tasks in one DescribeTasks or GetTaskProtection call, and in a page of ListTasks."""
PAGES = 50
"""A service has at most 5 000 tasks, 100 a page; a longer list is an endless loop."""
CLUSTER_PAGES = 10
"""Pages come one after the other, about 60 ms each: more would use up the deadline."""
GROUPS = 20_000
"""The limit of tasks whose service is remembered; a few megabytes."""
UNREAD = {
    "DescribeServices": ("services", ("events", "networkConfiguration", "loadBalancers")),
    "DescribeTasks": ("tasks", ("containers", "overrides", "attributes")),
}
"""Fields that the parser skips: the dates in a service's last hundred events took a third of the CPU time."""
LIST_EVERY = 12
"""The limit of ticks in a row without a list of the service's tasks."""
LIVING = frozenset({"PROVISIONING", "PENDING", "ACTIVATING", "RUNNING"})
RETRY_AFTER_FAILURE = 5
"""After a failed list of the cluster, this many rounds use one list a service."""
RETRY_CLUSTER_LIST = 60
"""After this many rounds with one list a service, try the list of the cluster again."""


@dataclass(slots=True)
class _Listed:
    """The last list of a service's tasks, and how often it was used since."""

    arns: tuple[str, ...]
    used: int = 0


class EcsClusterAdapter:
    """The port `ClusterPort`."""

    def __init__(
        self,
        client: Any,
        cluster: str,
        *,
        deadline_s: float = 2.0,
        window_s: float = WINDOW_S,
        wall: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        _skip_unread(client)
        self._wall = wall
        self._client = client
        self._cluster = cluster
        self._deadline_s = deadline_s
        self._services: Batcher[str, Service] = Batcher(
            SOURCE, self._describe_services, size=SERVICES, window_s=window_s
        )
        self._tasks: Batcher[str, Task] = Batcher(SOURCE, self._describe_tasks, size=TASKS, window_s=window_s)
        self._protection: Batcher[str, datetime | None] = Batcher(
            SOURCE, self._get_protection, size=TASKS, window_s=window_s
        )
        self._lists: Batcher[str, tuple[str, ...] | None] = Batcher(
            SOURCE, self._list_cluster, size=PAGES * TASKS, window_s=window_s
        )
        self._groups: dict[str, str] = {}
        """Task ARN to its service, from the cluster's last list; the service of a task never changes."""
        self._pages = 0
        """Pages of the cluster's last list."""
        self._skipped = 0
        self._rounds_to_skip = 0
        self._last: dict[str, _Listed] = {}

    async def service(self, name: str) -> Service:
        """Return the service from DescribeServices."""
        async with calling(SOURCE, self._deadline_s):
            return await self._services.get(name)

    async def tasks(self, service: str) -> tuple[Task, ...]:
        """Return the tasks of the service whose desired status is RUNNING, in any current status."""
        async with calling(SOURCE, self._deadline_s):
            found = await self._unchanged(service)
            if found is None:
                listed = await self._lists.get(service)
                arns = await self._list(serviceName=service) if listed is None else listed
                if arns is None:
                    raise BadAnswerError(SOURCE, f"the list of tasks does not end after {PAGES} pages")
                found = await self._tasks.get_all(arns)
                self._last[service] = _Listed(tuple(arns))
        return tuple(sorted(found, key=lambda task: task.arn))

    async def _unchanged(self, service: str) -> list[Task] | None:
        """Return the tasks of the last list if they are provably all tasks; None: list them again.

        DescribeServices counts the service's tasks, and every tick calls it anyway. If all tasks of the last list live
        and their number equals that count, there is no other task.
        """
        last = self._last.get(service)
        if last is None or last.used >= LIST_EVERY:
            return None
        number = len(last.arns)
        try:
            counted = await self._services.get(service)
            if not number == counted.running + counted.pending == counted.desired:
                return None
            found = await self._tasks.get_all(last.arns)
        except SourceError:
            return None
        if number != sum(1 for task in found if task.desired_status == "RUNNING" and task.last_status in LIVING):
            return None
        last.used += 1
        return found

    async def protected(self, arns: Sequence[str], *, for_s: float = 0.0) -> frozenset[str]:
        """Return those of the tasks that ECS protects, and whose protection ends in `for_s` seconds or later."""
        async with calling(SOURCE, self._deadline_s):
            found = await self._protection.get_all(arns)
        ends = self._wall() + timedelta(seconds=for_s)
        # Without `for_s` only ECS's own answer counts: the clocks may differ.
        return frozenset(
            arn for arn, until in zip(arns, found, strict=True) if until is not None and (not for_s or until >= ends)
        )

    async def set_desired(self, service: str, desired: int) -> None:
        """Write the desired count; ECS does not start a deployment for it."""
        async with aws_call(SOURCE, self._deadline_s):
            await self._client.update_service(cluster=self._cluster, service=service, desiredCount=desired)

    async def stop(self, arn: str, reason: str) -> None:
        """Stop one task; ECS sends SIGTERM, and its service starts another one."""
        async with aws_call(SOURCE, self._deadline_s):
            await self._client.stop_task(cluster=self._cluster, task=arn, reason=reason)

    async def _describe_services(self, names: Sequence[str]) -> Answers[str, Service]:
        async with aws_call(SOURCE, self._deadline_s):
            answer = await self._client.describe_services(cluster=self._cluster, services=list(names))
            failed = _failures(answer, names)
            described = {service["serviceName"]: service for service in answer["services"]}
            return {**{name: _named(name, described.get(name)) for name in names}, **failed}

    async def _describe_tasks(self, arns: Sequence[str]) -> Answers[str, Task]:
        async with aws_call(SOURCE, self._deadline_s):
            answer = await self._client.describe_tasks(cluster=self._cluster, tasks=list(arns))
            found: dict[str, Task | SourceError] = {**_failures(answer, arns)}
            for task in answer["tasks"]:
                self._groups[task["taskArn"]] = task.get("group", "")
                found[task["taskArn"]] = _checked(_task, task)
            return _complete(found, arns, "not described")

    async def _get_protection(self, arns: Sequence[str]) -> Answers[str, datetime | None]:
        async with aws_call(SOURCE, self._deadline_s):
            answer = await self._client.get_task_protection(cluster=self._cluster, tasks=list(arns))
            protected = {task["taskArn"]: _protected_until(task) for task in answer["protectedTasks"]}
            return _complete(
                {**protected, **_failures(answer, arns)}, arns, "missing in the answer of GetTaskProtection"
            )

    async def _list_cluster(self, services: Sequence[str]) -> Answers[str, tuple[str, ...] | None]:
        """Return the tasks of each service from one list of the cluster; None: a list a service is cheaper."""
        alone: Answers[str, tuple[str, ...] | None] = dict.fromkeys(services)
        if len(self._groups) > GROUPS:
            self._groups.clear()
        most = min(CLUSTER_PAGES, len(services) - 1)
        if most < 1 or self._rounds_to_skip > 0 or (self._pages > most and self._skipped < RETRY_CLUSTER_LIST):
            self._rounds_to_skip -= 1
            self._skipped += 1
            return alone
        self._skipped = 0
        try:
            async with asyncio.timeout(self._deadline_s / 2):
                arns = await self._list(most)
                if arns is None:
                    self._pages = most + 1
                    return alone
                await self._tasks.get_all([arn for arn in arns if arn not in self._groups])
        except (SourceError, TimeoutError):
            self._rounds_to_skip = RETRY_AFTER_FAILURE
            return alone
        self._pages = 1 + len(arns) // TASKS
        self._groups = {arn: self._groups[arn] for arn in arns}
        return {
            name: tuple(arn for arn, group in self._groups.items() if group == f"service:{name}") for name in services
        }

    async def _list(self, pages: int = PAGES, **which: str) -> list[str] | None:
        """Return the tasks with desired status RUNNING; None: the list has more than `pages` pages."""
        arns: list[str] = []
        more: dict[str, str] = {}
        for _ in range(pages):
            async with aws_call(SOURCE, self._deadline_s):
                answer = await self._client.list_tasks(cluster=self._cluster, desiredStatus="RUNNING", **which, **more)
                arns += answer["taskArns"]
            if not answer.get("nextToken"):
                return sorted(set(arns))
            more = {"nextToken": answer["nextToken"]}
        return None


def _skip_unread(client: Any) -> None:
    """Make botocore's parser skip the fields that the scaler does not read."""
    for operation, (items, names) in UNREAD.items():
        # botocore keeps these objects; it does not parse a field that is not a member.
        item = client.meta.service_model.operation_model(operation).output_shape.members[items].member
        for name in names:
            item.members.pop(name, None)


def _failures(answer: Mapping[str, Any], keys: Sequence[str]) -> dict[str, SourceError]:
    """Return the error of each key in the answer's `failures`; a failure without a known key concerns all keys."""
    failed: dict[str, SourceError] = {}
    for failure in answer.get("failures") or []:
        reason = " ".join(str(failure.get(key)) for key in ("arn", "reason", "detail") if failure.get(key))
        arn = str(failure.get("arn") or "")
        # The request has the name of a service, the failure its ARN.
        concerned = [key for key in keys if arn in (key, key.rsplit("/", 1)[-1]) or arn.rsplit("/", 1)[-1] == key]
        kind = AbsentError if concerned and failure.get("reason") == "MISSING" else SourceError
        failed |= dict.fromkeys(concerned or keys, kind(SOURCE, f"failure in the answer: {reason}"))
    return failed


def _complete(found: Mapping[str, T | SourceError], keys: Sequence[str], what: str) -> Answers[str, T]:
    missing = [key for key in keys if key not in found]
    error = BadAnswerError(SOURCE, f"{len(missing)} of {len(keys)} tasks were {what}")
    return {**found, **dict.fromkeys(missing, error)}


def _checked(read: Callable[[Mapping[str, Any]], T], answer: Mapping[str, Any]) -> T | SourceError:
    """Parse one item; an error in it affects no other item."""
    try:
        return read(answer)
    except SourceError as error:
        return error
    except (KeyError, TypeError) as error:
        return BadAnswerError(SOURCE, f"unexpected answer: {type(error).__name__} {error}")


def _protected_until(answer: Mapping[str, Any]) -> datetime | None:
    """Return the end of a task's protection; None: it has none."""
    if answer["protectionEnabled"] is not True:
        return None
    end: datetime = answer.get("expirationDate") or datetime.max.replace(tzinfo=UTC)
    return end


def _named(name: str, answer: Mapping[str, Any] | None) -> Service | SourceError:
    if answer is None:
        return BadAnswerError(SOURCE, f"service {name} is not in the answer")
    if (status := answer.get("status")) != "ACTIVE":
        kind = AbsentError if status == "INACTIVE" else BadAnswerError
        return kind(SOURCE, f"service {name} is {status}")
    return _checked(_service, answer)


def _service(answer: Mapping[str, Any]) -> Service:
    return Service(
        desired=natural(SOURCE, "desiredCount", answer["desiredCount"]),
        running=natural(SOURCE, "runningCount", answer["runningCount"]),
        pending=natural(SOURCE, "pendingCount", answer["pendingCount"]),
        deployments=tuple(
            Deployment(deployment["status"], deployment.get("taskDefinition", ""), deployment.get("rolloutState", ""))
            for deployment in answer.get("deployments", [])
        ),
    )


def _task(answer: Mapping[str, Any]) -> Task:
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
