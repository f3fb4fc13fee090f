# SPDX-License-Identifier: Apache-2.0
"""The scaler as a process: starts, decides, answers over HTTP, ends cleanly on SIGTERM, and reports errors."""

import asyncio
import json
import signal
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from scaler.adapters.worker_agent import signing_key
from tests.support.emulator import free_port
from tests.support.fake_aws import fake_aws
from tests.support.scaler_page import line
from tests.support.scaler_process import (
    ATTRIBUTES,
    DEADLINE_S,
    ROOT,
    SERVICE,
    fleets_seen,
    get,
    scaler,
    settings,
    task_metadata,
    until,
)
from worker_agent.settings import AgentSettings


@pytest.mark.fault("config broken", "the old settings stay in force, and log, metric and /healthz show the error")
@pytest.mark.fault("config half-written", "the old settings stay in force, and log, metric and /healthz show the error")
async def test_reads_its_file_again_when_it_changes(tmp_path: Path) -> None:
    port, path = free_port(), tmp_path / "scaler.json"
    before = settings(port)
    other = before["fleets"][0] | {"name": "other", "services": ["other"], "queues": {"other": "http://sqs/1/other"}}
    path.write_text(json.dumps(before))
    described = {"desiredCount": 0, "runningCount": 0, "pendingCount": 0}
    operations = {
        "DescribeServices": lambda request: {
            "services": [SERVICE | described | {"serviceName": name} for name in request["services"]]
        },
        "ListTasks": lambda _: {"taskArns": []},
        "UpdateService": lambda _: {"service": SERVICE},
        "GetQueueAttributes": lambda _: {"Attributes": ATTRIBUTES},
    }
    async with (
        fake_aws(operations) as url,
        task_metadata() as uri,
        scaler(
            None,
            AWS_ENDPOINT_URL=url,
            SCALER_SIGNING_SEED="seed",
            SCALER_CONFIG_FILE=str(path),
            ECS_CONTAINER_METADATA_URI_V4=uri,
        ) as process,
    ):
        base = f"http://127.0.0.1:{port}"
        await until(base, "/v1/fleets", lambda answer: [fleet["fleet"] for fleet in answer["fleets"]] == ["default"])
        path.write_text(json.dumps(before)[:-20])
        await until(base, "/healthz", lambda answer: answer["ok"] and "Invalid JSON" in (answer["config"] or ""))
        assert "openmwaa_scaler_config_applied 0.0" in (await get(f"{base}/metrics"))[1]
        path.write_text(json.dumps(before | {"fleets": [*before["fleets"], other]}))
        await until(
            base, "/v1/fleets", lambda answer: {fleet["fleet"] for fleet in answer["fleets"]} == {"default", "other"}
        )
        await until(base, "/healthz", lambda answer: answer["config"] is None)
        path.write_text(json.dumps(before | {"fleets": [other]}))
        await until(base, "/v1/fleets", lambda answer: [fleet["fleet"] for fleet in answer["fleets"]] == ["other"])
        process.send_signal(signal.SIGTERM)
        out, errors = await asyncio.wait_for(process.communicate(), DEADLINE_S)
    assert (process.returncode, errors) == (0, b"")
    events = [json.loads(line)["event"] for line in out.splitlines()]
    assert "config_rejected" in events
    assert "fleet_removed" in events


async def test_decides_serves_http_and_ends_cleanly() -> None:
    written = asyncio.Event()

    def update(request: dict[str, Any]) -> dict[str, Any]:
        SERVICE["desiredCount"] = request["desiredCount"]
        written.set()
        return {"service": SERVICE}

    port = free_port()
    operations = {
        "DescribeServices": lambda _: {"services": [SERVICE]},
        "ListTasks": lambda _: {"taskArns": []},
        "UpdateService": update,
        "GetQueueAttributes": lambda _: {"Attributes": ATTRIBUTES},
    }
    async with (
        fake_aws(operations) as url,
        task_metadata() as uri,
        scaler(
            settings(port), AWS_ENDPOINT_URL=url, SCALER_SIGNING_SEED="seed", ECS_CONTAINER_METADATA_URI_V4=uri
        ) as process,
    ):
        base = f"http://127.0.0.1:{port}"
        assert (await get(f"{base}/healthz"))[0] == 200
        async with asyncio.timeout(DEADLINE_S):
            await written.wait()
            fleets = await fleets_seen(base)
        assert SERVICE["desiredCount"] == 3
        assert fleets[0]["fleet"] == "default"
        assert "openmwaa_scaler_desired_workers" in (await get(f"{base}/metrics"))[1]
        assert json.loads((await get(f"{base}/v1/decisions?limit=1"))[1])["decisions"][0]["event"] == "decision"
        assert (await get(f"{base}/v1/decisions?limit=many"))[0] == 400
        process.send_signal(signal.SIGTERM)
        out, errors = await asyncio.wait_for(process.communicate(), DEADLINE_S)
    assert process.returncode == 0, errors.decode()
    assert errors == b""
    lines = [json.loads(line) for line in out.splitlines()]
    assert lines[0]["event"] == "started"
    assert lines[0]["address"] == "127.0.0.1"
    assert lines[-1]["event"] == "stopped"
    assert any(line["event"] == "decision" and line.get("update_service", {}).get("sent") for line in lines)


async def test_a_restarted_scaler_reads_its_history_from_its_log() -> None:
    began = datetime.now(UTC) - timedelta(minutes=70)
    old = [
        line(at=began + timedelta(minutes=minute), desired=1 + minute // 30, desired_before=1, running_workers=1)
        for minute in range(60)
    ]
    requests = list[dict[str, Any]]()

    def events(request: dict[str, Any]) -> dict[str, Any]:
        requests.append(request)
        found = [entry for entry in old if request["startTime"] <= _ms(entry["at"]) <= request["endTime"]]
        first = int(request.get("nextToken", 0))  # every second page is empty, as in CloudWatch Logs
        rows = found[first // 2 : first // 2 + 10] if first % 2 else []
        following = first + (19 if first % 2 else 1)
        page = {"events": [{"message": json.dumps(entry), "timestamp": _ms(entry["at"])} for entry in rows]}
        return page | ({"nextToken": str(following)} if following // 2 < len(found) else {})

    operations = {
        "DescribeServices": lambda _: {"services": [SERVICE]},
        "ListTasks": lambda _: {"taskArns": []},
        "UpdateService": lambda _: {"service": SERVICE},
        "GetQueueAttributes": lambda _: {"Attributes": ATTRIBUTES},
        "FilterLogEvents": events,
    }
    port = free_port()
    links = {"web_url": "https://airflow.example.com", "log_url": "https://console.example.com/#log"}
    config = settings(port, log_group="airflow-test-Scaler", **links)
    config["fleets"][0]["worker_hour_usd"] = 0.05
    async with (
        fake_aws(operations) as url,
        task_metadata() as uri,
        scaler(config, AWS_ENDPOINT_URL=url, SCALER_SIGNING_SEED="seed", ECS_CONTAINER_METADATA_URI_V4=uri),
    ):
        base = f"http://127.0.0.1:{port}"
        await fleets_seen(base)
        await until(base, "/v1/timeline?fleet=default", lambda answer: answer["history"]["state"] == "read")
        points = json.loads((await get(f"{base}/v1/timeline?fleet=default"))[1])["points"]
        changes = json.loads((await get(f"{base}/v1/decisions?changes&limit=1000&before={old[-1]['at']}"))[1])
        document = json.loads((await get(f"{base}/v1/fleets"))[1])
    assert {request["logGroupName"] for request in requests} == {"airflow-test-Scaler"}
    assert points[0][0] == int(began.timestamp()) // 20 * 20
    assert len([point for point in points if point[0] < began.timestamp() + 3600]) == 60
    assert [entry["desired"] for entry in changes["decisions"]][-1] == 2
    assert document["links"] == {"airflow": links["web_url"], "log": links["log_url"]}
    today = document["fleets"][0]["today"]
    assert today["worker_hour_usd"] == 0.05
    assert today["known_minutes"] <= today["minutes"]


def _ms(at: str) -> int:
    return int(datetime.fromisoformat(at).timestamp() * 1000)


async def test_a_dry_run_reads_and_explains_and_sends_only_reads(tmp_path: Path) -> None:
    path, port = tmp_path / "scaler.json", free_port()
    sleep = {"id": "one", "command": "/test/sleep", "memory": "/test/sleep-memory"}
    night = {**sleep, "services": {"web": 1}, "sleep_at": "* * * * *"}
    before = settings(port, metrics_namespace="Test", overrides_prefix="/test/", sleep=night)
    path.write_text(json.dumps(before))
    reads: dict[str, Any] = {
        "DescribeServices": {"services": [SERVICE | {"desiredCount": 1}]},
        "ListTasks": {"taskArns": []},
        "GetQueueAttributes": {"Attributes": ATTRIBUTES},
        "GetParameters": {"Parameters": []},
    }
    calls = list[str]()

    def answer(name: str) -> Callable[[dict[str, Any]], Any]:
        def called(request: dict[str, Any]) -> Any:
            calls.append(name)
            absent = {"InvalidParameters": request["Names"]} if name == "GetParameters" else {}
            return {**reads.get(name, {}), **absent}

        return called

    others = ("UpdateService", "StopTask", "UpdateTaskProtection", "PutMetricData", "PutParameter")
    async with (
        fake_aws({name: answer(name) for name in (*reads, *others)}) as url,
        task_metadata() as uri,
        scaler(
            None,
            "--dry-run",
            AWS_ENDPOINT_URL=url,
            SCALER_SIGNING_SEED="seed",
            SCALER_CONFIG_FILE=str(path),
            ECS_CONTAINER_METADATA_URI_V4=uri,
        ) as process,
    ):
        base = f"http://127.0.0.1:{port}"

        def would_set(desired: int) -> Callable[[Any], bool]:
            # On a slow machine the first decisions have no demand.
            return lambda answer: any(
                "Dry run, no change: " in fleet["reason"] and fleet["target"] == desired for fleet in answer["fleets"]
            )

        await until(base, "/v1/fleets", would_set(3))
        before["fleets"][0]["max"] = 2
        path.write_text(json.dumps(before))
        await until(base, "/v1/fleets", lambda answer: answer["fleets"][0]["max"] == 2)
        await until(base, "/v1/fleets", would_set(2))
        process.send_signal(signal.SIGTERM)
        out, errors = await asyncio.wait_for(process.communicate(), DEADLINE_S)
    assert (process.returncode, errors) == (0, b"")
    lines = [json.loads(line) for line in out.splitlines()]
    assert lines[0]["dry_run"] is True
    steps = [step["text"] for line in lines if line["event"] == "decision" for step in line["explanation"]]
    assert "Would set desired of worker-default: 1 -> 3" in steps
    assert "Would set desired of worker-default: 1 -> 2" in steps, "the dry run ended with a change of the settings"
    assert set(calls) == set(reads)


async def test_prints_the_workers_public_key() -> None:
    async with scaler(None, "public-key", SCALER_SIGNING_SEED="a seed") as process:
        out, errors = await asyncio.wait_for(process.communicate(), DEADLINE_S)
    assert (process.returncode, errors) == (0, b"")
    agent = AgentSettings.from_environment(
        {"ECS_AGENT_URI": "http://agent", "WORKER_AGENT_PUBLIC_KEY": out.decode().strip()}
    )
    assert agent is not None
    assert agent.public_key == signing_key("a seed").public_key().public_bytes_raw()
    async with scaler(None, "public-key") as process:
        out, errors = await asyncio.wait_for(process.communicate(), DEADLINE_S)
    assert (process.returncode, out) == (2, b"")
    assert b"SCALER_SIGNING_SEED is not set" in errors


async def test_applies_overrides_and_schedules_and_records_ticks_for_replay(tmp_path: Path) -> None:
    order = {
        "Name": "/openmwaa/test/scaler/default",
        "Type": "String",
        "Value": '{"version":1,"max":2,"by":"an operator"}',
    }
    service = SERVICE | {"desiredCount": 0}
    writes = list[int]()

    def update(request: dict[str, Any]) -> dict[str, Any]:
        service["desiredCount"] = request["desiredCount"]
        writes.append(request["desiredCount"])
        return {"service": service}

    operations = {
        "DescribeServices": lambda _: {"services": [service]},
        "ListTasks": lambda _: {"taskArns": []},
        "UpdateService": update,
        "GetQueueAttributes": lambda _: {"Attributes": ATTRIBUTES},
        "GetParameters": lambda _: {"Parameters": [order], "InvalidParameters": []},
    }
    port = free_port()
    config = settings(port, overrides_prefix="/openmwaa/test/scaler/", record_dir=str(tmp_path / "ticks"))
    config["fleets"][0]["schedule"] = [{"cron": "* * * * *", "minutes": 5, "min": 4}]
    async with (
        fake_aws(operations) as url,
        task_metadata() as uri,
        scaler(config, AWS_ENDPOINT_URL=url, SCALER_SIGNING_SEED="seed", ECS_CONTAINER_METADATA_URI_V4=uri) as process,
    ):
        await fleets_seen(f"http://127.0.0.1:{port}")
        async with asyncio.timeout(DEADLINE_S):
            while not writes:
                await asyncio.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        out, errors = await asyncio.wait_for(process.communicate(), DEADLINE_S)
    assert process.returncode == 0, errors.decode()
    decisions = [line for line in map(json.loads, out.splitlines()) if line["event"] == "decision"]
    assert set(writes) == {2}, "12 messages need 3 workers, the schedule 4, the override allows 2"
    # On a busy machine the first ticks may pass before any source has answered.
    line = next(line for line in decisions if line.get("update_service", {}).get("sent"))
    assert line["overrides"]["by"] == "an operator"
    assert any("minimum 4" in step["text"] for step in line["explanation"]), line["explanation"]
    again = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "scaler.main", "replay", str(tmp_path / "ticks"), "--json"),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, errors = await asyncio.wait_for(again.communicate(), DEADLINE_S)
    assert again.returncode == 0, errors.decode()
    result = json.loads(out)
    assert result["ticks"] >= 1
    assert result["different"] == 0


@pytest.mark.parametrize(
    ("config", "environment", "code", "words"),
    [
        pytest.param(settings(8082, fleets=[]), {"SCALER_SIGNING_SEED": "s"}, 2, "SCALER_CONFIG.fleets", id="config"),
        pytest.param(settings(8082), {}, 2, "SCALER_SIGNING_SEED is not set", id="no seed"),
        pytest.param(
            settings(8082),
            {"SCALER_SIGNING_SEED": "s", "ECS_CONTAINER_METADATA_URI_V4": "http://127.0.0.1:9/v4/x"},
            1,
            "the task's address is unknown",
            id="no metadata",
        ),
    ],
)
async def test_reports_an_error_in_one_line(
    config: dict[str, Any], environment: dict[str, str], code: int, words: str
) -> None:
    async with scaler(config, **environment) as process:
        _, errors = await asyncio.wait_for(process.communicate(), DEADLINE_S)
    assert process.returncode == code
    assert words in errors.decode()
    assert len(errors.decode().splitlines()) == 1, errors.decode()
