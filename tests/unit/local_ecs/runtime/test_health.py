# SPDX-License-Identifier: Apache-2.0
"""Health from check results, in virtual time."""

import pytest

from local_ecs.runtime.container_plan import HealthCheck
from local_ecs.runtime.health import HealthRecord


def record(**changes: float) -> HealthRecord:
    values = {"interval_s": 10, "timeout_s": 5, "retries": 3, "start_period_s": 0} | changes
    return HealthRecord(HealthCheck(("true",), **values))  # type: ignore[arg-type]


def test_one_success_is_healthy() -> None:
    assert record().record(passed=True, at=1) == "HEALTHY"


def test_frequent_first_checks_do_not_make_a_container_unhealthy_sooner_than_in_ecs() -> None:
    health = record()
    assert [health.record(passed=False, at=at) for at in range(1, 30)] == ["UNKNOWN"] * 29
    assert health.record(passed=False, at=30) == "UNHEALTHY"


def test_failures_in_the_start_period_do_not_count() -> None:
    health = record(start_period_s=100)
    assert all(health.record(passed=False, at=at) == "UNKNOWN" for at in range(1, 110, 10))


def test_after_a_success_failures_count_even_in_the_start_period() -> None:
    health = record(start_period_s=100, retries=2)
    health.record(passed=True, at=1)
    assert [health.record(passed=False, at=at) for at in (11, 21)] == ["HEALTHY", "UNHEALTHY"]


def test_a_success_resets_failures_and_makes_healthy() -> None:
    health = record(retries=2)
    results = [
        health.record(passed=passed, at=10 * at) for at, passed in enumerate((True, False, True, False, False, True))
    ]
    assert results == ["HEALTHY", "HEALTHY", "HEALTHY", "HEALTHY", "UNHEALTHY", "HEALTHY"]


@pytest.mark.parametrize(("healthy", "pause"), [(False, 1.0), (True, 10.0)])
def test_checks_are_frequent_until_healthy(healthy: bool, pause: float) -> None:
    health = record()
    health.record(passed=healthy, at=1)
    assert health.pause_s() == pause
