# SPDX-License-Identifier: Apache-2.0
"""A COMPACT control plane on one core at the peak of mw1.small: 50 DAGs and 5 workers of 5 slots, for 30 minutes."""

import asyncio
import contextlib
import tempfile
import time
from collections.abc import Iterator, Mapping
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
    """Return memory, counts of runs, and median and 95th percentile of heartbeat ages and response times in seconds."""
    with tempfile.TemporaryDirectory(prefix="openmwaa-compact-") as folder:
        (file := Path(folder) / "environment.yaml").write_text(YAML)
        try:
            ready = up(file, progress=print)
            time.sleep(60)
            idle = sum(process.memory_full_info().pss for process in _processes(ready)) >> 20
            samples, counts = asyncio.run(
                _peak(endpoints_of(ready, load(file)), ready, time.monotonic() + minutes * 60)
            )
            peak = sum(process.memory_full_info().pss for process in _processes(ready)) >> 20
        finally:
            down(LocalPaths.of(file, load(file).name), delete_data=True, progress=print)
    memory = {"idle_pss_mib": idle, "pss_mib_after_the_peak": peak}
    return {"minutes": minutes, **memory, **counts, **{name: vars(percentiles(of)) for name, of in samples.items()}}


def _processes(ready: Ready) -> Iterator[psutil.Process]:
    """Yield the processes of the control plane's task; an API server shows its address in place of its variables."""
    (task,) = next(service for service in ready.status["services"] if service["name"] == "control-plane")["tasks"]
    for process in orphans.remaining(ready.paths):
        with contextlib.suppress(psutil.Error):  # it has ended
            if f"host:{task['address']} " in " ".join(process.cmdline()) or task["id"] in process.environ().values():
                yield process


async def _peak(endpoints: Endpoints, ready: Ready, end: float) -> tuple[dict[str, list[float]], dict[str, int]]:
    """Return samples in seconds by name, and counts: requests without a good answer, and runs by state."""
    samples: dict[str, list[float]] = {}
    unanswered = 0
    async with aws_client(endpoints, "s3") as s3:
        for number in range(50):
            key, body = f"{endpoints.dag_prefix}/peak_{number}.py", DAG.format(number).encode()
            await s3.put_object(Bucket=endpoints.bucket, Key=key, Body=body)
    web = endpoints.web_url
    execution = web.replace(str(WEB_PORT), str(EXECUTION_API_PORT))
    urls = {
        "web": f"{web}/api/v2/monitor/health",
        "list_of_50_dags": f"{web}/api/v2/dags?limit=50",
        "execution": f"{execution}/execution/health",
    }
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60), raise_for_status=True) as client:

        async def post(path: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
            async with client.post(web + path, json=body) as response:
                return dict(await response.json())

        user = await endpoints.authorize(post)
        while time.monotonic() < end:
            for process in _processes(ready):
                with contextlib.suppress(psutil.Error):
                    process.cpu_affinity([0])
            for name, url in urls.items():
                began = time.monotonic()
                try:
                    async with client.get(url, headers=user if name != "execution" else {}) as response:
                        answer = await response.json()
                except (TimeoutError, aiohttp.ClientError) as error:
                    unanswered += 1
                    print(f"{name}: {error!r}")
                    continue
                samples.setdefault(name, []).append(time.monotonic() - began)
                for job in {"scheduler", "dag_processor", "triggerer"} & set(answer):
                    at = datetime.fromisoformat(answer[job][f"latest_{job}_heartbeat"])
                    samples.setdefault(job, []).append((datetime.now(UTC) - at).total_seconds())
            await asyncio.sleep(2)
        counts = {"requests_without_a_good_answer": unanswered}
        for state in ("success", "failed"):
            async with client.get(f"{web}/api/v2/dags/~/dagRuns?limit=1&state={state}", headers=user) as response:
                counts[f"runs_{state}"] = (await response.json())["total_entries"]
    return samples, counts
