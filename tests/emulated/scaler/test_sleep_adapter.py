# SPDX-License-Identifier: Apache-2.0
"""Sleep in AWS: the record in an emulated SSM, an emulated RDS instance, the health of tasks, and alarms."""

import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest

from scaler.adapters.aws import open_client
from scaler.adapters.sleep import AwsSleep
from scaler.config.sleep import SleepDocument, SleepSettings
from scaler.core.sleep import SleepMemory, SleepRequest
from scaler.errors import BadAnswerError, SourceError

pytestmark = pytest.mark.emulated
NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
MEMORY = SleepMemory(
    "first", NOON, SleepRequest("asleep", NOON, "schedule"), True, True, {"asleep": ("0 20 * * * UTC", NOON)}, 3, NOON
)


@dataclass
class FakeEcs:
    """One service with tasks of these health statuses."""

    health: Sequence[str] = ()

    async def list_tasks(self, **request: str) -> Any:
        assert request == {"cluster": "c", "serviceName": "control-plane", "desiredStatus": "RUNNING"}
        return {"taskArns": [str(number) for number in range(len(self.health))]}

    async def describe_tasks(self, *, cluster: str, tasks: Sequence[str]) -> Any:
        return {"tasks": [{"healthStatus": self.health[int(task)]} for task in tasks]}


@dataclass
class FakeCloudWatch:
    """Alarms in pages of two; their notifications are on or off."""

    alarms: dict[str, bool]
    in_alarm: frozenset[str] = frozenset()
    calls: list[int] = field(default_factory=list)
    evaluated: list[str] = field(default_factory=list)

    def get_paginator(self, operation: str) -> "FakeCloudWatch":
        assert operation == "describe_alarms"
        return self

    async def paginate(self, **request: str) -> AsyncIterator[Any]:
        names = [name for name in self.alarms if name.startswith(request["AlarmNamePrefix"])]
        found = [
            {
                "AlarmName": name,
                "ActionsEnabled": self.alarms[name],
                "StateValue": "ALARM" if name in self.in_alarm else "OK",
            }
            for name in names
        ]
        for start in range(0, len(found), 2):
            yield {"MetricAlarms": found[start : start + 2]}

    async def enable_alarm_actions(self, **request: Sequence[str]) -> None:
        self._set(request["AlarmNames"], enabled=True)

    async def disable_alarm_actions(self, **request: Sequence[str]) -> None:
        self._set(request["AlarmNames"], enabled=False)

    async def set_alarm_state(self, **request: str) -> None:
        assert request["StateValue"] == "INSUFFICIENT_DATA"
        self.evaluated.append(request["AlarmName"])

    def _set(self, names: Sequence[str], *, enabled: bool) -> None:
        self.calls.append(len(names))
        self.alarms.update(dict.fromkeys(names, enabled))


@dataclass
class World:
    port: AwsSleep
    settings: SleepSettings
    aws: Any
    """A function that returns a boto3 client of a service."""

    def put(self, parameter: str, value: str) -> None:
        self.aws("ssm").put_parameter(Name=parameter, Value=value, Type="String", Overwrite=True)


@pytest.fixture
async def world(ministack: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    login = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
    for name, value in {"AWS_ENDPOINT_URL": ministack, **{key.upper(): word for key, word in login.items()}}.items():
        monkeypatch.setenv(name, value)
    name = f"sleep-{uuid.uuid4().hex[:8]}"
    settings = SleepSettings(
        id="first",
        command=f"/openmwaa/{name}/sleep",
        memory=f"/openmwaa/{name}/sleep-memory",
        services={"control-plane": 2},
        database=name,
        alarm_prefix=f"{name}/",
    )
    async with AsyncExitStack() as stack:
        ssm, rds = [await stack.enter_async_context(open_client("us-east-1", service)) for service in ("ssm", "rds")]
        alarms = FakeCloudWatch({})
        port = AwsSleep(
            settings, "c", ssm=ssm, ecs=FakeEcs(), rds=rds, cloudwatch=alarms, deadline_s=20.0, wall=lambda: NOON
        )

        def client(service: str) -> Any:
            return boto3.client(service, endpoint_url=ministack, region_name="us-east-1", **login)  # type: ignore[call-overload]

        yield World(port, settings, client)


async def test_the_record_is_read_as_it_was_written(world: World) -> None:
    assert await world.port.read() == (None, None)
    await world.port.write(MEMORY)
    assert await world.port.read() == (None, MEMORY)


async def test_a_command_has_the_time_that_aws_gave_it(world: World) -> None:
    document = SleepDocument(state="asleep", at="2030-01-01T00:00:00Z", by="a user", reason="Nacht für uns")
    before = datetime.now(UTC)
    world.put(world.settings.command, document.to_text())
    command, _memory = await world.port.read()
    assert command is not None
    assert (command.request.state, command.request.by, command.request.reason) == ("asleep", "a user", "Nacht für uns")
    assert abs(command.request.at - before) < timedelta(minutes=5), "the clock of the user is wrong"


@pytest.mark.parametrize("text", ["asleep", '{"version": 1, "state": "tired", "at": "2026-06-01T12:00:00Z"}'])
async def test_a_wrong_command_is_an_error_and_not_awake(world: World, text: str) -> None:
    world.put(world.settings.command, text)
    with pytest.raises(BadAnswerError, match="the command"):
        await world.port.read()


async def test_a_wrong_record_means_that_the_control_plane_may_be_down(world: World) -> None:
    world.put(world.settings.memory, "{}")
    _command, memory = await world.port.read()
    assert memory == SleepMemory(
        "first", NOON, SleepRequest("awake", NOON, "scaler", "its record was not valid"), down=True
    )


async def test_the_database_is_stopped_and_started(world: World) -> None:
    world.aws("rds").create_db_instance(
        DBInstanceIdentifier=world.settings.database, DBInstanceClass="db.t4g.micro", Engine="postgres"
    )
    assert await world.port.database() == "available"
    await world.port.set_database("stop")
    assert await world.port.database() in ("stopping", "stopped")
    await world.port.set_database("start")
    assert await world.port.database() in ("starting", "available")


async def test_a_database_that_does_not_exist_is_an_error(world: World) -> None:
    with pytest.raises(SourceError, match="DBInstanceNotFound"):
        await world.port.database()


@pytest.mark.parametrize(
    ("health", "count"),
    [((), 0), (("UNKNOWN", "HEALTHY"), 1), (("HEALTHY", "HEALTHY", "UNHEALTHY"), 2)],
    ids=["no task", "one starts", "one fails"],
)
async def test_only_healthy_tasks_count(world: World, health: tuple[str, ...], count: int) -> None:
    world.port._ecs = FakeEcs(health)
    assert await world.port.healthy("control-plane") == count


@pytest.mark.parametrize("enabled", [True, False], ids=["enable", "disable"])
async def test_alarms_of_the_scaler_itself_are_kept(world: World, enabled: bool) -> None:
    prefix = world.settings.alarm_prefix
    own = [f"{prefix}{word}" for word in ("scheduler_heartbeat", "fleet_default_at_maximum", *map(str, range(200)))]
    kept = [f"{prefix}{word}" for word in ("fleet_default_no_decision", "wake_overdue")]
    alarms = FakeCloudWatch(dict.fromkeys([*own, *kept, "other/scheduler_heartbeat"], not enabled))
    world.port._cloudwatch = alarms
    await world.port.set_alarms(enabled=enabled)
    assert {name for name, on in alarms.alarms.items() if on == enabled} == set(own)
    assert alarms.calls == [100, 100, 2], "CloudWatch takes 100 names a call"
    await world.port.set_alarms(enabled=enabled)
    assert len(alarms.calls) == 3, "what is set already is not set again"


async def test_an_alarm_of_the_sleep_is_enabled_late_and_evaluated_again(world: World) -> None:
    gone, stays = (f"{world.settings.alarm_prefix}{word}" for word in ("worker_cpu", "scheduler_heartbeat"))
    alarms = FakeCloudWatch({gone: False, stays: False}, frozenset({stays}))
    world.port._cloudwatch = alarms
    await world.port.set_alarms(enabled=True)
    assert (alarms.alarms, alarms.evaluated) == ({gone: True, stays: False}, [])
    await world.port.set_alarms(enabled=True, late=True)
    assert (alarms.alarms, alarms.evaluated) == ({gone: True, stays: True}, [stays])
