# SPDX-License-Identifier: Apache-2.0
"""Clients of MWAA, unmodified, against MWAA's API on this machine."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from botocore.session import Session

from openmwaa.local.install import venvs
from openmwaa_runtime.auth.airflow_role import AirflowRole
from openmwaa_runtime.mwaa_api.app import PATH
from openmwaa_runtime.mwaa_api.service_model import service_model
from tests.support.airflow import run_airflow_program
from tests.support.certificates import certificate_for_localhost
from tests.support.emulator import child_environment, free_port
from tests.support.mwaa_api import (
    ARN,
    MEMBERS,
    NAME,
    REFUSED,
    REGION,
    PlayedEnvironment,
    RestCall,
    served,
    write_profile,
)

pytestmark = pytest.mark.emulated
_RUN = RestCall(AirflowRole.OP, "POST", "/api/v2/dags/hello/dagRuns", "", {"conf": {"day": 1}})


@dataclass(frozen=True)
class Endpoint:
    """The API on this machine, and the variables of a profile for it."""

    environment: PlayedEnvironment
    url: str
    variables: dict[str, str]
    certificate: Path | None = None

    def run(self, *command: str) -> Any:
        """Run a program with the profile; return its output, read as JSON."""
        variables = {k: v for k, v in child_environment().items() if not k.startswith("AWS_")} | self.variables
        done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, done.stderr[-3000:]
        return json.loads(done.stdout)


@pytest.fixture
def endpoint(tmp_path: Path) -> Iterator[Endpoint]:
    port = free_port()
    environment = PlayedEnvironment(web_url=f"http://localhost:{port}", now=None)
    url = f"http://localhost:{port}{PATH}"
    with served(environment, port):
        yield Endpoint(environment, url, write_profile(tmp_path, environment, url))


@pytest.fixture
def tls_endpoint(tmp_path: Path) -> Iterator[Endpoint]:
    port, certificate = free_port(), certificate_for_localhost(tmp_path / "tls")
    environment = PlayedEnvironment(web_url=f"https://127.0.0.1:{port}", now=None)
    url = f"https://127.0.0.1:{port}{PATH}"
    with served(environment, port, certificate):
        trusted = {"AWS_CA_BUNDLE": str(certificate), "REQUESTS_CA_BUNDLE": str(certificate)}
        yield Endpoint(environment, url, write_profile(tmp_path, environment, url) | trusted)


@pytest.fixture(scope="session")
def clients() -> Path:
    """The programs of requirements/mwaa.txt."""
    return venvs.ensure(venvs.venv_of("mwaa"), progress=print).parent


def _call_all(client: Any) -> None:
    for operation, members in MEMBERS.items():
        method = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in operation).lstrip("_")
        if operation in REFUSED:
            with pytest.raises(ClientError, match="ValidationException"):
                getattr(client, method)(**members)
        else:
            assert getattr(client, method)(**members)["ResponseMetadata"]["HTTPStatusCode"] == 200


def test_boto3_with_the_documented_profile(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in endpoint.variables.items():
        monkeypatch.setenv(name, value)
    client = boto3.Session(profile_name="op").client("mwaa")
    _call_all(client)
    assert list(client.get_paginator("list_environments").paginate().search("Environments")) == [NAME]
    assert endpoint.environment.live.fleets["default"].minimum == 2


def test_equal_calls_of_one_second_succeed(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in endpoint.variables.items():
        monkeypatch.setenv(name, value)
    client = boto3.Session(profile_name="op").client("mwaa")
    tokens = [client.create_cli_token(Name=NAME)["CliToken"] for _ in range(3)]
    assert len(set(tokens)) == 3


def test_boto3_with_host_prefixes(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    look_up = socket.getaddrinfo
    hosts = set()

    def found(host: Any, *more: Any, **options: Any) -> Any:
        hosts.add(host)
        return look_up("localhost", *more, **options)

    monkeypatch.setattr(socket, "getaddrinfo", found)
    keys = endpoint.environment.credentials()
    client = Session().create_client(
        "mwaa",
        region_name=REGION,
        endpoint_url=endpoint.url,
        aws_access_key_id=keys["AccessKeyId"],
        aws_secret_access_key=keys["SecretAccessKey"],
        aws_session_token=keys["SessionToken"],
    )
    _call_all(client)
    assert hosts == {"api.localhost", "env.localhost", "ops.localhost"}


AIRFLOW = """
import asyncio, json, os, sys
from airflow.providers.amazon.aws.hooks.mwaa import MwaaHook
from airflow.providers.amazon.aws.operators.mwaa import MwaaTriggerDagRunOperator
from airflow.providers.amazon.aws.sensors.mwaa import MwaaDagRunSensor, MwaaTaskSensor
from airflow.providers.amazon.aws.triggers.mwaa import MwaaDagRunCompletedTrigger

hook = MwaaHook(aws_conn_id=None)
found = {"hook": hook.invoke_rest_api("analytics", "/dags", "GET", query_params={"limit": 1})}
run = MwaaTriggerDagRunOperator(
    task_id="a", env_name="analytics", trigger_dag_id="hello", conf={"day": 1}, aws_conn_id=None,
    wait_for_completion=True, waiter_delay=1,
).execute({})
found["operator"] = run["RestApiResponse"]["dag_run_id"]
of = dict(external_env_name="analytics", external_dag_id="hello", external_dag_run_id="run_1", aws_conn_id=None)
found["sensor"] = MwaaDagRunSensor(task_id="b", **of).poke({})
found["task sensor"] = MwaaTaskSensor(task_id="c", external_task_id="x" * 80, **of).poke({})

async def first_event():
    async for event in MwaaDagRunCompletedTrigger(**of, waiter_delay=1).run():
        return event.payload

del os.environ["AWS_PROFILE"]
found["connection"] = MwaaHook(aws_conn_id="other").invoke_rest_api("analytics", "/dags", "GET")
os.environ["AWS_PROFILE"] = "op"
sys.path[len(sys.path):] = [AIOBOTOCORE]
found["trigger"] = asyncio.run(first_event())
print(json.dumps(found))
"""


def test_airflows_hook_operator_sensors_and_trigger(endpoint: Endpoint, tmp_path: Path) -> None:
    """The trigger needs aiobotocore, which the image has not: it comes from this environment's packages."""
    packages = next(path for path in sys.path if path.endswith("site-packages"))
    other = {"AIRFLOW_CONN_OTHER": json.dumps({"conn_type": "aws", "extra": {"profile_name": "op"}})}
    program = AIRFLOW.replace("AIOBOTOCORE", repr(packages))
    found = run_airflow_program(program, tmp_path, **endpoint.variables, **other)
    assert found["connection"]["RestApiStatusCode"] == 200
    assert found["hook"]["RestApiStatusCode"] == 200
    assert found["operator"] == "run_1"
    assert found["sensor"]
    assert found["task sensor"]
    assert found["trigger"]["status"] == "success"
    calls = endpoint.environment.airflow.calls
    assert _RUN in [RestCall(c.role, c.method, c.path, c.query, {"conf": (c.body or {}).get("conf")}) for c in calls]
    assert max(len(call.path) for call in calls) > 120


@pytest.mark.slow
def test_aws_cli_version_1(endpoint: Endpoint, clients: Path) -> None:
    aws = str(clients / "aws")
    found = endpoint.run(aws, "mwaa", "get-environment", "--name", NAME)["Environment"]
    assert (found["Arn"], found["Status"], found["MinWorkers"]) == (str(ARN), "AVAILABLE", 1)
    words = ("invoke-rest-api", "--name", NAME, "--method", "POST", "--path", "/dags/hello/dagRuns")
    run = endpoint.run(aws, "mwaa", *words, "--body", '{"conf": {"day": 1}}')
    assert run["RestApiResponse"]["dag_run_id"] == "run_1"
    assert endpoint.environment.airflow.calls == [_RUN]
    assert endpoint.run(aws, "mwaa", "update-environment", "--name", NAME, "--max-workers", "7") == {"Arn": str(ARN)}
    assert endpoint.run(aws, "mwaa", "list-environments") == {"Environments": [NAME]}
    assert set(endpoint.run(aws, "mwaa", "create-web-login-token", "--name", NAME)) == {
        *("WebToken", "WebServerHostname", "IamIdentity", "AirflowIdentity"),
    }


CAPO = """
import json, sys
from capo_mwaa import MWAAClient

with MWAAClient(region="eu-central-1", endpoint=sys.argv[1]) as client:
    print(json.dumps({
        "environment": client.get_environment(name="analytics")["environment"]["status"],
        "tags": client.list_tags_for_resource(resource_arn=sys.argv[2]),
        "call": client.invoke_rest_api(name="analytics", path="/dags", method="GET")["rest_api_status_code"],
    }))
"""


@pytest.mark.slow
def test_capo_which_signs_by_itself(endpoint: Endpoint, clients: Path) -> None:
    """A public SDK that shares no code with botocore."""
    found = endpoint.run(str(clients / "python"), "-c", CAPO, endpoint.url, str(ARN))
    assert (found["environment"], found["call"]) == ("AVAILABLE", 200)
    assert found["tags"] == {"tags": {"team": "data"}}


@pytest.mark.slow
def test_mwaah_with_a_cli_token(tls_endpoint: Endpoint, clients: Path) -> None:
    """A public client of the flow CreateCliToken, `POST /aws_mwaa/cli`; the door is played here."""
    program = f"import json; from mwaah import MWAAH; print(json.dumps(MWAAH('{NAME}').get_version()))"
    assert tls_endpoint.run(str(clients / "python"), "-c", program) == "role:Operators:jane: version"


def test_the_calls_here_are_for_all_operations() -> None:
    assert set(MEMBERS) == set(service_model().operation_names)
