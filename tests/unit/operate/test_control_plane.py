# SPDX-License-Identifier: Apache-2.0
"""The health of the control plane: awaited, failed, and the messages for both."""

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from openmwaa.config.control_plane import COMPONENTS
from openmwaa.config.environment import Environment
from openmwaa.operate.control_plane import control_plane_status
from openmwaa.operate.errors import NotRunningError
from openmwaa.operate.waiting import WaitStatus
from tests.support.environments import LEAST
from tests.support.fake_connection import FakeConnection

SERVICES = (*COMPONENTS, "scaler")
ARN = "arn:aws:ecs:us-east-1:123456789012"
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class FakeEcsAndLogs:
    """ECS and CloudWatch Logs: every service is healthy on revision 5, except for the changes of a test."""

    services: dict[str, dict[str, Any]] = field(default_factory=dict)
    tasks: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    printed: list[str] | Exception = field(default_factory=list)

    def __post_init__(self) -> None:
        self.services = {name: service(name) for name in SERVICES}

    def status(self, **more: Any) -> WaitStatus:
        environment = Environment.model_validate({**LEAST, "control_plane": "SEPARATE", **more})
        return control_plane_status(
            FakeConnection(environment, Path("environment.yaml"), fake=self, services=("ecs", "logs"))
        )

    def describe_services(self, *, cluster: str, services: list[str]) -> Any:
        assert cluster == "openmwaa-example"
        return {"services": [entry for name, entry in self.services.items() if name in services]}

    def describe_task_definition(self, *, taskDefinition: str) -> Any:  # noqa: N803 - boto3's own
        options = {"awslogs-group": "airflow-example-Scheduler", "awslogs-stream-prefix": "prepare-database"}
        container = {"name": "prepare-database", "logConfiguration": {"options": options}}
        return {"taskDefinition": {"revision": 5, "containerDefinitions": [container]}}

    def list_tasks(self, *, cluster: str, serviceName: str, desiredStatus: str) -> Any:  # noqa: N803
        assert desiredStatus == "STOPPED"
        return {"taskArns": [task["taskArn"] for task in self.tasks.get(serviceName, ())]}

    def describe_tasks(self, *, cluster: str, tasks: list[str]) -> Any:
        return {"tasks": [task for stopped in self.tasks.values() for task in stopped if task["taskArn"] in tasks]}

    def get_log_events(self, *, logGroupName: str, logStreamName: str, limit: int, startFromHead: bool) -> Any:  # noqa: N803
        assert (logGroupName, startFromHead) == ("airflow-example-Scheduler", False)
        if isinstance(self.printed, Exception):
            raise self.printed
        return {"events": [{"message": line} for line in self.printed[-limit:]]}


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
def aws() -> FakeEcsAndLogs:
    return FakeEcsAndLogs()


def test_all_services_on_the_newest_revision_are_healthy(aws: FakeEcsAndLogs) -> None:
    status = aws.status()
    assert status.outcome == "done"
    assert [component["service"] for component in status.data["control_plane"]] == list(SERVICES)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        pytest.param(
            service("web-server", running=1, rolloutState="IN_PROGRESS"),
            "web-server: 1 of 2 tasks run, revision 5 is being rolled out",
            id="a rollout",
        ),
        pytest.param(service("web-server", running=1), "web-server: 1 of 2 tasks run", id="a task is missing"),
        pytest.param(service("web-server", desired=0, running=0), "web-server: 0 of 0 tasks run", id="none is desired"),
    ],
)
def test_an_unhealthy_service_is_awaited(aws: FakeEcsAndLogs, changed: dict[str, Any], message: str) -> None:
    aws.services["web-server"] = changed
    status = aws.status()
    assert (status.outcome, status.awaited) == ("unfinished", (message,))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        pytest.param(service("scheduler", revision=4), r"revision 4 runs, not 5.*rolled it back", id="rolled back"),
        pytest.param(
            service(
                "scheduler",
                revision=4,
                rolloutState="IN_PROGRESS",
                rolloutStateReason="ECS deployment circuit breaker: rolling back from deploymentId ecs-svc/1.",
            ),
            r"revision 4 runs, not 5",
            id="rolling back",
        ),
        pytest.param(
            service("scheduler", rolloutState="FAILED", rolloutStateReason="tasks failed to start."),
            r"the deployment of revision 5 failed: tasks failed to start",
            id="nothing to roll back to",
        ),
    ],
)
def test_a_failed_deployment_or_a_rollback_is_a_failure(
    aws: FakeEcsAndLogs, changed: dict[str, Any], message: str
) -> None:
    aws.services["scheduler"] = changed
    status = aws.status()
    assert status.outcome == "failed"
    assert re.search(message, status.failures[0]), status.failures


def test_a_preparation_that_fails_three_times_is_a_failure_with_its_last_log_lines(aws: FakeEcsAndLogs) -> None:
    aws.services["scheduler"] = service("scheduler", running=0, rolloutState="IN_PROGRESS")
    aws.printed = [f"line {number}" for number in range(30)]
    aws.tasks["scheduler"] = [stopped(1), stopped(2)]
    first = aws.status()
    assert first.outcome == "unfinished", "two failures may be a database that does not run yet"
    assert "prepare-database ended with exit code 1" in first.awaited[0]
    aws.tasks["scheduler"].append(stopped(3))
    (failure,) = aws.status().failures
    assert "prepare-database failed 3 times" in failure
    assert "\n  line 29\n" in failure
    assert "\n  line 14" not in failure, "the limit is fifteen lines"
    assert failure.endswith(
        "More: aws logs tail airflow-example-Scheduler --log-stream-names prepare-database/prepare-database/3 "
        "--since 1h --region us-east-1"
    )


def test_a_failing_component_is_awaited_until_ecs_ends_its_deployment(aws: FakeEcsAndLogs) -> None:
    aws.services["scheduler"] = service("scheduler", running=0, rolloutState="IN_PROGRESS")
    aws.tasks["scheduler"] = [stopped(number, container="scheduler") for number in range(9)]
    status = aws.status()
    assert status.outcome == "unfinished"
    assert "scheduler ended with exit code 1" in status.awaited[0]


def test_a_task_that_never_started_is_reported_with_its_reason(aws: FakeEcsAndLogs) -> None:
    aws.services["scheduler"] = service("scheduler", running=0, rolloutState="IN_PROGRESS")
    aws.tasks["scheduler"] = [{**stopped(1, code=None), "stoppedReason": "CannotPullContainerError: not found."}]
    assert "CannotPullContainerError: not found" in aws.status().awaited[0]


def test_stopped_tasks_of_an_older_revision_are_ignored(aws: FakeEcsAndLogs) -> None:
    aws.services["scheduler"] = service("scheduler", running=1)
    old = f"{ARN}:task-definition/openmwaa-example-scheduler:4"
    aws.tasks["scheduler"] = [{**stopped(number), "taskDefinitionArn": old} for number in range(5)]
    assert aws.status().awaited == ("scheduler: 1 of 2 tasks run",)


def test_a_failure_is_reported_even_if_its_log_cannot_be_read(aws: FakeEcsAndLogs) -> None:
    aws.services["scheduler"] = service("scheduler", running=0, rolloutState="FAILED")
    aws.tasks["scheduler"] = [stopped(1)]
    aws.printed = ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "GetLogEvents")
    (failure,) = aws.status().failures
    assert "the deployment of revision 5 failed" in failure
    assert "logs:GetLogEvents" in failure


def test_a_missing_service_is_named(aws: FakeEcsAndLogs) -> None:
    del aws.services["triggerer"]
    with pytest.raises(NotRunningError, match="no service triggerer"):
        aws.status()
