# SPDX-License-Identifier: Apache-2.0
"""10 000 randomized scale-ins with faults in virtual time, and the lost tasks without each step of the protocol.

`python -m benchmarks scaler`, about 14 minutes of one core. It exits with an error after a lost or interrupted task,
a broken invariant, a negative control without a lost or stuck task, or a fleet that sticks under a continuous fault or
in a race. Figures of other subjects in build/bench (real scale-ins, reaction, fleets) are merged in; missing figures
are null.
"""

import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from openmwaa.local.demo.summary import percentiles
from simulation.liveness_run import CONTINUOUS_FAULTS, play
from simulation.loop import run
from simulation.negative_controls import NEGATIVE_CONTROLS
from simulation.race_run import RACES, RaceSummary, play_race
from simulation.report import RunSummary, run_with_all_safeguards, run_without

OUT = Path(__file__).resolve().parents[1] / "build" / "bench"
SCALE_INS = int(os.environ.get("BENCH_SCALE_INS", "10000"))
SEED = int(os.environ.get("BENCH_SEED", "1"))
CONTROL_RUNS = int(os.environ.get("BENCH_CONTROL_RUNS", "25"))
LIVENESS_RUNS = int(os.environ.get("BENCH_LIVENESS_RUNS", "50"))
RACE_RUNS = int(os.environ.get("BENCH_RACE_RUNS", "25"))


def measure() -> dict[str, Any]:
    """Return the figures; the progress is on standard error."""
    started = time.process_time()
    summary = run_with_all_safeguards(scale_ins=SCALE_INS, seed=SEED, progress=_print_progress)
    protocol_cpu_s = time.process_time() - started
    detail = {**_controls(), **_weakened_races()}
    controls = {step: numbers["lost"] + numbers.get("stuck", 0) for step, numbers in detail.items()}
    races = {step: play_race(step, seed=SEED, runs=RACE_RUNS, disabled=False) for step in RACES}
    liveness = {name: _liveness(name) for name in CONTINUOUS_FAULTS}
    figures = {
        "scale_ins": summary.scale_ins,
        "seed": SEED,
        "tasks_lost": summary.lost,
        "tasks_interrupted": summary.interrupted,
        "invariants_broken": summary.broken,
        "controls": controls,
        "liveness": liveness,
        "races": {step.value: race.figures() for step, race in races.items()},
        **_other_subjects(),
        "simulation": {
            **_simulation(summary),
            "cpu_s": round(protocol_cpu_s, 1),
            "controls_cpu_s": round(time.process_time() - started - protocol_cpu_s, 1),
            "controls": detail,
        },
    }
    OUT.mkdir(parents=True, exist_ok=True)
    if problems := wrong(summary, controls, liveness, list(races.values())):
        (OUT / "scaler.json").write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
        sys.exit("the figures are wrong:\n" + "\n".join(problems))
    return figures


def _simulation(summary: RunSummary) -> dict[str, Any]:
    rollouts = percentiles(summary.rollouts_s)
    return {
        "runs": summary.runs,
        "last_seed": summary.first_seed + summary.runs - 1,
        "rollouts": summary.rollouts,
        "tasks": summary.tasks,
        "decisions": summary.ticks,
        "scaler_kills": summary.scaler_kills,
        "virtual_hours": round(summary.virtual_s / 3600, 1),
        "new_revision_consumes_after_s": {
            **(asdict(rollouts) if rollouts else {}),
            "max": max(summary.rollouts_s, default=None),
        },
        "faults": dict(sorted(summary.counts.items())),
    }


def _controls() -> dict[str, dict[str, int]]:
    """Return what is lost in the random runs without each safeguard."""
    found = {}
    for disabled in NEGATIVE_CONTROLS:
        result = run_without(disabled, seed=SEED, runs=CONTROL_RUNS)
        found[disabled.value] = {
            "runs": result.runs,
            "scale_ins": result.scale_ins,
            "tasks": result.tasks,
            "lost": result.lost,
            "interrupted": result.interrupted,
        }
        print(f"without {disabled.value}: {result.lost} lost in {result.scale_ins} scale-ins", file=sys.stderr)
    return found


def _weakened_races() -> dict[str, dict[str, int]]:
    """Return what is lost or sticks in the race of each step, without the step."""
    found = {}
    for step in RACES:
        result = play_race(step, seed=SEED, runs=RACE_RUNS, disabled=True)
        found[step.value] = result.figures()
        print(f"without {step.value}: {result.lost} lost, {result.stuck} stuck", file=sys.stderr)
    return found


def _liveness(name: str) -> dict[str, float | int | None]:
    """Return the times of some runs under one continuous fault, and how many of them stuck."""
    runs = [run(play(name, seed)) for seed in range(SEED, SEED + LIVENESS_RUNS)]
    for found in runs:
        if found.stuck:
            print(f"stuck, {name}: {found}", file=sys.stderr)
    grow = percentiles([found.grow_s for found in runs if found.grow_s is not None])
    shrink = percentiles([found.shrink_s for found in runs if found.shrink_s is not None])
    return {
        "grow_s_p95": grow.p95 if grow else None,
        "shrink_s_p95": shrink.p95 if shrink else None,
        "stuck": sum(1 for found in runs if found.stuck),
    }


def wrong(
    summary: RunSummary,
    lost: dict[str, int],
    liveness: dict[str, dict[str, float | int | None]],
    races: Sequence[RaceSummary],
) -> list[str]:
    """Return the errors in the figures."""
    found = [
        f"{step}: no task was lost or stuck without it, so the simulation does not test it"
        for step, n in lost.items()
        if not n
    ]
    found += [problem for race in races for problem in race.problems]
    found += [f"{name}: {times['stuck']} runs stuck" for name, times in liveness.items() if times["stuck"]]
    for what, number in (
        ("tasks lost", summary.lost),
        ("tasks interrupted", summary.interrupted),
        ("invariants broken", summary.broken),
    ):
        if number:
            found.append(f"{number} {what}: {'; '.join(summary.failures[:5])}")
    return found


def _other_subjects() -> dict[str, Any]:
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


def _print_progress(summary: RunSummary) -> None:
    if summary.runs % 25 == 0:
        words = f"{summary.lost} lost, {summary.interrupted} interrupted, {summary.broken} broken"
        print(f"{summary.scale_ins} scale-ins in {summary.runs} runs: {words}", file=sys.stderr)
