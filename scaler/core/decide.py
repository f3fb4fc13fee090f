# SPDX-License-Identifier: Apache-2.0
"""`decide`: one fleet, one observation, what is remembered, now -> what to do and why.

The same input gives the same output, so every tick can be recorded and replayed. The steps stand in the order of the
explanation: demand, slots, window, zero, bounds, generations, then for each service drain, launch, protection and
reduce, and last what a person forbade.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from scaler.core import bounds, policy
from scaler.core import demand as demands
from scaler.core.bounds import Limits
from scaler.core.explain import Trail, count, names, sentence
from scaler.core.generation import Share, Step, View, look, notice, settle
from scaler.core.model import Fleet, Observation
from scaler.core.state import Decision, Demand, State, WorkerCounts, loudest


@dataclass(frozen=True, slots=True)
class _Want:
    """How many workers are wanted, and what led there."""

    demand: Demand | None
    needed: int | None
    wanted: int
    growth: int
    """What new workers are started for: `wanted`, but never to stand in for old ones twice."""
    may_shrink: bool


@dataclass(frozen=True, slots=True)
class _Tick:
    """The input of one decision, and the trail it leaves."""

    fleet: Fleet
    observation: Observation
    limits: Limits
    views: Sequence[View]
    current: View | None
    now: float
    trail: Trail

    @property
    def older(self) -> list[View]:
        """The services new workers do not start on, the newest first."""
        rest = [view for view in self.views if view is not self.current]
        return sorted(rest, key=lambda view: (-(view.service.revision if view.service else 0), view.name))


def decide(fleet: Fleet, observation: Observation, state: State, now: float) -> tuple[Decision, State]:
    """Return what to do with the fleet now, and what to remember; nothing here does anything."""
    views = [look(fleet, name, seen, state.of(name), now) for name, seen in sorted(observation.generations.items())]
    limits, silent_since = bounds.in_force(
        fleet, observation.controls, observation.schedule, state.controls_unknown_since, now
    )
    current = _current(views, state.current)
    tick = _Tick(fleet, observation, limits, views, current, now, Trail())
    state = replace(state, current=current.name if current else state.current, controls_unknown_since=silent_since)
    want, state = _want(tick, state)
    _tell_generations(tick)
    steps = _settle(tick, want)
    if limits.pause_words:
        tick.trail.add("pause", limits.pause_words)
    said = _reason(steps, want)
    if limits.dry_run:
        said, steps = _rehearse(steps, said, tick.trail)
    decisions = {step.name: step.decision for step in steps}
    workers = WorkerCounts(protected=0)
    for each in decisions.values():
        workers = workers.plus(each.workers)
    decision = Decision(
        generations=decisions,
        current=current.name if current else None,
        kind=loudest(each.kind for each in decisions.values()),
        reason=said,
        explanation=tick.trail.lines(),
        demand=want.demand,
        needed=want.needed,
        wanted=want.wanted,
        minimum=limits.minimum,
        maximum=limits.maximum,
        controls=observation.controls,
        workers=workers,
    )
    return decision, replace(state, generations={step.name: step.memory for step in steps})


def _current(views: Sequence[View], remembered: str | None) -> View | None:
    """Return the service new workers start on: the one with the newest revision, as long as that can be known."""
    known = [view for view in views if view.service is not None]
    if len(known) < len(views):
        # Which is the newest cannot be compared now; what was the newest may go on growing.
        return next((view for view in known if view.name == remembered), None)
    return max(known, key=lambda view: _newest(view, remembered), default=None)


def _newest(view: View, remembered: str | None) -> tuple[int, int, bool, str]:
    service = view.service
    return (service.revision, service.desired, view.name == remembered, view.name) if service else (-1, 0, False, "")


def _want(tick: _Tick, state: State) -> tuple[_Want, State]:
    fleet, limits, now, trail = tick.fleet, tick.limits, tick.now, tick.trail
    demand, needed, state = _need(tick, state)
    may_shrink = demand is not None and demand.may_shrink
    settled = state.window.full(now, fleet.scale_in_window_s)
    old_places = sum(view.places for view in tick.older)
    places, consuming = (tick.current.places, tick.current.consuming) if tick.current else (0, 0)
    serving = max(places, consuming + old_places)
    if limits.fixed:
        trail.add("fixed", f"ordered to be {limits.maximum}: the demand does not count")
        return _Want(demand, needed, limits.maximum, limits.maximum, may_shrink=True), replace(state, zero_seen=0)
    wanted = policy.hold_down(fleet, needed, serving, state.window, now, may_shrink=may_shrink, trail=trail)
    rosters = [view.roster for view in tick.views]
    nobody = all(
        view.service is not None and view.service.desired == 0 and not (view.roster and view.roster.floor)
        for view in tick.views
    )
    zero_seen = 0
    if limits.minimum == 0:
        wanted, zero_seen = policy.zero(
            tick.observation, rosters, wanted, nobody=nobody, seen=state.zero_seen, trail=trail
        )
    wanted = bounds.bound(limits, wanted, serving, may_shrink=may_shrink and settled, trail=trail)
    # While old workers stand beside their replacements, both serve; nothing new is started for the sum of them.
    hold = max(places, old_places, needed or 0, limits.minimum)
    growth = wanted if wanted > serving else min(wanted, hold)
    state = replace(state, zero_seen=zero_seen)
    return _Want(demand, needed, wanted, growth, may_shrink=may_shrink and settled), state


def _need(tick: _Tick, state: State) -> tuple[Demand | None, int | None, State]:
    """Return the demand, the workers it needs, and the state that remembers both."""
    fleet, now = tick.fleet, tick.now
    demand, broker_above = demands.assess(fleet, tick.observation, state, now, tick.trail)
    needed = None
    if demand is not None:
        others = [view.roster for view in tick.older if view.roster is not None]
        needed = policy.slots_to_workers(
            fleet, demand, tick.current.roster if tick.current else None, others, tick.trail
        )
    known = demand is not None and demand.may_shrink
    window = policy.remember(fleet, state.window, needed, now, known=known)
    return demand, needed, replace(state, window=window, broker_above_since=broker_above)


def _tell_generations(tick: _Tick) -> None:
    for view in tick.views:
        if words := notice(view)[1]:
            tick.trail.add("service", words)
    if len(tick.views) > 1:
        newest = f"new workers start on {tick.current.name}" if tick.current else "which is the newest is not known"
        tick.trail.add("generations", newest)


def _settle(tick: _Tick, want: _Want) -> list[Step]:
    limits = tick.limits
    certain = all(view.service is not None for view in tick.views)
    may_drain = want.may_shrink and certain and not limits.pause_in
    room = max(0, tick.fleet.launch_budget - sum(view.not_running for view in tick.views))
    room_words = f"{tick.fleet.launch_budget} tasks at most may be asked for and not run yet"
    if limits.pause_out:
        room, room_words = 0, limits.pause_words
    left = max(0, want.wanted - (tick.current.consuming if tick.current else 0))
    steps = []
    for view in [*([tick.current] if tick.current else []), *tick.older]:
        newest = view is tick.current
        wanted = want.growth if newest else min(left, view.places)
        left -= 0 if newest else wanted
        bounded = max(limits.minimum, min(limits.maximum, want.needed or 0)) if newest else wanted
        share = Share(
            wanted=wanted,
            maximum=limits.maximum,
            fresh=bounded,
            room=room if newest else 0,
            room_words=room_words if newest else "",
            may_drain=may_drain,
            recall=limits.recall,
        )
        steps.append(settle(tick.fleet, view, share, tick.trail.of(view.name if len(tick.views) > 1 else ""), tick.now))
    return sorted(steps, key=lambda step: step.name)


def _reason(steps: Sequence[Step], want: _Want) -> str:
    kind = loudest(step.decision.kind for step in steps)
    known = [step.decision for step in steps if step.decision.desired is not None]
    if kind == "blind":
        blind = next(step for step in steps if step.decision.kind == "blind")
        return f"The service {blind.name} is unknown ({blind.why}): nothing is lowered, nothing is written to it."
    return sentence(
        kind,
        sum(each.observed or 0 for each in known),
        sum(each.desired or 0 for each in known),
        want.demand,
        want.wanted,
        chosen=sum(len(step.plan.chosen) for step in steps),
        called=sum(step.plan.called for step in steps),
        draining=sum(len(step.plan.drains) for step in steps),
    )


def _rehearse(steps: Sequence[Step], said: str, trail: Trail) -> tuple[str, list[Step]]:
    """Turn what would be done into words, and do nothing: nothing is written and nobody is told anything."""
    for step in steps:
        decision = step.decision
        if decision.writes:
            trail.add("dry run", f"would set {step.name} from {decision.observed} to {decision.desired}")
        if step.plan.chosen:
            trail.add("dry run", f"would drain {names(step.plan.chosen)}")
        if step.plan.called:
            trail.add("dry run", f"would call {count(step.plan.called, 'worker')} back")
    quiet = [
        replace(
            step,
            decision=replace(
                step.decision, desired=step.decision.observed, drains=(), resumes=(), released=(), kind="hold"
            ),
            memory=replace(
                step.memory,
                drains={},
                resumes={},
                expected=step.decision.observed or step.memory.expected,
                attempt=None,
            ),
        )
        for step in steps
    ]
    return f"Dry run, nothing is done: {said}", quiet
