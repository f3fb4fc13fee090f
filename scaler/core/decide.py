# SPDX-License-Identifier: Apache-2.0
"""`decide`: one fleet, one observation, what is remembered, now -> what to do and why.

The same input gives the same output, so every tick can be recorded and replayed. The steps stand in the order of the
explanation: demand, slots, window, zero, bounds, drain, desired, protection, reduce.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from scaler.core import demand as demands
from scaler.core import drain, policy
from scaler.core.explain import Trail, count, names, sentence
from scaler.core.model import Fleet, Known, Observation, Service, Unknown
from scaler.core.roster import Roster, muster
from scaler.core.state import Attempt, Decision, Demand, Kind, State, WorkerCounts


@dataclass(frozen=True, slots=True)
class _Tick:
    """The input of one decision, and the trail it leaves."""

    fleet: Fleet
    observation: Observation
    now: float
    roster: Roster | None
    trail: Trail


@dataclass(frozen=True, slots=True)
class _Want:
    """How many workers are wanted, and what led there."""

    demand: Demand | None
    needed: int | None
    wanted: int
    may_shrink: bool
    settled: bool
    """A whole window of knowledge lies behind."""


@dataclass(frozen=True, slots=True)
class _Desired:
    desired: int
    kind: Kind
    floor: int | None
    released: tuple[str, ...]


def decide(fleet: Fleet, observation: Observation, state: State, now: float) -> tuple[Decision, State]:
    """Return what to do with the fleet now, and what to remember; nothing here does anything."""
    tick = _Tick(fleet, observation, now, muster(fleet, observation, state, now), Trail())
    if not isinstance(observation.service, Known):
        return _blind(tick, state)
    service, roster = observation.service.value, tick.roster
    state = replace(state, short_since=_short_since(service, roster, state, now))
    foreign, unanswered = policy.notice(state, service.desired, tick.trail)
    lost = drain.places_lost(roster, service.desired) if roster else 0
    want, state = _want(tick, state, service.desired, service.desired - lost)
    drains = drain.Plan(tuple(sorted(state.drains)), (), tuple(sorted(state.resumes)))
    if roster is not None:
        may_drain = want.may_shrink and want.settled and isinstance(observation.protected, Known)
        drains = drain.plan(roster, want.wanted, service.desired, may_drain=may_drain, trail=tick.trail)
    target = _desired(tick, service, state, want, drains)
    decision = _decision(tick, service, want, drains, target, foreign)
    attempt = None
    if decision.writes:
        again = unanswered if unanswered is not None and unanswered.desired == target.desired else None
        attempt = Attempt(target.desired, service.desired, again.count + 1 if again else 1)
    state = _remember(state, roster, drains, now)
    return decision, replace(state, expected=target.desired, attempt=attempt)


def _want(tick: _Tick, state: State, desired: int, serving: int) -> tuple[_Want, State]:
    fleet, now, trail = tick.fleet, tick.now, tick.trail
    demand, needed, state = _need(tick, state)
    may_shrink = demand is not None and demand.may_shrink
    wanted = policy.hold_down(fleet, needed, serving, state.window, now, may_shrink=may_shrink, trail=trail)
    settled = state.window.full(now, fleet.scale_in_window_s)
    wanted, zero_seen = policy.zero(fleet, tick.observation, tick.roster, wanted, desired, state.zero_seen, trail)
    wanted = policy.bound(fleet, wanted, serving, may_shrink=may_shrink and settled, trail=trail)
    return _Want(demand, needed, wanted, may_shrink, settled), replace(state, zero_seen=zero_seen)


def _need(tick: _Tick, state: State) -> tuple[Demand | None, int | None, State]:
    """Return the demand, the workers it needs, and the state that remembers both."""
    fleet, now = tick.fleet, tick.now
    demand, broker_above = demands.assess(fleet, tick.observation, state, now, tick.trail)
    needed = None if demand is None else policy.slots_to_workers(fleet, demand, tick.roster, tick.trail)
    known = demand is not None and demand.may_shrink
    window = policy.remember(fleet, state.window, needed, now, known=known)
    return demand, needed, replace(state, window=window, broker_above_since=broker_above)


def _desired(tick: _Tick, service: Service, state: State, want: _Want, drains: drain.Plan) -> _Desired:
    """Turn workers wanted into the absolute desired count: raise, respect protection, or reduce."""
    fleet, roster, trail, desired = tick.fleet, tick.roster, tick.trail, service.desired
    if roster is None:
        trail.add("protection", "the tasks are unknown: desired is not lowered")
        return _Desired(max(desired, want.wanted), "grow" if want.wanted > desired else "hold", None, ())
    lost = max(0, drain.places_lost(roster, desired) - drains.called)
    # A place lost to a drain or a stuck launch is made good, but never above the maximum.
    proposal = max(want.wanted, min(fleet.maximum, want.wanted + lost))
    floor, why = drain.floor(fleet, service, roster, frozenset(drains.resumes), want.needed)
    if stuck := roster.of("stuck"):
        late = f"{count(len(stuck), 'worker')} not consuming after {fleet.launch_deadline_s:.0f} s"
        trail.add("launch", f"{late}, no longer counted: {names([worker.arn for worker in stuck])}")
    if floor > desired and floor >= proposal:
        above = f", above the maximum of {fleet.maximum}" if floor > fleet.maximum else ""
        trail.add("protection", f"{why}: desired must not be below {floor}{above}")
        return _Desired(floor, "protect", floor, ())
    trail.add("protection", f"{why}: desired may not go below {floor}")
    if proposal > desired:
        return _Desired(proposal, "grow", floor, ())
    hold = _Desired(desired, "resume" if drains.called else "drain" if drains.chosen else "hold", floor, ())
    if not (want.may_shrink and want.settled) or drains.resumes:
        return hold
    short_s = 0.0 if state.short_since is None else tick.now - state.short_since
    released = drain.reducible(fleet, tick.observation, roster, short_s, trail)
    lowest = max(want.wanted, floor)
    if released is None or lowest >= desired:
        return hold
    trail.add("reduce", f"{count(len(released), 'worker')} released, nobody else is unprotected: {desired} -> {lowest}")
    return _Desired(lowest, "shrink", floor, released)


def _decision(
    tick: _Tick, service: Service, want: _Want, drains: drain.Plan, target: _Desired, foreign: int | None
) -> Decision:
    workers = tick.roster.counts() if tick.roster else WorkerCounts()
    return Decision(
        desired=target.desired,
        observed=service.desired,
        drains=drains.drains,
        resumes=drains.resumes,
        released=target.released,
        kind=target.kind,
        reason=sentence(
            target.kind,
            service.desired,
            target.desired,
            want.demand,
            want.wanted,
            chosen=len(drains.chosen),
            called=drains.called,
            draining=len(drains.drains),
        ),
        explanation=tick.trail.lines(),
        demand=want.demand,
        needed=want.needed,
        floor=target.floor,
        workers=workers,
        foreign_desired=foreign,
    )


def _blind(tick: _Tick, state: State) -> tuple[Decision, State]:
    """Decide without the service: drains are kept alive, nothing is written, knowledge goes on being gathered."""
    service, roster = tick.observation.service, tick.roster
    why = service.reason if isinstance(service, Unknown) else "only an old reading"
    tick.trail.add("service", f"unknown ({why}): nothing is written")
    demand, needed, state = _need(tick, state)
    held, back = tuple(sorted(state.drains)), tuple(sorted(state.resumes))
    if roster is not None:
        held = tuple(worker.arn for worker in roster.of("draining", "released"))
        back = tuple(worker.arn for worker in roster.of("launching", "stuck") if worker.called_back)
    drains = drain.Plan(held, (), back)
    decision = Decision(
        desired=None,
        observed=None,
        drains=drains.drains,
        resumes=drains.resumes,
        released=(),
        kind="blind",
        reason=f"The service is unknown ({why}): nothing is written.",
        explanation=tick.trail.lines(),
        demand=demand,
        needed=needed,
        floor=roster.floor if roster else None,
        workers=roster.counts() if roster else WorkerCounts(),
    )
    return decision, _remember(replace(state, zero_seen=0), roster, drains, tick.now)


def _remember(state: State, roster: Roster | None, drains: drain.Plan, now: float) -> State:
    if roster is None:
        return state
    launching = roster.of("launching", "stuck")
    return replace(
        state,
        drains={arn: state.drains.get(arn, now) for arn in drains.drains},
        resumes={arn: state.resumes.get(arn, now) for arn in drains.resumes},
        launching={worker.arn: state.launching.get(worker.arn, now) for worker in launching},
        idle={worker.arn: worker.since for worker in roster.of("consuming") if not worker.load},
    )


def _short_since(service: Service, roster: Roster | None, state: State, now: float) -> float | None:
    """Since when ECS has fewer tasks than desired and none on the way up."""
    if roster is None:
        return state.short_since
    if len(roster.running) >= service.desired or roster.pending:
        return None
    return now if state.short_since is None else state.short_since
