# SPDX-License-Identifier: Apache-2.0
"""`decide`: one fleet, one observation, what is remembered, now -> what to do and why.

The same input gives the same output, so every tick can be recorded and replayed. The steps stand in the order of the
explanation: demand, slots, up or window, fallback, zero, bounds, generations, then for each service drain, launch,
protection and reduce, and last what a person forbade.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from scaler.core import bounds
from scaler.core.bounds import Limits
from scaler.core.drain import Share
from scaler.core.explain import Trail, count, names, need, sentence
from scaler.core.model import Fleet, Observation
from scaler.core.service_plan import Step, View, look, notice, settle
from scaler.core.state import Decision, Kind, State, WorkerCounts, loudest
from scaler.core.target import Tick, Want, assess


def decide(fleet: Fleet, observation: Observation, state: State, now: float) -> tuple[Decision, State]:
    """Return what to do with the fleet now, and what to remember; nothing here does anything."""
    views = [look(fleet, name, seen, state.of(name), now) for name, seen in sorted(observation.generations.items())]
    limits, silent_since = bounds.in_force(
        fleet, observation.controls, observation.schedule, state.controls_unknown_since, now
    )
    current = _current(views, state.current)
    tick = Tick(fleet, observation, limits, views, current, now, Trail())
    want, state = assess(tick, state)
    steps = _settle(tick, want)
    if limits.pause_words:
        tick.trail.add("pause", limits.pause_words)
    said = _reason(steps, want, limits)
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
    return decision, replace(
        state,
        current=current.name if current else state.current,
        controls_unknown_since=silent_since,
        generations={step.name: step.memory for step in steps},
    )


def _current(views: Sequence[View], remembered: str | None) -> View | None:
    """Return the service new workers start on: the one with the newest revision, as long as that can be known."""
    known = [view for view in views if view.service is not None]
    if len(known) < len(views):
        # Which is the newest cannot be compared now; what was the newest may go on growing.
        return next((view for view in known if view.name == remembered), None)
    return max(known, key=lambda view: _newest(view, remembered), default=None)


def _newest(view: View, remembered: str | None) -> tuple[int, bool, int, bool]:
    """Order by revision; of two alike the one that was the newest stays it while it has workers, so nothing flaps.

    Of two alike, empty and not remembered `max` takes the first by name: a family's second revision lands on the
    second service, and must find nobody there.
    """
    if view.service is None:
        return (-1, False, 0, False)
    desired, was = view.service.desired, view.name == remembered
    return (view.service.revision, was and desired > 0, desired, was)


def _settle(tick: Tick, want: Want) -> list[Step]:
    """Share what is wanted out among the services: the current one serves, the older ones what it does not yet."""
    limits, current = tick.limits, tick.current
    _tell(tick)
    may_drain = want.may_shrink and not limits.pause_in and all(view.service is not None for view in tick.views)
    steps = []
    consuming = promised = 0
    # Not what is held: a count that protection raised would raise itself further.
    fresh = max(limits.minimum, min(limits.maximum, want.needed or 0))
    if current is not None:
        asked = sum(max(0, view.asked) for view in tick.older) + current.asked
        room, why = max(0, tick.fleet.launch_budget - asked), f"{asked} tasks are asked for and do not run yet"
        if limits.pause_out:
            room, why = 0, limits.pause_words
        share = Share(want.growth, want.growth, limits.maximum, fresh, room, why, may_drain, limits.recall)
        step = settle(tick.fleet, current, share, _trail(tick, current), tick.now)
        steps.append(step)
        consuming, promised = current.consuming, step.promised
    left, missing = max(0, want.wanted - consuming), max(0, want.growth - promised)
    for view in tick.older:
        places = view.service.desired if view.service else 0
        keep, back = min(left, places), min(missing, places)
        left, missing = left - keep, missing - back
        if current is not None and places > keep:
            words = f"{consuming} of {count(want.wanted, 'worker')} wanted consume on {current.name} already"
            tick.trail.add("generations", f"{words}, so {view.name} keeps {keep} of its {places}")
        share = Share(keep, back, limits.maximum, max(0, fresh - consuming), 0, "", may_drain, limits.recall)
        steps.append(settle(tick.fleet, view, share, _trail(tick, view), tick.now))
    return sorted(steps, key=lambda step: step.name)


def _trail(tick: Tick, view: View) -> Trail:
    """Return the trail of one service; where there is only one its name says nothing."""
    return tick.trail.of(view.name) if len(tick.views) > 1 else tick.trail


def _tell(tick: Tick) -> None:
    for view in tick.views:
        if words := notice(view)[1]:
            _trail(tick, view).add("service", words)
    if len(tick.views) == 1:
        return
    if tick.current is None or tick.current.service is None:
        tick.trail.add("generations", "which service is the newest is not known, so no worker is started")
    else:
        newest = f"{tick.current.name} (revision {tick.current.service.revision})"
        tick.trail.add("generations", f"new workers start on {newest}")


def _reason(steps: Sequence[Step], want: Want, limits: Limits) -> str:
    kind = loudest(step.decision.kind for step in steps)
    known = [step.decision for step in steps if step.decision.desired is not None]
    if kind == "blind":
        blind = next(step for step in steps if step.decision.kind == "blind")
        return f"The service {blind.name} is unknown ({blind.why}): nothing is lowered, nothing is written to it."
    told = sentence(
        kind,
        need(want.demand, want.needed, want.wanted, limits.minimum, limits.maximum),
        sum(each.observed or 0 for each in known),
        sum(each.desired or 0 for each in known),
        chosen=sum(len(step.plan.chosen) for step in steps),
        called=sum(step.plan.called for step in steps),
        draining=sum(len(step.plan.drains) for step in steps),
    )
    return f"{told.removesuffix('.')}; {limits.pause_words}." if limits.pause_words else told


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
    return f"Dry run, nothing is done: {said}", [_quiet(step) for step in steps]


def _quiet(step: Step) -> Step:
    observed = step.decision.observed
    kind: Kind = "blind" if step.decision.kind == "blind" else "hold"
    expected = step.memory.expected if observed is None else observed
    return replace(
        step,
        decision=replace(step.decision, desired=observed, drains=(), resumes=(), released=(), kind=kind),
        memory=replace(step.memory, drains={}, resumes={}, expected=expected, attempt=None),
    )
