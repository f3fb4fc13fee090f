# SPDX-License-Identifier: Apache-2.0
"""Tasks over the API and in the world: addresses, containers, load balancers, ends."""

from collections.abc import Callable
from typing import Any

from local_ecs.runtime.api import TaskEvent, TaskToRun
from tests.support.fake_task_runner import FakeTaskRunner
from tests.unit.local_ecs.api.conftest import World


async def test_a_running_task_in_full(world: World) -> None:
    await world.prepare(1)
    (task,) = world.live
    shown = await world.task(task.arn)
    details = {d["name"]: d["value"] for d in shown["attachments"][0]["details"]}
    assert details["privateIPv4Address"] == "127.16.1.1"
    (container,) = shown["containers"]
    assert container["networkInterfaces"][0]["privateIpv4Address"] == "127.16.1.1"
    assert (container["name"], container["lastStatus"]) == ("web", "RUNNING")
    assert (shown["lastStatus"], shown["desiredStatus"], shown["group"]) == ("RUNNING", "RUNNING", "service:web")
    assert shown["startedBy"] == (await world.service())["deployments"][0]["id"]
    assert "startedAt" in shown
    assert "stoppedAt" not in shown


async def test_what_the_runner_is_told(world: World) -> None:
    await world.prepare(1)
    (told,) = world.runner.started
    assert told.group == "service:web"
    assert told.task_definition["containerDefinitions"][0]["image"] == "nginx"
    token = f"{told.task_id}-{told.task_id[-10:]}"
    assert told.ecs_environment == {
        "ECS_AGENT_URI": f"{world.ecs.endpoint}/api/{token}",
        "ECS_CONTAINER_METADATA_URI_V4": f"{world.ecs.endpoint}/v4/{token}",
    }


async def test_every_task_has_its_own_address(world: World) -> None:
    await world.prepare(3)
    assert len({t.address for t in world.runner.started}) == 3


async def test_a_task_waits_through_its_states(start: Callable[..., Any]) -> None:
    world = await start(provisioning_s=10, pending_s=20, runner=FakeTaskRunner(slow_start=True))
    await world.call("create_cluster", clusterName="c")
    await world.register()
    (task,) = (await world.call("run_task", cluster="c", taskDefinition="web"))["tasks"]
    seen = []
    for seconds in (0, 10, 20):
        await world.pass_time(seconds)
        seen.append(((await world.task(task["taskArn"]))["lastStatus"], len(world.runner.started)))
    assert seen == [("PROVISIONING", 0), ("PENDING", 0), ("PENDING", 1)]
    world.runner.runs(task["taskArn"])
    assert (await world.task(task["taskArn"]))["lastStatus"] == "RUNNING"


async def test_a_stopped_task_keeps_its_containers_ends(world: World) -> None:
    await world.prepare(1)
    (task,) = world.live
    await world.call("update_service", cluster="c", service="web", desiredCount=0)
    await world.settled()
    shown = await world.task(task.arn)
    assert (shown["lastStatus"], shown["stopCode"]) == ("STOPPED", "ServiceSchedulerInitiated")
    assert shown["containers"][0]["exitCode"] == 143
    assert (await world.call("list_tasks", cluster="c"))["taskArns"] == []
    assert (await world.call("list_tasks", cluster="c", desiredStatus="STOPPED"))["taskArns"] == [task.arn]
    await world.pass_time(3601)
    answer = await world.call("describe_tasks", cluster="c", tasks=[task.arn])
    assert answer["failures"][0]["reason"] == "MISSING"


async def test_a_task_that_ends_is_replaced(world: World) -> None:
    await world.prepare(1)
    (gone,) = world.live
    world.runner.ends(gone.arn, exit_code=1)
    await world.until(lambda: len(world.live) == 1, "a replacement")
    shown = await world.task(gone.arn)
    assert (shown["stopCode"], shown["containers"][0]["exitCode"]) == ("EssentialContainerExited", 1)


async def test_a_task_that_cannot_start_is_tried_again_later(start: Callable[..., Any]) -> None:
    world = await start(runner=FakeTaskRunner(slow_start=True))
    await world.prepare(0)
    await world.call("update_service", cluster="c", service="web", desiredCount=1)
    await world.settled()
    world.runner.fails_to_start(world.runner.started[0].task_arn, "no such image")
    await world.settled()
    assert len(world.runner.started) == 1, "a pause comes first"
    await world.pass_time(2)
    assert len(world.runner.started) == 2
    shown = await world.task(world.runner.started[0].task_arn)
    assert (shown["stopCode"], shown["stoppedReason"]) == ("TaskFailedToStart", "no such image")


class BrokenRunner(FakeTaskRunner):
    async def start(self, task: TaskToRun, on_event: Callable[[TaskEvent], None]) -> None:
        raise OSError("too many open files")


async def test_a_runner_that_raises_fails_the_task_only(start: Callable[..., Any]) -> None:
    world = await start(runner=BrokenRunner())
    await world.prepare(0)
    await world.call("update_service", cluster="c", service="web", desiredCount=1)
    await world.settled()
    (arn,) = (await world.call("list_tasks", cluster="c", desiredStatus="STOPPED"))["taskArns"]
    assert "too many open files" in (await world.task(arn))["stoppedReason"]
    assert world.ecs.fault is None


async def test_targets_follow_the_tasks(world: World) -> None:
    balancer = {"targetGroupArn": "arn:tg", "containerName": "web", "containerPort": 80}
    await world.prepare(1, loadBalancers=[balancer])
    assert world.targets.calls == [("register", "127.16.1.1", 80)]
    world.runner.slow_stop = True
    await world.call("update_service", cluster="c", service="web", desiredCount=0)
    await world.settled()
    assert world.targets.calls[-1] == ("deregister", "127.16.1.1", 80), "it leaves before it is stopped"
    world.runner.ends(world.runner.started[0].task_arn)
    assert len(world.targets.calls) == 2


async def test_standalone_tasks_with_overrides_and_stop_task(world: World) -> None:
    await world.prepare(0)
    overrides = {"containerOverrides": [{"name": "web", "command": ["sleep", "1"]}]}
    answer = await world.call(
        "run_task",
        cluster="c",
        taskDefinition="web",
        count=2,
        startedBy="me",
        overrides=overrides,
        launchType="FARGATE",
    )
    await world.settled()
    assert len(answer["tasks"]) == 2
    assert world.runner.started[0].overrides == overrides
    assert len((await world.call("list_tasks", cluster="c", startedBy="me"))["taskArns"]) == 2
    arn = answer["tasks"][0]["taskArn"]
    await world.call("stop_task", cluster="c", task=arn, reason="enough")
    await world.settled()
    shown = await world.task(arn)
    assert (shown["stopCode"], shown["stoppedReason"]) == ("UserInitiated", "enough")


async def test_addresses_rest_before_they_are_used_again(world: World) -> None:
    await world.prepare(1)
    world.runner.ends(world.live[0].arn)
    await world.until(lambda: len(world.runner.started) == 2, "a replacement")
    assert [t.address for t in world.runner.started] == ["127.16.1.1", "127.16.1.2"]
