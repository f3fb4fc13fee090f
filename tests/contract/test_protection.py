# SPDX-License-Identifier: Apache-2.0
"""Scale-in protection: its effect, its refusal and its end."""

import pytest
from botocore.exceptions import ClientError

from tests.contract.ecs_under_test import EcsUnderTest, refusals

pytestmark = pytest.mark.contract


@pytest.mark.parametrize("which", [0, 1, 2])
def test_scale_in_does_not_stop_the_protected_task(ecs: EcsUnderTest, which: int) -> None:
    service = ecs.service(3)
    keep = ecs.running(service)[which]
    assert refusals(ecs.protect(keep)) == []
    ecs.update(service, desiredCount=1)
    ecs.until_running(service, 1)
    assert ecs.running(service) == [keep]


def test_scale_in_does_not_stop_a_task_that_protected_itself(ecs: EcsUnderTest) -> None:
    service = ecs.service(2)
    keep = ecs.running(service)[0]
    answer = ecs.platform.agent_put(keep, {"ProtectionEnabled": True, "ExpiresInMinutes": 60})
    if answer is None:
        pytest.skip("only the task itself can call its agent here")
    status, body = answer
    assert (status, body["protection"]["ProtectionEnabled"], body["protection"]["TaskArn"]) == (200, True, keep)
    assert ecs.protected(keep) == [keep], "both ways set the same protection"
    ecs.update(service, desiredCount=1)
    ecs.until_running(service, 1)
    assert ecs.running(service) == [keep]


def test_more_protected_tasks_than_desired_continue_until_released(ecs: EcsUnderTest) -> None:
    service = ecs.service(3)
    first, second, _ = ecs.running(service)
    ecs.protect(first, second)
    ecs.update(service, desiredCount=0)
    ecs.until_running(service, 2)
    ecs.stays(lambda: sorted(ecs.running(service)) == sorted([first, second]), "protected tasks run on")
    assert refusals(ecs.protect(first, enabled=False)) == [], "release is never refused"
    ecs.until_stopped(first)
    assert ecs.running(service) == [second]


def test_renewal_is_refused_with_more_protected_than_desired(ecs: EcsUnderTest) -> None:
    service = ecs.service(2)
    first, second = ecs.running(service)
    ecs.protect(first, second)
    ecs.update(service, desiredCount=1)
    answer = ecs.protect(first, minutes=60)
    assert refusals(answer) == ["DEPLOYMENT_BLOCKED"], "HTTP 200, and refused all the same"
    assert answer["protectedTasks"] == []
    assert answer["failures"][0]["arn"] == first
    assert sorted(ecs.protected(first, second)) == sorted([first, second]), "the old protection holds on"
    ecs.update(service, desiredCount=2)
    assert refusals(ecs.protect(first, minutes=60)) == [], "raising desiredCount heals it"


def test_setting_is_refused_beyond_the_desired_count(ecs: EcsUnderTest) -> None:
    service = ecs.service(1)
    (old,) = ecs.running(service)
    ecs.protect(old)
    ecs.update(service, forceNewDeployment=True)
    ecs.until_running(service, 2)
    (new,) = set(ecs.running(service)) - {old}
    assert refusals(ecs.protect(new)) == ["DEPLOYMENT_BLOCKED"], "old deployments' tasks count"
    assert ecs.protected(new) == []
    ecs.update(service, desiredCount=2)
    assert refusals(ecs.protect(new)) == []


def test_the_agent_answers_a_refusal_with_200_and_failure(ecs: EcsUnderTest) -> None:
    service = ecs.service(2)
    first, second = ecs.running(service)
    ecs.protect(first, second)
    ecs.update(service, desiredCount=1)
    answer = ecs.platform.agent_put(first, {"ProtectionEnabled": True})
    if answer is None:
        pytest.skip("only the task itself can call its agent here")
    status, body = answer
    assert (status, body["failure"]["Reason"], body["failure"]["Arn"]) == (200, "DEPLOYMENT_BLOCKED", first)
    status, body = ecs.platform.agent_put(first, {"ProtectionEnabled": False}) or (0, {})
    assert (status, body["protection"]["ProtectionEnabled"]) == (200, False)


def test_protection_expires(ecs: EcsUnderTest) -> None:
    service = ecs.service(1)
    (task,) = ecs.running(service)
    ecs.protect(task, minutes=1)
    ecs.update(service, desiredCount=0)
    ecs.stays(lambda: ecs.running(service) == [task], "protected until it expires")
    ecs.platform.pass_time(60)
    ecs.until_running(service, 0)
    assert ecs.until_stopped(task)["stopCode"] == "ServiceSchedulerInitiated"


def test_renewal_moves_the_expiry(ecs: EcsUnderTest) -> None:
    service = ecs.service(1)
    (task,) = ecs.running(service)
    first = ecs.protect(task, minutes=1)["protectedTasks"][0]["expirationDate"]
    second = ecs.protect(task, minutes=10)["protectedTasks"][0]["expirationDate"]
    assert (second - first).total_seconds() >= 9 * 60
    ecs.platform.pass_time(60)
    assert ecs.protected(task) == [task]


def test_protection_lasts_two_hours_by_default(ecs: EcsUnderTest) -> None:
    service = ecs.service(1)
    (task,) = ecs.running(service)
    short = ecs.protect(task, minutes=1)["protectedTasks"][0]["expirationDate"]
    default = ecs.protect(task)["protectedTasks"][0]["expirationDate"]
    assert 118 * 60 <= (default - short).total_seconds() <= 121 * 60


@pytest.mark.parametrize("minutes", [0, 2881])
def test_the_expiry_has_bounds(ecs: EcsUnderTest, minutes: int) -> None:
    service = ecs.service(1)
    (task,) = ecs.running(service)
    with pytest.raises(ClientError) as refused:
        ecs.protect(task, minutes=minutes)
    assert refused.value.response["Error"]["Code"] == "InvalidParameterException"


def test_stop_task_stops_a_protected_task(ecs: EcsUnderTest) -> None:
    service = ecs.service(1)
    (task,) = ecs.running(service)
    ecs.protect(task)
    ecs.client.stop_task(cluster=ecs.cluster, task=task, reason="by hand")
    stopped = ecs.until_stopped(task)
    assert (stopped["stopCode"], stopped["stoppedReason"]) == ("UserInitiated", "by hand")
    ecs.until(lambda: ecs.running(service) not in ([], [task]), "the service replaces it")


def test_deleting_the_service_stops_a_protected_task(ecs: EcsUnderTest) -> None:
    service = ecs.service(1)
    (task,) = ecs.running(service)
    ecs.protect(task)
    assert ecs.protected(task) == [task]
    ecs.client.delete_service(cluster=ecs.cluster, service=service, force=True)
    ecs.until_stopped(task)


def test_deleting_the_service_without_force_ends_with_the_protection(ecs: EcsUnderTest) -> None:
    """Terraform's deletion of a service: a desired count of 0, which stops no protected task, and no force."""
    service = ecs.service(1)
    (task,) = ecs.running(service)
    ecs.protect(task)
    ecs.update(service, desiredCount=0)
    assert ecs.protected(task) == [task]
    assert ecs.task(task)["desiredStatus"] == "RUNNING"
    assert refusals(ecs.protect(task)) == ["DEPLOYMENT_BLOCKED"], "a renewal would keep the service for ever"
    ecs.client.delete_service(cluster=ecs.cluster, service=service)
    ecs.client.update_task_protection(cluster=ecs.cluster, tasks=[task], protectionEnabled=False)
    ecs.until_stopped(task)
    ecs.until(lambda: ecs.shown(service)["status"] == "INACTIVE", "INACTIVE")


def test_a_standalone_task_cannot_be_protected(ecs: EcsUnderTest) -> None:
    answer = ecs.client.run_task(cluster=ecs.cluster, taskDefinition=ecs.register(), **ecs.platform.service_options)
    task = answer["tasks"][0]["taskArn"]
    ecs.until(lambda: ecs.task(task)["lastStatus"] == "RUNNING", "the task runs")
    try:
        assert refusals(ecs.protect(task)) == ["TASK_NOT_VALID"]
    finally:
        ecs.client.stop_task(cluster=ecs.cluster, task=task)
    assert ecs.until_stopped(task)["group"].startswith("family:")
