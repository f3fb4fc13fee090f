# SPDX-License-Identifier: Apache-2.0
"""The health of an environment, from the daemon's status."""

import json
from pathlib import Path
from typing import Any

import pytest

from openmwaa.local.health import EXIT_CODES, dags_left_out, health, troubles


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
    ("daemon_status", "expected"),
    [
        (None, "stopped"),
        (status(service(), *worker_services(a=(1, 5, 1))), "healthy"),
        (status(service(task_health="HEALTHY")), "healthy"),
        (status(service(running=0)), "degraded"),
        (status(service("execution-api", desired=2, running=1)), "degraded"),
        (status(*worker_services(a=(1, 3, 0))), "degraded"),
        (status(*worker_services(a=(1, 0, 0), b=(1, 0, 0))), "healthy"),
        (status(*worker_services(a=(1, 4, 4), b=(2, 0, 0))), "degraded"),
        (status(*worker_services(a=(1, 4, 4), b=(2, 3, 1))), "healthy"),
        (status(*worker_services(a=(1, 2, 0), b=(2, 3, 3))), "healthy"),
        (status(*worker_services(a=(3, 3, 3), b=(2, 0, 2))), "healthy"),
        (status(service(task_health="UNHEALTHY")), "degraded"),
        (status(), "degraded"),
        (status(service(), phase="stopping"), "degraded"),
        (status(service(), ecs_fault="KeyError"), "degraded"),
        (status(service(), infrastructure={"emulator": {"state": "restarting"}}), "degraded"),
    ],
)
def test_the_health_of_an_environment(daemon_status: dict[str, Any] | None, expected: str) -> None:
    assert health(daemon_status) == expected


def test_an_environment_with_lost_messages_is_degraded() -> None:
    running = status(service(), *worker_services(a=(1, 5, 1)))
    assert health(running, {"default": 35}) == "degraded"
    assert health(running, {}) == "healthy"


def test_exit_codes_are_as_documented() -> None:
    assert EXIT_CODES == {"healthy": 0, "degraded": 1, "stopped": 3}


def test_troubles_have_the_name_of_the_process_or_service() -> None:
    degraded = status(service(running=0), service("web-server"), infrastructure={"emulator": {"state": "restarting"}})
    assert list(troubles(degraded)) == [("emulator", "restarting"), ("scheduler", "0 of 1 running")]


def test_a_new_revision_without_running_workers_is_a_trouble() -> None:
    found = list(troubles(status(*worker_services(a=(1, 4, 4), b=(2, 1, 0)))))
    assert found == [("worker-default-b", "0 of 1 running; revision 2 is not in use yet")]


def test_objects_that_syncers_left_out_have_their_reasons(tmp_path: Path) -> None:
    for task, left_out in {"worker": ["dags/a.py"], "processor": ["dags/a.py", "dags/b.py"], "scheduler": []}.items():
        folder = tmp_path / task / "volumes" / "dags"
        folder.mkdir(parents=True)
        data = {key: {"reason": "AccessDenied", "has_old_content": True} for key in left_out}
        (folder / "status.json").write_text(json.dumps({"left_out": data}))
    assert dags_left_out(tmp_path) == {"dags/a.py": "AccessDenied", "dags/b.py": "AccessDenied"}
