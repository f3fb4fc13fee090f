# SPDX-License-Identifier: Apache-2.0
"""What Terraform does to a busy fleet: the real provider applies the synthesised fleets to the local ECS.

The scaler is played by the test: it sizes the generations as the scaler would. What counts is the ECS's own journal.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from local_ecs.api import LocalEcs, LocalEcsSettings
from local_ecs.model import Service, Task
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
class World:
    """A local ECS whose tasks only say that they run, and Terraform for it."""

    ecs: LocalEcs
    terraform: FleetTerraform

    def service(self, name: str) -> Service:
        return self.ecs.model.services.get(name, cluster=CLUSTER)

    def runs(self, name: str) -> tuple[str, str, int]:
        """A service's revision, capacity and desired count."""
        service = self.service(name)
        capacity = service.template["capacityProviderStrategy"][0]["capacityProvider"]
        return service.primary.task_definition_arn.rpartition("/")[2], capacity, service.desired_count

    def tasks(self, name: str) -> list[Task]:
        return [task for task in self.ecs.model.services.tasks(self.service(name)) if not task.stopping]

    async def size(self, name: str, desired: int) -> None:
        """What the scaler does: size a generation and wait until it has its workers."""
        self.ecs.driver.act(lambda: self.ecs.model.services.update(name, cluster=CLUSTER, desired_count=desired))
        await self.until(lambda: [str(t.status) for t in self.tasks(name)] == ["RUNNING"] * desired)

    async def protect(self, name: str, *, enabled: bool = True) -> None:
        """What workers do: ask for protection before they consume, give it back when they are drained."""
        arns = [task.arn for task in self.tasks(name)]
        protect = self.ecs.model.protection.update
        _, refused = self.ecs.driver.act(lambda: protect(arns, enabled=enabled, minutes=60, cluster=CLUSTER))
        assert not refused, f"{name} refuses protection: {refused}"

    async def apply(self, wanted: Environment, *, again: bool = False) -> list[str]:
        """Apply, and return the services that were sent an UpdateService; with `again`, plan again: nothing to do."""
        before = len(self.ecs.journal.entries("UpdateService"))
        await self.terraform.say(wanted)
        await self.terraform.apply()
        if again:
            assert await self.terraform.plan_is_clean(), "the second plan is not clean"
        return [str(entry.detail["service"]) for entry in self.ecs.journal.entries("UpdateService")[before:]]

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not condition():  # conditions of a model have no event
                await asyncio.sleep(0.01)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    settings = LocalEcsSettings(port=0, provisioning_s=0.01, pending_s=0.01)
    ecs = LocalEcs(settings, runner=FakeTaskRunner())
    await ecs.start()
    yield World(ecs, FleetTerraform(tmp_path, ecs.endpoint))
    await ecs.stop()


async def test_a_new_revision_goes_to_the_idle_generation_and_never_to_the_busy_one(world: World) -> None:
    await world.apply(environment(), again=True)
    assert world.runs(A) == (f"{FAMILY}:1", "FARGATE", 2)
    assert world.runs(B) == (f"{FAMILY}:1", "FARGATE", 0)
    await world.size(A, 4)
    await world.protect(A)
    busy = {task.arn for task in world.tasks(A)}
    size: dict[str, Any] = {"cpu": 1024, "memory": 4096, "slots": 4}
    for revision, (what, fleet, idle) in enumerate(
        (("size", size, B), ("image", {**size, "image": "example.com/airflow:2"}, A)), start=2
    ):
        other = A if idle == B else B
        before, deployment = world.runs(other), world.service(other).primary.id
        assert await world.apply(environment(**fleet)) == [idle], f"{what}: the busy generation was touched"
        assert world.runs(idle) == (f"{FAMILY}:{revision}", "FARGATE", 0), what
        assert world.runs(other) == before, f"{what}: the busy generation changed"
        assert world.service(other).primary.id == deployment, f"{what}: a deployment on the busy generation"
        assert {task.arn for task in world.tasks(other)} == busy, f"{what}: a busy worker went"
        # The scaler: new workers in the new generation, then the old ones are drained.
        await world.size(idle, 4)
        await world.protect(idle)
        busy = {task.arn for task in world.tasks(idle)}
        await world.protect(other, enabled=False)
        await world.size(other, 0)
    # Bounds and schedules are the scaler's: workers are not replaced for them, nor is their number taken back.
    scaled = environment(min=3, max=7, schedule=[MORNINGS], image="example.com/airflow:2", **size)
    assert await world.apply(scaled, again=True) == []
    assert world.runs(A)[2] == 4


@pytest.mark.slow
async def test_what_touches_a_busy_generation_loses_nothing_and_destroy_leaves_nothing_running(world: World) -> None:
    await world.apply(environment())
    await world.size(A, 3)
    await world.protect(A)
    busy = {task.arn for task in world.tasks(A)}
    await _capacity(world, busy)
    await _third_revision(world, busy)
    await _destroy_and_begin_anew(world)


async def _capacity(world: World, busy: set[str]) -> None:
    updated = await world.apply(environment(capacity="FARGATE_SPOT"), again=True)
    assert sorted(updated) == [A, B], "both services have the new capacity"
    assert world.runs(B) == (f"{FAMILY}:2", "FARGATE_SPOT", 0)
    assert world.runs(A) == (f"{FAMILY}:1", "FARGATE_SPOT", 3), "its revision must stay: b is the newer generation"
    assert len(world.service(A).deployments) == 2, "the busy one has a rollout that waits for its workers"
    await world.size(B, 3)
    await world.protect(B)
    assert {task.arn for task in world.tasks(A)} == busy, "a busy worker went, or another was started beside it"


async def _third_revision(world: World, busy: set[str]) -> None:
    """Three workers are still busy in a, and the third revision is odd."""
    assert await world.apply(environment(capacity="FARGATE_SPOT", image="example.com/airflow:2")) == [A]
    assert world.runs(A) == (f"{FAMILY}:3", "FARGATE_SPOT", 3)
    assert {task.arn for task in world.tasks(A)} == busy, "a protected worker went, or one came that nobody asked for"
    # The scaler asks for two of the newest revision beside the three.
    update = world.ecs.model.services.update
    world.ecs.driver.act(lambda: update(A, cluster=CLUSTER, desired_count=5))
    await world.until(lambda: len(world.tasks(A)) == 5)
    assert {task.task_definition_arn.rpartition(":")[2] for task in world.tasks(A) if task.arn not in busy} == {"3"}


async def _destroy_and_begin_anew(world: World) -> None:
    await world.terraform.destroy()
    everything = world.ecs.model.services.everywhere()
    assert {service.status for service in everything} == {"INACTIVE"}
    assert not [task for service in everything for task in world.ecs.model.services.tasks(service)]
    kept = world.ecs.model.task_definitions.all(family_prefix=FAMILY, status="ACTIVE")
    assert [definition.revision for definition in kept] == [1, 2, 3], "retained_resources says that revisions stay"
    # The second life's first revision is even: its workers are b's, and a has a revision of before and nobody.
    await world.apply(environment())
    assert world.runs(A) == (f"{FAMILY}:3", "FARGATE", 0)
    assert world.runs(B) == (f"{FAMILY}:4", "FARGATE", 2)
