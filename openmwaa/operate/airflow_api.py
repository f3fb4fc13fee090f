# SPDX-License-Identifier: Apache-2.0
"""Airflow's REST API of a running environment, as the caller's AWS identity, or as `admin` with its password."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from openmwaa.operate.airflow_http import AirflowRefusedError, send
from openmwaa.operate.airflow_login import DEFAULT_CALLER, Caller, exchange
from openmwaa.operate.connection import Connection, aws_errors

__all__ = ["AirflowRefusedError", "EnvironmentApi"]


@dataclass
class EnvironmentApi:
    """The API of the environment's version of Airflow."""

    connection: Connection
    role: str | None = None
    """The role to use; None: the highest that the caller has."""
    caller: Caller = DEFAULT_CALLER

    @cached_property
    def url(self) -> str:
        """The address of the web server, without a slash at the end."""
        return self.caller.web_url(self.connection)

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Return the answer to a request; `path` begins after /api/v1 or /api/v2.

        Raises:
            AirflowRefusedError: an answer of 4xx.
            UnreachableError: no answer, or one of 5xx.
        """
        return self._send(method, self.connection.environment.airflow.api + path, body, self._authorization)

    def pages(self, path: str, key: str) -> list[Any]:
        """Return all entries of a list.

        Raises:
            AirflowRefusedError: an answer of 4xx.
            UnreachableError: no answer, or one of 5xx.
        """
        found: list[Any] = []
        while True:
            answer = self.call("GET", f"{path}?limit=100&offset={len(found)}")
            found += answer[key]
            if not answer[key] or len(found) >= answer["total_entries"]:
                return found

    @cached_property
    def _authorization(self) -> Mapping[str, str]:
        if self.connection.environment.web_access.login == "IAM":
            token = exchange(self.connection, "api", self.caller, role=self.role)["access_token"]
            return {"Authorization": f"Bearer {token}"}
        secret = f"{self.connection.resource_name}/admin-password"
        with aws_errors(self.connection, "secretsmanager:GetSecretValue", f"the secret {secret}"):
            password = self.connection.client("secretsmanager").get_secret_value(SecretId=secret)["SecretString"]
        login = {"username": "admin", "password": password}
        return self.connection.environment.airflow.authorization(
            login, lambda path, body: self._send("POST", path, body, {})
        )

    def _send(self, method: str, path: str, body: Any, headers: Mapping[str, str]) -> Any:
        data = None if body is None else json.dumps(body).encode()
        return send(self.connection, method, self.url + path, data, headers)
