# SPDX-License-Identifier: Apache-2.0
"""The life of a local ECS: state kept over a restart, journal, log, throttling, faults, its end."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local_ecs.api import BlockAddresses, StateFileError
from local_ecs.api.throttle import Rate, Throttle
from tests.unit.local_ecs.api.conftest import World


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


async def test_services_come_back_after_a_restart(start: Callable[..., Any], tmp_path: Path) -> None:
    state = tmp_path / "deep" / "ecs.json"
    first = await start(state_file=state)
    await first.prepare(2, tags=[{"key": "a", "value": "1"}])
    before = await first.service(include=["TAGS"])
    await first.ecs.stop()
    assert first.runner.closed

    second = await start(state_file=state)
    await second.until(lambda: len(second.live) == 2, "both tasks anew")
    after = await second.service(include=["TAGS"])
    for key in ("serviceArn", "taskDefinition", "desiredCount", "tags", "createdAt", "deploymentConfiguration"):
        assert after[key] == before[key]
    assert [d["id"] for d in after["deployments"]] == [d["id"] for d in before["deployments"]]


async def test_a_change_is_on_disk_before_it_is_answered(start: Callable[..., Any], tmp_path: Path) -> None:
    state = tmp_path / "ecs.json"
    world = await start(state_file=state)
    await world.prepare(0)
    await world.call("update_service", cluster="c", service="web", desiredCount=7)
    assert json.loads(state.read_text())["services"][0]["desired_count"] == 7
    assert set(names_in(tmp_path)) == {"ecs.json"}, "a draft remains"


@pytest.mark.parametrize("text", ["", "{}", '{"version": 99}', "[]"])
async def test_a_foreign_state_file_is_not_guessed_at(start: Callable[..., Any], tmp_path: Path, text: str) -> None:
    state = tmp_path / "ecs.json"
    state.write_text(text)
    with pytest.raises(StateFileError, match=r"ecs\.json"):
        await start(state_file=state)
    assert state.read_text() == text


async def test_a_taken_port_is_an_error(start: Callable[..., Any]) -> None:
    world = await start()
    port = int(world.ecs.endpoint.rpartition(":")[2])
    with pytest.raises(OSError, match="address already in use"):
        await start(port=port)


async def test_the_journal_tells_who_changed_what(world: World) -> None:
    await world.prepare(1)
    await world.call("update_service", cluster="c", service="web", desiredCount=3)
    await world.settled()
    (entry,) = world.ecs.journal.entries("UpdateService")
    assert entry.at == world.clock.now()
    assert entry.detail == {
        "service": "web",
        "desired_before": 1,
        "desired": 3,
        "deployed": False,
        "applied": True,
        "caller": "unit-tests",
    }
    kinds = [e.kind for e in world.ecs.journal.entries("TaskStarted", "TaskRunning")]
    assert kinds.count("TaskRunning") == 3


async def test_the_journal_notes_refused_protection(world: World) -> None:
    await world.prepare(1)
    arn = world.live[0].arn
    await world.call("update_task_protection", cluster="c", tasks=[arn], protectionEnabled=True)
    world.runner.slow_stop = True
    await world.call("update_service", cluster="c", service="web", desiredCount=0)
    await world.call("update_task_protection", cluster="c", tasks=[arn], protectionEnabled=True)
    assert [e.detail["refused"] for e in world.ecs.journal.entries("Protection")] == [None, "DEPLOYMENT_BLOCKED"]


async def test_the_journal_is_bounded(start: Callable[..., Any]) -> None:
    world = await start(journal_length=3)
    await world.prepare(5)
    assert len(world.ecs.journal.entries()) == 3


async def test_service_events_are_logged_once_and_in_order(start: Callable[..., Any], tmp_path: Path) -> None:
    log = tmp_path / "logs" / "ecs.log"
    world = await start(event_log=log)
    await world.prepare(1)
    await world.settled()
    lines = log.read_text().splitlines()
    assert len(lines) == 3
    assert "has started 1 tasks" in lines[0]
    assert lines[2].endswith("(service web) has reached a steady state.")
    assert lines[0].startswith("2025-10-09T08:53:20.000+00:00 ")


async def test_the_status(world: World) -> None:
    await world.prepare(1)
    await world.settled()
    status = json.loads(json.dumps(world.ecs.status()))
    (service,) = status["services"]
    assert (service["name"], service["desired"], service["running"], service["pending"]) == ("web", 1, 1, 0)
    assert service["steady"] is True
    assert service["tasks"][0]["address"] == "127.16.1.1"
    assert service["events"][0]["message"].endswith("steady state.")
    assert status["fault"] is None


async def test_calls_over_the_rate_are_throttled(start: Callable[..., Any]) -> None:
    world = await start(throttling=True)
    for n in range(20):
        await world.call("create_cluster", clusterName=f"c{n}")
    with pytest.raises(ClientError) as refused:
        await world.call("create_cluster", clusterName="c20")
    assert refused.value.response["Error"]["Code"] == "ThrottlingException"
    world.clock.move(1)
    await world.call("create_cluster", clusterName="c20")
    assert world.ecs.journal.entries("Throttled")[0].detail["operation"] == "CreateCluster"


async def test_throttling_on_demand(world: World) -> None:
    await world.prepare(0)
    world.ecs.faults.throttle("UpdateService", 1)
    with pytest.raises(ClientError, match="Rate exceeded"):
        await world.call("update_service", cluster="c", service="web", desiredCount=1)
    await world.call("update_service", cluster="c", service="web", desiredCount=1)


def test_a_bucket_fills_up_to_its_burst_only() -> None:
    now = [0.0]
    throttle = Throttle(lambda: now[0], enabled=True)
    rate = Rate(burst=2, per_s=1)
    now[0] = 1000.0
    for _ in range(2):
        throttle.take("group", rate)
    with pytest.raises(Exception, match="Rate exceeded"):
        throttle.take("group", rate)


async def test_faults_reach_the_world(world: World) -> None:
    await world.prepare(1)
    world.ecs.faults.ignore_updates("web")
    await world.call("update_service", cluster="c", service="web", desiredCount=5)
    await world.settled()
    assert (await world.service())["desiredCount"] == 1
    assert world.ecs.journal.entries("UpdateService")[0].detail["applied"] is False

    world.ecs.faults.hold_launches("web")
    await world.call("update_service", cluster="c", service="web", desiredCount=2)
    await world.settled()
    assert (await world.service())["pendingCount"] == 1
    world.ecs.faults.hold_launches("web", held=False)
    await world.settled()
    assert (await world.service())["runningCount"] == 2

    world.ecs.faults.fail_launches("web", 1)
    world.ecs.faults.interrupt(world.live[0].arn)
    await world.settled()
    assert (await world.service())["runningCount"] == 1
    await world.pass_time(2)
    assert (await world.service())["runningCount"] == 2


async def test_protection_expires_by_the_clock(world: World) -> None:
    await world.prepare(1)
    arn = world.live[0].arn
    await world.call("update_task_protection", cluster="c", tasks=[arn], protectionEnabled=True, expiresInMinutes=1)
    await world.call("update_service", cluster="c", service="web", desiredCount=0)
    await world.settled()
    assert len(world.live) == 1
    await world.pass_time(60)
    assert world.live == []


async def test_stopping_leaves_the_services_for_the_next_start(start: Callable[..., Any], tmp_path: Path) -> None:
    state = tmp_path / "ecs.json"
    world = await start(state_file=state)
    await world.prepare(1)
    arn = world.live[0].arn
    before = state.read_text()
    await world.ecs.stop()
    world.runner.ends(arn)  # a report that comes too late
    assert state.read_text() == before
    await world.ecs.stop()  # twice is fine


def test_all_addresses_can_be_taken_and_given_back() -> None:
    addresses = BlockAddresses(99)
    taken = [addresses.acquire(str(n)) for n in range(300)]
    assert len(set(taken)) == 300
    assert taken[0] == "127.99.1.1"
    assert taken[-1] == "127.99.2.50"
    addresses.release("0")
    addresses.release("nobody")
