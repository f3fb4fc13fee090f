# SPDX-License-Identifier: Apache-2.0
"""Real Airflow: a burst with scale-out and scale-in, a killed worker, and a clean stop."""

import asyncio
import contextlib
import http.client
import json
import os
import signal
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

import aiohttp
import psutil
import pytest

from openmwaa.config.ports import EXECUTION_API_PORT, WEB_PORT
from openmwaa.local import task_journal
from openmwaa.local.daemon import daemon_client, orphans
from openmwaa.local.demo.run import Burst, endpoints_of, upload
from openmwaa.local.demo.watch import Watcher, aws_client
from openmwaa.local.services.airflow_api import AirflowApi
from openmwaa.local.up import Ready
from tests.e2e.conftest import E2E, YAML

# The first test also waits for the environment, which a new machine must install.
pytestmark = [pytest.mark.e2e, pytest.mark.timeout(2400)]
AGENT_PORT = 8790
SLOTS = 12
"""Of all workers of the fleet: 4 with 3 slots."""


def test_a_burst_scales_the_fleet_to_4_and_back_to_1_and_no_task_is_lost(e2e: E2E) -> None:
    done = e2e.openmwaa(
        "local", "demo", "environment.yaml", "--tasks", "36", "--seconds", "4", "--keep", "--out", "out"
    )
    output = f"\n{done.stdout}\n{done.stderr}"
    assert done.returncode == 0, f"`openmwaa local demo` ends with {done.returncode}:{output}"
    counted = json.loads((e2e.file.parent / "out" / "demo.json").read_text())
    flaws = {name: counted[name] for name in counted if name in FLAWLESS and counted[name] != FLAWLESS[name]}
    assert not flaws, f"a burst of 36 tasks is not flawless: {flaws}{output}"
    assert "is done" in done.stdout, f"the log of a task whose worker was removed is missing:{output}"
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


@pytest.mark.parametrize(
    "path",
    ["/execution/%s", "/%%65xecution/%s", "//execution/%s", "/x/../execution/%s", "/x/%%2e%%2e/execution/%s"],
    ids=["plain", "percent-encoded", "double slash", "dots", "percent-encoded dots"],
)
def test_no_path_through_the_listener_of_users_reaches_the_execution_api(e2e: E2E, path: str) -> None:
    status = daemon_client.status(e2e.paths)
    assert status is not None, "the environment is not running"
    users = urlsplit(status["web_address"])

    def answer(port: int, method: str, word: str, template: str = path) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(str(users.hostname), port, timeout=60)  # sends the path as it is
        with contextlib.closing(connection):
            connection.request(method, template % word, body=b"{}", headers={"Content-Type": "application/json"})
            response = connection.getresponse()
            return response.status, response.read()

    run = "task-instances/00000000-0000-0000-0000-000000000000/run"
    plain = "/execution/%s"
    assert answer(EXECUTION_API_PORT, "GET", "health", plain) == (200, b'{"status":"healthy"}')
    assert answer(EXECUTION_API_PORT, "PATCH", run, plain)[0] == 401, "the execution API needs the token of a task"
    page = answer(WEB_PORT, "GET", "health")
    assert page[1].startswith(b"<!doctype html>"), f"not the page of Airflow: {page}"
    assert answer(WEB_PORT, "PATCH", run)[0] in {404, 405}, "a route of the execution API answers"


@pytest.mark.fault(
    "worker SIGKILLed", "ECS replaces the worker; Airflow misses the heartbeats of its tasks and retries them."
)
async def test_tasks_of_a_killed_worker_are_retried_and_finish(e2e: E2E) -> None:
    status = await asyncio.to_thread(daemon_client.status, e2e.paths)
    assert status is not None, "the environment is not running"
    endpoints = await asyncio.to_thread(endpoints_of, Ready(e2e.paths, status, 0.0), e2e.environment)
    burst = Burst(tasks=3, seconds=25)
    journal = e2e.file.parent / "killed.jsonl"
    expected = [f"work[{index}]" for index in range(burst.tasks)]
    async with (
        aiohttp.ClientSession(trust_env=False) as http,
        aws_client(endpoints, "ecs") as ecs,
    ):
        airflow = AirflowApi(http, endpoints.web_url, "admin", endpoints.admin_password)
        await upload(endpoints, burst)
        await until("Airflow parses the DAG", lambda: airflow.dag_is_known(burst.dag_id), 120)
        await airflow.unpause(burst.dag_id)
        watcher = Watcher(endpoints, ecs, http)
        before = {worker.arn for worker in await watcher.workers()}
        run_id = await airflow.trigger(burst.dag_id, {"journal": str(journal)})

        async def started() -> bool:
            return bool(task_journal.read(journal, expected).lines)

        await until("a task starts", started, 120)
        victim = task_journal.read(journal, expected).lines[0].worker
        killed = kill_session_of(victim)
        assert killed, f"no process listens on {victim}:{AGENT_PORT}, so no worker was killed"

        async def ended() -> bool:
            return await airflow.run_state(burst.dag_id, run_id) in {"success", "failed"}

        await until("the run ends", ended, 400)
        assert await airflow.run_state(burst.dag_id, run_id) == "success", (
            "Airflow did not retry the killed worker's task"
        )
        after = {worker.arn for worker in await watcher.workers()}
    counted = task_journal.read(journal, expected)
    assert counted.interrupted, "no task was interrupted, so the kill had no effect"
    assert not counted.lost, f"never finished: {counted.lost}"
    assert not counted.duplicated, f"finished twice: {counted.duplicated}"
    assert after - before, "ECS did not start a worker in place of the killed one"


async def test_queued_tasks_keep_their_try_when_the_daemon_is_killed(e2e: E2E) -> None:
    status = await asyncio.to_thread(daemon_client.status, e2e.paths)
    assert status is not None, "the environment is not running"
    endpoints = await asyncio.to_thread(endpoints_of, Ready(e2e.paths, status, 0.0), e2e.environment)
    burst = Burst(tasks=18, seconds=90)  # 12 slots: no further task starts before the first has ended
    journal = e2e.file.parent / "queued.jsonl"
    async with aiohttp.ClientSession(trust_env=False) as http:
        airflow = AirflowApi(http, endpoints.web_url, "admin", endpoints.admin_password)
        await upload(endpoints, burst)
        await until("Airflow parses the DAG", lambda: airflow.dag_is_known(burst.dag_id), 240)
        await airflow.unpause(burst.dag_id)
        run_id = await airflow.trigger(burst.dag_id, {"journal": str(journal)})

        async def running() -> set[int]:
            tasks = await airflow.task_instances(burst.dag_id, run_id)
            return {task.map_index for task in tasks if task.started_at}

        async def full() -> bool:
            return len(await running()) == SLOTS

        await until("every slot has a task", full, 400)
        interrupted = await running()
        os.kill(status["pid"], signal.SIGKILL)

        async def ended() -> bool:
            return not orphans.remaining(e2e.paths)

        await until("every process ends without a command", ended, 60)
        assert not list(e2e.paths.tasks.iterdir()), "the folders of tasks remain"
        done = await asyncio.to_thread(e2e.openmwaa, "local", "up", "environment.yaml")
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"

        async def finished() -> bool:
            return await airflow.run_state(burst.dag_id, run_id) in {"success", "failed"}

        await until("the run ends", finished, 600)
        tasks = await airflow.task_instances(burst.dag_id, run_id)
    assert {task.state for task in tasks} == {"success"}
    tries = {task.map_index: task.try_number for task in tasks if task.map_index not in interrupted}
    assert set(tries.values()) == {1}, f"queued tasks lost a try: {tries}"


@pytest.mark.slow
@pytest.mark.parametrize("form", ["SEPARATE", "COMPACT"])
async def test_a_change_of_the_control_plane_loses_no_task(e2e: E2E, form: str) -> None:
    """Here Terraform does not wait until the new services are healthy: for a while there is no execution API."""
    status = await asyncio.to_thread(daemon_client.status, e2e.paths)
    assert status is not None, "the environment is not running"
    endpoints = await asyncio.to_thread(endpoints_of, Ready(e2e.paths, status, 0.0), e2e.environment)
    burst = Burst(tasks=18, seconds=200)  # 12 slots: some tasks run during the whole change, others start after it
    journal = e2e.file.parent / f"{form}.jsonl"
    expected = [f"work[{index}]" for index in range(burst.tasks)]

    async def started() -> bool:
        return bool(task_journal.read(journal, expected).lines)

    async with aiohttp.ClientSession(trust_env=False) as client:
        airflow = AirflowApi(client, endpoints.web_url, "admin", endpoints.admin_password)
        await upload(endpoints, burst)
        await until("Airflow parses the DAG", lambda: airflow.dag_is_known(burst.dag_id), 240)
        await airflow.unpause(burst.dag_id)
        run_id = await airflow.trigger(burst.dag_id, {"journal": str(journal)})
        await until("a task starts", started, 240)
        e2e.file.write_text(f"{YAML}control_plane: {form}\n")
        done = await asyncio.to_thread(e2e.openmwaa, "local", "up", "environment.yaml")
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        status = await asyncio.to_thread(daemon_client.status, e2e.paths)

        async def ended() -> bool:
            return await airflow.run_state(burst.dag_id, run_id) in {"success", "failed"}

        await until("the run ends", ended, 900)
        tasks = await airflow.task_instances(burst.dag_id, run_id)
    services = {service["name"] for service in (status or {})["services"]} - {"scaler"}
    assert len([name for name in services if not name.startswith("worker-")]) == (1 if form == "COMPACT" else 5)
    counted = task_journal.read(journal, expected)
    assert not counted.lost, f"never finished: {counted.lost}"
    assert not counted.duplicated, f"finished twice: {counted.duplicated}"
    assert not counted.interrupted, f"interrupted: {counted.interrupted}"
    assert {(task.state, task.try_number) for task in tasks} == {("success", 1)}


async def test_an_environment_falls_asleep_and_wakes_with_its_tasks(e2e: E2E) -> None:
    status = await asyncio.to_thread(daemon_client.status, e2e.paths)
    assert status is not None, "the environment is not running"
    endpoints = await asyncio.to_thread(endpoints_of, Ready(e2e.paths, status, 0.0), e2e.environment)
    burst = Burst(tasks=18, seconds=20)  # 12 slots: 6 tasks or more are queued when it falls asleep
    journal = e2e.file.parent / "asleep.jsonl"
    expected = [f"work[{index}]" for index in range(burst.tasks)]

    async def started() -> bool:
        return bool(task_journal.read(journal, expected).lines)

    async with aiohttp.ClientSession(trust_env=False) as client:
        airflow = AirflowApi(client, endpoints.web_url, "admin", endpoints.admin_password)
        await upload(endpoints, burst)
        await until("Airflow parses the DAG", lambda: airflow.dag_is_known(burst.dag_id), 240)
        await airflow.unpause(burst.dag_id)
        run_id = await airflow.trigger(burst.dag_id, {"journal": str(journal)})
        await until("a task starts", started, 240)
        asleep = await asyncio.to_thread(e2e.openmwaa, "sleep", "environment.yaml", "--reason", "night", "--json")
        assert asleep.returncode == 0, f"{asleep.stdout}\n{asleep.stderr}"
        before = task_journal.read(journal, expected)
        services = await asyncio.to_thread(lambda: (daemon_client.status(e2e.paths) or {})["services"])
        assert {service["name"]: service["running"] for service in services if service["running"]} == {"scaler": 1}
        assert not before.interrupted, f"interrupted: {before.interrupted}"
        assert before.lost, "all tasks ran before it fell asleep: nothing was queued"
        waiting = await asyncio.to_thread(e2e.openmwaa, "wait", "environment.yaml")
        assert (waiting.returncode, "is asleep" in waiting.stderr) == (1, True), waiting.stderr
        awake = await asyncio.to_thread(e2e.openmwaa, "wake", "environment.yaml", "--json")
        assert awake.returncode == 0, f"{awake.stdout}\n{awake.stderr}"

        async def ended() -> bool:
            return await airflow.run_state(burst.dag_id, run_id) in {"success", "failed"}

        await until("the run ends", ended, 600)
        tasks = await airflow.task_instances(burst.dag_id, run_id)
    counted = task_journal.read(journal, expected)
    flaws = {"lost": counted.lost, "duplicated": counted.duplicated, "interrupted": counted.interrupted}
    assert not any(flaws.values()), flaws
    assert {(task.state, task.try_number) for task in tasks} == {("success", 1)}
    print({name: json.loads(done.stdout)["seconds"] for name, done in (("asleep", asleep), ("awake", awake))})


def test_down_leaves_no_process(e2e: E2E) -> None:
    done = e2e.openmwaa("local", "down", "environment.yaml")
    assert done.returncode == 0, done.stderr
    left = orphans.remaining(e2e.paths)
    assert not left, f"remaining processes: {[(process.pid, process.name()) for process in left]}"
    assert e2e.openmwaa("local", "status", "environment.yaml").returncode == 3


async def until(what: str, condition: Callable[[], Awaitable[bool]], within_s: float) -> None:
    """Poll once a second until the condition holds."""
    try:
        async with asyncio.timeout(within_s):
            while not await condition():
                await asyncio.sleep(1)
    except TimeoutError:
        pytest.fail(f"not within {within_s:.0f} s: {what}")


def kill_session_of(address: str) -> list[int]:
    """SIGKILL all processes of the worker that listens on an address, like the loss of its host."""
    listening = {
        connection.pid
        for connection in psutil.net_connections("tcp4")
        if connection.laddr == (address, AGENT_PORT) and connection.status == psutil.CONN_LISTEN and connection.pid
    }
    sessions = {os.getsid(pid) for pid in listening}
    pids = psutil.pids()
    victims = [pid for pid in pids if pid in listening or _session(pid) in sessions]
    for pid in victims:
        os.kill(pid, signal.SIGKILL)
    return victims


def _session(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return None
