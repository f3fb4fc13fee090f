# SPDX-License-Identifier: Apache-2.0
"""The secrets and the log lines of the local ECS's tasks."""

import asyncio
import json
from datetime import UTC, datetime, timedelta

import pytest

from local_ecs.runtime.errors import SecretError
from openmwaa.local.services import cloudwatch_logs
from openmwaa.local.services.cloudwatch_logs import CloudWatchLogs
from openmwaa.local.services.secrets import EmulatedSecrets
from scaler.adapters.aws import open_client
from scaler.adapters.clock import ScalerClock
from scaler.adapters.own_log import OwnLog
from scaler.errors import SourceError
from scaler.reporting.restored_history import RestoredHistory
from tests.contract.aws_services.conftest import Emulator
from tests.support.scaler_page import fake_scaler, line

pytestmark = [pytest.mark.emulated]


async def test_lines_reach_the_log_group_in_order(
    emulator: Emulator, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cloudwatch_logs, "BATCH_EVENTS", 500)
    logs = emulator.client("logs")
    logs.create_log_group(logGroupName=name)
    sink = CloudWatchLogs(emulator.url, interval_s=0.05)
    lines = [f"line {number}" for number in range(1_200)]
    sink.write({"awslogs-group": name}, "worker/worker/1", [*lines[:600], "", *lines[600:]])
    sink.write({"awslogs-group": "there-is-none"}, "s", ["lost"])
    sink.start()
    async with asyncio.timeout(120):
        while sink._waiting:
            await asyncio.sleep(0.05)
    await sink.close()
    answer = logs.filter_log_events(logGroupName=name, logStreamNames=["worker/worker/1"])
    assert [event["message"] for event in answer["events"]] == lines


async def test_a_restarted_scaler_finds_its_decisions_in_its_log_group(
    emulator: Emulator, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", emulator.url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    logs = emulator.client("logs")
    logs.create_log_group(logGroupName=name)
    logs.create_log_stream(logGroupName=name, logStreamName="scaler/scaler/1")
    now = datetime.now(UTC)
    times = [now - timedelta(minutes=minute) for minute in range(400, 0, -1)]
    events = [{"timestamp": int(at.timestamp() * 1000) + 300, "message": json.dumps(line(at=at))} for at in times]
    events.append({"timestamp": int(now.timestamp() * 1000), "message": '{"event": "started"}'})
    for first in range(0, len(events), 200):
        some = events[first : first + 200]
        logs.put_log_events(logGroupName=name, logStreamName="scaler/scaler/1", logEvents=some)
    scaler = fake_scaler()
    async with open_client("us-east-1", "logs") as client:
        await RestoredHistory(scaler.log, OwnLog(client, name), ScalerClock(), lambda: ["default"]).run()
    assert (scaler.log.history["state"], scaler.log.history["problem"]) == ("read", None)
    scaler.decide(line())
    assert 359 <= len(scaler.log.timeline("default")) <= 401, "six hours, or the present day, of a line a minute"
    async with open_client("us-east-1", "logs") as client:
        with pytest.raises(SourceError, match="ResourceNotFoundException"):
            await anext(OwnLog(client, "there-is-none").decisions(now, now))


async def test_secrets_and_parameters(emulator: Emulator, name: str) -> None:
    secrets = EmulatedSecrets(emulator.url)
    arn = emulator.client("secretsmanager").create_secret(Name=f"{name}/b", SecretString='{"k": "v", "n": 5}')["ARN"]
    emulator.client("ssm").put_parameter(Name=f"/{name}/q", Value="w", Type="SecureString")
    assert await secrets.resolve(arn) == '{"k": "v", "n": 5}'
    assert await secrets.resolve(f"{arn}:k::") == "v"
    assert await secrets.resolve(f"{arn}:n:AWSCURRENT:") == "5"
    assert await secrets.resolve(f"arn:aws:ssm:us-east-1:123456789012:parameter/{name}/q") == "w"
    assert await secrets.resolve(f"/{name}/q") == "w"
    for wrong in (f"{arn}:other::", arn.replace(name, "nope"), "/nope"):
        with pytest.raises(SecretError) as caught:
            await secrets.resolve(wrong)
        assert '"v"' not in str(caught.value)


async def test_a_rotated_secret_has_its_new_value(emulator: Emulator, name: str) -> None:
    manager = emulator.client("secretsmanager")
    arn = manager.create_secret(Name=name, SecretString="old")["ARN"]
    manager.put_secret_value(SecretId=arn, SecretString="new")
    secrets = EmulatedSecrets(emulator.url)
    assert await secrets.resolve(arn) == "new"
    assert await secrets.resolve(f"{arn}::AWSPREVIOUS:") == "old"
