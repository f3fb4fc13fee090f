# SPDX-License-Identifier: Apache-2.0
"""A local ECS with a fake runner and a manual clock, and an AWS client for it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from mypy_boto3_ecs import ECSClient

from local_ecs.api import LocalEcs, LocalEcsSettings, ManualClock
from tests.support.fake_task_runner import FakeTaskRunner


@dataclass
class Targets:
    """Records the calls of the target registry."""

    calls: list[tuple[str, str, int]]

    def register(self, target_group_arn: str, address: str, port: int) -> None:
        self.calls.append(("register", address, port))

    def deregister(self, target_group_arn: str, address: str, port: int) -> None:
        self.calls.append(("deregister", address, port))


@dataclass
class EcsSetup:
    ecs: LocalEcs
    runner: FakeTaskRunner
    clock: ManualClock
    targets: Targets
    client: ECSClient

    async def call(self, operation: str, **request: Any) -> dict[str, Any]:
        """Call an operation (snake case) in a thread, because botocore blocks."""
        answer: dict[str, Any] = await asyncio.to_thread(getattr(self.client, operation), **request)
        del answer["ResponseMetadata"]
        return answer

    async def prepare(self, desired: int = 0, **service: Any) -> None:
        """Create cluster `c`, family `web` and service `web`."""
        await self.call("create_cluster", clusterName="c")
        await self.register()
        await self.call(
            "create_service", cluster="c", serviceName="web", taskDefinition="web", desiredCount=desired, **service
        )
        await self.until(lambda: len(self.live) == desired, f"{desired} tasks")

    async def register(self, **container: Any) -> str:
        definition = {"name": "web", "image": "nginx", **container}
        answer = await self.call("register_task_definition", family="web", containerDefinitions=[definition])
        return str(answer["taskDefinition"]["taskDefinitionArn"])

    async def service(self, **request: Any) -> dict[str, Any]:
        answer = await self.call("describe_services", cluster="c", services=["web"], **request)
        return dict(answer["services"][0])

    async def task(self, arn: str) -> dict[str, Any]:
        return dict((await self.call("describe_tasks", cluster="c", tasks=[arn]))["tasks"][0])

    @property
    def live(self) -> list[Any]:
        tasks = self.ecs.model.tasks.all(cluster="c")
        return [t for t in tasks if t.status == "RUNNING"]

    async def until(self, condition: Callable[[], bool], what: str) -> None:
        """Run the event loop until a condition holds. The clock does not advance."""
        async with asyncio.timeout(120):
            while not condition():  # the model has no events for conditions
                await asyncio.sleep(0.001)
        assert condition(), what

    async def settled(self) -> None:
        """Wait until the driver has no pending work."""
        await self.until(self._is_idle, "an idle driver")

    def _is_idle(self) -> bool:
        due = self.ecs.model.next_due()
        return not self.ecs.driver.busy and (due is None or due > self.clock.now())

    async def pass_time(self, seconds: float) -> None:
        self.clock.move(seconds)
        await asyncio.sleep(0)
        await self.settled()


SESSION = boto3.Session()  # one loader: the service model is read once, not for every test


def client_for(endpoint: str) -> ECSClient:
    return SESSION.client(
        "ecs",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(retries={"total_max_attempts": 1}, user_agent_extra="app/unit-tests"),
    )


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Callable[..., Awaitable[EcsSetup]]]:
    """Start a local ECS, which is stopped at the end. Durations are zero by default."""
    setups: list[EcsSetup] = []

    async def begin(*, runner: FakeTaskRunner | None = None, **settings: Any) -> EcsSetup:
        settings = {"port": 0, "provisioning_s": 0, "pending_s": 0, **settings}
        runner, clock, targets = runner or FakeTaskRunner(), ManualClock(), Targets([])
        ecs = LocalEcs(LocalEcsSettings(**settings), runner=runner, clock=clock, targets=targets)
        await ecs.start()
        setups.append(EcsSetup(ecs, runner, clock, targets, client_for(ecs.endpoint)))
        return setups[-1]

    yield begin
    for setup in setups:
        await setup.ecs.stop()
        setup.client.close()


@pytest.fixture
async def setup(start: Callable[..., Awaitable[EcsSetup]]) -> EcsSetup:
    return await start()
