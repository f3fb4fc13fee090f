# SPDX-License-Identifier: Apache-2.0
"""`decide`: one fleet, one observation, what is remembered, now -> what to do and why.

The same input gives the same output, so every tick can be recorded and replayed. The steps stand in the order of the
explanation: demand, slots, up or window, fallback, zero, bounds, services, then for each service drain, launch,
protection and reduce, and last what a person forbade.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from scaler.core import bounds
from scaler.core.bounds import Limits
from scaler.core.drain import ServiceShare
from scaler.core.explain import Explanation, count, names, need, sentence
from scaler.core.model import Fleet, Observation
from scaler.core.service_plan import ServiceStep, ServiceView, detect_drift, plan_service, view_service
from scaler.core.state import Decision, Kind, FleetState, WorkerCounts, loudest
from scaler.core.target import DecisionInput, FleetTarget, assess


def decide(fleet: Fleet, observation: Observation, state: FleetState, now: float) -> tuple[Decision, FleetState]:
    """Return what to do with the fleet now, and what to remember; nothing here does anything."""
    views = [
        view_service(fleet, name, seen, state.of(name), now) for name, seen in sorted(observation.services.items())
    ]
    limits, silent_since = bounds.in_force(
        fleet, observation.overrides, observation.schedule, state.overrides_unknown_since, now
    )
    current = _current(views, state.current)
    tick = DecisionInput(fleet, observation, limits, views, current, now, Explanation())
    want, state = assess(tick, state)
    steps = _settle(tick, want)
    if limits.pause is not None:
        tick.explanation.append(limits.pause)
    reason = _reason(steps, want, limits)
    if limits.dry_run:
        reason, steps = f"Dry run, no change: {reason}", _rehearse(steps, tick.explanation)
    decisions = {step.name: step.decision for step in steps}
    workers = WorkerCounts(protected=0)
    for each in decisions.values():
        workers = workers.plus(each.workers)
    decision = Decision(
        services=decisions,
        current=current.name if current else None,
        kind=loudest(each.kind for each in decisions.values()),
        reason=reason,
        explanation=tick.explanation.steps(),
        demand=want.demand,
        slots_per_worker=want.slots_per_worker,
        needed=want.needed,
        target=want.target,
        minimum=limits.minimum,
        maximum=limits.maximum,
        overrides=observation.overrides,
        workers=workers,
    )
    return decision, replace(
        state,
        current=current.name if current else state.current,
        overrides_unknown_since=silent_since,
        services={step.name: step.memory for step in steps},
    )


def _current(views: Sequence[ServiceView], remembered: str | None) -> ServiceView | None:
    """Return the service new workers start on: the one with the newest revision, as long as that can be known."""
    known = [view for view in views if view.service is not None]
    if len(known) < len(views):
        # Which is the newest cannot be compared now; what was the newest may go on growing.
        return next((view for view in known if view.name == remembered), None)
    return max(known, key=lambda view: _newest(view, remembered), default=None)


def _newest(view: ServiceView, remembered: str | None) -> tuple[int, bool, int, bool]:
    """Order by revision; of two alike the one that was the newest stays it while it has workers, so nothing flaps.

    Of two alike, empty and not remembered `max` takes the first by name: a family's second revision lands on the
    second service, and must find nobody there.
    """
    if view.service is None:
        return (-1, False, 0, False)
    desired, was = view.service.desired, view.name == remembered
    return (view.service.revision, was and desired > 0, desired, was)


def _settle(tick: DecisionInput, want: FleetTarget) -> list[ServiceStep]:
    """ServiceShare what is target out among the services: the current one serves, the older ones what it does not yet."""
    limits, current = tick.limits, tick.current
    _tell(tick)
    may_drain = want.may_shrink and not limits.pause_in and all(view.service is not None for view in tick.views)
    steps = []
    consuming = promised = 0
    # Not what is held: a count that protection raised would raise itself further.
    fresh = max(limits.minimum, min(limits.maximum, want.needed or 0))
    if current is not None:
        asked = sum(max(0, view.asked) for view in tick.older) + current.asked
        room, why = max(0, tick.fleet.launch_budget - asked), f"{asked} tasks requested and not running yet"
        if limits.pause_out:
            room, why = 0, limits.pause.text if limits.pause else ""
        share = ServiceShare(want.growth, want.growth, limits.maximum, fresh, room, why, may_drain, limits.recall)
        step = plan_service(tick.fleet, current, share, _explanation(tick, current), tick.now)
        steps.append(step)
        consuming, promised = current.consuming, step.promised
    left, missing = max(0, want.target - consuming), max(0, want.growth - promised)
    for view in tick.older:
        places = view.service.desired if view.service else 0
        keep, back = min(left, places), min(missing, places)
        left, missing = left - keep, missing - back
        if current is not None and places > keep:
            consume = f"{consuming} of {count(want.target, 'target worker')} consume on {current.name}"
            text = f"{consume}: {view.name} keeps {keep} of {places}"
            tick.explanation.add("services", text, consuming=consuming, kept=keep)
        share = ServiceShare(keep, back, limits.maximum, max(0, fresh - consuming), 0, "", may_drain, limits.recall)
        steps.append(plan_service(tick.fleet, view, share, _explanation(tick, view), tick.now))
    return sorted(steps, key=lambda step: step.name)


def _explanation(tick: DecisionInput, view: ServiceView) -> Explanation:
    """Return the explanation of one service; a fleet with one service needs no name in it."""
    return tick.explanation.of(view.name) if len(tick.views) > 1 else tick.explanation


def _tell(tick: DecisionInput) -> None:
    for view in tick.views:
        if words := detect_drift(view)[1]:
            _explanation(tick, view).add("service", words)
    if len(tick.views) == 1:
        return
    if tick.current is None or tick.current.service is None:
        tick.explanation.add("services", "Newest service unknown: no worker is started")
    else:
        revision = tick.current.service.revision
        text = f"New workers start on {tick.current.name} (revision {revision})"
        tick.explanation.add("services", text, current=tick.current.name, revision=revision)


def _reason(steps: Sequence[ServiceStep], want: FleetTarget, limits: Limits) -> str:
    kind = loudest(step.decision.kind for step in steps)
    known = [step.decision for step in steps if step.decision.desired is not None]
    if kind == "blind":
        blind = next(step for step in steps if step.decision.kind == "blind")
        return f"Service {blind.name} unknown ({blind.why}): no scale-in, no write."
    told = sentence(
        kind,
        need(want.demand, want.needed, want.slots_per_worker, want.target, limits.minimum, limits.maximum),
        sum(each.observed or 0 for each in known),
        sum(each.desired or 0 for each in known),
        chosen=sum(len(step.plan.chosen) for step in steps),
        resumed=sum(step.plan.called for step in steps),
        draining=sum(len(step.plan.drains) for step in steps),
    )
    return f"{told}; {limits.pause.text}." if limits.pause else f"{told}."


def _rehearse(steps: Sequence[ServiceStep], explanation: Explanation) -> list[ServiceStep]:
    """Explain the changes and make none of them: no write, no command to an agent."""
    for step in steps:
        decision = step.decision
        if decision.writes:
            text = f"Would set desired of {step.name}: {decision.observed} -> {decision.desired}"
            explanation.add("dry run", text, service=step.name, desired=decision.desired)
        if step.plan.chosen:
            explanation.add("dry run", f"Would drain {names(step.plan.chosen)}", chosen=len(step.plan.chosen))
        if step.plan.called:
            text = f"Would resume {count(step.plan.called, 'draining worker')}"
            explanation.add("dry run", text, resumed=step.plan.called)
    return [_quiet(step) for step in steps]


def _quiet(step: ServiceStep) -> ServiceStep:
    observed = step.decision.observed
    kind: Kind = "blind" if step.decision.kind == "blind" else "hold"
    expected = step.memory.expected if observed is None else observed
    return replace(
        step,
        decision=replace(step.decision, desired=observed, drains=(), resumes=(), released=(), kind=kind),
        memory=replace(step.memory, drains={}, resumes={}, expected=expected, attempt=None),
    )
