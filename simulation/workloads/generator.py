# SPDX-License-Identifier: Apache-2.0
"""Generates days of Airflow from a seed: shapes of DAGs, what their tasks do, and the runs that start them.

The durations of tasks are log-normal around a typical one. A run has a factor (log-normal, mean 1), and its DAG may
become slower or faster from day to day. docs/reference/workloads.md describes the generator.
"""

import bisect
import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import takewhile
from typing import Any, Final, Literal, TypeAlias
from zoneinfo import ZoneInfo

from cronsim import CronSim

from simulation.workloads.model import RunKind, Segment, Workload, WorkloadDag, WorkloadRun, WorkloadTask

DAY_S: Final = 86400.0
MONDAY: Final = datetime(2026, 3, 2, tzinfo=UTC)
OFFICE_HOURS: Final = (0, 0, 0, 0, 0, 0, 1, 3, 8, 12, 12, 10, 6, 9, 11, 10, 8, 5, 2, 1, 1, 0, 0, 0)
"""People start runs in proportion to these numbers, by hour of the day."""
WEEKDAYS: Final = (1.0, 1.0, 1.0, 1.0, 0.8, 0.1, 0.05)
"""The same by day of the week, from Monday."""
RUN_SIGMA: Final = 0.12
COUNT_SIGMA: Final = 0.4
"""Of the instances of a mapped task."""
EMPTY_SHARE: Final = 0.02
"""Of the runs of a mapped task without any instance."""

Behaviour: TypeAlias = Callable[[random.Random, float], tuple[Segment, ...]]
"""Draws what a task of typical seconds does in one run."""


def log_normal(rng: random.Random, sigma: float) -> float:
    """Draw a factor with a mean of 1."""
    return rng.lognormvariate(-sigma * sigma / 2, sigma)


def retried(chance: float = 0.08, delay_s: float = 300.0) -> Behaviour:
    """Fail somewhere in an attempt, and try again after the delay, at most twice."""

    def draw(rng: random.Random, seconds: float) -> tuple[Segment, ...]:
        failed = 0
        while failed < 2 and rng.random() < chance:
            failed += 1
        return (*((seconds * rng.random(), delay_s) for _ in range(failed)), (seconds, 0.0))

    return draw


def sensor(wait_s: float, every_s: float = 60.0, poke_s: float = 1.5) -> Behaviour:
    """Poke until a time that is log-normal (sigma 0.5); the slot is free between pokes (mode `reschedule`)."""

    def draw(rng: random.Random, _: float) -> tuple[Segment, ...]:
        pokes = 1 + math.ceil(wait_s * log_normal(rng, 0.5) / every_s)
        return (*((poke_s, every_s) for _ in range(pokes - 1)), (poke_s, 0.0))

    return draw


def deferrable(wait_s: float, submit_s: float = 3.0) -> Behaviour:
    """Submit, wait in the triggerer for a log-normal time (sigma 0.5), and then work."""
    return lambda rng, seconds: ((submit_s, wait_s * log_normal(rng, 0.5)), (seconds, 0.0))


def loop(mean_rounds: float, pause_s: float = 30.0) -> Behaviour:
    """Repeat until a condition holds: the number of rounds is geometric, and no history has it."""

    def draw(rng: random.Random, seconds: float) -> tuple[Segment, ...]:
        rounds = 1
        while rounds < 100 and rng.random() > 1 / mean_rounds:
            rounds += 1
        return (*((seconds, pause_s) for _ in range(rounds - 1)), (seconds, 0.0))

    return draw


@dataclass(frozen=True, slots=True)
class GeneratedTask:
    """A task, and what its runs do."""

    seconds: float
    upstream: tuple[int, ...]
    pool: str = "default_pool"
    mapped: float | None = None
    behaviour: Behaviour | None = None

    def workload_task(self, node: int, rng: random.Random) -> WorkloadTask:
        """Return the task, with the middle one of five draws of its behaviour."""
        segments: tuple[Segment, ...] = ((self.seconds, 0.0),)
        if self.behaviour is not None:
            draws = [self.behaviour(rng, self.seconds) for _ in range(5)]
            segments = sorted(draws, key=lambda draw: sum(map(sum, draw)))[2]
        return WorkloadTask(f"task_{node}", segments, self.upstream, pool=self.pool, mapped=self.mapped)


def changed(tasks: Sequence[GeneratedTask], nodes: Sequence[int], **changes: Any) -> list[GeneratedTask]:
    """Return the tasks, some of them mapped or with a behaviour."""
    return [replace(task, **changes) if node in nodes else task for node, task in enumerate(tasks)]


Shape: TypeAlias = Literal["chain", "wide", "deep", "diamonds", "fan"]
SHAPES: Final[tuple[Shape, ...]] = ("chain", "wide", "deep", "diamonds", "fan")


def widths(shape: Shape, tasks: int) -> tuple[int, ...]:
    """Return the number of tasks of each layer."""
    if shape == "chain":
        return (1,) * tasks
    if shape == "wide":
        return (1, max(1, tasks - 2), 1)
    if shape == "deep":
        return (3,) * max(1, tasks // 3)
    if shape == "diamonds":
        return (1, 4) * max(1, tasks // 5) + (1,)
    half = [2**layer for layer in range(max(1, round(math.log2(tasks / 3 + 1))))]
    return (*half, half[-1] * 2, *reversed(half))


def layers(
    rng: random.Random, layer_widths: Sequence[int], typical_s: float, spread: float = 0.8
) -> list[GeneratedTask]:
    """Return tasks in layers: all fan out from and into a single task; other tasks have one or two parents."""
    tasks: list[GeneratedTask] = []
    previous = range(0)
    for width in layer_widths:
        begin = len(tasks)
        for _ in range(width):
            few = len(previous) > 1 and width > 1
            upstream = tuple(sorted(rng.sample(previous, rng.choice((1, 1, 2))))) if few else tuple(previous)
            tasks.append(GeneratedTask(max(1.0, round(typical_s * rng.lognormvariate(0.0, spread), 1)), upstream))
        previous = range(begin, len(tasks))
    return tasks


@lru_cache(maxsize=100)
def cron_starts(cron: str, timezone: str, start: datetime, horizon_s: float) -> tuple[float, ...]:
    """Return the times of a cron expression in seconds; a time that the clocks skip comes at the end of the gap."""
    before = (start - timedelta(seconds=1)).astimezone(ZoneInfo(timezone))
    seconds = ((time.astimezone(UTC) - start).total_seconds() for time in CronSim(cron, before))
    return tuple(takewhile(lambda at: at < horizon_s, seconds))


class DaysGenerator:
    """Collects DAGs and runs; all chance comes from `rng`."""

    def __init__(self, rng: random.Random, *, start: datetime = MONDAY, days: int = 3, drift: float = 0.0) -> None:
        """Take the relative change of durations a day, which is normal with the deviation `drift` by DAG."""
        self.rng = rng
        self.horizon_s = days * DAY_S
        self._start = start
        self._drift = drift
        self._dags: dict[str, WorkloadDag] = {}
        self._versions: dict[str, Sequence[Sequence[GeneratedTask]]] = {}
        self._slower: dict[str, float] = {}
        self._runs: list[tuple[float, WorkloadRun]] = []

    def dag(
        self,
        dag_id: str,
        *versions: Sequence[GeneratedTask],
        cron: str | None = None,
        timezone: str = "UTC",
        first_s: float = 0.0,
        changes_s: Sequence[float] = (),
        max_active_runs: int | None = None,
        after: tuple[str, int] | None = None,
    ) -> None:
        """Add a DAG and its versions, with the runs of its cron or of the asset; `adhoc` and `burst` add others.

        The DAG appears at `first_s`; its next version begins at each of `changes_s`. A run follows each run of the DAG
        in `after`, which must be added before.
        """
        if dag_id in self._dags:
            raise ValueError(f"{dag_id} was added before")
        self._versions[dag_id] = versions
        self._slower[dag_id] = self.rng.gauss(0.0, self._drift)
        shapes = [tuple(task.workload_task(node, self.rng) for node, task in enumerate(tasks)) for tasks in versions]
        self._dags[dag_id] = WorkloadDag(dag_id, tuple(shapes), cron, timezone, max_active_runs, after=after)
        for at in cron_starts(cron, timezone, self._start, self.horizon_s) if cron else ():
            if at >= first_s:
                self._run(dag_id, "scheduled", at, bisect.bisect(changes_s, at))
        for at in sorted(at for at, run in self._runs if after is not None and run.dag_id == after[0]):
            self._run(dag_id, "asset", at)

    def adhoc(self, dag_id: str, a_day: float) -> None:
        """Add runs that people start: a Poisson process with so many on a Monday, by hour and weekday."""
        for hour in range(int(self.horizon_s / 3600)):
            now = self._start + timedelta(hours=hour)
            mean = a_day * OFFICE_HOURS[now.hour] / sum(OFFICE_HOURS) * WEEKDAYS[now.weekday()]
            at = self.rng.expovariate(mean) if mean else 1.0
            while at < 1:
                self._run(dag_id, "manual", (hour + at) * 3600)
                at += self.rng.expovariate(mean)

    def burst(self, dag_id: str, at_s: float, runs: int, within_s: float, kind: RunKind = "manual") -> None:
        """Add many runs within a short time: a flash crowd, or a backfill."""
        for at in sorted(at_s + self.rng.uniform(0, within_s) for _ in range(runs)):
            self._run(dag_id, kind, at)

    def _run(self, dag_id: str, kind: RunKind, at: float, version: int = 0) -> None:
        rng = self.rng
        factor = log_normal(rng, RUN_SIGMA) * math.exp(self._slower[dag_id] * at / DAY_S)
        mapped: dict[int, int] = {}
        segments: dict[int, tuple[Segment, ...]] = {}
        for node, generated in enumerate(self._versions[dag_id][version]):
            mean = generated.mapped
            if mean is not None:
                mapped[node] = 0 if rng.random() < EMPTY_SHARE else max(1, round(mean * log_normal(rng, COUNT_SIGMA)))
            if generated.behaviour is not None:
                drawn = generated.behaviour(rng, generated.seconds)
                if drawn != self._dags[dag_id].versions[version][node].segments:
                    segments[node] = tuple((round(run_s, 1), round(wait_s, 1)) for run_s, wait_s in drawn)
        start_s = None if kind == "asset" else round(at, 1)
        run = WorkloadRun(dag_id, kind, start_s, round(factor, 3), version, None, mapped, segments)
        self._runs.append((at, run))

    def workload(
        self, name: str, description: str, *, pools: Mapping[str, int] | None = None, parallelism: int | None = None
    ) -> Workload:
        """Return the days; the first of them is there to learn from."""
        self._runs.sort(key=lambda item: (item[1].start_s is None, item[0]))
        runs = tuple(run for _, run in self._runs)
        return Workload(
            name, self.horizon_s, DAY_S, self._dags, runs, description, self._start, parallelism, dict(pools or {})
        )
