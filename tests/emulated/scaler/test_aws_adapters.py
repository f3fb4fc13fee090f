# SPDX-License-Identifier: Apache-2.0
"""ECS and SQS through real clients: the requests, the responses, and every response that must be rejected."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiobotocore.session import get_session

from scaler.adapters import aws
from scaler.adapters.ecs import EcsClusterAdapter
from scaler.adapters.sqs import SqsQueueReader
from scaler.core.model import BrokerCount, Service, Task
from scaler.errors import AbsentError, BadAnswerError, DeadlineError, RejectedError, SourceError, ThrottledError
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
    """A table of responses, and the requests that were received."""

    def __init__(self) -> None:
        self.operations: dict[str, Callable[[dict[str, Any]], Any]] = {}
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self.ecs: EcsClusterAdapter
        self.patient_ecs: EcsClusterAdapter
        self.hasty_ecs: EcsClusterAdapter
        self.sqs: SqsQueueReader
        self.calls = aws.ApiCalls()

    def answer_with(self, **answers: Any) -> None:
        for name, answer in answers.items():
            self.operations[name] = self._note(name, answer)

    def _note(self, name: str, answer: Any) -> Callable[[dict[str, Any]], Any]:
        def handle(request: dict[str, Any]) -> Any:
            self.requests.append((name, request))
            if isinstance(answer, Failure):
                raise answer
            return answer(request) if callable(answer) else answer

        return handle


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Aws]:
    found = Aws()
    async with fake_aws(found.operations) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        async with (
            aws.open_client("us-east-1", "ecs", found.calls) as ecs,
            aws.open_client("us-east-1", "sqs", found.calls) as sqs,
        ):
            found.ecs = EcsClusterAdapter(ecs, "openmwaa-test", deadline_s=20.0)
            found.hasty_ecs = EcsClusterAdapter(ecs, "openmwaa-test", deadline_s=0.2)
            # Sixty questions are put within half a second on any machine, and not within 10 ms on a busy one.
            found.patient_ecs = EcsClusterAdapter(ecs, "openmwaa-test", deadline_s=20.0, window_s=0.5)
            found.sqs = SqsQueueReader(sqs, deadline_s=20.0)
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
    world.answer_with(DescribeServices={"services": [SERVICE], "failures": []})
    service = await world.ecs.service("worker-default")
    assert (service.desired, service.running, service.pending, service.rolling) == (3, 2, 1, False)
    assert service.primary is not None
    assert service.primary.task_definition == "worker:7"
    assert world.requests == [("DescribeServices", {"cluster": "openmwaa-test", "services": ["worker-default"]})]


async def test_reads_tasks_in_pages_and_batches(world: Aws) -> None:
    arns = [f"task/{number:03d}" for number in range(150)]
    pages = {None: {"taskArns": arns[:100], "nextToken": "more"}, "more": {"taskArns": arns[100:]}}
    world.answer_with(
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
    batches = [
        len(request["tasks"]) for name, request in world.requests if name in ("DescribeTasks", "GetTaskProtection")
    ]
    assert batches == [100, 50, 100, 50]


async def test_writes_an_absolute_count(world: Aws) -> None:
    world.answer_with(UpdateService={"service": SERVICE})
    await world.ecs.set_desired("worker-default", 4)
    assert world.requests == [
        ("UpdateService", {"cluster": "openmwaa-test", "service": "worker-default", "desiredCount": 4})
    ]


async def test_no_tasks_need_no_call(world: Aws) -> None:
    assert await world.ecs.protected([]) == frozenset()


def service(ecs: EcsClusterAdapter) -> Awaitable[object]:
    return ecs.service("worker-default")


def tasks(ecs: EcsClusterAdapter) -> Awaitable[object]:
    return ecs.tasks("worker-default")


def protected(ecs: EcsClusterAdapter) -> Awaitable[object]:
    return ecs.protected(["task/1", "task/2"])


def write(ecs: EcsClusterAdapter) -> Awaitable[object]:
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
        pytest.param(service, {"DescribeServices": {"services": []}}, BadAnswerError, "not in", id="no answer"),
        pytest.param(
            service,
            {"DescribeServices": {"services": [], "failures": [{"arn": "worker-default", "reason": "MISSING"}]}},
            AbsentError,
            "MISSING",
            id="no service",
        ),
        pytest.param(
            service,
            {"DescribeServices": {"services": [SERVICE | {"status": "DRAINING"}]}},
            BadAnswerError,
            "DRAINING",
            id="service being deleted",
        ),
        pytest.param(
            service,
            {"DescribeServices": {"services": [SERVICE | {"status": "INACTIVE"}]}},
            AbsentError,
            "INACTIVE",
            id="deleted service",
        ),
        pytest.param(
            service,
            {"DescribeServices": {"services": [SERVICE | {"desiredCount": -1}]}},
            BadAnswerError,
            "not a count",
            id="negative",
        ),
        pytest.param(
            service,
            {"DescribeServices": {"services": [{"serviceName": "worker-default", "status": "ACTIVE"}]}},
            BadAnswerError,
            "desiredCount",
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
            "1 of 2 tasks were missing in the answer of GetTaskProtection",
            id="one not answered",
        ),
        pytest.param(
            write, {"UpdateService": Failure("ServiceNotFoundException")}, SourceError, "NotFound", id="write"
        ),
    ],
)
async def test_invalid_answers_of_ecs(
    world: Aws,
    call: Callable[[EcsClusterAdapter], Awaitable[object]],
    answers: dict[str, Any],
    kind: type[SourceError],
    words: str,
) -> None:
    world.answer_with(**answers)
    with pytest.raises(kind, match=words):
        await call(world.ecs)


# --- shared calls: requests of the same time share a call, and a failure affects its own fleet only


def services_of(*broken: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Answer for every service, with a failure for the broken ones and an error for a malformed name."""

    def answer(request: dict[str, Any]) -> dict[str, Any]:
        names = request["services"]
        if any("!" in name for name in names):
            raise Failure("InvalidParameterException")
        return {
            "services": [SERVICE | {"serviceName": name} for name in names if name not in broken],
            "failures": [
                {"arn": f"arn:aws:ecs:us-east-1:1:service/openmwaa-test/{name}", "reason": "MISSING"}
                for name in names
                if name in broken
            ],
        }

    return answer


async def ask_together(ecs: EcsClusterAdapter, names: list[str]) -> dict[str, object]:
    found = await asyncio.gather(*(ecs.service(name) for name in names), return_exceptions=True)
    return dict(zip(names, found, strict=True))


async def test_services_are_described_in_tens(world: Aws) -> None:
    names = [f"worker-{number:02d}" for number in range(25)]
    world.answer_with(DescribeServices=services_of())
    found = await ask_together(world.ecs, names)
    assert all(isinstance(service, Service) for service in found.values()), found
    assert sorted(len(request["services"]) for _, request in world.requests) == [5, 10, 10]


async def test_a_missing_service_does_not_affect_the_others(world: Aws) -> None:
    world.answer_with(DescribeServices=services_of("worker-b"))
    found = await ask_together(world.ecs, ["worker-a", "worker-b", "worker-c"])
    assert {name for name, service in found.items() if isinstance(service, Service)} == {"worker-a", "worker-c"}
    assert "MISSING" in str(found["worker-b"])
    assert len(world.requests) == 1


async def test_a_rejected_name_gets_a_call_of_its_own_afterwards(world: Aws) -> None:
    names = [f"worker-{number}" for number in range(7)] + ["worker-!"]
    world.answer_with(DescribeServices=services_of())
    for calls in (7, 2, 2):
        world.requests.clear()
        found = await ask_together(world.ecs, names)
        assert {name for name, service in found.items() if not isinstance(service, Service)} == {"worker-!"}
        assert len(world.requests) == calls, [request["services"] for _, request in world.requests]
    assert isinstance(found["worker-!"], RejectedError)


def cluster_of(fleets: int, others: int = 3) -> dict[str, Any]:
    """Return the answers of a cluster with two workers a fleet."""
    groups = {
        f"task/{fleet:03d}-{number}": f"service:worker-{fleet:03d}" for fleet in range(fleets) for number in range(2)
    } | {f"task/other-{number}": "service:scheduler" for number in range(others)}

    def listed(request: dict[str, Any]) -> dict[str, Any]:
        name = request.get("serviceName")
        arns = sorted(arn for arn, group in groups.items() if name is None or group == f"service:{name}")
        start = int(request.get("nextToken", "0"))
        more = {"nextToken": str(start + 100)} if start + 100 < len(arns) else {}
        return {"taskArns": arns[start : start + 100], **more}

    return {
        # Counts that do not match, so that tasks are listed.
        "DescribeServices": lambda request: {
            "services": [SERVICE | {"serviceName": name} for name in request["services"]]
        },
        "ListTasks": listed,
        "DescribeTasks": lambda request: {
            "tasks": [described(arn) | {"group": groups[arn]} for arn in request["tasks"]],
            "failures": [],
        },
    }


async def test_the_tasks_of_many_fleets_need_one_list_of_the_cluster(world: Aws) -> None:
    world.answer_with(**cluster_of(60))
    names = [f"worker-{number:03d}" for number in range(60)]
    again = {"ListTasks": 2, "DescribeTasks": 2, "DescribeServices": 6}
    for calls in ({"ListTasks": 2, "DescribeTasks": 4}, again):
        world.requests.clear()
        found = await asyncio.gather(*(world.patient_ecs.tasks(name) for name in names))
        assert [[task.arn for task in tasks] for tasks in found] == [
            [f"task/{number:03d}-0", f"task/{number:03d}-1"] for number in range(60)
        ]
        assert Counter(name for name, _ in world.requests) == calls


async def test_unchanged_tasks_need_no_list(world: Aws) -> None:
    answers = cluster_of(1)
    counts = {"desiredCount": 2, "runningCount": 2, "pendingCount": 0}
    world.answer_with(
        **answers
        | {"DescribeServices": lambda request: {"services": [SERVICE | counts | {"serviceName": "worker-000"}]}}
    )

    async def asked_for() -> Counter[str]:
        world.requests.clear()
        await asyncio.gather(world.patient_ecs.service("worker-000"), world.patient_ecs.tasks("worker-000"))
        return Counter(name for name, _ in world.requests)

    described = {"DescribeServices": 1, "DescribeTasks": 1}
    assert await asked_for() == described | {"ListTasks": 1}, "nothing is known at first"
    assert await asked_for() == described, "two tasks live, and ECS counts two"
    for changed in (
        {"runningCount": 1, "pendingCount": 0},
        {"runningCount": 2, "pendingCount": 1},
        {"desiredCount": 3},
    ):
        before = dict(counts)
        counts.update(changed)
        assert (await asked_for())["ListTasks"] == 1, f"{changed}: there may be another"
        counts.update(before)
        assert "ListTasks" not in await asked_for()
    often = [(await asked_for())["ListTasks"] for _ in range(26)]
    assert sum(often) == 2, "and now and then a list all the same"


async def test_a_task_that_ended_does_not_count_as_live(world: Aws) -> None:
    answers = cluster_of(1)
    status = {"task/000-0": "RUNNING", "task/000-1": "RUNNING"}
    two = {"desiredCount": 2, "runningCount": 2, "pendingCount": 0}
    world.answer_with(
        **answers
        | {
            "DescribeTasks": lambda request: {
                "tasks": [described(arn) | {"desiredStatus": status[arn]} for arn in request["tasks"]]
            },
            "ListTasks": lambda request: {"taskArns": [arn for arn, state in status.items() if state == "RUNNING"]},
            "DescribeServices": {"services": [SERVICE | two | {"serviceName": "worker-000"}]},
        }
    )
    assert len(await world.patient_ecs.tasks("worker-000")) == 2
    status["task/000-1"] = "STOPPED"
    assert [task.arn for task in await world.patient_ecs.tasks("worker-000")] == ["task/000-0"], (
        "ECS's count comes late"
    )


async def test_few_fleets_in_a_large_cluster_need_one_list_each(world: Aws) -> None:
    world.answer_with(**cluster_of(2, others=900))
    names = ["worker-000", "worker-001"]
    await asyncio.gather(*(world.patient_ecs.tasks(name) for name in names))
    world.requests.clear()
    await asyncio.gather(*(world.patient_ecs.tasks(name) for name in names))
    assert [request.get("serviceName") for name, request in world.requests if name == "ListTasks"] == names
    assert Counter(name for name, _ in world.requests)["DescribeTasks"] == 1, "their tasks share a call"


async def test_a_missing_task_affects_its_own_fleet_only(world: Aws) -> None:
    answers = cluster_of(2)
    describe = answers["DescribeTasks"]

    def one_is_gone(request: dict[str, Any]) -> dict[str, Any]:
        tasks = [task for task in describe(request)["tasks"] if task["taskArn"] != "task/001-1"]
        gone = [{"arn": "task/001-1", "reason": "MISSING"}] if "task/001-1" in request["tasks"] else []
        return {"tasks": tasks, "failures": gone}

    world.answer_with(**answers | {"DescribeTasks": one_is_gone})
    good, bad = await asyncio.gather(
        world.ecs.tasks("worker-000"), world.ecs.tasks("worker-001"), return_exceptions=True
    )
    assert isinstance(good, tuple), good
    assert "MISSING" in str(bad)


async def test_calls_and_throttles_are_counted_by_operation(world: Aws) -> None:
    world.answer_with(DescribeServices=Failure("ThrottlingException"), GetQueueAttributes={"Attributes": ATTRIBUTES})
    with pytest.raises(ThrottledError):
        await world.ecs.service("worker-default")
    await world.sqs.depth("http://sqs/1/default")
    # botocore sends the request twice, and AWS counts both.
    assert world.calls.sent == {("ecs", "DescribeServices"): 2, ("sqs", "GetQueueAttributes"): 1}
    assert world.calls.throttled == {("ecs", "DescribeServices"): 2}


async def test_a_call_without_an_answer_ends_at_the_deadline(world: Aws) -> None:
    world.answer_with(DescribeServices=black_hole)
    with pytest.raises(DeadlineError, match=r"no answer within 0\.2 s"):
        await world.hasty_ecs.service("worker-default")


async def test_reads_a_queue(world: Aws) -> None:
    world.answer_with(GetQueueAttributes={"Attributes": ATTRIBUTES})
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
async def test_invalid_answers_of_sqs(world: Aws, attributes: dict[str, str]) -> None:
    world.answer_with(GetQueueAttributes={"Attributes": attributes})
    with pytest.raises(BadAnswerError):
        await world.sqs.depth("http://sqs/1/default")


async def test_a_refused_connection_is_an_error_of_the_source(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    async with aws.open_client("us-east-1", "sqs") as client:
        with pytest.raises(SourceError, match="sqs"):
            await SqsQueueReader(client, deadline_s=5.0).depth("http://127.0.0.1:9/1/default")
