# SPDX-License-Identifier: Apache-2.0
"""A fleet of two services: the growth of the newest, the drain of the other, and unknown readings."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from scaler.core.decide import decide
from scaler.core.model import FleetPolicy, Known, Observation, ServiceObservation, Unknown
from scaler.core.state import Decision, FleetState
from tests.support.scaler_builders import (
    FLEET,
    SILENT,
    arn,
    observe_services,
    service_observation,
    state_after_window,
    with_changes,
    with_state,
)

A, B = "worker-default-a", "worker-default-b"


def both(
    a: Sequence[str],
    b: Sequence[str],
    *,
    revisions: tuple[int, int] = (7, 8),
    desired: tuple[int | None, int | None] = (None, None),
    queued: int = 0,
    running: int = 0,
) -> Observation:
    return observe_services(
        {
            A: service_observation(a, service=A, revision=revisions[0], desired=desired[0]),
            B: service_observation(b, service=B, revision=revisions[1], desired=desired[1]),
        },
        queued=queued,
        running=running,
    )


def late(
    observation: Observation, fleet: FleetPolicy = FLEET, **drains: Mapping[str, float]
) -> tuple[Decision, FleetState]:
    """Decide after a full window of the same observation; `a` and `b` are the draining workers."""
    state = state_after_window(observation, fleet)
    for name, given in drains.items():
        state = with_state(state, {"a": A, "b": B}[name], drains=given)
    return decide(fleet, observation, state, fleet.scale_in_window_s)


def counts(decision: Decision) -> tuple[int | None, int | None]:
    return decision.services[A].desired, decision.services[B].desired


# --- the newest service


@pytest.mark.parametrize(
    ("revisions", "desired", "remembered", "current"),
    [
        pytest.param((7, 8), (3, 0), None, B, id="the highest revision, also while it is empty"),
        pytest.param((9, 8), (0, 3), B, A, id="the highest revision, whatever the last newest"),
        pytest.param((100, 99), (0, 3), None, A, id="revisions are compared as numbers"),
        pytest.param((1, 1), (2, 3), None, B, id="of two equal ones the larger"),
        pytest.param((1, 1), (2, 3), A, A, id="of two equal ones the last newest while it has workers"),
        pytest.param((1, 1), (2, 0), B, A, id="of two equal ones the one with workers"),
        pytest.param((1, 1), (0, 0), A, A, id="of two equal and empty ones the last newest"),
        pytest.param(
            (1, 1),
            (0, 0),
            None,
            A,
            id="of two equal and empty ones at a start: the first, because the next revision goes to the second",
        ),
    ],
)
def test_new_workers_start_on_the_newest_service(
    revisions: tuple[int, int], desired: tuple[int, int], remembered: str | None, current: str
) -> None:
    seen = both(["busy"] * desired[0], ["busy"] * desired[1], revisions=revisions, queued=30)
    decision, after = decide(FLEET, seen, FleetState(current=remembered), 0.0)
    assert decision.current == after.current == current
    other = A if current == B else B
    mine, before = decision.services[current].desired, decision.services[current].observed
    assert mine is not None
    assert before is not None
    assert mine > before
    assert not decision.services[other].writes


def test_with_one_service_unknown_there_is_no_scale_in_and_the_newest_grows() -> None:
    seen = both(["idle", "released"], ["full", "released"], queued=20, running=5)
    blind = with_changes(seen, A, service=Unknown("throttled"))
    decision, after = decide(FLEET, blind, replace(state_after_window(seen), current=B), 60.0)
    assert decision.current == B
    assert counts(decision) == (None, 5)
    assert after.current == B
    assert decision.desired is None, "a sum with an unknown part is unknown"
    quiet = with_changes(both(["idle", "released"], ["full", "released"]), A, service=SILENT)
    decision, _ = decide(FLEET, quiet, replace(state_after_window(both(["idle"], ["full"])), current=B), 60.0)
    assert not decision.reduces
    assert decision.services[B].kind == "hold"


def test_after_a_start_an_unknown_newest_service_blocks_all_but_protection() -> None:
    seen = with_changes(both(["full"], ["busy", "refused"], desired=(None, 1), queued=50), A, service=SILENT)
    decision, after = decide(FLEET, seen, FleetState(), 0.0)
    assert (decision.current, after.current) == (None, None)
    assert decision.services[B].desired == 2
    assert decision.services[B].kind == "protect"
    assert any("Newest service unknown" in step.text for step in decision.explanation)


# --- old workers drain as new ones consume


@pytest.mark.parametrize(
    ("new", "drained"),
    [
        pytest.param([], 0, id="no new worker yet"),
        pytest.param(["pending", "booting", "starting"], 0, id="none consumes yet"),
        pytest.param(["idle", "pending"], 1, id="one consumes, one drains"),
        pytest.param(["idle", "idle", "idle"], 3, id="all consume, all drain"),
        pytest.param(["refused", "silent"], 0, id="a refused or unreadable worker does not serve"),
    ],
)
def test_one_old_worker_drains_for_each_new_one_that_consumes(new: list[str], drained: int) -> None:
    decision, _ = late(both(["full"] * 3, new, queued=0, running=15))
    assert len(decision.services[A].drains) == drained
    assert decision.services[A].desired == 3, "the old count follows the released workers, not the draining ones"
    assert decision.services[B].desired == 3, "the new service does not grow at once"


def test_the_old_service_shrinks_to_zero() -> None:
    seen = both(["released", "draining", "released"], ["idle", "idle"], running=6)
    decision, _ = late(seen, a={arn(0, A): 0.0, arn(1, A): 0.0, arn(2, A): 0.0})
    assert counts(decision) == (1, 2), "the draining worker is protected and stays"
    assert set(decision.services[A].released) == {arn(0, A), arn(2, A)}
    decision, _ = late(both([], ["idle", "idle"], running=6))
    assert counts(decision) == (0, 2)


def test_the_old_service_grows_only_for_protection() -> None:
    decision, _ = decide(FLEET, both(["full", "refused"], [], desired=(1, 0), queued=40, running=5), FleetState(), 0.0)
    assert counts(decision) == (2, 9)
    assert decision.services[A].kind == "protect"


def test_unknown_tasks_of_the_new_service_block_drains_of_the_old() -> None:
    seen = both(["full"] * 2, ["idle"] * 2, running=10)
    decision, _ = late(with_changes(seen, B, tasks=SILENT))
    assert not decision.drains
    decision, _ = late(seen)
    assert len(decision.drains) == 2


def test_a_burst_during_a_rollout_grows_the_new_service() -> None:
    """Otherwise a fleet with bursts would give new tasks to old workers for ever."""
    seen = both(["draining", "draining"], ["full", "full"], queued=10, running=12)
    decision, _ = late(seen, a={arn(0, A): 0.0, arn(1, A): 0.0})
    assert decision.services[B].desired == 5
    assert decision.services[A].resumes == ()


@pytest.mark.parametrize(
    "new",
    [pytest.param(["pending", "starting"], id="they never consume"), pytest.param([], id="they stop at once")],
)
def test_old_workers_resume_when_new_ones_cannot_serve(new: list[str]) -> None:
    seen = both(["draining", "draining"], new, desired=(None, 2), running=4, queued=6)
    state = FleetState()
    for tick in range(62):
        decision, state = decide(FLEET, seen, state, tick * 5.0)
        if tick == 30:
            assert not decision.resumes, "resumed although the new ones may still start"
    assert set(decision.resumes) == {arn(0, A), arn(1, A)}


def test_old_workers_that_are_only_kept_get_no_replacement() -> None:
    decision, _ = decide(FLEET, both(["idle"] * 5, [], queued=1), FleetState(), 0.0)
    assert counts(decision) == (5, 1), "one is needed; the window holds the others, not replacements for them"


def test_of_three_services_the_oldest_drains_first() -> None:
    third = "worker-default-c"
    seen = both(["idle", "idle"], ["idle", "idle"], revisions=(6, 7), queued=15)
    seen = replace(seen, services={**seen.services, third: service_observation(["idle"], service=third, revision=8)})
    decision, _ = late(seen)
    assert len(decision.services[A].drains) == 2, "the oldest drain first"
    assert len(decision.services[B].drains) == 0, "two workers of the second are still needed"


# --- the launch budget


def test_the_launch_budget_covers_all_services_and_failed_launches() -> None:
    fleet = replace(FLEET, maximum=100, launch_budget=10)
    state = FleetState()
    decision, state = decide(fleet, both(["full"], ["full"], desired=(3, 1), queued=400), state, 0.0)
    assert decision.services[B].desired == 1 + 8, "two are requested on the old service"
    assert any("not running yet" in step.text for step in decision.explanation)
    for tick in range(1, 100):
        decision, state = decide(fleet, both(["full"], ["full"], desired=(3, 9), queued=400), state, tick * 5.0)
        late = tick * 5.0 > fleet.launch_deadline_s
        assert counts(decision) == ((1 + 10, 2) if late else (3, 9)), "requested more although no task started"
    decision, _ = decide(fleet, both(["full"], ["full"] * 6, desired=(3, 9), queued=400), state, 500.0)
    assert decision.services[B].desired == 6 + 8


def test_explanations_name_the_service_and_its_share() -> None:
    decision, _ = late(both(["full", "full"], ["idle", "pending"], running=10))
    texts = [step.text for step in decision.explanation]
    assert f"New workers start on {B} (revision 8)" in texts
    assert f"1 of 2 target workers consume on {B}: {A} keeps 1 of 2" in texts
    drain = next(step for step in decision.explanation if step.name == "drain")
    assert drain.values["service"] == A
    assert f"{A}: 2 workers consuming, target 1: drain" in drain.text


# --- a newest service whose starts fail


def failing(
    a: Sequence[str], b: Sequence[str], *, desired: tuple[int, int], queued: int, seconds: float
) -> tuple[Decision, FleetState]:
    """Decide every 5 s for so long; each start of `b` is a new task every time."""
    state, now = FleetState(), 0.0
    while True:
        tick = int(now / 5)
        observation = both(a, b if tick % 2 else [], desired=desired, queued=queued)
        seen = observation.services[B].tasks
        assert isinstance(seen, Known)
        again = tuple(replace(task, arn=f"{task.arn}-{tick}") for task in seen.value)
        observation = with_changes(observation, B, tasks=replace(seen, value=again))
        decision, state = decide(FLEET, observation, state, now)
        if now >= seconds:
            return decision, state
        now += 5.0


@pytest.mark.parametrize("start", ["pending", "booting"])
@pytest.mark.parametrize("seconds", [FLEET.launch_deadline_s - 20.0, FLEET.launch_deadline_s + 20.0])
def test_the_old_service_grows_while_no_start_of_the_newest_succeeds(start: str, seconds: float) -> None:
    decision, _ = failing(["full", "full"], [start] * 4, desired=(2, 4), queued=20, seconds=seconds)
    late = seconds > FLEET.launch_deadline_s
    assert counts(decision) == ((4, 1) if late else (2, 4))
    assert any("no start has succeeded" in step.text for step in decision.explanation) is late


@pytest.mark.parametrize("maximum", [10, 100], ids=["within the launch budget", "above the launch budget"])
def test_the_old_service_reaches_the_maximum_and_the_newest_tries_one_start_at_a_time(maximum: int) -> None:
    """Without the limit both have the maximum, or the starts that fail use the launch budget for ever."""
    fleet, state, found = replace(FLEET, maximum=maximum), FleetState(), [(2, 0)]
    for tick in range(100):
        old, new = found[-1]
        observation = both(["full"] * old, [], desired=(old, new), queued=1000)
        decision, state = decide(fleet, observation, state, tick * 5.0)
        found.append((decision.services[A].desired or 0, decision.services[B].desired or 0))
    assert found[-1] == (maximum, 1)
    late = [counts for counts in found if counts[0] > 2]
    assert max(sum(counts) for counts in late) == maximum + 1
    unlisted = with_changes(both(["full"] * maximum, [], desired=(maximum, 1), queued=1000), B, tasks=SILENT)
    assert counts(decide(fleet, unlisted, state, 500.0)[0]) == (maximum, 1)
    started, state = decide(fleet, both(["full"] * maximum, ["idle"], queued=1000), state, 505.0)
    assert counts(started) == (maximum, min(maximum, 1 + fleet.launch_budget)), "the deployment continues"


def test_drained_old_workers_resume_while_no_start_of_the_newest_succeeds() -> None:
    seconds = FLEET.launch_deadline_s + 20.0
    decision, _ = failing(["full", "draining", "released"], ["pending"] * 3, desired=(3, 3), queued=15, seconds=seconds)
    assert set(decision.services[A].resumes) == {arn(1, A), arn(2, A)}


def test_a_dead_worker_is_no_start_that_fails() -> None:
    """Its protection has lapsed long ago. New workers that start later are healthy, and the old service stays."""
    state, now = FleetState(), 0.0
    for b in [["full"] * 2] + [["booting", "full"]] * 100:
        decision, state = decide(FLEET, both(["full"], b, desired=(1, 2), queued=10), state, now)
        now += 5.0
    starting = both(["full"], ["booting", "full", "pending", "pending"], desired=(1, 4), queued=25)
    decision, _ = decide(FLEET, starting, state, now)
    assert decision.workers.stuck == 1, "only the dead worker is late"
    assert counts(decision)[0] == 1
    assert not any("no start has succeeded" in step.text for step in decision.explanation)


def test_a_start_that_is_seen_late_succeeds_too() -> None:
    """ECS lists a task only after it consumes: a start has succeeded although no tick saw it start."""
    state, now = FleetState(), 0.0
    for number in range(1, 9):
        for _ in range(12):
            seen = both(["full"], ["full"] * number, desired=(1, number + 3), queued=50)
            decision, state = decide(FLEET, seen, state, now)
            now += 5.0
    assert now > FLEET.launch_deadline_s
    assert not any("no start has succeeded" in step.text for step in decision.explanation)


@pytest.mark.parametrize("starts", [["pending"] * 4, ["pending"]], ids=["all are tried again", "one is"])
def test_starts_that_fail_again_and_again_block_no_scale_in(starts: Sequence[str]) -> None:
    for seconds in (FLEET.launch_deadline_s + 20.0, FLEET.launch_deadline_s + 25.0):  # with and without a task
        decision, _ = failing(["full"], starts, desired=(1, 4), queued=0, seconds=seconds)
        assert counts(decision) == (1, 1)


def test_a_start_that_succeeds_ends_the_failure() -> None:
    _, state = failing(["full", "full"], ["pending"] * 4, desired=(2, 4), queued=10, seconds=400.0)
    assert state.services[B].failing_since == 0.0
    launching = service_observation(["pending"] * 2, service=B, revision=8, desired=4)
    _, state = decide(FLEET, with_service(launching), state, 405.0)
    started = service_observation(["full", "pending"], service=B, revision=8, desired=4)
    decision, state = decide(FLEET, with_service(started), state, 410.0)
    assert state.services[B].failing_since == 410.0
    decision, state = decide(FLEET, with_service(started), state, 415.0)
    assert counts(decision)[0] == 2, "the old service keeps its size, and its workers leave as new ones consume"


def with_service(b: ServiceObservation) -> Observation:
    a = service_observation(["full", "full"], service=A, revision=7, desired=2)
    return observe_services({A: a, B: b}, queued=10, running=0)
