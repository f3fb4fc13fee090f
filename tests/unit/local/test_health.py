# SPDX-License-Identifier: Apache-2.0
"""What the daemon's status means."""

from typing import Any

import pytest

from openmwaa.local.health import EXIT_CODES, troubles, verdict


def service(name: str = "scheduler", desired: int = 1, running: int = 1, health: str = "UNKNOWN") -> dict[str, Any]:
    tasks = [{"status": "RUNNING", "health": health}] * running
    return {"name": name, "desired": desired, "running": running, "pending": 0, "tasks": tasks}


def status(*services: dict[str, Any], **changes: Any) -> dict[str, Any]:
    infrastructure = {"emulator": {"state": "running"}, "postgresql": {"state": "running"}}
    return {"phase": "ready", "ecs_fault": None, "infrastructure": infrastructure, "services": list(services)} | changes


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (None, "stopped"),
        (status(service(), service("worker-default", desired=5, running=1)), "healthy"),
        (status(service(health="HEALTHY")), "healthy"),
        (status(service(running=0)), "degraded"),
        (status(service("execution-api", desired=2, running=1)), "degraded"),
        (status(service("worker-default", desired=3, running=0)), "degraded"),
        (status(service("worker-idle", desired=0, running=0)), "healthy"),
        (status(service(health="UNHEALTHY")), "degraded"),
        (status(), "degraded"),
        (status(service(), phase="stopping"), "degraded"),
        (status(service(), ecs_fault="KeyError"), "degraded"),
        (status(service(), infrastructure={"emulator": {"state": "restarting"}}), "degraded"),
    ],
)
def test_the_verdict(one: dict[str, Any] | None, expected: str) -> None:
    assert verdict(one) == expected


def test_exit_codes_are_the_documented_ones() -> None:
    assert EXIT_CODES == {"healthy": 0, "degraded": 1, "stopped": 3}


def test_troubles_name_the_part_and_its_trouble() -> None:
    one = status(service(running=0), service("web-server"), infrastructure={"emulator": {"state": "restarting"}})
    assert list(troubles(one)) == [("emulator", "restarting"), ("scheduler", "0 of 1 running")]
