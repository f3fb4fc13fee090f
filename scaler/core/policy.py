# SPDX-License-Identifier: Apache-2.0
"""Steps 2 to 5: from demand to the number of workers wanted. Each is a function that leaves its line behind."""

from __future__ import annotations

from scaler.core.explain import Trail, count
from scaler.core.model import Fallback, Fleet, Known, Observation
from scaler.core.state import Demand
from scaler.core.window import Window
from scaler.core.workers import Roster

ZERO_WITNESSES = 2
ZERO_AGREEMENTS = 2
"""SQS counts are approximate, and a database that says idle is early: one look is not enough to stop everything."""


def slots_to_workers(fleet: Fleet, demand: Demand, current: Roster | None, others: list[Roster], trail: Trail) -> int:
    """Return ceil(demand / slots a worker); no dead band, for at 20 workers a need of 21 is one worker short."""
    # Where workers differ the smallest number counts: a worker too many costs, a worker too few delays.
    reported = min(_concurrency(current), default=None)
    slots, source = fleet.slots, "as configured, no agent reports yet"
    if reported is not None:
        slots, source = reported, "as the agents report"
    elif old := [number for roster in others for number in _concurrency(roster)]:
        slots, source = min(fleet.slots, *old), "as configured or as other workers report, the smaller"
    needed = -(-demand.slots // slots)
    trail.add("slots", f"{count(demand.slots, 'slot')} at {slots} a worker ({source}) take {count(needed, 'worker')}")
    return needed


def _concurrency(roster: Roster | None) -> list[int]:
    """Return what the agents report; one that starts reports 0 until its pool stands."""
    agents = [worker.agent for worker in roster.running] if roster else []
    return [agent.concurrency for agent in agents if agent is not None and agent.concurrency]


def remember(fleet: Fleet, window: Window, needed: int | None, now: float, *, known: bool) -> Window:
    """Return the window with this tick's need in it."""
    if needed is None:
        return window
    return window.note(now, needed, known=known, length_s=fleet.scale_in_window_s, gap_s=fleet.knowledge_gap_s)


def hold_down(
    fleet: Fleet, needed: int | None, serving: int, window: Window, now: float, *, may_shrink: bool, trail: Trail
) -> int:
    """Return the workers wanted before bounds: up at once, down only to the window's maximum on known readings.

    `serving` is how many workers the service is meant to have now, those in drain not counted.
    """
    if needed is None:
        trail.add("window", f"nobody knows the demand: holds {count(serving, 'worker')}")
        return serving
    if needed >= serving:
        if needed > serving:
            trail.add("up", f"{count(needed, 'worker')} needed, {serving} meant to serve: grows at once")
        return needed
    fewer = f"{count(needed, 'worker')} of {serving} would do"
    if not may_shrink:
        trail.add("window", f"{fewer}, but not every source is known: holds {serving}")
        return serving
    length = fleet.scale_in_window_s
    if not window.full(now, length):
        seen = f"{window.covered_s(now):.0f} of {length:.0f} s"
        trail.add("window", f"{fewer}, but only {seen} were seen without a gap: holds {serving}")
        return serving
    wanted = max(needed, min(window.maximum, serving))
    trail.add("window", f"{fewer}; the most that the last {length:.0f} s needed is {window.maximum}, so {wanted} stay")
    return wanted


def fall_back(
    fallback: Fallback, holding: int, unknown_since: float | None, now: float, trail: Trail
) -> tuple[int, bool]:
    """Return the workers wanted while nobody knows the demand, and whether the fleet may shrink to that."""
    unknown_s = 0.0 if unknown_since is None else now - unknown_since
    if fallback.mode == "hold" or unknown_s < fallback.after_s:
        return holding, False
    words = f"the demand has been unknown for {unknown_s:.0f} s"
    if fallback.mode == "fixed":
        trail.add("fallback", f"{words}: {count(fallback.count, 'worker')}, as configured for that")
        return fallback.count, True
    if fallback.count > holding:
        trail.add("fallback", f"{words}: at least {count(fallback.count, 'worker')}, as configured for that")
    return max(holding, fallback.count), False


def zero(
    observation: Observation, rosters: list[Roster | None], wanted: int, *, nobody: bool, seen: int, trail: Trail
) -> tuple[int, int]:
    """Let a fleet go to zero only when two witnesses agree twice in a row; return (wanted, times agreed).

    `nobody` says that there is no worker and none is wanted already.
    """
    if wanted > 0 or nobody:
        return wanted, 0
    witnesses = [
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
    if sum(witnesses) < ZERO_WITNESSES:
        trail.add("zero", "fewer than two of database, broker and agents say that nothing is wanted: keeps one worker")
        return 1, 0
    if seen + 1 < ZERO_AGREEMENTS:
        trail.add("zero", "two witnesses agree for the first time: keeps one worker until they agree again")
        return 1, seen + 1
    trail.add("zero", "two witnesses agree again: none is wanted")
    return 0, seen + 1
