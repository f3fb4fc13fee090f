# SPDX-License-Identifier: Apache-2.0
"""Task logs under Airflow's own supervisor: lines kept at 5 000 a second, and the seconds until a line is readable."""

import json
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import boto3

from openmwaa.local.demo.summary import percentiles
from openmwaa_runtime.task_logs.cloudwatch import CloudWatchDestination
from tests.support.airflow import result_of
from tests.support.container_env import CONTAINER
from tests.support.emulator import find_emulator, running_emulator
from tests.support.supervised_task import GROUP, PACED, STREAM, start

REGION: Final = "eu-west-1"
TEXTS: Final = 20
SPOKEN: Final = f"for _ in range({TEXTS}):\n    print(f'at {{time.time()}}')\n    time.sleep(1.3)"


def measure() -> dict[str, Any]:
    """Measure both with the emulated CloudWatch."""
    with tempfile.TemporaryDirectory(prefix="openmwaa-logs-") as folder, _cloudwatch() as (logs, variables):
        began = time.monotonic()
        with start(Path(folder), PACED, variables) as process:
            result_of(process)
        took = time.monotonic() - began
        kept = [text for text in _texts(logs) if text.startswith("line ")]
        print(f"{len(kept)} of 20000 lines are kept", flush=True)
    with tempfile.TemporaryDirectory(prefix="openmwaa-logs-") as folder, _cloudwatch() as (logs, variables):
        seen: dict[str, float] = {}
        with start(Path(folder), SPOKEN, variables) as process:
            while process.poll() is None:
                for text in _texts(logs):
                    if text.startswith("at "):
                        seen.setdefault(text, time.time() - float(text.removeprefix("at ")))
                time.sleep(0.1)
            result_of(process)
    found = percentiles([*seen.values()])
    return {
        "lines_per_s": 5_000,
        "lines_printed": 20_000,
        "lines_kept": len(kept),
        "in_order": kept == [f"line {number}" for number in range(20_000)],
        "task_s": round(took, 1),
        "visible_texts": len(seen),
        "visible_s": asdict(found) if found else None,
    }


@contextmanager
def _cloudwatch() -> Iterator[tuple[CloudWatchDestination, dict[str, str]]]:
    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    with running_emulator(find_emulator(), services="logs,sts") as url:
        client = boto3.client(
            "logs", endpoint_url=url, region_name=REGION, aws_access_key_id="test", aws_secret_access_key="test"
        )
        client.create_log_group(logGroupName=GROUP)
        yield CloudWatchDestination(GROUP, lambda: client), {**CONTAINER, **keys, "AWS_ENDPOINT_URL": url}


def _texts(logs: CloudWatchDestination) -> list[str]:
    return [str(json.loads(line)["event"]) for line in logs.read(STREAM)]
