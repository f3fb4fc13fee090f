# SPDX-License-Identifier: Apache-2.0
"""The routes of the login: MWAA's own under both of its prefixes, and `exchange`, which takes a proof of identity."""

import base64
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qs

from openmwaa_runtime.auth import pages
from openmwaa_runtime.auth.access import RequestContext
from openmwaa_runtime.auth.airflow_port import AirflowPort
from openmwaa_runtime.auth.airflow_role import AirflowRole
from openmwaa_runtime.auth.audit import AuditLog, Outcome
from openmwaa_runtime.auth.cli_door import CliRefusedError, CommandResult, parse
from openmwaa_runtime.auth.errors import AuthError, AuthUnavailableError, ProofError
from openmwaa_runtime.auth.http_message import HttpAnswer, HttpRequest
from openmwaa_runtime.auth.login_store import LoginStore
from openmwaa_runtime.auth.logins import SESSION_S, Logins
from openmwaa_runtime.auth.principal import Principal, Proof
from openmwaa_runtime.auth.tokens import Purpose

PREFIXES: Final = ("/aws_mwaa", "/pluginsv2/aws_mwaa")
_PURPOSES: Final = ("web", "cli", "api", "credentials", "revoke")
BODY_LIMIT: Final = 64 * 1024
"""Bytes of a request: the longest is a command with a `--conf`."""
SIGNED_BODY_LIMIT: Final = 10 * 1024 * 1024
"""Bytes of a call of MWAA's API, which has a signature."""


def body_limit(request: HttpRequest) -> int:
    """Return how many bytes of a body the web server reads before the caller is proven."""
    is_signed = (request.header("authorization") or "").startswith("AWS4-HMAC-SHA256 ")
    return SIGNED_BODY_LIMIT if is_signed and request.raw_path.startswith(f"{PREFIXES[0]}/api/") else BODY_LIMIT


@dataclass(frozen=True)
class Doors:
    """Handles requests; each handler authenticates its caller itself, because Airflow does not for plugins."""

    logins: Logins
    environment_name: str
    airflow: AirflowPort
    store: LoginStore
    credentials: Callable[[Principal], dict[str, Any]]
    """The answer of a `credential_process`."""
    run_command: Callable[[Sequence[str]], CommandResult]
    context: Callable[[HttpRequest], RequestContext]
    audit: AuditLog
    single_dags: bool = False
    """Whether roles differ between DAGs."""
    clock: Callable[[], float] = time.time

    def handle(self, request: HttpRequest) -> HttpAnswer:
        """Answer a request to one of the routes; 404 for others."""
        prefix = next((word for word in reversed(PREFIXES) if request.raw_path.startswith(f"{word}/")), "")
        route = (request.method, request.raw_path.removeprefix(prefix))
        handlers = {
            ("GET", "/login"): self._instructions,
            ("POST", "/login"): self._login,
            ("GET", "/aws-console-sso"): lambda _request: pages.sign_in(
                f"{prefix}/login", confirm=_from_another_page(request)
            ),
            ("POST", "/cli"): self._cli,
            ("POST", "/exchange"): self._exchange,
        }
        if not prefix or route not in handlers:
            return HttpAnswer.of_json(404, {"message": "not found"})
        return handlers[route](request)

    def _instructions(self, _request: HttpRequest) -> HttpAnswer:
        return pages.instructions(self.environment_name)

    def _login(self, request: HttpRequest) -> HttpAnswer:
        """Exchange a web token for a session, and redirect to Airflow."""
        attempt = _Attempt(self, "login", request)
        try:
            fields = parse_qs(request.body.decode(), strict_parsing=True, max_num_fields=8)
            (token,) = fields["token"]
        except (ValueError, KeyError):
            return attempt.failed(ProofError("the form has no field `token`"), page=True)
        try:
            claims = self.logins.tokens.redeem(Purpose.WEB, token)
            attempt.principal = claims.principal
            if claims.role is None:
                raise ProofError("the token has no role")
            # From then on: a revocation between token and login ends the session too.
            cookies = self.airflow.cookies(self.airflow.mint(claims.principal, claims.role, claims.issued_at))
        except AuthError as error:
            return attempt.failed(error, page=True)
        attempt.record("allowed", role=claims.role)
        return HttpAnswer(303, headers={"Location": "/", "Cache-Control": "no-store"}, cookies=cookies)

    def _cli(self, request: HttpRequest) -> HttpAnswer:
        """Run a command, and answer with both streams in base64, as MWAA does."""
        attempt = _Attempt(self, "cli", request)
        try:
            scheme, _, token = (request.header("authorization") or "").partition(" ")
            if scheme.lower() != "bearer":
                raise ProofError("the header Authorization has no bearer token; use CreateCliToken")
            claims = self.logins.tokens.redeem(Purpose.CLI, token.strip())
            attempt.principal = claims.principal
            if claims.role is None:
                raise ProofError("the token has no role")
            if claims.issued_at < self.store.revoked().get(claims.principal.arn, 0):
                raise ProofError("the sessions of this principal were ended; request a new token")
            line = request.body.decode(errors="replace").strip()
            words = parse(line, claims.role, single_dags=self.single_dags)
            result = self.run_command(words)
        except CliRefusedError as error:
            # Words that are refused may be a password.
            attempt.record("denied", reason="the command or an option of it is not supported")
            return _streams(CommandResult(2, b"", f"{error}\n".encode()))
        except AuthError as error:
            return attempt.failed(error)
        attempt.record("allowed", role=claims.role, command=" ".join(words[:2]), exit_status=result.status)
        return _streams(result)

    def _exchange(self, request: HttpRequest) -> HttpAnswer:
        """Exchange a proof of identity for a token of the wanted purpose."""
        attempt = _Attempt(self, "exchange", request)
        try:
            proof, purpose, wanted, whose = _exchange_fields(request.body)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            names = ", ".join(AirflowRole)
            message = f"send JSON with `proof`, `purpose` ({', '.join(_PURPOSES)}) and perhaps `role` ({names})"
            return HttpAnswer.of_json(400, {"message": message})
        try:
            attempt.principal = principal = self.logins.verify(proof)
            if purpose == "revoke":
                answer = self._revoke(principal, whose or principal.arn, attempt.context)
            else:
                answer = self._answer(principal, purpose, wanted, attempt.context)
        except AuthError as error:
            return attempt.failed(error)
        attempt.record("allowed", purpose=purpose, **{key: answer[key] for key in ("role", "revoked") if key in answer})
        return HttpAnswer.of_json(200, answer)

    def _revoke(self, principal: Principal, whose: str, context: RequestContext) -> dict[str, Any]:
        """End all sessions and credentials of the caller; those of another principal need Admin."""
        if whose != principal.arn:
            self.logins.policy.role(principal, "airflow:CreateWebLoginToken", AirflowRole.ADMIN, context)
            Principal.read(whose, Proof.STS)
        self.store.revoke(whose, self.clock())
        return {"revoked": whose, "iam_identity": principal.arn}

    def _answer(
        self, principal: Principal, purpose: str, wanted: AirflowRole | None, context: RequestContext
    ) -> dict[str, Any]:
        if purpose == "credentials":
            return self.credentials(principal)
        if purpose == "cli":
            token, role = self.logins.cli_token(principal, context)
            return {"cli_token": token, "web_server_hostname": self.logins.web_server_hostname, "role": role}
        if purpose == "api":
            grant = self.logins.policy.role(principal, "airflow:InvokeRestApi", wanted, context)
            now = int(self.clock())
            more = {"access_token": self.airflow.mint(principal, grant.role, now), "expires_at": now + SESSION_S}
        else:
            token, grant = self.logins.web_token(principal, wanted, context)
            more = {
                "web_token": token,
                "web_server_hostname": self.logins.web_server_hostname,
                "airflow_identity": principal.user_name,
            }
        return {**more, "iam_identity": principal.arn, "role": grant.role, "granted_by": list(grant.granted_by)}


class _Attempt:
    """One request that logs in, for its audit line."""

    def __init__(self, doors: Doors, event: str, request: HttpRequest) -> None:
        self._doors, self._event = doors, event
        self.context = doors.context(request)
        self.principal: Principal | None = None

    def record(self, outcome: Outcome, **details: object) -> None:
        """Write the audit line."""
        ip = self.context.source_ip
        self._doors.audit.record(self._event, outcome, source_ip=ip, principal=self.principal, **details)

    def failed(self, error: AuthError, *, page: bool = False) -> HttpAnswer:
        """Write the audit line of a refusal, and return its answer."""
        self.record("unavailable" if isinstance(error, AuthUnavailableError) else "denied", reason=str(error))
        if page:
            return pages.instructions(self._doors.environment_name, str(error), status=error.status)
        return HttpAnswer.of_json(error.status, {"message": str(error)})


def _from_another_page(request: HttpRequest) -> bool:
    """Return whether a page of another site opened this one: its token may be that of an attacker's own session."""
    return request.header("sec-fetch-site") in ("cross-site", "same-site")


def _exchange_fields(body: bytes) -> tuple[str, str, AirflowRole | None, str | None]:
    content = json.loads(body)
    proof, purpose, role, whose = (content.get(name) for name in ("proof", "purpose", "role", "principal"))
    if not isinstance(proof, str) or purpose not in _PURPOSES or not isinstance(whose, str | None):
        raise ValueError(purpose)
    return proof, purpose, None if role is None else AirflowRole(role), whose


def _streams(result: CommandResult) -> HttpAnswer:
    streams = {"stdout": result.stdout, "stderr": result.stderr}
    content = {name: base64.b64encode(stream).decode() for name, stream in streams.items()}
    return HttpAnswer.of_json(400 if result.status else 200, {**content, "exit_status": result.status})
