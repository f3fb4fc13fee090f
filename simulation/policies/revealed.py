# SPDX-License-Identifier: Apache-2.0
"""What any honest rule could know: scheduled runs ahead, true durations, a manual run only from its start."""

import heapq
import math
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

from simulation.engine.airflow import DagRun, EngineTask, ProgressListener
from simulation.engine.fleet import State, StopProtection
from simulation.engine.policy import EngineFleetView, ScalingRule
from simulation.policies.draining import resize
from simulation.policies.progress import Progress
from simulation.workloads.model import Segment, Workload, WorkloadRun

Line: TypeAlias = list[tuple[float, float, str, EngineTask | None]]
"""Start, end and queue of what will be in a slot, and its instance if it exists."""

BIN_S = 5.0


class KnownRun:
    """A run that started or is due, with its true times."""

    def __init__(self, run: DagRun) -> None:
        self.run = run
        self.active: dict[EngineTask, tuple[float, bool]] = {}
        """Since when an instance waits or runs (or from when it will wait), and whether it runs."""
        self.until = -math.inf
        self.line: Line = []
        self._scratch = DagRun(0, run.dag, run.source, 0.0)

    def project(self, children: list[list[int]], now: float, until: float) -> Line:
        """Return the line up to a time, as if no task had to wait any more."""
        run = self.run
        line: Line = []
        ends: list[tuple[float, int]] = []
        left: dict[int, int] = {}
        missing: dict[int, int] = {}
        for instance, (since, runs) in self.active.items():
            left[instance.node] = left.get(instance.node, 0) + 1
            segments = instance.segments[instance.segment :]
            self._add(line, ends, since if runs else max(now, since), instance.node, segments, instance)
        for node in Progress.frontier(run):
            if node not in left:
                left[node] = self._begin(line, ends, now + 1.0, node)
        while ends and ends[0][0] <= until:
            end, node = heapq.heappop(ends)
            left[node] -= 1
            for child in children[node] if left[node] <= 0 else ():
                missing[child] = missing.get(child, run.missing[child]) - 1
                if not missing[child]:
                    left[child] = self._begin(line, ends, end + 1.0, child)
        return line

    def _begin(self, line: Line, ends: list[tuple[float, int]], start: float, node: int) -> int:
        """Add the instances of a task, and return their number."""
        instances = self._scratch.instances(node)
        for instance in instances:
            self._add(line, ends, start, node, instance.segments, None)
        if not instances:
            heapq.heappush(ends, (start - 1.0, node))
        return len(instances)

    def _add(
        self,
        line: Line,
        ends: list[tuple[float, int]],
        start: float,
        node: int,
        segments: Sequence[Segment],
        instance: EngineTask | None,
    ) -> None:
        for number, (work_s, pause_s) in enumerate(segments):
            end = start + work_s * self.run.source.factor
            line.append((start, end, self.run.tasks[node].queue, None if number else instance))
            start = end + pause_s
        heapq.heappush(ends, (end, node))


class Revealed(ScalingRule, ProgressListener):
    """The workers that pay: a worker is there if, without it, tasks would wait longer than it would be paid for.

    The expected slots of the coming minutes flow through the slots of n workers; the rule has the smallest n whose next
    worker would save fewer task-seconds of waiting than `wait_price` for a worker-second. Short peaks are so cut.
    """

    name = "revealed"
    source = "The bound of honest rules: true durations, scheduled runs known ahead, a manual run only from its start."
    protection = StopProtection.DRAIN
    slow_sigmas = 1.65
    window_s = 60.0
    """For how long a worker is bought, at least."""
    wait_price = 0.25
    """Task-seconds of waiting that a worker-second must save."""

    def __init__(self) -> None:
        self.progress = Progress(0.0)
        self._known: dict[int, KnownRun] = {}
        self._due: dict[str, deque[WorkloadRun]] = {}
        self._next: dict[str, KnownRun] = {}

    @property
    def listener(self) -> "Revealed":
        """The runs in progress."""
        return self

    def begin(self, workload: Workload) -> None:
        """Learn the schedule, not the runs that people start."""
        self._dags = workload.dags
        for run in workload.runs:
            if run.kind == "scheduled":
                self._due.setdefault(run.dag_id, deque()).append(run)

    def run_started(self, run: DagRun, now: float) -> None:
        """A run is revealed."""
        self._known[run.number] = KnownRun(run)
        if run.source.kind == "scheduled":
            self._due[run.source.dag_id].popleft()
            self._next.pop(run.source.dag_id, None)

    def run_ended(self, run: DagRun, now: float) -> None:
        """Forget the run."""
        del self._known[run.number]

    def _note(self, instance: EngineTask, since: float, *, runs: bool) -> None:
        known = self._known[instance.run.number]
        known.active[instance] = since, runs
        known.until = -math.inf

    def task_queued(self, instance: EngineTask, now: float) -> None:
        """It waits."""
        self._note(instance, now, runs=False)

    def task_started(self, instance: EngineTask, now: float) -> None:
        """It runs."""
        self._note(instance, now, runs=True)

    def task_waits(self, instance: EngineTask, now: float, until: float) -> None:
        """It will wait again."""
        self._note(instance, until, runs=False)

    def task_ended(self, instance: EngineTask, now: float) -> None:
        """It ended."""
        known = self._known[instance.run.number]
        del known.active[instance]
        known.until = -math.inf

    def tick(self, view: EngineFleetView) -> None:
        """Launch for the minute after a slow cold start, and keep for the time until then."""
        settings = view.settings
        lead_s = settings.cold_start_s * math.exp(self.slow_sigmas * settings.cold_start_sigma) + self.interval_s
        lead = math.ceil(lead_s / BIN_S)
        bins = lead + math.ceil(self.window_s / BIN_S)
        demand, mean_s = self._demand(view, bins)
        there = [0] * lead
        for worker in view.workers:
            if worker.state in (State.CONSUMING, State.RESUMING, State.STARTING):
                ready_s = 0.0 if worker.state is not State.STARTING else worker.requested_at + lead_s - view.now
                for at in range(max(0, int(ready_s / BIN_S)), lead):
                    there[at] += settings.slots

        late = 0.0
        for at in range(lead):
            late = max(0.0, late + demand[at] - there[at])

        def waiting_s(workers: int, first: int, last: int, backlog: float) -> float:
            area, slots = 0.0, workers * settings.slots
            for each in demand[first:last]:
                backlog = max(0.0, backlog + each - slots)
                area += backlog
            return area * BIN_S * BIN_S / mean_s

        most, price = settings.maximum, self.wait_price
        launch = self._cheapest(lambda n: waiting_s(n, lead, bins, late), most, price * self.window_s)
        launch = min(launch, math.ceil(max(demand[: lead + 1]) / settings.slots))
        keep = self._cheapest(lambda n: waiting_s(n, 0, lead, 0.0), most, price * lead_s)
        resize(view, max(launch, min(keep, view.alive)))

    @staticmethod
    def _cheapest(waiting_s: Callable[[int], float], maximum: int, price: float) -> int:
        """Return the smallest count whose next worker saves less than the price."""
        low, high = 0, maximum
        while low < high:
            middle = (low + high) // 2
            if waiting_s(middle) - waiting_s(middle + 1) < price:
                high = middle
            else:
                low = middle + 1
        return low

    def _demand(self, view: EngineFleetView, bins: int) -> tuple[list[float], float]:
        """Return the slots of each bin that workers which stay must have, and the mean seconds of a task."""
        now, change = view.now, [0.0] * (bins + 2)
        total_s = count = 0.0
        for start, end, queue, instance in self._lines(now, now + bins * BIN_S):
            gone = instance is not None and getattr(instance.worker, "state", None) in (State.DRAINING, State.RELEASED)
            if start >= now + bins * BIN_S or end <= now or gone or not view.fleet.serves(queue):
                continue
            total_s += end - max(start, now)
            count += 1
            for at, sign in ((max(start - now, 0.0) / BIN_S, 1.0), (min((end - now) / BIN_S, bins), -1.0)):
                change[int(at)] += sign * (1.0 - at % 1.0)
                change[int(at) + 1] += sign * (at % 1.0)
        demand, level = [], 0.0
        for each in change[:bins]:
            level += each
            demand.append(level)
        return demand, total_s / count if count else 1.0

    def _lines(self, now: float, until: float) -> Iterable[tuple[float, float, str, EngineTask | None]]:
        for dag_id, runs in self._due.items():
            start = runs[0].start_s if runs else None
            if start is not None and start < until and dag_id not in self._next:
                run = DagRun(0, self._dags[dag_id], runs[0], start)
                self._next[dag_id] = known = KnownRun(run)
                known.line = known.project(self.progress.children(run), start, start + until - now)
        for known in self._known.values():
            overdue = any(not runs and since <= now for since, runs in known.active.values())
            if overdue or until > known.until:
                known.line = known.project(self.progress.children(known.run), now, until + 30.0)
                known.until = until + 30.0
        for known in (*self._known.values(), *self._next.values()):
            yield from known.line
