# SPDX-License-Identifier: Apache-2.0
"""Clusters, task definitions and services through the API: round trips, deployments, tags."""

import pytest
from botocore.exceptions import ClientError

from tests.emulated.local_ecs.api.conftest import EcsSetup

NETWORK = {"awsvpcConfiguration": {"subnets": ["subnet-1"], "securityGroups": ["sg-1"], "assignPublicIp": "DISABLED"}}
SPOT = [{"capacityProvider": "FARGATE_SPOT", "weight": 1, "base": 0}]


async def test_a_described_cluster_equals_the_request(setup: EcsSetup) -> None:
    settings = [{"name": "containerInsights", "value": "enabled"}]
    await setup.call("create_cluster", clusterName="c", settings=settings, tags=[{"key": "a", "value": "1"}])
    await setup.call(
        "put_cluster_capacity_providers",
        cluster="c",
        capacityProviders=["FARGATE"],
        defaultCapacityProviderStrategy=[{"capacityProvider": "FARGATE", "weight": 1, "base": 0}],
    )
    answer = await setup.call("describe_clusters", clusters=["c", "nowhere"], include=["TAGS"])
    (cluster,) = answer["clusters"]
    assert cluster["settings"] == settings
    assert cluster["capacityProviders"] == ["FARGATE"]
    assert cluster["tags"] == [{"key": "a", "value": "1"}]
    assert [f["reason"] for f in answer["failures"]] == ["MISSING"]
    assert (await setup.call("list_clusters"))["clusterArns"] == [cluster["clusterArn"]]
    changed = await setup.call(
        "update_cluster", cluster="c", settings=[{"name": "containerInsights", "value": "disabled"}]
    )
    assert changed["cluster"]["settings"][0]["value"] == "disabled"
    assert (await setup.call("delete_cluster", cluster="c"))["cluster"]["status"] == "INACTIVE"


async def test_a_described_task_definition_equals_the_request(setup: EcsSetup) -> None:
    container = {
        "name": "web",
        "image": "nginx",
        "portMappings": [],
        "mountPoints": [{"sourceVolume": "v", "containerPath": "/v"}],
        "dependsOn": [{"containerName": "other", "condition": "HEALTHY"}],
        "stopTimeout": 120,
    }
    sent = {
        "family": "web",
        "containerDefinitions": [container, {"name": "other", "image": "x", "cpu": 64}],
        "cpu": "256",
        "memory": "512",
        "networkMode": "awsvpc",
        "requiresCompatibilities": ["FARGATE"],
        "volumes": [{"name": "v"}],
    }
    made = await setup.call("register_task_definition", **sent, tags=[{"key": "a", "value": "1"}])
    assert "tags" not in made["taskDefinition"], "tags are in a separate field"
    answer = await setup.call("describe_task_definition", taskDefinition="web:1", include=["TAGS"])
    assert answer["tags"] == [{"key": "a", "value": "1"}]
    shown = answer["taskDefinition"]
    assert {k: shown[k] for k in sent if k != "containerDefinitions"} == {
        k: v for k, v in sent.items() if k != "containerDefinitions"
    }
    assert shown["containerDefinitions"] == [{"cpu": 0, **container}, {"name": "other", "image": "x", "cpu": 64}]
    await setup.call("deregister_task_definition", taskDefinition="web:1")
    assert (await setup.call("list_task_definitions", familyPrefix="web"))["taskDefinitionArns"] == []
    assert len((await setup.call("list_task_definitions", status="INACTIVE"))["taskDefinitionArns"]) == 1


async def test_a_described_service_equals_the_request(setup: EcsSetup) -> None:
    sent = {
        "launchType": "FARGATE",
        "networkConfiguration": NETWORK,
        "loadBalancers": [{"targetGroupArn": "arn:tg", "containerName": "web", "containerPort": 80}],
        "availabilityZoneRebalancing": "DISABLED",
        "propagateTags": "SERVICE",
        "enableExecuteCommand": True,
        "healthCheckGracePeriodSeconds": 30,
    }
    await setup.prepare(1, **sent, capacityProviderStrategy=[], vpcLatticeConfigurations=[], clientToken="t")
    shown = await setup.service()
    assert {k: shown[k] for k in sent} == sent
    assert "capacityProviderStrategy" not in shown
    assert "tags" not in shown
    assert (shown["runningCount"], shown["pendingCount"], shown["status"]) == (1, 0, "ACTIVE")
    assert shown["deployments"][0]["networkConfiguration"] == NETWORK
    again = await setup.call(
        "create_service", cluster="c", serviceName="web", taskDefinition="web", desiredCount=5, clientToken="t"
    )
    assert again["service"]["desiredCount"] == 1, "a repeated creation answers with the first one's service"
    with pytest.raises(ClientError, match="not idempotent"):
        await setup.call("create_service", cluster="c", serviceName="web", taskDefinition="web", clientToken="other")


async def test_a_service_with_a_strategy_has_no_launch_type(setup: EcsSetup) -> None:
    await setup.prepare(1, capacityProviderStrategy=SPOT)
    shown = await setup.service()
    assert shown["capacityProviderStrategy"] == SPOT
    assert "launchType" not in shown
    assert "launchType" not in shown["deployments"][0]
    (task,) = setup.live
    assert (await setup.task(task.arn))["capacityProviderName"] == "FARGATE_SPOT"


async def test_a_service_without_a_strategy_uses_the_clusters_default(setup: EcsSetup) -> None:
    await setup.call("create_cluster", clusterName="c", defaultCapacityProviderStrategy=SPOT)
    await setup.prepare(0)
    assert (await setup.service())["capacityProviderStrategy"] == SPOT


async def test_a_change_of_strategy_drops_the_launch_type_and_deploys(setup: EcsSetup) -> None:
    await setup.prepare(1, launchType="FARGATE")
    before = (await setup.service())["deployments"][0]["id"]
    await setup.call(
        "update_service", cluster="c", service="web", capacityProviderStrategy=SPOT, forceNewDeployment=True
    )
    await setup.settled()
    shown = await setup.service()
    assert "launchType" not in shown
    assert [d["id"] for d in shown["deployments"]] != [before]


@pytest.mark.parametrize(
    ("change", "deploys"),
    [
        ({"desiredCount": 1}, False),
        ({"desiredCount": 3}, False),
        ({"loadBalancers": [], "serviceRegistries": []}, False),
        ({"networkConfiguration": NETWORK}, False),
        ({"deploymentConfiguration": {"maximumPercent": 150}}, False),
        ({"taskDefinition": "web:1"}, False),
        ({"taskDefinition": "web"}, True),
        ({"forceNewDeployment": True}, True),
        ({"networkConfiguration": {"awsvpcConfiguration": {"subnets": ["subnet-2"]}}}, True),
    ],
    ids=["same count", "count", "empty lists", "same network", "percent", "same task", "new task", "force", "network"],
)
async def test_which_changes_start_a_deployment(setup: EcsSetup, change: dict[str, object], deploys: bool) -> None:
    await setup.prepare(1, launchType="FARGATE", networkConfiguration=NETWORK)
    await setup.register(image="2")
    before = (await setup.service())["deployments"][0]["id"]
    await setup.call("update_service", cluster="c", service="web", **change)
    await setup.settled()
    shown = await setup.service()
    assert (shown["deployments"][0]["id"] != before) == deploys
    assert len(shown["deployments"]) == 1


async def test_a_partial_deployment_configuration_keeps_the_rest(setup: EcsSetup) -> None:
    breaker = {"enable": True, "rollback": True}
    await setup.prepare(0, deploymentConfiguration={"deploymentCircuitBreaker": breaker, "maximumPercent": 150})
    await setup.call(
        "update_service", cluster="c", service="web", deploymentConfiguration={"minimumHealthyPercent": 50}
    )
    shown = (await setup.service())["deploymentConfiguration"]
    assert shown["deploymentCircuitBreaker"] == breaker
    assert (shown["maximumPercent"], shown["minimumHealthyPercent"]) == (150, 50)


async def test_tags_are_included_on_request_and_can_change(setup: EcsSetup) -> None:
    await setup.prepare(0, tags=[{"key": "a", "value": "1"}])
    arn = (await setup.service())["serviceArn"]
    await setup.call("tag_resource", resourceArn=arn, tags=[{"key": "b", "value": "2"}])
    await setup.call("untag_resource", resourceArn=arn, tagKeys=["a"])
    assert (await setup.service(include=["TAGS"]))["tags"] == [{"key": "b", "value": "2"}]
    assert (await setup.call("list_tags_for_resource", resourceArn=arn))["tags"] == [{"key": "b", "value": "2"}]


async def test_a_deleted_service_is_inactive_and_can_be_described(setup: EcsSetup) -> None:
    await setup.prepare(1)
    await setup.call("update_service", cluster="c", service="web", desiredCount=0)
    answer = await setup.call("delete_service", cluster="c", service="web")
    assert answer["service"]["status"] == "DRAINING"
    await setup.settled()
    assert (await setup.service())["status"] == "INACTIVE"
    assert (await setup.call("list_services", cluster="c"))["serviceArns"] == []


async def test_unsupported_requests_are_refused(setup: EcsSetup) -> None:
    await setup.prepare(0)
    for wish in (
        {"schedulingStrategy": "DAEMON"},
        {"deploymentController": {"type": "CODE_DEPLOY"}},
        {"deploymentConfiguration": {"strategy": "BLUE_GREEN"}},
        {"deploymentConfiguration": {"minimumHealthyPercent": 100, "maximumPercent": 50}},
        {"launchType": "FARGATE", "capacityProviderStrategy": SPOT},
    ):
        with pytest.raises(ClientError, match="InvalidParameterException"):
            await setup.call("create_service", cluster="c", serviceName="other", taskDefinition="web", **wish)


async def test_pages(setup: EcsSetup) -> None:
    await setup.prepare(0)
    for n in range(12):
        await setup.call("create_service", cluster="c", serviceName=f"s{n}", taskDefinition="web")
    first = await setup.call("list_services", cluster="c")
    assert len(first["serviceArns"]) == 10, "ECS lists ten services a page by default"
    rest = await setup.call("list_services", cluster="c", nextToken=first["nextToken"])
    assert len(rest["serviceArns"]) == 3
    assert "nextToken" not in rest
    with pytest.raises(ClientError, match="Invalid token"):
        await setup.call("list_services", cluster="c", nextToken="!")
