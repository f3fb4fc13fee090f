# SPDX-License-Identifier: Apache-2.0
"""Airflow's connections and variables: from a file in Airflow's own form to Secrets Manager or Airflow, and back.

Values are secrets: no message, error or log has one.
"""

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import yaml

from openmwaa.config.secret_prefixes import Kind, secret_prefixes
from openmwaa.operate.airflow_api import AirflowRefusedError, EnvironmentApi
from openmwaa.operate.connection import Connection, aws_errors
from openmwaa.operate.errors import OperateError

_YAML: Final = frozenset({".yaml", ".yml"})
_NAME: Final = re.compile(r"[A-Za-z0-9_.@+=-][A-Za-z0-9/_.@+=-]{0,249}")
"""What a secret's name may contain."""
_FIELDS: Final = frozenset(
    {"conn_type", "description", "login", "password", "host", "port", "schema", "extra"}
    | {"conn_id", "is_encrypted", "is_extra_encrypted"}  # in Airflow's exports, without a meaning for an import
)

_EXPECTED: Final = {
    "connections": f"a URI, or a mapping with conn_type and some of {', '.join(sorted(_FIELDS))}",
    "variables": "a value that is not empty",
}


class StoredValuesError(OperateError):
    """A file, a name or a store cannot be used."""


def read_file(kind: Kind, file: Path) -> dict[str, str]:
    """Return the values of a JSON or YAML file as Airflow exports it, by name, each as a text that Airflow reads.

    Raises:
        StoredValuesError: names the connection or variable that is not valid.
    """
    is_yaml = file.suffix in _YAML
    try:
        text = file.read_text("utf-8")
        data = yaml.safe_load(text) if is_yaml else json.loads(text)
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        # The text of another error may quote a secret.
        reason = error.strerror if isinstance(error, OSError) else f"no {'YAML' if is_yaml else 'JSON'}"
        raise StoredValuesError(f"{file} cannot be read: {reason}.") from None
    if not isinstance(data, dict) or not data:
        raise StoredValuesError(f"{file} must be a mapping of names to {kind}, as `airflow {kind} export` writes it.")
    found: dict[str, str] = {}
    for name, value in data.items():
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise StoredValuesError(f"{file}: {name!r} must be 1 to 250 letters, digits and `/_.@+=-`.")
        stored = _connection(value) if kind == "connections" else _variable(value)
        if not stored:
            raise StoredValuesError(f"{file}: {name} must be {_EXPECTED[kind]}.")
        found[name] = stored
    return found


def _connection(value: object) -> str | None:
    if isinstance(value, str):
        return value if "://" in value else None
    if not isinstance(value, dict) or not value.get("conn_type") or not value.keys() <= _FIELDS:
        return None
    kept = {key: value[key] for key in value if not key.startswith("is_") and key != "conn_id"}
    if not isinstance(extra := kept.get("extra") or "", str):
        kept["extra"] = json.dumps(extra, default=str)
    return json.dumps({key: field for key, field in kept.items() if field not in (None, "")}, default=str)


def _variable(value: object) -> str:
    if isinstance(value, dict) and value.keys() <= {"value", "description"} and "value" in value:
        value = value["value"]
    if isinstance(value, date):  # YAML has dates
        return value.isoformat()
    return value if isinstance(value, str) else "" if value is None else json.dumps(value, default=str)


@dataclass(frozen=True)
class SecretsManager:
    """The connections or variables below one prefix."""

    connection: Connection
    kind: Kind

    @property
    def prefix(self) -> str:
        """The beginning of the names, with a slash at the end.

        Raises:
            StoredValuesError: the options of the file switch them off.
        """
        prefixes = secret_prefixes(self.connection.environment.airflow_configuration_options)
        if self.kind not in prefixes:
            raise StoredValuesError(f"The secrets backend's options in {self.connection.file} switch {self.kind} off.")
        return f"{prefixes[self.kind]}/"

    def names(self) -> list[str]:
        """Return the stored names.

        Raises:
            OperateError: AWS refuses or does not answer.
        """
        with self._errors("secretsmanager:ListSecrets", "*") as client:
            pages = client.get_paginator("list_secrets").paginate(Filters=[{"Key": "name", "Values": [self.prefix]}])
            every = [str(secret["Name"]) for page in pages for secret in page["SecretList"]]
        return sorted(name.removeprefix(self.prefix) for name in every if name.startswith(self.prefix))

    def write(self, name: str, text: str) -> None:
        """Create or replace one value.

        Raises:
            OperateError: AWS refuses or does not answer.
        """
        secret, key = f"{self.prefix}{name}", self.connection.environment.kms_key
        with self._errors("secretsmanager:CreateSecret and secretsmanager:PutSecretValue", secret) as client:
            try:
                client.create_secret(Name=secret, SecretString=text, **({"KmsKeyId": key} if key else {}))
            except client.exceptions.ResourceExistsException:
                client.put_secret_value(SecretId=secret, SecretString=text)

    def read(self, name: str) -> Any:
        """Return one value, as Airflow's exports have it.

        Raises:
            OperateError: AWS refuses or does not answer.
        """
        with self._errors("secretsmanager:GetSecretValue", f"{self.prefix}{name}") as client:
            text = str(client.get_secret_value(SecretId=f"{self.prefix}{name}").get("SecretString", ""))
        if self.kind == "connections" and text.lstrip().startswith("{"):
            with suppress(ValueError):  # not written by an import
                return json.loads(text)
        return text

    @contextmanager
    def _errors(self, permission: str, secret: str) -> Iterator[Any]:
        with aws_errors(self.connection, permission, f"the secret {secret}"):
            yield self.connection.client("secretsmanager")


def write_to_airflow(connection: Connection, kind: Kind, values: Mapping[str, str]) -> None:
    """Create or replace all values in Airflow's database by one call of its API, as `admin`.

    Raises:
        OperateError: a connection is a URI, or Airflow refuses or does not answer.
    """
    if uris := [name for name, text in values.items() if kind == "connections" and not text.startswith("{")]:
        raise StoredValuesError(f"Airflow's API takes no URIs: write the fields of {', '.join(uris)}.")
    entities = [
        {"connection_id": name, **json.loads(text)} if kind == "connections" else {"key": name, "value": text}
        for name, text in values.items()
    ]
    api = EnvironmentApi(connection)
    if not connection.environment.airflow.has_execution_api:
        _write_one_by_one(api, kind, entities)
        return
    action = {"action": "create", "action_on_existence": "overwrite", "entities": entities}
    answer = api.call("PATCH", f"/{kind}", {"actions": [action]})
    if errors := (answer.get("create") or {}).get("errors"):
        raise StoredValuesError(f"Airflow refused {len(errors)} of {len(values)} {kind}: {errors[0].get('error')}")


def _write_one_by_one(api: EnvironmentApi, kind: Kind, entities: Iterable[Mapping[str, Any]]) -> None:
    """Create or replace the values in Airflow 2, whose API takes one at a time."""
    for entity in entities:
        name = quote(str(next(iter(entity.values()))), safe="")
        try:
            api.call("PATCH", f"/{kind}/{name}", entity)
        except AirflowRefusedError:  # it does not exist; the next call has any other reason
            api.call("POST", f"/{kind}", entity)


def write_file(file: Path, values: Mapping[str, Any]) -> None:
    """Write the values as JSON, or YAML by the name, to a new file that only its owner can read.

    Raises:
        StoredValuesError: the file exists, or it cannot be written.
    """
    text = yaml.safe_dump(dict(values)) if file.suffix in _YAML else json.dumps(values, indent=2) + "\n"
    try:
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as opened:
            opened.write(text)
    except OSError as error:
        raise StoredValuesError(f"{file} cannot be written: {error.strerror}. Name a new file.") from None
