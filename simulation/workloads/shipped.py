# SPDX-License-Identifier: Apache-2.0
"""The shipped workloads: three days each, by name and seed; docs/reference/workloads.md has their table."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final

from simulation.workloads.generator import (
    DAY_S,
    MONDAY,
    SHAPES,
    DaysGenerator,
    GeneratedTask,
    changed,
    deferrable,
    layers,
    log_normal,
    loop,
    retried,
    sensor,
    widths,
)
from simulation.workloads.model import Segment, Workload, WorkloadRun

HOUR_S: Final = 3600.0
WAREHOUSE: Final = "warehouse"
SPRING: Final = datetime(2026, 3, 28, tzinfo=UTC)
"""A Saturday; the clocks of Europe go forward on the next day."""
SUBJECTS: Final = (
    "sales", "orders", "customers", "stock", "payments", "web_logs", "prices", "returns", "shipments", "campaigns",
    "suppliers", "contracts",
)  # fmt: skip


def run_with_sigma(workload: Workload, sigma: float, seed: int) -> Workload:
    """Return the workload with log-normal noise on the seconds in a slot of every task of every run; its mean is 1.

    It adds to the noise that the workload has. All instances of a mapped task have the same noise.
    """
    rng = random.Random(seed)

    def noisy(segments: Sequence[Segment]) -> tuple[Segment, ...]:
        return tuple((run_s * log_normal(rng, sigma), wait_s) for run_s, wait_s in segments)

    def noisy_run(run: WorkloadRun) -> WorkloadRun:
        tasks = workload.dags[run.dag_id].versions[run.version]
        times = run.run_times_s or tuple(task.segments[0][0] for task in tasks)
        segments = {node: task.segments for node, task in enumerate(tasks) if len(task.segments) > 1}
        segments |= run.segments
        return replace(
            run,
            run_times_s=tuple(run_s * log_normal(rng, sigma) for run_s in times),
            segments={node: noisy(segments[node]) for node in sorted(segments)},
        )

    return replace(workload, runs=tuple(noisy_run(run) for run in workload.runs))


def _tasks(days: DaysGenerator, number: int, tasks: int, typical_s: float) -> list[GeneratedTask]:
    """Return a DAG of about so many tasks; the shape follows from the number."""
    size = round(tasks * days.rng.uniform(0.7, 1.3))
    return layers(days.rng, widths(SHAPES[number % len(SHAPES)], size), typical_s)


def _morning(days: DaysGenerator, timezone: str = "UTC") -> None:
    for number in range(48):
        tasks = layers(days.rng, widths("wide", 40) if number % 4 == 0 else (8,) * 14, 48)
        cron = f"{number // 2 * 5 % 60} {5 + number // 24} * * *"
        days.dag(f"{SUBJECTS[number % 12]}_report_{number // 12}", tasks, cron=cron, timezone=timezone)


def _nightly(days: DaysGenerator) -> None:
    for number, subject in enumerate(SUBJECTS):
        tasks = _tasks(days, 1 + number % 4, 120, 60)  # a chain of 120 would last all night
        if number % 4 == 0:
            tasks = changed(tasks, range(len(tasks)), pool=WAREHOUSE)
        days.dag(f"{subject}_daily", tasks, cron=f"{5 * number} {number % 5} * * *")


def _frequent(days: DaysGenerator, copies: int = 1, tasks: int = 6) -> None:
    for number, minutes in enumerate((5, 10, 10, 15, 15, 20, 30, 30) * copies):
        dag_id = f"{SUBJECTS[number % 12]}_{minutes}m_{number}"
        days.dag(dag_id, _tasks(days, number, tasks, 45), cron=f"*/{minutes} * * * *")


def _large(days: DaysGenerator) -> None:
    _frequent(days, copies=4, tasks=18)


def _hourly(days: DaysGenerator, dags: int = 7) -> None:
    for number in range(dags):
        tasks = changed(_tasks(days, number, 30, 75), [1], behaviour=retried())
        days.dag(f"{SUBJECTS[number]}_hourly", tasks, cron=f"{number * 8} * * * *")


def _few_hourly(days: DaysGenerator) -> None:
    _hourly(days, dags=3)


def _adhoc(days: DaysGenerator) -> None:
    for number in range(4):
        dag_id = f"{SUBJECTS[number]}_on_request"
        days.dag(dag_id, _tasks(days, number, 22, 70))
        days.adhoc(dag_id, a_day=16)


def _crowd(days: DaysGenerator) -> None:
    days.dag("prices_on_file", layers(days.rng, widths("diamonds", 15), 45))
    days.burst("prices_on_file", DAY_S + 11 * HOUR_S, 60, 120)
    days.dag("sales_rebuild", layers(days.rng, widths("deep", 24), 60), max_active_runs=16)
    days.burst("sales_rebuild", 2 * DAY_S + 14 * HOUR_S, 80, 60, "backfill")


def _tails(days: DaysGenerator) -> None:
    for number in range(6):
        tasks = layers(days.rng, widths("wide", 30), 40, spread=1.6)
        days.dag(f"{SUBJECTS[number]}_tail", tasks, cron=f"{number * 9} */2 * * *")


def _new_and_changing(days: DaysGenerator) -> None:
    for number in range(9):
        is_new, changes = number % 3 == 1, number % 3 == 2
        days.dag(
            f"{SUBJECTS[number]}_product",
            *(_tasks(days, number + version, 25 + 10 * version, 75) for version in range(3 if changes else 1)),
            cron=f"{number * 6} * * * *",
            first_s=DAY_S + (5 + number) * HOUR_S if is_new else 0.0,
            changes_s=[DAY_S + (7 + number) * HOUR_S, 2 * DAY_S + 9 * HOUR_S] if changes else [],
        )


def _mapped_and_loops(days: DaysGenerator) -> None:
    for number in range(8):
        tasks = changed(layers(days.rng, (1, 2, 1, 3, 1), 35), [1, 4], mapped=6 + 3 * number)
        tasks = changed(tasks, [3, 5], behaviour=loop(3 + number))
        days.dag(f"{SUBJECTS[number]}_files", tasks, cron=f"{number * 7} * * * *")


def _sensors_and_deferrables(days: DaysGenerator) -> None:
    for number in range(8):
        tasks = changed(layers(days.rng, (2, 1, 12, 3, 1), 60), [0, 1], behaviour=sensor(300 + 60 * number))
        tasks = changed(tasks, [15, 16], behaviour=deferrable(400))
        tasks = changed(tasks, range(3, 9), behaviour=retried(0.1))
        days.dag(f"{SUBJECTS[number]}_arrival", tasks, cron=f"{number * 3},{30 + number * 3} * * * *")


def _assets(days: DaysGenerator) -> None:
    for number in range(8):
        load, clean, marts, quality = (f"{SUBJECTS[number]}_{step}" for step in ("load", "clean", "marts", "quality"))
        days.dag(load, layers(days.rng, (1, 6, 1), 50), cron=f"{number * 7} * * * *")
        days.dag(clean, layers(days.rng, (1, 8, 4, 1), 45), after=(load, 7))
        days.dag(marts, layers(days.rng, (4, 12, 1), 45), after=(clean, 13))
        days.dag(quality, layers(days.rng, (10,), 45), after=(clean, 13))


def _european(days: DaysGenerator) -> None:
    _morning(days, "Europe/Berlin")
    for subject, hour, timezone in (("sales", 1, "Europe/London"), ("orders", 2, "Europe/Berlin"), ("stock", 3, "UTC")):
        tasks = layers(days.rng, widths("wide", 90), 60)
        days.dag(f"{subject}_night", tasks, cron=f"30 {hour} * * *", timezone=timezone)


@dataclass(frozen=True, slots=True)
class ShippedWorkload:
    """How the days of a name are made."""

    description: str
    parts: tuple[Callable[[DaysGenerator], None], ...]
    sigma: float = 0.0
    drift: float = 0.0
    start: datetime = MONDAY


SHIPPED: Final[Mapping[str, ShippedWorkload]] = MappingProxyType(
    {
        "morning-peak": ShippedWorkload("Reports from 5 to 7 a.m., which take 8 to 11 workers", (_morning,)),
        "nightly-batch": ShippedWorkload("12 DAGs once a night, three of them in a pool of 40 slots", (_nightly,)),
        "every-few-minutes": ShippedWorkload("8 small DAGs, every 5 to 30 minutes", (_frequent,)),
        "hourly-and-adhoc": ShippedWorkload(
            "7 hourly DAGs, and 4 that people start in office hours", (_hourly, _adhoc)
        ),
        "flash-crowd": ShippedWorkload(
            "3 hourly DAGs, 60 runs at once, and a backfill of 80 runs", (_few_hourly, _crowd)
        ),
        "all-together": ShippedWorkload("All of the above", (_morning, _nightly, _frequent, _hourly, _adhoc, _crowd)),
        "noisy-durations": ShippedWorkload("Hourly and nightly DAGs, a sigma of 0.5", (_nightly, _hourly), sigma=0.5),
        "drifting-durations": ShippedWorkload(
            "Hourly DAGs with long tails, a sigma of 1.0, and a drift of 15 % a day", (_tails, _hourly), 1.0, 0.15
        ),
        "new-and-changing": ShippedWorkload("DAGs that appear or change their shape on day 2", (_new_and_changing,)),
        "mapped-and-loops": ShippedWorkload("Mapped tasks, and loops of unknown count", (_mapped_and_loops,)),
        "sensors-and-deferrables": ShippedWorkload(
            "Sensors that reschedule, deferrable operators, failures with retries", (_sensors_and_deferrables,)
        ),
        "assets": ShippedWorkload("DAGs that follow a task of another DAG, two deep", (_assets,)),
        "daylight-saving": ShippedWorkload("European time; the clocks go forward on day 2", (_european,), start=SPRING),
        "large": ShippedWorkload("32 DAGs, every 5 to 30 minutes, for the speed of the simulator", (_large,)),
    }
)


def shipped_workload(name: str, seed: int = 1) -> Workload:
    """Return the workload of a name in SHIPPED."""
    shipped = SHIPPED[name]
    days = DaysGenerator(random.Random(f"{name} {seed}"), start=shipped.start, drift=shipped.drift)
    for part in shipped.parts:
        part(days)
    workload = days.workload(name, shipped.description, pools={WAREHOUSE: 40} if _nightly in shipped.parts else {})
    return run_with_sigma(workload, shipped.sigma, seed) if shipped.sigma else workload
