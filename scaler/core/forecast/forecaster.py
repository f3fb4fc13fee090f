# SPDX-License-Identifier: Apache-2.0
"""The forecast of a fleet: the expected slots of the next minutes, in equal steps, with their uncertainty."""

import math
from collections.abc import Collection, Generator, Iterable, Iterator
from itertools import accumulate

from scaler.core.forecast.expected_run import ExpectedTask, Outlook, expect_new_run, expect_run
from scaler.core.forecast.plan import AirflowPlan, DagShape, NextRun, RunInProgress, TaskDuration
from scaler.core.forecast.sources import ExpectedRun
from scaler.core.model import Forecast, UnplannedRun

STEP_S = 5.0
MEMO_S = 15.0
"""A run that does not change is played forward again after this time."""
PART = 500
"""Tasks of a part: 2 to 5 ms on a whole core."""
SHARP_STEPS = 0.25
"""A spread below this share of a step is not worth its arithmetic."""
ROOT_3 = math.sqrt(3.0)


class Forecaster:
    """Makes forecasts; it keeps the expectation of each run until the run changes, and nothing else."""

    def __init__(self) -> None:
        self._memo: dict[str, tuple[RunInProgress, list[ExpectedTask], float, float]] = {}
        self._runs: dict[str, tuple[DagShape, tuple[float, ...], float]] = {}
        self._due: dict[NextRun, tuple[DagShape, list[ExpectedTask], float]] = {}

    def expect(
        self, plan: AirflowPlan, now: float, *, horizon_s: float, unknown_s: float, draining: Collection[str] = ()
    ) -> Forecast:
        """Return the forecast: see `in_parts`."""
        parts = self.in_parts(plan, now, horizon_s=horizon_s, unknown_s=unknown_s, draining=draining)
        while True:
            try:
                next(parts)
            except StopIteration as made:
                forecast: Forecast = made.value
                return forecast

    def in_parts(
        self, plan: AirflowPlan, now: float, *, horizon_s: float, unknown_s: float, draining: Collection[str] = ()
    ) -> Generator[None, None, Forecast]:
        """Return the forecast for `horizon_s` in parts of some milliseconds, after each of which others may work.

        A task without history is expected to take `unknown_s`. Tasks on `draining` workers need no slot of another
        worker, and are not counted. What was done for a run is kept if the caller stops early.
        """
        outlook = Outlook(now, now + horizon_s + MEMO_S, TaskDuration(unknown_s, 0.5), plan.shapes)
        curve = _Curve(now, max(1, math.ceil(horizon_s / STEP_S)), draining)
        memo = self._memo = {run.run_id: self._memo[run.run_id] for run in plan.runs if run.run_id in self._memo}
        tasks = 0
        for run in plan.runs:
            found = memo.get(run.run_id)
            if found is None or found[0] is not run or not found[2] <= now < found[3]:
                expected = expect_run(run, outlook)
                valid = min([now + MEMO_S, *(task.end for task in expected if task.end > now)])
                found = run, expected, now, valid
            memo[run.run_id] = found
            curve.add(found[1])
            tasks += len(found[1])
            if tasks >= PART:
                tasks = 0
                yield
        coming = {item for item in plan.next_runs if item.at < now + horizon_s and item.dag_id in plan.shapes}
        due = self._due = {item: known for item, known in self._due.items() if item in coming}
        for item in plan.next_runs:
            if item not in coming:
                continue
            shape, known = plan.shapes[item.dag_id], due.get(item)
            if known is None or known[0] is not shape or item.at < now or not known[2] <= now < known[2] + MEMO_S:
                known = shape, expect_new_run(shape, max(now, item.at), outlook), now
            due[item] = known
            curve.add(known[1])
            tasks += len(known[1])
            if tasks >= PART:
                tasks = 0
                yield
        return curve.forecast(plan, tuple(self._unplanned(plan, outlook)))

    @property
    def runs(self) -> Iterator[ExpectedRun]:
        """The runs of the last forecast."""
        for run, tasks, *_ in self._memo.values():
            yield ExpectedRun(run.shape, None, tasks)
        for item, (shape, tasks, *_) in self._due.items():
            yield ExpectedRun(shape, item.at, tasks)

    def _unplanned(self, plan: AirflowPlan, outlook: Outlook) -> Iterable[UnplannedRun]:
        """Return the runs that may start, each played forward from now on."""
        steps = math.ceil((outlook.until - outlook.now - MEMO_S) / STEP_S)
        kept = {}
        for arrivals in plan.arrivals:
            shape = plan.shapes.get(arrivals.dag_id)
            if shape is None or not arrivals.per_s:
                continue
            known = self._runs.get(arrivals.dag_id)
            if known is None or known[0] is not shape or len(known[1]) != steps:
                curve = _Curve(outlook.now, steps, ())
                curve.add(expect_new_run(shape, outlook.now, outlook))
                known = shape, tuple(curve.slots()), curve.task_s()
            kept[arrivals.dag_id] = known
            yield UnplannedRun(arrivals.per_s, known[1], known[2])
        self._runs = kept


class _Curve:
    """The sum of the expected tasks, by step."""

    def __init__(self, now: float, steps: int, draining: Collection[str]) -> None:
        self._now = now
        self._steps = steps
        self._draining = draining
        self._slots = [0.0] * (steps + 1)
        self._variance = [0.0] * (steps + 1)
        # What holds in whole steps is a polynomial of the step; by step, the change of its coefficients.
        self._mean_0, self._mean_1 = [0.0] * (steps + 2), [0.0] * (steps + 2)
        self._variance_0, self._variance_1, self._variance_2 = ([0.0] * (steps + 2) for _ in range(3))
        self._seconds = self._tasks = 0.0
        self._busy: dict[str, float] = {}

    def add(self, tasks: Iterable[ExpectedTask]) -> None:
        """Add the probability of each task to hold a slot, to each step."""
        now, steps, draining = self._now, self._steps, self._draining
        for start, end, spread_s, instances, runs, worker in tasks:
            if worker is not None:
                if end - now > self._busy.get(worker, 0.0):
                    self._busy[worker] = end - now
                if worker in draining:
                    continue
            first, last, spread = (start - now) / STEP_S, (end - now) / STEP_S, ROOT_3 * spread_s / STEP_S
            if first >= steps or last + spread <= 0.0:
                continue
            if not runs:
                self._seconds += (last - first) * STEP_S * instances
                self._tasks += instances
            certain = last - spread if spread > SHARP_STEPS else last
            if certain > 0.0 and certain > first:
                self._add_certain(first if first > 0.0 else 0.0, certain if certain < steps else steps, instances)
            if certain < last and certain < steps:
                self._add_uncertain(first if first > certain else certain, last + spread, instances)

    def _add_certain(self, first: float, last: float, instances: float) -> None:
        left, right = int(first), int(last)
        if left == right:
            self._slots[left] += (last - first) * instances
            return
        self._slots[left] += (left + 1 - first) * instances
        self._slots[right] += (last - right) * instances
        self._mean_0[left + 1] += instances
        self._mean_0[right] -= instances

    def _add_uncertain(self, first: float, last: float, instances: float) -> None:
        """The end is uniform between `first` and `last`."""
        width = last - first
        begin, until = first if first > 0.0 else 0.0, last if last < self._steps else self._steps
        left, right = int(begin), int(until)
        for step, start, end in ((left, begin, min(until, left + 1)), (right, max(begin, right), until)):
            share = (last - (start + end) / 2) / width
            held = share * (end - start) * instances
            self._slots[step] += held
            self._variance[step] += held * (1.0 - share)
            if left == right:
                return
        at_0, slope, left = (last - 0.5) / width, 1.0 / width, left + 1  # in step n the share is at_0 - slope * n
        for changes, coefficient in (
            (self._mean_0, at_0),
            (self._mean_1, -slope),
            (self._variance_0, at_0 * (1.0 - at_0)),
            (self._variance_1, slope * (2.0 * at_0 - 1.0)),
            (self._variance_2, -slope * slope),
        ):
            changes[left] += coefficient * instances
            changes[right] -= coefficient * instances

    def slots(self) -> list[float]:
        """Return the mean of each step."""
        whole = zip(self._slots, accumulate(self._mean_0), accumulate(self._mean_1), strict=False)
        return [round(some + at_0 + rise * step, 3) for step, (some, at_0, rise) in enumerate(whole)][: self._steps]

    def spread(self) -> list[float]:
        """Return the standard deviation of each step."""
        changes = (self._variance_0, self._variance_1, self._variance_2)
        whole = zip(self._variance, *(accumulate(some) for some in changes), strict=False)
        found = [
            max(0.0, some + at_0 + step * (rise + step * bend)) for step, (some, at_0, rise, bend) in enumerate(whole)
        ]
        return [round(math.sqrt(value), 3) for value in found[: self._steps]]

    def task_s(self) -> float:
        """Return the mean duration of the tasks that do not hold a slot yet, at least 1 s."""
        return max(1.0, self._seconds / self._tasks) if self._tasks else STEP_S

    def forecast(self, plan: AirflowPlan, unplanned: tuple[UnplannedRun, ...]) -> Forecast:
        """Return the sum."""
        since = plan.waiting_since
        return Forecast(
            at=self._now,
            step_s=STEP_S,
            slots=tuple(self.slots()),
            spread=tuple(self.spread()),
            task_s=self.task_s(),
            present=plan.present,
            waiting_s=0.0 if since is None else max(0.0, self._now - since),
            unplanned=unplanned,
            busy_s={worker: round(seconds, 1) for worker, seconds in self._busy.items()},
        )
