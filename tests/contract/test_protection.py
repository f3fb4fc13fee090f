# SPDX-License-Identifier: Apache-2.0
"""Scale-in protection: what it holds, what it does not, when it is refused, when it ends."""

import pytest
from botocore.exceptions import ClientError

from tests.contract.world import World, refusals

pytestmark = pytest.mark.contract


@pytest.mark.parametrize("which", [0, 1, 2])
def test_scale_in_spares_the_protected_task(world: World, which: int) -> None:
    service = world.service(3)
    keep = world.running(service)[which]
    assert refusals(world.protect(keep)) == []
    world.update(service, desiredCount=1)
    world.until_running(service, 1)
    assert world.running(service) == [keep]


def test_scale_in_spares_a_task_that_protected_itself(world: World) -> None:
    service = world.service(2)
    keep = world.running(service)[0]
    answer = world.place.agent_put(keep, {"ProtectionEnabled": True, "ExpiresInMinutes": 60})
    if answer is None:
        pytest.skip("only the task itself can ask its agent here")
    status, body = answer
    assert (status, body["protection"]["ProtectionEnabled"], body["protection"]["TaskArn"]) == (200, True, keep)
    assert world.protected(keep) == [keep], "both ways set the same protection"
    world.update(service, desiredCount=1)
    world.until_running(service, 1)
    assert world.running(service) == [keep]


def test_more_protected_than_desired_run_on_until_released(world: World) -> None:
    service = world.service(3)
    first, second, _ = world.running(service)
    world.protect(first, second)
    world.update(service, desiredCount=0)
    world.until_running(service, 2)
    world.stays(lambda: sorted(world.running(service)) == sorted([first, second]), "protected tasks run on")
    assert refusals(world.protect(first, enabled=False)) == [], "release is never refused"
    world.until_stopped(first)
    assert world.running(service) == [second]


def test_renewal_is_refused_with_more_protected_than_desired(world: World) -> None:
    service = world.service(2)
    first, second = world.running(service)
    world.protect(first, second)
    world.update(service, desiredCount=1)
    answer = world.protect(first, minutes=60)
    assert refusals(answer) == ["DEPLOYMENT_BLOCKED"], "HTTP 200, and refused all the same"
    assert answer["protectedTasks"] == []
    assert answer["failures"][0]["arn"] == first
    assert sorted(world.protected(first, second)) == sorted([first, second]), "the old protection holds on"
    world.update(service, desiredCount=2)
    assert refusals(world.protect(first, minutes=60)) == [], "raising desiredCount heals it"


def test_setting_is_refused_beyond_the_desired_count(world: World) -> None:
    service = world.service(1)
    (old,) = world.running(service)
    world.protect(old)
    world.update(service, forceNewDeployment=True)
    world.until_running(service, 2)
    (new,) = set(world.running(service)) - {old}
    assert refusals(world.protect(new)) == ["DEPLOYMENT_BLOCKED"], "old deployments' tasks count"
    assert world.protected(new) == []
    world.update(service, desiredCount=2)
    assert refusals(world.protect(new)) == []


def test_the_agent_answers_a_refusal_with_200_and_failure(world: World) -> None:
    service = world.service(2)
    first, second = world.running(service)
    world.protect(first, second)
    world.update(service, desiredCount=1)
    answer = world.place.agent_put(first, {"ProtectionEnabled": True})
    if answer is None:
        pytest.skip("only the task itself can ask its agent here")
    status, body = answer
    assert (status, body["failure"]["Reason"], body["failure"]["Arn"]) == (200, "DEPLOYMENT_BLOCKED", first)
    status, body = world.place.agent_put(first, {"ProtectionEnabled": False}) or (0, {})
    assert (status, body["protection"]["ProtectionEnabled"]) == (200, False)


def test_protection_expires(world: World) -> None:
    service = world.service(1)
    (task,) = world.running(service)
    world.protect(task, minutes=1)
    world.update(service, desiredCount=0)
    world.stays(lambda: world.running(service) == [task], "protected until it expires")
    world.place.pass_time(60)
    world.until_running(service, 0)
    assert world.until_stopped(task)["stopCode"] == "ServiceSchedulerInitiated"


def test_renewal_moves_the_expiry(world: World) -> None:
    service = world.service(1)
    (task,) = world.running(service)
    first = world.protect(task, minutes=1)["protectedTasks"][0]["expirationDate"]
    second = world.protect(task, minutes=10)["protectedTasks"][0]["expirationDate"]
    assert (second - first).total_seconds() >= 9 * 60
    world.place.pass_time(60)
    assert world.protected(task) == [task]


def test_two_hours_are_the_default(world: World) -> None:
    service = world.service(1)
    (task,) = world.running(service)
    short = world.protect(task, minutes=1)["protectedTasks"][0]["expirationDate"]
    default = world.protect(task)["protectedTasks"][0]["expirationDate"]
    assert 118 * 60 <= (default - short).total_seconds() <= 121 * 60


@pytest.mark.parametrize("minutes", [0, 2881])
def test_the_expiry_has_bounds(world: World, minutes: int) -> None:
    service = world.service(1)
    (task,) = world.running(service)
    with pytest.raises(ClientError) as refused:
        world.protect(task, minutes=minutes)
    assert refused.value.response["Error"]["Code"] == "InvalidParameterException"


def test_stop_task_takes_a_protected_task(world: World) -> None:
    service = world.service(1)
    (task,) = world.running(service)
    world.protect(task)
    world.client.stop_task(cluster=world.cluster, task=task, reason="by hand")
    stopped = world.until_stopped(task)
    assert (stopped["stopCode"], stopped["stoppedReason"]) == ("UserInitiated", "by hand")
    world.until(lambda: world.running(service) not in ([], [task]), "the service replaces it")


def test_deleting_the_service_takes_a_protected_task(world: World) -> None:
    service = world.service(1)
    (task,) = world.running(service)
    world.protect(task)
    assert world.protected(task) == [task]
    world.client.delete_service(cluster=world.cluster, service=service, force=True)
    world.until_stopped(task)


def test_a_standalone_task_cannot_be_protected(world: World) -> None:
    answer = world.client.run_task(
        cluster=world.cluster, taskDefinition=world.register(), **world.place.service_options
    )
    task = answer["tasks"][0]["taskArn"]
    world.until(lambda: world.task(task)["lastStatus"] == "RUNNING", "the task runs")
    try:
        assert refusals(world.protect(task)) == ["TASK_NOT_VALID"]
    finally:
        world.client.stop_task(cluster=world.cluster, task=task)
    assert world.until_stopped(task)["group"].startswith("family:")
