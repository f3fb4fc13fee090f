# SPDX-License-Identifier: Apache-2.0
"""Airflow 2's web server with IAM login, in the process, on SQLite. Runs with Airflow's Python."""

import json
import os
import re
import sys
import time
from types import SimpleNamespace
from typing import Any

from openmwaa_runtime.auth.airflow_port import AirflowPort, Handler
from openmwaa_runtime.auth.airflow_role import AirflowRole
from openmwaa_runtime.auth.http_message import HttpAnswer, HttpRequest
from openmwaa_runtime.auth.principal import Principal, Proof
from openmwaa_runtime.auth.web_session import RevokedSessions
from tests.support import route_matrix_2
from tests.support.session_answer import PATH as SESSION_PATH
from tests.support.session_answer import session_answer

WEB_URL = "https://airflow.example.com"
VERSION = "2.11.2"
OPTIONS = {
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__LOGGING__LOGGING_LEVEL": "CRITICAL",
    "AIRFLOW__LOGGING__FAB_LOGGING_LEVEL": "CRITICAL",
    "AIRFLOW__API__AUTH_BACKENDS": "openmwaa_runtime.airflow_2.iam_login",
    "AIRFLOW__CORE__AUTH_MANAGER": "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager",
    # Sessions in the database have a connection of their own, and SQLite lets one connection write at a time.
    "AIRFLOW__WEBSERVER__SESSION_BACKEND": "securecookie",
    "AIRFLOW__WEBSERVER__SECRET_KEY": "a secret of the tests",
    "OPENMWAA_LOGIN": "IAM",
    "OPENMWAA_ENVIRONMENT_ARN": "arn:aws:airflow:eu-west-1:123456789012:environment/shop",
    "OPENMWAA_WEB_URL": WEB_URL,
    "OPENMWAA_DATABASE_HOST": "127.0.0.1",
    "OPENMWAA_AIRFLOW_DATABASE_PASSWORD": "a login that nothing uses",
    "OPENMWAA_API_SECRET_KEY": "another secret of the tests",
}
# Routes whose permissions separate the roles.
ROUTES: tuple[tuple[str, str, object], ...] = (
    ("GET", "/api/v1/dags", None),
    ("PATCH", "/api/v1/dags?dag_id_pattern=~", {"is_paused": True}),
    ("POST", "/api/v1/dags/x/dagRuns", {}),
    ("GET", "/api/v1/variables", None),
    ("POST", "/api/v1/pools", {"name": "x", "slots": 1}),
    ("GET", "/api/v1/eventLogs", None),
    ("GET", "/api/v1/users", None),
)


def principal(session: str = "ana", account: str = "123456789012") -> Principal:
    """A session of an IAM role."""
    return Principal.read(f"arn:aws:sts::{account}:assumed-role/analysts/{session}", Proof.STS)


class GunicornBody:
    """The body of a request as gunicorn has it: the number of bytes to read is an int."""

    def __init__(self, body: Any) -> None:
        self._body = body

    def read(self, size: int | None = None) -> bytes:
        if not isinstance(size, int | None):
            raise TypeError("size must be an integral type")
        return bytes(self._body.read(-1 if size is None else size))


def as_gunicorn(application: Any) -> Any:
    """Return the application with bodies as in gunicorn."""

    def call(environ: dict[str, Any], start_response: Any) -> Any:
        body = GunicornBody(environ["wsgi.input"])
        return application({**environ, "wsgi.input": body, "wsgi.input_terminated": True}, start_response)

    return call


class FlaskServer:
    """The application and its security manager."""

    def __init__(self) -> None:
        service = SimpleNamespace(handlers=lambda _environ, airflow: self._handler(airflow))
        sys.modules["openmwaa_runtime.web_handlers"] = service  # type: ignore[assignment]
        from airflow.utils.db import initdb
        from airflow.www.app import create_app

        import openmwaa_runtime.airflow_2.webserver_config as config

        os.environ["AIRFLOW__WEBSERVER__CONFIG_FILE"] = config.__file__
        initdb()
        self.app: Any = create_app()
        self.app.wsgi_app = as_gunicorn(self.app.wsgi_app)
        self.manager: Any = self.app.appbuilder.sm
        self.revoked: dict[str, float] = {}
        self.manager._revoked = RevokedSessions(lambda: dict(self.revoked), clock=time.monotonic)

    def browser(self) -> Any:
        """A client with its own cookies."""
        return self.app.test_client()

    def send(self, client: Any, method: str, path: str, token: str = "", **more: Any) -> Any:
        """Send one request."""
        headers = {**more.pop("headers", {}), **({"Authorization": f"Bearer {token}"} if token else {})}
        return client.open(path, method=method, base_url=WEB_URL, headers=headers, **more)

    def token(self, role: AirflowRole, caller: Principal | None = None, age_s: int = 0) -> str:
        """A token of a session that began some seconds ago."""
        with self.app.app_context():
            return str(self.manager.mint(caller or principal(), role, int(time.time()) - age_s))

    def _handler(self, airflow: AirflowPort) -> Handler:
        def handle(request: HttpRequest) -> HttpAnswer:
            if request.raw_path == SESSION_PATH:
                return session_answer(airflow, request)
            role = AirflowRole(request.raw_query or "Viewer")
            token = airflow.mint(principal(), role, int(time.time()))
            if request.raw_path.endswith("/login"):
                return HttpAnswer(303, headers={"Location": "/"}, cookies=airflow.cookies(token))
            wanted = json.loads(request.body)
            inner = HttpRequest(wanted["method"], wanted["path"], "", request.headers, b"{}", request.peer)
            return airflow.call(inner, token, 30)

        return handle


def roles(server: FlaskServer) -> dict[str, Any]:
    """Route -> status without login, then of the five roles."""
    tokens = ["", *map(server.token, AirflowRole)]
    client = server.app.test_client(use_cookies=False)
    return {
        f"{method} {path}": [server.send(client, method, path, token, json=body).status_code for token in tokens]
        for method, path, body in ROUTES
    }


def matrix(server: FlaskServer) -> dict[str, Any]:
    """The answers of every route, without login and to the five roles."""
    clients = {role: server.browser() for role in ("", *route_matrix_2.ROLES)}
    for role, client in clients.items():
        assert not role or server.send(client, "POST", f"/aws_mwaa/login?{role}").status_code == 303
    return route_matrix_2.answers(server.app, clients)


def open_routes(server: FlaskServer) -> list[str]:
    """Routes with a page or data for a request without login."""
    client = server.app.test_client(use_cookies=False)
    found = []
    for rule in server.app.url_map.iter_rules():
        path = "".join("1" if is_value else text for is_value, text in rule._trace).partition("|")[2]
        for method in rule.methods - {"HEAD", "OPTIONS"}:
            answer = server.send(client, method, path)
            if answer.status_code < 300:
                found.append(f"{method} {rule.rule}")
    return sorted(found)


def sessions(server: FlaskServer) -> dict[str, Any]:
    """The life of a session."""
    found: dict[str, Any] = {}

    def dags(client: Any, token: str = "") -> int:
        return int(server.send(client, "GET", "/api/v1/dags", token).status_code)

    ana, admin = server.browser(), server.browser()
    login = server.send(ana, "POST", "/aws_mwaa/login")
    found["login"] = [login.status_code, login.headers["Location"]]
    found["cookie"] = sorted(login.headers["Set-Cookie"].split("; ")[1:])
    found["viewer"] = [dags(ana), server.send(ana, "GET", "/api/v1/variables").status_code]
    server.send(admin, "POST", "/pluginsv2/aws_mwaa/login?Admin")
    found["admin"] = server.send(admin, "GET", "/api/v1/variables").status_code
    found["viewer after the admin's login"] = server.send(ana, "GET", "/api/v1/variables").status_code
    found["home"] = server.send(ana, "GET", "/home").status_code
    found["a wrong token with a valid cookie"] = dags(admin, "wrong")
    found["a lower token with a higher cookie"] = server.send(
        admin, "GET", "/api/v1/variables", server.token(AirflowRole.VIEWER)
    ).status_code
    evil = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
    body = {"name": "csrf", "slots": 1}
    write = server.send(admin, "POST", "/api/v1/pools", headers=evil, json=body)
    found["a write from another site"] = write.status_code
    found["login from another site"] = server.send(
        server.browser(), "POST", "/aws_mwaa/login", headers=evil
    ).status_code
    page = server.send(admin, "GET", "/home").get_data(as_text=True)
    form = {"csrf_token": re.search(r'csrf_token"[^>]*value="([^"]+)"', page)[1]}  # type: ignore[index]
    found["logout without the form's token"] = server.send(admin, "POST", "/logout/").status_code
    server.send(admin, "POST", "/logout/", data=form, headers={"Referer": f"{WEB_URL}/home"})
    found["after logout"] = dags(admin)
    found["another account"] = _user_name(server, principal(account="210987654321"))
    found["own account"] = _user_name(server, principal())
    api = server.browser()
    found["old"] = [dags(api, server.token(AirflowRole.ADMIN, age_s=12 * 3600 - age)) for age in (60, 0)]
    with server.app.app_context():
        other = server.manager.mint(principal(), AirflowRole.ADMIN, int(time.time()))
        server.manager.__dict__["_settings"] = _renamed(server.manager._settings)
    found["another environment"] = dags(api, other)
    server.manager.__dict__["_settings"] = _renamed(server.manager._settings, "shop")
    found["password"] = server.send(api, "POST", "/login/", data={"username": "x", "password": "x"}).status_code
    found["basic"] = server.send(api, "GET", "/api/v1/dags", headers={"Authorization": "Basic eDp4"}).status_code
    server.revoked[principal().arn] = time.time() + 5
    server.manager._revoked._next_read = 0
    tokens = [server.token(AirflowRole.ADMIN), server.token(AirflowRole.ADMIN, principal("bob"))]
    found["revoked"] = [dags(ana), *(dags(api, token) for token in tokens)]
    return found


def doors(server: FlaskServer) -> dict[str, Any]:
    """Calls of the REST API by a handler."""
    client = server.app.test_client(use_cookies=False)

    def call(role: str, method: str, path: str) -> int:
        body = {"method": method, "path": path}
        return int(server.send(client, "POST", f"/aws_mwaa/call?{role}", json=body).status_code)

    return {
        "viewer reads": call("Viewer", "GET", "/api/v1/dags"),
        "public reads": call("Public", "GET", "/api/v1/dags"),
        "viewer reads variables": call("Viewer", "GET", "/api/v1/variables"),
        "another path": call("Admin", "GET", "/home"),
        "up the path": call("Admin", "GET", "/api/v1/../../home"),
    }


def verified(server: FlaskServer) -> dict[str, Any]:
    """What a handler learns of the session of a token."""
    tokens = {
        "viewer": server.token(AirflowRole.VIEWER),
        "op": server.token(AirflowRole.OP),
        "no token": "x",
        "after 12 hours": server.token(AirflowRole.ADMIN, age_s=12 * 3600),
    }
    client = server.app.test_client(use_cookies=False)
    return {name: server.send(client, "POST", SESSION_PATH, data=token).json for name, token in tokens.items()}


def _user_name(server: FlaskServer, caller: Principal) -> str:
    with server.app.test_request_context():
        return str(server.manager.user_of(server.token(AirflowRole.VIEWER, caller)).username)


def _renamed(settings: Any, name: str = "other") -> Any:
    from dataclasses import replace

    return replace(settings, environment=replace(settings.environment, name=name))


def main(*parts: str) -> None:
    """Run some of the functions above and print their results."""
    server = FlaskServer()
    print(json.dumps({part: globals()[part](server) for part in parts}))
