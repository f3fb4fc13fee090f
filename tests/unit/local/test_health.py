# SPDX-License-Identifier: Apache-2.0
"""The health of an environment, from the daemon's status."""

from typing import Any

import pytest

from openmwaa.local.health import troubles


def service(
    name: str = "scheduler", desired: int = 1, running: int = 1, task_health: str = "UNKNOWN"
) -> dict[str, Any]:
    tasks = [{"status": "RUNNING", "health": task_health}] * running
    return {"name": name, "desired": desired, "running": running, "pending": 0, "tasks": tasks}


def worker_services(**of: tuple[int, int, int]) -> list[dict[str, Any]]:
    """The services of a fleet: revision, desired and running by suffix."""
    return [
        service(f"worker-default-{suffix}", desired, running)
        | {"task_definition": f"openmwaa-x-worker-default:{revision}", "capacity": "FARGATE"}
        for suffix, (revision, desired, running) in of.items()
    ]


def status(*services: dict[str, Any], **changes: Any) -> dict[str, Any]:
    infrastructure = {"emulator": {"state": "running"}, "postgresql": {"state": "running"}}
    return {"phase": "ready", "ecs_fault": None, "infrastructure": infrastructure, "services": list(services)} | changes


@pytest.mark.parametrize(
    ("daemon_status", "healthy"),
    [
        (status(service(), *worker_services(a=(1, 5, 1))), True),
        (status(service(task_health="HEALTHY")), True),
        (status(service(running=0)), False),
        (status(service("execution-api", desired=2, running=1)), False),
        (status(*worker_services(a=(1, 3, 0))), False),
        (status(*worker_services(a=(1, 0, 0), b=(1, 0, 0))), True),
        (status(*worker_services(a=(1, 4, 4), b=(2, 0, 0))), False),
        (status(*worker_services(a=(1, 4, 4), b=(2, 3, 1))), True),
        (status(*worker_services(a=(1, 2, 0), b=(2, 3, 3))), True),
        (status(*worker_services(a=(3, 3, 3), b=(2, 0, 2))), True),
        (status(service(task_health="UNHEALTHY")), False),
        (status(), False),
        (status(service(), phase="stopping"), False),
        (status(service(), ecs_fault="KeyError"), False),
        (status(service(), infrastructure={"emulator": {"state": "restarting"}}), False),
    ],
)
def test_the_health_of_an_environment(daemon_status: dict[str, Any], *, healthy: bool) -> None:
    assert (not list(troubles(daemon_status))) is healthy


def test_troubles_have_the_name_of_the_process_or_service() -> None:
    degraded = status(service(running=0), service("web-server"), infrastructure={"emulator": {"state": "restarting"}})
    assert list(troubles(degraded)) == [("emulator", "restarting"), ("scheduler", "0 of 1 running")]


def test_a_new_revision_without_running_workers_is_a_trouble() -> None:
    found = list(troubles(status(*worker_services(a=(1, 4, 4), b=(2, 1, 0)))))
    assert found == [("worker-default-b", "0 of 1 running; revision 2 is not in use yet")]
