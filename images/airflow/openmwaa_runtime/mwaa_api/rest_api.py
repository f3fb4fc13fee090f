# SPDX-License-Identifier: Apache-2.0
"""`InvokeRestApi`: the path, query and body of a call of Airflow's REST API, and its answer."""

import json
import re
from collections.abc import Mapping
from typing import Any, Protocol
from urllib.parse import quote, unquote, urlencode

from openmwaa_runtime.auth.airflow_role import AirflowRole
from openmwaa_runtime.auth.principal import Principal
from openmwaa_runtime.mwaa_api.service_model import ApiError, invalid

_CLIENT_ERROR, _SERVER_ERROR = 300, 500
_SCALARS = (str, int, float, bool)


class AirflowCall(Protocol):
    """Calls Airflow's REST API in the name of a caller with a role; returns status and body of the answer."""

    def __call__(
        self, principal: Principal, role: AirflowRole, method: str, path: str, query: str, body: bytes
    ) -> tuple[int, bytes]:
        """`path` begins with the prefix such as /api/v2; path and query are percent-encoded."""
        ...


def api_path(prefix: str, path: str) -> str:
    """Return the encoded path below `prefix`.

    Raises:
        ApiError: it could lead elsewhere, or a server could read it in two ways.
    """
    try:
        text = unquote(path, errors="strict") if _is_encoded(path) else path
        encoded = quote(text, safe="/~:@!$&'()*+,;=")
    except UnicodeError as error:
        raise invalid("Path is not in UTF-8") from error
    parts = text[1:].split("/")
    if (
        not text.startswith("/")
        or "%" in text  # encoded twice
        or re.search(r"%2f|%5c|[\\?#\x00-\x1f\x7f]", path + text, re.IGNORECASE)
        or "" in parts[:-1]
        or {".", ".."}.intersection(part.partition(";")[0].strip() for part in parts)
    ):
        raise invalid(
            "Path must begin with / and lead to a resource of Airflow's REST API, such as /dags/NAME/dagRuns; "
            "the query is in QueryParameters"
        )
    return prefix + encoded


def api_query(parameters: Any) -> str:
    """Return the encoded query; a list repeats its name.

    Raises:
        ApiError: it is not an object of texts, numbers, booleans and lists of them.
    """
    if not isinstance(parameters, Mapping):
        raise invalid("QueryParameters must be an object")
    pairs = []
    for name, value in parameters.items():
        for part in value if isinstance(value, list) else [value]:
            if not isinstance(part, _SCALARS):
                raise invalid(f"QueryParameters.{name} must be a text, a number, a boolean or a list of them")
            pairs.append((name, str(part).lower() if isinstance(part, bool) else str(part)))
    try:
        return urlencode(pairs)
    except UnicodeError as error:
        raise invalid("QueryParameters are not in UTF-8") from error


def api_result(status: int, body: bytes) -> dict[str, Any]:
    """Return the output of the operation.

    Raises:
        ApiError: Airflow has refused the call or failed; the answer of Airflow is in the error.
    """
    try:
        response: Any = json.loads(body) if body else {}
    except ValueError:
        response = body.decode(errors="replace")  # such as logs of a task
    result = {"RestApiStatusCode": status, "RestApiResponse": response}
    if status >= _CLIENT_ERROR:
        code = "RestApiServerException" if status >= _SERVER_ERROR else "RestApiClientException"
        raise ApiError(code, **result)
    return result


def _is_encoded(path: str) -> bool:
    if "%" not in path:
        return False
    if re.search("%(?![0-9A-Fa-f]{2})", path):
        raise invalid("Path has a percent sign without two hexadecimal digits")
    return True
