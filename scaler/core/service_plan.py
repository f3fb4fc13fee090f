# SPDX-License-Identifier: Apache-2.0
"""The plan of one service: from its share of the target to drains, resumes and an absolute desired count."""

from dataclasses import dataclass, replace

from scaler.core import drain, silent
from scaler.core.drain import DrainPlan, ServiceShare
from scaler.core.explain import Explanation, count, names
from scaler.core.model import FleetPolicy, Known, Service, ServiceObservation, Unknown
from scaler.core.state import Attempt, Kind, ServiceDecision, ServiceState, WorkerCounts
from scaler.core.workers import ClassifiedWorkers, classify_workers, starts_fail

FAILED_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class ServiceView:
    """One service in this tick."""

    name: str
    observation: ServiceObservation
    state: ServiceState
    service: Service | None
    """None when it is unknown in this tick."""
    workers: ClassifiedWorkers | None
    """None when its tasks are unknown in this tick."""

    capacity: int
    """The planned number of workers, draining and stuck workers not counted."""
    consuming: int
    """The number of workers known to consume."""

    @property
    def requested(self) -> int:
        """Tasks requested and not running yet; negative if ECS runs more than the desired count."""
        if self.service is None:
            return 0
        running = len(self.workers.running) if self.workers else self.service.running
        return self.service.desired - running


@dataclass(frozen=True, slots=True)
class ServiceStep:
    """The decision for one service, and its next state."""

    name: str
    decision: ServiceDecision
    state: ServiceState
    plan: DrainPlan
    unknown_reason: str = ""
    """Why the service is unknown."""
    serving_soon: int = 0
    """How many workers serve, or start and are not late."""


@dataclass(frozen=True, slots=True)
class _Proposal:
    desired: int
    kind: Kind
    protected_minimum: int | None
    released: tuple[str, ...] = ()


def view_service(
    fleet: FleetPolicy, name: str, observation: ServiceObservation, state: ServiceState, now: float
) -> ServiceView:
    """Combine the readings of a service."""
    service = observation.service.value if isinstance(observation.service, Known) else None
    workers = classify_workers(fleet, observation, state, now)
    if service is not None and workers is not None:
        failing_since = _failing_since(service, workers, state, now)
        if failing_since != state.failing_since:
            state = replace(state, failing_since=failing_since)
    capacity = service.desired if service else 0
    if service is not None and workers is not None:
        capacity = max(0, capacity - drain.places_lost(workers, service.desired))
    consuming = len(workers.of("consuming")) if workers else 0
    return ServiceView(name, observation, state, service, workers, capacity, consuming)


def detect_drift(view: ServiceView) -> tuple[int | None, str]:
    """Compare a service with the last decision; return a drifted desired count, and a text about any difference."""
    if view.service is None:
        return None, ""
    observed, attempt, expected = view.service.desired, view.state.attempt, view.state.expected
    if attempt is not None and observed == attempt.instead_of:
        return None, f"Desired still {observed} after {count(attempt.count, 'attempt')} to set {attempt.desired}"
    if expected is not None and observed != expected:
        return observed, f"Desired count drift: {observed}, expected {expected}"
    return None, ""


def plan_service(
    fleet: FleetPolicy, view: ServiceView, share: ServiceShare, explanation: Explanation, now: float
) -> ServiceStep:
    """Return the decision for a service, and its next state."""
    if view.service is None:
        return _plan_unknown_service(view, explanation, now)
    drift, _ = detect_drift(view)
    plan = DrainPlan(tuple(sorted(view.state.drains)), (), tuple(sorted(view.state.resumes)))
    if view.workers is not None:
        may_drain = share.may_drain and isinstance(view.observation.protected, Known)
        plan = drain.plan_drains(view.service, view.workers, share, may_drain=may_drain, explanation=explanation)
    proposal = _propose(fleet, view, view.service, share, plan, explanation, now)
    decision = ServiceDecision(
        desired=proposal.desired,
        observed=view.service.desired,
        drains=plan.drains,
        resumes=plan.resumes,
        released=proposal.released,
        kind=proposal.kind,
        protected_minimum=proposal.protected_minimum,
        workers=view.workers.counts() if view.workers else WorkerCounts(),
        desired_count_drift=drift,
    )
    state = _next_state(view, view.service, decision, now)
    soon = _serving_soon(fleet, view, view.service, proposal.desired, state.attempt, plan.resumed_now, now)
    return ServiceStep(view.name, decision, state, plan, serving_soon=soon)


def _propose(
    fleet: FleetPolicy,
    view: ServiceView,
    service: Service,
    share: ServiceShare,
    plan: DrainPlan,
    explanation: Explanation,
    now: float,
) -> _Proposal:
    """Turn the share into the absolute desired count: raise it, respect protection, or lower it."""
    workers, desired = view.workers, service.desired
    if workers is None:
        explanation.add("protection", "Tasks unknown: desired is not lowered", tasks_known=False)
        proposal = _within_launch_room(desired, max(desired, share.target), share, explanation)
        return _Proposal(proposal, "grow" if proposal > desired else "hold", None)
    lost = max(0, drain.places_lost(workers, desired) - plan.resumed_now)
    if stuck := workers.of("stuck"):
        late = f"{count(len(stuck), 'worker')} not consuming after {fleet.launch_deadline_s:.0f} s"
        text = f"{late}, not counted: {names([worker.arn for worker in stuck])}"
        explanation.add("launch", text, stuck=len(stuck))
    # The place of a draining or stuck worker is replaced, but never above the maximum.
    needed = max(share.target, min(share.maximum, share.target + lost))
    proposal = _within_launch_room(desired, needed, share, explanation)
    minimum, why = drain.protected_minimum(service, workers, frozenset(plan.resumes), share.rolling)
    if minimum > desired and minimum >= proposal:
        above = f", above the maximum of {share.maximum}" if minimum > share.maximum else ""
        explanation.add("protection", f"{why}: desired raised to {minimum}{above}", protected_minimum=minimum)
        return _Proposal(minimum, "protect", minimum)
    if minimum:
        explanation.add("protection", f"{why}: desired at least {minimum}", protected_minimum=minimum)
    if proposal > desired:
        return _Proposal(proposal, "grow", minimum)
    hold = _Proposal(desired, "resume" if plan.resumed_now else "drain" if plan.chosen else "hold", minimum)
    if not share.may_drain or plan.resumes:
        return hold
    failing = starts_fail(fleet, view.state, now)
    released = drain.reducible(view.observation, workers, failing=failing, explanation=explanation)
    # A draining worker keeps its place; else the count would fall below the target when launches fail.
    lowest = max(minimum, share.target, min(share.maximum, share.target + len(workers.of("draining"))))
    if released is None or lowest >= desired:
        return hold
    text = f"{count(len(released), 'released worker')}, no other worker unprotected: desired {desired} -> {lowest}"
    explanation.add("reduce", text, blocked=False, released=len(released), desired=lowest)
    return _Proposal(lowest, "shrink", minimum, released)


def _within_launch_room(desired: int, proposal: int, share: ServiceShare, explanation: Explanation) -> int:
    """Return the proposal, limited to the present desired count plus the launch room."""
    limit = desired + share.launch_room
    if proposal <= limit:
        return proposal
    if share.launch_limit:
        text = f"{proposal} workers needed, limited to {limit}: {share.launch_limit}"
        explanation.add("launch", text, proposal=proposal, limit=limit)
    return limit


def _plan_unknown_service(view: ServiceView, explanation: Explanation, now: float) -> ServiceStep:
    """Decide without the service: drains are posted again, there is no write."""
    service, workers = view.observation.service, view.workers
    why = service.reason if isinstance(service, Unknown) else "stale reading"
    explanation.add("service", f"Service unknown ({why}): no write", known=False)
    drains, resumes = tuple(sorted(view.state.drains)), tuple(sorted(view.state.resumes))
    if workers is not None:
        drains = tuple(worker.arn for worker in workers.of("draining", "released"))
        resumes = tuple(worker.arn for worker in workers.of("launching", "stuck") if worker.resumed)
    decision = ServiceDecision(
        desired=None,
        observed=None,
        drains=drains,
        resumes=resumes,
        released=(),
        kind="blind",
        protected_minimum=workers.protected_minimum if workers else None,
        workers=workers.counts() if workers else WorkerCounts(),
    )
    state = _next_state(view, None, decision, now)
    return ServiceStep(view.name, decision, state, DrainPlan(drains, (), resumes), why)


def _serving_soon(
    fleet: FleetPolicy,
    view: ServiceView,
    service: Service,
    decided: int,
    attempt: Attempt | None,
    resumed: int,
    now: float,
) -> int:
    """Return how many workers serve, or will probably serve soon."""
    workers = view.workers
    # A count that ECS does not accept after several attempts starts no worker.
    more = 0 if attempt is not None and attempt.count >= FAILED_ATTEMPTS else max(0, decided - service.desired)
    if workers is None:
        return service.desired + more
    absent = max(0, service.desired - len(workers.all))
    if failing := starts_fail(fleet, view.state, now):
        absent = 0
    if failing or workers.of("stuck"):
        more = 0  # replacements of workers that never started do not count
    return len(workers.serving_soon) + resumed + absent + more


def _next_state(view: ServiceView, service: Service | None, decision: ServiceDecision, now: float) -> ServiceState:
    state, workers = view.state, view.workers
    expected, attempt = state.expected, state.attempt
    if service is not None:
        # A new target does not reset the attempts while the observed count stays the same.
        tries = attempt.count if attempt is not None and attempt.instead_of == service.desired else 0
        expected, attempt = decision.desired, None
        if decision.writes and decision.desired is not None:
            attempt = Attempt(decision.desired, service.desired, tries + 1)
    if workers is None:
        return replace(state, expected=expected, attempt=attempt)
    launching = workers.of("launching", "stuck")
    return replace(
        state,
        silent=silent.silent_since(workers, state.silent, now),
        drains={arn: state.drains.get(arn, now) for arn in decision.drains},
        resumes={arn: state.resumes.get(arn, now) for arn in decision.resumes},
        launching={worker.arn: state.launching.get(worker.arn, now) for worker in launching},
        idle={worker.arn: worker.idle_since for worker in workers.of("consuming") if not worker.load},
        served={
            worker.arn: state.served.get(worker.arn, now)
            for worker in workers.all
            if worker.served or worker.role == "consuming"
        },
        expected=expected,
        attempt=attempt,
    )


def _failing_since(service: Service, workers: ClassifiedWorkers, state: ServiceState, now: float) -> float | None:
    """Return since when ECS has workers to start and none of them has begun to consume.

    A start that ECS tries again is a new task each time, so its own time is always short.
    """
    if len(workers.all) - len(workers.starting) >= service.desired:
        return None
    # It may begin to consume between two ticks, or before ECS lists it.
    succeeded = any(not worker.served for worker in workers.of("consuming"))
    return now if succeeded or state.failing_since is None else state.failing_since
