# SPDX-License-Identifier: Apache-2.0
"""Counts, changes that start a deployment, and the deletion of services."""

import pytest
from botocore.exceptions import ClientError

from tests.contract.ecs_under_test import EcsUnderTest

pytestmark = pytest.mark.contract


def test_counts_follow_the_desired_count(ecs: EcsUnderTest) -> None:
    service = ecs.service(0)
    for desired in (3, 1, 2, 0):
        answer = ecs.update(service, desiredCount=desired)
        assert answer["desiredCount"] == desired, "the answer shows the new count at once"
        ecs.until_running(service, desired)
        assert len(ecs.tasks(service)) == desired


def test_a_new_task_is_pending_first(ecs: EcsUnderTest) -> None:
    service = ecs.service(0)
    ecs.update(service, desiredCount=1)
    ecs.until(lambda: ecs.shown(service)["pendingCount"] + ecs.shown(service)["runningCount"] == 1, "a task")
    ecs.until_running(service, 1)
    task = ecs.task(ecs.running(service)[0])
    assert task["createdAt"] < task["startedAt"], "it started when it was created"


def test_a_task_in_full(ecs: EcsUnderTest) -> None:
    service = ecs.service(1)
    task = ecs.task(ecs.running(service)[0])
    details = {d["name"]: d["value"] for d in task["attachments"][0]["details"]}
    address = task["containers"][0]["networkInterfaces"][0]["privateIpv4Address"]
    assert details["privateIPv4Address"] == address
    assert (task["group"], task["lastStatus"], task["desiredStatus"]) == (f"service:{service}", "RUNNING", "RUNNING")
    assert task["startedBy"] == ecs.shown(service)["deployments"][0]["id"]


def test_a_task_that_exits_is_replaced(ecs: EcsUnderTest) -> None:
    service = ecs.service(1, script="sleep 3; exit 7")
    first = ecs.running(service)[0]
    ended = ecs.until_stopped(first)
    assert ended["stopCode"] == "EssentialContainerExited"
    assert ended["containers"][0]["exitCode"] == 7
    ecs.until(lambda: ecs.tasks(service) not in ([], [first]), "a replacement")


@pytest.mark.parametrize(
    ("change", "deploys"),
    [({"desiredCount": 1}, False), ({"desiredCount": 2}, False), ({"forceNewDeployment": True}, True)],
    ids=["the same count", "another count", "force"],
)
def test_which_changes_start_a_deployment(ecs: EcsUnderTest, change: dict[str, object], deploys: bool) -> None:
    service = ecs.service(1)
    before = ecs.shown(service)["deployments"][0]["id"]
    assert (ecs.update(service, **change)["deployments"][0]["id"] != before) == deploys


def test_unknown_services_and_tasks_are_failures(ecs: EcsUnderTest) -> None:
    answer = ecs.client.describe_services(cluster=ecs.cluster, services=["nothing"])
    assert [f["reason"] for f in answer["failures"]] == ["MISSING"]
    answer = ecs.client.describe_tasks(cluster=ecs.cluster, tasks=["0" * 32])
    assert [f["reason"] for f in answer["failures"]] == ["MISSING"]


@pytest.mark.parametrize("number", [0, 11])
def test_between_one_and_ten_services_are_described(ecs: EcsUnderTest, number: int) -> None:
    with pytest.raises(ClientError) as refused:
        ecs.client.describe_services(cluster=ecs.cluster, services=[f"s{n}" for n in range(number)])
    assert refused.value.response["Error"]["Code"] == "InvalidParameterException"


def test_a_service_with_tasks_is_deleted_with_force_only(ecs: EcsUnderTest) -> None:
    service = ecs.service(1)
    task = ecs.running(service)[0]
    with pytest.raises(ClientError) as refused:
        ecs.client.delete_service(cluster=ecs.cluster, service=service)
    assert refused.value.response["Error"]["Code"] == "InvalidParameterException"
    ecs.client.delete_service(cluster=ecs.cluster, service=service, force=True)
    ecs.until(lambda: ecs.shown(service)["status"] == "INACTIVE", "INACTIVE, and still described")
    ecs.until_stopped(task)
    with pytest.raises(ClientError) as refused:
        ecs.update(service, desiredCount=1)
    assert refused.value.response["Error"]["Code"] == "ServiceNotActiveException"


def test_a_service_without_tasks_is_deleted_without_force(ecs: EcsUnderTest) -> None:
    service = ecs.service(1)
    ecs.update(service, desiredCount=0)
    ecs.until_running(service, 0)
    gone = ecs.client.delete_service(cluster=ecs.cluster, service=service)["service"]
    assert (gone["desiredCount"], gone["runningCount"]) == (0, 0)
    ecs.until(lambda: ecs.shown(service)["status"] == "INACTIVE", "INACTIVE")
