# SPDX-License-Identifier: Apache-2.0
"""`decide`: one fleet, one observation, the state and the time give a decision with its explanation.

The same input gives the same output, so every tick can be recorded and replayed. The order of the steps is that of
the explanation: demand, slots, up or window, fallback, zero, bounds, services, then for each service drain, launch,
protection and reduce, and last the pause.
"""

from collections.abc import Sequence
from dataclasses import replace

from scaler.core import bounds, silent
from scaler.core.bounds import Limits
from scaler.core.drain import ServiceShare
from scaler.core.explain import Explanation, count, names, need, sentence
from scaler.core.model import FleetPolicy, Observation
from scaler.core.service_plan import ServiceStep, ServiceView, detect_drift, plan_service, view_service
from scaler.core.state import Decision, FleetState, Kind, WorkerCounts, strongest
from scaler.core.target import DecisionInput, FleetTarget, assess, busy_s
from scaler.core.workers import starts_fail


def decide(fleet: FleetPolicy, observation: Observation, state: FleetState, now: float) -> tuple[Decision, FleetState]:
    """Return the decision for the fleet, and its next state, without side effects."""
    services = [
        view_service(fleet, name, service, state.of(name), now)
        for name, service in sorted(observation.services.items())
    ]
    limits, overrides_unknown_since = bounds.in_force(
        fleet, observation.overrides, observation.schedule, state.overrides_unknown_since, now
    )
    current = _current(services, state.current)
    inputs = DecisionInput(fleet, observation, limits, services, current, now, Explanation())
    target, state = assess(inputs, state)
    steps = _plan_services(inputs, target)
    if limits.pause is not None:
        inputs.explanation.append(limits.pause)
    reason = _reason(steps, target, limits)
    if limits.dry_run:
        reason, steps = f"Dry run, no change: {reason}", _explain_dry_run(steps, inputs.explanation)
    stop = None
    if not (limits.pause_in or limits.dry_run):
        known = [(view.workers, step.state.silent) for view, step in zip(services, steps, strict=True) if view.workers]
        stop = silent.stoppable(observation, known, now, inputs.explanation)
    decisions = {step.name: step.decision for step in steps}
    workers = WorkerCounts(protected=0)
    for service in decisions.values():
        workers = workers.plus(service.workers)
    decision = Decision(
        services=decisions,
        current=current.name if current else None,
        kind=strongest(service.kind for service in decisions.values()),
        reason=reason,
        explanation=inputs.explanation.steps(),
        demand=target.demand,
        slots_per_worker=target.slots_per_worker,
        needed=target.needed,
        target=target.target,
        minimum=limits.minimum,
        maximum=limits.maximum,
        overrides=observation.overrides,
        workers=workers,
        stop=stop,
    )
    return decision, replace(
        state,
        current=current.name if current else state.current,
        overrides_unknown_since=overrides_unknown_since,
        services={**state.services, **{step.name: step.state for step in steps}},
    )


def _current(services: Sequence[ServiceView], remembered: str | None) -> ServiceView | None:
    """Return the service that starts new workers: the one with the newest revision, if all revisions are known."""
    known = [view for view in services if view.service is not None]
    if len(known) < len(services):
        # The newest revision is unknown now; the service that was the newest may continue to grow.
        return next((view for view in known if view.name == remembered), None)
    return max(known, key=lambda view: _newest(view, remembered), default=None)


def _newest(view: ServiceView, remembered: str | None) -> tuple[int, bool, int, bool]:
    """Order by revision; of two equal ones the newest of the last tick stays the newest while it has workers.

    Of two equal ones that are empty and not remembered, `max` takes the first by name: a family's second revision is
    deployed to the second service, which must be empty then.
    """
    if view.service is None:
        return (-1, False, 0, False)
    desired, was = view.service.desired, view.name == remembered
    return (view.service.revision, was and desired > 0, desired, was)


def _plan_services(inputs: DecisionInput, target: FleetTarget) -> list[ServiceStep]:
    """Divide the target among the services: the older services keep what the current one does not serve yet."""
    limits, current = inputs.limits, inputs.current
    _explain_services(inputs)
    all_known = all(view.service is not None for view in inputs.services)
    may_drain = target.may_shrink and not limits.pause_in and all_known
    steps = []
    consuming = serving_soon = 0
    # Not the kept count: a count that protection raised would raise itself further.
    rolling = max(limits.minimum, min(limits.maximum, target.needed or 0))
    if current is not None:
        share = _current_share(inputs, current, target, rolling, may_drain=may_drain)
        step = plan_service(inputs.fleet, current, share, _explanation(inputs, current), inputs.now)
        steps.append(step)
        consuming, serving_soon = current.consuming, step.serving_soon
    left, missing = max(0, target.target - consuming), max(0, target.launch_target - serving_soon)
    for view in inputs.older:
        desired = view.service.desired if view.service else 0
        room, launch_limit = 0, ""
        if view is _substitute(inputs):
            room, launch_limit = _launch_room(inputs, None)  # starts that fail must not use its room
            room = min(room, max(0, limits.maximum - desired))  # the target may be a kept count above the maximum
        keep, required = min(left, desired + room), min(missing, desired + room)
        left, missing = left - keep, missing - required
        if current is not None and desired > keep:
            consume = f"{consuming} of {count(target.target, 'target worker')} consume on {current.name}"
            text = f"{consume}: {view.name} keeps {keep} of {desired}"
            inputs.explanation.add("services", text, consuming=consuming, kept=keep)
        rest = max(0, rolling - consuming)
        share = ServiceShare(
            keep, required, limits.maximum, rest, room, launch_limit, may_drain, limits.resume_all, busy_s(inputs)
        )
        steps.append(plan_service(inputs.fleet, view, share, _explanation(inputs, view), inputs.now))
    return sorted(steps, key=lambda step: step.name)


def _current_share(
    inputs: DecisionInput, current: ServiceView, target: FleetTarget, rolling: int, *, may_drain: bool
) -> ServiceShare:
    limits, launch, maximum = inputs.limits, target.launch_target, inputs.limits.maximum
    room, limit = _launch_room(inputs, current)
    if _substitute(inputs) is not None:
        # One start shows whether starts succeed again. With all of them the fleet would have twice its maximum.
        workers = current.workers
        started = current.capacity if workers is None else len(workers.all) - len(workers.starting) + 1
        launch = maximum = min(launch, started)
    return ServiceShare(launch, launch, maximum, rolling, room, limit, may_drain, limits.resume_all, busy_s(inputs))


def _launch_room(inputs: DecisionInput, current: ServiceView | None) -> tuple[int, str]:
    """Return how many more tasks may be requested, and the reason for the limit."""
    if inputs.limits.pause_out:
        return 0, inputs.limits.pause.text if inputs.limits.pause else ""
    requested = sum(max(0, view.requested) for view in inputs.older)
    requested += current.requested if current else 0
    return max(0, inputs.fleet.launch_budget - requested), f"{requested} tasks requested and not running yet"


def _substitute(inputs: DecisionInput) -> ServiceView | None:
    """Return the service that grows while no start of the current one succeeds: the newest older one with workers."""
    if inputs.current is None or not starts_fail(inputs.fleet, inputs.current.state, inputs.now):
        return None
    return next((view for view in inputs.older if view.consuming), None)


def _explanation(inputs: DecisionInput, view: ServiceView) -> Explanation:
    """Return the explanation of one service; a fleet with one service needs no name in it."""
    return inputs.explanation.of(view.name) if len(inputs.services) > 1 else inputs.explanation


def _explain_services(inputs: DecisionInput) -> None:
    for name in inputs.observation.absent:
        text = f"Service {name} does not exist: the fleet continues without it"
        inputs.explanation.add("services", text, absent=name)
    for view in inputs.services:
        drift, text = detect_drift(view)
        if text:
            _explanation(inputs, view).add("service", text, desired_count_drift=drift)
    if len(inputs.services) == 1:
        return
    if inputs.current is None or inputs.current.service is None:
        inputs.explanation.add("services", "Newest service unknown: no worker is started")
    else:
        name, revision = inputs.current.name, inputs.current.service.revision
        text = f"New workers start on {name} (revision {revision})"
        if substitute := _substitute(inputs):
            text += f", but no start has succeeded for {inputs.fleet.launch_deadline_s:.0f} s: "
            text += f"{substitute.name} grows, and {name} tries one start"
        inputs.explanation.add("services", text, current=name, revision=revision)


def _reason(steps: Sequence[ServiceStep], target: FleetTarget, limits: Limits) -> str:
    kind = strongest(step.decision.kind for step in steps)
    known = [step.decision for step in steps if step.decision.desired is not None]
    if kind == "blind":
        unknown = next(step for step in steps if step.decision.kind == "blind")
        return f"Service {unknown.name} unknown ({unknown.unknown_reason}): no scale-in, no write."
    demand = need(target.demand, target.needed, target.slots_per_worker, target.target, limits.minimum, limits.maximum)
    text = sentence(
        kind,
        demand,
        sum(service.observed or 0 for service in known),
        sum(service.desired or 0 for service in known),
        chosen=sum(len(step.plan.chosen) for step in steps),
        resumed=sum(step.plan.resumed_now for step in steps),
        draining=sum(len(step.plan.drains) for step in steps),
    )
    return f"{text}; {limits.pause.text}." if limits.pause else f"{text}."


def _explain_dry_run(steps: Sequence[ServiceStep], explanation: Explanation) -> list[ServiceStep]:
    """Explain the changes and make none of them: no write, no command to an agent."""
    for step in steps:
        decision = step.decision
        if decision.writes:
            text = f"Would set desired of {step.name}: {decision.observed} -> {decision.desired}"
            explanation.add("dry run", text, service=step.name, desired=decision.desired)
        if step.plan.chosen:
            explanation.add("dry run", f"Would drain {names(step.plan.chosen)}", chosen=len(step.plan.chosen))
        if step.plan.resumed_now:
            text = f"Would resume {count(step.plan.resumed_now, 'draining worker')}"
            explanation.add("dry run", text, resumed=step.plan.resumed_now)
    return [_without_changes(step) for step in steps]


def _without_changes(step: ServiceStep) -> ServiceStep:
    observed = step.decision.observed
    kind: Kind = "blind" if step.decision.kind == "blind" else "hold"
    expected = step.state.expected if observed is None else observed
    return replace(
        step,
        decision=replace(step.decision, desired=observed, drains=(), resumes=(), released=(), kind=kind),
        state=replace(step.state, drains={}, resumes={}, expected=expected, attempt=None),
    )
