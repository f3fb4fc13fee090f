# SPDX-License-Identifier: Apache-2.0
"""The DAGs that need the most slots at the peak of a forecast, for its explanation."""

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import replace
from typing import NamedTuple

from scaler.core.forecast.expected_run import ExpectedTask
from scaler.core.forecast.plan import DagShape
from scaler.core.model import Forecast, ForecastSource

MOST_SOURCES = 3


class ExpectedRun(NamedTuple):
    """A run as it was played forward."""

    shape: DagShape
    due: float | None
    """None: it is in progress."""
    tasks: Iterable[ExpectedTask]
    """With those of the runs that it starts."""


def with_sources(forecast: Forecast, runs: Iterable[ExpectedRun], draining: Collection[str] = ()) -> Forecast:
    """Return the forecast with the runs that need the most slots in the step with the most slots."""
    peak_s = forecast.peak * forecast.step_s
    begin, end = forecast.at + peak_s, forecast.at + peak_s + forecast.step_s
    slots: dict[tuple[str, float | None], float] = defaultdict(float)
    shapes = {}
    for shape, due, tasks in runs:
        held = sum(
            (min(task.end, end) - max(task.start, begin)) * task.instances
            for task in tasks
            if task.start < end and task.end > begin and task.worker not in draining
        )
        if held:
            slots[shape.dag_id, due] += held / forecast.step_s
            shapes[shape.dag_id] = shape
    largest = sorted(slots.items(), key=lambda item: (-item[1], item[0][0]))[:MOST_SOURCES]
    return replace(
        forecast,
        sources=tuple(
            ForecastSource(
                dag_id=dag_id,
                slots=round(held, 3),
                due_s=None if due is None else max(0.0, due - forecast.at),
                past_runs=len(shapes[dag_id].past_tasks),
                as_large=sum(1 for tasks in shapes[dag_id].past_tasks if tasks >= round(held)),
            )
            for (dag_id, due), held in largest
        ),
    )
