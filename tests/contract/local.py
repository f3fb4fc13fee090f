# SPDX-License-Identifier: Apache-2.0
"""The contract tests on this machine: a local ECS in its own thread, with processes as tasks."""

import asyncio
import json
import re
import signal
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import boto3
from botocore.config import Config

from local_ecs.api import BlockAddresses, LocalEcs, LocalEcsSettings, ShiftedClock
from local_ecs.runtime.api import LocalImages
from local_ecs.runtime.log_files import LogFiles
from local_ecs.runtime.processes import ProcessSettings, ProcessTaskRunner

T = TypeVar("T")


class NoSecrets:
    """A resolver without secrets: the containers have none."""

    async def resolve(self, value_from: str) -> str:
        raise KeyError(value_from)


class NoLogs:
    """A log sink without output: the containers do not log to CloudWatch."""

    def write(self, options: Mapping[str, str], stream: str, lines: Sequence[str]) -> None:
        """Drop the lines."""


class LocalPlatform:
    """Runs a local ECS until `close`. Its clock can advance; its processes run in real time."""

    timeout_s = 30.0

    def __init__(self, folder: Path) -> None:
        self.cluster = "contract"
        self.service_options: dict[str, Any] = {"launchType": "FARGATE"}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="local ECS", daemon=True)
        self._thread.start()
        self._clock = ShiftedClock()
        self._files = LogFiles(folder / "logs")
        self._ecs = self._call(self._start(folder))
        self.client = boto3.client(
            "ecs",
            endpoint_url=self._ecs.endpoint,
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
            config=Config(user_agent_extra="app/contract"),
        )
        self.client.create_cluster(clusterName=self.cluster)

    async def _start(self, folder: Path) -> LocalEcs:
        runner = ProcessTaskRunner(
            ProcessSettings(environment_id=f"contract-{uuid4().hex}", work_dir=folder / "tasks"),
            images=LocalImages(by_label={}),
            secrets=NoSecrets(),
            logs=NoLogs(),
            files=self._files,
        )
        settings = LocalEcsSettings(port=0, provisioning_s=0.05, pending_s=0.05)
        ecs = LocalEcs(settings, runner=runner, addresses=BlockAddresses(15), clock=self._clock)
        await ecs.start()
        return ecs

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=240)

    def pass_time(self, seconds: float) -> None:
        self._loop.call_soon_threadsafe(self._clock.move, seconds)

    def agent_put(self, task_arn: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        uri = self._call(self._agent_uri(task_arn))
        request = urllib.request.Request(
            f"{uri}/task-protection/v1/state",
            data=json.dumps(body).encode(),
            method="PUT",
            headers={"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.code, json.load(refused)

    async def _agent_uri(self, task_arn: str) -> str:
        task_id = task_arn.rpartition("/")[2]
        file = Path(f"/proc/{await self._pid(task_arn)}/environ")
        async with asyncio.timeout(self.timeout_s):
            # Until exec, the process has no environment of its own.
            while not (found := re.search(rb"\0ECS_AGENT_URI=([^\0]+)", b"\0" + file.read_bytes())):  # noqa: ASYNC240
                await asyncio.sleep(0.01)
        uri = found[1].decode()
        assert task_id in uri, "each task has an agent endpoint of its own"
        return uri

    async def _pid(self, task_arn: str) -> int:
        pid = self._ecs.driver.containers(task_arn)[0].pid
        assert pid is not None
        return pid

    def until_trap_is_set(self, task_arn: str) -> None:
        sigterm = 1 << (signal.SIGTERM - 1)
        deadline = time.monotonic() + self.timeout_s
        while True:
            status = Path(f"/proc/{self._call(self._pid(task_arn))}/status").read_text()
            masks = (int(line.split()[1], 16) for line in status.splitlines() if line.startswith(("SigCgt", "SigIgn")))
            if any(mask & sigterm for mask in masks):
                return
            assert time.monotonic() < deadline, f"{task_arn} sets no trap"
            time.sleep(0.01)

    def family(self) -> str:
        return f"contract-{uuid4().hex[:8]}"

    def created(self, service: str) -> None:
        """Do nothing: the whole ECS ends."""

    def forget(self, services: Sequence[str]) -> None:
        for service in services:
            self.client.delete_service(cluster=self.cluster, service=service, force=True)

    def close(self) -> None:
        self.client.close()
        self._call(self._ecs.stop())
        self._files.close()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=120)
        self._loop.close()
