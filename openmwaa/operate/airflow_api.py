# SPDX-License-Identifier: Apache-2.0
"""Airflow's REST API of a running environment, as `admin`. Errors have no body of an answer: it may repeat secrets."""

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from openmwaa.operate.connection import Connection, aws_errors
from openmwaa.operate.errors import OperateError, UnreachableError
from openmwaa.operate.services import describe

TIMEOUT_S: Final = 30.0
_SERVER_ERROR: Final = 500


class AirflowRefusedError(OperateError):
    """Airflow answered that the request cannot be carried out."""


@dataclass
class AdminApi:
    """The API of the environment's version of Airflow."""

    connection: Connection

    @cached_property
    def url(self) -> str:
        """The address of the web server, without a slash at the end."""
        if address := self.connection.endpoints.get("web"):
            return address.rstrip("/")
        definition = describe(self.connection, ["scaler"])["scaler"]["taskDefinition"]
        with aws_errors(self.connection, "ecs:DescribeTaskDefinition", f"the task definition {definition}"):
            answer = self.connection.client("ecs").describe_task_definition(taskDefinition=definition)
        (container,) = answer["taskDefinition"]["containerDefinitions"]
        variables = {variable["name"]: variable["value"] for variable in container["environment"]}
        return str(json.loads(variables["SCALER_CONFIG"])["web_url"]).rstrip("/")

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
        secret = f"{self.connection.resource_name}/admin-password"
        with aws_errors(self.connection, "secretsmanager:GetSecretValue", f"the secret {secret}"):
            password = self.connection.client("secretsmanager").get_secret_value(SecretId=secret)["SecretString"]
        login = {"username": "admin", "password": password}
        return self.connection.environment.airflow.authorization(
            login, lambda path, body: self._send("POST", path, body, {})
        )

    def _send(self, method: str, path: str, body: Any, headers: Mapping[str, str]) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            self.url + path, data, {"Content-Type": "application/json", **headers}, method=method
        )
        # A proxy of this machine does not reach it, and would get the password.
        handlers = [urllib.request.ProxyHandler({})] if self.connection.local else []
        try:
            with urllib.request.build_opener(*handlers).open(request, timeout=TIMEOUT_S) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            error.close()
            kind = UnreachableError if error.code >= _SERVER_ERROR else AirflowRefusedError
            raise kind(f"Airflow answered {method} {self.url}{path} with {error.code}.") from None
        except (OSError, ValueError) as error:
            raise UnreachableError(
                f"{self.url} does not answer: {error}. The web server is private: use its network."
            ) from None
