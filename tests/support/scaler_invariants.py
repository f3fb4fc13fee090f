# SPDX-License-Identifier: Apache-2.0
"""What holds for every single decision, each stated from the observation and never from the scaler's own classing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

from scaler.core.decide import decide
from scaler.core.model import Known, Overrides, Service, ServiceObservation, Task, Unknown
from scaler.core.state import Decision, FleetState, ServiceDecision
from scaler.core.tick import Tick
from scaler.core.workers import PENDING
from scaler.reporting.tick_codec import from_json, to_json
from tests.support.observations import Moment

SILENCE_S = 60.0
LETTING_GO = {"draining", "releasing", "released"}


def service_in(seen: ServiceObservation) -> Service | None:
    return seen.service.value if isinstance(seen.service, Known) else None


def tasks_in(seen: ServiceObservation) -> tuple[Task, ...] | None:
    return seen.tasks.value if isinstance(seen.tasks, Known) else None


def phase_of(seen: ServiceObservation, arn: str) -> str | None:
    agent = seen.agents.get(arn)
    return agent.value.phase if isinstance(agent, Known) else None


def orders(moment: Moment) -> Overrides:
    """Return what is ordered; a scaler that has never read it behaves as if paused."""
    reading = moment.observation.overrides
    if isinstance(reading, Unknown):
        since = moment.state.overrides_unknown_since
        early = since is None or moment.now - since < SILENCE_S
        return Overrides(pause="both" if early else "in")
    return reading.value


def each(moment: Moment, decision: Decision) -> Iterator[tuple[str, ServiceObservation, ServiceDecision]]:
    for name, seen in moment.observation.services.items():
        yield name, seen, decision.services[name]


def unknown_never_lowers(moment: Moment, decision: Decision, after: FleetState) -> None:
    seen = moment.observation
    services = all(service_in(one) is not None for one in seen.services.values())
    demand = isinstance(seen.broker, Known) and (seen.database is None or isinstance(seen.database, Known))
    size_ordered = not isinstance(seen.overrides, Unknown) and (
        orders(moment).fixed is not None or (decision.demand is None and moment.fleet.fallback.mode == "fixed")
    )
    certain = services and (demand or size_ordered) and not isinstance(seen.overrides, Unknown)
    for name, one, do in each(moment, decision):
        if certain and isinstance(one.tasks, Known) and isinstance(one.protected, Known):
            continue
        assert not do.reduces, f"{name} was lowered on what is not known"
        says = {arn for arn in one.agents if phase_of(one, arn) in LETTING_GO}
        new = set(after.of(name).drains) - set(moment.state.of(name).drains) - says
        assert not new, f"{new} were told to drain on what is not known"


def within_bounds(moment: Moment, decision: Decision, after: FleetState) -> None:
    ordered = orders(moment)
    free = ordered.pause not in ("out", "both") and not ordered.dry_run and moment.fleet.launch_budget == 50
    for name, one, do in each(moment, decision):
        service = service_in(one)
        if service is None:
            assert do.desired is None
            continue
        assert do.desired is not None
        top = max(service.desired, do.protected_minimum or 0)
        if name == decision.current and ordered.pause not in ("out", "both"):
            top = max(top, decision.maximum)
        assert do.desired <= top, f"{name} is above the maximum, and neither protection nor a hand put it there"
        if name == decision.current and free:
            assert do.desired >= decision.minimum
    assert 0 <= decision.minimum <= decision.maximum


def never_below_protection(moment: Moment, decision: Decision, after: FleetState) -> None:
    for name, one, do in each(moment, decision):
        tasks, service = tasks_in(one), service_in(one)
        if service is None or tasks is None or not isinstance(one.protected, Known) or orders(moment).dry_run:
            continue
        assert do.desired is not None
        protected = one.protected.value
        assert do.desired >= len(protected), f"{name}: ECS would refuse protection"
        if len(service.deployments) > 1:
            continue
        first_seen = moment.state.of(name).launching
        late = moment.now - moment.fleet.launch_deadline_s
        about = [
            task
            for task in tasks
            if task.arn not in protected
            and phase_of(one, task.arn) not in ("released", "stopping")
            and not (task.last_status in PENDING and first_seen.get(task.arn, moment.now) < late)
        ]
        assert do.desired >= len(protected) + len(about), f"{name}: somebody about to be protected would be refused"


def reduces_only_by_who_let_go(moment: Moment, decision: Decision, after: FleetState) -> None:
    for name, one, do in each(moment, decision):
        if not do.reduces:
            continue
        tasks, service = tasks_in(one), service_in(one)
        assert tasks is not None
        assert service is not None
        assert isinstance(one.protected, Known)
        running = {task.arn for task in tasks if task.last_status not in PENDING}
        assert running - one.protected.value == set(do.released), f"{name}: somebody unprotected did not let go"
        for arn in running:
            if arn in do.released:
                assert phase_of(one, arn) == "released"
            else:
                # A worker that ECS protects need not answer.
                assert phase_of(one, arn) != "released"
        first_seen, late = moment.state.of(name).launching, moment.now - moment.fleet.launch_deadline_s
        pending = [task.arn for task in tasks if task.last_status in PENDING]
        assert all(first_seen.get(arn, moment.now) < late for arn in pending), f"{name}: a task is on its way"
        assert len(service.deployments) == 1
        assert not do.resumes


def commands_never_contradict(moment: Moment, decision: Decision, after: FleetState) -> None:
    for name, one, do in each(moment, decision):
        assert not set(do.drains) & set(do.resumes)
        tasks = tasks_in(one)
        if tasks is not None:
            arns = {task.arn for task in tasks}
            assert set(do.drains) | set(do.resumes) <= arns, f"{name}: a command for somebody else's task"


def orders_are_obeyed(moment: Moment, decision: Decision, after: FleetState) -> None:
    ordered = orders(moment)
    for name, one, do in each(moment, decision):
        service = service_in(one)
        if ordered.dry_run:
            assert (do.writes, do.drains, do.resumes) == (False, (), ()), "a dry run did something"
            assert not after.of(name).drains
        if ordered.pause in ("out", "both") and service is not None and do.desired is not None:
            assert do.desired <= max(service.desired, do.protected_minimum or 0), (
                "paused, and more workers were started"
            )
        if ordered.pause in ("in", "both"):
            assert not do.reduces, "paused, and the count was lowered"
            says = {arn for arn in one.agents if phase_of(one, arn) in LETTING_GO}
            assert set(do.drains) <= set(moment.state.of(name).drains) | says, "paused, and somebody was drained"


def only_the_newest_grows(moment: Moment, decision: Decision, after: FleetState) -> None:
    services = {name: service_in(one) for name, one in moment.observation.services.items()}
    known = {name: service.revision for name, service in services.items() if service is not None}
    if len(known) == len(services):
        assert decision.current is not None
        assert known[decision.current] == max(known.values())
    for name, one, do in each(moment, decision):
        service = service_in(one)
        if service is not None and do.desired is not None and name != decision.current:
            assert do.desired <= max(service.desired, do.protected_minimum or 0), f"{name} is old and grew"


def explains_itself(moment: Moment, decision: Decision, after: FleetState) -> None:
    assert decision.reason.endswith(".")
    assert decision.explanation[0].name == "demand"
    assert all(step.name and step.text for step in decision.explanation)


def replay_equals_live(moment: Moment, decision: Decision, after: FleetState) -> None:
    tick = Tick(moment.fleet, moment.observation, moment.state, moment.now, decision)
    kept = json.loads(json.dumps(to_json(tick), allow_nan=False))
    again = from_json(kept)
    assert again == tick, "what was kept is not what was"
    assert decide(again.fleet, again.observation, again.before, again.now) == (decision, after)


INVARIANTS: tuple[Callable[[Moment, Decision, FleetState], None], ...] = (
    unknown_never_lowers,
    within_bounds,
    never_below_protection,
    reduces_only_by_who_let_go,
    commands_never_contradict,
    orders_are_obeyed,
    only_the_newest_grows,
    explains_itself,
    replay_equals_live,
)
