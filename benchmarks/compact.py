# SPDX-License-Identifier: Apache-2.0
"""A COMPACT control plane on one core at the peak of mw1.small: 50 DAGs and 5 workers of 5 slots, for 30 minutes."""

import asyncio
import contextlib
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import psutil

from openmwaa.config.environment_file import load
from openmwaa.config.ports import EXECUTION_API_PORT, WEB_PORT
from openmwaa.local.daemon import orphans
from openmwaa.local.demo.run import endpoints_of
from openmwaa.local.demo.summary import percentiles
from openmwaa.local.demo.watch import Endpoints, aws_client
from openmwaa.local.down import down
from openmwaa.local.paths import LocalPaths
from openmwaa.local.up import Ready, up

YAML = """{name: compact, schedulers: 1, web_access: {allow_http: true},
  airflow_configuration_options: {core.dags_are_paused_at_creation: "False"},
  metadata_database: {deletion_protection: false}, fleets: {default: {queues: [default], slots: 5, min: 5, max: 5}}}"""
# Each DAG runs once a minute: 50 tasks of 25 s fill 21 of the 25 slots, and their starts and ends more.
DAG = """import time; from datetime import datetime, timedelta; from airflow.sdk import DAG, task
with DAG("peak_{0}", schedule=timedelta(minutes=1), start_date=datetime(2026, 1, 1), catchup=False):
    task(task_id="work")(lambda: time.sleep(25))()"""


def measure(minutes: float = 30) -> dict[str, Any]:
    """Return the idle memory, and median and 95th percentile of heartbeat ages and response times in seconds."""
    with tempfile.TemporaryDirectory(prefix="openmwaa-compact-") as folder:
        (file := Path(folder) / "environment.yaml").write_text(YAML)
        try:
            ready = up(file, progress=print)
            time.sleep(60)
            idle = sum(process.memory_full_info().pss for process in _processes(ready)) >> 20
            samples = asyncio.run(_peak(endpoints_of(ready, load(file)), ready, time.monotonic() + minutes * 60))
        finally:
            down(LocalPaths.of(file, load(file).name), delete_data=True, progress=print)
    return {"idle_pss_mib": idle, **{name: vars(percentiles(ages)) for name, ages in samples.items()}}


def _processes(ready: Ready) -> Iterator[psutil.Process]:
    """Yield the processes of the control plane's task; an API server shows its address in place of its variables."""
    (task,) = next(service for service in ready.status["services"] if service["name"] == "control-plane")["tasks"]
    for process in orphans.remaining(ready.paths):
        with contextlib.suppress(psutil.Error):  # it has ended
            if f"host:{task['address']} " in " ".join(process.cmdline()) or task["id"] in process.environ().values():
                yield process


async def _peak(endpoints: Endpoints, ready: Ready, end: float) -> dict[str, list[float]]:
    samples: dict[str, list[float]] = {}
    async with aws_client(endpoints, "s3") as s3:
        for number in range(50):
            key, body = f"{endpoints.dag_prefix}/peak_{number}.py", DAG.format(number).encode()
            await s3.put_object(Bucket=endpoints.bucket, Key=key, Body=body)
    web = endpoints.web_url
    urls = [f"{web}/api/v2/monitor/health", f"{web.replace(str(WEB_PORT), str(EXECUTION_API_PORT))}/execution/health"]
    async with aiohttp.ClientSession() as client:
        while time.monotonic() < end:
            for process in _processes(ready):
                with contextlib.suppress(psutil.Error):
                    process.cpu_affinity([0])
            for name, url in zip(("web", "execution"), urls, strict=True):
                began = time.monotonic()
                async with client.get(url) as response:
                    health = await response.json()
                samples.setdefault(name, []).append(time.monotonic() - began)
                for job in {"scheduler", "dag_processor", "triggerer"} & set(health):
                    at = datetime.fromisoformat(health[job][f"latest_{job}_heartbeat"])
                    samples.setdefault(job, []).append((datetime.now(UTC) - at).total_seconds())
            await asyncio.sleep(2)
    return samples
