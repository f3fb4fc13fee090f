# SPDX-License-Identifier: Apache-2.0
"""The endpoints of a container: protection and task metadata."""

from collections.abc import Callable
from typing import Any

import aiohttp
import pytest

from tests.emulated.local_ecs.api.conftest import EcsSetup


async def agent(setup: EcsSetup, method: str = "GET", json: Any = None, index: int = 0) -> tuple[int, dict[str, Any]]:
    uri = setup.runner.started[index].ecs_environment["ECS_AGENT_URI"]
    async with aiohttp.ClientSession() as session:
        answer = await session.request(method, f"{uri}/task-protection/v1/state", json=json)
        return answer.status, await answer.json()


async def test_protection_through_the_agent(setup: EcsSetup) -> None:
    await setup.prepare(1)
    arn = setup.live[0].arn
    assert await agent(setup) == (200, {"protection": {"ProtectionEnabled": False, "TaskArn": arn}})
    protection = {"ProtectionEnabled": True, "ExpirationDate": "2025-10-09T09:53:20Z", "TaskArn": arn}
    assert await agent(setup, "PUT", {"ProtectionEnabled": True, "ExpiresInMinutes": 60}) == (
        200,
        {"protection": protection},
    )
    assert await agent(setup) == (200, {"protection": protection})
    answer = await setup.call("get_task_protection", cluster="c", tasks=[arn])
    assert answer["protectedTasks"][0]["protectionEnabled"] is True
    assert await agent(setup, "PUT", {"ProtectionEnabled": False}) == (
        200,
        {"protection": {"ProtectionEnabled": False, "TaskArn": arn}},
    )


async def test_a_refusal_is_a_failure_with_status_200(setup: EcsSetup) -> None:
    await setup.prepare(2)
    await agent(setup, "PUT", {"ProtectionEnabled": True})
    await agent(setup, "PUT", {"ProtectionEnabled": True}, index=1)
    await setup.call("update_service", cluster="c", service="web", desiredCount=1)
    status, answer = await agent(setup, "PUT", {"ProtectionEnabled": True})
    assert status == 200
    assert answer["failure"]["Reason"] == "DEPLOYMENT_BLOCKED"
    assert answer["failure"]["Arn"] == setup.runner.started[0].task_arn


async def test_a_standalone_task_is_not_valid(setup: EcsSetup) -> None:
    await setup.prepare(0)
    await setup.call("run_task", cluster="c", taskDefinition="web")
    await setup.settled()
    assert (await agent(setup))[1]["failure"]["Reason"] == "TASK_NOT_VALID"


@pytest.mark.parametrize(
    "body",
    [{}, [], {"ProtectionEnabled": "yes"}, {"ProtectionEnabled": True, "ExpiresInMinutes": "60"}]
    + [{"ProtectionEnabled": True, "ExpiresInMinutes": n} for n in (0, 2881)],
)
async def test_invalid_protection_requests(setup: EcsSetup, body: Any) -> None:
    await setup.prepare(1)
    status, answer = await agent(setup, "PUT", body)
    assert status == 400
    assert answer["error"]["Code"] == "InvalidParameterException"
    assert answer["requestID"]


async def test_an_outage_is_an_error_without_effect(setup: EcsSetup) -> None:
    await setup.prepare(1)
    setup.ecs.faults.agent_outage()
    status, answer = await agent(setup, "PUT", {"ProtectionEnabled": True})
    assert (status, answer["error"]["Code"]) == (500, "ServerException")
    setup.ecs.faults.agent_outage(out=False)
    assert (await agent(setup))[1]["protection"]["ProtectionEnabled"] is False


async def test_the_agent_endpoint_is_throttled(start: Callable[..., Any]) -> None:
    setup = await start(throttling=True)
    await setup.prepare(1)
    codes = [(await agent(setup))[0] for _ in range(41)]
    assert codes == [200] * 40 + [400]


async def test_task_metadata(setup: EcsSetup) -> None:
    await setup.prepare(1)
    started = setup.runner.started[0]
    uri = started.ecs_environment["ECS_CONTAINER_METADATA_URI_V4"]
    async with aiohttp.ClientSession() as session:
        task = await (await session.get(f"{uri}/task")).json()
        container = await (await session.get(uri)).json()
    assert task["TaskARN"] == started.task_arn
    assert (task["Family"], task["Revision"], task["ServiceName"]) == ("web", "1", "web")
    assert task["Cluster"].endswith("cluster/c")
    assert task["Containers"][0]["Networks"][0]["IPv4Addresses"] == [started.address]
    assert container == task["Containers"][0]


async def test_the_token_of_an_unknown_or_stopped_task_is_404(setup: EcsSetup) -> None:
    await setup.prepare(1)
    uri = setup.runner.started[0].ecs_environment["ECS_CONTAINER_METADATA_URI_V4"]
    await setup.call("update_service", cluster="c", service="web", desiredCount=0)
    await setup.settled()
    async with aiohttp.ClientSession() as session:
        assert (await session.get(f"{setup.ecs.endpoint}/v4/unknown/task")).status == 404
        assert (await session.get(f"{uri}/task")).status == 404
