# SPDX-License-Identifier: Apache-2.0
"""One service of a fleet: from its share of the workers target to drains, calls back and an absolute desired count."""

from __future__ import annotations

from dataclasses import dataclass, replace

from scaler.core import drain
from scaler.core.drain import ServiceShare
from scaler.core.explain import Explanation, count, names
from scaler.core.model import Fleet, ServiceObservation, Known, Service, Unknown
from scaler.core.state import Attempt, ServiceDecision, ServiceState, Kind, WorkerCounts
from scaler.core.workers import ClassifiedWorkers, classify_workers

VAIN_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class ServiceView:
    """One service as this tick sees it."""

    name: str
    seen: ServiceObservation
    memory: ServiceState
    service: Service | None
    """None when it is not known in this tick."""
    roster: ClassifiedWorkers | None
    """None when its tasks are not known in this tick."""

    places: int
    """How many workers the service is meant to have now, those in drain and those stuck not counted."""
    consuming: int
    """How many workers take tasks, as far as is known."""

    @property
    def asked(self) -> int:
        """Tasks asked for that ECS does not run yet; negative where it runs more than are asked for."""
        if self.service is None:
            return 0
        running = len(self.roster.running) if self.roster else self.service.running
        return self.service.desired - running


@dataclass(frozen=True, slots=True)
class ServiceStep:
    """What is to be done with a service, and what to remember of it."""

    name: str
    decision: ServiceDecision
    memory: ServiceState
    plan: drain.DrainPlan
    why: str = ""
    """Why nothing is known of it."""
    promised: int = 0
    """How many workers serve or are on their way and have not been for too long."""


@dataclass(frozen=True, slots=True)
class _Proposal:
    desired: int
    kind: Kind
    protected_minimum: int | None
    released: tuple[str, ...] = ()


def view_service(fleet: Fleet, name: str, seen: ServiceObservation, memory: ServiceState, now: float) -> ServiceView:
    """Bring together what is known of a service."""
    service = seen.service.value if isinstance(seen.service, Known) else None
    roster = classify_workers(fleet, seen, memory, now)
    short_since = _short_since(service, roster, memory, now) if service else memory.short_since
    if short_since != memory.short_since:
        memory = replace(memory, short_since=short_since)
    places = service.desired if service else 0
    if service is not None and roster is not None:
        places = max(0, places - drain.places_lost(roster, service.desired))
    return ServiceView(name, seen, memory, service, roster, places, len(roster.of("consuming")) if roster else 0)


def detect_drift(view: ServiceView) -> tuple[int | None, str]:
    """Compare a service with what was last decided; return somebody else's count, and words for what is odd."""
    if view.service is None:
        return None, ""
    observed, attempt, expected = view.service.desired, view.memory.attempt, view.memory.expected
    if attempt is not None and observed == attempt.instead_of:
        return None, f"Desired still {observed} after {count(attempt.count, 'attempt')} to set {attempt.desired}"
    if expected is not None and observed != expected:
        return observed, f"Desired count drift: {observed}, expected {expected}"
    return None, ""


def plan_service(
    fleet: Fleet, view: ServiceView, share: ServiceShare, explanation: Explanation, now: float
) -> ServiceStep:
    """Return what to do with a service, and what to remember of it."""
    if view.service is None:
        return _blind(view, explanation, now)
    foreign, _ = detect_drift(view)
    plan = drain.DrainPlan(tuple(sorted(view.memory.drains)), (), tuple(sorted(view.memory.resumes)))
    if view.roster is not None:
        may_drain = share.may_drain and isinstance(view.seen.protected, Known)
        plan = drain.plan(view.service, view.roster, share, may_drain=may_drain, explanation=explanation)
    target = _target(fleet, view, view.service, share, plan, explanation, now)
    decision = ServiceDecision(
        desired=target.desired,
        observed=view.service.desired,
        drains=plan.drains,
        resumes=plan.resumes,
        released=target.released,
        kind=target.kind,
        protected_minimum=target.protected_minimum,
        workers=view.roster.counts() if view.roster else WorkerCounts(),
        desired_count_drift=foreign,
    )
    memory = _remember(view, view.service, decision, now)
    promised = _promised(fleet, view, view.service, target.desired, memory.attempt, plan.called, now)
    return ServiceStep(view.name, decision, memory, plan, promised=promised)


def _target(
    fleet: Fleet,
    view: ServiceView,
    service: Service,
    share: ServiceShare,
    plan: drain.DrainPlan,
    explanation: Explanation,
    now: float,
) -> _Proposal:
    """Turn workers target into the absolute desired count: raise, respect protection, or reduce."""
    roster, desired = view.roster, service.desired
    if roster is None:
        explanation.add("protection", "Tasks unknown: desired is not lowered", tasks_known=False)
        target = _within(desired, max(desired, share.target), share, explanation)
        return _Proposal(target, "grow" if target > desired else "hold", None)
    lost = max(0, drain.places_lost(roster, desired) - plan.called)
    if stuck := roster.of("stuck"):
        late = f"{count(len(stuck), 'worker')} not consuming after {fleet.launch_deadline_s:.0f} s"
        text = f"{late}, not counted: {names([worker.arn for worker in stuck])}"
        explanation.add("launch", text, stuck=len(stuck))
    # A place lost to a drain or a stuck launch is made good, but never above the maximum.
    proposal = _within(desired, max(share.target, min(share.maximum, share.target + lost)), share, explanation)
    protected_minimum, why = drain.protected_minimum(service, roster, frozenset(plan.resumes), share.fresh)
    if protected_minimum > desired and protected_minimum >= proposal:
        above = f", above the maximum of {share.maximum}" if protected_minimum > share.maximum else ""
        explanation.add(
            "protection", f"{why}: desired raised to {protected_minimum}{above}", protected_minimum=protected_minimum
        )
        return _Proposal(protected_minimum, "protect", protected_minimum)
    explanation.add("protection", f"{why}: desired at least {protected_minimum}", protected_minimum=protected_minimum)
    if proposal > desired:
        return _Proposal(proposal, "grow", protected_minimum)
    hold = _Proposal(desired, "resume" if plan.called else "drain" if plan.chosen else "hold", protected_minimum)
    if not share.may_drain or plan.resumes:
        return hold
    short_s = 0.0 if view.memory.short_since is None else now - view.memory.short_since
    released = drain.reducible(fleet, view.seen, roster, short_s, explanation)
    # Who is still in drain keeps a place, else the count would creep below what is target where launches fail.
    lowest = max(protected_minimum, share.target, min(share.maximum, share.target + len(roster.of("draining"))))
    if released is None or lowest >= desired:
        return hold
    text = f"{count(len(released), 'released worker')}, no other worker unprotected: desired {desired} -> {lowest}"
    explanation.add("reduce", text, blocked=False, released=len(released), desired=lowest)
    return _Proposal(lowest, "shrink", protected_minimum, released)


def _within(desired: int, proposal: int, share: ServiceShare, explanation: Explanation) -> int:
    """Return the proposal, no further above what is desired than there is room."""
    if proposal <= desired + share.room:
        return proposal
    limited = desired + share.room
    if share.room_words:
        text = f"{proposal} workers needed, limited to {limited}: {share.room_words}"
        explanation.add("launch", text, proposal=proposal, limited=limited)
    return limited


def _blind(view: ServiceView, explanation: Explanation, now: float) -> ServiceStep:
    """Decide without the service: drains are kept alive, nothing is written."""
    service, roster = view.seen.service, view.roster
    why = service.reason if isinstance(service, Unknown) else "stale reading"
    explanation.add("service", f"Service unknown ({why}): no write", known=False)
    held, back = tuple(sorted(view.memory.drains)), tuple(sorted(view.memory.resumes))
    if roster is not None:
        held = tuple(worker.arn for worker in roster.of("draining", "released"))
        back = tuple(worker.arn for worker in roster.of("launching", "stuck") if worker.resumed)
    decision = ServiceDecision(
        desired=None,
        observed=None,
        drains=held,
        resumes=back,
        released=(),
        kind="blind",
        protected_minimum=roster.protected_minimum if roster else None,
        workers=roster.counts() if roster else WorkerCounts(),
    )
    return ServiceStep(view.name, decision, _remember(view, None, decision, now), drain.DrainPlan(held, (), back), why)


def _promised(
    fleet: Fleet, view: ServiceView, service: Service, decided: int, attempt: Attempt | None, called: int, now: float
) -> int:
    """Return how many workers serve or may be counted on to serve soon."""
    roster = view.roster
    # A count that ECS does not take, however often it is written, brings nobody.
    more = 0 if attempt is not None and attempt.count >= VAIN_ATTEMPTS else max(0, decided - service.desired)
    if roster is None:
        return service.desired + more
    if roster.of("stuck"):
        more = 0  # stand-ins for those who never came are no promise
    short_s = 0.0 if view.memory.short_since is None else now - view.memory.short_since
    absent = service.desired - len(roster.workers) if short_s < fleet.launch_deadline_s else 0
    return len(roster.of("launching", "consuming", "unknown")) + called + max(0, absent) + more


def _remember(view: ServiceView, service: Service | None, decision: ServiceDecision, now: float) -> ServiceState:
    memory, roster = view.memory, view.roster
    expected, attempt = memory.expected, memory.attempt
    if service is not None:
        # Another target does not make a count that stands still a new one.
        tries = attempt.count if attempt is not None and attempt.instead_of == service.desired else 0
        expected, attempt = decision.desired, None
        if decision.writes and decision.desired is not None:
            attempt = Attempt(decision.desired, service.desired, tries + 1)
    if roster is None:
        return replace(memory, expected=expected, attempt=attempt)
    launching = roster.of("launching", "stuck")
    return replace(
        memory,
        drains={arn: memory.drains.get(arn, now) for arn in decision.drains},
        resumes={arn: memory.resumes.get(arn, now) for arn in decision.resumes},
        launching={worker.arn: memory.launching.get(worker.arn, now) for worker in launching},
        idle={worker.arn: worker.since for worker in roster.of("consuming") if not worker.load},
        expected=expected,
        attempt=attempt,
    )


def _short_since(service: Service, roster: ClassifiedWorkers | None, memory: ServiceState, now: float) -> float | None:
    """Since when ECS has fewer tasks than desired and none on the way up."""
    if roster is None:
        return memory.short_since
    if len(roster.workers) >= service.desired or any(not worker.never_started for worker in roster.pending):
        return None
    return now if memory.short_since is None else memory.short_since
