# SPDX-License-Identifier: Apache-2.0
"""Real Airflow: a burst that grows and shrinks the fleet, a worker that is killed, and nothing left behind."""

import asyncio
import json
import os
import signal
from collections.abc import Awaitable, Callable

import aiohttp
import psutil
import pytest

from openmwaa.local import task_journal
from openmwaa.local.daemon import daemon_client, orphans
from openmwaa.local.demo.endpoints import endpoints_of
from openmwaa.local.demo.run import Burst, upload
from openmwaa.local.demo.watch import Watcher, aws_client
from openmwaa.local.services.airflow_api import AirflowApi
from openmwaa.local.up import Ready
from tests.e2e.conftest import E2E

# The first test waits for the environment too, which a fresh machine installs: its commands end before this does.
pytestmark = [pytest.mark.e2e, pytest.mark.timeout(2400)]
AGENT_PORT = 8790


def test_a_burst_grows_the_fleet_to_4_and_back_to_1_and_nothing_is_lost(e2e: E2E) -> None:
    done = e2e.openmwaa(
        "local", "demo", "environment.yaml", "--tasks", "36", "--seconds", "4", "--keep", "--out", "out"
    )
    told = f"\n{done.stdout}\n{done.stderr}"
    assert done.returncode == 0, f"`openmwaa local demo` ends with {done.returncode}:{told}"
    counted = json.loads((e2e.file.parent / "out" / "demo.json").read_text())
    flaws = {name: counted[name] for name in counted if name in FLAWLESS and counted[name] != FLAWLESS[name]}
    assert not flaws, f"a burst of 36 tasks is not flawless: {flaws}{told}"
    assert "is done" in done.stdout, f"the log of a task whose worker is gone was not read back:{told}"
    assert (e2e.file.parent / "out" / "demo.svg").read_text().startswith("<svg")


FLAWLESS = {
    "tasks_succeeded": 36,
    "tasks_failed": 0,
    "tasks_retried": 0,
    "tasks_lost": 0,
    "tasks_duplicated": 0,
    "tasks_interrupted": 0,
    "workers_min": 1,
    "workers_peak": 4,
    "workers_end": 1,
}


@pytest.mark.fault(
    "worker SIGKILLed", "ECS replaces the worker; Airflow misses the heartbeats of its tasks and retries them."
)
async def test_a_killed_workers_tasks_are_retried_by_airflow_and_finished(e2e: E2E) -> None:
    status = await asyncio.to_thread(daemon_client.status, e2e.paths)
    assert status is not None, "the environment is not running"
    endpoints = await asyncio.to_thread(
        endpoints_of, Ready(e2e.paths, status, 0.0, terraform_ran=False), e2e.environment
    )
    burst = Burst(tasks=3, seconds=25)
    book = e2e.file.parent / "killed.jsonl"
    expected = [f"work[{index}]" for index in range(burst.tasks)]
    async with (
        aiohttp.ClientSession(trust_env=False) as http,
        aws_client(endpoints, "ecs") as ecs,
        AirflowApi(endpoints.web_url, "admin", endpoints.admin_password) as airflow,
    ):
        await upload(endpoints, burst)
        await until("Airflow reads the DAG", lambda: airflow.dag_is_known(burst.dag_id), 120)
        await airflow.unpause(burst.dag_id)
        watcher = Watcher(endpoints, ecs, http)
        before = {worker.arn for worker in await watcher.workers()}
        run_id = await airflow.trigger(burst.dag_id, {"journal": str(book)})

        async def begun() -> bool:
            return bool(task_journal.read(book, expected).lines)

        await until("a task begins", begun, 120)
        victim = task_journal.read(book, expected).lines[0].worker
        killed = kill_session_of(victim)
        assert killed, f"no process listens on {victim}:{AGENT_PORT}, so no worker was killed"

        async def ended() -> bool:
            return await airflow.run_state(burst.dag_id, run_id) in {"success", "failed"}

        await until("the run ends", ended, 400)
        assert await airflow.run_state(burst.dag_id, run_id) == "success", (
            "Airflow did not retry the killed worker's task"
        )
        after = {worker.arn for worker in await watcher.workers()}
    counted = task_journal.read(book, expected)
    assert counted.interrupted, "nothing was interrupted, so the kill proved nothing"
    assert not counted.lost, f"never finished: {counted.lost}"
    assert not counted.duplicated, f"finished twice: {counted.duplicated}"
    assert after - before, "ECS did not start a worker in place of the killed one"


def test_down_leaves_no_process(e2e: E2E) -> None:
    done = e2e.openmwaa("local", "down", "environment.yaml")
    assert done.returncode == 0, done.stderr
    left = orphans.remaining(e2e.paths)
    assert not left, f"left behind: {[(one.pid, one.name()) for one in left]}"
    assert e2e.openmwaa("local", "status", "environment.yaml").returncode == 3


async def until(what: str, condition: Callable[[], Awaitable[bool]], within_s: float) -> None:
    """Ask once a second until the condition holds."""
    try:
        async with asyncio.timeout(within_s):
            while not await condition():
                await asyncio.sleep(1)
    except TimeoutError:
        pytest.fail(f"not within {within_s:.0f} s: {what}")


def kill_session_of(address: str) -> list[int]:
    """SIGKILL the worker that listens on an address: its session, all at once, as a lost host would."""
    listening = {
        one.pid
        for one in psutil.net_connections("tcp4")
        if one.laddr == (address, AGENT_PORT) and one.status == psutil.CONN_LISTEN and one.pid
    }
    sessions = {os.getsid(pid) for pid in listening}
    victims = [one.pid for one in psutil.process_iter() if one.pid in listening or _session(one.pid) in sessions]
    for pid in victims:
        os.kill(pid, signal.SIGKILL)
    return victims


def _session(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return None
