# SPDX-License-Identifier: Apache-2.0
"""10 000 randomized scale-ins with faults in virtual time, and what each disabled step of the protocol loses.

`python -m benchmarks scaler`, about six minutes of one core. It ends with an error if a task was lost or interrupted,
an invariant was broken, or a negative control lost nothing. Results of other measurements in build/bench (real
scale-ins, reaction, fleets) are merged in; values not measured are null.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.scaler_picture import draw
from simulation.negative_controls import NEGATIVE_CONTROLS
from simulation.report import RunSummary, run_with_all_safeguards, run_without

OUT = Path(__file__).resolve().parents[1] / "build" / "bench"
SCALE_INS = int(os.environ.get("BENCH_SCALE_INS", "10000"))
SEED = int(os.environ.get("BENCH_SEED", "1"))
CONTROL_RUNS = int(os.environ.get("BENCH_CONTROL_RUNS", "25"))


def measure() -> dict[str, Any]:
    """Return the figures, with the progress on standard error."""
    began = time.process_time()
    summary = run_with_all_safeguards(scale_ins=SCALE_INS, seed=SEED, progress=_print_progress)
    protocol_cpu_s = time.process_time() - began
    lost: dict[str, int] = {}
    detail: dict[str, dict[str, int]] = {}
    for disabled in NEGATIVE_CONTROLS:
        run = run_without(disabled, seed=SEED, runs=CONTROL_RUNS)
        lost[disabled.value] = run.lost
        detail[disabled.value] = {
            "runs": run.runs,
            "scale_ins": run.scale_ins,
            "tasks": run.tasks,
            "lost": run.lost,
            "interrupted": run.interrupted,
        }
        print(f"without a safeguard, {disabled.value}: {run.lost} lost in {run.scale_ins} scale-ins", file=sys.stderr)
    figures = {
        "scale_ins": summary.scale_ins,
        "seed": SEED,
        "tasks_lost": summary.lost,
        "tasks_interrupted": summary.interrupted,
        "invariants_broken": summary.broken,
        "controls": lost,
        **_measured_elsewhere(),
        "simulation": {
            "runs": summary.runs,
            "last_seed": summary.first_seed + summary.runs - 1,
            "rollouts": summary.rollouts,
            "tasks": summary.tasks,
            "decisions": summary.ticks,
            "scaler_kills": summary.scaler_kills,
            "virtual_hours": round(summary.virtual_s / 3600, 1),
            "cpu_s": round(protocol_cpu_s, 1),
            "controls_cpu_s": round(time.process_time() - began - protocol_cpu_s, 1),
            "new_revision_consumes_after_s": _quantiles(summary.rollouts_s),
            "faults": dict(sorted(summary.counts.items())),
            "controls": detail,
        },
    }
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / "scaler.svg").write_text(draw(figures), encoding="utf-8")
    if problems := wrong(summary, lost):
        (OUT / "scaler.json").write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
        sys.exit("the scaler's figures are not reached:\n" + "\n".join(problems))
    return figures


def wrong(summary: RunSummary, lost: dict[str, int]) -> list[str]:
    """Return what must not be, in words."""
    found = [f"{step}: nothing was lost, so the simulation proves nothing of it" for step, n in lost.items() if not n]
    for what, number in (
        ("tasks lost", summary.lost),
        ("tasks interrupted", summary.interrupted),
        ("invariants broken", summary.broken),
    ):
        if number:
            found.append(f"{number} {what}: {'; '.join(summary.failures[:5])}")
    return found


def _measured_elsewhere() -> dict[str, Any]:
    real, fleets = _read("real.json"), _read("fleets.json")
    return {
        "real_scale_ins": real.get("real_scale_ins"),
        "real_tasks_lost": real.get("real_tasks_lost"),
        "reaction_s": real.get("reaction_s", {"p50": None, "p95": None}),
        "fleets": fleets.get("fleets", {"10": None, "100": None, "1000": None}),
    }


def _read(name: str) -> dict[str, Any]:
    path = OUT / name
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return found


def _quantiles(seconds: list[float]) -> dict[str, float | None]:
    ordered = sorted(seconds)
    if not ordered:
        return {"p50": None, "p95": None, "max": None}
    return {
        "p50": round(ordered[len(ordered) // 2], 1),
        "p95": round(ordered[int(len(ordered) * 0.95)], 1),
        "max": round(ordered[-1], 1),
    }


def _print_progress(summary: RunSummary) -> None:
    if summary.runs % 25 == 0:
        words = f"{summary.lost} lost, {summary.interrupted} interrupted, {summary.broken} broken"
        print(f"{summary.scale_ins} scale-ins in {summary.runs} runs: {words}", file=sys.stderr)
