# SPDX-License-Identifier: Apache-2.0
"""What the daemon's status means."""

from typing import Any

import pytest

from openmwaa.local.health import EXIT_CODES, troubles, verdict


def service(name: str = "scheduler", desired: int = 1, running: int = 1, health: str = "UNKNOWN") -> dict[str, Any]:
    tasks = [{"status": "RUNNING", "health": health}] * running
    return {"name": name, "desired": desired, "running": running, "pending": 0, "tasks": tasks}


def generations(**of: tuple[int, int, int]) -> list[dict[str, Any]]:
    """The services of a fleet: revision, desired and running by generation."""
    return [
        service(f"worker-default-{each}", desired, running)
        | {"task_definition": f"openmwaa-x-worker-default:{revision}", "capacity": "FARGATE"}
        for each, (revision, desired, running) in of.items()
    ]


def status(*services: dict[str, Any], **changes: Any) -> dict[str, Any]:
    infrastructure = {"emulator": {"state": "running"}, "postgresql": {"state": "running"}}
    return {"phase": "ready", "ecs_fault": None, "infrastructure": infrastructure, "services": list(services)} | changes


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (None, "stopped"),
        (status(service(), *generations(a=(1, 5, 1))), "healthy"),
        (status(service(health="HEALTHY")), "healthy"),
        (status(service(running=0)), "degraded"),
        (status(service("execution-api", desired=2, running=1)), "degraded"),
        (status(*generations(a=(1, 3, 0))), "degraded"),
        (status(*generations(a=(1, 0, 0), b=(1, 0, 0))), "healthy"),
        (status(*generations(a=(1, 4, 4), b=(2, 0, 0))), "degraded"),
        (status(*generations(a=(1, 4, 4), b=(2, 3, 1))), "healthy"),
        (status(*generations(a=(1, 2, 0), b=(2, 3, 3))), "healthy"),
        (status(*generations(a=(3, 3, 3), b=(2, 0, 2))), "healthy"),
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


def test_a_new_revision_that_nobody_runs_yet_is_awaited() -> None:
    found = list(troubles(status(*generations(a=(1, 4, 4), b=(2, 1, 0)))))
    assert found == [("worker-default-b", "0 of 1 running; revision 2 is not in use yet")]
