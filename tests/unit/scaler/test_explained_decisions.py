# SPDX-License-Identifier: Apache-2.0
"""Whole decisions in named situations, with every step of their explanations, compared with explained_decisions.txt.

The file is for review: a change of a sentence, a number or a next state is a line of its difference. WRITE_DECISIONS=1
writes the file again.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, fields, replace
from pathlib import Path
from typing import Any

import pytest

from scaler.core.decide import decide
from scaler.core.model import (
    BrokerCount,
    DatabaseCount,
    Deployment,
    FallbackPolicy,
    FleetPolicy,
    Known,
    Observation,
    Overrides,
    Schedule,
    Service,
    Stale,
    Unknown,
)
from scaler.core.state import Attempt, Decision, FleetState, ServiceState
from tests.support.scaler_builders import (
    FLEET,
    SERVICE,
    arn,
    observe,
    observe_services,
    service_observation,
    state_after_window,
    with_changes,
    with_state,
)

FILE = Path(__file__).with_name("explained_decisions.txt")
NEW, OLD = "worker-default-b", "worker-default-a"
FROM_ZERO = replace(FLEET, minimum=0)
DOWN = Unknown("no answer")
NOW = 60.0
Case = tuple[FleetPolicy, Observation, FleetState]


def first(observation: Observation, fleet: FleetPolicy = FLEET, **state: Any) -> Case:
    """Return the first tick of a scaler."""
    return fleet, observation, FleetState(**state)


def later(observation: Observation, fleet: FleetPolicy = FLEET, *, of: str = SERVICE, **state: Any) -> Case:
    """Return the tick after a full window of the same observation, with changes of one service's state."""
    return fleet, observation, with_state(state_after_window(observation, fleet), of, **state)


def two(new: Sequence[str], old: Sequence[str], *, new_revision: int = 3, **options: Any) -> Observation:
    services = {
        NEW: service_observation(new, service=NEW, revision=new_revision),
        OLD: service_observation(old, service=OLD, revision=2),
    }
    return observe_services(services, **options)


def overridden(workers: Sequence[str], **changes: Any) -> Observation:
    return observe(workers, queued=3, overrides=Overrides(by="ada", reason="a test", **changes))


def unknown_since(observation: Observation, fallback: FallbackPolicy, seconds: float) -> Case:
    return first(observation, replace(FLEET, fallback=fallback), unknown_since=NOW - seconds)


def resumed_once(observation: Observation) -> Case:
    """Return a tick in which one worker of each service drains."""
    state = with_state(state_after_window(observation), NEW, drains={arn(1, NEW): 5.0})
    return FLEET, observation, with_state(state, OLD, drains={arn(0, OLD): 5.0})


SILENT_DATABASE = observe(["one", "idle", "idle"], database=DOWN, broker=Known(BrokerCount(2, 0, 0), NOW))
BLIND = observe(["one", "idle", "idle"], database=DOWN, broker=DOWN)
ABOVE = observe(["one"], queued=2, broker=Known(BrokerCount(9, 1), NOW))

CASES: Mapping[str, Callable[[], Case]] = {
    "as many workers as needed": lambda: first(observe(["full", "one"], queued=2, running=6)),
    "scale-out in the first tick": lambda: first(observe(["full"], queued=12, running=5)),
    "no worker yet: the configured slots": lambda: first(observe([], queued=7)),
    "limited by the maximum": lambda: first(observe(["full"], queued=95, running=5)),
    "raised to the minimum": lambda: first(observe([], desired=0), replace(FLEET, minimum=3)),
    "limited by the launch budget": lambda: first(
        observe(["full", "pending"], queued=35, running=5), replace(FLEET, launch_budget=3)
    ),
    "before a full window": lambda: first(observe(["idle", "idle", "idle"])),
    "after a full window the surplus drains": lambda: later(observe(["idle", "one", "idle"], running=1)),
    "the largest need of the window": lambda: (
        FLEET,
        observe(["idle"] * 4),
        replace(
            state_after_window(observe(["idle"] * 4)),
            window=state_after_window(observe(["idle"] * 4, queued=11)).window,
        ),
    ),
    "released workers allow a lower count": lambda: later(
        observe(["full", "released", "draining"], running=6), drains={arn(1): 5.0, arn(2): 5.0}
    ),
    "a starting task delays the lower count": lambda: later(
        observe(["full", "released", "pending"], running=5), drains={arn(1): 5.0}
    ),
    "an unreleased unprotected worker delays the lower count": lambda: later(
        observe(["full", "released", "lapsed"], running=6), drains={arn(1): 5.0}
    ),
    "a silent unprotected worker delays the lower count": lambda: later(
        observe(["full", "released", "booting"], running=5), drains={arn(1): 5.0, arn(2): 5.0}
    ),
    "ECS has still to start tasks": lambda: later(
        observe(["full", "released"], desired=4, running=5), drains={arn(1): 5.0}, failing_since=NOW - 10
    ),
    "new demand resumes draining workers": lambda: later(
        observe(["full", "draining", "emptied"], queued=9, running=6), drains={arn(1): 5.0, arn(2): 5.0}
    ),
    "a resumed worker does not consume yet": lambda: later(
        observe(["full", "draining"], queued=4, running=6), resumes={arn(1): NOW - 5}
    ),
    "a resumed worker is late": lambda: later(
        observe(["full", "draining"], queued=4, running=6), resumes={arn(1): NOW - 31}
    ),
    "workers that never consumed": lambda: later(
        observe(["full", "starting", "pending"], running=5), launching={arn(1): NOW - 301, arn(2): NOW - 301}
    ),
    "protection raises the desired count": lambda: first(
        observe(["busy", "busy", "refused"], desired=1), replace(FLEET, maximum=2)
    ),
    "the protection is unknown": lambda: later(observe(["idle", "idle"], protected=DOWN)),
    "a rolling deployment": lambda: later(observe(["full", "one", "refused"], queued=1, running=6, old=(0,))),
    "a rolling deployment drains its old worker first": lambda: later(
        observe(["idle", "idle", "full"], running=5, old=(1,))
    ),
    "a worker of the new revision is resumed for new demand": lambda: later(
        observe(["full", "draining"], running=6, old=(0,)), drains={arn(1): 5.0}
    ),
    "an old worker after its deployment": lambda: later(
        with_changes(
            observe(["full", "draining"], running=5, old=(0,)),
            service=Known(Service(2, 2, 0, (Deployment("PRIMARY", "worker:2", "COMPLETED"),)), NOW),
        ),
        drains={arn(1): 5.0},
    ),
    "a worker of the new revision replaces an old one": lambda: later(
        observe(["full", "emptied", "draining"], running=6, queued=0, broker=Known(BrokerCount(0, 5), NOW), old=(0, 2)),
        replace(FLEET, slots=6, maximum=1),
        drains={arn(1): 5.0, arn(2): 6.0},
    ),
    "a worker of the new revision replaces an old one after a lower count is possible": lambda: later(
        observe(["one", "emptied", "released"], running=1, old=(0,)), drains={arn(1): 5.0, arn(2): 6.0}
    ),
    "the tasks are unknown": lambda: first(with_changes(observe(["full"], queued=9, running=5), tasks=DOWN)),
    "the service is unknown": lambda: later(
        with_changes(observe(["full", "draining"], running=6), service=DOWN), drains={arn(1): 5.0}
    ),
    "the service is stale": lambda: first(
        with_changes(observe(["full"], running=5), service=Stale(Service(1, 1, 0), 5.0))
    ),
    "the database is unknown": lambda: first(SILENT_DATABASE),
    "the database is stale": lambda: first(observe(["one"], database=Stale(DatabaseCount(4, 1), 7.0), broker=DOWN)),
    "the database is stale and the broker counts more": lambda: first(
        observe(["one"], database=Stale(DatabaseCount(4, 1), 7.0), broker=Known(BrokerCount(8, 1), NOW))
    ),
    "the broker is unknown": lambda: first(observe(["one", "idle"], running=1, broker=DOWN)),
    "the broker is stale": lambda: first(observe(["one"], running=1, broker=Stale(BrokerCount(0, 1), 8.0))),
    "the broker counts less": lambda: first(
        observe(["one"], queued=3, running=1, broker=Known(BrokerCount(1, 1), NOW))
    ),
    "the broker counts more": lambda: first(ABOVE),
    "the broker counts more for too long": lambda: first(ABOVE, broker_above_since=NOW - 60),
    "only the broker": lambda: first(replace(observe(["one"], queued=8, running=1), database=None)),
    "only a stale broker": lambda: first(
        replace(observe(["one"], broker=Stale(BrokerCount(8, 2), 8.0)), database=None)
    ),
    "no source of the demand": lambda: first(BLIND),
    "fallback: hold": lambda: unknown_since(BLIND, FallbackPolicy(), 500),
    "fallback: at least four": lambda: unknown_since(BLIND, FallbackPolicy("hold-if-higher", 4, 30), 30),
    "fallback: at least two, three exist": lambda: unknown_since(BLIND, FallbackPolicy("hold-if-higher", 2, 30), 30),
    "fallback: fixed at one": lambda: unknown_since(BLIND, FallbackPolicy("fixed", 1, 30), 31),
    "fallback: not yet": lambda: unknown_since(BLIND, FallbackPolicy("fixed", 1, 30), 29),
    "above the maximum while a source is unknown": lambda: first(SILENT_DATABASE, replace(FLEET, maximum=2)),
    "above the maximum while the demand is unknown: hold": lambda: first(BLIND, replace(FLEET, maximum=2)),
    "above the maximum while the demand is unknown: at least one": lambda: first(
        BLIND, replace(FLEET, maximum=2, fallback=FallbackPolicy("hold-if-higher", 1, 30)), unknown_since=0.0
    ),
    "above the maximum while the demand is unknown: fixed": lambda: first(
        BLIND, replace(FLEET, maximum=2, fallback=FallbackPolicy("fixed", 3, 30)), unknown_since=0.0
    ),
    "override: minimum": lambda: first(overridden(["one"], minimum=3)),
    "override: maximum": lambda: later(overridden(["one", "one", "one"], maximum=2)),
    "override: minimum above maximum": lambda: first(overridden(["one"], minimum=5, maximum=2)),
    "override: fixed": lambda: first(overridden(["one"], fixed=4)),
    "override: fixed below the workers": lambda: later(overridden(["one", "idle", "full"], fixed=1)),
    "override: scale-in paused": lambda: later(overridden(["one", "idle", "draining"], pause="in")),
    "override: scale-out paused": lambda: first(
        observe(["full"], queued=20, running=5, overrides=Overrides(pause="out", by="ada"))
    ),
    "override: scaling paused": lambda: later(overridden(["one", "idle"], pause="both")),
    "override: dry run of a scale-out": lambda: first(overridden([], dry_run=True)),
    "override: dry run of a drain": lambda: later(overridden(["one", "idle", "idle"], dry_run=True)),
    "override: dry run of a resume": lambda: later(
        replace(overridden(["full", "draining"], dry_run=True), database=Known(DatabaseCount(5, 6), NOW)),
        drains={arn(1): 5.0},
    ),
    "override by an unknown person": lambda: first(observe(["one"], overrides=Overrides(minimum=2))),
    "the overrides are unknown": lambda: (
        FLEET,
        replace(observe(["full"], queued=9, running=5), overrides=Unknown("no access")),
        FleetState(),
    ),
    "the overrides are unknown for a minute": lambda: first(
        replace(observe(["full"], queued=9, running=5), overrides=Unknown("no access")), overrides_unknown_since=0.0
    ),
    "a scheduled minimum": lambda: first(observe(["one"], schedule=Schedule(3, "every morning"))),
    "a scheduled minimum below the fleet's": lambda: first(observe(["one"], schedule=Schedule(1, "every morning"))),
    "zero: one source": lambda: later(
        replace(observe(["idle", "booting"], broker=Known(BrokerCount(0, 0), NOW)), database=None), FROM_ZERO
    ),
    "demand: a worker without an answer": lambda: later(
        replace(observe(["full", "silent"], broker=Known(BrokerCount(8, 0), NOW)), database=None)
    ),
    "demand: incomplete": lambda: later(
        replace(observe(["idle"] * 2, broker=Known(BrokerCount(4, 0, incomplete="too many"), NOW)), database=None)
    ),
    "demand: incomplete beside the database": lambda: later(
        observe(["idle"] * 2, broker=Known(BrokerCount(4, 0, incomplete="too many"), NOW))
    ),
    "demand: not due": lambda: later(observe(["idle"] * 2, broker=Known(BrokerCount(0, 0, delayed=3), NOW))),
    "zero: the first tick": lambda: (FROM_ZERO, observe(["idle"]), state_after_window(observe(["idle"], queued=0))),
    "zero: the second tick": lambda: (
        FROM_ZERO,
        observe(["idle"]),
        replace(state_after_window(observe(["idle"])), zero_ticks=1),
    ),
    "zero: empty already": lambda: later(observe([]), FROM_ZERO),
    "drift: lowered": lambda: later(observe(["full", "full"], desired=1, running=10), expected=2),
    "drift: raised": lambda: later(observe(["full"], desired=4, running=5), expected=1),
    "drift: raised and adopted": lambda: later(
        observe(["full"], desired=4, running=5), replace(FLEET, desired_count_drift="adopt"), expected=1
    ),
    "drift: adopted before": lambda: (
        replace(FLEET, desired_count_drift="adopt"),
        observe(["full"] * 2, running=5),
        replace(state_after_window(observe(["full"] * 2, running=5)), adopted=(2, NOW - 59)),
    ),
    "a write without effect": lambda: later(
        observe(["full"], queued=10, running=5), expected=3, attempt=Attempt(3, 1, 2)
    ),
    "two services: the newer one grows": lambda: first(two(["one"], ["full", "one"], queued=8, running=7)),
    "two services: the older one drains": lambda: later(two(["one", "one"], ["idle", "one"], running=3), of=OLD),
    "two services: a worker is resumed on the newer one only": lambda: resumed_once(
        two(["full", "draining"], ["draining"], queued=3, running=7)
    ),
    "two services: the older one keeps its part": lambda: later(two(["starting"], ["full", "full"], running=10)),
    "two services: the newer one starts the minimum": lambda: first(
        two(["one"], ["one", "one"], running=3), replace(FLEET, minimum=3)
    ),
    "two services of one revision": lambda: first(two(["one"], ["one"], new_revision=2, queued=20), current=NEW),
    "two services: one is unknown": lambda: first(
        with_changes(two(["one"], ["one"], queued=20), OLD, service=DOWN), current=NEW
    ),
    "two services: the newest was not known before": lambda: first(
        with_changes(two(["one"], ["one"], queued=20), OLD, service=DOWN)
    ),
    "two services: one does not exist": lambda: first(
        replace(observe(["one"], queued=20), absent=(OLD,)), current=OLD, services={OLD: ServiceState(expected=3)}
    ),
    "two services: the launch budget is common": lambda: first(
        two(["pending"], ["full", "pending"], queued=40, running=5, new_revision=3), replace(FLEET, launch_budget=4)
    ),
    "two services: a deployment rolls in the older one": lambda: first(
        observe_services(
            {
                NEW: service_observation(["full"], service=NEW, revision=3),
                OLD: service_observation(["full", "refused", "refused", "refused"], service=OLD, revision=2, old=(0,)),
            },
            queued=5,
            running=10,
        )
    ),
    "more than five workers in a sentence": lambda: later(observe(["idle"] * 7)),
}


def shown(value: Any) -> str:
    """Return a value as text; of a record only the fields that differ from their defaults."""
    if isinstance(value, frozenset | set):
        return "{" + ", ".join(sorted(map(shown, value))) + "}"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{shown(key)}: {shown(item)}" for key, item in value.items()) + "}"
    if isinstance(value, tuple | list):
        return "(" + ", ".join(map(shown, value)) + ")"
    if isinstance(value, str):
        return value.rpartition("/")[2].replace("0" * 24, "") or "''"
    if hasattr(value, "__dataclass_fields__"):
        return "(" + ", ".join(f"{name}={item}" for name, item in changed_fields(value)) + ")"
    return str(value)


def changed_fields(record: Any) -> list[tuple[str, str]]:
    found = []
    for field in fields(record):
        value = getattr(record, field.name)
        default = field.default_factory() if field.default_factory is not MISSING else field.default
        if value != default:
            found.append((field.name, shown(value)))
    return found


def text_of(decision: Decision, state: FleetState) -> list[str]:
    """Return a decision and the next state: one line for each step, each service, and the rest."""

    def but(record: Any, *names: str) -> str:
        return ", ".join(f"{name}={value}" for name, value in changed_fields(record) if name not in names)

    return [
        decision.reason,
        *(f"  {step.name}: {step.text} {shown(step.values)}" for step in decision.explanation),
        f"fleet: {but(decision, 'reason', 'explanation', 'services', 'overrides')}",
        *(f"{name}: {but(service)}" for name, service in decision.services.items()),
        f"next fleet: {but(state, 'services')}",
        *(f"next {name}: {but(service)}" for name, service in state.services.items()),
    ]


def decided(case: str) -> list[str]:
    fleet, observation, state = CASES[case]()
    return text_of(*decide(fleet, observation, state, NOW))


def recorded() -> dict[str, list[str]]:
    blocks = FILE.read_text(encoding="utf-8").strip().split("\n\n")
    return {lines[0].removeprefix("# "): lines[1:] for lines in (block.splitlines() for block in blocks)}


if os.environ.get("WRITE_DECISIONS"):
    FILE.write_text("\n\n".join("\n".join([f"# {case}", *decided(case)]) for case in CASES) + "\n", encoding="utf-8")
    pytest.skip("the decisions were written, so nothing was compared", allow_module_level=True)


@pytest.mark.parametrize("case", CASES)
def test_the_decision_and_its_explanation(case: str) -> None:
    assert decided(case) == recorded()[case]


def test_every_recorded_decision_has_a_case() -> None:
    assert list(recorded()) == list(CASES)
