# SPDX-License-Identifier: Apache-2.0
"""A fake of boto's ECS client for the simulated cluster, with answers in the shapes of the API."""

import asyncio
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from botocore.exceptions import ClientError
from botocore.session import get_session

from local_ecs.model import EcsError
from simulation.fake_ecs import CLUSTER, FakeEcs


@cache
def _meta() -> Any:
    """Return boto's metadata of ECS's operations, whose shapes the adapter reads."""
    client = get_session().create_client(
        "ecs", region_name="us-east-1", aws_access_key_id="none", aws_secret_access_key="none"
    )
    return client.meta


class ModelClient:
    """The five operations that the adapter uses."""

    def __init__(self, fake_ecs: FakeEcs) -> None:
        self._fake_ecs = fake_ecs
        self.meta = _meta()
        self.failing: dict[str, Callable[[Sequence[str]], Sequence[str]]] = {}
        """Operation -> the requested names that the response lists in `failures`, with HTTP 200."""
        self.bend: dict[str, Callable[[dict[str, Any]], None]] = {}
        """Operation -> what spoils its answer."""

    async def describe_services(self, *, cluster: str, services: Sequence[str]) -> dict[str, Any]:
        bad = self._bad("describe_services", services)
        found, missing = self._fake_ecs.ecs.services.describe(
            [s for s in services if s not in bad] or ["-"], cluster=CLUSTER
        )
        counts = {service.name: self._fake_ecs.ecs.services.counts(service) for service in found}
        answer = {
            "services": [
                {
                    "serviceName": service.name,
                    "status": service.status,
                    "desiredCount": service.desired_count,
                    "runningCount": counts[service.name].running,
                    "pendingCount": counts[service.name].pending,
                    "deployments": [
                        {
                            "status": "ACTIVE" if number else "PRIMARY",
                            "taskDefinition": deployment.task_definition_arn,
                            "rolloutState": deployment.rollout_state.value,
                        }
                        for number, deployment in enumerate(service.deployments)
                    ],
                }
                for service in found
            ],
            "failures": [
                {
                    "arn": f"arn:aws:ecs:us-east-1:123456789012:service/{CLUSTER}/{name}",
                    "reason": "UNAVAILABLE" if name in bad else "MISSING",
                }
                for name in (
                    *bad,
                    *(failure.arn.rsplit("/", 1)[-1] for failure in missing if not failure.arn.endswith("/-")),
                )
            ],
        }
        return await self._answer("describe_services", answer)

    async def list_tasks(self, *, cluster: str, desiredStatus: str, **only: str) -> dict[str, Any]:  # noqa: N803
        service = only.get("serviceName")
        names = [service] if service else list(self._fake_ecs.topologies)
        arns = [task.arn for name in names for task in self._fake_ecs.tasks(name)]
        return await self._answer("list_tasks", {"taskArns": arns})

    async def describe_tasks(self, *, cluster: str, tasks: Sequence[str]) -> dict[str, Any]:
        bad = self._bad("describe_tasks", tasks)
        found, missing = self._fake_ecs.ecs.tasks.describe(tasks, cluster=CLUSTER)
        answer = {
            "tasks": [
                {
                    "taskArn": task.arn,
                    "lastStatus": task.status.value,
                    "desiredStatus": task.desired_status,
                    "taskDefinitionArn": task.task_definition_arn,
                    "group": task.group,
                    "attachments": [{"details": [{"name": "privateIPv4Address", "value": "10.0.0.1"}]}],
                }
                for task in found
                if task.arn not in bad
            ],
            "failures": [{"arn": arn, "reason": "MISSING"} for arn in (*bad, *(failure.arn for failure in missing))],
        }
        return await self._answer("describe_tasks", answer)

    async def get_task_protection(self, *, cluster: str, tasks: Sequence[str]) -> dict[str, Any]:
        bad = self._bad("get_task_protection", tasks)
        self._fake_ecs.advance()
        found, missing = self._fake_ecs.ecs.protection.get(tasks, cluster=CLUSTER)
        answer = {
            "protectedTasks": [
                {"taskArn": task.arn, "protectionEnabled": task.protected(self._fake_ecs.ecs.now)}
                for task in found
                if task.arn not in bad
            ],
            "failures": [
                {"arn": arn, "reason": "TASK_NOT_VALID"} for arn in (*bad, *(failure.arn for failure in missing))
            ],
        }
        return await self._answer("get_task_protection", answer)

    async def update_service(self, *, cluster: str, service: str, desiredCount: int) -> dict[str, Any]:  # noqa: N803
        try:
            self._fake_ecs.set_desired(service, desiredCount)
        except EcsError as error:
            raise ClientError({"Error": {"Code": error.code, "Message": error.message}}, "UpdateService") from error
        return await self._answer("update_service", {})

    def _bad(self, operation: str, names: Sequence[str]) -> Sequence[str]:
        choose = self.failing.get(operation)
        return choose(names) if choose else ()

    async def _answer(self, operation: str, answer: dict[str, Any]) -> dict[str, Any]:
        await asyncio.sleep(0.05)
        if spoil := self.bend.get(operation):
            spoil(answer)
        return answer
