# SPDX-License-Identifier: Apache-2.0
"""Application Auto Scaling beside the local ECS: what Terraform sends comes back, through botocore's own client."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.unit.local_ecs.api.conftest import SESSION, World

WEB = {
    "ServiceNamespace": "ecs",
    "ResourceId": "service/c/web",
    "ScalableDimension": "ecs:service:DesiredCount",
}
ECS_ONLY = {key: value for key, value in WEB.items() if key == "ServiceNamespace"}
CPU = {
    "PolicyType": "TargetTrackingScaling",
    "TargetTrackingScalingPolicyConfiguration": {
        "TargetValue": 70.0,
        "PredefinedMetricSpecification": {"PredefinedMetricType": "ECSServiceAverageCPUUtilization"},
        "ScaleInCooldown": 900,
    },
}


class Scaling:
    """Calls operations by name, in a thread: botocore blocks."""

    def __init__(self, endpoint: str) -> None:
        self._client = SESSION.client(
            "application-autoscaling",
            endpoint_url=endpoint,
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )

    async def __call__(self, operation: str, **request: Any) -> dict[str, Any]:
        answer: dict[str, Any] = await asyncio.to_thread(getattr(self._client, operation), **request)
        del answer["ResponseMetadata"]
        return answer

    async def targets(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await self("describe_scalable_targets", **ECS_ONLY))["ScalableTargets"]
        return found

    async def policies(self, **request: Any) -> list[str]:
        found = (await self("describe_scaling_policies", **ECS_ONLY, **request))["ScalingPolicies"]
        return [policy["PolicyName"] for policy in found]


@pytest.fixture
async def scaling(world: World) -> Scaling:
    await world.prepare()
    return Scaling(world.ecs.endpoint)


async def refusal(awaited: Awaitable[Any]) -> str:
    with pytest.raises(ClientError) as refused:
        await awaited
    return str(refused.value.response["Error"]["Code"])


async def test_a_target_comes_back_as_it_was_registered(scaling: Scaling, world: World) -> None:
    made = await scaling("register_scalable_target", **WEB, MinCapacity=1, MaxCapacity=4, Tags={"a": "b"})
    (target,) = await scaling.targets()
    assert {**WEB, "MinCapacity": 1, "MaxCapacity": 4}.items() <= target.items()
    assert target["ScalableTargetARN"] == made["ScalableTargetARN"]
    assert target["CreationTime"].timestamp() == world.clock.now()
    assert (await scaling("list_tags_for_resource", ResourceARN=made["ScalableTargetARN"]))["Tags"] == {"a": "b"}


async def test_a_second_registration_changes_what_it_says_alone(scaling: Scaling) -> None:
    first = await scaling("register_scalable_target", **WEB, MinCapacity=1, MaxCapacity=4)
    second = await scaling("register_scalable_target", **WEB, MaxCapacity=5)
    assert first == second
    (target,) = await scaling.targets()
    assert (target["MinCapacity"], target["MaxCapacity"]) == (1, 5)


@pytest.mark.parametrize(
    "changes",
    [
        {"MinCapacity": 5, "MaxCapacity": 4},
        {"MinCapacity": 5},
        {"MinCapacity": 1, "MaxCapacity": 4, "ResourceId": "service/c/other"},
        {"MinCapacity": 1, "MaxCapacity": 4, "ResourceId": "web"},
        {"MinCapacity": 1, "MaxCapacity": 4, "ServiceNamespace": "dynamodb"},
    ],
    ids=["more than most", "no most", "no such service", "no service", "not ECS"],
)
async def test_targets_that_cannot_be(scaling: Scaling, changes: dict[str, Any]) -> None:
    assert await refusal(scaling("register_scalable_target", **{**WEB, **changes})) == "ValidationException"
    assert await scaling.targets() == []


async def test_policies_are_put_replaced_and_deleted(scaling: Scaling) -> None:
    assert await refusal(scaling("put_scaling_policy", **WEB, PolicyName="cpu", **CPU)) == "ObjectNotFoundException"
    await scaling("register_scalable_target", **WEB, MinCapacity=1, MaxCapacity=4)
    first = await scaling("put_scaling_policy", **WEB, PolicyName="cpu", **CPU)
    assert await scaling("put_scaling_policy", **WEB, PolicyName="cpu", **CPU) == first
    await scaling("put_scaling_policy", **WEB, PolicyName="requests", **CPU)
    (policy, _) = (await scaling("describe_scaling_policies", **ECS_ONLY))["ScalingPolicies"]
    assert {**WEB, **CPU, "PolicyName": "cpu"}.items() <= policy.items()
    assert await scaling.policies(PolicyNames=["requests"]) == ["requests"]
    await scaling("delete_scaling_policy", **WEB, PolicyName="cpu")
    assert await scaling.policies() == ["requests"]
    assert await refusal(scaling("delete_scaling_policy", **WEB, PolicyName="cpu")) == "ObjectNotFoundException"


async def test_a_target_that_goes_takes_its_policies_and_tags_along(scaling: Scaling) -> None:
    made = await scaling("register_scalable_target", **WEB, MinCapacity=1, MaxCapacity=4)
    await scaling("put_scaling_policy", **WEB, PolicyName="cpu", **CPU)
    await scaling("deregister_scalable_target", **WEB)
    assert (await scaling.targets(), await scaling.policies()) == ([], [])
    gone = scaling("list_tags_for_resource", ResourceARN=made["ScalableTargetARN"])
    assert await refusal(gone) == "ResourceNotFoundException"
    assert await refusal(scaling("deregister_scalable_target", **WEB)) == "ObjectNotFoundException"


async def test_tags_change(scaling: Scaling) -> None:
    made = await scaling("register_scalable_target", **WEB, MinCapacity=1, MaxCapacity=4, Tags={"a": "1", "b": "2"})
    arn = made["ScalableTargetARN"]
    await scaling("tag_resource", ResourceARN=arn, Tags={"b": "3", "c": "4"})
    await scaling("untag_resource", ResourceARN=arn, TagKeys=["a"])
    assert (await scaling("list_tags_for_resource", ResourceARN=arn))["Tags"] == {"b": "3", "c": "4"}


async def test_targets_and_policies_outlive_the_daemon(start: Callable[..., Awaitable[World]], tmp_path: Path) -> None:
    file = tmp_path / "ecs.json"
    first = await start(state_file=file)
    await first.prepare()
    before = Scaling(first.ecs.endpoint)
    await before("register_scalable_target", **WEB, MinCapacity=1, MaxCapacity=4, Tags={"a": "b"})
    await before("put_scaling_policy", **WEB, PolicyName="cpu", **CPU)
    kept = await before.targets()
    await first.ecs.stop()
    after = Scaling((await start(state_file=file)).ecs.endpoint)
    assert await after.targets() == kept
    assert await after.policies() == ["cpu"]
    tags = await after("list_tags_for_resource", ResourceARN=kept[0]["ScalableTargetARN"])
    assert tags["Tags"] == {"a": "b"}
