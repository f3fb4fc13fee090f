# SPDX-License-Identifier: Apache-2.0
"""Connections and variables from Airflow's files to Secrets Manager or to Airflow, and back; no value is shown."""

import json
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from openmwaa.config.environment import Environment
from openmwaa.config.secret_prefixes import Kind
from openmwaa.operate.errors import OperateError, PermissionMissingError
from openmwaa.operate.stored_values import SecretsManager, read_file, write_file
from tests.support.environments import LEAST
from tests.support.fake_connection import FakeConnection

SECRET = "hunter-2"
DATABASE = {"conn_type": "postgres", "host": "db", "password": SECRET}


class ExistsError(ClientError):
    pass


class FakeSecretsManager:
    """Secrets by name; two in a page."""

    class exceptions:  # noqa: N801
        ResourceExistsException = ExistsError

    def __init__(self, **secrets: str) -> None:
        self.secrets, self.calls, self.refuses = dict(secrets), list[tuple[str, Any]](), ""

    def _called(self, operation: str, **request: Any) -> None:
        self.calls.append((operation, request))
        if operation == self.refuses:
            raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, operation)

    def create_secret(self, **request: Any) -> None:
        self._called("create_secret", **request)
        if request["Name"] in self.secrets:
            raise ExistsError({"Error": {"Code": "ResourceExistsException"}}, "CreateSecret")
        self.secrets[request["Name"]] = request["SecretString"]

    def put_secret_value(self, **request: Any) -> None:
        self._called("put_secret_value", **request)
        self.secrets[request["SecretId"]] = request["SecretString"]

    def get_secret_value(self, **request: Any) -> dict[str, str]:
        self._called("get_secret_value", **request)
        return {"SecretString": self.secrets[request["SecretId"]]}

    def get_paginator(self, operation: str) -> "FakeSecretsManager":
        assert operation == "list_secrets"
        return self

    def paginate(self, **request: Any) -> Iterator[dict[str, Any]]:
        self._called("list_secrets", **request)
        (condition,) = request["Filters"]
        assert condition["Key"] == "name"
        # Secrets Manager compares without regard to case.
        names = [name for name in self.secrets if name.lower().startswith(condition["Values"][0].lower())]
        for first in range(0, len(names), 2):
            yield {"SecretList": [{"Name": name} for name in names[first : first + 2]]}


def _connection(fake: FakeSecretsManager, **fields: Any) -> FakeConnection:
    environment = Environment.model_validate({**LEAST, **fields})
    return FakeConnection(environment, Path("e.yaml"), fake=fake, services=("secretsmanager",))


def _file(folder: Path, text: str, name: str = "values.json") -> Path:
    file = folder / name
    file.write_text(text)
    return file


EXPORTED = {**DATABASE, "description": "", "login": None, "port": 5432, "schema": None, "is_encrypted": True}


@pytest.mark.parametrize(
    ("kind", "value", "stored"),
    [
        ("connections", EXPORTED, json.dumps({**DATABASE, "port": 5432})),
        ("connections", "postgres://u:p@db/x", "postgres://u:p@db/x"),
        ("connections", {"conn_type": "aws", "extra": {"a": 1}}, '{"conn_type": "aws", "extra": "{\\"a\\": 1}"}'),
        ("variables", "text", "text"),
        ("variables", 7, "7"),
        ("variables", {"a": [1]}, '{"a": [1]}'),
        ("variables", {"value": "x", "description": "why"}, "x"),
        ("variables", False, "false"),
    ],
    ids=lambda value: str(value)[:30],
)
@pytest.mark.parametrize("suffix", ["json", "yaml"])
def test_a_file_as_airflow_exports_it_is_read(kind: Kind, value: Any, stored: str, suffix: str, tmp_path: Path) -> None:
    file = _file(tmp_path, json.dumps({"a": value}), f"values.{suffix}")  # JSON is YAML too
    assert read_file(kind, file) == {"a": stored}


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        ("connections", f'{{"a": "{SECRET}"', "cannot be read: no JSON"),
        ("connections", "[]", "must be a mapping of names to connections, as `airflow connections export`"),
        ("connections", "{}", "must be a mapping"),
        ("connections", f'{{"a": "{SECRET}"}}', "a must be a URI, or a mapping with conn_type"),
        ("connections", f'{{"a": {{"conn_type": "x", "paswd": "{SECRET}"}}}}', "a must be a URI, or a mapping"),
        ("connections", f'{{"a": {{"password": "{SECRET}"}}}}', "a must be a URI, or a mapping"),
        ("connections", '{"a b": "x://y"}', "'a b' must be 1 to 250 letters, digits"),
        ("variables", '{"../a*": "x"}', "must be 1 to 250 letters"),
        ("variables", '{"a": ""}', "a must be a value that is not empty"),
        ("variables", '{"a": null}', "a must be a value that is not empty"),
    ],
)
def test_a_file_that_is_not_valid_is_refused_without_its_values(
    kind: Kind, text: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(OperateError) as caught:
        read_file(kind, _file(tmp_path, text))
    assert message in str(caught.value)
    assert SECRET not in str(caught.value)


def test_a_date_of_yaml_is_its_text(tmp_path: Path) -> None:
    file = _file(tmp_path, "start: 2026-01-02\nat: 2026-01-02T03:04:05Z\n", "v.yaml")
    assert read_file("variables", file) == {"start": "2026-01-02", "at": "2026-01-02T03:04:05+00:00"}


def test_yaml_that_is_not_valid_and_a_missing_file_are_errors(tmp_path: Path) -> None:
    with pytest.raises(OperateError, match="cannot be read: no YAML") as caught:
        read_file("variables", _file(tmp_path, f"a: '{SECRET}", "v.yml"))
    assert SECRET not in str(caught.value)
    with pytest.raises(OperateError, match="No such file"):
        read_file("variables", tmp_path / "none.json")


def test_a_value_is_created_or_replaced_under_mwaas_prefix() -> None:
    fake = FakeSecretsManager(**{"airflow/variables/old": "1"})
    store = SecretsManager(_connection(fake), "variables")
    store.write("old", "2")
    store.write("team/new", "3")
    assert fake.secrets == {"airflow/variables/old": "2", "airflow/variables/team/new": "3"}
    assert "KmsKeyId" not in fake.calls[0][1], "Secrets Manager's own key"


def test_a_value_is_encrypted_with_the_key_of_the_file() -> None:
    fake, key = FakeSecretsManager(), "arn:aws:kms:us-east-1:123456789012:key/11111111-2222-3333-4444-555555555555"
    SecretsManager(_connection(fake, kms_key=key), "variables").write("a", "1")
    assert fake.calls[0][1]["KmsKeyId"] == key


def test_the_prefix_is_that_of_the_options_and_may_be_switched_off() -> None:
    options = {"workers.secrets_backend_kwargs": '{"connections_prefix": "team/c", "variables_prefix": null}'}
    connection = _connection(FakeSecretsManager(), airflow_configuration_options=options)
    assert SecretsManager(connection, "connections").prefix == "team/c/"
    with pytest.raises(OperateError, match=r"options in e\.yaml switch variables off"):
        SecretsManager(connection, "variables").write("a", "1")


def test_an_export_has_all_values_of_the_prefix(tmp_path: Path) -> None:
    names = {f"airflow/connections/{name}": json.dumps(DATABASE) for name in "ab"}
    more = {
        "airflow/connections/u": "x://y",
        "airflow/connections/odd": "{not JSON",
        "airflow/Connections/c": "x",
        "airflow/connections-2/d": "x",
    }
    store = SecretsManager(_connection(FakeSecretsManager(**names, **more)), "connections")
    assert store.names() == ["a", "b", "odd", "u"]
    values = {name: store.read(name) for name in store.names()}
    assert values == {"a": DATABASE, "b": DATABASE, "u": "x://y", "odd": "{not JSON"}
    del values["odd"]
    for name in ("c.json", "c.yaml"):
        write_file(tmp_path / name, values)
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600
        assert set(read_file("connections", tmp_path / name)) == {"a", "b", "u"}


def test_an_export_replaces_no_file(tmp_path: Path) -> None:
    file = _file(tmp_path, "mine")
    with pytest.raises(OperateError, match="File exists"):
        write_file(file, {})
    assert file.read_text() == "mine"


def test_a_refusal_names_the_permission() -> None:
    fake = FakeSecretsManager()
    fake.refuses = "create_secret"
    with pytest.raises(PermissionMissingError, match="Allow secretsmanager:CreateSecret") as caught:
        SecretsManager(_connection(fake), "variables").write("a", SECRET)
    assert SECRET not in str(caught.value)
