# SPDX-License-Identifier: Apache-2.0
"""The calls of a rollout against the local ECS, over HTTP as AWS gets them: who makes them is played.

What the model computes in `fleet_shape` is here what an AWS client sees: counts, failures in a 200, error messages.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from local_ecs.api import LocalEcs, LocalEcsSettings, ManualClock
from tests.support.fake_task_runner import FakeTaskRunner

BUSY: Final = 4
REVISIONS: Final = 6
SETTLED_WITHIN_S: Final = 20
CLUSTER: Final = "c"
FAMILY: Final = "worker"


@dataclass(frozen=True)
class Layout:
    """A fleet's services and their percentages."""

    services: tuple[str, ...]
    minimum_percent: int
    maximum_percent: int


LAYOUTS: Final = {
    "one_service_100_200": Layout(("worker",), 100, 200),
    "one_service_0_100": Layout(("worker",), 0, 100),
    "generations_0_200": Layout(("worker-a", "worker-b"), 0, 200),
    "generations_0_100": Layout(("worker-a", "worker-b"), 0, 100),
}


async def measure_calls() -> dict[str, Any]:
    """Return what each layout answered, one row a layout."""
    return {name: await _measure(layout) for name, layout in LAYOUTS.items()}


async def _measure(layout: Layout) -> dict[str, Any]:
    clock = ManualClock()
    settings = LocalEcsSettings(port=0, provisioning_s=0, pending_s=0)
    ecs = LocalEcs(settings, runner=FakeTaskRunner(), clock=clock)
    await ecs.start()
    client = boto3.Session().client(
        "ecs",
        endpoint_url=ecs.endpoint,
        region_name=settings.region,
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(retries={"total_max_attempts": 1}, proxies={}),
    )
    try:
        return await _Calls(layout, ecs, clock, client).run()
    finally:
        client.close()
        await ecs.stop()


class _Calls:
    def __init__(self, layout: Layout, ecs: LocalEcs, clock: ManualClock, client: Any) -> None:
        self._layout, self._ecs, self._clock, self._client = layout, ecs, clock, client

    async def run(self) -> dict[str, Any]:
        """One roll of 4 protected workers, a scale-in in its middle, and revisions until the sixth."""
        await self._found()
        old = await self._tasks(1)
        refused = await self._protect(old)
        assert not refused, "a fleet at rest refuses protection"
        await self._roll(2)
        after_update = await self._count()
        # As many new workers as there are old ones: one service needs room for both.
        one = len(self._layout.services) == 1
        await self._size(2, 2 * BUSY if one else BUSY)
        after_raise, new = await self._count(), await self._tasks(2)
        refused = await self._protect(new)
        row = {"tasks_after_update": after_update, "tasks_after_raise": after_raise, "refused_protections": refused}
        row |= await self._scale_in(await self._protected(new))
        row |= await self._further_revisions()
        assert await self._protected(old) == old, "an old worker went"
        return row

    async def _scale_in(self, working: list[str]) -> dict[str, Any]:
        """Two of the new workers are released and taken away, as in any quiet hour."""
        released = working[:2]
        desired = int((await self._describe(self._service(2)))["desiredCount"])
        await self._call("update_task_protection", tasks=released, protectionEnabled=False)
        await self._size(2, desired - len(released))
        left = await self._tasks(2)
        return {
            "scale_in_took_the_released": not set(released) & set(left),
            "tasks_after_scale_in": await self._count(),
        }

    async def _further_revisions(self) -> dict[str, Any]:
        """Every further revision gets one worker, which works for hours."""
        refused = 0
        for number in range(3, REVISIONS + 2):
            try:
                await self._roll(number)
            except ClientError as error:
                message = f"{error.response['Error']['Code']}: {error.response['Error']['Message']}"
                return await self._end(number, message, refused)
            desired = int((await self._describe(self._service(number)))["desiredCount"])
            await self._size(number, desired + 1)
            refused += await self._protect(await self._tasks(number))
        return await self._end(None, None, refused)

    async def _end(self, revision: int | None, message: str | None, refused: int) -> dict[str, Any]:
        return {
            "first_refused_revision": revision,
            "refusal": message,
            "tasks_after_six_applies": await self._count(),
            "protections_refused_meanwhile": refused,
        }

    # --- calls

    async def _found(self) -> None:
        await self._call("create_cluster", clusterName=CLUSTER, cluster=None)
        await self._register()
        for number, service in enumerate(self._layout.services):
            percent = {
                "minimumHealthyPercent": self._layout.minimum_percent,
                "maximumPercent": self._layout.maximum_percent,
            }
            await self._call(
                "create_service",
                serviceName=service,
                taskDefinition=f"{FAMILY}:1",
                desiredCount=0 if number else BUSY,
                deploymentConfiguration=percent,
            )
        await self._settled()

    async def _register(self) -> None:
        container = {"name": "worker", "image": "some"}
        await self._call("register_task_definition", family=FAMILY, containerDefinitions=[container], cluster=None)

    async def _roll(self, revision: int) -> None:
        await self._register()
        service = self._service(revision)
        await self._call("update_service", service=service, taskDefinition=f"{FAMILY}:{revision}")
        await self._settled()

    async def _size(self, revision: int, desired: int) -> None:
        await self._call("update_service", service=self._service(revision), desiredCount=desired)
        await self._settled()

    def _service(self, revision: int) -> str:
        return self._layout.services[(revision - 1) % len(self._layout.services)]

    async def _describe(self, service: str) -> dict[str, Any]:
        return dict((await self._call("describe_services", services=[service]))["services"][0])

    async def _protect(self, tasks: Sequence[str]) -> int:
        """Ask for each worker by itself, as its agent does; how many were refused."""
        refused = 0
        for task in tasks:
            answer = await self._call(
                "update_task_protection", tasks=[task], protectionEnabled=True, expiresInMinutes=2880
            )
            refused += len(answer["failures"])
        await self._settled()
        return refused

    async def _protected(self, tasks: Sequence[str]) -> list[str]:
        if not tasks:
            return []
        answer = await self._call("get_task_protection", tasks=list(tasks))
        held = {each["taskArn"] for each in answer["protectedTasks"] if each["protectionEnabled"]}
        return [task for task in tasks if task in held]

    async def _tasks(self, revision: int) -> list[str]:
        """The running tasks of a revision."""
        found = []
        for service in self._layout.services:
            arns = (await self._call("list_tasks", serviceName=service))["taskArns"]
            if arns:
                described = (await self._call("describe_tasks", tasks=arns))["tasks"]
                found += [t["taskArn"] for t in described if t["taskDefinitionArn"].endswith(f":{revision}")]
        return sorted(found)

    async def _count(self) -> int:
        arns = [
            arn
            for service in self._layout.services
            for arn in (await self._call("list_tasks", serviceName=service))["taskArns"]
        ]
        return len(arns)

    async def _call(self, operation: str, **request: Any) -> dict[str, Any]:
        if request.pop("cluster", CLUSTER) is not None:
            request["cluster"] = CLUSTER
        answer: dict[str, Any] = await asyncio.to_thread(getattr(self._client, operation), **request)
        return answer

    async def _settled(self) -> None:
        """Let ECS do everything that is due; its clock stands still."""
        async with asyncio.timeout(SETTLED_WITHIN_S):
            # A model has no events to wait for.
            while self._ecs.driver.busy or (self._ecs.model.next_due() or float("inf")) <= self._clock.now():  # noqa: ASYNC110
                await asyncio.sleep(0.001)
