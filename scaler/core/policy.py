# SPDX-License-Identifier: Apache-2.0
"""Steps 2 to 5: from demand to the number of workers target. Each is a function that leaves its line behind."""

from __future__ import annotations

from scaler.core.explain import Explanation, count
from scaler.core.model import Fallback, Fleet, Known, Observation
from scaler.core.state import Demand
from scaler.core.window import NeedWindow
from scaler.core.workers import ClassifiedWorkers

ZERO_SOURCES = 2
ZERO_AGREEMENTS = 2
"""SQS counts are approximate, and a database that says idle is early: one look is not enough to stop everything."""


def slots_to_workers(
    fleet: Fleet,
    demand: Demand,
    current: ClassifiedWorkers | None,
    others: list[ClassifiedWorkers],
    explanation: Explanation,
) -> tuple[int, int]:
    """Return ceil(demand / slots per worker), and the slots per worker.

    There is no dead band: at 20 workers, a need of 21 is one worker short.
    """
    # Where workers differ the smallest number counts: a worker too many costs, a worker too few delays.
    reported = min(_concurrency(current), default=None)
    slots, source = fleet.slots, "configured; no agent reports yet"
    if reported is not None:
        slots, source = reported, "reported by the agents"
    elif old := [number for roster in others for number in _concurrency(roster)]:
        slots, source = min(fleet.slots, *old), "the smaller of configured and reported"
    needed = -(-demand.slots // slots)
    explanation.add(
        "slots",
        f"{count(demand.slots, 'slot')} / {slots} per worker ({source}) = {count(needed, 'worker')}",
        slots=demand.slots,
        slots_per_worker=slots,
        needed=needed,
    )
    return needed, slots


def _concurrency(roster: ClassifiedWorkers | None) -> list[int]:
    """Return what the agents report; one that starts reports 0 until its pool stands."""
    agents = [worker.agent for worker in roster.running] if roster else []
    return [agent.concurrency for agent in agents if agent is not None and agent.concurrency]


def remember(fleet: Fleet, window: NeedWindow, needed: int | None, now: float, *, known: bool) -> NeedWindow:
    """Return the window with this tick's need in it."""
    if needed is None:
        return window
    return window.note(now, needed, known=known, length_s=fleet.scale_in_window_s, gap_s=fleet.knowledge_gap_s)


def stabilize(
    fleet: Fleet,
    needed: int | None,
    serving: int,
    window: NeedWindow,
    now: float,
    *,
    may_shrink: bool,
    explanation: Explanation,
) -> int:
    """Return the workers target before bounds: up at once, down only to the window's maximum on known readings.

    `serving` is how many workers the service is meant to have now, those in drain not counted.
    """
    if needed is None:
        explanation.add("window", f"Demand unknown: keep {count(serving, 'worker')}", kept=serving)
        return serving
    if needed >= serving:
        if needed > serving:
            text = f"{count(needed, 'worker')} needed, {serving} in service: scale out now"
            explanation.add("up", text, needed=needed, serving=serving)
        return needed
    fewer = f"{needed} of {count(serving, 'worker')} needed"
    if not may_shrink:
        explanation.add("window", f"{fewer}, not every source known: keep {serving}", kept=serving)
        return serving
    length = fleet.scale_in_window_s
    if not window.full(now, length):
        seen_s = window.covered_s(now)
        text = f"{fewer}, all sources known for {seen_s:.0f} of {length:.0f} s: keep {serving}"
        explanation.add("window", text, kept=serving, known_s=seen_s)
        return serving
    target = max(needed, min(window.maximum, serving))
    text = f"{fewer}, at most {window.maximum} needed in the last {length:.0f} s: keep {target}"
    explanation.add("window", text, kept=target, window_maximum=window.maximum)
    return target


def fall_back(
    fallback: Fallback, holding: int, unknown_since: float | None, now: float, explanation: Explanation
) -> tuple[int, bool]:
    """Return the workers target while nobody knows the demand, and whether the fleet may shrink to that."""
    unknown_s = 0.0 if unknown_since is None else now - unknown_since
    if fallback.mode == "hold" or unknown_s < fallback.after_s:
        return holding, False
    since = f"Demand unknown for {unknown_s:.0f} s"
    workers = count(fallback.count, "worker")
    if fallback.mode == "fixed":
        explanation.add("fallback", f"{since}: fallback to {workers}", count=fallback.count)
        return fallback.count, True
    if fallback.count > holding:
        explanation.add("fallback", f"{since}: fallback to at least {workers}", count=fallback.count)
    return max(holding, fallback.count), False


def zero(
    observation: Observation,
    rosters: list[ClassifiedWorkers | None],
    target: int,
    *,
    nobody: bool,
    seen: int,
    explanation: Explanation,
) -> tuple[int, int]:
    """Let a fleet go to zero only when two sources agree twice in a row; return (target, times agreed).

    `nobody` says that there is no worker and none is target already.
    """
    if target > 0 or nobody:
        return target, 0
    sources = [
        isinstance(observation.database, Known)
        and observation.database.value.queued + observation.database.value.running == 0,
        isinstance(observation.broker, Known)
        and observation.broker.value.visible + observation.broker.value.in_flight + observation.broker.value.delayed
        == 0,
        all(
            roster is not None and all(worker.agent is not None and worker.load == 0 for worker in roster.running)
            for roster in rosters
        ),
    ]
    agreeing = sum(sources)
    if agreeing < ZERO_SOURCES:
        text = f"{agreeing} of database, broker and agents report no work, 2 are required: keep 1 worker"
        explanation.add("zero", text, sources=agreeing, ticks=0)
        return 1, 0
    if seen + 1 < ZERO_AGREEMENTS:
        text = f"{agreeing} sources report no work in {seen + 1} of {ZERO_AGREEMENTS} ticks: keep 1 worker"
        explanation.add("zero", text, sources=agreeing, ticks=seen + 1)
        return 1, seen + 1
    text = f"{agreeing} sources report no work in {ZERO_AGREEMENTS} ticks: no worker needed"
    explanation.add("zero", text, sources=agreeing, ticks=seen + 1)
    return 0, seen + 1
