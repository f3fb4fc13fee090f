# SPDX-License-Identifier: Apache-2.0
"""The story of the demonstration: upload a DAG, run a burst, wait until the fleets are small again, count."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiohttp

from openmwaa.config.environment import Environment
from openmwaa.local import task_journal
from openmwaa.local.demo.summary import DemoSummary, summarise
from openmwaa.local.demo.table import DemoSnapshot, FleetView
from openmwaa.local.demo.watch import Endpoints, Watcher, WorkersUnknownError, aws
from openmwaa.local.errors import LocalError
from openmwaa.local.services.airflow_api import AirflowApi, AirflowApiError, TaskInstance

_DAG_DEADLINE_S: Final = 180.0
_LOG_DEADLINE_S: Final = 60.0


@dataclass(frozen=True)
class Burst:
    """How many tasks of how many seconds, and how long the whole may take."""

    tasks: int = 60
    seconds: float = 10.0
    deadline_s: float = 900.0
    pause_s: float = 0.0
    """Rest before the burst begins; a random one keeps measurements from falling in step with the scaler."""

    @property
    def dag_id(self) -> str:
        """Return the DAG's id: another burst is another DAG, so that Airflow never runs the one it parsed before."""
        return f"openmwaa_burst_{self.tasks}x{self.seconds:g}"


@dataclass(frozen=True)
class DemoResult:
    """What was counted, and the last log line of a task whose worker is gone."""

    summary: DemoSummary
    log_task: str | None
    log_line: str | None
    history: tuple[int, ...]


class BurstTimeoutError(LocalError):
    """The demonstration took longer than it may."""


def dag_source(burst: Burst) -> str:
    """Return the DAG's source for a burst of that size.

    Raises:
        ValueError: when the DAG no longer has its three constants.
    """
    source = (Path(__file__).parent / "burst_dag.py").read_text(encoding="utf-8")
    for constant, value in (("DAG_ID", burst.dag_id), ("TASKS", burst.tasks), ("SECONDS", burst.seconds)):
        source, times = re.subn(rf"(?m)^{constant} = .*$", f"{constant} = {value!r}", source)
        if times != 1:
            raise ValueError(f"burst_dag.py has {times} lines `{constant} = …`, not one")
    return source


async def upload(endpoints: Endpoints, burst: Burst) -> None:
    """Put the DAG of a burst into the environment's bucket."""
    key = f"{endpoints.dag_prefix.strip('/')}/{burst.dag_id}.py"
    async with asyncio.timeout(30), aws(endpoints, "s3") as s3:
        await s3.put_object(Bucket=endpoints.bucket, Key=key, Body=dag_source(burst).encode())


class Demonstration:
    """One run of the story on an environment that is up."""

    def __init__(
        self,
        environment: Environment,
        endpoints: Endpoints,
        burst: Burst,
        *,
        journal_path: Path,
        show: Callable[[DemoSnapshot], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._environment = environment
        self._endpoints = endpoints
        self._burst = burst
        self._journal_path = journal_path
        self._show = show
        self._clock = clock
        self._began = clock()
        self._expected = [f"work[{index}]" for index in range(burst.tasks)]
        self._views: tuple[FleetView, ...] = ()

    async def run(self, *, up_s: float) -> DemoResult:
        """Tell the whole story; `up_s` is what bringing the environment up took.

        Raises:
            BurstTimeoutError: a step did not come to its end.
            AirflowApiError: Airflow refused a call.
        """
        self._journal_path.parent.mkdir(parents=True, exist_ok=True)
        self._journal_path.unlink(missing_ok=True)
        dag_id = self._burst.dag_id
        async with (
            aiohttp.ClientSession(trust_env=False) as http,
            aws(self._endpoints, "ecs") as ecs,
            AirflowApi(self._endpoints.web_url, "admin", self._endpoints.admin_password) as airflow,
        ):
            watcher = Watcher(self._endpoints, ecs, http)
            await upload(self._endpoints, self._burst)
            await self._until(watcher, "Airflow reads the DAG", lambda: airflow.dag_is_known(dag_id), _DAG_DEADLINE_S)
            await airflow.unpause(dag_id)
            await self._until(watcher, "the fleets are at rest", lambda: self._at_rest(watcher), self._burst.deadline_s)
            free_slots = sum(view.free or 0 for view in self._views)
            await asyncio.sleep(self._burst.pause_s)
            watcher.history.clear()
            await self._look(watcher, "the burst begins")
            run_id = await airflow.trigger(dag_id, {"journal": str(self._journal_path)})

            async def ended() -> bool:
                return await airflow.run_state(dag_id, run_id) in {"success", "failed"}

            deadline_s = self._burst.deadline_s
            await self._until(watcher, "the burst runs", ended, deadline_s)
            await self._until(watcher, "workers drain and go", lambda: self._at_rest(watcher), deadline_s)
            tasks = await airflow.task_instances(dag_id, run_id)
            log_task, log_line = await self._log_of_a_gone_worker(watcher, airflow, run_id, tasks)
        summary = summarise(
            tasks=tasks,
            journal=self._journal(),
            workers=watcher.history,
            free_slots=free_slots,
            growths=watcher.growths,
            up_s=up_s,
            total_s=up_s + self._clock() - self._began,
        )
        return DemoResult(summary, log_task, log_line, tuple(watcher.history))

    def _journal(self) -> task_journal.TaskJournal:
        return task_journal.read(self._journal_path, self._expected)

    async def _look(self, watcher: Watcher, phase: str) -> None:
        self._views = await watcher.look() or self._views
        done = len(self._journal().completions)
        elapsed = self._clock() - self._began
        self._show(DemoSnapshot(elapsed, phase, done, self._burst.tasks, self._views, tuple(watcher.history)))

    async def _until(
        self, watcher: Watcher, phase: str, condition: Callable[[], object], deadline_s: float, every_s: float = 1.0
    ) -> None:
        """Look once a second until the condition holds."""
        try:
            async with asyncio.timeout(deadline_s):
                while True:
                    await self._look(watcher, phase)
                    if await condition():  # type: ignore[misc]
                        return
                    await asyncio.sleep(every_s)
        except TimeoutError:
            raise BurstTimeoutError(
                f"after {deadline_s:.0f} s still: {phase}. `openmwaa local status` tells which service is not well, "
                "`openmwaa local logs SERVICE` what it said."
            ) from None

    async def _at_rest(self, watcher: Watcher) -> bool:
        """Progress whether every fleet has its fewest workers, all of them consuming, and nothing to do.

        The fewest are those in force: a person's orders and a schedule may have changed the file's.
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

    async def _log_of_a_gone_worker(
        self, watcher: Watcher, airflow: AirflowApi, run_id: str, tasks: tuple[TaskInstance, ...]
    ) -> tuple[str | None, str | None]:
        """Read the last log line of a task whose worker is gone; None when no worker went."""
        here = {worker.address for worker in await watcher.workers()}
        book = self._journal()
        for task in tasks:
            name = f"{task.task_id}[{task.map_index}]"
            worker = book.worker_of(name)
            if worker is not None and worker not in here:
                async with asyncio.timeout(_LOG_DEADLINE_S):
                    lines = await airflow.log_lines(self._burst.dag_id, run_id, task)
                said = [each for each in lines if "is done" in each]
                if not said:
                    raise AirflowApiError(f"the log of {name}, whose worker is gone, does not hold its last line")
                return name, said[-1].strip()
        return None, None
