# SPDX-License-Identifier: Apache-2.0
"""Tasks through the API: addresses, containers, load balancers, ends."""

from collections.abc import Callable
from typing import Any

from local_ecs.runtime.api import TaskEvent, TaskToRun
from tests.emulated.local_ecs.api.conftest import EcsSetup
from tests.support.fake_task_runner import FakeTaskRunner


async def test_a_running_task_in_full(setup: EcsSetup) -> None:
    await setup.prepare(1)
    (task,) = setup.live
    shown = await setup.task(task.arn)
    details = {d["name"]: d["value"] for d in shown["attachments"][0]["details"]}
    assert details["privateIPv4Address"] == "127.16.1.1"
    (container,) = shown["containers"]
    assert container["networkInterfaces"][0]["privateIpv4Address"] == "127.16.1.1"
    assert (container["name"], container["lastStatus"]) == ("web", "RUNNING")
    assert (shown["lastStatus"], shown["desiredStatus"], shown["group"]) == ("RUNNING", "RUNNING", "service:web")
    assert shown["startedBy"] == (await setup.service())["deployments"][0]["id"]
    assert "startedAt" in shown
    assert "stoppedAt" not in shown


async def test_the_runner_gets_the_task(setup: EcsSetup) -> None:
    await setup.prepare(1)
    (task,) = setup.runner.started
    assert task.group == "service:web"
    assert task.task_definition["containerDefinitions"][0]["image"] == "nginx"
    token = f"{task.task_id}-{task.task_id[-10:]}"
    assert task.ecs_environment == {
        "ECS_AGENT_URI": f"{setup.ecs.endpoint}/api/{token}",
        "ECS_CONTAINER_METADATA_URI_V4": f"{setup.ecs.endpoint}/v4/{token}",
    }


async def test_every_task_has_its_own_address(setup: EcsSetup) -> None:
    await setup.prepare(3)
    assert len({t.address for t in setup.runner.started}) == 3


async def test_a_task_passes_through_its_states(start: Callable[..., Any]) -> None:
    setup = await start(provisioning_s=10, pending_s=20, runner=FakeTaskRunner(slow_start=True))
    await setup.call("create_cluster", clusterName="c")
    await setup.register()
    (task,) = (await setup.call("run_task", cluster="c", taskDefinition="web"))["tasks"]
    seen = []
    for seconds in (0, 10, 20):
        await setup.pass_time(seconds)
        seen.append(((await setup.task(task["taskArn"]))["lastStatus"], len(setup.runner.started)))
    assert seen == [("PROVISIONING", 0), ("PENDING", 0), ("PENDING", 1)]
    setup.runner.runs(task["taskArn"])
    assert (await setup.task(task["taskArn"]))["lastStatus"] == "RUNNING"


async def test_a_stopped_task_has_the_exit_codes_of_its_containers(setup: EcsSetup) -> None:
    await setup.prepare(1)
    (task,) = setup.live
    await setup.call("update_service", cluster="c", service="web", desiredCount=0)
    await setup.settled()
    shown = await setup.task(task.arn)
    assert (shown["lastStatus"], shown["stopCode"]) == ("STOPPED", "ServiceSchedulerInitiated")
    assert shown["containers"][0]["exitCode"] == 143
    assert (await setup.call("list_tasks", cluster="c"))["taskArns"] == []
    assert (await setup.call("list_tasks", cluster="c", desiredStatus="STOPPED"))["taskArns"] == [task.arn]
    await setup.pass_time(3601)
    answer = await setup.call("describe_tasks", cluster="c", tasks=[task.arn])
    assert answer["failures"][0]["reason"] == "MISSING"


async def test_a_task_that_exits_is_replaced(setup: EcsSetup) -> None:
    await setup.prepare(1)
    (gone,) = setup.live
    setup.runner.ends(gone.arn, exit_code=1)
    await setup.until(lambda: len(setup.live) == 1, "a replacement")
    shown = await setup.task(gone.arn)
    assert (shown["stopCode"], shown["containers"][0]["exitCode"]) == ("EssentialContainerExited", 1)


async def test_a_task_that_cannot_start_is_launched_again_later(start: Callable[..., Any]) -> None:
    setup = await start(runner=FakeTaskRunner(slow_start=True))
    await setup.prepare(0)
    await setup.call("update_service", cluster="c", service="web", desiredCount=1)
    await setup.settled()
    setup.runner.fails_to_start(setup.runner.started[0].task_arn, "no such image")
    await setup.settled()
    assert len(setup.runner.started) == 1, "a pause comes first"
    await setup.pass_time(2)
    assert len(setup.runner.started) == 2
    shown = await setup.task(setup.runner.started[0].task_arn)
    assert (shown["stopCode"], shown["stoppedReason"]) == ("TaskFailedToStart", "no such image")


class BrokenRunner(FakeTaskRunner):
    async def start(self, task: TaskToRun, on_event: Callable[[TaskEvent], None]) -> None:
        raise OSError("too many open files")


async def test_a_runner_that_raises_fails_the_task_only(start: Callable[..., Any]) -> None:
    setup = await start(runner=BrokenRunner())
    await setup.prepare(0)
    await setup.call("update_service", cluster="c", service="web", desiredCount=1)
    await setup.settled()
    (arn,) = (await setup.call("list_tasks", cluster="c", desiredStatus="STOPPED"))["taskArns"]
    assert "too many open files" in (await setup.task(arn))["stoppedReason"]
    assert setup.ecs.fault is None


async def test_running_tasks_are_registered_as_targets(setup: EcsSetup) -> None:
    balancer = {"targetGroupArn": "arn:tg", "containerName": "web", "containerPort": 80}
    await setup.prepare(1, loadBalancers=[balancer])
    assert setup.targets.calls == [("register", "127.16.1.1", 80)]
    setup.runner.slow_stop = True
    await setup.call("update_service", cluster="c", service="web", desiredCount=0)
    await setup.settled()
    assert setup.targets.calls[-1] == ("deregister", "127.16.1.1", 80), "it leaves before it is stopped"
    setup.runner.ends(setup.runner.started[0].task_arn)
    assert len(setup.targets.calls) == 2


async def test_standalone_tasks_with_overrides_and_stop_task(setup: EcsSetup) -> None:
    await setup.prepare(0)
    overrides = {"containerOverrides": [{"name": "web", "command": ["sleep", "1"]}]}
    answer = await setup.call(
        "run_task",
        cluster="c",
        taskDefinition="web",
        count=2,
        startedBy="me",
        overrides=overrides,
        launchType="FARGATE",
    )
    await setup.settled()
    assert len(answer["tasks"]) == 2
    assert setup.runner.started[0].overrides == overrides
    assert len((await setup.call("list_tasks", cluster="c", startedBy="me"))["taskArns"]) == 2
    arn = answer["tasks"][0]["taskArn"]
    await setup.call("stop_task", cluster="c", task=arn, reason="enough")
    await setup.settled()
    shown = await setup.task(arn)
    assert (shown["stopCode"], shown["stoppedReason"]) == ("UserInitiated", "enough")


async def test_released_addresses_are_reused_late(setup: EcsSetup) -> None:
    await setup.prepare(1)
    setup.runner.ends(setup.live[0].arn)
    await setup.until(lambda: len(setup.runner.started) == 2, "a replacement")
    assert [t.address for t in setup.runner.started] == ["127.16.1.1", "127.16.1.2"]
