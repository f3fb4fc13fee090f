# SPDX-License-Identifier: Apache-2.0
"""Real Airflow: a burst with scale-out and scale-in, a killed worker, and a clean stop."""

import asyncio
import contextlib
import http.client
import json
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import aiohttp
import psutil
import pytest

from openmwaa.config.ports import EXECUTION_API_PORT, WEB_PORT
from openmwaa.local import task_journal
from openmwaa.local.daemon import daemon_client, orphans
from openmwaa.local.demo.run import Burst, dag_source, endpoints_of
from openmwaa.local.demo.watch import Endpoints, Watcher, aws_client
from openmwaa.local.services.airflow_api import AirflowApi, TaskInstance
from openmwaa.local.task_journal import TaskJournal
from openmwaa.local.up import Ready
from tests.e2e.conftest import E2E, YAML

# The first test also waits for the environment, which a new machine must install.
pytestmark = [pytest.mark.e2e, pytest.mark.timeout(2400)]
AGENT_PORT = 8790
SLOTS = 12
"""Of all workers of the fleet: 4 with 3 slots."""


def test_a_burst_scales_the_fleet_to_4_and_back_to_1_and_no_task_is_lost(e2e: E2E) -> None:
    done = e2e.openmwaa(
        "local", "demo", "environment.yaml", "--tasks", "36", "--seconds", "4", "--once", "--keep", "--out", "out"
    )
    output = f"\n{done.stdout}\n{done.stderr}"
    assert done.returncode == 0, f"`openmwaa local demo` ends with {done.returncode}:{output}"
    counted = json.loads((e2e.file.parent / "out" / "demo.json").read_text())
    flaws = {name: counted[name] for name in counted if name in FLAWLESS and counted[name] != FLAWLESS[name]}
    assert not flaws, f"a burst of 36 tasks is not flawless: {flaws}{output}"
    assert "is done" in done.stdout, f"the log of a task whose worker was removed is missing:{output}"
    assert (e2e.file.parent / "out" / "demo.svg").read_text().startswith("<svg")
    (burst,) = counted["bursts"]
    assert (burst["run"], burst["workers_at_start"], set(burst["wait_s"])) == ("manual", 1, {"mean", "p95", "max"})


@pytest.mark.slow
def test_a_scheduled_burst_finds_its_workers_and_whatif_reads_the_history(e2e: E2E) -> None:
    e2e.file.write_text(f'{YAML}  look_ahead: "on"\n')
    words = ("--tasks", "36", "--seconds", "10", "--keep", "--out", "out")
    done = e2e.openmwaa("local", "demo", "environment.yaml", *words)
    output = f"\n{done.stdout}\n{done.stderr}"
    assert done.returncode == 0, f"`openmwaa local demo` ends with {done.returncode}:{output}"
    counted = json.loads((e2e.file.parent / "out" / "demo.json").read_text())
    assert (counted["tasks_succeeded"], counted["workers_end"]) == (72, 1), output
    first, second = counted["bursts"]
    assert (first["run"], second["run"]) == ("manual", "scheduled")
    assert None not in (first["wait_s"], second["wait_s"]), output
    assert first["workers_at_start"] == 1 < second["workers_at_start"], f"its workers began after its tasks:{output}"
    asked = e2e.openmwaa("whatif", "environment.yaml", "--json", "what-if.json", "--plot", "what-if.svg")
    assert asked.returncode == 0, f"{asked.stdout}\n{asked.stderr}"
    assert "Recommended: openmwaa" in asked.stdout, asked.stdout
    rows = json.loads((e2e.file.parent / "what-if.json").read_text())["settings"]
    assert min(row["tasks"] for row in rows) > 0, "no task was simulated"


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
    async with a_burst(e2e, Burst(tasks=3, seconds=25)) as burst, aws_client(burst.endpoints, "ecs") as ecs:
        await until("a task starts", burst.has_started, 120)
        watcher = Watcher(burst.endpoints, ecs, burst.http)
        before = {worker.arn for worker in await watcher.workers()}
        first = burst.journal.lines[0]
        victim = first.worker
        await until("the log of a running task is readable", lambda: burst.log_has(first.task, "has started"), 60)
        killed = kill_session_of(victim)
        assert killed, f"no process listens on {victim}:{AGENT_PORT}, so no worker was killed"
        await until("the run ends", burst.has_ended, 400)
        after = {worker.arn for worker in await watcher.workers()}
        states = {task.state for task in await burst.tasks()}
        assert await burst.log_has(first.task, "has started"), "the log of a try is lost with its worker"
    assert states == {"success"}, "Airflow did not retry the killed worker's task"
    assert burst.journal.interrupted, "no task was interrupted, so the kill had no effect"
    assert not burst.journal.lost, f"never finished: {burst.journal.lost}"
    assert not burst.journal.duplicated, f"finished twice: {burst.journal.duplicated}"
    assert after - before, "ECS did not start a worker in place of the killed one"


@pytest.mark.slow
async def test_queued_tasks_keep_their_try_when_the_daemon_is_killed(e2e: E2E) -> None:
    # 12 slots: no further task starts before one of the first has ended, and none ends before `finish`.
    async with a_burst(e2e, Burst(tasks=18, seconds=600), waits=True) as burst:

        async def running() -> set[int]:
            return {task.map_index for task in await burst.tasks() if task.started_at}

        async def full() -> bool:
            return len(await running()) == SLOTS

        await until("every slot has a task", full, 400)
        interrupted = await running()
        status = await asyncio.to_thread(daemon_client.status, e2e.paths)
        assert status is not None, "the environment is not running"
        os.kill(status["pid"], signal.SIGKILL)

        async def ended() -> bool:
            return not orphans.remaining(e2e.paths)

        await until("every process ends without a command", ended, 60)
        assert not list(e2e.paths.tasks.iterdir()), "the folders of tasks remain"
        burst.finish()
        done = await asyncio.to_thread(e2e.openmwaa, "local", "up", "environment.yaml")
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        await until("the run ends", burst.has_ended, 600)
        tasks = await burst.tasks()
    assert {task.state for task in tasks} == {"success"}
    tries = {task.map_index: task.try_number for task in tasks if task.map_index not in interrupted}
    assert set(tries.values()) == {1}, f"queued tasks lost a try: {tries}"


# With Airflow's 40 s of this environment, a task without an execution API would be tried again.
PATIENT = "".join(line for line in YAML.splitlines(keepends=True) if "heartbeat_timeout" not in line)
CHANGES = {
    "COMPACT to SEPARATE": PATIENT + "control_plane: SEPARATE\n",
    "SEPARATE to COMPACT": PATIENT,
    "new revision of COMPACT": PATIENT.replace("default_task_retry_delay: 5", "default_task_retry_delay: 6"),
}


@pytest.mark.slow
@pytest.mark.parametrize("change", CHANGES)
async def test_a_change_of_the_control_plane_loses_no_task(e2e: E2E, change: str) -> None:
    """Here Terraform does not wait until the new services are healthy: for a while there is no execution API."""
    # 12 slots: some tasks run during the whole change, others start after it.
    async with a_burst(e2e, Burst(tasks=18, seconds=900), waits=True) as burst:
        await until("a task starts", burst.has_started, 240)
        e2e.file.write_text(CHANGES[change])
        done = await asyncio.to_thread(e2e.openmwaa, "local", "up", "environment.yaml")
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        assert not burst.journal.completions, "tasks ended during the change: it was not made under running tasks"
        burst.finish()
        status = await asyncio.to_thread(daemon_client.status, e2e.paths)
        await until("the run ends", burst.has_ended, 900)
        tasks = await burst.tasks()
    services = {service["name"] for service in (status or {})["services"]} - {"scaler"}
    components = [name for name in services if not name.startswith("worker-")]
    assert len(components) == (5 if change.endswith("SEPARATE") else 1), components
    assert not (flaws := flaws_of(burst.journal)), flaws
    assert {(task.state, task.try_number) for task in tasks} == {("success", 1)}
    waited = await asyncio.to_thread(e2e.openmwaa, "wait", "environment.yaml", "--for", "workers", "--timeout", "10m")
    assert waited.returncode == 0, f"{waited.stdout}\n{waited.stderr}"


async def test_an_environment_falls_asleep_and_wakes_with_its_tasks(e2e: E2E) -> None:
    # 12 slots, and no task ends before all workers drain: 6 tasks or more are queued when it falls asleep.
    async with a_burst(e2e, Burst(tasks=18, seconds=600), waits=True) as burst:
        await until("a task starts", burst.has_started, 240)
        words = ("sleep", "environment.yaml", "--reason", "night", "--json")
        sleeping = asyncio.create_task(asyncio.to_thread(e2e.openmwaa, *words))

        async def all_drain() -> bool:
            lines = (e2e.paths.logs / "scaler.log").read_text().splitlines()
            decision = next(line for line in reversed(lines) if '"event":"decision"' in line)
            workers = json.loads(decision[decision.index("{") :])["workers"]
            return workers["draining"] > 0 and not workers["busy"] + workers["consuming_idle"] + workers["starting"]

        await until("all workers drain", all_drain, 240)
        burst.finish()
        asleep = await sleeping
        assert asleep.returncode == 0, f"{asleep.stdout}\n{asleep.stderr}"
        before = burst.journal
        services = await asyncio.to_thread(lambda: (daemon_client.status(e2e.paths) or {})["services"])
        assert {service["name"]: service["running"] for service in services if service["running"]} == {"scaler": 1}
        assert not before.interrupted, f"interrupted: {before.interrupted}"
        assert before.lost, "all tasks ran before it fell asleep: nothing was queued"
        waiting = await asyncio.to_thread(e2e.openmwaa, "wait", "environment.yaml")
        assert (waiting.returncode, "is asleep" in waiting.stderr) == (1, True), waiting.stderr
        awake = await asyncio.to_thread(e2e.openmwaa, "wake", "environment.yaml", "--json")
        assert awake.returncode == 0, f"{awake.stdout}\n{awake.stderr}"
        await until("the run ends", burst.has_ended, 600)
        tasks = await burst.tasks()
    assert not (flaws := flaws_of(burst.journal)), flaws
    assert {(task.state, task.try_number) for task in tasks} == {("success", 1)}
    print({name: json.loads(done.stdout)["seconds"] for name, done in (("asleep", asleep), ("awake", awake))})


def test_down_leaves_no_process(e2e: E2E) -> None:
    done = e2e.openmwaa("local", "down", "environment.yaml")
    assert done.returncode == 0, done.stderr
    left = orphans.remaining(e2e.paths)
    assert not left, f"remaining processes: {[(process.pid, process.name()) for process in left]}"
    assert e2e.openmwaa("status", "environment.yaml", "--local").returncode == 3


@dataclass(frozen=True)
class RunningBurst:
    """A run of a burst, its endpoints, and the journal of its tasks."""

    spec: Burst
    endpoints: Endpoints
    http: aiohttp.ClientSession
    airflow: AirflowApi
    run_id: str
    file: Path

    @property
    def journal(self) -> TaskJournal:
        return task_journal.read(self.file, [f"work[{index}]" for index in range(self.spec.tasks)])

    async def tasks(self) -> tuple[TaskInstance, ...]:
        return await self.airflow.task_instances(self.spec.dag_id, self.run_id)

    async def has_started(self) -> bool:
        return bool(self.journal.lines)

    async def has_ended(self) -> bool:
        return await self.airflow.run_state(self.spec.dag_id, self.run_id) in {"success", "failed"}

    async def log_has(self, name: str, text: str) -> bool:
        """Whether the log of a task's first try has a text. It never has a word of a log server of workers."""
        (task,) = [task for task in await self.tasks() if f"{task.task_id}[{task.map_index}]" == name]
        lines = await self.airflow.log_lines(self.spec.dag_id, self.run_id, replace(task, try_number=1))
        assert not [line for line in lines if "8793" in line or "served logs" in line], lines
        return any(text in line for line in lines)

    def finish(self) -> None:
        """End the tasks of a burst that waits for it."""
        self.file.with_suffix(".end").touch()


@contextlib.asynccontextmanager
async def a_burst(e2e: E2E, spec: Burst, *, waits: bool = False) -> AsyncIterator[RunningBurst]:
    """Upload a burst and trigger it; its tasks take their seconds; if it `waits`, they end at `finish`."""
    status = await asyncio.to_thread(daemon_client.status, e2e.paths)
    assert status is not None, "the environment is not running"
    endpoints = await asyncio.to_thread(endpoints_of, Ready(e2e.paths, status, 0.0), e2e.environment)
    source = dag_source(spec)
    if waits:
        wait = "while time.time() < began + SECONDS and not os.path.exists(journal[:-6] + '.end'): time.sleep(0.2)"
        source = source.replace("time.sleep(SECONDS)", f"began = time.time()\n        {wait}")
        assert wait in source, "the burst's DAG has another form"
    async with aiohttp.ClientSession(trust_env=False) as http, aws_client(endpoints, "s3") as s3:
        airflow = AirflowApi(http, endpoints.web_url, endpoints.authorize, e2e.environment.airflow)
        key = f"{endpoints.dag_prefix}/{spec.dag_id}.py"
        await s3.put_object(Bucket=endpoints.bucket, Key=key, Body=source.encode())
        await until("Airflow parses the DAG", lambda: airflow.dag_is_known(spec.dag_id), 240)
        await airflow.unpause(spec.dag_id)
        journal = e2e.file.parent / f"{uuid4()}.jsonl"
        run_id = await airflow.trigger(spec.dag_id, {"journal": str(journal)})
        yield RunningBurst(spec, endpoints, http, airflow, run_id, journal)


def flaws_of(journal: TaskJournal) -> dict[str, tuple[str, ...]]:
    flaws = {"lost": journal.lost, "duplicated": journal.duplicated, "interrupted": journal.interrupted}
    return {name: tasks for name, tasks in flaws.items() if tasks}


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
