# SPDX-License-Identifier: Apache-2.0
"""IAM login in Airflow 2: FAB's roles and permissions, users by principal, sessions by token, and MWAA's doors.

A user of FAB's tables is a principal with a role, so a second login with another role changes no open session.
`requires_authentication` is the only backend of the REST API.
"""

import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cached_property, wraps
from typing import Any, Final

import jwt
from airflow.providers.fab.auth_manager.security_manager.override import FabAirflowSecurityManagerOverride
from flask import Response, current_app, redirect, request, session
from flask_appbuilder.security.views import AuthDBView, expose
from flask_login import current_user, login_user

from openmwaa_runtime.auth.airflow_port import AirflowSession, Handler
from openmwaa_runtime.auth.airflow_role import AirflowRole
from openmwaa_runtime.auth.doors import body_limit
from openmwaa_runtime.auth.errors import ProofError
from openmwaa_runtime.auth.http_message import HttpAnswer, HttpRequest
from openmwaa_runtime.auth.login_store import PostgresLoginStore
from openmwaa_runtime.auth.logins import SESSION_S
from openmwaa_runtime.auth.principal import Principal, Proof
from openmwaa_runtime.auth.settings import AuthSettings
from openmwaa_runtime.auth.tokens import TokenIssuer
from openmwaa_runtime.auth.web_session import RevokedSessions, is_foreign_write
from openmwaa_runtime.web_handlers import handlers

PREFIXES: Final = ("/aws_mwaa/", "/pluginsv2/aws_mwaa/")
LOGIN_PAGE: Final = "/aws_mwaa/login"
_API: Final = "/api/v1/"
_KEY: Final = "openmwaa_token"
_ALGORITHM: Final = "HS256"


class IamLoginView(AuthDBView):  # type: ignore[misc] # mypy runs without Airflow
    """Instead of FAB's form. `next` has no effect."""

    @expose("/login/", methods=["GET"])  # type: ignore[untyped-decorator]
    def login(self) -> Any:
        """Lead to the instructions."""
        return redirect(LOGIN_PAGE)


class IamSecurityManager(FabAirflowSecurityManagerOverride):  # type: ignore[misc] # mypy runs without Airflow
    """FAB's own, without passwords. It is an AirflowPort."""

    authdbview = IamLoginView

    def __init__(self, appbuilder: Any) -> None:
        super().__init__(appbuilder)
        app = appbuilder.get_app
        app.config["SESSION_COOKIE_SECURE"] = self._settings.web_url.startswith("https://")
        # Airflow sets a float, which gunicorn refuses when a body is read in parts.
        app.config["MAX_CONTENT_LENGTH"] = int(app.config["MAX_CONTENT_LENGTH"])
        app.config["AUTH_ROLE_PUBLIC"] = None  # FAB would let a request without login in, as role Public
        app.before_request(self._answer)

    def auth_user_db(self, *_: Any, **_more: Any) -> None:
        """No password is right."""

    def load_user(self, user_id: object) -> Any:
        """The user of a browser's session, as long as its token is valid."""
        user = self.user_of(session.get(_KEY, ""))
        return user if user is not None and str(user.id) == str(user_id) else None

    def user_of(self, token: str) -> Any:
        """FAB's user; None if the token is invalid, or its session is over or revoked."""
        try:
            found = self.session(token)
        except ProofError:
            return None
        return self._user(found.principal, found.role)

    def session(self, token: str) -> AirflowSession:
        """Verify a token."""
        audience, needed = str(self._settings.environment), ["exp", "sub", "proof", "role", "session_start"]
        try:
            claims = jwt.decode(
                token, self._key, algorithms=[_ALGORITHM], audience=audience, options={"require": needed}
            )
            principal, role = Principal.read(claims["sub"], Proof(claims["proof"])), AirflowRole(claims["role"])
            start = int(claims["session_start"])
        except (jwt.InvalidTokenError, ProofError, ValueError, TypeError) as error:
            raise ProofError("the session is not valid; use `openmwaa login`") from error
        if start + SESSION_S <= time.time() or self._revoked.contains(principal.arn, start):
            raise ProofError("the session has ended; use `openmwaa login`")
        return AirflowSession(principal, role)

    def mint(self, principal: Principal, role: AirflowRole, session_start: int, lifetime_s: int = SESSION_S) -> str:
        """Sign a token."""
        expiry = min(int(time.time()) + lifetime_s, session_start + SESSION_S)
        who = {"sub": principal.arn, "proof": principal.proof.value, "role": role.value}
        claims = {**who, "aud": str(self._settings.environment), "session_start": session_start, "exp": expiry}
        return jwt.encode(claims, self._key, _ALGORITHM)

    def cookies(self, token: str) -> Sequence[str]:
        """Log the browser of the current request in; Flask sets the cookie."""
        user = self.user_of(token)
        if user is not None:
            self._rotate_session_id()
            session[_KEY] = token
            login_user(user, remember=False)
        return ()

    def call(self, request: HttpRequest, token: str, timeout_s: float) -> HttpAnswer:
        """Send a request to the REST API in a thread of its own."""
        if not request.raw_path.startswith(_API) or "/../" in request.raw_path:
            return HttpAnswer.of_json(404, {"detail": f"only paths below {_API} are served"})
        headers = {name: value for name, value in request.headers if name in ("accept", "content-type")}
        headers["authorization"] = f"Bearer {token}"
        target = f"{request.raw_path}?{request.raw_query}" if request.raw_query else request.raw_path
        client = self.appbuilder.get_app.test_client(use_cookies=False)
        answer = self._threads.submit(client.open, target, method=request.method, data=request.body, headers=headers)
        try:
            found = answer.result(timeout_s)
        except TimeoutError:
            return HttpAnswer.of_json(504, {"detail": f"Airflow did not answer within {timeout_s:.0f} s"})
        return HttpAnswer(found.status_code, found.get_data(), found.content_type or "")

    def _answer(self) -> Any:
        """Before each request: refuse one of another site, answer one to a door; None passes it to Airflow."""
        found = _request()
        if is_foreign_write(found, self._settings.web_url):
            return Response('{"message": "a page of another site sent this request"}', 403, mimetype="application/json")
        if not found.raw_path.startswith(PREFIXES):
            return None
        limit = body_limit(found)
        body = request.stream.read(limit + 1)
        if len(body) > limit:
            return Response(f'{{"message": "the body has more than {limit} bytes"}}', 413)
        answer = self._handler(replace(found, body=body))
        response = Response(answer.body, answer.status, dict(answer.headers), content_type=answer.content_type)
        for cookie in answer.cookies:
            response.headers.add("Set-Cookie", cookie)
        response.headers.setdefault("X-Content-Type-Options", "nosniff")
        response.headers.setdefault("X-Frame-Options", "DENY")
        return response

    def _user(self, principal: Principal, role: AirflowRole) -> Any:
        own = principal.account == self._settings.environment.account
        name = f"{'' if own else f'{principal.account}:'}{principal.user_name}:{role}"
        found = self.find_user(username=name)
        if found is None:
            # The other web server may create it at the same time.
            self.add_user(name, principal.user_name, f"({role})", f"{name}@localhost", self.find_role(role.value))
            found = self.find_user(username=name)
        return found

    @cached_property
    def _settings(self) -> AuthSettings:
        return AuthSettings.read(os.environ)

    @cached_property
    def _store(self) -> PostgresLoginStore:
        return PostgresLoginStore.of_web_server(os.environ)

    @cached_property
    def _key(self) -> str:
        issuer = TokenIssuer(self._settings.secret, self._settings.environment, self._store, time.time)
        return issuer.derived_secret("session of Airflow 2")

    @cached_property
    def _revoked(self) -> RevokedSessions:
        return RevokedSessions(self._store.revoked)

    @cached_property
    def _handler(self) -> Handler:
        found: Handler = handlers(os.environ, self)
        return found

    @cached_property
    def _threads(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(4, thread_name_prefix="openmwaa-doors")


def init_app(_: object) -> None:
    """Airflow calls this of each backend."""


def requires_authentication(function: Callable[..., Any]) -> Callable[..., Any]:
    """Accept a Bearer token, or the session of a browser. A token that is sent decides alone."""

    @wraps(function)
    def decorated(*arguments: Any, **named: Any) -> Any:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme:
            manager = current_app.appbuilder.sm
            user = manager.user_of(token.strip()) if scheme.lower() == "bearer" else None
            current_app.login_manager._update_request_context_with_user(user)  # noqa: SLF001 - None: no user
        if not current_user.is_authenticated:
            return Response("Unauthorized", 401, {"WWW-Authenticate": "Bearer"})
        return function(*arguments, **named)

    return decorated


def _request() -> HttpRequest:
    """The request without its body; WSGI has joined repeated headers with a comma."""
    target = request.environ.get("RAW_URI") or request.environ.get("REQUEST_URI") or request.path
    path, _, query = target.partition("?")
    headers = [(name.lower(), value) for name, value in request.headers.items()]
    return HttpRequest(request.method, path, query, headers, b"", request.environ.get("REMOTE_ADDR", ""))
