# SPDX-License-Identifier: Apache-2.0
"""The scaler's page behind the login: a role that may list DAGs reads it; Op and Admin may also write overrides."""

import json
import re
from collections.abc import Callable
from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie
from typing import Any, Final

from openmwaa_runtime.auth.airflow_port import AirflowSession
from openmwaa_runtime.auth.airflow_role import AirflowRole
from openmwaa_runtime.auth.audit import AuditLog, Outcome
from openmwaa_runtime.auth.errors import AccessDeniedError, AuthError, AuthUnavailableError, ProofError
from openmwaa_runtime.auth.http_message import HttpAnswer, HttpRequest
from openmwaa_runtime.auth.scaler_client import ScalerClient

PATH: Final = "/aws_mwaa/scaler/"
BODY_LIMIT: Final = 16 * 1024
_OVERRIDE: Final = re.compile(rf"{PATH}v1/overrides/(?P<fleet>[a-z0-9-]{{1,64}})")


class ScalerPage:
    """Passes requests on to the scaler, which has no login.

    `list_dags` returns the status of Airflow's list of DAGs for a token: 200 for those who may read the page. `session`
    returns the caller of a token, or raises AuthError.
    """

    def __init__(
        self,
        scaler: ScalerClient,
        login_url: str,
        list_dags: Callable[[str], int],
        session: Callable[[str], AirflowSession],
        audit: AuditLog,
        source_ip: Callable[[HttpRequest], str],
    ) -> None:
        self._scaler = scaler
        self._login_url = login_url
        self._list_dags = list_dags
        self._session = session
        self._audit = audit
        self._source_ip = source_ip

    def handle(self, request: HttpRequest) -> HttpAnswer:
        """Answer a request whose path begins with `PATH`."""
        if request.method == "POST" and (found := _OVERRIDE.fullmatch(request.raw_path)):
            return self._override(request, found["fleet"])
        if request.method != "GET":
            return HttpAnswer.of_json(405, {"message": "only overrides can be written here"}, Allow="GET")
        token = _token(request)
        status = HTTPStatus.UNAUTHORIZED if token is None else self._list_dags(token)
        if status == HTTPStatus.UNAUTHORIZED:  # also an expired session; Airflow answers 403 to a revoked one
            return HttpAnswer(303, headers={"Location": self._login_url, "Cache-Control": "no-store"})
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return HttpAnswer.of_json(503, {"message": "Airflow does not answer; try again"})
        if status != HTTPStatus.OK:
            return HttpAnswer.of_json(
                403, {"message": "your role may not read this; or your session was ended; see `openmwaa whoami`"}
            )
        query = f"?{request.raw_query}" if request.raw_query else ""
        return self._scaler.get(f"/{request.raw_path.removeprefix(PATH)}{query}")

    def _override(self, request: HttpRequest, fleet: str) -> HttpAnswer:
        """Replace the override of a fleet in the name of the caller."""
        session, source_ip = None, self._source_ip(request)
        try:
            if (token := _token(request)) is None:
                raise ProofError("there is no session; use `openmwaa login`")
            session = self._session(token)
            if not session.role.includes(AirflowRole.OP):
                raise AccessDeniedError(f"overrides need the role Op; your session has the role {session.role}")
        except AuthError as error:
            outcome: Outcome = "unavailable" if isinstance(error, AuthUnavailableError) else "denied"
            principal = session.principal if session else None
            self._audit.record("override", outcome, source_ip=source_ip, principal=principal, reason=str(error))
            return HttpAnswer.of_json(error.status, {"message": str(error)})
        if len(request.body) > BODY_LIMIT:
            return HttpAnswer.of_json(413, {"message": f"the body has more than {BODY_LIMIT} bytes"})
        try:
            fields: dict[str, Any] = dict(json.loads(request.body))
        except (ValueError, TypeError, RecursionError):
            return HttpAnswer.of_json(400, {"message": 'send the fields of an override as JSON, such as {"max": 4}'})
        answer = self._scaler.write_override("POST", fleet, fields, session.principal.arn)
        details = {"role": session.role, "fleet": fleet, "status": answer.status}
        self._audit.record("override", "allowed", source_ip=source_ip, principal=session.principal, **details)
        return answer


def _token(request: HttpRequest) -> str | None:
    """The Bearer token, or without `Authorization` the cookie: a browser adds other credentials by itself."""
    if authorization := request.header_values("authorization"):
        scheme, _, bearer = authorization[0].partition(" ")
        return bearer.strip() if scheme.lower() == "bearer" and len(authorization) == 1 else None
    try:
        cookie = SimpleCookie(request.header("cookie") or "").get("_token")
    except CookieError:
        return None
    return cookie.value if cookie else None
