# SPDX-License-Identifier: Apache-2.0
"""The effect of Terraform on a busy fleet: the real provider applies the synthesised fleets to the local ECS.

The test acts as the scaler: it sets the desired counts of the two services. The result is read from ECS's journal.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from local_ecs.api import LocalEcs, LocalEcsSettings
from local_ecs.model import EcsService, EcsTask
from openmwaa.config.environment import Environment
from tests.support.environments import LEAST
from tests.support.fake_task_runner import FakeTaskRunner
from tests.support.fleet_terraform import FleetTerraform

pytestmark = [pytest.mark.emulated, pytest.mark.timeout(900)]

CLUSTER = "openmwaa-rolling"
FAMILY = "openmwaa-rolling-worker-default"
DEFINITION = "aws_ecs_task_definition.fleets_default"
A, B = "worker-default-a", "worker-default-b"
MORNINGS = {"cron": "0 6 * * *", "minutes": 60, "min": 5}


def environment(**fleet: Any) -> Environment:
    """An environment with one fleet of at least two workers."""
    return Environment.model_validate(
        {
            **LEAST,
            "name": "rolling",
            "images": {"airflow": fleet.pop("image", "example.com/airflow:1"), "scaler": "example.com/scaler:1"},
            "fleets": {"default": {"queues": ["default"], "min": 2, "max": 6, **fleet}},
        }
    )


@dataclass
class AppliedFleet:
    """A local ECS with fake tasks, and Terraform for it."""

    ecs: LocalEcs
    terraform: FleetTerraform

    def service(self, name: str) -> EcsService:
        return self.ecs.model.services.get(name, cluster=CLUSTER)

    def runs(self, name: str) -> tuple[str, str, int]:
        """A service's revision, capacity and desired count."""
        service = self.service(name)
        capacity = service.template["capacityProviderStrategy"][0]["capacityProvider"]
        return service.primary.task_definition_arn.rpartition("/")[2], capacity, service.desired_count

    def tasks(self, name: str) -> list[EcsTask]:
        return [task for task in self.ecs.model.services.tasks(self.service(name)) if not task.stopping]

    async def size(self, name: str, desired: int) -> None:
        """Set the desired count of a service, as the scaler does, and wait for its workers."""
        self.ecs.driver.act(lambda: self.ecs.model.services.update(name, cluster=CLUSTER, desired_count=desired))
        await self.until(lambda: [str(t.status) for t in self.tasks(name)] == ["RUNNING"] * desired)

    async def protect(self, name: str, *, enabled: bool = True) -> None:
        """Set task protection, as workers do before they consume; `enabled=False` after the drain."""
        arns = [task.arn for task in self.tasks(name)]
        protect = self.ecs.model.protection.update
        _, refused = self.ecs.driver.act(lambda: protect(arns, enabled=enabled, minutes=60, cluster=CLUSTER))
        assert not refused, f"{name} refuses protection: {refused}"

    async def apply(self, environment: Environment, *, again: bool = False) -> list[str]:
        """Apply, and return the services that got an UpdateService; with `again`, check that a second plan is empty."""
        before = len(self.ecs.journal.entries("UpdateService"))
        await self.terraform.say(environment)
        await self.terraform.apply()
        if again:
            assert await self.terraform.plan_is_clean(), "the second plan is not clean"
        return [str(entry.detail["service"]) for entry in self.ecs.journal.entries("UpdateService")[before:]]

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(120):
            while not condition():  # the model has no events
                await asyncio.sleep(0.01)


@pytest.fixture
async def fleet(tmp_path: Path) -> AsyncIterator[AppliedFleet]:
    settings = LocalEcsSettings(port=0, provisioning_s=0.01, pending_s=0.01)
    ecs = LocalEcs(settings, runner=FakeTaskRunner())
    await ecs.start()
    yield AppliedFleet(ecs, FleetTerraform(tmp_path, ecs.endpoint))
    await ecs.stop()


@pytest.mark.slow
async def test_a_new_revision_goes_to_the_idle_service_and_never_to_the_busy_one(fleet: AppliedFleet) -> None:
    await fleet.apply(environment(), again=True)
    assert fleet.runs(A) == (f"{FAMILY}:1", "FARGATE", 2)
    assert fleet.runs(B) == (f"{FAMILY}:1", "FARGATE", 0)
    await fleet.size(A, 4)
    await fleet.protect(A)
    busy = {task.arn for task in fleet.tasks(A)}
    size: dict[str, Any] = {"cpu": 1024, "memory": 4096, "slots": 4}
    for revision, (change, fields, idle) in enumerate(
        (("size", size, B), ("image", {**size, "image": "example.com/airflow:2"}, A)), start=2
    ):
        other = A if idle == B else B
        before, deployment = fleet.runs(other), fleet.service(other).primary.id
        assert await fleet.apply(environment(**fields)) == [idle], f"{change}: the busy service was updated"
        assert fleet.runs(idle) == (f"{FAMILY}:{revision}", "FARGATE", 0), change
        assert fleet.runs(other) == before, f"{change}: the busy service changed"
        assert fleet.service(other).primary.id == deployment, f"{change}: a deployment of the busy service"
        assert {task.arn for task in fleet.tasks(other)} == busy, f"{change}: a busy worker was stopped"
        # The scaler starts workers in the new service, then it drains the old ones.
        await fleet.size(idle, 4)
        await fleet.protect(idle)
        busy = {task.arn for task in fleet.tasks(idle)}
        await fleet.protect(other, enabled=False)
        await fleet.size(other, 0)
    # Bounds and schedules belong to the scaler: they neither replace workers nor change the desired count.
    scaled = environment(min=3, max=7, schedule=[MORNINGS], image="example.com/airflow:2", **size)
    assert await fleet.apply(scaled, again=True) == []
    assert fleet.runs(A)[2] == 4


@pytest.mark.slow
async def test_a_change_of_a_busy_service_loses_no_worker_and_destroy_leaves_no_task(fleet: AppliedFleet) -> None:
    await fleet.apply(environment())
    await fleet.size(A, 3)
    await fleet.protect(A)
    busy = {task.arn for task in fleet.tasks(A)}
    await _capacity(fleet, busy)
    await _third_revision(fleet, busy)
    await _destroy_and_create_again(fleet)


async def _capacity(fleet: AppliedFleet, busy: set[str]) -> None:
    updated = await fleet.apply(environment(capacity="FARGATE_SPOT"), again=True)
    assert sorted(updated) == [A, B], "both services have the new capacity"
    assert fleet.runs(B) == (f"{FAMILY}:2", "FARGATE_SPOT", 0)
    assert fleet.runs(A) == (f"{FAMILY}:1", "FARGATE_SPOT", 3), "its revision must stay: b is the newer service"
    assert len(fleet.service(A).deployments) == 2, "the rollout of the busy service waits for its workers"
    await fleet.size(B, 3)
    await fleet.protect(B)
    assert {task.arn for task in fleet.tasks(A)} == busy, "a busy worker was stopped, or another was started"


async def _third_revision(fleet: AppliedFleet, busy: set[str]) -> None:
    """Three workers of a are still busy, and the third revision goes to a."""
    assert await fleet.apply(environment(capacity="FARGATE_SPOT", image="example.com/airflow:2")) == [A]
    assert fleet.runs(A) == (f"{FAMILY}:3", "FARGATE_SPOT", 3)
    assert {task.arn for task in fleet.tasks(A)} == busy, "a protected worker was stopped, or another was started"
    # The scaler adds two workers of the newest revision to the three.
    update = fleet.ecs.model.services.update
    fleet.ecs.driver.act(lambda: update(A, cluster=CLUSTER, desired_count=5))
    await fleet.until(lambda: len(fleet.tasks(A)) == 5)
    assert {task.task_definition_arn.rpartition(":")[2] for task in fleet.tasks(A) if task.arn not in busy} == {"3"}


async def _destroy_and_create_again(fleet: AppliedFleet) -> None:
    await fleet.terraform.destroy()
    everything = fleet.ecs.model.services.everywhere()
    assert {service.status for service in everything} == {"INACTIVE"}
    assert not [task for service in everything for task in fleet.ecs.model.services.tasks(service)]
    kept = fleet.ecs.model.task_definitions.all(family_prefix=FAMILY, status="ACTIVE")
    assert [definition.revision for definition in kept] == [1, 2, 3], "the output names the revisions as retained"
    # After the destroy the first revision is even: its workers are in b, and a has an old revision without workers.
    await fleet.apply(environment())
    assert fleet.runs(A) == (f"{FAMILY}:3", "FARGATE", 0)
    assert fleet.runs(B) == (f"{FAMILY}:4", "FARGATE", 2)
