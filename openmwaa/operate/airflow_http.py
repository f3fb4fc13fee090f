# SPDX-License-Identifier: Apache-2.0
"""Requests to the web server of an environment, and its address."""

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any, Final

from openmwaa.operate.connection import Connection, aws_errors
from openmwaa.operate.errors import OperateError, UnreachableError
from openmwaa.operate.services import describe

TIMEOUT_S: Final = 90.0
"""Longer than the server's limit of 60 s for a command."""
LOGIN_PATH: Final = "/aws_mwaa"
_LONGEST_MESSAGE: Final = 1000
_SERVER_ERROR: Final = 500


class AirflowRefusedError(OperateError):
    """Airflow answered that the request cannot be carried out."""


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect would send the proof, the token or the password to another address."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        """Return None: the redirect is an error."""


def web_url(connection: Connection) -> str:
    """Return the address of the web server, without a slash at the end.

    It is the domain of the file; without one it is read from the scaler's settings in ECS.

    Raises:
        OperateError: it cannot be read.
    """
    if address := connection.endpoints.get("web"):
        return address.rstrip("/")
    if domain := connection.environment.web_access.domain:
        return f"https://{domain}"
    definition = describe(connection, ["scaler"])["scaler"]["taskDefinition"]
    with aws_errors(connection, "ecs:DescribeTaskDefinition", f"the task definition {definition}"):
        answer = connection.client("ecs").describe_task_definition(taskDefinition=definition)
    (container,) = answer["taskDefinition"]["containerDefinitions"]
    variables = {variable["name"]: variable["value"] for variable in container["environment"]}
    return str(json.loads(variables["SCALER_CONFIG"])["web_url"]).rstrip("/")


def send(
    connection: Connection,
    method: str,
    url: str,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    *,
    accepted: frozenset[int] = frozenset(),
) -> Any:
    """Return the JSON of an answer of 2xx, or of one of the accepted statuses.

    Errors have no body of an answer, because it may repeat secrets; only those of the login have its message.

    Raises:
        AirflowRefusedError: an answer of 4xx.
        UnreachableError: no answer, or one of 5xx.
    """
    request = urllib.request.Request(url, body, {"Content-Type": "application/json", **(headers or {})}, method=method)
    handlers: list[urllib.request.BaseHandler] = [_NoRedirects()]
    if connection.local:  # a proxy of this machine does not reach it, and would get the password
        handlers.append(urllib.request.ProxyHandler({}))
    try:
        with urllib.request.build_opener(*handlers).open(request, timeout=TIMEOUT_S) as answer:
            return json.loads(answer.read() or b"null")
    except urllib.error.HTTPError as error:
        with error:
            if error.code in accepted:
                return json.load(error)
            message = _login_message(error, url)
        kind = UnreachableError if error.code >= _SERVER_ERROR else AirflowRefusedError
        raise kind(message or f"Airflow answered {method} {url} with {error.code}.") from None
    except (OSError, ValueError) as error:
        private = "" if connection.local else " If the web server is private, use its network."
        raise UnreachableError(f"{url} does not answer: {error}.{private}") from None


def _login_message(error: urllib.error.HTTPError, url: str) -> str:
    if f"{LOGIN_PATH}/" not in url:
        return ""
    try:
        return str(json.load(error)["message"])[:_LONGEST_MESSAGE]
    except (ValueError, KeyError, TypeError, OSError):
        return ""
