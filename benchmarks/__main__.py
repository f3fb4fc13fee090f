# SPDX-License-Identifier: Apache-2.0
"""`make bench`: measures each subject and writes build/bench/SUBJECT.json; FILE.KEY is a key of FILE.json.

`python -m benchmarks [SUBJECT …]`; without a subject it measures all of them, in about 65 minutes.
"""

import json
import platform
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from benchmarks import (
    airflow_plan,
    compact,
    cost,
    dags,
    environment,
    fleets,
    login,
    look_ahead,
    real_scale_ins,
    requirements,
    scaler,
    synth,
    task_logs,
)

OUT = Path(__file__).resolve().parents[1] / "build" / "bench"
SUBJECTS: Mapping[str, Callable[[], dict[str, Any]]] = {
    "synth": synth.measure,
    "cost": cost.measure,
    "environment": environment.measure,
    "compact": compact.measure,
    "real": real_scale_ins.measure,
    "airflow.dags": dags.measure,
    "airflow.login": login.measure,
    "airflow.requirements": requirements.measure,
    "airflow.task_logs": task_logs.measure,
    "look_ahead": look_ahead.measure,
    "look_ahead.plan": airflow_plan.measure,
    "fleets": fleets.measure,
    "scaler": scaler.measure,  # last: it reads the figures of the others
}


def main() -> None:
    """Measure the named subjects."""
    names = sys.argv[1:] or list(SUBJECTS)
    if unknown := [name for name in names if name not in SUBJECTS]:
        sys.exit(f"unknown subject: {', '.join(unknown)}; known subjects: {', '.join(SUBJECTS)}")
    OUT.mkdir(parents=True, exist_ok=True)
    for name in names:
        measured = SUBJECTS[name]()
        machine = {"cpus": psutil.cpu_count(), "memory_gib": round(psutil.virtual_memory().total / (1 << 30))}
        document = {"at": datetime.now(UTC).isoformat(), "python": platform.python_version(), **machine, **measured}
        subject, _, key = name.partition(".")
        file = OUT / f"{subject}.json"
        if key:
            others = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
            document = {**others, key: document}
        file.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
        print(json.dumps(measured, indent=2))
        print(f"Written: {file}")


if __name__ == "__main__":
    main()
