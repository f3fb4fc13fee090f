# SPDX-License-Identifier: Apache-2.0
"""Rows of Airflow's database for the reader of the plan, by query."""

import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from scaler.adapters import airflow_plan
from scaler.adapters.airflow_plan import WORDS_2, WORDS_3, AirflowPlanReader
from scaler.errors import SourceError

EXECUTORS = ("CeleryExecutor",)
AT = 1_800_000_000.0
"""The server's time."""
QUERIES = ("RUNS", "OPEN", "DUE", "TASKS_ENDED", "PAST", "RAN", "CONSUMERS", "STRUCTURES", "ARRIVALS", "KEYS")


class PlanRows:
    """Stands for `AirflowDatabase`; every query is answered with rows that a test may change."""

    def __init__(self, *, airflow: int = 3) -> None:
        words = WORDS_3 if airflow == 3 else WORDS_2
        self.rows: dict[str, list[Any]] = {name: [] for name in QUERIES}
        self.has_versions = airflow == 3
        self.at = AT
        self.asked: list[tuple[str, Sequence[Any]]] = []
        self.error: SourceError | None = None
        self._names = {airflow_plan.KEYS_3: "KEYS", airflow_plan.KEYS_2: "KEYS"} | {
            getattr(airflow_plan, name).format(**words): name for name in QUERIES[:-1]
        }

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Callable[..., Any]]:
        if self.error is not None:
            raise self.error
        yield self.fetch

    async def fetch(self, query: str, *parameters: Any) -> Sequence[Any]:
        if query == airflow_plan.SERVER:
            return [(self.has_versions, self.at)]
        name = self._names[query]
        self.asked.append((name, parameters))
        rows = self.rows[name]
        if name in ("KEYS", "PAST", "RAN", "CONSUMERS", "STRUCTURES"):
            column = {"KEYS": (0, 1)}.get(name, (0,))
            wanted = [value for values in parameters for value in values]
            return [row for row in rows if any(row[at] in wanted for at in column)]
        if name == "TASKS_ENDED":
            return [row for row in rows if row[0] in parameters[0]]
        return rows

    def dag(
        self,
        dag_id: str,
        tasks: Mapping[str, Sequence[str]],
        *,
        version: str = "",
        pinned: bool = False,
        **options: Mapping[str, Any],
    ) -> None:
        """Add a DAG: its tasks, each with those after it; `options` are more fields of a task."""
        found = [
            {"task_id": task, "downstream_task_ids": [*after], **options.get(task, {})} for task, after in tasks.items()
        ]
        version = version or f"version-of-{dag_id}"
        self.rows["KEYS"].append((dag_id, version, "hash", pinned))
        self.rows["STRUCTURES"].append((version, "hash", None, json.dumps(found)))

    def run(
        self, number: int, dag_id: str, *, version: str | None = None, ago_s: float = 60.0, ended: Sequence[Any] = ()
    ) -> None:
        """Add a run in progress; `ended` has its ended tasks, each with its durations."""
        began = self.at - ago_s
        self.rows["RUNS"].append((number, dag_id, f"run-{number}", version, began, None, len(ended), len(ended) + 1))
        self.rows["TASKS_ENDED"] += [(number, task, True, seconds) for task, seconds in ended]

    def open(
        self,
        run: int,
        task: str,
        state: str,
        ago_s: float = 1.0,
        *,
        queue: str = "default",
        host: str = "",
        ours: bool = True,
    ) -> None:
        """Add a task instance that has not ended."""
        self.rows["OPEN"].append((run, task, state, queue, self.at - ago_s, host, ours))

    def reader(self, monotonic: Callable[[], float]) -> AirflowPlanReader:
        return AirflowPlanReader(self, monotonic, EXECUTORS, max_age_s=-1.0)  # type: ignore[arg-type]
