# SPDX-License-Identifier: Apache-2.0
"""The steps of sleep: their order protects tasks, an unknown reading allows none, and every state leads to the end."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler.core.model import Deployment, Service
from scaler.core.sleep import (
    NOT_SERVING,
    PATIENCE_S,
    SleepDecision,
    SleepObservation,
    SleepPolicy,
    SleepRequest,
    SleepState,
    decide_sleep,
    wanted,
)

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
POLICY = SleepPolicy({"scheduler": 2, "web-server": 1}, frozenset({"web-server"}), has_database=True)


def service(desired: int, running: int = 0, pending: int = 0) -> Service:
    return Service(desired, running, pending, (Deployment("PRIMARY", "worker:1", "COMPLETED"),))


def seen(
    *,
    workers: int | None = 0,
    scheduler: Service | None = None,
    web: Service | None = None,
    healthy: int | None = None,
    database: str | None = "available",
) -> SleepObservation:
    services = {"scheduler": scheduler, "web-server": web}
    return SleepObservation(workers, services, dict.fromkeys(services, healthy), database)


UP: Mapping[str, Any] = {"scheduler": service(2, 2), "web": service(3, 3)}
EMPTY: Mapping[str, Any] = {"scheduler": service(0), "web": service(0)}


@pytest.mark.parametrize(
    ("down", "observation", "expected"),
    [
        (False, seen(workers=None, **UP), SleepDecision("draining", waits_for="the number of workers is unknown")),
        (False, seen(workers=3, **UP), SleepDecision("draining", waits_for="3 workers")),
        (
            False,
            seen(workers=0, **UP),
            SleepDecision("stopping", {"scheduler": 0, "web-server": 0}, waits_for="5 tasks of the control plane"),
        ),
        (
            True,
            seen(scheduler=service(0, 1), web=service(0)),
            SleepDecision("stopping", waits_for="1 tasks of the control plane"),
        ),
        (True, seen(scheduler=None, web=service(0)), SleepDecision("stopping", waits_for="scheduler is unknown")),
        (True, seen(**EMPTY), SleepDecision("stopping", database="stop", waits_for="the database is available")),
        (
            True,
            seen(**EMPTY, database="backing-up"),
            SleepDecision("stopping", waits_for="the database is backing-up"),
        ),
        (True, seen(**EMPTY, database=None), SleepDecision("stopping", waits_for="the database is unknown")),
        (True, seen(**EMPTY, database="stopped"), SleepDecision("asleep")),
        (True, seen(**EMPTY, database="starting"), SleepDecision("stopping", waits_for="the database is starting")),
        (
            True,
            seen(workers=None, **EMPTY),
            SleepDecision("stopping", waits_for="the number of workers is unknown"),
        ),
    ],
    ids=[
        *("hold first", "workers", "control plane", "its tasks", "an unknown service", "database", "backup"),
        *("unknown database", "end", "started by AWS", "unknown workers"),
    ],
)
def test_falling_asleep(down: bool, observation: SleepObservation, expected: SleepDecision) -> None:
    assert decide_sleep(POLICY, "asleep", down=down, seen=observation) == expected


@pytest.mark.parametrize(
    ("waited_s", "observation", "expected"),
    [
        (
            0,
            seen(**EMPTY, database="stopped"),
            SleepDecision("starting", database="start", waits_for="the database is stopped"),
        ),
        (0, seen(**EMPTY, database="stopping"), SleepDecision("starting", waits_for="the database is stopping")),
        (0, seen(**EMPTY, database=None), SleepDecision("starting", waits_for="the database is unknown")),
        (
            0,
            seen(**EMPTY),
            SleepDecision("starting", {"scheduler": 2, "web-server": 1}, waits_for="scheduler has no healthy task"),
        ),
        (0, seen(**UP), SleepDecision("starting", waits_for="scheduler has no healthy task")),
        (0, seen(**UP, healthy=1), SleepDecision("awake")),
        (PATIENCE_S, seen(**UP, healthy=0), SleepDecision("awake")),
        (PATIENCE_S, seen(scheduler=None, web=service(1)), SleepDecision("awake")),
        (
            PATIENCE_S,
            seen(**EMPTY),
            SleepDecision("starting", {"scheduler": 2, "web-server": 1}, waits_for="scheduler has no healthy task"),
        ),
        (PATIENCE_S, seen(**UP, database=None), SleepDecision("starting", waits_for="the database is unknown")),
    ],
    ids=[
        *("database", "the stop ends first", "unknown database", "control plane", "not healthy yet", "end"),
        *("never healthy", "a service does not exist", "a count cannot be set", "the database is unknown for long"),
    ],
)
def test_waking(waited_s: float, observation: SleepObservation, expected: SleepDecision) -> None:
    assert decide_sleep(POLICY, "awake", down=True, seen=observation, waited_s=waited_s) == expected


@pytest.mark.parametrize(
    ("observation", "expected"),
    [
        (seen(**UP), SleepDecision("awake")),
        (seen(scheduler=service(1, 1), web=service(3, 3)), SleepDecision("awake", {"scheduler": 2})),
        (seen(scheduler=service(0, 1), web=None), SleepDecision("awake")),
        (seen(scheduler=service(2, 0), web=service(1, 0), database=None), SleepDecision("awake")),
        (seen(scheduler=None, web=None, database=None), SleepDecision("awake")),
    ],
    ids=["up", "drift", "a destroy", "a deployment", "nothing is known"],
)
def test_an_environment_that_was_not_down_is_awake(observation: SleepObservation, expected: SleepDecision) -> None:
    assert decide_sleep(POLICY, "awake", down=False, seen=observation) == expected


COUNTS = st.none() | st.builds(service, st.integers(0, 3), st.integers(0, 3), st.integers(0, 2))
OBSERVATIONS = st.builds(
    lambda workers, scheduler, web, healthy, database: seen(
        workers=workers, scheduler=scheduler, web=web, healthy=healthy, database=database
    ),
    st.none() | st.integers(0, 3),
    COUNTS,
    COUNTS,
    st.none() | st.integers(0, 3),
    st.none() | st.sampled_from(["available", "backing-up", *sorted(NOT_SERVING)]),
)


@given(st.booleans(), OBSERVATIONS)
def test_nothing_stops_before_what_needs_it_has_stopped(down: bool, observation: SleepObservation) -> None:
    decision = decide_sleep(POLICY, "asleep", down=down, seen=observation)
    services = observation.services.values()
    if decision.desired or decision.database or decision.phase == "asleep":
        assert observation.workers == 0
    if decision.database or decision.phase == "asleep":
        assert all(found and not found.desired and not found.running and not found.pending for found in services)
    assert decision.phase in ("draining", "stopping", "asleep"), "a fleet would start workers"
    assert decision.database != "start"


@given(st.booleans(), OBSERVATIONS, st.sampled_from([0.0, PATIENCE_S]))
def test_an_awake_control_plane_is_never_stopped(down: bool, observation: SleepObservation, waited_s: float) -> None:
    decision = decide_sleep(POLICY, "awake", down=down, seen=observation, waited_s=waited_s)
    assert decision.database != "stop"
    assert all(count > 0 for count in decision.desired.values())
    if decision.phase == "awake" and down:
        assert observation.database not in {None, *NOT_SERVING}
        assert waited_s or all(observation.healthy.values()), "tasks would find no execution API"


HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("requests", "state"),
    [
        ([("awake", 0), ("asleep", 1)], "asleep"),
        ([("asleep", 1), ("awake", 0)], "asleep"),
        ([("asleep", 1), ("awake", 2)], "awake"),
        ([("asleep", 1), ("awake", 1)], "awake"),
        ([("asleep", 1), ("awake", 9)], "asleep"),
        ([], None),
    ],
    ids=["in order", "in any order", "wakes", "at the same time", "in the future", "none"],
)
def test_the_last_request_is_in_force(requests: list[tuple[SleepState, int]], state: str | None) -> None:
    found = wanted(NOON + 5 * HOUR, [SleepRequest(state, NOON + hours * HOUR) for state, hours in requests])
    assert (found and found.state) == state


def test_a_hold_is_in_force_whatever_the_clock() -> None:
    hold = SleepRequest("awake", NOON, "deploy")
    assert wanted(NOON + 5 * HOUR, [SleepRequest("asleep", NOON + HOUR)], hold=hold) == hold
