# SPDX-License-Identifier: Apache-2.0
"""How many workers the whole fleet wants: demand, slots, window, fallback, somebody's count adopted, zero, bounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from scaler.core import bounds, policy
from scaler.core import demand as demands
from scaler.core.bounds import Limits
from scaler.core.explain import Trail, count
from scaler.core.model import Fleet, Observation
from scaler.core.service_plan import View, notice
from scaler.core.state import Demand, State


@dataclass(frozen=True, slots=True)
class Tick:
    """The input of one decision, and the trail it leaves."""

    fleet: Fleet
    observation: Observation
    limits: Limits
    views: Sequence[View]
    current: View | None
    """The service new workers start on; None when that is not known."""
    now: float
    trail: Trail

    @property
    def older(self) -> list[View]:
        """The services new workers do not start on, the newest first."""
        rest = [view for view in self.views if view is not self.current]
        return sorted(rest, key=lambda view: (-(view.service.revision if view.service else 0), view.name))


@dataclass(frozen=True, slots=True)
class Want:
    """How many workers are wanted, and what led there."""

    demand: Demand | None
    needed: int | None
    wanted: int
    growth: int
    """What new workers are started for: old ones who are merely held, because the window is not over or something is
    unknown, need no replacement."""
    may_shrink: bool


def assess(tick: Tick, state: State) -> tuple[Want, State]:
    """Return what is wanted of the whole fleet, and what to remember of it."""
    fleet, limits, now, trail = tick.fleet, tick.limits, tick.now, tick.trail
    demand, needed, state = _need(tick, state)
    adopted = _adopt(tick, state)
    if limits.fixed:
        for step, text in limits.words:
            trail.add(step, text)
        trail.add("fixed", f"{count(limits.maximum, 'worker')}, whatever the demand")
        return Want(demand, needed, limits.maximum, limits.maximum, may_shrink=True), replace(
            state, zero_seen=0, adopted=adopted
        )
    places, serving = _serving(tick)
    known = demand is not None and demand.may_shrink
    settled = known and state.window.full(now, fleet.scale_in_window_s)
    wanted = policy.hold_down(fleet, needed, serving, state.window, now, may_shrink=known, trail=trail)
    if demand is None:
        wanted, settled = policy.fall_back(fleet.fallback, wanted, state.unknown_since, now, trail)
    if adopted is not None and adopted[0] > wanted:
        wanted = adopted[0]
        trail.add("adopted", f"somebody set desired to {wanted} by hand, which holds for one scale-in window")
    zero_seen = 0
    if limits.minimum == 0:
        wanted, zero_seen = policy.zero(
            tick.observation,
            [view.roster for view in tick.views],
            wanted,
            nobody=_nobody(tick),
            seen=state.zero_seen,
            trail=trail,
        )
    wanted = bounds.bound(limits, wanted, serving, may_shrink=settled, trail=trail)
    growth = wanted
    if wanted <= serving:
        growth = min(wanted, max(places, needed or 0, limits.minimum))
    # A fleet in a rollout may have more workers than its maximum; that it is not lowered is no reason to start more.
    growth = min(growth, max(limits.maximum, tick.current.places if tick.current else 0))
    return Want(demand, needed, wanted, growth, may_shrink=settled), replace(
        state, zero_seen=zero_seen, adopted=adopted
    )


def _need(tick: Tick, state: State) -> tuple[Demand | None, int | None, State]:
    """Return the demand, the workers it needs, and the state that remembers both."""
    fleet, now = tick.fleet, tick.now
    demand, broker_above = demands.assess(fleet, tick.observation, state, now, tick.trail)
    needed = unknown_since = None
    if demand is None:
        unknown_since = now if state.unknown_since is None else min(state.unknown_since, now)
    else:
        others = [view.roster for view in tick.older if view.roster is not None]
        current = tick.current.roster if tick.current else None
        needed = policy.slots_to_workers(fleet, demand, current, others, tick.trail)
    known = demand is not None and demand.may_shrink
    window = policy.remember(fleet, state.window, needed, now, known=known)
    return demand, needed, replace(state, window=window, broker_above_since=broker_above, unknown_since=unknown_since)


def _adopt(tick: Tick, state: State) -> tuple[int, float] | None:
    """Return a count that somebody wrote by hand, where hands are to be followed, for one window."""
    adopted, length_s = state.adopted, tick.fleet.scale_in_window_s
    if adopted is not None and not 0 <= tick.now - adopted[1] < length_s:
        adopted = None
    view = tick.current
    if view is not None and tick.fleet.desired_count_drift == "adopt":
        foreign, _ = notice(view)
        if foreign is not None and view.memory.expected is not None:
            adopted = (foreign, tick.now) if foreign > view.memory.expected else None
    return adopted


def _serving(tick: Tick) -> tuple[int, int]:
    """Return how many workers are meant to serve on the current service, and on all, those in drain not counted."""
    old = sum(view.places for view in tick.older)
    places, consuming = (tick.current.places, tick.current.consuming) if tick.current else (0, 0)
    return places, max(places, consuming + old)


def _nobody(tick: Tick) -> bool:
    """Whether there is no worker and none is wanted already."""
    return all(
        view.service is not None and view.service.desired == 0 and not (view.roster and view.roster.floor)
        for view in tick.views
    )
