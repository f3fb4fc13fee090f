# SPDX-License-Identifier: Apache-2.0
"""The number of workers that the forecast makes worth their cost.

With a number of workers, the expected slots above their capacity are tasks that wait. Their work forms a backlog, which
free capacity takes down later (a fluid queue: Lindley 1952). A further worker is launched if the wait that it saves is
worth more than the worker. Two such numbers are made: how many workers to launch, which serve after the launch latency,
and how many to keep until others could serve.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from operator import add
from statistics import median

from scaler.core.model import Forecast, LookAheadPolicy

USE_S = 40.0
"""A new worker must be worth the cost of this time, which is about the time from its first task to its earliest end."""
KEEP_SHARE = 0.5
"""A worker that may be needed again before others can start is idle for half of that time on average."""
CERTAIN_SLOTS = 0.1
"""A smaller spread changes no whole worker."""
ROOT_2 = math.sqrt(2.0)
ROOT_2_PI = math.sqrt(2.0 * math.pi)
LATENCIES = 10
"""The launch latency is the median of so many launches."""


@dataclass(frozen=True, slots=True)
class Capacity:
    """The workers of a fleet from now on."""

    serving: int
    """Workers that consume."""
    draining: int
    """Workers that can be resumed."""
    staying: int
    """Those of them that can be resumed for a launch latency."""
    arriving: tuple[float, ...]
    """Seconds until each starting worker serves."""
    slots: int
    """Slots per worker."""
    maximum: int


@dataclass(frozen=True, slots=True)
class LookAheadTarget:
    """The numbers of workers that are worth their cost."""

    launch: int
    """From the launch latency on."""
    keep: int
    """Until then, of the workers that exist."""
    headroom: int = 0
    """Those of them that are free for runs that people may start."""

    @property
    def workers(self) -> int:
        """The larger number."""
        return max(self.launch, self.keep)


def launch_latency_s(policy: LookAheadPolicy, seen: Sequence[float]) -> float:
    """Return the median of the launches that were seen, without the interval of the decisions."""
    return median(seen) if seen else policy.launch_s


def horizon_s(launch_s: float) -> float:
    """Return how far a forecast must reach."""
    return launch_s + USE_S


def find_target(policy: LookAheadPolicy, forecast: Forecast, capacity: Capacity, launch_s: float) -> LookAheadTarget:
    """Return how many workers to launch and to keep."""
    step_s = forecast.step_s
    # At least one step has the launched workers: without a use, the cheapest number would be the largest.
    launched = max(1, min(len(forecast.slots) - 1, round(launch_s / step_s)))
    before = [capacity.serving * capacity.slots] * launched
    for seconds in capacity.arriving:
        for step in range(max(0, int(seconds / step_s)), launched):
            before[step] += capacity.slots

    def with_launched(workers: int) -> float:
        steps = [*before, *[workers * capacity.slots] * (len(forecast.slots) - launched)]
        return wait_s(forecast, steps, launched)

    def with_kept(workers: int) -> float:
        return wait_s(forecast, [workers * capacity.slots] * launched, 0)

    use_s = step_s * (len(forecast.slots) - launched)
    peak = max(mean + 4 * spread for mean, spread in zip(forecast.slots, forecast.spread, strict=True))
    most = min(capacity.maximum, math.ceil(peak / capacity.slots))
    existing = capacity.serving + len(capacity.arriving) + capacity.draining
    keep = _cheapest(with_kept, policy.wait_worth, KEEP_SHARE * launch_s, existing, most)
    # A backlog that its workers leave behind can need more workers than the peak.
    launch = _cheapest(with_launched, policy.wait_worth, use_s, existing, capacity.maximum if most else 0)
    planned = max(launch, min(keep, existing))
    free = 0
    if policy.headroom and forecast.unplanned:
        free = max(
            0, _with_headroom(policy.wait_worth, forecast, capacity, launched, planned) - capacity.staying - planned
        )
    ready = planned + free if free else 0
    return LookAheadTarget(max(launch, ready), min(max(keep, ready), existing), free)


def _with_headroom(worth: float, forecast: Forecast, capacity: Capacity, steps: int, planned: int) -> int:
    """Return the workers that are worth to be there for the expected tasks and one more run, at least `planned`.

    Each second a worker saves the wait that it would save such a run, times the rate of these runs. With fewer workers
    than `planned` the expected tasks wait too, and the run would gain nothing from a worker.
    """
    cases = []
    for run in forecast.unplanned:
        without = replace(forecast, task_s=run.task_s)
        cases.append((run.per_s, without, replace(without, slots=tuple(map(add, forecast.slots, run.slots)))))

    def with_ready(workers: int) -> float:
        slots = [workers * capacity.slots] * steps
        return sum(
            per_s * (wait_s(one_more, slots, 0) - wait_s(without, slots, 0)) for per_s, without, one_more in cases
        )

    return _cheapest(with_ready, worth, 1.0, planned, capacity.maximum, planned)


def wait_s(forecast: Forecast, slots: Sequence[int], first: int) -> float:
    """Return the expected wait from step `first` on, in task-seconds, with so many slots in each step."""
    step_s = forecast.step_s
    # Each waiting task needs one slot: free capacity takes the backlog down no faster than its tasks end.
    end_share = min(1.0, step_s / forecast.task_s)
    backlog = waiting = 0.0
    for step, (mean, spread, capacity) in enumerate(zip(forecast.slots, forecast.spread, slots, strict=False)):
        difference = mean - capacity
        if spread < CERTAIN_SLOTS or difference > 4 * spread or difference < -4 * spread:
            above = max(0.0, difference)
        else:
            above = _above(difference, spread)
        spare = above - difference
        if backlog:
            backlog -= min(backlog * end_share, spare * step_s)
        backlog += above * step_s
        if step >= first:
            waiting += above + backlog / forecast.task_s
    return waiting * step_s


def _above(difference: float, spread: float) -> float:
    """Return the expected part of a normal demand above a capacity, from its mean minus the capacity."""
    z = difference / spread
    density = math.exp(-z * z / 2) / ROOT_2_PI
    return spread * (density + z * (1 + math.erf(z / ROOT_2)) / 2)


def _cheapest(
    wait: Callable[[int], float], worth: float, cost_s: float, guess: int, maximum: int, minimum: int = 0
) -> int:
    """Return the smallest number of workers at which one more saves less than it costs, from a guess that is near.

    From `minimum` on each further worker must save no more than the one before.
    """
    waits: dict[int, float] = {}

    def is_enough(workers: int) -> bool:
        for number in (workers, workers + 1):
            if number not in waits:
                waits[number] = wait(number)
        return worth * (waits[workers] - waits[workers + 1]) < cost_s

    low, high, step, probe = min(minimum, maximum), maximum, 1, min(guess, maximum - 1)
    below = above = False
    while low < high:
        if is_enough(probe):
            high, below = probe, True
        else:
            low, above = probe + 1, True
        step *= 2
        if below and above:
            probe = (low + high) // 2
        else:
            probe = max(low, high - step) if below else min(high - 1, low + step - 1)
    return low
