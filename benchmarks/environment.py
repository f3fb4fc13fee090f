# SPDX-License-Identifier: Apache-2.0
"""A local environment: seconds to start, memory when idle, seconds from a backlog to UpdateService."""

import asyncio
import random
import tempfile
import time
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from openmwaa.config.environment_file import load
from openmwaa.local.daemon import orphans
from openmwaa.local.demo.run import Burst, Demonstration, endpoints_of
from openmwaa.local.demo.summary import percentiles
from openmwaa.local.down import down
from openmwaa.local.paths import LocalPaths
from openmwaa.local.up import Ready, up

REPOSITORY = Path(__file__).resolve().parents[1]
BURSTS = 12
SEED = 20261122
SETTLE_S = 60.0
MIB = 1 << 20
_print = partial(print, flush=True)


def measure() -> dict[str, Any]:
    """Return start times, memory and reaction of the quickstart, with a short scale-in window for quick bursts."""
    with tempfile.TemporaryDirectory(prefix="openmwaa-bench-") as folder:
        file = Path(folder) / "environment.yaml"
        quickstart = (REPOSITORY / "examples/quickstart/environment.yaml").read_text()
        file.write_text(quickstart.replace('seconds: 30, look_ahead: "on"', "seconds: 5"))
        try:
            ready = up(file, progress=_print)
            result: dict[str, Any] = {"first_up_s": round(ready.seconds, 1)}
            time.sleep(SETTLE_S)
            result["idle"] = memory(ready)
            result["reaction"] = asyncio.run(react(file, ready))
            down(ready.paths, delete_data=False, progress=_print)
            result["up_after_clean_stop_s"] = round(up(file, progress=_print).seconds, 1)
            result["up_when_running_s"] = round(up(file, progress=_print).seconds, 1)
        finally:
            down(LocalPaths.of(file, load(file).name), delete_data=True, progress=_print)
    return result


def memory(ready: Ready) -> dict[str, Any]:
    """Return the PSS in MiB of the environment's processes by kind, and the RSS of the scaler."""
    pss: dict[str, float] = {}
    scaler_rss = 0.0
    for process in orphans.remaining(ready.paths):
        try:
            info, kind = process.memory_full_info(), _kind(process)
        except psutil.Error:
            continue
        pss[kind] = pss.get(kind, 0.0) + info.pss / MIB
        if kind == "scaler":
            scaler_rss = info.rss / MIB
    rounded = {kind: round(size) for kind, size in sorted(pss.items())}
    return {"pss_mib": rounded, "pss_mib_total": round(sum(pss.values())), "scaler_rss_mib": round(scaler_rss)}


async def react(file: Path, ready: Ready) -> dict[str, Any]:
    """Run small bursts in sequence; return the seconds of each from the backlog to the response of UpdateService."""
    environment = load(file)
    endpoints = await asyncio.to_thread(endpoints_of, ready, environment)
    seconds = []
    phase = random.Random(SEED)
    for number in range(BURSTS):
        # Bursts right after a tick of the scaler would all have the same reaction.
        burst = Burst(tasks=12, seconds=2, pause_s=phase.uniform(0, environment.scaler.interval_seconds))
        demonstration = Demonstration(
            environment, endpoints, burst, journal_path=file.parent / "task-journal.jsonl", show=lambda _: None
        )
        summary = (await demonstration.run(up_s=0)).summary
        damaged = summary.tasks_lost + summary.tasks_duplicated + summary.tasks_interrupted + summary.tasks_retried
        print(
            f"burst {number + 1} of {BURSTS}: {summary.backlog_to_update_service_s} s, "
            f"{damaged} tasks lost, repeated or interrupted",
            flush=True,
        )
        if summary.backlog_to_update_service_s is not None:
            seconds.append(summary.backlog_to_update_service_s)
    found = percentiles(seconds)
    return {"bursts": BURSTS, "seed": SEED, "seconds": seconds, **(asdict(found) if found else {})}


def _kind(process: psutil.Process) -> str:
    """Return the kind of a process, by its command line."""
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
    return next((name for part, name in kinds.items() if part in line), "other")
