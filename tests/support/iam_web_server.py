# SPDX-License-Identifier: Apache-2.0
"""Airflow 3's web server with IAM login, in the process, on SQLite. Runs with Airflow's Python.

The doors' handler is one of the tests; the login itself has its own tests.
"""

import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

from openmwaa_runtime.auth.airflow_port import AirflowPort, Handler
from openmwaa_runtime.auth.airflow_role import AirflowRole
from openmwaa_runtime.auth.dag_access import DagRoles
from openmwaa_runtime.auth.http_message import HttpAnswer, HttpRequest
from openmwaa_runtime.auth.principal import Principal, Proof
from openmwaa_runtime.auth.settings import AuthSettings
from openmwaa_runtime.auth.web_session import RevokedSessions
from tests.support import route_matrix
from tests.support.session_answer import PATH as SESSION_PATH
from tests.support.session_answer import session_answer

WEB_URL = "https://airflow.example.com"
OPTIONS = {
    **route_matrix.OPTIONS,
    "AIRFLOW__CORE__AUTH_MANAGER": "openmwaa_runtime.airflow_3.auth_manager.IamAuthManager",
    "AIRFLOW__API_AUTH__JWT_SECRET": "a secret of the tests, long enough for HS512: 0123456789 0123456789 0123456789",
    "OPENMWAA_ENVIRONMENT_ARN": "arn:aws:airflow:eu-west-1:123456789012:environment/shop",
    "OPENMWAA_WEB_URL": WEB_URL,
    "OPENMWAA_API_SECRET_KEY": "a secret",
}

DAG_ROWS = [
    {"tag": "team:sales", "principals": ["arn:aws:iam::123456789012:role/sales"], "role": "User"},
    {"tag": "team:ops", "principals": ["arn:aws:iam::123456789012:role/ops"], "role": "Op"},
    {"tag": "team:audit", "principals": ["arn:aws:iam::123456789012:role/auditors"], "role": "Admin"},
    {"bundle": "finance", "principals": ["arn:aws:sts::123456789012:assumed-role/finance/*"], "role": "Op"},
]


def principal(session: str = "ana", role: str = "analysts") -> Principal:
    """A session of an IAM role."""
    return Principal.read(f"arn:aws:sts::123456789012:assumed-role/{role}/{session}", Proof.STS)


class WebServer:
    """The application, its auth manager and a browser's requests."""

    def __init__(self, apps: str) -> None:
        sys.modules["openmwaa_runtime.web_handlers"] = SimpleNamespace(handlers=self._handlers)  # type: ignore[assignment]
        from airflow.api_fastapi.app import create_app, get_auth_manager
        from airflow.utils.db import initdb
        from starlette.testclient import TestClient

        initdb()
        self.app: Any = create_app(apps=apps)
        self.manager: Any = get_auth_manager()
        self.revoked: dict[str, float] = {}
        self.manager._revoked = RevokedSessions(lambda: dict(self.revoked), clock=lambda: self.now)
        self.now = 0.0
        client = TestClient(self.app, base_url=WEB_URL, raise_server_exceptions=False, follow_redirects=False)
        self._client = client.__enter__()  # starts what the execution API needs

    def token(self, role: str, caller: Principal | None = None, age_s: int = 0) -> str:
        """A token of a session that began some seconds ago."""
        return self.airflow.mint(caller or principal(), AirflowRole(role), int(time.time()) - age_s)

    def send(self, method: str, path: str, token: str = "", *, cookie: str = "", **more: Any) -> Any:
        """Send a request with a Bearer token or a cookie."""
        headers = dict(more.pop("headers", {}))
        if token:
            headers["Authorization"] = f"Bearer {token}"
        if cookie:
            headers["Cookie"] = f"_token={cookie}"
        self._client.cookies.clear()
        return self._client.request(method, path, headers=headers, **more)

    def status(self, method: str, path: str, token: str = "", **more: Any) -> int:
        """The status of such a request."""
        return int(self.send(method, path, token, **more).status_code)

    def _handlers(self, environ: Any, airflow: AirflowPort) -> Handler:
        self.airflow = airflow

        def handle(request: HttpRequest) -> HttpAnswer:
            if request.raw_path == SESSION_PATH:
                return session_answer(airflow, request)
            if request.raw_path.endswith("/login"):
                token = airflow.mint(principal(), AirflowRole.VIEWER, int(time.time()))
                return HttpAnswer(303, headers={"Location": "/"}, cookies=airflow.cookies(token))
            wanted = json.loads(request.body)
            token = airflow.mint(principal(), AirflowRole(wanted["role"]), int(time.time()))
            query = request.raw_query
            inner = HttpRequest(wanted["method"], wanted["path"], query, request.headers, b"{}", request.peer)
            return airflow.call(inner, token, 30)

        return handle


def matrix(server: WebServer) -> dict[str, Any]:
    """Status of each route for a request without login, then for the five roles."""
    route_matrix.add_rows()
    tokens = {role.value: server.token(role, principal(role.value)) for role in AirflowRole}
    found = route_matrix.statuses(server.app, {"": "", **tokens})
    return {route: list(statuses.values()) for route, statuses in found.items()}


def open_routes(server: WebServer) -> dict[str, Any]:
    """`METHOD path` -> status and type of every route of the whole application that answers without login."""
    found = {}
    for method, path in _routes(server.app.routes):
        answer = server.send(method, path.replace("{", "").replace(":path}", "").replace("}", ""))
        if answer.status_code not in (401, 404, 405):
            found[f"{method} {path}"] = (
                f"{answer.status_code} {answer.headers.get('content-type', '').partition(';')[0]}"
            )
    return found


def _routes(routes: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    for route in routes:
        path = prefix + route.path
        yield from ((method, path) for method in getattr(route, "methods", None) or ("GET", "POST"))
        yield from _routes(getattr(route, "routes", None) or (), path)


def menus(server: WebServer) -> dict[str, Any]:
    """Role -> items of the menu."""
    answers = {role: server.send("GET", "/ui/auth/menus", server.token(role)).json() for role in AirflowRole}
    return {role: answer["authorized_menu_items"] for role, answer in answers.items()}


def sessions(server: WebServer) -> dict[str, Any]:
    """The life of a session."""
    found: dict[str, Any] = {}
    login = server.send("POST", "/aws_mwaa/login")
    found["cookie"] = login.headers["set-cookie"].partition("=")[2].partition(";")[2]
    cookie = login.headers["set-cookie"].partition("=")[2].partition(";")[0]
    found["me"] = server.send("GET", "/ui/auth/me", cookie=cookie).json()
    found["refreshed"] = server.send("GET", "/api/v2/dags", cookie=cookie).headers.get("set-cookie")
    further = server.send("POST", "/ui/auth/token", cookie=cookie, json={"token_type": "cli"}).json()["access_token"]
    found["before logout"] = [server.status("GET", "/api/v2/dags", cookie=cookie)]
    logout = server.send("GET", "/api/v2/auth/logout", cookie=cookie)
    found["logout"] = [logout.status_code, logout.headers["location"]]
    found["after logout"] = server.status("GET", "/api/v2/dags", cookie=cookie)
    found["further token after logout"] = server.status("GET", "/api/v2/dags", further)

    almost, over = server.token("Admin", age_s=12 * 3600 - 60), server.token("Admin", age_s=12 * 3600 - 1)
    body = {"token_type": "api"}
    exchanged = server.send("POST", "/ui/auth/token", almost, json=body).json()["access_token"]
    found["seconds left after an exchange"] = _expiry(exchanged) - time.time()
    time.sleep(1.2)
    found["after 12 hours"] = server.status("GET", "/api/v2/dags", over)

    ana, bob = principal("ana"), principal("bob")
    tokens = [server.token("Viewer", ana, 10), server.token("Viewer", bob, 10)]
    server.now += 100
    server.revoked[ana.arn] = time.time() - 5
    found["revoked ana, bob"] = [server.status("GET", "/api/v2/dags", token) for token in tokens]
    found["new session of ana"] = server.status("GET", "/api/v2/dags", server.token("Viewer", ana))
    server.revoked.clear()
    server.now += 1
    found["revocation taken back, a second later"] = server.status("GET", "/api/v2/dags", tokens[0])
    server.now += 100
    return found


def slow_database(server: WebServer) -> dict[str, Any]:
    """A request that waits for the revoked sessions, until another one of the same event loop has its answer."""
    is_asked, may_answer = threading.Event(), threading.Event()
    found: dict[str, Any] = {}

    def read() -> dict[str, float]:
        is_asked.set()
        found["an answer in the meantime"] = may_answer.wait(60)
        return {}

    server.manager._revoked, before = RevokedSessions(read), server.manager._revoked
    with ThreadPoolExecutor() as threads:
        waiting = threads.submit(server.status, "GET", "/api/v2/dags", server.token("Viewer"))
        assert is_asked.wait(60)
        found["without login"] = server.status("GET", "/api/v2/version")
        may_answer.set()
        found["the first request"] = waiting.result()
    server.manager._revoked = before
    return found


def strangers(server: WebServer) -> dict[str, int]:
    """Tokens that are signed with the right key, and are not sessions of this environment."""
    valid = server.manager.serialize_user(server.manager.deserialize_user(_claims(server.token("Admin"))))
    changes: dict[str, dict[str, Any]] = {
        "none": {},
        "another environment": {"environment": os.environ["OPENMWAA_ENVIRONMENT_ARN"] + "-2"},
        "an unknown role": {"role": "Root"},
        "a lower case role": {"role": "admin"},
        "no ARN": {"sub": "admin"},
        "an unknown proof": {"proof": "password"},
        "an old start": {"session_start": int(time.time()) - 12 * 3600},
        "no start": {"session_start": None},
    }
    sign = server.manager._get_token_signer().generate
    found = {name: server.status("GET", "/api/v2/dags", sign({**valid, **change})) for name, change in changes.items()}
    found["the simple auth manager's"] = server.status("GET", "/api/v2/dags", sign({"sub": "admin", "role": "ADMIN"}))
    return found


def verified(server: WebServer) -> dict[str, Any]:
    """What a handler learns of the session of a token."""
    logged_out, revoked = server.token("Admin"), server.token("Admin", principal("bob"), 10)
    server.send("GET", "/api/v2/auth/logout", cookie=logged_out)
    claims = {**_claims(server.token("Admin")), "environment": "arn:aws:airflow:eu-west-1:123456789012:environment/x"}
    tokens = {
        "viewer": server.token("Viewer"),
        "op": server.token("Op"),
        "no token": "x",
        "after 12 hours": server.token("Admin", age_s=12 * 3600),
        "after logout": logged_out,
        "another environment": server.manager._get_token_signer().generate(claims),
        "revoked": revoked,
    }
    server.now += 100
    server.revoked[principal("bob").arn] = time.time() - 5
    found = {name: server.send("POST", SESSION_PATH, data=token).json() for name, token in tokens.items()}
    server.revoked.clear()
    server.now += 100
    return found


def foreign(server: WebServer) -> dict[str, int]:
    """Writes with a cookie, from pages of this site and of others."""
    cookie, pool = server.token("Admin"), {"name": "csrf", "slots": 1}
    cases = {
        "this site": {"Origin": WEB_URL, "Sec-Fetch-Site": "same-origin"},
        "this site, old browser": {"Origin": WEB_URL},
        "no browser": {},
        "another site": {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"},
        "another site, old browser": {"Origin": "https://evil.example"},
        "a sister site": {"Origin": "https://x.example.com", "Sec-Fetch-Site": "same-site"},
        "a sandboxed frame": {"Origin": "null"},
        "without encryption": {"Origin": WEB_URL.replace("https", "http")},
    }
    found = {}
    for name, headers in cases.items():
        found[name] = server.status("POST", "/api/v2/pools", cookie=cookie, headers=headers, json=pool)
        server.send("DELETE", "/api/v2/pools/csrf", cookie=cookie)
    evil = cases["another site"]
    found["login from another site"] = server.status("POST", "/aws_mwaa/login", headers=evil)
    found["reading from another site"] = server.status("GET", "/api/v2/pools", cookie=cookie, headers=evil)
    return found


def doors(server: WebServer) -> dict[str, Any]:
    """Calls of Airflow's API by a handler."""
    cases = {
        "viewer reads": ("Viewer", "GET", "/api/v2/dags"),
        "viewer writes": ("Viewer", "PATCH", "/api/v2/dags/example"),
        "public reads": ("Public", "GET", "/api/v2/dags"),
        "another path": ("Admin", "GET", "/aws_mwaa/login"),
        "up the path": ("Admin", "GET", "/api/v2/../../ui/config"),
    }
    found: dict[str, Any] = {}
    for name, (role, method, path) in cases.items():
        body = {"role": role, "method": method, "path": path}
        # The cookie of an administrator must not reach the inner call.
        answer = server.send("POST", "/pluginsv2/aws_mwaa/call?limit=7", cookie=server.token("Admin"), json=body)
        found[name] = answer.status_code
    page = server.send("GET", "/auth/login?next=https://evil.example/%3Cscript%3E")
    found["login page"] = [page.status_code, "openmwaa login" in page.text, "evil" in page.text]
    start = server.send("GET", "/api/v2/auth/login?next=https://evil.example/")
    found["start"] = [start.status_code, start.headers.get("location")]
    return found


def dag_access(server: WebServer) -> dict[str, Any]:
    """DAGs by tag and by bundle: what each principal lists, reads and triggers."""
    from openmwaa_runtime.airflow_3 import auth_manager

    settings = AuthSettings.read({**os.environ, "OPENMWAA_DAG_ACCESS": json.dumps(DAG_ROWS)})
    server.manager._dag_roles = DagRoles(settings.dag_access, auth_manager._dag_keys)
    for dag_id, tags, bundle in (
        ("free", (), "dags-folder"),
        ("sales", ("team:sales", "daily"), "dags-folder"),
        ("both", ("team:sales", "team:ops"), "dags-folder"),
        ("bundled", (), "finance"),
    ):
        route_matrix.add_dag(dag_id, tags, bundle)
    callers = {
        "viewer ana": ("Viewer", principal("ana", "sales")),
        "public ana": ("Public", principal("ana", "sales")),
        "op eve": ("Op", principal("eve", "others")),
        "admin eve": ("Admin", principal("eve", "others")),
        "viewer fin": ("Viewer", principal("fin", "finance")),
    }
    found: dict[str, Any] = {}
    for name, (role, caller) in callers.items():
        token = server.token(role, caller)
        listed = {dag["dag_id"] for dag in server.send("GET", "/api/v2/dags?limit=100", token).json().get("dags", [])}
        states = {}
        for dag_id in ("free", "sales", "both", "bundled"):
            path = f"/api/v2/dags/{dag_id}/dagRuns"
            states[dag_id] = [dag_id in listed, server.status("GET", path, token) != 403,
                              server.status("POST", path, token, json={"logical_date": None}) != 403]  # fmt: skip
        found[name] = states
    route_matrix.add_dag("newer", ("team:sales",))
    found["a newer DAG"] = server.status(
        "GET", "/api/v2/dags/newer/dagRuns", server.token("Op", principal("eve", "others"))
    )
    viewer = server.token("Viewer", principal("boss", "auditors"))
    found["an Admin row gives no list of events"] = server.status("GET", "/api/v2/eventLogs", viewer)
    return found


def _claims(token: str) -> dict[str, Any]:
    import jwt

    found: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return found


def _expiry(token: str) -> int:
    return int(_claims(token)["exp"])


def open_sessions(server: WebServer) -> dict[str, Any]:
    """The token of a new session, and the answers to it and to one that was open before."""
    new, before = server.token("Viewer"), os.environ.get("OPENMWAA_TEST_SESSION", "")
    return {
        "token": new,
        "new": server.status("GET", "/api/v2/dags", new),
        "before": [server.status("GET", "/api/v2/dags", before), server.status("GET", "/api/v2/dags", cookie=before)],
    }


def main(*parts: str, apps: str = "core") -> None:
    """Run some of the functions above, print their results. `apps` is Airflow's option; `all` has the API of tasks."""
    server = WebServer(apps)
    print(json.dumps({part: globals()[part](server) for part in parts}))
