# SPDX-License-Identifier: Apache-2.0
"""Steps 2 to 5: from the demand to the target number of workers. Each function adds its step to the explanation."""

from scaler.core.explain import Explanation, count
from scaler.core.model import BrokerCount, FallbackPolicy, FleetPolicy, Known, Observation
from scaler.core.state import Demand
from scaler.core.window import NeedWindow
from scaler.core.workers import ClassifiedWorkers

ZERO_SOURCES = 2
ZERO_TICKS = 2
"""SQS counts are approximate, and the database can report idle too early: one tick is not enough to stop all."""


def slots_per_worker(
    fleet: FleetPolicy, current: ClassifiedWorkers | None, others: list[ClassifiedWorkers]
) -> tuple[int, str]:
    """Return the slots per worker, and their source."""
    # If workers differ, the smallest number is used: a surplus worker costs little, a missing worker delays tasks.
    reported = min(_concurrency(current), default=None)
    if reported is not None:
        return reported, "reported by the agents"
    if old := [number for workers in others for number in _concurrency(workers)]:
        return min(fleet.slots, *old), "the smaller of configured and reported"
    return fleet.slots, "configured; no agent reports yet"


def slots_to_workers(demand: Demand, slots: int, source: str, explanation: Explanation) -> int:
    """Return ceil(demand / slots per worker).

    There is no dead band: at 20 workers, a need of 21 is one worker short.
    """
    needed = -(-demand.slots // slots)
    explanation.add(
        "slots",
        f"{count(demand.slots, 'slot')} / {slots} per worker ({source}) = {count(needed, 'worker')}",
        slots=demand.slots,
        slots_per_worker=slots,
        needed=needed,
    )
    return needed


def _concurrency(workers: ClassifiedWorkers | None) -> list[int]:
    """Return the concurrency of each agent; a starting agent reports 0 until its pool exists."""
    agents = [worker.agent for worker in workers.running] if workers else []
    return [agent.concurrency for agent in agents if agent is not None and agent.concurrency]


def remember(fleet: FleetPolicy, window: NeedWindow, needed: int | None, now: float, *, known: bool) -> NeedWindow:
    """Return the window with the need of this tick."""
    if needed is None:
        return window
    return window.note(now, needed, known=known, length_s=fleet.window_s, gap_s=fleet.knowledge_gap_s)


def stabilize(
    fleet: FleetPolicy,
    needed: int | None,
    counted: int | None,
    serving: int,
    window: NeedWindow,
    now: float,
    *,
    may_shrink: bool,
    explanation: Explanation,
) -> int:
    """Return the target before bounds: up at once, down only to the window's maximum on known readings.

    `counted` is the need of this tick; unless tasks wait, without the slots of workers that do not answer. `serving` is
    the planned number of workers, draining workers not counted.
    """
    if needed is None or counted is None:
        explanation.add("window", f"Demand unknown: keep {count(serving, 'worker')}", kept=serving)
        return serving
    if needed >= serving:
        if needed > serving:
            text = f"{count(needed, 'worker')} needed, {serving} in service: scale out now"
            explanation.add("up", text, needed=needed, serving=serving)
        return needed
    fewer = f"{counted} of {count(serving, 'worker')} needed"
    if not may_shrink:
        explanation.add("window", f"{fewer}, not every source known: keep {serving}", kept=serving)
        return serving
    length = fleet.window_s
    if not window.full(now, length):
        known_s = window.known_s(now)
        text = f"{fewer}, all sources known for {known_s:.0f} of {length:.0f} s: keep {serving}"
        explanation.add("window", text, kept=serving, known_s=known_s)
        return serving
    target = max(counted, min(window.maximum, serving))
    text = f"{fewer}, at most {window.maximum} needed in the last {length:.0f} s: keep {target}"
    explanation.add("window", text, kept=target, window_maximum=window.maximum)
    return target


def fall_back(
    fallback: FallbackPolicy, kept: int, unknown_since: float | None, now: float, explanation: Explanation
) -> tuple[int, bool]:
    """Return the target while the demand is unknown, and whether the fleet may shrink to it."""
    unknown_s = 0.0 if unknown_since is None else now - unknown_since
    if fallback.mode == "hold" or unknown_s < fallback.after_s:
        return kept, False
    since = f"Demand unknown for {unknown_s:.0f} s"
    workers = count(fallback.count, "worker")
    if fallback.mode == "fixed":
        explanation.add("fallback", f"{since}: fallback to {workers}", count=fallback.count)
        return fallback.count, True
    if fallback.count > kept:
        explanation.add("fallback", f"{since}: fallback to at least {workers}", count=fallback.count)
    return max(kept, fallback.count), False


def scale_to_zero(
    observation: Observation,
    services: list[ClassifiedWorkers | None],
    target: int,
    *,
    empty: bool,
    unread: bool,
    agreed_ticks: int,
    explanation: Explanation,
) -> tuple[int, int]:
    """Allow zero workers only if two sources agree in two ticks in a row; return (target, ticks in agreement).

    `empty`: the fleet has no worker and its desired count is 0 already. `unread`: this tick shows no work, but not
    every source answered; it neither adds to the ticks in agreement nor ends them.
    """
    if target > 0 or empty:
        return target, agreed_ticks if unread and not empty else 0
    database, broker = observation.database, observation.broker
    idle = [
        isinstance(database, Known) and database.value.queued + database.value.running == 0,
        isinstance(broker, Known) and broker.value == BrokerCount(0, 0),
        all(
            workers is not None and all(worker.agent is not None and worker.load == 0 for worker in workers.running)
            for workers in services
        ),
    ]
    sources = sum(idle)
    if sources < ZERO_SOURCES:
        text = f"{sources} of database, broker and agents report no work, {ZERO_SOURCES} are required: keep 1 worker"
        explanation.add("zero", text, sources=sources, ticks=0)
        return 1, 0
    ticks = agreed_ticks + 1
    result = "no worker needed" if ticks >= ZERO_TICKS else "keep 1 worker"
    text = f"{sources} sources report no work in {min(ticks, ZERO_TICKS)} of {ZERO_TICKS} ticks: {result}"
    explanation.add("zero", text, sources=sources, ticks=ticks)
    return (0 if ticks >= ZERO_TICKS else 1), ticks
