# SPDX-License-Identifier: Apache-2.0
"""One scaler for 10, 100 and 1 000 fleets: CPU and memory of its process, and its AWS calls.

The real process with its real adapters and a tick every 10 s, against a fake of ECS, SQS, SSM and agents. A fleet has
two services and three busy workers in one of them. It takes about five minutes.
"""

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from prometheus_client.parser import text_string_to_metric_families

from tests.support.emulator import free_port

ROOT = Path(__file__).resolve().parents[1]
INTERVAL_S = 10.0
WORKERS = 3
READY_S = 60.0
# docs.aws.amazon.com/AmazonECS/latest/APIReference/request-throttling.html: refill per second and bucket of an account
# and Region. ListTasks and DescribeTasks share a bucket.
QUOTAS: dict[str, dict[str, Any]] = {
    "DescribeServices": {"per_s": 20, "burst": 100},
    "ListTasks": {"per_s": 20, "burst": 100, "shared_with": "DescribeTasks"},
    "DescribeTasks": {"per_s": 20, "burst": 100, "shared_with": "ListTasks"},
    "GetTaskProtection": {"per_s": 80, "burst": 200},
    "UpdateService": {"per_s": 5, "burst": 50},
    "GetParameters": {"per_s": 40, "burst": None},
    "GetQueueAttributes": {"per_s": None, "burst": None},
}


def settings(fleets: int, aws: str, ports: tuple[int, int]) -> dict[str, Any]:
    names = [f"fleet-{number:04d}" for number in range(fleets)]
    return {
        "version": 2,
        "environment": "bench",
        "region": "us-east-1",
        "cluster": "openmwaa-bench",
        "interval_s": INTERVAL_S,
        "http_port": ports[0],
        "agent_port": ports[1],
        "controls_prefix": "/openmwaa/bench/scaler/",
        "fleets": [
            {
                "name": name,
                "services": [f"worker-{name}-a", f"worker-{name}-b"],
                "queues": {name: f"{aws}/123456789012/{name}"},
                "slots": 5,
                "min": WORKERS,
                "max": 20,
            }
            for name in names
        ],
    }


@contextmanager
def processes(fleets: int, folder: Path) -> Iterator[tuple[psutil.Process, str, int]]:
    """Start the fake AWS and the scaler; end both on exit."""
    port, agent_port, http_port = free_port(), free_port(), free_port()
    aws = f"http://127.0.0.1:{port}"
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "AWS_ACCESS_KEY_ID": "bench",
        "AWS_SECRET_ACCESS_KEY": "bench",
        "AWS_ENDPOINT_URL": aws,
        "SCALER_SIGNING_SEED": "bench",
        "SCALER_CONFIG_FILE": str(folder / "scaler.json"),
    }
    (folder / "scaler.json").write_text(json.dumps(settings(fleets, aws, (http_port, agent_port))))
    server = [sys.executable, "-m", "benchmarks.fake_aws_server", *map(str, (port, agent_port, fleets, WORKERS))]
    with (folder / "decisions.log").open("wb") as log:
        started = [subprocess.Popen(server, cwd=ROOT, env=environment, stdout=subprocess.PIPE)]
        try:
            assert started[0].stdout is not None
            assert started[0].stdout.readline() == b"ready\n", "the fake AWS does not start"
            scaler = [sys.executable, "-m", "scaler.main"]
            started.append(subprocess.Popen(scaler, cwd=ROOT, env=environment, stdout=log))
            yield psutil.Process(started[1].pid), aws, http_port
        finally:
            for process in reversed(started):
                process.terminate()
                try:
                    process.wait(20)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=60) as answer:
        return str(answer.read().decode())


def until_all_decided(http_port: int, fleets: int) -> bool:
    """Wait for the first decision of every fleet; return False after a minute."""
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline:
        time.sleep(1)
        try:
            text = get(f"http://127.0.0.1:{http_port}/metrics")
        except OSError:
            continue
        families = {family.name: family for family in text_string_to_metric_families(text)}
        decisions = families.get("openmwaa_scaler_last_decision_timestamp_seconds")
        if decisions is not None and len(decisions.samples) == fleets:
            return True
    return False


def value(text: str, name: str, **labels: str) -> float:
    """Return the sum of a metric's samples with these labels."""
    samples = (sample for family in text_string_to_metric_families(text) for sample in family.samples)
    return sum(sample.value for sample in samples if sample.name == name and labels.items() <= sample.labels.items())


def measure_one(fleets: int, seconds: float) -> dict[str, Any]:
    """Measure one number of fleets."""
    with tempfile.TemporaryDirectory(prefix="openmwaa-bench-") as folder, processes(fleets, Path(folder)) as started:
        process, aws, http_port = started
        all_decided = until_all_decided(http_port, fleets)
        time.sleep(INTERVAL_S)
        metrics = f"http://127.0.0.1:{http_port}/metrics"
        calls, text, cpu = json.loads(get(f"{aws}/counts")), get(metrics), process.cpu_times()
        started_at, resident = time.monotonic(), []
        while time.monotonic() < started_at + seconds:
            time.sleep(1)
            resident.append(process.memory_info().rss)
        took = time.monotonic() - started_at
        cpu_after = process.cpu_times()
        calls_after, text_after = json.loads(get(f"{aws}/counts")), get(metrics)
        per_min = 60 / took
        cpu_s = (cpu_after.user + cpu_after.system - cpu.user - cpu.system) * per_min
        by_operation = {
            name: round((number - calls["calls"].get(name, 0)) * per_min)
            for name, number in sorted(calls_after["calls"].items())
        }

        def increase(name: str, **labels: str) -> float:
            return value(text_after, name, **labels) - value(text, name, **labels)

        ticks = increase("openmwaa_scaler_decisions_total")
        lag = increase("openmwaa_scaler_loop_lag_seconds_sum") / max(
            1.0, increase("openmwaa_scaler_loop_lag_seconds_count")
        )
        return {
            "cpu_s_per_min": round(cpu_s, 2),
            "cpu_ms_per_tick": round(1000 * cpu_s / max(1.0, ticks * per_min), 2),
            "rss_mib": round(statistics.median(resident) / (1 << 20)),
            "rss_max_mib": round(max(resident) / (1 << 20)),
            "api_calls_per_min": sum(by_operation.values()),
            "by_operation_per_min": by_operation,
            "agent_calls_per_min": round((calls_after["agents"] - calls["agents"]) * per_min),
            "all_decided_at_first": all_decided,
            "load_average": round(os.getloadavg()[0], 1),
            "ticks_per_min": round(ticks * per_min),
            "ticks_due_per_min": round(fleets * 60 / INTERVAL_S),
            "blind_or_failed": round(
                increase("openmwaa_scaler_decisions_total", kind="blind")
                + increase("openmwaa_scaler_tick_failures_total")
            ),
            "errors": round(increase("openmwaa_scaler_errors_total")),
            "tick_mean_s": round(increase("openmwaa_scaler_tick_duration_seconds_sum") / max(1.0, ticks), 3),
            "loop_lag_mean_s": round(lag, 4),
        }


def quotas(measured: dict[str, Any]) -> dict[str, Any]:
    """Return the calls of each operation with the quota of AWS per minute."""
    table = {}
    for name, per_min in measured["by_operation_per_min"].items():
        quota = QUOTAS.get(name, {"per_s": None})
        table[name] = {"per_min": per_min, "quota_per_min": quota["per_s"] * 60 if quota["per_s"] else None, **quota}
    return table


def measure(counts: tuple[int, ...] = (10, 100, 1000), seconds: float = 60.0) -> dict[str, Any]:
    """Measure each number of fleets."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 65536)), hard))  # also for the fake AWS
    found = {str(fleets): measure_one(fleets, seconds) for fleets in counts}
    return {
        "interval_s": INTERVAL_S,
        "workers_per_fleet": WORKERS,
        "seconds": seconds,
        "fleets": found,
        "quotas": {fleets: quotas(measured) for fleets, measured in found.items()},
    }
