# SPDX-License-Identifier: Apache-2.0
"""The steps of the demonstration: upload a DAG, run a burst, wait for the scale-in, count."""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import aiohttp

from openmwaa.config.environment import Environment
from openmwaa.fleet_rollout import service_names
from openmwaa.local import login, task_journal
from openmwaa.local.demo.summary import DemoSummary, EndedBurst, RunType, summarise
from openmwaa.local.demo.table import DemoSnapshot, FleetView
from openmwaa.local.demo.watch import Endpoints, Watcher, WorkersUnknownError, aws_client
from openmwaa.local.errors import LocalError
from openmwaa.local.services.airflow_api import AirflowApi, AirflowApiError
from openmwaa.local.up import Ready

_DAG_DEADLINE_S: Final = 180.0
_LOG_DEADLINE_S: Final = 60.0


@dataclass(frozen=True)
class Burst:
    """The number and duration of the tasks, and the timeout of each step."""

    tasks: int = 60
    seconds: float = 10.0
    deadline_s: float = 900.0
    pause_s: float = 0.0
    """Pause before the burst; a random pause keeps measurements out of phase with the scaler's ticks."""
    again_after_s: float | None = None
    """Airflow's scheduler repeats the burst so long after its end; None: it does not."""

    @property
    def dag_id(self) -> str:
        """Return the DAG's id; another burst has another id, so that Airflow never runs an older DAG."""
        return f"openmwaa_burst_{self.tasks}x{self.seconds:g}"


@dataclass(frozen=True)
class DemoResult:
    """The summary, and the last log line of a task whose worker has been removed."""

    summary: DemoSummary
    log_task: str | None
    log_line: str | None
    history: tuple[int, ...]


class BurstTimeoutError(LocalError):
    """A step of the demonstration exceeded its timeout."""


def dag_source(burst: Burst, due: datetime | None = None, journal: Path | None = None) -> str:
    """Return the DAG's source for a burst; Airflow schedules a run at `due` that writes to `journal`.

    Raises:
        ValueError: the DAG does not have its constants.
    """
    source = (Path(__file__).parent / "burst_dag.py").read_text(encoding="utf-8")
    constants = {
        "DAG_ID": burst.dag_id,
        "TASKS": burst.tasks,
        "SECONDS": burst.seconds,
        "DUE": due.isoformat() if due else "",
        "JOURNAL": str(journal or ""),
    }
    for constant, value in constants.items():
        source, times = re.subn(rf"(?m)^{constant} = .*$", f"{constant} = {value!r}", source)
        if times != 1:
            raise ValueError(f"burst_dag.py has {times} lines `{constant} = …`, not one")
    return source


def endpoints_of(ready: Ready, environment: Environment) -> Endpoints:
    """Return the endpoints of a running environment.

    Raises:
        DaemonError: the login is not possible.
    """
    addresses = ready.status["endpoints"]
    outputs = login.outputs(ready.paths)
    return Endpoints(
        aws_url=addresses["aws"],
        ecs_url=addresses["ecs"],
        web_url=ready.web_address,
        region=environment.region,
        cluster=outputs["cluster_name"],
        bucket=outputs["source_bucket"],
        dag_prefix=environment.dag_s3_path,
        worker_services=tuple(name for fleet in environment.fleets for name in service_names(fleet)),
        authorize=login.api_login(environment, ready.paths, addresses["aws"], ready.web_address),
    )


async def upload(endpoints: Endpoints, burst: Burst, due: datetime | None = None, journal: Path | None = None) -> None:
    """Put the DAG of a burst into the environment's bucket, as `dag_source`."""
    key = f"{endpoints.dag_prefix.strip('/')}/{burst.dag_id}.py"
    async with asyncio.timeout(30), aws_client(endpoints, "s3") as s3:
        await s3.put_object(Bucket=endpoints.bucket, Key=key, Body=dag_source(burst, due, journal).encode())


class Demonstration:
    """One demonstration on a running environment."""

    def __init__(
        self,
        environment: Environment,
        endpoints: Endpoints,
        burst: Burst,
        *,
        journal_path: Path,
        show: Callable[[DemoSnapshot], None],
    ) -> None:
        self._environment = environment
        self._endpoints = endpoints
        self._burst = burst
        self._journal_path = journal_path
        self._show = show
        self._began = time.monotonic()
        self._expected = [f"work[{index}]" for index in range(burst.tasks)]
        self._views: tuple[FleetView, ...] = ()

    async def run(self, *, up_s: float) -> DemoResult:
        """Run all steps; `up_s` is the duration of `up`.

        Raises:
            BurstTimeoutError: a step did not finish in time.
            AirflowApiError: Airflow refused a call.
        """
        self._journal_path.parent.mkdir(parents=True, exist_ok=True)
        for path in self._journal_paths():
            path.unlink(missing_ok=True)
        dag_id = self._burst.dag_id
        async with aiohttp.ClientSession(trust_env=False) as http, aws_client(self._endpoints, "ecs") as ecs:
            airflow = AirflowApi(http, self._endpoints.web_url, self._endpoints.authorize, self._environment.airflow)
            watcher = Watcher(self._endpoints, ecs, http)
            await upload(self._endpoints, self._burst)
            await self._until(watcher, "waiting for the DAG", lambda: airflow.dag_is_known(dag_id), _DAG_DEADLINE_S)
            await airflow.unpause(dag_id)
            deadline_s = self._burst.deadline_s
            await self._until(watcher, "waiting for idle fleets", lambda: self._fleets_idle(watcher), deadline_s)
            free_slots = sum(view.free or 0 for view in self._views)
            await asyncio.sleep(self._burst.pause_s)
            watcher.history.clear()
            await self._poll(watcher, "burst started")
            run_id = await airflow.trigger(dag_id, {"journal": str(self._journal_path)})
            bursts = [await self._ended(watcher, airflow, "manual", run_id)]
            scale_outs = watcher.scale_outs  # the second burst is expected: none of its workers is a reaction
            if self._burst.again_after_s is not None:
                run_id = await self._scheduled_run(watcher, airflow, self._burst.again_after_s)
                bursts.append(await self._ended(watcher, airflow, "scheduled", run_id))
            await self._until(watcher, "scaling in", lambda: self._fleets_idle(watcher), deadline_s)
            log_task, log_line = await self._log_of_removed_worker(watcher, airflow, run_id, bursts[-1])
        summary = summarise(
            bursts=bursts,
            workers=watcher.history,
            free_slots=free_slots,
            scale_outs=scale_outs,
            up_s=up_s,
            total_s=up_s + time.monotonic() - self._began,
        )
        return DemoResult(summary, log_task, log_line, tuple(watcher.history))

    async def _scheduled_run(self, watcher: Watcher, airflow: AirflowApi, after_s: float) -> str:
        """Schedule the DAG, and return the run's id once Airflow has started it."""
        due = datetime.now(UTC) + timedelta(seconds=after_s)
        # The scaler reads the past of a DAG again after a tick in which the DAG neither runs nor is due.
        await asyncio.sleep(2 * self._environment.scaler.interval_seconds)
        await upload(self._endpoints, self._burst, due, self._journal_paths()[1])
        found: list[str] = []

        async def started() -> bool:
            run_id = await airflow.run_since(self._burst.dag_id, due) if datetime.now(UTC) > due else None
            found.extend([run_id] if run_id else [])
            return bool(found)

        phase = f"the next run is due at {due.astimezone():%H:%M:%S}"
        await self._until(watcher, phase, started, after_s + _DAG_DEADLINE_S)
        return found[0]

    async def _ended(self, watcher: Watcher, airflow: AirflowApi, run: RunType, run_id: str) -> EndedBurst:
        """Wait for the end of a run."""
        dag_id = self._burst.dag_id

        async def ended() -> bool:
            return await airflow.run_state(dag_id, run_id) in {"success", "failed"}

        await self._until(watcher, f"{run} burst running", ended, self._burst.deadline_s)
        tasks = await airflow.task_instances(dag_id, run_id)
        queued_at = min((task.queued_at for task in tasks if task.queued_at is not None), default=None)
        path = self._journal_paths()[("manual", "scheduled").index(run)]
        workers = watcher.workers_at(queued_at) if queued_at else None
        return EndedBurst(run, tasks, task_journal.read(path, self._expected), workers)

    def _journal_paths(self) -> tuple[Path, Path]:
        """Return the file of each run: the manual one, the scheduled one."""
        return self._journal_path, self._journal_path.with_stem(f"{self._journal_path.stem}-scheduled")

    async def _poll(self, watcher: Watcher, phase: str) -> None:
        self._views = await watcher.poll() or self._views
        paths = self._journal_paths()[: 1 if self._burst.again_after_s is None else 2]
        done = sum(len(task_journal.read(path, self._expected).completions) for path in paths)
        elapsed, total = time.monotonic() - self._began, self._burst.tasks * len(paths)
        self._show(DemoSnapshot(elapsed, phase, done, total, self._views, tuple(watcher.history)))

    async def _until(
        self, watcher: Watcher, phase: str, condition: Callable[[], Awaitable[bool]], deadline_s: float
    ) -> None:
        """Poll once a second until the condition holds."""
        try:
            async with asyncio.timeout(deadline_s):
                while True:
                    await self._poll(watcher, phase)
                    if await condition():
                        return
                    await asyncio.sleep(1)
        except TimeoutError:
            raise BurstTimeoutError(
                f"Timeout after {deadline_s:.0f} s: {phase}. `openmwaa status` shows unhealthy services, "
                "`openmwaa local logs SERVICE` their logs."
            ) from None

    async def _fleets_idle(self, watcher: Watcher) -> bool:
        """Return whether every fleet has its minimum of workers, all of them idle.

        It is the active minimum: overrides and schedules may differ from the file.
        """
        try:
            running = len(await watcher.workers())
        except WorkersUnknownError:
            return False
        return (
            {view.name for view in self._views} == set(self._environment.fleets)
            and running == sum(view.minimum for view in self._views)
            and all(
                view.workers is not None and view.workers.idle == view.workers.total == view.desired == view.minimum
                for view in self._views
            )
        )

    async def _log_of_removed_worker(
        self, watcher: Watcher, airflow: AirflowApi, run_id: str, burst: EndedBurst
    ) -> tuple[str | None, str | None]:
        """Read the last log line of a task whose worker has been removed; None if none was removed."""
        running = {worker.address for worker in await watcher.workers()}
        for task in burst.tasks:
            name = f"{task.task_id}[{task.map_index}]"
            worker = burst.journal.worker_of(name)
            if worker is not None and worker not in running:
                async with asyncio.timeout(_LOG_DEADLINE_S):
                    lines = await airflow.log_lines(self._burst.dag_id, run_id, task)
                last = [line for line in lines if "is done" in line]
                if not last:
                    raise AirflowApiError(f"The log of {name}, whose worker was removed, lacks its last line.")
                return name, last[-1].strip()
        return None, None
