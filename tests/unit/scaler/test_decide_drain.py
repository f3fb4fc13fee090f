# SPDX-License-Identifier: Apache-2.0
"""The steps drain and reduce of a decision, as tables."""

from dataclasses import replace

import pytest

from scaler.core.decide import decide
from scaler.core.model import Known
from scaler.core.state import FleetState
from tests.support.scaler_builders import (
    FLEET,
    SILENT,
    arn,
    decide_after_window,
    explained,
    observe,
    only_service,
    state_after_window,
    state_of,
    with_changes,
    with_state,
)

# --- drain


@pytest.mark.parametrize(
    ("workers", "running", "victims"),
    [
        pytest.param(
            ["busy", "idle", "busy", "idle"], 4, {1, 3, 0}, id="idle first, then the least busy, then by name"
        ),
        pytest.param(["full", "busy", "full"], 12, set(), id="three are needed"),
        pytest.param(["busy", "one"], 3, {1}, id="fewest tasks"),
        pytest.param(["idle", "idle", "starting"], 0, {0}, id="a starting worker is no replacement yet"),
        pytest.param(
            ["idle", "silent", "idle"], 0, {0}, id="an unreadable worker is neither drained nor a replacement"
        ),
    ],
)
def test_workers_chosen_to_drain(workers: list[str], running: int, victims: set[int]) -> None:
    decision, _ = decide_after_window(observe(workers, running=running))
    assert set(decision.drains) == {arn(i) for i in victims}
    assert decision.desired == len(workers), "desired was lowered before a release"


def test_the_longest_idle_worker_drains_first() -> None:
    # Both consume and neither has a task; the second has been so for longer.
    _, state = decide(FLEET, observe(["busy", "idle"], queued=4, running=2), FleetState(), 0.0)
    for tick in range(1, 13):
        _, state = decide(FLEET, observe(["idle", "idle"]), state, tick * 5.0)
    decision, _ = decide(FLEET, observe(["idle", "idle"]), state, 65.0)
    assert decision.drains == (arn(1),)


def test_old_revisions_drain_first() -> None:
    decision, _ = decide_after_window(observe(["idle", "full", "full"], running=10, old=(1,)))
    assert decision.drains == (arn(1),)


def test_drains_are_posted_in_every_tick_also_with_unknown_readings() -> None:
    observation = observe(["busy", "draining"], running=3)
    _, state = decide_after_window(observation)
    for blind in (with_changes(observation, service=SILENT), with_changes(observation, tasks=SILENT)):
        decision, state = decide(FLEET, blind, state, 65.0)
        assert decision.drains == (arn(1),)
        assert not decision.reduces


@pytest.mark.parametrize(
    ("queued", "resumes"),
    [
        pytest.param(0, {2, 3}, id="as many as are of the old revision"),
        pytest.param(1, {2, 3, 4}, id="one more is needed besides the replacements"),
    ],
)
def test_resumed_workers_replace_the_old_revision(queued: int, resumes: set[int]) -> None:
    observation = observe(["full", "full", *["released"] * 3], queued=queued, running=10, desired=5, old=(0, 1))
    decision, _ = decide_after_window(observation)
    assert set(decision.resumes) == {arn(i) for i in resumes}


@pytest.mark.parametrize(
    ("workers", "queued", "resumes", "desired"),
    [
        pytest.param(["full", "draining"], 5, {1}, 2, id="resumed instead of a new one"),
        pytest.param(["full", "draining", "released"], 5, {1}, 3, id="the worker with protection first"),
        pytest.param(["full", "draining", "released"], 10, {1, 2}, 3, id="then the released worker"),
        pytest.param(["full", "draining"], 10, {1}, 3, id="resumed, and one more started"),
        pytest.param(["full", "draining"], 0, set(), 2, id="no more needed"),
    ],
)
def test_demand_resumes_draining_workers_before_it_starts_new_ones(
    workers: list[str], queued: int, resumes: set[int], desired: int
) -> None:
    decision, _ = decide_after_window(observe(workers, queued=queued, running=5), draining=(1, 2)[: len(workers) - 1])
    assert set(decision.resumes) == {arn(i) for i in resumes}
    assert decision.desired == desired
    assert not set(decision.drains) & set(decision.resumes)


def test_a_resume_is_posted_until_the_worker_consumes() -> None:
    observation = observe(["full", "released"], queued=5, running=5)
    decision, state = decide_after_window(observation, draining=(1,))
    for tick in range(13, 18):
        decision, state = decide(FLEET, observation, state, tick * 5.0)
        assert decision.resumes == (arn(1),)
        assert decision.desired == 2, "it still counts as starting capacity"
    decision, state = decide(FLEET, observe(["full", "full"], queued=0, running=10), state, 90.0)
    assert decision.resumes == ()
    assert not state_of(state).resumes


def test_a_resumed_worker_that_never_consumes_is_replaced_after_its_lease() -> None:
    observation = observe(["full", "released"], queued=5, running=5)
    _, state = decide_after_window(observation, draining=(1,))
    decision, _ = decide(FLEET, observation, state, 60.0 + FLEET.drain_lease_s + 5.0)
    assert decision.desired == 3


def test_a_restarted_scaler_recognises_draining_workers() -> None:
    decision, state = decide(FLEET, observe(["busy", "draining"], running=3), FleetState(), 0.0)
    assert (decision.drains, set(state_of(state).drains), decision.desired) == ((arn(1),), {arn(1)}, 2)
    decision, state = decide(FLEET, observe(["full", "draining"], running=6), FleetState(), 0.0)
    assert (decision.resumes, set(state_of(state).resumes), decision.desired) == ((arn(1),), {arn(1)}, 2)


# --- reduce


def test_scale_in_when_exactly_the_released_workers_are_unprotected() -> None:
    decision, _ = decide_after_window(observe(["full", "released", "released"], running=5), draining=(1, 2))
    assert (decision.kind, decision.desired) == ("shrink", 1)
    assert decision.released == (arn(1), arn(2))


@pytest.mark.parametrize(
    ("workers", "change", "obstacle"),
    [
        pytest.param(["full", "released", "pending"], {}, "starting", id="a task is pending"),
        pytest.param(["full", "released", "lapsed"], {}, "differ", id="another worker is unprotected"),
        pytest.param(["full", "released", "starting"], {}, "differ", id="a worker is starting"),
        pytest.param(["full", "released", "releasing"], {}, "differ", id="a worker is releasing"),
        pytest.param(["full", "released", "released but protected"], {}, "differ", id="ECS still protects a worker"),
        pytest.param(["full", "released", "idle"], {"old": (2,)}, "deployments", id="a deployment rolls"),
        pytest.param(["full", "released"], {"desired": 3}, "has still to start", id="ECS has a task to start"),
        pytest.param(["full", "released"], {"protected": SILENT}, "", id="protection unknown"),
        pytest.param(["full", "released"], {"broker": SILENT}, "", id="broker unknown"),
        pytest.param(["full", "released"], {"database": SILENT}, "", id="database unknown"),
    ],
)
def test_no_scale_in(workers: list[str], change: dict[str, object], obstacle: str) -> None:
    before = state_after_window(observe(workers, running=5))
    state = with_state(before, drains={arn(1): 0.0})
    observation = observe(workers, running=5, **change)  # type: ignore[arg-type]
    decision, _ = decide(FLEET, observation, state, 60.0)
    assert not decision.reduces
    if obstacle:
        assert explained(decision.explanation, obstacle), decision.explanation


def test_no_scale_in_while_ecs_counts_more_tasks_than_it_lists() -> None:
    observation = observe(["full", "released"], running=5)
    service = only_service(observation).service
    assert isinstance(service, Known)
    more = Known(replace(service.value, running=3), 0.0)
    decision, _ = decide_after_window(with_changes(observation, service=more), draining=(1,))
    assert not decision.reduces


def test_a_count_below_the_protected_workers_is_raised_again() -> None:
    """A worker became protected between the reading and the write: the next tick raises the count again."""
    _, state = decide_after_window(observe(["full", "released"], running=5), draining=(1,))
    decision, _ = decide(FLEET, observe(["busy", "one"], desired=1, running=3), state, 65.0)
    assert (decision.kind, decision.desired) == ("protect", 2)


def test_a_task_that_ecs_stops_has_no_place() -> None:
    _, state = decide_after_window(observe(["full", "released"], running=5), draining=(1,))
    decision, _ = decide(FLEET, observe(["full", "released"], desired=1, running=5), state, 65.0)
    assert (decision.desired, decision.resumes) == (1, ())
    decision, _ = decide(FLEET, observe(["full", "released"], desired=1, queued=5, running=5), state, 65.0)
    assert (decision.desired, decision.resumes) == (2, ()), "a worker that ECS is stopping was resumed"
