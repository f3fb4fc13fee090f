# SPDX-License-Identifier: Apache-2.0
"""When the control plane is healthy, when it is hopeless, and what somebody is told then."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from openmwaa.config.environment import Environment
from openmwaa.operate.connection import Connection
from openmwaa.operate.control_plane import SERVICES, watch
from openmwaa.operate.errors import NotRunningError
from openmwaa.operate.waiting import WaitStatus
from tests.support.environments import LEAST

ARN = "arn:aws:ecs:us-east-1:123456789012"
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class World:
    """An ECS and its logs: every service healthy on revision 5, but for what a test changes."""

    services: dict[str, dict[str, Any]] = field(default_factory=dict)
    tasks: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    printed: list[str] | Exception = field(default_factory=list)

    def __post_init__(self) -> None:
        self.services = {name: service(name) for name in SERVICES}

    def seen(self, **more: Any) -> WaitStatus:
        environment = Environment.model_validate({**LEAST, **more})
        return watch(Fake(environment, Path("environment.yaml"), world=self))

    def describe_services(self, *, cluster: str, services: list[str]) -> Any:
        assert cluster == "openmwaa-example"
        return {"services": [one for name, one in self.services.items() if name in services]}

    def describe_task_definition(self, *, taskDefinition: str) -> Any:  # noqa: N803 - boto3's own
        options = {"awslogs-group": "airflow-example-Scheduler", "awslogs-stream-prefix": "prepare-database"}
        container = {"name": "prepare-database", "logConfiguration": {"options": options}}
        return {"taskDefinition": {"revision": 5, "containerDefinitions": [container]}}

    def list_tasks(self, *, cluster: str, serviceName: str, desiredStatus: str) -> Any:  # noqa: N803
        assert desiredStatus == "STOPPED"
        return {"taskArns": [one["taskArn"] for one in self.tasks.get(serviceName, ())]}

    def describe_tasks(self, *, cluster: str, tasks: list[str]) -> Any:
        return {"tasks": [one for each in self.tasks.values() for one in each if one["taskArn"] in tasks]}

    def get_log_events(self, *, logGroupName: str, logStreamName: str, limit: int, startFromHead: bool) -> Any:  # noqa: N803
        assert (logGroupName, startFromHead) == ("airflow-example-Scheduler", False)
        if isinstance(self.printed, Exception):
            raise self.printed
        return {"events": [{"message": line} for line in self.printed[-limit:]]}


@dataclass(frozen=True)
class Fake(Connection):
    world: Any = None

    def client(self, service: str) -> Any:
        assert service in {"ecs", "logs"}
        return self.world


def service(name: str, *, revision: int = 5, desired: int = 2, running: int = 2, **primary: Any) -> dict[str, Any]:
    deployment = {
        "status": "PRIMARY",
        "taskDefinition": f"{ARN}:task-definition/openmwaa-example-{name}:{revision}",
        "rolloutState": "COMPLETED",
        **primary,
    }
    counts = {"desiredCount": desired, "runningCount": running, "pendingCount": 0}
    return {"serviceName": name, "status": "ACTIVE", **counts, "deployments": [deployment]}


def stopped(number: int, *, container: str = "prepare-database", code: int | None = 1) -> dict[str, Any]:
    return {
        "taskArn": f"{ARN}:task/openmwaa-example/{number}",
        "taskDefinitionArn": f"{ARN}:task-definition/openmwaa-example-scheduler:5",
        "stoppedReason": "Essential container in task exited.",
        "stoppedAt": NOW + timedelta(minutes=number),
        "containers": [{"name": "syncer"}, {"name": container, "exitCode": code}],
    }


@pytest.fixture
def world() -> World:
    return World()


def test_all_services_on_the_newest_revision_are_healthy(world: World) -> None:
    seen = world.seen()
    assert seen.outcome == "done"
    assert [one["service"] for one in seen.data["control_plane"]] == list(SERVICES)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        pytest.param(
            service("web-server", running=1, rolloutState="IN_PROGRESS"),
            "web-server: 1 of 2 tasks run, revision 5 is being rolled out",
            id="a rollout",
        ),
        pytest.param(service("web-server", running=1), "web-server: 1 of 2 tasks run", id="a task is missing"),
        pytest.param(service("web-server", desired=0, running=0), "web-server: 0 of 0 tasks run", id="none is wanted"),
    ],
)
def test_what_is_not_there_yet_is_awaited(world: World, changed: dict[str, Any], told: str) -> None:
    world.services["web-server"] = changed
    seen = world.seen()
    assert (seen.outcome, seen.awaited) == ("unfinished", (told,))


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        pytest.param(service("scheduler", revision=4), r"runs revision 4 and not 5.*rolled it back", id="rolled back"),
        pytest.param(
            service(
                "scheduler",
                revision=4,
                rolloutState="IN_PROGRESS",
                rolloutStateReason="ECS deployment circuit breaker: rolling back from deploymentId ecs-svc/1.",
            ),
            r"runs revision 4 and not 5",
            id="rolling back",
        ),
        pytest.param(
            service("scheduler", rolloutState="FAILED", rolloutStateReason="tasks failed to start."),
            r"ECS gave up on revision 5: tasks failed to start",
            id="nothing to roll back to",
        ),
    ],
)
def test_what_ecs_gave_up_is_a_failure(world: World, changed: dict[str, Any], told: str) -> None:
    world.services["scheduler"] = changed
    seen = world.seen()
    assert seen.outcome == "failed"
    assert re.search(told, seen.failures[0]), seen.failures


def test_a_preparation_that_fails_again_and_again_is_told_with_its_last_lines(world: World) -> None:
    world.services["scheduler"] = service("scheduler", running=0, rolloutState="IN_PROGRESS")
    world.printed = [f"line {number}" for number in range(30)]
    world.tasks["scheduler"] = [stopped(1), stopped(2)]
    first = world.seen()
    assert first.outcome == "unfinished", "twice may be a database that is not up yet"
    assert "prepare-database ended with exit code 1" in first.awaited[0]
    world.tasks["scheduler"].append(stopped(3))
    (failure,) = world.seen().failures
    assert "prepare-database failed 3 times" in failure
    assert "\n  line 29\n" in failure
    assert "\n  line 14" not in failure, "fifteen lines are enough"
    assert failure.endswith(
        "More: aws logs tail airflow-example-Scheduler --log-stream-names prepare-database/prepare-database/3 "
        "--since 1h --region us-east-1"
    )


def test_a_component_that_falls_is_ecs_to_give_up_on(world: World) -> None:
    world.services["scheduler"] = service("scheduler", running=0, rolloutState="IN_PROGRESS")
    world.tasks["scheduler"] = [stopped(number, container="scheduler") for number in range(9)]
    seen = world.seen()
    assert seen.outcome == "unfinished"
    assert "scheduler ended with exit code 1" in seen.awaited[0]


def test_a_task_that_never_started_is_told_by_its_reason(world: World) -> None:
    world.services["scheduler"] = service("scheduler", running=0, rolloutState="IN_PROGRESS")
    world.tasks["scheduler"] = [{**stopped(1, code=None), "stoppedReason": "CannotPullContainerError: not found."}]
    assert "CannotPullContainerError: not found" in world.seen().awaited[0]


def test_stops_of_an_older_revision_are_history(world: World) -> None:
    world.services["scheduler"] = service("scheduler", running=1)
    old = f"{ARN}:task-definition/openmwaa-example-scheduler:4"
    world.tasks["scheduler"] = [{**stopped(number), "taskDefinitionArn": old} for number in range(5)]
    assert world.seen().awaited == ("scheduler: 1 of 2 tasks run",)


def test_logs_that_may_not_be_read_hide_no_failure(world: World) -> None:
    world.services["scheduler"] = service("scheduler", running=0, rolloutState="FAILED")
    world.tasks["scheduler"] = [stopped(1)]
    world.printed = ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "GetLogEvents")
    (failure,) = world.seen().failures
    assert "ECS gave up on revision 5" in failure
    assert "logs:GetLogEvents" in failure


def test_a_service_that_is_not_there_is_told(world: World) -> None:
    del world.services["triggerer"]
    with pytest.raises(NotRunningError, match="no service triggerer"):
        world.seen()
