# SPDX-License-Identifier: Apache-2.0
"""The records of the core: sums over services, revisions, the numbers in a sentence, the defaults of a fleet."""

from dataclasses import fields, replace
from typing import Any

import pytest

from scaler.core import explain
from scaler.core.decide import decide
from scaler.core.model import (
    BrokerCount,
    Deployment,
    FallbackPolicy,
    FleetPolicy,
    Overrides,
    Service,
    Task,
)
from scaler.core.state import (
    STRONGEST,
    Demand,
    FleetState,
    Kind,
    ServiceDecision,
    WorkerCounts,
    strongest,
    total,
)
from scaler.core.window import NeedWindow
from tests.support.scaler_builders import FLEET, observe

COUNTS = [field.name for field in fields(WorkerCounts)]
SERVICE = ServiceDecision(
    desired=2,
    observed=2,
    drains=(),
    resumes=(),
    released=(),
    kind="hold",
    protected_minimum=1,
    workers=WorkerCounts(),
)


def test_each_count_of_workers_is_added() -> None:
    first = WorkerCounts(**{name: number for number, name in enumerate(COUNTS, 1)})
    second = WorkerCounts(**{name: 100 * number for number, name in enumerate(COUNTS, 1)})
    assert first.plus(second) == WorkerCounts(**{name: 101 * number for number, name in enumerate(COUNTS, 1)})


def test_counts_are_zero_by_default_and_the_protection_is_unknown() -> None:
    defaults: dict[str, Any] = {name: None if name == "protected" else 0 for name in COUNTS}
    assert WorkerCounts() == WorkerCounts(**defaults)
    assert WorkerCounts().plus(WorkerCounts(protected=3)).protected is None


@pytest.mark.parametrize(("numbers", "expected"), [([], 0), ([1, 2], 3), ([1, None], None), ([None], None)])
def test_a_sum_with_an_unknown_number_is_unknown(numbers: list[int | None], expected: int | None) -> None:
    assert total(iter(numbers)) == expected


def test_the_kind_of_several_services_is_the_strongest() -> None:
    order: list[Kind] = ["protect", "grow", "shrink", "resume", "drain", "blind", "hold"]
    assert list(STRONGEST) == order
    for weaker, stronger in zip(order[1:], order, strict=False):
        assert strongest([weaker, stronger, weaker]) == stronger
    assert strongest([]) == "hold"


@pytest.mark.parametrize(
    ("desired", "observed", "writes", "reduces"),
    [(2, 2, False, False), (3, 2, True, False), (1, 2, True, True), (None, 2, False, False), (2, None, True, False)],
)
def test_a_decision_writes_a_known_other_count(
    desired: int | None, observed: int | None, *, writes: bool, reduces: bool
) -> None:
    service = replace(SERVICE, desired=desired, observed=observed)
    assert (service.writes, service.reduces) == (writes, reduces)


def test_a_decision_combines_its_services() -> None:
    decision, _ = decide(FLEET, observe(["busy"]), FleetState(), 0.0)
    first = replace(SERVICE, drains=("d1",), resumes=("r1",), released=("e1",), observed=3)
    second = replace(SERVICE, drains=("d2",), resumes=("r2",), released=("e2",), desired=4, protected_minimum=2)
    both = replace(decision, services={"a": first, "b": replace(second, desired_count_drift=9)})
    assert (both.desired, both.observed, both.protected_minimum, both.desired_count_drift) == (6, 5, 3, 9)
    assert (both.drains, both.resumes, both.released) == (("d1", "d2"), ("r1", "r2"), ("e1", "e2"))
    assert (both.writes, both.reduces) == (True, True)
    unknown = replace(both, services={"a": SERVICE, "b": replace(SERVICE, desired=None, observed=None)})
    assert (unknown.desired, unknown.observed, unknown.desired_count_drift) == (None, None, None)
    assert (unknown.writes, unknown.reduces) == (False, False)


@pytest.mark.parametrize(
    ("task_definition", "revision"),
    [
        ("arn:aws:ecs:us-east-1:123456789012:task-definition/worker:12", 12),
        ("worker:1", 1),
        ("worker", 0),
        ("worker:", 0),
        ("worker:\N{SUPERSCRIPT TWO}", 0),
        ("worker:-1", 0),
    ],
)
def test_the_revision_is_the_number_of_the_primary_task_definition(task_definition: str, revision: int) -> None:
    deployments = (Deployment("ACTIVE", "worker:99"), Deployment("PRIMARY", task_definition))
    service = Service(1, 1, 0, deployments)
    assert (service.primary, service.revision, service.rolling) == (deployments[1], revision, True)


def test_a_service_without_a_primary_deployment_has_no_revision() -> None:
    service = Service(1, 1, 0, (Deployment("ACTIVE", "worker:99"),))
    assert (service.primary, service.revision, service.rolling) == (None, 0, False)
    assert Service(0, 0, 0).primary is None


@pytest.mark.parametrize(
    ("numbers", "empty"), [((0, 0, 0), True), ((1, 0, 0), False), ((0, 1, 0), False), ((0, 0, 1), False)]
)
def test_a_service_is_empty_without_tasks_and_desired_count(numbers: tuple[int, int, int], *, empty: bool) -> None:
    assert Service(*numbers).empty is empty


@pytest.mark.parametrize(
    ("interval_s", "lease_s", "gap_s"), [(5.0, 30.0, 15.0), (10.0, 30.0, 30.0), (20.0, 60.0, 50.0)]
)
def test_a_lease_is_three_ticks_and_a_gap_at_most_half_a_window_or_one_missed_tick(
    interval_s: float, lease_s: float, gap_s: float
) -> None:
    fleet = replace(FLEET, interval_s=interval_s)
    assert (fleet.drain_lease_s, fleet.knowledge_gap_s) == (lease_s, gap_s)


@pytest.mark.parametrize("window_s", [0.0, 5.0, 20.0, 30.0, 60.0, 300.0])
@pytest.mark.parametrize("intervals", [2, 4])
def test_at_a_slower_pace_two_readings_fill_no_window_and_one_missed_reading_breaks_none(
    intervals: int, window_s: float
) -> None:
    fleet = replace(FLEET, intervals=intervals, scale_in_window_s=window_s)

    def full(*times: float) -> bool:
        window = NeedWindow()
        for at in times:
            window = window.note(at, 0, known=True, length_s=fleet.window_s, gap_s=fleet.knowledge_gap_s)
        return window.full(times[-1], fleet.window_s)

    assert not full(0.0, fleet.knowledge_gap_s)
    jitter_s = 0.2
    assert full(*(n * fleet.pace_s + jitter_s * (n % 2) for n in range(0, 200, 2)))


def test_the_documented_defaults() -> None:
    assert FleetPolicy("f", ("q",), 5, 1, 10) == FleetPolicy(
        "f", ("q",), 5, 1, 10, 5.0, 60.0, 300.0, 60.0, 50, FallbackPolicy("hold", 0, 180.0), "correct"
    )
    assert Overrides() == Overrides(None, None, None, "none", False, "", "", "", None)
    assert BrokerCount(1, 2) == BrokerCount(1, 2, 0)
    assert Task("arn", "RUNNING") == Task("arn", "RUNNING", "RUNNING", None, "")
    assert NeedWindow() == NeedWindow((), None, None)
    assert FleetState() == FleetState(NeedWindow(), None, 0, None, None, None, None, {})
    assert FleetState().of("unknown").drains == {}


@pytest.mark.parametrize(("number", "text"), [(0, "0 workers"), (1, "1 worker"), (2, "2 workers")])
def test_a_noun_has_its_plural(number: int, text: str) -> None:
    assert explain.count(number, "worker") == text


def test_a_list_of_workers_has_at_most_five_short_names() -> None:
    arns = [f"arn:task/cluster/{number}23456789abcdef" for number in range(7)]
    five = "023456789abc, 123456789abc, 223456789abc, 323456789abc, 423456789abc"
    assert explain.names(arns[:5]) == five
    assert explain.names(reversed(arns[:5])) == five  # type: ignore[arg-type]
    assert explain.names(arns) == f"{five} and 2 more"
    assert explain.names(["plain"]) == "plain"


DEMAND = Demand(queued=3, running=4, slots=7, source="database", may_shrink=True)


@pytest.mark.parametrize(
    ("demand", "needed", "target", "bounds", "text"),
    [
        (DEMAND, 2, 2, (1, 10), "7 slots needed / 5 per worker = 2"),
        (replace(DEMAND, slots=1), 1, 1, (1, 10), "1 slot needed / 5 per worker = 1"),
        (replace(DEMAND, slots=0), 0, 0, (0, 10), "no slots needed"),
        (replace(DEMAND, slots=0), 0, 1, (1, 10), "no slots needed (minimum 1)"),
        (DEMAND, 2, 1, (0, 1), "7 slots needed / 5 per worker = 2, limited by maximum 1"),
        (DEMAND, 2, 3, (3, 10), "7 slots needed / 5 per worker = 2 (minimum 3)"),
        (DEMAND, 2, 4, (4, 4), "7 slots needed / 5 per worker = 2, fixed at 4"),
        (DEMAND, 2, 4, (1, 10), "7 slots needed / 5 per worker = 2, target 4"),
        (DEMAND, 4, 3, (3, 10), "7 slots needed / 5 per worker = 4, target 3"),
        (DEMAND, 2, 3, (1, 3), "7 slots needed / 5 per worker = 2, target 3"),
        (None, None, 3, (1, 3), "demand unknown, target 3"),
        (None, None, 3, (3, 3), "demand unknown, fixed at 3"),
        (None, None, 3, (3, 9), "demand unknown, target 3"),
    ],
)
def test_the_demand_in_one_sentence(
    demand: Demand | None, needed: int | None, target: int, bounds: tuple[int, int], text: str
) -> None:
    assert explain.need(demand, needed, None if demand is None else 5, target, *bounds) == text


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("protect", "Desired 5 -> 3: raised to the protected minimum"),
        ("grow", "Desired 5 -> 3: why"),
        ("shrink", "Desired 5 -> 3: why; 2 surplus workers drained"),
        ("drain", "Desired 3 until 1 surplus worker drained: why"),
        ("resume", "Desired 3: why; 4 draining workers resumed"),
        ("hold", "Desired 3: why; 6 draining"),
    ],
)
def test_the_decision_in_one_sentence(kind: Kind, text: str) -> None:
    assert explain.sentence(kind, "why", 5, 3, chosen=1, resumed=4, draining=6) == text
    assert explain.sentence("hold", "why", 5, 3, chosen=0, resumed=0, draining=0) == "Desired 3: why"


def test_the_steps_of_one_service_have_its_name() -> None:
    explanation = explain.Explanation()
    explanation.add("demand", "text", slots=1)
    explanation.of("a").add("drain", "text", resumed=2)
    seen: list[Any] = [(step.name, step.text, step.values) for step in explanation.steps()]
    assert seen == [
        ("demand", "text", {"slots": 1}),
        ("drain", "a: text", {"service": "a", "resumed": 2}),
    ]
