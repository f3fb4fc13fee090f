# SPDX-License-Identifier: Apache-2.0
"""The steps of sleep: their order protects tasks, an unknown reading allows none, and every state leads to the end."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler.core.model import Deployment, Service
from scaler.core.sleep import (
    NOT_SERVING,
    Phase,
    SleepDecision,
    SleepObservation,
    SleepPolicy,
    SleepRecord,
    decide_sleep,
)

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
POLICY = SleepPolicy({"scheduler": 2, "web-server": 1}, frozenset({"web-server"}), has_database=True)
PHASES: tuple[Phase, ...] = ("unknown", "awake", "draining", "stopping", "asleep", "starting")


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
    ("before", "observation", "expected"),
    [
        ("awake", seen(workers=None, **UP), SleepDecision("draining", waits_for="the number of workers is unknown")),
        ("draining", seen(workers=3, **UP), SleepDecision("draining", waits_for="3 workers")),
        (
            "draining",
            seen(workers=0, **UP),
            SleepDecision("stopping", {"scheduler": 0, "web-server": 0}, waits_for="5 tasks of the control plane"),
        ),
        (
            "stopping",
            seen(scheduler=service(0, 1), web=service(0)),
            SleepDecision("stopping", waits_for="1 tasks of the control plane"),
        ),
        (
            "stopping",
            seen(scheduler=None, web=service(0)),
            SleepDecision("stopping", waits_for="scheduler is unknown"),
        ),
        ("stopping", seen(**EMPTY), SleepDecision("stopping", database="stop", waits_for="the database is available")),
        (
            "stopping",
            seen(**EMPTY, database="backing-up"),
            SleepDecision("stopping", waits_for="the database is backing-up"),
        ),
        ("stopping", seen(**EMPTY, database=None), SleepDecision("stopping", waits_for="the database is unknown")),
        ("stopping", seen(**EMPTY, database="stopped"), SleepDecision("asleep")),
        (
            "asleep",
            seen(**EMPTY, database="starting"),
            SleepDecision("stopping", waits_for="the database is starting"),
        ),
        (
            "asleep",
            seen(workers=None, **EMPTY),
            SleepDecision("stopping", waits_for="the number of workers is unknown"),
        ),
    ],
    ids=[
        *("hold first", "workers", "control plane", "its tasks", "an unknown service", "database", "backup"),
        *("unknown database", "end", "started by AWS", "unknown workers"),
    ],
)
def test_falling_asleep(before: Phase, observation: SleepObservation, expected: SleepDecision) -> None:
    assert decide_sleep(POLICY, "asleep", before, observation) == expected


@pytest.mark.parametrize(
    ("before", "observation", "expected"),
    [
        (
            "asleep",
            seen(**EMPTY, database="stopped"),
            SleepDecision("starting", database="start", waits_for="the database is stopped"),
        ),
        (
            "starting",
            seen(**EMPTY, database="stopping"),
            SleepDecision("starting", waits_for="the database is stopping"),
        ),
        ("starting", seen(**EMPTY, database=None), SleepDecision("starting", waits_for="the database is unknown")),
        (
            "starting",
            seen(**EMPTY),
            SleepDecision(
                "starting", {"scheduler": 2, "web-server": 1}, waits_for="scheduler: 0 of 2 tasks are healthy"
            ),
        ),
        (
            "starting",
            seen(**UP, healthy=1),
            SleepDecision("starting", waits_for="scheduler: 1 of 2 tasks are healthy"),
        ),
        ("starting", seen(**UP, healthy=2), SleepDecision("awake")),
        ("awake", seen(**UP), SleepDecision("awake")),
        ("awake", seen(scheduler=service(1, 1), web=service(3, 3)), SleepDecision("awake", {"scheduler": 2})),
        ("awake", seen(scheduler=service(0, 1), web=None), SleepDecision("awake")),
        ("unknown", seen(scheduler=service(2, 0), web=service(1, 0), database=None), SleepDecision("awake")),
        ("unknown", seen(scheduler=None, web=service(1)), SleepDecision("unknown", waits_for="scheduler is unknown")),
        (
            "unknown",
            seen(**EMPTY, database="stopped"),
            SleepDecision("starting", database="start", waits_for="the database is stopped"),
        ),
    ],
    ids=[
        *(
            "database",
            "the stop ends first",
            "unknown database",
            "control plane",
            "not healthy yet",
            "end",
            "stays awake",
        ),
        *("drift", "a destroy", "scaler's start during a deployment", "unknown start", "scaler's start in a wake"),
    ],
)
def test_waking(before: Phase, observation: SleepObservation, expected: SleepDecision) -> None:
    assert decide_sleep(POLICY, "awake", before, observation) == expected


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


@given(st.sampled_from(PHASES), OBSERVATIONS)
def test_nothing_stops_before_what_needs_it_has_stopped(before: Phase, observation: SleepObservation) -> None:
    decision = decide_sleep(POLICY, "asleep", before, observation)
    services = observation.services.values()
    if decision.desired or decision.database or decision.phase == "asleep":
        assert observation.workers == 0
    if decision.database or decision.phase == "asleep":
        assert all(found and not found.desired and not found.running and not found.pending for found in services)
    assert decision.phase not in ("awake", "unknown"), "a fleet would start workers"
    assert decision.database != "start"


@given(st.sampled_from(PHASES), OBSERVATIONS)
def test_an_awake_control_plane_is_never_stopped(before: Phase, observation: SleepObservation) -> None:
    decision = decide_sleep(POLICY, "awake", before, observation)
    assert decision.database != "stop"
    assert all(count > 0 for count in decision.desired.values())
    if decision.phase == "awake" and before not in ("awake", "unknown"):
        healthy = observation.healthy
        assert all((healthy[name] or 0) >= count for name, count in POLICY.services.items()), "tasks would find no API"
        assert observation.database not in {None, *NOT_SERVING}


@pytest.mark.parametrize("known", [True, False], ids=["running", "being deployed"])
def test_a_scaler_that_starts_drains_no_awake_environment(known: bool) -> None:
    observation = seen(scheduler=service(2, 2 * known), web=service(1, known))
    assert decide_sleep(POLICY, "awake", "unknown", observation).phase == "awake"


RECORD = SleepRecord("awake", NOON, by="a user")
HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("record", "sleep_at", "wake_at", "state"),
    [
        (RECORD, NOON + HOUR, NOON - HOUR, "asleep"),
        (RECORD, NOON - HOUR, None, "awake"),
        (RECORD, NOON, None, "awake"),
        (RECORD, NOON + HOUR, NOON + 2 * HOUR, "awake"),
        (RECORD, NOON + HOUR, NOON + HOUR, "awake"),
        (replace(RECORD, state="asleep"), NOON - HOUR, NOON + HOUR, "awake"),
        (replace(RECORD, state="asleep"), NOON + 2 * HOUR, NOON + HOUR, "asleep"),
        (replace(RECORD, schedule_since=NOON + 2 * HOUR), NOON + HOUR, None, "awake"),
        (RECORD, None, None, "awake"),
    ],
    ids=[
        *("after the command", "before the command", "at the command", "missed both", "at the same time", "wakes"),
        *("missed the wake", "a new schedule", "no schedule"),
    ],
)
def test_the_later_of_command_and_clock_is_in_force(
    record: SleepRecord, sleep_at: datetime | None, wake_at: datetime | None, state: str
) -> None:
    after = record.after_clock(sleep_at, wake_at)
    assert after.state == state
    assert (after.by == "schedule") == (after.state != record.state)
