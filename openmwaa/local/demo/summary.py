# SPDX-License-Identifier: Apache-2.0
"""The result of the demonstration: counts from the journal, waits from Airflow, reaction from the local ECS."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from openmwaa.local.services.airflow_api import TaskInstance
from openmwaa.local.task_journal import TaskJournal

RunType = Literal["manual", "scheduled"]


@dataclass(frozen=True)
class Percentiles:
    """Median and 95th percentile, in seconds."""

    p50: float
    p95: float


@dataclass(frozen=True)
class QueueWaits:
    """Seconds from queued to started."""

    mean: float
    p95: float
    max: float


@dataclass(frozen=True)
class BurstResult:
    """One burst; a worker is there at its start if it ran when the first task was queued."""

    run: RunType
    workers_at_start: int | None
    """None: Airflow does not show when its tasks were queued."""
    wait_s: QueueWaits | None


@dataclass(frozen=True)
class EndedBurst:
    """The tasks of one burst, what they wrote to the journal, and the workers that were there at its start."""

    run: RunType
    tasks: Sequence[TaskInstance]
    journal: TaskJournal
    workers_at_start: int | None

    @property
    def result(self) -> BurstResult:
        """Return the waits."""
        waits = [task.queue_wait_s for task in self.tasks if task.queue_wait_s is not None]
        cuts = percentiles(waits)
        found = QueueWaits(round(statistics.fmean(waits), 2), cuts.p95, round(max(waits), 2)) if cuts else None
        return BurstResult(self.run, self.workers_at_start, found)


@dataclass(frozen=True)
class DemoSummary:
    """The document `build/demo.json`; every duration is in seconds, None if it could not be measured."""

    tasks_succeeded: int
    tasks_failed: int
    tasks_retried: int
    workers_min: int
    workers_peak: int
    workers_end: int
    tasks_lost: int
    tasks_duplicated: int
    tasks_interrupted: int
    bursts: tuple[BurstResult, ...]
    backlog_to_update_service_s: float | None
    up_s: float
    total_s: float

    @property
    def is_flawless(self) -> bool:
        """Return whether every task succeeded at its first try and the worker count is back at its minimum."""
        return (
            self.tasks_succeeded > 0
            and not self.tasks_failed
            and not self.tasks_retried
            and not self.tasks_lost
            and not self.tasks_duplicated
            and not self.tasks_interrupted
            and self.workers_end == self.workers_min
        )


def percentiles(seconds: Sequence[float]) -> Percentiles | None:
    """Return median and 95th percentile, interpolated between neighbours; None without values."""
    if not seconds:
        return None
    if len(seconds) == 1:
        return Percentiles(round(seconds[0], 2), round(seconds[0], 2))
    cuts = statistics.quantiles(seconds, n=100, method="inclusive")
    return Percentiles(round(cuts[49], 2), round(cuts[94], 2))


def backlog_start(tasks: Sequence[TaskInstance], free_slots: int) -> datetime | None:
    """Return the time at which the first task without a free slot was queued; None if every task had one."""
    queued = sorted(task.queued_at for task in tasks if task.queued_at is not None)
    return queued[free_slots] if len(queued) > free_slots else None


def reaction_s(began: datetime | None, scale_outs: Sequence[datetime]) -> float | None:
    """Return the seconds from the start of the backlog to the answer of the first UpdateService that scaled out."""
    answers = [at for at in scale_outs if began is not None and at >= began]
    return round((min(answers) - began).total_seconds(), 2) if began is not None and answers else None


def summarise(
    *,
    bursts: Sequence[EndedBurst],
    workers: Sequence[int],
    free_slots: int,
    scale_outs: Sequence[datetime],
    up_s: float,
    total_s: float,
) -> DemoSummary:
    """Return the summary; `workers` is the number of running workers in every second of the demonstration."""
    tasks = [task for burst in bursts for task in burst.tasks]
    journals = [burst.journal for burst in bursts]
    return DemoSummary(
        tasks_succeeded=sum(task.state == "success" for task in tasks),
        tasks_failed=sum(task.state in {"failed", "upstream_failed"} for task in tasks),
        tasks_retried=sum(task.try_number > 1 for task in tasks),
        workers_min=workers[0] if workers else 0,
        workers_peak=max(workers, default=0),
        workers_end=workers[-1] if workers else 0,
        tasks_lost=sum(len(journal.lost) for journal in journals),
        tasks_duplicated=sum(len(journal.duplicated) for journal in journals),
        tasks_interrupted=sum(len(journal.interrupted) for journal in journals),
        bursts=tuple(burst.result for burst in bursts),
        backlog_to_update_service_s=reaction_s(backlog_start(bursts[0].tasks, free_slots), scale_outs),
        up_s=round(up_s, 1),
        total_s=round(total_s, 1),
    )
