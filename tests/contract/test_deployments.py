# SPDX-License-Identifier: Apache-2.0
"""Rolling deployments with protected tasks, and the limit of unfinished deployments."""

import pytest
from botocore.exceptions import ClientError

from tests.contract.ecs_under_test import EcsUnderTest, refusals

pytestmark = pytest.mark.contract


def test_a_new_task_definition_replaces_all_tasks(ecs: EcsUnderTest) -> None:
    service = ecs.service(2)
    old = ecs.running(service)
    definition = ecs.register()
    ecs.update(service, taskDefinition=definition)
    ecs.until(lambda: len(ecs.shown(service)["deployments"]) == 1, "one deployment left")
    ecs.until_running(service, 2)
    assert not set(old) & set(ecs.running(service))
    assert {t["taskDefinitionArn"] for t in ecs.describe(ecs.running(service))} == {definition}
    assert ecs.shown(service)["deployments"][0]["rolloutState"] == "COMPLETED"


def test_new_tasks_start_beside_protected_old_ones_which_stay_until_released(ecs: EcsUnderTest) -> None:
    service = ecs.service(2)
    old = ecs.running(service)
    ecs.protect(*old)
    ecs.update(service, forceNewDeployment=True)
    ecs.until_running(service, 4)
    ecs.stays(lambda: set(old) <= set(ecs.running(service)), "protected old tasks stay")
    primary, active = ecs.shown(service)["deployments"]
    assert (primary["status"], primary["rolloutState"], primary["runningCount"]) == ("PRIMARY", "IN_PROGRESS", 2)
    assert (active["status"], active["runningCount"]) == ("ACTIVE", 2)
    ecs.protect(old[0], enabled=False)
    ecs.until_running(service, 3)
    assert old[1] in ecs.running(service)
    ecs.protect(old[1], enabled=False)
    ecs.until_running(service, 2)
    ecs.until(lambda: ecs.shown(service)["deployments"][0]["rolloutState"] == "COMPLETED", "completed")


def test_protected_old_tasks_count_for_the_maximum(ecs: EcsUnderTest) -> None:
    configuration = {"minimumHealthyPercent": 50, "maximumPercent": 100}
    service = ecs.service(2, deploymentConfiguration=configuration)
    old = ecs.running(service)
    ecs.protect(*old)
    ecs.update(service, forceNewDeployment=True)
    ecs.stays(lambda: sorted(ecs.tasks(service)) == sorted(old), "no room for a new task")
    ecs.protect(old[0], enabled=False)
    ecs.until(lambda: len(set(ecs.running(service)) - set(old)) == 1, "one takes the released one's platform")
    assert old[1] in ecs.running(service)


def test_five_unfinished_deployments_block_the_sixth(ecs: EcsUnderTest) -> None:
    # Five protected tasks, each of a deployment of its own; desiredCount 5 allows them all.
    service = ecs.service(5, deploymentConfiguration={"minimumHealthyPercent": 0, "maximumPercent": 200})
    for number in range(1, 5):
        newest = ecs.shown(service)["deployments"][0]["id"]
        task = next(t["taskArn"] for t in ecs.describe(ecs.running(service)) if t["startedBy"] == newest)
        assert refusals(ecs.protect(task)) == []
        ecs.update(service, forceNewDeployment=True)
        ecs.until_running(service, 5 + number)
        assert len(ecs.shown(service)["deployments"]) == number + 1
    with pytest.raises(ClientError) as refused:
        ecs.update(service, forceNewDeployment=True)
    assert refused.value.response["Error"]["Code"] == "InvalidParameterException"
    ecs.update(service, desiredCount=6)
    ecs.until_running(service, 10)
