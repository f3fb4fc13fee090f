# SPDX-License-Identifier: Apache-2.0
"""ECS and SQS through real clients: what is asked, what is understood, and every answer that must not be believed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiobotocore.session import get_session

from scaler.adapters import aws
from scaler.adapters.ecs import Ecs
from scaler.adapters.sqs import Sqs
from scaler.core.model import BrokerCount, Task
from scaler.errors import BadAnswerError, DeadlineError, SourceError, ThrottledError
from tests.support.fake_aws import Failure, black_hole, fake_aws

SERVICE = {
    "serviceName": "worker-default",
    "status": "ACTIVE",
    "desiredCount": 3,
    "runningCount": 2,
    "pendingCount": 1,
    "deployments": [{"status": "PRIMARY", "taskDefinition": "worker:7", "rolloutState": "COMPLETED"}],
}
ATTRIBUTES = {
    "ApproximateNumberOfMessages": "12",
    "ApproximateNumberOfMessagesNotVisible": "5",
    "ApproximateNumberOfMessagesDelayed": "1",
}


# One session for all tests: it keeps AWS's service models, half a second a client otherwise.
SESSION = get_session()


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aws, "get_session", lambda: SESSION)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    for name in ("AWS_PROFILE", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "AWS_ENDPOINT_URL_ECS"):
        monkeypatch.delenv(name, raising=False)


class Aws:
    """A table of answers, and what was asked."""

    def __init__(self) -> None:
        self.operations: dict[str, Callable[[dict[str, Any]], Any]] = {}
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.ecs: Ecs
        self.hasty_ecs: Ecs
        self.sqs: Sqs

    def says(self, **answers: Any) -> None:
        for name, answer in answers.items():
            self.operations[name] = self._note(name, answer)

    def _note(self, name: str, answer: Any) -> Callable[[dict[str, Any]], Any]:
        def handle(request: dict[str, Any]) -> Any:
            self.asked.append((name, request))
            if isinstance(answer, Failure):
                raise answer
            return answer(request) if callable(answer) else answer

        return handle


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Aws]:
    found = Aws()
    async with fake_aws(found.operations) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        async with aws.clients("us-east-1", "ecs", "sqs") as (ecs, sqs):
            found.ecs = Ecs(ecs, "openmwaa-test", deadline_s=20.0)
            found.hasty_ecs = Ecs(ecs, "openmwaa-test", deadline_s=0.2)
            found.sqs = Sqs(sqs, deadline_s=20.0)
            yield found


def described(arn: str) -> dict[str, Any]:
    details = [{"name": "subnetId", "value": "s"}, {"name": "privateIPv4Address", "value": "10.0.0.7"}]
    return {
        "taskArn": arn,
        "lastStatus": "RUNNING",
        "desiredStatus": "RUNNING",
        "taskDefinitionArn": "worker:7",
        "attachments": [{"type": "ElasticNetworkInterface", "details": details}],
    }


async def test_reads_a_service(world: Aws) -> None:
    world.says(DescribeServices={"services": [SERVICE], "failures": []})
    service = await world.ecs.service("worker-default")
    assert (service.desired, service.running, service.pending, service.rolling) == (3, 2, 1, False)
    assert service.primary is not None
    assert service.primary.task_definition == "worker:7"
    assert world.asked == [("DescribeServices", {"cluster": "openmwaa-test", "services": ["worker-default"]})]


async def test_reads_tasks_in_pages_and_batches(world: Aws) -> None:
    arns = [f"task/{number:03d}" for number in range(150)]
    pages = {None: {"taskArns": arns[:100], "nextToken": "more"}, "more": {"taskArns": arns[100:]}}
    world.says(
        ListTasks=lambda request: pages[request.get("nextToken")],
        DescribeTasks=lambda request: {"tasks": [described(arn) for arn in request["tasks"]], "failures": []},
        GetTaskProtection=lambda request: {
            "protectedTasks": [{"taskArn": arn, "protectionEnabled": arn < "task/100"} for arn in request["tasks"]],
            "failures": [],
        },
    )
    tasks = await world.ecs.tasks("worker-default")
    assert tasks[0] == Task("task/000", "RUNNING", "RUNNING", "10.0.0.7", "worker:7")
    assert [task.arn for task in tasks] == arns
    assert await world.ecs.protected(arns) == set(arns[:100])
    batches = [len(request["tasks"]) for name, request in world.asked if name in ("DescribeTasks", "GetTaskProtection")]
    assert batches == [100, 50, 100, 50]


async def test_writes_an_absolute_count(world: Aws) -> None:
    world.says(UpdateService={"service": SERVICE})
    await world.ecs.set_desired("worker-default", 4)
    assert world.asked == [
        ("UpdateService", {"cluster": "openmwaa-test", "service": "worker-default", "desiredCount": 4})
    ]


async def test_no_tasks_need_no_call(world: Aws) -> None:
    assert await world.ecs.protected([]) == frozenset()


def service(ecs: Ecs) -> Awaitable[object]:
    return ecs.service("worker-default")


def tasks(ecs: Ecs) -> Awaitable[object]:
    return ecs.tasks("worker-default")


def protected(ecs: Ecs) -> Awaitable[object]:
    return ecs.protected(["task/1", "task/2"])


def write(ecs: Ecs) -> Awaitable[object]:
    return ecs.set_desired("worker-default", 4)


FAILURES = [{"arn": "task/2", "reason": "MISSING"}]
ONE = {"taskArn": "task/1", "protectionEnabled": True}


@pytest.mark.parametrize(
    ("call", "answers", "kind", "words"),
    [
        pytest.param(
            service, {"DescribeServices": Failure("ThrottlingException")}, ThrottledError, "Throttling", id="throttled"
        ),
        pytest.param(service, {"DescribeServices": Failure("ServerException", 500)}, SourceError, "Server", id="5xx"),
        pytest.param(
            service, {"DescribeServices": {"services": [], "failures": FAILURES}}, SourceError, "MISSING", id="failures"
        ),
        pytest.param(service, {"DescribeServices": {"services": []}}, BadAnswerError, "absent", id="no service"),
        pytest.param(
            service,
            {"DescribeServices": {"services": [SERVICE | {"status": "INACTIVE"}]}},
            BadAnswerError,
            "INACTIVE",
            id="deleted service",
        ),
        pytest.param(
            service,
            {"DescribeServices": {"services": [SERVICE | {"desiredCount": -1}]}},
            BadAnswerError,
            "no count",
            id="negative",
        ),
        pytest.param(
            service,
            {"DescribeServices": {"services": [{"serviceName": "worker-default"}]}},
            BadAnswerError,
            "status",
            id="half an answer",
        ),
        pytest.param(
            tasks,
            {"ListTasks": {"taskArns": ["task/1", "task/2"]}, "DescribeTasks": {"tasks": [described("task/1")]}},
            BadAnswerError,
            "1 of 2",
            id="a task not described",
        ),
        pytest.param(
            tasks,
            {"ListTasks": {"taskArns": [], "nextToken": "again"}},
            BadAnswerError,
            "does not end",
            id="endless list",
        ),
        pytest.param(
            protected,
            {"GetTaskProtection": {"protectedTasks": [ONE], "failures": FAILURES}},
            SourceError,
            "MISSING",
            id="half protected, half failed",
        ),
        pytest.param(
            protected,
            {"GetTaskProtection": {"protectedTasks": [ONE]}},
            BadAnswerError,
            "1 tasks",
            id="one not answered",
        ),
        pytest.param(
            write, {"UpdateService": Failure("ServiceNotFoundException")}, SourceError, "NotFound", id="write"
        ),
    ],
)
async def test_what_ecs_must_not_be_believed(
    world: Aws,
    call: Callable[[Ecs], Awaitable[object]],
    answers: dict[str, Any],
    kind: type[SourceError],
    words: str,
) -> None:
    world.says(**answers)
    with pytest.raises(kind, match=words):
        await call(world.ecs)


async def test_a_black_hole_costs_the_deadline_only(world: Aws) -> None:
    world.says(DescribeServices=black_hole)
    with pytest.raises(DeadlineError, match=r"no answer within 0\.2 s"):
        await world.hasty_ecs.service("worker-default")


async def test_reads_a_queue(world: Aws) -> None:
    world.says(GetQueueAttributes={"Attributes": ATTRIBUTES})
    assert await world.sqs.depth("http://sqs/1/default") == BrokerCount(12, 5, 1)


@pytest.mark.parametrize(
    "attributes",
    [
        pytest.param({}, id="empty"),
        pytest.param(ATTRIBUTES | {"ApproximateNumberOfMessages": "-3"}, id="negative"),
        pytest.param(ATTRIBUTES | {"ApproximateNumberOfMessages": "NaN"}, id="not a number"),
        pytest.param(ATTRIBUTES | {"ApproximateNumberOfMessagesNotVisible": "99999999999"}, id="absurd"),
    ],
)
async def test_what_sqs_must_not_be_believed(world: Aws, attributes: dict[str, str]) -> None:
    world.says(GetQueueAttributes={"Attributes": attributes})
    with pytest.raises(BadAnswerError):
        await world.sqs.depth("http://sqs/1/default")


async def test_a_connection_refused_is_an_error_of_the_source(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    async with aws.clients("us-east-1", "sqs") as (client,):
        with pytest.raises(SourceError, match="sqs"):
            await Sqs(client, deadline_s=5.0).depth("http://127.0.0.1:9/1/default")
