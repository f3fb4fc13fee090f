# SPDX-License-Identifier: Apache-2.0
"""A running local ECS: restart, journal, log, throttling, faults, stop."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local_ecs.api import BlockAddresses, StateFileError
from local_ecs.api.throttle import Rate, Throttle
from tests.emulated.local_ecs.api.conftest import EcsSetup


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


async def test_services_are_restored_after_a_restart(start: Callable[..., Any], tmp_path: Path) -> None:
    state = tmp_path / "deep" / "ecs.json"
    first = await start(state_file=state)
    await first.prepare(2, tags=[{"key": "a", "value": "1"}])
    before = await first.service(include=["TAGS"])
    await first.ecs.stop()
    assert first.runner.closed

    second = await start(state_file=state)
    await second.until(lambda: len(second.live) == 2, "both tasks again")
    after = await second.service(include=["TAGS"])
    for key in ("serviceArn", "taskDefinition", "desiredCount", "tags", "createdAt", "deploymentConfiguration"):
        assert after[key] == before[key]
    assert [d["id"] for d in after["deployments"]] == [d["id"] for d in before["deployments"]]


async def test_a_change_is_on_disk_before_the_answer(start: Callable[..., Any], tmp_path: Path) -> None:
    state = tmp_path / "ecs.json"
    setup = await start(state_file=state)
    await setup.prepare(0)
    await setup.call("update_service", cluster="c", service="web", desiredCount=7)
    assert json.loads(state.read_text())["services"][0]["desired_count"] == 7
    assert set(names_in(tmp_path)) == {"ecs.json"}, "a draft remains"


@pytest.mark.parametrize("text", ["", "{}", '{"version": 99}', "[]"])
async def test_an_unknown_state_file_is_an_error_and_is_not_changed(
    start: Callable[..., Any], tmp_path: Path, text: str
) -> None:
    state = tmp_path / "ecs.json"
    state.write_text(text)
    with pytest.raises(StateFileError, match=r"ecs\.json"):
        await start(state_file=state)
    assert state.read_text() == text


async def test_a_port_in_use_is_an_error(start: Callable[..., Any]) -> None:
    setup = await start()
    port = int(setup.ecs.endpoint.rpartition(":")[2])
    with pytest.raises(OSError, match="address already in use"):
        await start(port=port)


async def test_the_journal_has_the_changes_and_their_callers(setup: EcsSetup) -> None:
    await setup.prepare(1)
    await setup.call("update_service", cluster="c", service="web", desiredCount=3)
    await setup.settled()
    (entry,) = setup.ecs.journal.entries("UpdateService")
    assert entry.at == setup.clock.now()
    assert entry.detail == {
        "service": "web",
        "desired_before": 1,
        "desired": 3,
        "deployed": False,
        "applied": True,
        "caller": "unit-tests",
    }
    kinds = [e.kind for e in setup.ecs.journal.entries("TaskStarted", "TaskRunning")]
    assert kinds.count("TaskRunning") == 3


async def test_the_journal_has_refused_protection(setup: EcsSetup) -> None:
    await setup.prepare(1)
    arn = setup.live[0].arn
    await setup.call("update_task_protection", cluster="c", tasks=[arn], protectionEnabled=True)
    setup.runner.slow_stop = True
    await setup.call("update_service", cluster="c", service="web", desiredCount=0)
    await setup.call("update_task_protection", cluster="c", tasks=[arn], protectionEnabled=True)
    assert [e.detail["refused"] for e in setup.ecs.journal.entries("Protection")] == [None, "DEPLOYMENT_BLOCKED"]


async def test_the_journal_is_bounded(start: Callable[..., Any]) -> None:
    setup = await start(journal_length=3)
    await setup.prepare(5)
    assert len(setup.ecs.journal.entries()) == 3


async def test_service_events_are_logged_once_and_in_order(start: Callable[..., Any], tmp_path: Path) -> None:
    log = tmp_path / "logs" / "ecs.log"
    setup = await start(event_log=log)
    await setup.prepare(1)
    await setup.settled()
    lines = log.read_text().splitlines()
    assert len(lines) == 3
    assert "has started 1 tasks" in lines[0]
    assert lines[2].endswith("(service web) has reached a steady state.")
    assert lines[0].startswith("2025-10-09T08:53:20.000+00:00 ")


async def test_the_status(setup: EcsSetup) -> None:
    await setup.prepare(1)
    await setup.settled()
    status = json.loads(json.dumps(setup.ecs.status()))
    (service,) = status["services"]
    assert (service["name"], service["desired"], service["running"], service["pending"]) == ("web", 1, 1, 0)
    assert service["steady"] is True
    assert service["tasks"][0]["address"] == "127.16.1.1"
    assert service["events"][0]["message"].endswith("steady state.")
    assert status["fault"] is None


async def test_calls_above_the_rate_are_throttled(start: Callable[..., Any]) -> None:
    setup = await start(throttling=True)
    for n in range(20):
        await setup.call("create_cluster", clusterName=f"c{n}")
    with pytest.raises(ClientError) as refused:
        await setup.call("create_cluster", clusterName="c20")
    assert refused.value.response["Error"]["Code"] == "ThrottlingException"
    setup.clock.move(1)
    await setup.call("create_cluster", clusterName="c20")
    assert setup.ecs.journal.entries("Throttled")[0].detail["operation"] == "CreateCluster"


async def test_throttling_on_demand(setup: EcsSetup) -> None:
    await setup.prepare(0)
    setup.ecs.faults.throttle("UpdateService", 1)
    with pytest.raises(ClientError, match="Rate exceeded"):
        await setup.call("update_service", cluster="c", service="web", desiredCount=1)
    await setup.call("update_service", cluster="c", service="web", desiredCount=1)


def test_a_bucket_fills_up_to_its_burst_only() -> None:
    now = [0.0]
    throttle = Throttle(lambda: now[0], enabled=True)
    rate = Rate(burst=2, per_s=1)
    now[0] = 1000.0
    for _ in range(2):
        throttle.take("group", rate)
    with pytest.raises(Exception, match="Rate exceeded"):
        throttle.take("group", rate)


async def test_faults_have_an_effect(setup: EcsSetup) -> None:
    await setup.prepare(1)
    setup.ecs.faults.ignore_updates("web")
    await setup.call("update_service", cluster="c", service="web", desiredCount=5)
    await setup.settled()
    assert (await setup.service())["desiredCount"] == 1
    assert setup.ecs.journal.entries("UpdateService")[0].detail["applied"] is False

    setup.ecs.faults.hold_launches("web")
    await setup.call("update_service", cluster="c", service="web", desiredCount=2)
    await setup.settled()
    assert (await setup.service())["pendingCount"] == 1
    setup.ecs.faults.hold_launches("web", held=False)
    await setup.settled()
    assert (await setup.service())["runningCount"] == 2

    setup.ecs.faults.fail_launches("web", 1)
    setup.ecs.faults.interrupt(setup.live[0].arn)
    await setup.settled()
    assert (await setup.service())["runningCount"] == 1
    await setup.pass_time(2)
    assert (await setup.service())["runningCount"] == 2


async def test_protection_expires_by_the_clock(setup: EcsSetup) -> None:
    await setup.prepare(1)
    arn = setup.live[0].arn
    await setup.call("update_task_protection", cluster="c", tasks=[arn], protectionEnabled=True, expiresInMinutes=1)
    await setup.call("update_service", cluster="c", service="web", desiredCount=0)
    await setup.settled()
    assert len(setup.live) == 1
    await setup.pass_time(60)
    assert setup.live == []


async def test_services_survive_a_stop(start: Callable[..., Any], tmp_path: Path) -> None:
    state = tmp_path / "ecs.json"
    setup = await start(state_file=state)
    await setup.prepare(1)
    arn = setup.live[0].arn
    before = state.read_text()
    await setup.ecs.stop()
    setup.runner.ends(arn)  # a report that comes too late
    assert state.read_text() == before
    await setup.ecs.stop()  # twice is fine


def test_all_addresses_can_be_acquired_and_released() -> None:
    addresses = BlockAddresses(99)
    taken = [addresses.acquire(str(n)) for n in range(300)]
    assert len(set(taken)) == 300
    assert taken[0] == "127.99.1.1"
    assert taken[-1] == "127.99.2.50"
    addresses.release("0")
    addresses.release("unknown")
