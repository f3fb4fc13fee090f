# SPDX-License-Identifier: Apache-2.0
"""Rolling deployments beside protected tasks, and how many may be unfinished."""

import pytest
from botocore.exceptions import ClientError

from tests.contract.world import World, refusals

pytestmark = pytest.mark.contract


def test_a_new_task_definition_replaces_all_tasks(world: World) -> None:
    service = world.service(2)
    old = world.running(service)
    definition = world.register()
    world.update(service, taskDefinition=definition)
    world.until(lambda: len(world.shown(service)["deployments"]) == 1, "one deployment left")
    world.until_running(service, 2)
    assert not set(old) & set(world.running(service))
    assert {t["taskDefinitionArn"] for t in world.describe(world.running(service))} == {definition}
    assert world.shown(service)["deployments"][0]["rolloutState"] == "COMPLETED"


def test_new_tasks_start_beside_protected_old_ones_which_stay_until_released(world: World) -> None:
    service = world.service(2)
    old = world.running(service)
    world.protect(*old)
    world.update(service, forceNewDeployment=True)
    world.until_running(service, 4)
    world.stays(lambda: set(old) <= set(world.running(service)), "protected old tasks stay")
    primary, active = world.shown(service)["deployments"]
    assert (primary["status"], primary["rolloutState"], primary["runningCount"]) == ("PRIMARY", "IN_PROGRESS", 2)
    assert (active["status"], active["runningCount"]) == ("ACTIVE", 2)
    world.protect(old[0], enabled=False)
    world.until_running(service, 3)
    assert old[1] in world.running(service)
    world.protect(old[1], enabled=False)
    world.until_running(service, 2)
    world.until(lambda: world.shown(service)["deployments"][0]["rolloutState"] == "COMPLETED", "completed")


def test_protected_old_tasks_count_for_the_maximum(world: World) -> None:
    configuration = {"minimumHealthyPercent": 50, "maximumPercent": 100}
    service = world.service(2, deploymentConfiguration=configuration)
    old = world.running(service)
    world.protect(*old)
    world.update(service, forceNewDeployment=True)
    world.stays(lambda: sorted(world.tasks(service)) == sorted(old), "no room for a new task")
    world.protect(old[0], enabled=False)
    world.until(lambda: len(set(world.running(service)) - set(old)) == 1, "one takes the released one's place")
    assert old[1] in world.running(service)


def test_five_unfinished_deployments_block_the_sixth(world: World) -> None:
    # Five protected tasks, each of a deployment of its own; desiredCount 5 allows them all.
    service = world.service(5, deploymentConfiguration={"minimumHealthyPercent": 0, "maximumPercent": 200})
    for number in range(1, 5):
        newest = world.shown(service)["deployments"][0]["id"]
        one = next(t["taskArn"] for t in world.describe(world.running(service)) if t["startedBy"] == newest)
        assert refusals(world.protect(one)) == []
        world.update(service, forceNewDeployment=True)
        world.until_running(service, 5 + number)
        assert len(world.shown(service)["deployments"]) == number + 1
    with pytest.raises(ClientError) as refused:
        world.update(service, forceNewDeployment=True)
    assert refused.value.response["Error"]["Code"] == "InvalidParameterException"
    world.update(service, desiredCount=6)
    world.until_running(service, 10)
