# SPDX-License-Identifier: Apache-2.0
"""The JSON protocol: refusals, and the validation of answers."""

import json
from typing import Any

import aiohttp
import pytest
from botocore.exceptions import ClientError

from local_ecs.api import protocol
from local_ecs.api.protocol import AnswerNotValidError, caller_name
from tests.emulated.local_ecs.api.conftest import EcsSetup

PREFIX = "AmazonEC2ContainerServiceV20141113."


async def post(setup: EcsSetup, target: str, body: bytes) -> tuple[int, dict[str, Any], str]:
    async with aiohttp.ClientSession() as session:
        answer = await session.post(setup.ecs.endpoint, data=body, headers={"X-Amz-Target": target})
        return answer.status, json.loads(await answer.read()), answer.headers["Content-Type"]


@pytest.mark.parametrize(
    ("target", "body", "code"),
    [
        (PREFIX + "CreateTaskSet", b"{}", "UnknownOperationException"),
        ("DynamoDB_20120810.ListTables", b"{}", "UnknownOperationException"),
        ("", b"{}", "UnknownOperationException"),
        (PREFIX + "ListClusters", b"{", "SerializationException"),
        (PREFIX + "ListClusters", b"[]", "SerializationException"),
        (PREFIX + "UpdateService", b"{}", "InvalidParameterException"),
        (PREFIX + "UpdateService", b'{"service":"w","desired":3}', "InvalidParameterException"),
        (PREFIX + "UpdateService", b'{"service":"w","desiredCount":"3"}', "InvalidParameterException"),
        (PREFIX + "RunTask", b'{"taskDefinition":"w","launchType":"MOON"}', "InvalidParameterException"),
        (PREFIX + "ListServices", b'{"cluster":"c"}', "ClusterNotFoundException"),
    ],
    ids=["not built", "not ECS", "no target", "not JSON", "no object", "missing", "unknown", "type", "enum", "model"],
)
async def test_refusals_are_400_with_a_code(setup: EcsSetup, target: str, body: bytes, code: str) -> None:
    status, answer, content_type = await post(setup, target, body)
    assert (status, answer["__type"]) == (400, code)
    assert answer["message"]
    assert content_type == "application/x-amz-json-1.1"


async def test_a_null_member_is_an_absent_one(setup: EcsSetup) -> None:
    status, answer, _ = await post(setup, PREFIX + "CreateCluster", b'{"clusterName":"c","tags":null}')
    assert (status, answer["cluster"]["clusterName"]) == (200, "c")


async def test_times_are_numbers_on_the_wire(setup: EcsSetup) -> None:
    await setup.prepare(1)
    _, answer, _ = await post(setup, PREFIX + "DescribeServices", b'{"cluster":"c","services":["web"]}')
    assert answer["services"][0]["createdAt"] == setup.clock.now()


async def test_clients_raise_the_codes_as_exceptions(setup: EcsSetup) -> None:
    with pytest.raises(ClientError) as refused:
        await setup.call("describe_services", cluster="nowhere", services=["web"])
    assert refused.value.response["Error"]["Code"] == "ClusterNotFoundException"


@pytest.mark.parametrize(
    "answer",
    [{"cluster": {"clusterName": 3}}, {"cluster": {"name": "c"}}, {"clusters": []}],
    ids=["type", "unknown member", "unknown top"],
)
def test_an_answer_outside_its_shape_is_a_defect(answer: dict[str, Any]) -> None:
    handlers = {"CreateCluster": lambda _request, _caller: answer}
    with pytest.raises(AnswerNotValidError, match="CreateCluster"):
        protocol.answer(handlers, PREFIX + "CreateCluster", b"{}", "")


def test_an_answer_outside_an_enum_is_a_defect() -> None:
    handlers = {"DescribeTasks": lambda _request, _caller: {"tasks": [{"healthStatus": "FINE"}]}}
    with pytest.raises(AnswerNotValidError, match=r"tasks\[0\]\.healthStatus: 'FINE'"):
        protocol.answer(handlers, PREFIX + "DescribeTasks", b'{"tasks":["t"]}', "")


@pytest.mark.parametrize(
    ("user_agent", "name"),
    [
        ("APN/1.0 HashiCorp/1.0 Terraform/1.11.4 (+https://www.terraform.io) aws-sdk-go-v2/1.36", "terraform"),
        ("Boto3/1.43.117 md/Botocore#1.43.117 app/scaler", "scaler"),
        ("Boto3/1.43.117 md/Botocore#1.43.117", "Boto3/1.43.117"),
        ("", "unknown"),
    ],
)
def test_the_name_of_the_caller(user_agent: str, name: str) -> None:
    assert caller_name(user_agent) == name


async def test_a_defect_in_an_answer_is_a_500(setup: EcsSetup, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("local_ecs.api.shapes.tag_list", lambda _tags: "not a list")
    status, answer, _ = await post(setup, PREFIX + "CreateCluster", b"{}")
    assert (status, answer["__type"]) == (500, "ServerException")
