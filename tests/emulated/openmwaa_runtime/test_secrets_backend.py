# SPDX-License-Identifier: Apache-2.0
"""Connections and variables come from Secrets Manager, then from the Parameter Store, then from Airflow's next places.

The stores are Airflow's own backends with a client that answers like AWS.
"""

import json
from typing import Any

import pytest

from tests.support.airflow import run_airflow_program

# Calls are (service, name). A name that a store lacks is not found; a value that is an exception is raised.
PROGRAM = """
import json, os
from botocore.exceptions import ClientError, ConnectTimeoutError
import openmwaa_runtime.secrets_backend as module
from airflow.sdk.configuration import clear_secrets_backends_cache
from airflow.sdk.execution_time.context import _get_connection
from airflow.sdk.execution_time.supervisor import ensure_secrets_backend_loaded


class Missing(Exception):
    pass

class Exceptions:
    def __getattr__(self, name):
        return Missing if name in ("ResourceNotFoundException", "ParameterNotFound") else type(name, (Exception,), {})

class Client:
    exceptions = Exceptions()
    def __init__(self, service):
        self.service = service
    def read(self, name):
        calls.append([self.service, name])
        value = given["stores"].get(self.service, {}).get(name)
        if value == "refused":
            raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "Get")
        if value == "unreachable":
            raise ConnectTimeoutError(endpoint_url="https://x")
        if value is None:
            raise Missing
        return value
    def get_secret_value(self, SecretId):
        return {"SecretString": self.read(SecretId)}
    def get_parameter(self, Name, WithDecryption):
        assert WithDecryption
        return {"Parameter": {"Value": self.read(Name)}}

module._new_client = Client

def run(case):
    global given, calls
    given, calls, before = case, [], dict(os.environ)
    os.environ.update(case["options"])
    clear_secrets_backends_cache()
    backend = ensure_secrets_backend_loaded()[0]
    found = []
    for kind, name in case["reads"]:
        try:
            if kind == "connection":
                connection = _get_connection(name)
                found.append([connection.conn_type, connection.host, connection.login])
            else:
                found.append(backend.get_variable(name))
        except Exception as error:
            found.append(type(error).__name__)
    for name in case["options"]:
        os.environ.pop(name) if name not in before else os.environ.update({name: before[name]})
    return {"found": found, "calls": calls, "backend": type(backend).__name__}

print(json.dumps([run(case) for case in json.loads(os.environ["CASES"])]))
"""
DEFAULT = {"AIRFLOW__WORKERS__SECRETS_BACKEND": "openmwaa_runtime.secrets_backend.SecretsManagerAndParameterStore"}
URI = "http://user@host"
READ = ["http", "host", "user"]
CASES: dict[str, dict[str, Any]] = {
    "both stores": {
        "stores": {
            "secretsmanager": {"airflow/connections/a": '{"conn_type": "http", "host": "host", "user": "user"}'},
            "ssm": {"/airflow/connections/b": URI, "/airflow/variables/x": "1"},
        },
        "reads": [("connection", "a"), ("connection", "b"), ("connection", "c"), ("variable", "x")],
        "options": {"AIRFLOW_CONN_C": URI},
    },
    "refused": {
        "stores": {
            "secretsmanager": {f"airflow/connections/{name}": "refused" for name in "abc"},
            "ssm": {"/airflow/connections/a": URI},
        },
        "reads": [("connection", name) for name in "abc"],
        "options": {"AIRFLOW_CONN_B": URI},
    },
    "no answer": {
        "stores": {
            "secretsmanager": {"airflow/variables/x": "unreachable", "airflow/variables/y": "1"},
            "ssm": {"/airflow/variables/x": "1"},
        },
        "reads": [("variable", "x"), ("variable", "y"), ("variable", "x")],
    },
    "prefixes": {
        "reads": [("connection", "a"), ("variable", "x")],
        "options": {
            "AIRFLOW__WORKERS__SECRETS_BACKEND_KWARGS": '{"connections_prefix": "t", "variables_prefix": null}'
        },
    },
    "a pattern": {
        "reads": [("connection", "a"), ("variable", "x")],
        "options": {"AIRFLOW__WORKERS__SECRETS_BACKEND_KWARGS": '{"connections_lookup_pattern": "^z"}'},
    },
    "MWAA's option": {
        "options": {
            "AIRFLOW__WORKERS__SECRETS_BACKEND": "",
            "AIRFLOW__SECRETS__BACKEND": "airflow.providers.amazon.aws.secrets.secrets_manager.SecretsManagerBackend",
            "AIRFLOW__SECRETS__BACKEND_KWARGS": '{"connections_prefix": "airflow/connections"}',
        },
    },
}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The values and the calls of every case, from one process of Airflow."""
    cases = [{"stores": {}, "reads": [], "options": {}, **case} for case in CASES.values()]
    found = run_airflow_program(PROGRAM, tmp_path_factory.mktemp("airflow"), CASES=json.dumps(cases), **DEFAULT)
    return dict(zip(CASES, found, strict=True))


def test_a_connection_comes_from_secrets_manager_then_from_the_parameter_store(results: dict[str, Any]) -> None:
    assert results["both stores"]["found"] == [READ, READ, READ, "1"]
    assert results["both stores"]["calls"] == [
        *(["secretsmanager", "airflow/connections/a"], ["secretsmanager", "airflow/connections/b"]),
        *(["ssm", "/airflow/connections/b"], ["secretsmanager", "airflow/connections/c"]),
        *(
            ["ssm", "/airflow/connections/c"],
            ["secretsmanager", "airflow/variables/x"],
            ["ssm", "/airflow/variables/x"],
        ),
    ]


def test_a_store_that_refuses_does_not_hide_the_other(results: dict[str, Any]) -> None:
    expected = [READ, READ, "AirflowNotFoundException"]
    assert results["refused"]["found"] == expected, "Airflow looks in its next place"


def test_a_store_that_does_not_answer_is_not_asked_again_for_a_minute(results: dict[str, Any]) -> None:
    found = results["no answer"]
    assert found["found"] == ["1", "ConnectTimeoutError", "1"], "what is unknown is not absent"
    assert [call for call in found["calls"] if call[0] == "secretsmanager"] == [
        ["secretsmanager", "airflow/variables/x"]
    ]


@pytest.mark.parametrize(
    ("case", "calls"),
    [
        ("prefixes", [["secretsmanager", "t/a"], ["ssm", "/t/a"]]),
        ("a pattern", [["secretsmanager", "airflow/variables/x"], ["ssm", "/airflow/variables/x"]]),
    ],
)
def test_arguments_of_the_user_reach_both_stores(case: str, calls: list[list[str]], results: dict[str, Any]) -> None:
    assert results[case]["calls"] == calls


def test_mwaas_option_of_the_user_is_used_as_it_is(results: dict[str, Any]) -> None:
    assert results["MWAA's option"]["backend"] == "SecretsManagerBackend"
