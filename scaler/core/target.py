# SPDX-License-Identifier: Apache-2.0
"""The target number of workers of the whole fleet: demand, slots, window, fallback, adopted drift, zero, bounds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from scaler.core import bounds, demand_metric, look_ahead, policy
from scaler.core import demand as demands
from scaler.core.bounds import Limits
from scaler.core.demand import Taken
from scaler.core.explain import Explanation, count
from scaler.core.explain_look_ahead import explain_accuracy, explain_sources
from scaler.core.forecast.accuracy import Accuracy, Look, Seen, as_requested, follow
from scaler.core.model import FleetPolicy, Known, Observation, Unknown
from scaler.core.service_plan import ServiceView, detect_drift
from scaler.core.state import Demand, FleetState, Value
from scaler.core.workers import starts_fail


@dataclass(frozen=True, slots=True)
class DecisionInput:
    """The input of one decision, and its explanation."""

    fleet: FleetPolicy
    observation: Observation
    limits: Limits
    services: Sequence[ServiceView]
    current: ServiceView | None
    """The service that starts new workers; None when it is unknown."""
    now: float
    explanation: Explanation

    @property
    def older(self) -> list[ServiceView]:
        """The services that start no new workers, the newest first."""
        rest = [view for view in self.services if view is not self.current]
        return sorted(rest, key=lambda view: (-(view.service.revision if view.service else 0), view.name))


@dataclass(frozen=True, slots=True)
class FleetTarget:
    """The target number of workers, and its origin."""

    demand: Demand | None
    needed: int | None
    slots_per_worker: int | None
    target: int
    launch_target: int
    """The target for new workers: old workers that are only kept, because the window is not over or a source is
    unknown, need no replacement."""
    may_shrink: bool


def assess(inputs: DecisionInput, state: FleetState) -> tuple[FleetTarget, FleetState]:
    """Return the target of the whole fleet, and its next state."""
    fleet, limits, now, explanation = inputs.fleet, inputs.limits, inputs.now, inputs.explanation
    demand, needed, slots_per_worker, state = _need(inputs, state)
    adopted = _adopt(inputs, state)
    if limits.fixed:
        for step in limits.steps:
            explanation.append(step)
        explanation.add("fixed", f"Fixed at {count(limits.maximum, 'worker')}: demand not used", fixed=limits.maximum)
        fixed = FleetTarget(demand, needed, slots_per_worker, limits.maximum, limits.maximum, may_shrink=True)
        return fixed, _measure_launches(inputs, replace(state, zero_ticks=0, adopted=adopted))
    capacity, serving = _serving(inputs)
    known = demand is not None and demand.may_shrink
    may_shrink = known and state.window.full(now, fleet.window_s)
    # Workers that do not answer raise a fleet, but no other worker is kept in their place; while tasks wait, a fleet
    # below the need would grow again in the next tick.
    counted = needed if demand is not None and demand.queued else _workers(demand, slots_per_worker)
    target = policy.stabilize(
        fleet, needed, counted, serving, state.window, now, may_shrink=known, explanation=explanation
    )
    if demand is not None and needed is not None and slots_per_worker is not None:
        ahead, state = _look_ahead(inputs, demand, needed, slots_per_worker, state)
        if ahead is not None:
            target = ahead if known or ahead > serving else max(ahead, serving)
            # The forecast shows that no worker is needed soon: two readings of the sources suffice.
            may_shrink = known and state.window.known_s(now) >= fleet.pace_s
    if demand is None:
        target, may_shrink = policy.fall_back(fleet.fallback, target, state.unknown_since, now, explanation)
    if adopted is not None and adopted[0] > target:
        target = adopted[0]
        text = f"Desired count drift: {target} adopted for one scale-in window"
        explanation.add("adopted", text, adopted=target)
    zero_ticks = 0
    if limits.minimum == 0:
        target, zero_ticks = policy.scale_to_zero(
            inputs.observation,
            [view.workers for view in inputs.services],
            target,
            empty=_empty(inputs),
            unread=(demand is None or (not known and not demand.slots)) and not _loaded(inputs),
            agreed_ticks=state.zero_ticks,
            explanation=explanation,
        )
    target = bounds.bound(limits, target, serving, may_shrink=may_shrink, explanation=explanation)
    launch_target = target if target > serving else min(target, max(capacity, needed or 0, limits.minimum))
    # A fleet in a rollout may have more workers than its maximum; it keeps them, but starts no more.
    launch_target = min(launch_target, max(limits.maximum, inputs.current.capacity if inputs.current else 0))
    found = FleetTarget(demand, needed, slots_per_worker, target, launch_target, may_shrink=may_shrink)
    return found, _measure_launches(inputs, replace(state, zero_ticks=zero_ticks, adopted=adopted))


def _need(inputs: DecisionInput, state: FleetState) -> tuple[Demand | None, int | None, int | None, FleetState]:
    """Return the demand, the workers it needs, the slots per worker, and the next state."""
    fleet, now = inputs.fleet, inputs.now
    current = inputs.current.workers if inputs.current else None
    others = [view.workers for view in inputs.older if view.workers is not None]
    slots, source = policy.slots_per_worker(fleet, current, others)
    taken = Taken(
        slots * sum(_unread(view) for view in inputs.services),
        slots * sum(_unlisted(view) for view in inputs.services),
    )
    demand, state = demands.assess(fleet, inputs.observation, state, now, taken, inputs.explanation)
    needed = slots_per_worker = unknown_since = None
    demand = demand_metric.combine(fleet, demand, inputs.observation, inputs.explanation)
    if demand is None:
        unknown_since = now if state.unknown_since is None else min(state.unknown_since, now)
    else:
        slots_per_worker = slots
        needed = policy.slots_to_workers(demand, slots, source, inputs.explanation)
    known = demand is not None and demand.may_shrink
    window = policy.remember(fleet, state.window, _workers(demand, slots_per_worker), now, known=known)
    state = replace(state, window=window, unknown_since=unknown_since)
    return demand, needed, slots_per_worker, state


def _look_ahead(
    inputs: DecisionInput, demand: Demand, needed: int, slots_per_worker: int, state: FleetState
) -> tuple[int | None, FleetState]:
    """Return the target of the look-ahead, None without a forecast that was made in this tick, and the next state."""
    settings, forecast = inputs.fleet.look_ahead, inputs.observation.forecast
    if settings is None or forecast is None or demand.stale:
        return None, state
    if not isinstance(forecast, Known):
        why = forecast.reason if isinstance(forecast, Unknown) else f"{forecast.age_s:.0f} s old"
        inputs.explanation.add("look-ahead", f"Forecast unknown ({why}): not used", known=False)
        return None, state
    expected = forecast.value
    # Demand that the plan does not show, such as plain Celery tasks, is expected to last.
    more = max(0, demand.slots - expected.present)
    if more:
        expected = replace(expected, slots=tuple(slots + more for slots in expected.slots))
    launch_s = look_ahead.launch_latency_s(settings, state.launch_latencies) + inputs.fleet.pace_s
    capacity = _capacity(inputs, slots_per_worker, launch_s, expected.busy_s)
    planned, gap_s = capacity, inputs.fleet.knowledge_gap_s
    if settings.shadow:
        planned = as_requested(state.accuracy, capacity, inputs.limits.minimum, launch_s, inputs.now, gap_s)
    found = look_ahead.find_target(settings, expected, planned, launch_s)
    target, until = found.workers, f"{count(found.keep, 'worker')} until others could start"
    text = f"{count(found.launch, 'worker')} worth their cost in {launch_s:.0f} s, {until}"
    if found.headroom:
        text += f", {found.headroom} of them free for runs that people may start"
    values: dict[str, Value] = {"launch": found.launch, "keep": found.keep, "launch_s": launch_s, "beside_plan": more}
    values["headroom"] = found.headroom
    if expected.waiting_s > launch_s and needed > target:
        # The forecast was wrong: what waits longer than a launch gets a worker.
        target = needed
        text += f"; a task has waited for {expected.waiting_s:.0f} s: {needed}"
    if settings.shadow:
        text = f"Shadow, not used: {text}"
    inputs.explanation.add("look-ahead", text, **values)
    explain_sources(expected, inputs.explanation)
    at_launch = expected.slots[min(len(expected.slots) - 1, round(launch_s / expected.step_s))]
    look = Look(found.launch, found.keep, at_launch, launch_s)
    accuracy = _follow(inputs, demand, needed, look, capacity, state)
    explain_accuracy(accuracy, inputs.explanation, shadow=settings.shadow)
    return None if settings.shadow else target, replace(state, accuracy=accuracy)


def _follow(
    inputs: DecisionInput, demand: Demand, needed: int, look: Look, capacity: look_ahead.Capacity, state: FleetState
) -> Accuracy:
    """Return the accuracy of the look-ahead with this tick."""
    limits, views = inputs.limits, inputs.services
    # The forecast counts no task on a worker that drains.
    leaving = sum(worker.load for view in views if view.workers for worker in view.workers.of("draining", "released"))
    seen = Seen(
        slots=max(0, demand.slots - leaving),
        queued=demand.queued,
        running=demand.running,
        needed=min(limits.maximum, max(limits.minimum, needed)),
        serving=capacity.serving,
        slots_per_worker=capacity.slots,
    )
    return follow(state.accuracy, look, seen, inputs.now, inputs.fleet.knowledge_gap_s)


def busy_s(inputs: DecisionInput) -> Mapping[str, float]:
    """Return until when the forecast expects each worker to be busy, if it may be used."""
    settings, forecast = inputs.fleet.look_ahead, inputs.observation.forecast
    if settings is None or settings.shadow or not isinstance(forecast, Known):
        return {}
    return forecast.value.busy_s


def _measure_launches(inputs: DecisionInput, state: FleetState) -> FleetState:
    """Return the state with the latencies of the workers that consume for the first time.

    From the next tick on: the forecast of this one was made for the latency that was known before it.
    """
    seen = [
        inputs.now - view.state.launching[worker.arn]
        for view in inputs.services
        if view.workers
        for worker in view.workers.of("consuming")
        if worker.arn in view.state.launching and not worker.served and not worker.resumed
    ]
    if not seen:
        return state
    return replace(state, launch_latencies=(*state.launch_latencies, *seen)[-look_ahead.LATENCIES :])


def _capacity(inputs: DecisionInput, slots: int, launch_s: float, busy: Mapping[str, float]) -> look_ahead.Capacity:
    """Return the workers of all services as the look-ahead counts them."""
    serving = draining = staying = 0
    arriving: list[float] = []
    for view in inputs.services:
        workers = view.workers
        if workers is None:
            serving += view.service.running if view.service else 0
            continue
        resumed = sum(1 for worker in workers.of("launching") if worker.resumed)
        serving += len(workers.of("consuming", "unknown")) + resumed
        draining += len(workers.of("draining", "released"))
        # It can be resumed for as long as a launch takes.
        staying += sum(1 for worker in workers.of("draining") if busy.get(worker.arn.rpartition("/")[2], 0) >= launch_s)
        since = view.state.launching
        arriving += [
            launch_s - (inputs.now - since.get(worker.arn, inputs.now))
            for worker in workers.of("launching")
            if not (worker.resumed or worker.failing)
        ]
        if view.service is not None and not starts_fail(inputs.fleet, view.state, inputs.now):
            arriving += [launch_s] * max(0, view.service.desired - len(workers.all))
    return look_ahead.Capacity(serving, draining, staying, tuple(arriving), slots, inputs.limits.maximum)


def _workers(demand: Demand | None, slots: int | None) -> int | None:
    """Return the workers for the counted tasks, without the slots of workers that do not answer."""
    return None if demand is None or slots is None else -(-(demand.slots - demand.unread) // slots)


def _unread(view: ServiceView) -> int:
    """Return the workers of a service that count as capacity and do not answer: they may be busy or dead."""
    return sum(1 for worker in view.workers.all if worker.unread) if view.workers else 0


def _unlisted(view: ServiceView) -> int:
    """Return the workers of a service whose tasks ECS does not list: they may be busy."""
    if view.workers is not None:
        return 0
    return view.service.running if view.service else view.state.expected or 0


def _adopt(inputs: DecisionInput, state: FleetState) -> tuple[int, float] | None:
    """Return a drifted desired count and its time, if the fleet adopts drift, for one window."""
    adopted, length_s = state.adopted, inputs.fleet.scale_in_window_s
    if adopted is not None and not 0 <= inputs.now - adopted[1] < length_s:
        adopted = None
    view = inputs.current
    if view is not None and inputs.fleet.desired_count_drift == "adopt":
        drift, _ = detect_drift(view)
        if drift is not None and view.state.expected is not None:
            adopted = (drift, inputs.now) if drift > view.state.expected else None
    return adopted


def _serving(inputs: DecisionInput) -> tuple[int, int]:
    """Return the planned workers of the current service, and of all services, draining workers not counted."""
    old = sum(view.capacity for view in inputs.older)
    capacity, consuming = (inputs.current.capacity, inputs.current.consuming) if inputs.current else (0, 0)
    return capacity, max(capacity, consuming + old)


def _loaded(inputs: DecisionInput) -> bool:
    """Whether an agent reports a task."""
    return any(worker.load for view in inputs.services if view.workers for worker in view.workers.running)


def _empty(inputs: DecisionInput) -> bool:
    """Whether the fleet has no worker and its desired count is 0."""
    return all(
        view.service is not None and view.service.desired == 0 and not (view.workers and view.workers.protected_minimum)
        for view in inputs.services
    )
