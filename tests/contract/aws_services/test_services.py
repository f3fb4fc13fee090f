# SPDX-License-Identifier: Apache-2.0
"""ECS's services as the scaler reads and sizes them; protection is tested on our own ECS, for no emulator has it."""

import pytest

from scaler.adapters.ecs import EcsCluster
from scaler.errors import SourceError
from tests.contract.aws_services.conftest import Emulator, Open

pytestmark = [pytest.mark.emulated]
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
    ecs = EcsCluster(await scalers_client("ecs"), cluster, deadline_s=10, window_s=0)
    assert (await ecs.service(SERVICE)).desired == 0
    await ecs.set_desired(SERVICE, 3)
    assert (await ecs.service(SERVICE)).desired == 3


async def test_a_service_that_is_not_there_is_unknown_and_not_empty(scalers_client: Open, cluster: str) -> None:
    ecs = EcsCluster(await scalers_client("ecs"), cluster, deadline_s=10, window_s=0)
    with pytest.raises(SourceError):
        await ecs.service("worker-gone")


async def test_an_answer_that_leaves_tasks_out_is_not_believed(scalers_client: Open, cluster: str) -> None:
    """Ministack answers GetTaskProtection with nothing at all, moto not: neither is "not protected"."""
    ecs = EcsCluster(await scalers_client("ecs"), cluster, deadline_s=10, window_s=0)
    task = f"arn:aws:ecs:us-east-1:123456789012:task/{cluster}/0123456789abcdef0123456789abcdef"
    with pytest.raises(SourceError):
        await ecs.protected([task])
