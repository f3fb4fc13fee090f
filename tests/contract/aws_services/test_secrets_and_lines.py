# SPDX-License-Identifier: Apache-2.0
"""The secrets and the log lines of the local ECS's tasks."""

import asyncio

import pytest

from local_ecs.runtime.errors import SecretError
from openmwaa.local.services import cloudwatch_logs
from openmwaa.local.services.cloudwatch_logs import CloudWatchLogs
from openmwaa.local.services.secrets import EmulatedSecrets
from tests.contract.aws_services.conftest import Emulator

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
