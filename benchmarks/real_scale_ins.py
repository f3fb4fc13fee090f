# SPDX-License-Identifier: Apache-2.0
"""50 real scale-ins: real Celery on the local ECS and bursts in a loop; the tasks write a ledger of their runs.

It also measures the seconds from a backlog to the response of ECS, with a tick every 5 s and bursts at random times,
and the seconds of a start from zero workers. A launch here is the start of a process; Fargate adds 30 s to 60 s.
"""

import random
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from local_ecs.api import Entry
from openmwaa.local.demo.summary import percentiles
from tests.support.celery_fleet import FleetWorld
from tests.support.emulator import find_emulator, running_emulator
from tests.support.local_fleet import FleetSettings

SEED = 20261122
SCALE_INS = 50
WAKES = 5
INTERVAL_S = 5.0
LONG_S = (9.0, 14.0)
"""Seconds of two tasks of each burst, which run while other workers stop."""
FLEET = FleetSettings(slots=2, minimum=1, maximum=6, interval_s=INTERVAL_S, scale_in_window_s=5.0)


def measure() -> dict[str, Any]:
    """Scale in `SCALE_INS` times, then start from zero."""
    phase = random.Random(SEED)
    with running_emulator(find_emulator()) as emulator, tempfile.TemporaryDirectory(prefix="openmwaa-real-") as folder:
        result = {"seed": SEED, "interval_s": INTERVAL_S, **_scale_in(emulator, _folder(folder, "fleet"), phase)}
        result["wake_s"] = _wake(emulator, _folder(folder, "zero"), phase)
    return result


def _folder(folder: str, name: str) -> Path:
    path = Path(folder) / name
    path.mkdir()
    return path


def _scale_in(emulator: str, folder: Path, phase: random.Random) -> dict[str, Any]:
    reactions: list[float] = []
    with FleetWorld(emulator, folder, FLEET) as world:
        while len(world.audit().stopped_by_ecs) < SCALE_INS:
            time.sleep(phase.uniform(0, INTERVAL_S))
            reactions.append(_burst(world, phase))
            gone = len(world.audit().stopped_by_ecs)
            print(f"burst {len(reactions)}: {reactions[-1]:.2f} s to UpdateService, {gone} workers gone", flush=True)
        found, audit = world.ledger(), world.audit()
    return {
        "bursts": len(reactions),
        "tasks": len(found.expected),
        "real_scale_ins": len(audit.stopped_by_ecs),
        "real_tasks_lost": len(found.lost),
        "real_tasks_duplicated": len(found.duplicated),
        "real_tasks_interrupted": len(found.interrupted),
        "violations": audit.violations,
        "reaction_s": _percentiles(reactions),
    }


def _burst(world: FleetWorld, phase: random.Random) -> float:
    """Send more tasks than a worker has slots, wait for one remaining worker; return the seconds to UpdateService."""
    slots, most = world.settings.slots, world.settings.maximum
    tasks = world.burst(slots, *LONG_S)
    tasks += world.burst(1, 1.0)
    backlog_at = time.time()  # the first task without a free slot was sent
    tasks += world.burst(4 * slots * most, *(phase.uniform(0.5, 3.0) for _ in range(10)))
    world.until("the scaler scales out", lambda: _first(world, "UpdateService", backlog_at))
    entry = _first(world, "UpdateService", backlog_at)
    world.until_finished(tasks)
    world.until_fleet_is(world.settings.minimum)
    assert entry is not None, "the journal has no UpdateService"
    return entry.at - backlog_at


def _wake(emulator: str, folder: Path, phase: random.Random) -> dict[str, Any]:
    """Send a message to a fleet of zero workers, `WAKES` times; return the median of each part."""
    parts: dict[str, list[float]] = {"scaler": [], "launch": [], "protected": [], "first_task": [], "in_all": []}
    settings = FleetSettings(slots=2, minimum=0, interval_s=INTERVAL_S, scale_in_window_s=5.0)
    with FleetWorld(emulator, folder, settings) as world:
        for _ in range(WAKES):
            time.sleep(phase.uniform(0, INTERVAL_S))
            sent_at = time.time()
            tasks = world.burst(1, 0.1)
            world.until_finished(tasks)
            marks = [sent_at]
            for kind in ("UpdateService", "TaskRunning", "Protection"):
                entry = _first(world, kind, marks[-1])
                assert entry is not None, f"the fleet started without {kind}"
                marks.append(entry.at)
            marks.append(next(line.at for line in world.ledger().lines if line.task == tasks[0]))
            for name, seconds in zip(parts, (b - a for a, b in pairwise(marks)), strict=False):
                parts[name].append(seconds)
            parts["in_all"].append(marks[-1] - sent_at)
            print(f"wake: {marks[-1] - sent_at:.2f} s", flush=True)
            world.until_fleet_is(0)
        lost = len(world.ledger().lost)
    medians = {name: round(median(seconds), 2) for name, seconds in parts.items()}
    return {"wakes": WAKES, "tasks_lost": lost, **medians, "slowest": round(max(parts["in_all"]), 2)}


def _first(world: FleetWorld, kind: str, since: float) -> Entry | None:
    """Return the first entry of a kind for workers: a scale-out, a start or a protection."""
    return next((entry for entry in world.journal(kind) if entry.at >= since and _is_of_workers(entry)), None)


def _is_of_workers(entry: Entry) -> bool:
    detail = entry.detail
    if entry.kind == "UpdateService":
        return bool(detail["desired"] > detail["desired_before"])
    return "worker" in str(detail.get("group")) and detail.get("enabled", True)


def _percentiles(seconds: Sequence[float]) -> dict[str, Any]:
    found = percentiles(seconds)
    return {**(asdict(found) if found else {}), "all": [round(value, 2) for value in seconds]}
