# SPDX-License-Identifier: Apache-2.0
"""Properties of every decision, each stated from the observation and never from the scaler's own classification."""

import json
from collections.abc import Callable, Iterator

from scaler.core.decide import decide
from scaler.core.model import Known, Overrides, Service, ServiceObservation, Stale, Task, Unknown
from scaler.core.state import Decision, FleetState, ServiceDecision
from scaler.core.tick import Tick
from scaler.core.workers import PENDING
from scaler.reporting.tick_codec import from_json, to_json
from tests.support.observations import DecisionCase

FIRST_READ_S = 60.0
DRAIN_PHASES = {"draining", "releasing", "released"}


def service_in(seen: ServiceObservation) -> Service | None:
    return seen.service.value if isinstance(seen.service, Known) else None


def tasks_in(seen: ServiceObservation) -> tuple[Task, ...] | None:
    return seen.tasks.value if isinstance(seen.tasks, Known) else None


def phase_of(seen: ServiceObservation, arn: str) -> str | None:
    agent = seen.agents.get(arn)
    return agent.value.phase if isinstance(agent, Known) else None


def overrides_of(case: DecisionCase) -> Overrides:
    """Return the overrides; a scaler that has never read them behaves as if paused."""
    reading = case.observation.overrides
    if isinstance(reading, Unknown):
        since = case.state.overrides_unknown_since
        early = since is None or case.now - since < FIRST_READ_S
        return Overrides(pause="both" if early else "in")
    return reading.value


def services_of(case: DecisionCase, decision: Decision) -> Iterator[tuple[str, ServiceObservation, ServiceDecision]]:
    for name, seen in case.observation.services.items():
        yield name, seen, decision.services[name]


def starts_fail(case: DecisionCase, name: str | None) -> bool:
    """Return whether no start of the service had succeeded for the launch deadline: an older one may grow instead."""
    since = None if name is None else case.state.of(name).failing_since
    return since is not None and case.now - since >= case.fleet.launch_deadline_s


def substitute_of(case: DecisionCase, decision: Decision, after: FleetState) -> bool:
    """Return whether an older service has a worker that consumes, and no start of the newest one succeeds."""
    consuming = [
        phase_of(seen, task.arn) == "consuming" and task.arn not in case.state.of(name).drains
        for name, seen in case.observation.services.items()
        for task in tasks_in(seen) or ()
        if name != decision.current
    ]
    since = None if decision.current is None else after.of(decision.current).failing_since
    return any(consuming) and since is not None and case.now - since >= case.fleet.launch_deadline_s


def unknown_never_lowers(case: DecisionCase, decision: Decision, after: FleetState) -> None:
    seen = case.observation
    services = all(service_in(service) is not None for service in seen.services.values())
    complete = isinstance(seen.broker, Known) and seen.broker.value.incomplete is None
    demand = complete and (seen.database is None or isinstance(seen.database, Known))
    size_known = not isinstance(seen.overrides, Unknown) and (
        overrides_of(case).fixed is not None or (decision.demand is None and case.fleet.fallback.mode == "fixed")
    )
    certain = services and (demand or size_known) and not isinstance(seen.overrides, Unknown)
    for name, observed, plan in services_of(case, decision):
        if certain and isinstance(observed.tasks, Known) and isinstance(observed.protected, Known):
            continue
        assert not plan.reduces, f"{name} was lowered on unknown readings"
        draining = {arn for arn in observed.agents if phase_of(observed, arn) in DRAIN_PHASES}
        new = set(after.of(name).drains) - set(case.state.of(name).drains) - draining
        assert not new, f"{new} were drained on unknown readings"


def within_bounds(case: DecisionCase, decision: Decision, after: FleetState) -> None:
    overrides = overrides_of(case)
    free = overrides.pause not in ("out", "both") and not overrides.dry_run and case.fleet.launch_budget == 50
    for name, observed, plan in services_of(case, decision):
        service = service_in(observed)
        if service is None:
            assert plan.desired is None
            continue
        assert plan.desired is not None
        top = max(service.desired, plan.protected_minimum or 0)
        grows = name == decision.current or starts_fail(case, decision.current)
        if grows and overrides.pause not in ("out", "both"):
            top = max(top, decision.maximum)
        assert plan.desired <= top, f"{name} is above the maximum, without protection or drift"
        if name == decision.current and free and not starts_fail(case, name):
            assert plan.desired >= decision.minimum
        started = [arn for arn in observed.agents if phase_of(observed, arn) not in ("starting", "refused")]
        if name == decision.current and substitute_of(case, decision, after):
            one_more = len(started) + 1 if tasks_in(observed) is not None else 0
            most = max(service.desired, plan.protected_minimum or 0, one_more)
            assert plan.desired <= most, f"{name} starts more than one worker, and no start succeeds"
    assert 0 <= decision.minimum <= decision.maximum


def waiting_tasks_raise_the_count(case: DecisionCase, decision: Decision, after: FleetState) -> None:
    """Liveness: while more tasks are known than workers are requested, and there is room, the newest service grows."""
    seen, overrides = case.observation, overrides_of(case)
    blocked = overrides.pause in ("out", "both") or overrides.dry_run or case.fleet.launch_budget < 50
    unknown = any(service_in(service) is None for service in seen.services.values())
    if blocked or unknown or overrides.fixed is not None or decision.current is None:
        return
    slots = seen.database.value.queued + seen.database.value.running if isinstance(seen.database, Known | Stale) else 0
    if not isinstance(seen.database, Known | Stale) and isinstance(seen.broker, Known | Stale):
        slots = seen.broker.value.visible + seen.broker.value.in_flight
    agents = [agent for service in seen.services.values() for agent in service.agents.values()]
    most = max([case.fleet.slots, *(agent.value.concurrency for agent in agents if isinstance(agent, Known))])
    desired = decision.services[decision.current].desired
    if starts_fail(case, decision.current):  # the older service grows, and the newest one tries one start
        desired = decision.desired
    assert desired is not None
    assert desired >= min(decision.maximum, -(-slots // most)), "tasks wait, and no worker was requested"


def never_below_protection(case: DecisionCase, decision: Decision, after: FleetState) -> None:
    for name, observed, plan in services_of(case, decision):
        tasks, service = tasks_in(observed), service_in(observed)
        if service is None or tasks is None or not isinstance(observed.protected, Known) or overrides_of(case).dry_run:
            continue
        assert plan.desired is not None
        protected = observed.protected.value
        assert plan.desired >= len(protected), f"{name}: ECS would refuse protection"
        if len(service.deployments) > 1:
            continue
        first_seen = case.state.of(name).launching
        late = case.now - case.fleet.launch_deadline_s
        about = [
            task
            for task in tasks
            if task.arn not in protected
            and phase_of(observed, task.arn) not in ("released", "stopping")
            and not (
                task.last_status in PENDING and (first_seen.get(task.arn, case.now) < late or starts_fail(case, name))
            )
        ]
        assert plan.desired >= len(protected) + len(about), (
            f"{name}: ECS would refuse protection to a worker about to be protected"
        )


def scale_in_only_by_released_workers(case: DecisionCase, decision: Decision, after: FleetState) -> None:
    for name, observed, plan in services_of(case, decision):
        if not plan.reduces:
            continue
        tasks, service = tasks_in(observed), service_in(observed)
        assert tasks is not None
        assert service is not None
        assert isinstance(observed.protected, Known)
        running = {task.arn for task in tasks if task.last_status not in PENDING}
        assert running - observed.protected.value == set(plan.released), (
            f"{name}: an unprotected worker is not released"
        )
        for arn in running:
            if arn in plan.released:
                assert phase_of(observed, arn) == "released"
            else:
                # The agent of a protected worker may be unknown.
                assert phase_of(observed, arn) != "released"
        first_seen, late = case.state.of(name).launching, case.now - case.fleet.launch_deadline_s
        pending = [task.arn for task in tasks if task.last_status in PENDING]
        starting = [arn for arn in pending if first_seen.get(arn, case.now) >= late]
        assert not starting or starts_fail(case, name), f"{name}: a task is starting"
        assert len(service.deployments) == 1
        assert not plan.resumes


def commands_never_contradict(case: DecisionCase, decision: Decision, after: FleetState) -> None:
    for name, observed, plan in services_of(case, decision):
        assert not set(plan.drains) & set(plan.resumes)
        tasks = tasks_in(observed)
        if tasks is not None:
            arns = {task.arn for task in tasks}
            assert set(plan.drains) | set(plan.resumes) <= arns, f"{name}: a command for a task of another service"


def overrides_are_applied(case: DecisionCase, decision: Decision, after: FleetState) -> None:
    overrides = overrides_of(case)
    for name, observed, plan in services_of(case, decision):
        service = service_in(observed)
        if overrides.dry_run:
            assert (plan.writes, plan.drains, plan.resumes) == (False, (), ()), "a dry run changed something"
            assert not after.of(name).drains
        if overrides.pause in ("out", "both") and service is not None and plan.desired is not None:
            assert plan.desired <= max(service.desired, plan.protected_minimum or 0), (
                "paused, but more workers were started"
            )
        if overrides.pause in ("in", "both"):
            assert not plan.reduces, "paused, but the count was lowered"
            draining = {arn for arn in observed.agents if phase_of(observed, arn) in DRAIN_PHASES}
            assert set(plan.drains) <= set(case.state.of(name).drains) | draining, "paused, but a worker was drained"


def only_the_newest_grows(case: DecisionCase, decision: Decision, after: FleetState) -> None:
    services = {name: service_in(observed) for name, observed in case.observation.services.items()}
    known = {name: service.revision for name, service in services.items() if service is not None}
    if len(known) == len(services):
        assert decision.current is not None
        assert known[decision.current] == max(known.values())
    for name, observed, plan in services_of(case, decision):
        service = service_in(observed)
        if service is not None and plan.desired is not None and name != decision.current:
            most = decision.maximum if starts_fail(case, decision.current) else 0
            assert plan.desired <= max(service.desired, plan.protected_minimum or 0, most), (
                f"{name} is old, but it grew"
            )


def explains_itself(case: DecisionCase, decision: Decision, after: FleetState) -> None:
    assert decision.reason.endswith(".")
    assert decision.explanation[0].name == "demand"
    assert all(step.name and step.text for step in decision.explanation)


def replay_equals_live(case: DecisionCase, decision: Decision, after: FleetState) -> None:
    tick = Tick(case.fleet, case.observation, case.state, case.now, decision)
    document = json.loads(json.dumps(to_json(tick), allow_nan=False))
    again = from_json(document)
    assert again == tick, "the recorded tick differs"
    assert decide(again.fleet, again.observation, again.before, again.now) == (decision, after)


INVARIANTS: tuple[Callable[[DecisionCase, Decision, FleetState], None], ...] = (
    unknown_never_lowers,
    within_bounds,
    waiting_tasks_raise_the_count,
    never_below_protection,
    scale_in_only_by_released_workers,
    commands_never_contradict,
    overrides_are_applied,
    only_the_newest_grows,
    explains_itself,
    replay_equals_live,
)
