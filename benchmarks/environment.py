# SPDX-License-Identifier: Apache-2.0
"""A whole environment: how long it takes to come up, what it weighs when idle, how soon a backlog is answered."""

import asyncio
import random
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil

from openmwaa.config.environment_file import load
from openmwaa.local.daemon import orphans
from openmwaa.local.demo.endpoints import endpoints_of
from openmwaa.local.demo.run import Burst, Demonstration
from openmwaa.local.demo.summary import percentiles
from openmwaa.local.demo.table import DemoSnapshot
from openmwaa.local.down import down
from openmwaa.local.paths import LocalPaths
from openmwaa.local.up import Ready, up

REPOSITORY = Path(__file__).resolve().parents[1]
BURSTS = 12
SEED = 20261122
SETTLE_S = 60.0
MIB = 1 << 20


def measure() -> dict[str, Any]:
    """Return up times, memory and reaction of the quickstart; a short scale-in window, so that bursts repeat soon."""
    with tempfile.TemporaryDirectory(prefix="openmwaa-bench-") as folder:
        file = Path(folder) / "environment.yaml"
        quickstart = (REPOSITORY / "examples/quickstart/environment.yaml").read_text()
        file.write_text(quickstart.replace("scale_in_window_seconds: 30", "scale_in_window_seconds: 5"))
        try:
            first = up(file, progress=_say)
            result: dict[str, Any] = {"first_up_s": round(first.seconds, 1)}
            time.sleep(SETTLE_S)
            result["idle"] = weigh(first)
            result["reaction"] = asyncio.run(react(file, first))
            down(first.paths, delete_data=False, progress=_say)
            result["up_after_clean_stop_s"] = round(up(file, progress=_say).seconds, 1)
            result["up_when_running_s"] = round(up(file, progress=_say).seconds, 1)
        finally:
            down(LocalPaths.of(file, load(file).name), delete_data=True, progress=_say)
    return result


def weigh(ready: Ready) -> dict[str, Any]:
    """Return PSS in MiB of every process of the environment, by what it is, and the scaler's RSS."""
    pss: dict[str, float] = {}
    scaler_rss = 0.0
    for process in orphans.remaining(ready.paths):
        try:
            memory, what = process.memory_full_info(), _kind(process)
        except psutil.Error:
            continue
        pss[what] = pss.get(what, 0.0) + memory.pss / MIB
        if what == "scaler":
            scaler_rss = memory.rss / MIB
    rounded = {what: round(size) for what, size in sorted(pss.items())}
    return {"pss_mib": rounded, "pss_mib_total": round(sum(pss.values())), "scaler_rss_mib": round(scaler_rss)}


async def react(file: Path, ready: Ready) -> dict[str, Any]:
    """Run small bursts one after the other; each gives one reaction, from the backlog to UpdateService's answer."""
    environment = load(file)
    endpoints = await asyncio.to_thread(endpoints_of, ready, environment)
    seconds = []
    phase = random.Random(SEED)
    for number in range(BURSTS):
        # Bursts that begin when the scaler has just looked would all be answered after the same time.
        burst = Burst(tasks=12, seconds=2, pause_s=phase.uniform(0, environment.scaler.interval_seconds))
        demonstration = Demonstration(
            environment, endpoints, burst, journal_path=file.parent / "task-journal.jsonl", show=_quiet
        )
        summary = (await demonstration.run(up_s=0)).summary
        hurt = summary.tasks_lost + summary.tasks_duplicated + summary.tasks_interrupted + summary.tasks_retried
        print(f"burst {number + 1} of {BURSTS}: {summary.backlog_to_update_service_s} s, {hurt} tasks hurt", flush=True)
        if summary.backlog_to_update_service_s is not None:
            seconds.append(summary.backlog_to_update_service_s)
    found = percentiles(seconds)
    return {"bursts": BURSTS, "seed": SEED, "seconds": seconds, **(asdict(found) if found else {})}


def _kind(process: psutil.Process) -> str:
    """Name a process of the environment by its command line."""
    line = " ".join(process.cmdline()) or process.name()
    kinds = {
        "scaler.main": "scaler",
        "openmwaa.local.daemon.daemon": "daemon",
        "sync-dags": "dag-syncer",
        "ministack": "emulator",
        "postgres": "postgresql",
        "celeryd": "worker",
        "celery": "worker",
        "dag-processor": "dag-processor",
        "triggerer": "triggerer",
        "port:8080": "web-server",
        "port:8081": "execution-api",
        "scheduler": "scheduler",
    }
    return next((name for mark, name in kinds.items() if mark in line), "other")


def _say(line: str) -> None:
    print(line, flush=True)


def _quiet(_view: DemoSnapshot) -> None:
    return
