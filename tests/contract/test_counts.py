# SPDX-License-Identifier: Apache-2.0
"""Counts follow desiredCount; what is a deployment and what is not; a service's end."""

import pytest
from botocore.exceptions import ClientError

from tests.contract.world import World

pytestmark = pytest.mark.contract


def test_counts_follow_the_desired_count(world: World) -> None:
    service = world.service(0)
    for desired in (3, 1, 2, 0):
        answer = world.update(service, desiredCount=desired)
        assert answer["desiredCount"] == desired, "the answer shows the new count at once"
        world.until_running(service, desired)
        assert len(world.tasks(service)) == desired


def test_a_new_task_is_pending_first(world: World) -> None:
    service = world.service(0)
    world.update(service, desiredCount=1)
    world.until(lambda: world.shown(service)["pendingCount"] + world.shown(service)["runningCount"] == 1, "a task")
    world.until_running(service, 1)
    task = world.task(world.running(service)[0])
    assert task["createdAt"] < task["startedAt"], "it ran the moment it was made"


def test_a_task_in_full(world: World) -> None:
    service = world.service(1)
    task = world.task(world.running(service)[0])
    details = {d["name"]: d["value"] for d in task["attachments"][0]["details"]}
    address = task["containers"][0]["networkInterfaces"][0]["privateIpv4Address"]
    assert details["privateIPv4Address"] == address
    assert (task["group"], task["lastStatus"], task["desiredStatus"]) == (f"service:{service}", "RUNNING", "RUNNING")
    assert task["startedBy"] == world.shown(service)["deployments"][0]["id"]


def test_a_task_that_ends_by_itself_is_replaced(world: World) -> None:
    service = world.service(1, script="sleep 3; exit 7")
    first = world.running(service)[0]
    ended = world.until_stopped(first)
    assert ended["stopCode"] == "EssentialContainerExited"
    assert ended["containers"][0]["exitCode"] == 7
    world.until(lambda: world.tasks(service) not in ([], [first]), "a replacement")


@pytest.mark.parametrize(
    ("change", "deploys"),
    [({"desiredCount": 1}, False), ({"desiredCount": 2}, False), ({"forceNewDeployment": True}, True)],
    ids=["the same count", "another count", "force"],
)
def test_what_makes_a_deployment(world: World, change: dict[str, object], deploys: bool) -> None:
    service = world.service(1)
    before = world.shown(service)["deployments"][0]["id"]
    assert (world.update(service, **change)["deployments"][0]["id"] != before) == deploys


def test_unknown_services_and_tasks_are_failures(world: World) -> None:
    answer = world.client.describe_services(cluster=world.cluster, services=["nothing"])
    assert [f["reason"] for f in answer["failures"]] == ["MISSING"]
    answer = world.client.describe_tasks(cluster=world.cluster, tasks=["0" * 32])
    assert [f["reason"] for f in answer["failures"]] == ["MISSING"]


@pytest.mark.parametrize("number", [0, 11])
def test_between_one_and_ten_services_are_described(world: World, number: int) -> None:
    with pytest.raises(ClientError) as refused:
        world.client.describe_services(cluster=world.cluster, services=[f"s{n}" for n in range(number)])
    assert refused.value.response["Error"]["Code"] == "InvalidParameterException"


def test_a_service_in_use_is_deleted_by_force_only(world: World) -> None:
    service = world.service(1)
    task = world.running(service)[0]
    with pytest.raises(ClientError) as refused:
        world.client.delete_service(cluster=world.cluster, service=service)
    assert refused.value.response["Error"]["Code"] == "InvalidParameterException"
    world.client.delete_service(cluster=world.cluster, service=service, force=True)
    world.until(lambda: world.shown(service)["status"] == "INACTIVE", "INACTIVE, and still described")
    world.until_stopped(task)
    with pytest.raises(ClientError) as refused:
        world.update(service, desiredCount=1)
    assert refused.value.response["Error"]["Code"] == "ServiceNotActiveException"


def test_a_service_without_tasks_is_deleted_without_force(world: World) -> None:
    service = world.service(1)
    world.update(service, desiredCount=0)
    world.until_running(service, 0)
    gone = world.client.delete_service(cluster=world.cluster, service=service)["service"]
    assert (gone["desiredCount"], gone["runningCount"]) == (0, 0)
    world.until(lambda: world.shown(service)["status"] == "INACTIVE", "INACTIVE")
