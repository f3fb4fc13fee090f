# SPDX-License-Identifier: Apache-2.0
"""The handler of `/aws_mwaa/api/…`: verifies the signature, finds the operation, runs it, writes its answer."""

import logging
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from openmwaa_runtime.auth.access import RequestContext
from openmwaa_runtime.auth.audit import AuditLog, Outcome
from openmwaa_runtime.auth.errors import AccessDeniedError, AuthUnavailableError
from openmwaa_runtime.auth.http_message import HttpAnswer, HttpRequest
from openmwaa_runtime.auth.login_store import LoginStore
from openmwaa_runtime.mwaa_api.operations import ApiCall, Operations
from openmwaa_runtime.mwaa_api.service_model import ApiError, find_operation
from openmwaa_runtime.mwaa_api.sigv4 import SignatureError, SignatureVerifier, SignedCall

PATH = "/aws_mwaa/api"
"""The path of the endpoint URL; clients append the paths of the model."""

_LONGEST_LOGGED = 200
_log = logging.getLogger(__name__)


class MwaaApi:
    """MWAA's API of one environment."""

    def __init__(
        self,
        *,
        verifier: SignatureVerifier,
        operations: Operations,
        store: LoginStore,
        audit: AuditLog,
        context: Callable[[HttpRequest], RequestContext],
    ) -> None:
        self._verifier = verifier
        self._operations = operations
        self._store = store
        self._audit = audit
        self._context = context

    def handle(self, request: HttpRequest) -> HttpAnswer:
        """Answer a request whose path begins with `PATH`."""
        seen = _Seen(self._context(request))
        try:
            answer = _answer(seen, 200, self._run(request, seen))
        except Exception as raised:  # noqa: BLE001 - a client must get an error that it can read
            error, seen.outcome = _as_api_error(raised)
            seen.details["error"] = error.code
            answer = _answer(seen, error.status, error.body(), error=error.code)
        if seen.changes or seen.outcome != "allowed":
            principal = seen.caller.claims.principal if seen.caller else None
            self._audit.record(
                seen.event, seen.outcome, source_ip=seen.context.source_ip, principal=principal, **seen.details
            )
        return answer

    def _run(self, request: HttpRequest, seen: "_Seen") -> dict[str, Any]:
        seen.caller = self._verifier.verify(request)
        operation, match = find_operation(request.method, request.raw_path.removeprefix(PATH))
        seen.event = f"mwaa:{operation.name}"
        values = operation.read_input(match, request.raw_query, request.body)
        if operation.name == "InvokeRestApi":
            seen.details |= {"method": values["Method"], "path": values["Path"][:_LONGEST_LOGGED]}
        # What changes nothing may be sent again within the signature's five minutes; all else once.
        seen.changes = not (operation.reads or values.get("Method") == "GET")
        if seen.changes:
            seen.caller.use_once(self._store)
        return self._operations.run(operation.name, ApiCall(seen.caller.claims.principal, seen.context, values))


@dataclass
class _Seen:
    """What is known about a request; it fills up while the request is handled."""

    context: RequestContext
    event: str = "mwaa:unknown"
    outcome: Outcome = "allowed"
    caller: SignedCall | None = None
    changes: bool = False
    details: dict[str, Any] = field(default_factory=lambda: {"request_id": str(uuid.uuid4())})


def _as_api_error(error: Exception) -> tuple[ApiError, Outcome]:
    """Return an exception as an error of the API, and its outcome for the audit log."""
    if isinstance(error, ApiError):
        return error, "allowed"
    if isinstance(error, SignatureError):
        return ApiError(error.code, str(error)), "denied"
    if isinstance(error, AccessDeniedError):
        return ApiError("AccessDeniedException", str(error)), "denied"
    if isinstance(error, AuthUnavailableError):
        return ApiError("ServiceUnavailableException", str(error)), "unavailable"
    _log.error("MWAA's API failed", exc_info=error)
    return ApiError("InternalServerException", "the call failed; the log of the web server has the reason"), "allowed"


def _answer(seen: _Seen, status: int, content: Any, *, error: str | None = None) -> HttpAnswer:
    headers = {"x-amzn-RequestId": seen.details["request_id"], **({"x-amzn-errortype": error} if error else {})}
    return HttpAnswer.of_json(status, content, **headers)
