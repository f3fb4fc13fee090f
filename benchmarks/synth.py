# SPDX-License-Identifier: Apache-2.0
"""Seconds of `openmwaa synth`, with the start of the process."""

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]
RUNS = 5


def measure() -> dict[str, Any]:
    """Return the seconds of each run; the first run on a machine also unpacks the bindings of the CDK."""
    seconds = []
    for run in range(RUNS):
        with tempfile.TemporaryDirectory() as folder:
            started = time.monotonic()
            words = ["synth", str(REPOSITORY / "examples/quickstart/environment.yaml"), "--out", folder]
            command = [sys.executable, "-c", "from openmwaa.cli import main; main()", *words]
            subprocess.run(command, check=True, capture_output=True, timeout=180)
            seconds.append(round(time.monotonic() - started, 2))
            print(f"synth {run + 1} of {RUNS}: {seconds[-1]} s", flush=True)
    return {"synth_s": seconds, "best_s": min(seconds), "worst_s": max(seconds)}
