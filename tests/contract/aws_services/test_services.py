# SPDX-License-Identifier: Apache-2.0
"""ECS services with the scaler's reads and writes. Protection is tested on the local ECS: no emulator has it."""

import pytest

from scaler.adapters.ecs import EcsClusterAdapter
from scaler.errors import SourceError
from tests.contract.aws_services.conftest import Emulator, Open

# LocalStack's ECS needs a licence, and protects no tasks.
pytestmark = [pytest.mark.emulated, pytest.mark.parametrize("emulator", ["ministack", "moto"], indirect=True)]
SERVICE = "worker-default-a"


@pytest.fixture
def cluster(emulator: Emulator, name: str) -> str:
    ecs = emulator.client("ecs")
    ecs.create_cluster(clusterName=name)
    container = {"name": "worker", "image": "example.com/worker:1", "memory": 512}
    ecs.register_task_definition(family=name, containerDefinitions=[container], cpu="256", memory="512")
    ecs.create_service(cluster=name, serviceName=SERVICE, taskDefinition=name, desiredCount=0)
    return name


async def test_a_service_is_sized_and_read_back(scalers_client: Open, cluster: str) -> None:
    ecs = EcsClusterAdapter(await scalers_client("ecs"), cluster, deadline_s=10, window_s=0)
    assert (await ecs.service(SERVICE)).desired == 0
    await ecs.set_desired(SERVICE, 3)
    assert (await ecs.service(SERVICE)).desired == 3


async def test_a_missing_service_is_unknown_and_not_empty(scalers_client: Open, cluster: str) -> None:
    ecs = EcsClusterAdapter(await scalers_client("ecs"), cluster, deadline_s=10, window_s=0)
    with pytest.raises(SourceError):
        await ecs.service("worker-gone")


async def test_an_answer_without_some_tasks_is_unknown(scalers_client: Open, cluster: str) -> None:
    """Ministack answers GetTaskProtection with an empty body, moto with an error: neither means "not protected"."""
    ecs = EcsClusterAdapter(await scalers_client("ecs"), cluster, deadline_s=10, window_s=0)
    task = f"arn:aws:ecs:us-east-1:123456789012:task/{cluster}/0123456789abcdef0123456789abcdef"
    with pytest.raises(SourceError):
        await ecs.protected([task])
