# SPDX-License-Identifier: Apache-2.0
"""Seconds of a login with IAM, and milliseconds of an authorised API call beside one with Airflow's SimpleAuthManager.

Both web servers use one database. Requests alternate between them, so that other work of the machine delays both.
"""

import asyncio
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import quantiles
from typing import Any

import psutil

from tests.support.airflow import install_airflow
from tests.support.fake_sts import FakeSts, serve
from tests.support.prepared_cluster import ROOT
from tests.support.web_servers import HTTP, OP, ServedEnvironment, environment

LOGINS = 30
WARM_UP = 50
CALLS = 200
DAGS = 50
PATHS = ("/api/v2/pools", f"/api/v2/dags?limit={DAGS}")
ADD_DAGS = f"""
import os
from openmwaa_runtime.settings import airflow_environment
os.environ.update(airflow_environment("web-server", os.environ, ""))
from tests.support.route_matrix import add_dag
for number in range({DAGS}):
    add_dag(f"dag_{{number}}")
"""


@dataclass
class TimedSts(FakeSts):
    """An STS that measures itself."""

    seconds: list[float] = field(default_factory=list)

    def answer(self, method: str, url: str, headers: Mapping[str, str], body: bytes = b"") -> tuple[int, bytes]:
        began = time.perf_counter()
        try:
            return super().answer(method, url, headers, body)
        finally:
            self.seconds.append(time.perf_counter() - began)


def measure() -> dict[str, Any]:
    """Return the percentiles."""
    with tempfile.TemporaryDirectory(prefix="openmwaa-bench-") as folder:
        return asyncio.run(_measure(Path(folder)))


async def _measure(folder: Path) -> dict[str, Any]:
    sts = TimedSts([OP])
    with serve(sts) as url:
        async with environment(folder, url, "bench") as served:
            _add_dags(served)
            password = {"OPENMWAA_LOGIN": "PASSWORD", "OPENMWAA_ADMIN_PASSWORD": "secret"}
            simple_home = {"AIRFLOW_HOME": str(folder / "simple")}
            with served.web_server(served.port) as iam, served.web_server(**password, **simple_home) as simple:
                return _login(served, sts) | _calls(served, iam, simple)


def _add_dags(served: ServedEnvironment) -> None:
    paths = {"PYTHONPATH": f"{ROOT / 'images' / 'airflow'}:{ROOT}"}
    program = [str(install_airflow() / "bin" / "python"), "-c", ADD_DAGS]
    subprocess.run(program, env={**served.variables, **paths}, check=True, timeout=300)


def _login(served: ServedEnvironment, sts: TimedSts) -> dict[str, Any]:
    seconds = []
    for _ in range(LOGINS):
        began = time.perf_counter()
        status, answer = served.exchange(served.web_url, "web")
        assert status == 200, answer
        form = {"token": answer["web_token"]}
        opened = HTTP.request(
            "POST", f"{served.web_url}/aws_mwaa/login", fields=form, encode_multipart=False, redirect=False
        )
        assert opened.status == 303, opened.data
        seconds.append(time.perf_counter() - began)
    return {"login_s": _summary(seconds), "of_which_sts_s": _summary(sts.seconds)}


def _calls(served: ServedEnvironment, iam: str, simple: str) -> dict[str, Any]:
    credentials = {"username": "admin", "password": "secret"}
    tokens = {
        iam: served.exchange(iam, "api")[1]["access_token"],
        simple: HTTP.request("POST", f"{simple}/auth/token", json=credentials).json()["access_token"],
    }
    found = {}
    for path in PATHS:
        calls = {url: _call(url + path, token) for url, token in tokens.items()}
        for call in (*calls.values(),) * WARM_UP:
            call()
        milliseconds: dict[str, list[float]] = {iam: [], simple: []}
        before = {url: _cpu_s(url) for url in tokens}
        for number in range(CALLS):
            for url in (iam, simple) if number % 2 else (simple, iam):
                milliseconds[url].append(calls[url]() * 1000)
        cpu = {url: (_cpu_s(url) - before[url]) / CALLS * 1000 for url in tokens}
        both = {
            name: _summary(milliseconds[url]) | {"cpu": round(cpu[url], 2)}
            for name, url in (("iam", iam), ("simple", simple))
        }
        more = {name: round(both["iam"][name] - both["simple"][name], 2) for name in ("p50", "cpu")}
        found[path] = {**both, "more": more, "ratio": round(both["iam"]["p50"] / both["simple"]["p50"], 3)}
    return {"calls_ms": found}


def _call(url: str, token: str) -> Callable[[], float]:
    def call() -> float:
        began = time.perf_counter()
        answer = HTTP.request("GET", url, headers={"Authorization": f"Bearer {token}"})
        seconds = time.perf_counter() - began
        assert answer.status == 200, answer.data
        return seconds

    return call


def _cpu_s(url: str) -> float:
    """CPU time of the web server at an address: other work of the machine does not change it much."""
    port = int(url.rpartition(":")[2])
    servers = [
        process
        for process in psutil.Process().children(recursive=True)
        if any((listening.status, listening.laddr[1]) == ("LISTEN", port) for listening in process.net_connections())
    ]
    return sum(process.cpu_times().user + process.cpu_times().system for process in servers)


def _summary(values: list[float]) -> dict[str, float]:
    cuts = quantiles(values, n=100, method="inclusive")
    return {"p50": round(cuts[49], 4), "p95": round(cuts[94], 4)}
