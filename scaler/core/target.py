# SPDX-License-Identifier: Apache-2.0
"""How many workers the whole fleet wants: demand, slots, window, fallback, somebody's count adopted, zero, bounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from scaler.core import bounds, policy
from scaler.core import demand as demands
from scaler.core.bounds import Limits
from scaler.core.explain import Explanation, count
from scaler.core.model import Fleet, Observation
from scaler.core.service_plan import ServiceView, detect_drift
from scaler.core.state import Demand, FleetState


@dataclass(frozen=True, slots=True)
class DecisionInput:
    """The input of one decision, and its explanation."""

    fleet: Fleet
    observation: Observation
    limits: Limits
    views: Sequence[ServiceView]
    current: ServiceView | None
    """The service new workers start on; None when that is not known."""
    now: float
    explanation: Explanation

    @property
    def older(self) -> list[ServiceView]:
        """The services new workers do not start on, the newest first."""
        rest = [view for view in self.views if view is not self.current]
        return sorted(rest, key=lambda view: (-(view.service.revision if view.service else 0), view.name))


@dataclass(frozen=True, slots=True)
class FleetTarget:
    """How many workers are target, and what led there."""

    demand: Demand | None
    needed: int | None
    slots_per_worker: int | None
    target: int
    growth: int
    """What new workers are started for: old ones who are merely held, because the window is not over or something is
    unknown, need no replacement."""
    may_shrink: bool


def assess(tick: DecisionInput, state: FleetState) -> tuple[FleetTarget, FleetState]:
    """Return what is target of the whole fleet, and what to remember of it."""
    fleet, limits, now, explanation = tick.fleet, tick.limits, tick.now, tick.explanation
    demand, needed, slots_per_worker, state = _need(tick, state)
    adopted = _adopt(tick, state)
    if limits.fixed:
        for step in limits.steps:
            explanation.append(step)
        explanation.add("fixed", f"Fixed at {count(limits.maximum, 'worker')}: demand not used", fixed=limits.maximum)
        want = FleetTarget(demand, needed, slots_per_worker, limits.maximum, limits.maximum, may_shrink=True)
        return want, replace(state, zero_seen=0, adopted=adopted)
    places, serving = _serving(tick)
    known = demand is not None and demand.may_shrink
    settled = known and state.window.full(now, fleet.scale_in_window_s)
    target = policy.stabilize(fleet, needed, serving, state.window, now, may_shrink=known, explanation=explanation)
    if demand is None:
        target, settled = policy.fall_back(fleet.fallback, target, state.unknown_since, now, explanation)
    if adopted is not None and adopted[0] > target:
        target = adopted[0]
        text = f"Desired count drift: {target} adopted for one scale-in window"
        explanation.add("adopted", text, adopted=target)
    zero_seen = 0
    if limits.minimum == 0:
        target, zero_seen = policy.zero(
            tick.observation,
            [view.roster for view in tick.views],
            target,
            nobody=_nobody(tick),
            seen=state.zero_seen,
            explanation=explanation,
        )
    target = bounds.bound(limits, target, serving, may_shrink=settled, explanation=explanation)
    growth = target
    if target <= serving:
        growth = min(target, max(places, needed or 0, limits.minimum))
    # A fleet in a rollout may have more workers than its maximum; that it is not lowered is no reason to start more.
    growth = min(growth, max(limits.maximum, tick.current.places if tick.current else 0))
    want = FleetTarget(demand, needed, slots_per_worker, target, growth, may_shrink=settled)
    return want, replace(state, zero_seen=zero_seen, adopted=adopted)


def _need(tick: DecisionInput, state: FleetState) -> tuple[Demand | None, int | None, int | None, FleetState]:
    """Return the demand, the workers it needs, the slots per worker, and the state that remembers them."""
    fleet, now = tick.fleet, tick.now
    demand, broker_above = demands.assess(fleet, tick.observation, state, now, tick.explanation)
    needed = slots_per_worker = unknown_since = None
    if demand is None:
        unknown_since = now if state.unknown_since is None else min(state.unknown_since, now)
    else:
        others = [view.roster for view in tick.older if view.roster is not None]
        current = tick.current.roster if tick.current else None
        needed, slots_per_worker = policy.slots_to_workers(fleet, demand, current, others, tick.explanation)
    known = demand is not None and demand.may_shrink
    window = policy.remember(fleet, state.window, needed, now, known=known)
    state = replace(state, window=window, broker_above_since=broker_above, unknown_since=unknown_since)
    return demand, needed, slots_per_worker, state


def _adopt(tick: DecisionInput, state: FleetState) -> tuple[int, float] | None:
    """Return a count that somebody wrote by hand, where hands are to be followed, for one window."""
    adopted, length_s = state.adopted, tick.fleet.scale_in_window_s
    if adopted is not None and not 0 <= tick.now - adopted[1] < length_s:
        adopted = None
    view = tick.current
    if view is not None and tick.fleet.desired_count_drift == "adopt":
        foreign, _ = detect_drift(view)
        if foreign is not None and view.memory.expected is not None:
            adopted = (foreign, tick.now) if foreign > view.memory.expected else None
    return adopted


def _serving(tick: DecisionInput) -> tuple[int, int]:
    """Return how many workers are meant to serve on the current service, and on all, those in drain not counted."""
    old = sum(view.places for view in tick.older)
    places, consuming = (tick.current.places, tick.current.consuming) if tick.current else (0, 0)
    return places, max(places, consuming + old)


def _nobody(tick: DecisionInput) -> bool:
    """Whether there is no worker and none is target already."""
    return all(
        view.service is not None and view.service.desired == 0 and not (view.roster and view.roster.protected_minimum)
        for view in tick.views
    )
