# SPDX-License-Identifier: Apache-2.0
"""The end of a rollout of workers."""

import re
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from openmwaa.config.environment import Environment
from openmwaa.operate.errors import NotRunningError, PermissionMissingError
from openmwaa.operate.rollouts import read_rollouts, rollout_status
from tests.support.environments import LEAST
from tests.support.fake_connection import FakeConnection


def service(name: str, revision: int, desired: int = 0, running: int | None = None, **more: Any) -> dict[str, Any]:
    running = desired if running is None else running
    deployment = {
        "status": "PRIMARY",
        "taskDefinition": f"arn:aws:ecs:us-east-1:1:task-definition/openmwaa-example-worker-default:{revision}",
        "runningCount": running,
        "pendingCount": 0,
    }
    return {
        "serviceName": f"worker-{name}",
        "status": "ACTIVE",
        "desiredCount": desired,
        "runningCount": running,
        "pendingCount": 0,
        "deployments": [deployment],
        **more,
    }


Answer = list[dict[str, Any]] | Exception


class DescribedServices:
    """DescribeServices from a list of answers; the last one is repeated."""

    def __init__(self, *answers: Answer) -> None:
        self._answers = list(answers)
        self.calls: list[list[str]] = []

    def describe_services(self, *, cluster: str, services: list[str]) -> Any:
        assert cluster == "openmwaa-example"
        self.calls.append(services)
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return {"services": [entry for entry in answer if entry["serviceName"] in services], "failures": []}


def connection(ecs: DescribedServices, **more: Any) -> FakeConnection:
    return FakeConnection(
        Environment.model_validate({**LEAST, **more}), Path("environment.yaml"), fake=ecs, services=("ecs",)
    )


EXAMPLE = Path(__file__).parents[3] / "examples" / "quickstart"
ROLLING = [service("default-a", 3, desired=4), service("default-b", 4, desired=2)]
FINISHED = [service("default-a", 3), service("default-b", 4, desired=4)]


@pytest.mark.parametrize(
    ("services", "current", "left", "finished"),
    [
        pytest.param(ROLLING, "b", 4, False, id="the older one has workers"),
        pytest.param(FINISHED, "b", 0, True, id="the older one is empty"),
        pytest.param([service("default-a", 1, 2), service("default-b", 1)], "a", 0, True, id="after the first apply"),
        pytest.param([service("default-a", 1), service("default-b", 1)], "a", 0, True, id="no workers at all"),
        pytest.param(
            [service("default-a", 3, desired=1, running=0), service("default-b", 4, 1)],
            "b",
            1,
            False,
            id="still desired",
        ),
        pytest.param(
            [service("default-a", 3, desired=0, running=1), service("default-b", 4, 1)], "b", 1, False, id="stopping"
        ),
        pytest.param(
            [service("default-a", 3), service("default-b", 4, desired=2, running=0)],
            "b",
            0,
            False,
            id="none has started",
        ),
        pytest.param([service("default-a", 9, 1), service("default-b", 10)], "b", 1, False, id="numbers, not words"),
    ],
)
def test_when_a_rollout_is_finished(services: Any, current: str, left: int, finished: bool) -> None:
    (fleet,) = read_rollouts(connection(DescribedServices(services)))
    assert (fleet.current.service, fleet.left, fleet.finished) == (f"worker-default-{current}", left, finished)


def test_a_rolling_update_of_the_current_service_is_a_rollout_too() -> None:
    current = service("default-b", 6, desired=3)
    current["deployments"].append({"status": "ACTIVE", "taskDefinition": "x:4", "runningCount": 2, "pendingCount": 0})
    (fleet,) = read_rollouts(connection(DescribedServices([service("default-a", 5), current])))
    assert (fleet.left, fleet.finished) == (2, False)


def test_at_most_ten_services_per_call() -> None:
    fleets = {"default": {"queues": ["default"]}} | {f"f{number}": {"queues": [f"q{number}"]} for number in range(11)}
    ecs = DescribedServices([service(f"{name}-{suffix}", 1) for name in fleets for suffix in "ab"])
    assert len(read_rollouts(connection(ecs, fleets=fleets))) == 12
    assert [len(names) for names in ecs.calls] == [10, 10, 4]


@pytest.mark.parametrize(
    "services",
    [[service("default-a", 3)], [service("default-a", 3), service("default-b", 4, status="INACTIVE")]],
    ids=["absent", "deleted"],
)
def test_a_missing_fleet_is_named(services: Any) -> None:
    with pytest.raises(NotRunningError, match="no service worker-default-b"):
        read_rollouts(connection(DescribedServices(services)))


def refused(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "no"}}, "DescribeServices")


def test_a_missing_permission_is_named() -> None:
    with pytest.raises(PermissionMissingError, match="ecs:DescribeServices"):
        read_rollouts(connection(DescribedServices(refused("AccessDeniedException"))))
    with pytest.raises(NotRunningError, match=r"(?s)no ECS cluster openmwaa-example in us-east-1.*terraform apply"):
        read_rollouts(connection(DescribedServices(refused("ClusterNotFoundException"))))


@pytest.mark.parametrize(("services", "code"), [(FINISHED, 0), (ROLLING, 3)], ids=["finished", "unfinished"])
def test_the_commands_exit_code(
    services: Any, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from openmwaa.cli import app, rollout

    monkeypatch.chdir(EXAMPLE)
    monkeypatch.setattr(rollout, "connect", lambda path, *, local: connection(DescribedServices(services)))
    for words in (["rollout"], ["rollout", "--json"]):
        with pytest.raises(SystemExit) as ended:
            app(words)
        assert ended.value.code == code, capsys.readouterr()
    assert "worker-default-b" in capsys.readouterr().out


def test_every_documented_command_works(monkeypatch: pytest.MonkeyPatch) -> None:
    from openmwaa.cli import app, rollout

    page = (Path(__file__).parents[3] / "docs" / "how-to" / "scale-by-hand.md").read_text(encoding="utf-8")
    documented = re.findall(r"^openmwaa (rollout.*)$", page, re.MULTILINE)
    assert documented
    monkeypatch.setattr(rollout, "connect", lambda path, *, local: connection(DescribedServices(FINISHED)))
    for words in documented:
        with pytest.raises(SystemExit) as ended:
            app(words.split())
        assert ended.value.code == 0, words


def test_the_status_for_wait_has_the_progress() -> None:
    status = rollout_status(connection(DescribedServices(ROLLING)))
    assert (status.outcome, status.awaited) == (
        "unfinished",
        ("default: 4 workers of older revisions left, 2 workers of revision 4 running",),
    )
    assert rollout_status(connection(DescribedServices(FINISHED))).outcome == "done"


def test_a_failed_deployment_is_a_failure() -> None:
    current = service("default-b", 4, desired=2, running=0)
    current["deployments"][0] |= {"rolloutState": "FAILED", "rolloutStateReason": "tasks failed to start."}
    status = rollout_status(connection(DescribedServices([service("default-a", 3, desired=4), current])))
    assert status.failures == (
        "default: the deployment of revision 4 of worker-default-b failed: tasks failed to start.",
    )
