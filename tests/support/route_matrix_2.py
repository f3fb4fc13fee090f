# SPDX-License-Identifier: Apache-2.0
"""Requests to every route of Airflow 2's web server, in the process. Runs with Airflow's Python.

`reference` has the answers of FAB alone, with users and passwords; the tests compare ours with them.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.support.route_matrix import _example

ROLES = ("Public", "Viewer", "User", "Op", "Admin")
WEB_URL = "https://airflow.example.com"
_VALUE = "987654"  # of all parts of a path: a name and a number that do not exist
_LOGIN = ("/login/", "/logout/")
_DOCUMENTS = ("/openapi.json", "/openapi.yaml")  # for all, and slow
_API = "/api/v1"


def answers(app: Any, clients: Mapping[str, Any]) -> dict[str, list[str]]:
    """`METHOD path` -> for each client the status, and where it leads."""
    app.config["WTF_CSRF_ENABLED"] = False  # else the forms answer 400 to all roles
    found: dict[str, list[str]] = {}
    for route, request in requests(app):
        found[route] = []
        for client in clients.values():
            try:
                answer = client.open(**request, base_url=WEB_URL)
            except Exception as error:  # noqa: BLE001 - FAB's own page of an error may fail
                found[route].append(type(error).__name__)
                continue
            place = urlsplit(answer.headers.get("Location", "")).path
            found[route].append(f"{answer.status_code} {place}".strip())
    return found


def requests(app: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every route with a valid request."""
    documents = {_API: _document("api_*/openapi/v1.yaml")}
    for rule in sorted(app.url_map.iter_rules(), key=lambda rule: str(rule.rule)):
        if rule.rule.startswith(_LOGIN) or rule.rule.endswith(_DOCUMENTS):
            continue
        path = "".join(_VALUE if is_value else text for is_value, text in rule._trace).partition("|")[2]
        template = "".join("{}" if is_value else text for is_value, text in rule._trace).partition("|")[2]
        for method in sorted(rule.methods - {"HEAD", "OPTIONS"}):
            request: dict[str, Any] = {"path": path, "method": method}
            prefix = next((prefix for prefix in documents if path.startswith(f"{prefix}/")), None)
            if prefix is not None:
                body = _body(documents[prefix], template.removeprefix(prefix), method)
                request |= {} if body is None else {"json": body}
            yield f"{method} {rule.rule}", request


def _document(name: str) -> dict[str, Any]:
    import airflow
    import yaml

    (file,) = Path(airflow.__file__).parent.glob(name)
    found: dict[str, Any] = yaml.safe_load(file.read_text("utf-8"))
    return found


def _body(document: Mapping[str, Any], template: str, method: str) -> Any:
    for path, operations in document["paths"].items():
        shape = "".join(text.partition("{")[0] + ("{}" if "{" in text else "") for text in path.split("}"))
        body = operations.get(method.lower(), {}).get("requestBody") if shape == template else None
        if body:
            schema = next(iter(body["content"].values()))["schema"]
            return _example(_merged(schema, document), document)
    return None


def _merged(schema: Mapping[str, Any], document: Mapping[str, Any]) -> Mapping[str, Any]:
    """A schema without `allOf` at its top."""
    while reference := schema.get("$ref"):
        schema = document["components"]["schemas"][reference.rsplit("/", 1)[1]]
    parts = [_merged(part, document) for part in schema.get("allOf", ())]
    if not parts:
        return schema
    properties = {name: value for part in parts for name, value in part.get("properties", {}).items()}
    return {"type": "object", "properties": properties, "required": [n for p in parts for n in p.get("required", ())]}


def reference() -> None:
    """Print the answers of FAB alone."""
    from airflow.utils.db import initdb
    from airflow.www.app import create_app

    initdb()
    app = create_app()
    app.config["WTF_CSRF_ENABLED"] = False
    manager = app.appbuilder.sm
    clients = {"": app.test_client()}
    with app.app_context():
        for name in ROLES:
            assert manager.add_user(name, name, name, f"{name}@x", manager.find_role(name), password="x")
    for name in ROLES:
        clients[name] = app.test_client()
        login = clients[name].post("/login/", base_url=WEB_URL, data={"username": name, "password": "x"})
        assert login.status_code == 302, login.status_code
    print(json.dumps(answers(app, clients)))
