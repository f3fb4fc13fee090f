# SPDX-License-Identifier: Apache-2.0
"""Sleep in AWS: the record in an emulated SSM, an emulated RDS instance, the health of tasks, and alarms."""

import json
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest

from scaler.adapters.aws import open_client
from scaler.adapters.sleep import AwsSleep
from scaler.config.sleep import SleepSettings, document
from scaler.core.sleep import SleepRecord
from scaler.errors import BadAnswerError, SourceError

pytestmark = pytest.mark.emulated
NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
RECORD = SleepRecord("asleep", NOON, "arn:aws:iam::1:user/x", "Nacht für uns", "0 20 * * * / - / UTC", NOON)


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
    calls: list[int] = field(default_factory=list)

    def get_paginator(self, operation: str) -> "FakeCloudWatch":
        assert operation == "describe_alarms"
        return self

    async def paginate(self, **request: str) -> AsyncIterator[Any]:
        names = [name for name in self.alarms if name.startswith(request["AlarmNamePrefix"])]
        for start in range(0, len(names), 2):
            yield {"MetricAlarms": [{"AlarmName": name} for name in names[start : start + 2]]}

    async def enable_alarm_actions(self, **request: Sequence[str]) -> None:
        self._set(request["AlarmNames"], enabled=True)

    async def disable_alarm_actions(self, **request: Sequence[str]) -> None:
        self._set(request["AlarmNames"], enabled=False)

    def _set(self, names: Sequence[str], *, enabled: bool) -> None:
        self.calls.append(len(names))
        self.alarms.update(dict.fromkeys(names, enabled))


@dataclass
class World:
    port: AwsSleep
    settings: SleepSettings
    aws: Any
    """A function that returns a boto3 client of a service."""

    def put(self, value: str) -> int:
        ssm = self.aws("ssm")
        return int(
            ssm.put_parameter(Name=self.settings.parameter, Value=value, Type="String", Overwrite=True)["Version"]
        )

    def stored(self) -> Any:
        return json.loads(self.aws("ssm").get_parameter(Name=self.settings.parameter)["Parameter"]["Value"])


@pytest.fixture
async def world(ministack: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    login = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
    for name, value in {"AWS_ENDPOINT_URL": ministack, **{key.upper(): word for key, word in login.items()}}.items():
        monkeypatch.setenv(name, value)
    name = f"sleep-{uuid.uuid4().hex[:8]}"
    settings = SleepSettings(
        parameter=f"/openmwaa/{name}/sleep", services={"control-plane": 2}, database=name, alarm_prefix=f"{name}/"
    )
    async with AsyncExitStack() as stack:
        ssm, rds = [await stack.enter_async_context(open_client("us-east-1", service)) for service in ("ssm", "rds")]
        alarms = FakeCloudWatch({})
        port = AwsSleep(settings, "c", ssm=ssm, ecs=FakeEcs(), rds=rds, cloudwatch=alarms, deadline_s=20.0)

        def client(service: str) -> Any:
            return boto3.client(service, endpoint_url=ministack, region_name="us-east-1", **login)  # type: ignore[call-overload]

        yield World(port, settings, client)


async def test_the_record_is_read_as_it_was_written(world: World) -> None:
    assert await world.port.record() is None
    await world.port.write(RECORD)
    assert await world.port.record() == RECORD
    assert world.stored()["version"] == 1


@pytest.mark.parametrize("text", ["asleep", '{"version": 1, "state": "tired", "at": "2026-06-01T12:00:00Z"}'])
async def test_a_wrong_record_is_an_error_and_not_awake(world: World, text: str) -> None:
    world.put(text)
    with pytest.raises(BadAnswerError, match="the record"):
        await world.port.record()


async def test_a_command_between_read_and_write_is_kept(world: World) -> None:
    await world.port.write(RECORD)
    assert await world.port.record() == RECORD
    command = SleepRecord("awake", NOON, "a user")
    world.put(document(command).to_text())
    await world.port.write(RECORD)  # by the clock, decided before the command
    assert await world.port.record() == command


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
