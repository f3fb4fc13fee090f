# SPDX-License-Identifier: Apache-2.0
"""`make bench`: measures and writes one JSON document a subject to build/bench.

`python -m benchmarks [SUBJECT …]`; without a subject all of them, which takes about a quarter of an hour.
"""

import json
import platform
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from benchmarks import environment, fleet_shape, fleets, real_scale_ins, scaler, synth

OUT = Path(__file__).resolve().parents[1] / "build" / "bench"
SUBJECTS: Mapping[str, Callable[[], dict[str, Any]]] = {
    "synth": synth.measure,
    "environment": environment.measure,
    "fleet_shape": fleet_shape.measure,
    "real": real_scale_ins.measure,
    "fleets": fleets.measure,
    "scaler": scaler.measure,  # last: it takes in what the others measured
}


def main() -> None:
    """Measure what was asked for."""
    asked = sys.argv[1:] or list(SUBJECTS)
    if unknown := [name for name in asked if name not in SUBJECTS]:
        sys.exit(f"there is no subject {', '.join(unknown)}; known: {', '.join(SUBJECTS)}")
    OUT.mkdir(parents=True, exist_ok=True)
    for name in asked:
        measured = SUBJECTS[name]()
        machine = {"cpus": psutil.cpu_count(), "memory_gib": round(psutil.virtual_memory().total / (1 << 30))}
        document = {"at": datetime.now(UTC).isoformat(), "python": platform.python_version(), **machine, **measured}
        (OUT / f"{name}.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
        print(json.dumps(measured, indent=2))
        print(f"Written: {OUT / name}.json")


if __name__ == "__main__":
    main()
