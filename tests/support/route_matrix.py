# SPDX-License-Identifier: Apache-2.0
"""Requests to every route of Airflow's API and UI, in the process. Runs with Airflow's Python.

`tools/fab_reference.py` records the answers with FAB's auth manager, and the tests compare ours with the record.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

DAG_ID = "example"
_FILE = {"bundle_name": "dags-folder", "relative_fileloc": f"{DAG_ID}.py"}
OPTIONS = {
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__LOGGING__LOGGING_LEVEL": "CRITICAL",
    # Without them the routes answer 403 to all roles.
    "AIRFLOW__API__EXPOSE_CONFIG": "True",
    "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
}
# They end the session of the token, or they redirect to the page of a manager.
_LOGIN_ROUTES = ("/api/v2/auth/",)
_MORE_FIELDS = {"BulkDAGRunClearBody": ("dag_runs",)}  # optional, but a body without it is refused before the role


def add_dag(dag_id: str = DAG_ID, tags: tuple[str, ...] = (), bundle: str = "dags-folder") -> None:
    """Create the row of a DAG if it is missing; it has no serialized DAG."""
    from airflow.models.dag import DagModel, DagTag
    from airflow.models.dagbundle import DagBundleModel
    from airflow.utils.session import create_session

    with create_session() as session:
        if session.get(DagModel, dag_id) is not None:
            return
        if session.get(DagBundleModel, bundle) is None:
            session.add(DagBundleModel(name=bundle))
            session.flush()
        file = f"{dag_id}.py"
        session.add(DagModel(dag_id=dag_id, bundle_name=bundle, relative_fileloc=file, fileloc=file, is_stale=False))
        session.flush()
        session.add_all(DagTag(name=tag, dag_id=dag_id) for tag in tags)


def add_rows() -> None:
    """Create what the routes look for before they decide: a DAG and its backfill 1."""
    from airflow.models.backfill import Backfill
    from airflow.utils.session import create_session
    from airflow.utils.timezone import utcnow

    add_dag()
    with create_session() as session:
        if session.get(Backfill, 1) is None:
            session.add(Backfill(id=1, dag_id=DAG_ID, from_date=utcnow(), to_date=utcnow(), dag_run_conf={}))


def statuses(app: Any, tokens: Mapping[str, str]) -> dict[str, dict[str, int]]:
    """`METHOD path` -> role -> status of one request of each role, in the order of `tokens`."""
    from starlette.testclient import TestClient

    found: dict[str, dict[str, int]] = {}
    client = TestClient(app, raise_server_exceptions=False, follow_redirects=False)
    for route, request in requests(app):
        found[route] = {}
        for role, token in tokens.items():
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            found[route][role] = client.request(**request, headers=headers).status_code
            if request["method"] == "DELETE":
                add_rows()
    return found


def requests(app: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every route of `/api/v2` and `/ui` with a valid request."""
    from itsdangerous import URLSafeSerializer

    document = _document(app)
    for path, operations in document["paths"].items():
        if path.startswith(_LOGIN_ROUTES):
            continue
        for method, operation in operations.items():
            request: dict[str, Any] = {"method": method.upper(), "params": {}}
            url = path
            for parameter in operation.get("parameters", []):
                value = _example(parameter["schema"], document, parameter["name"])
                if parameter["name"] == "file_token":
                    value = URLSafeSerializer(app.state.secret_key).dumps(_FILE)
                if parameter["in"] == "path":
                    url = url.replace("{" + parameter["name"] + "}", str(value))
                elif parameter["in"] == "query" and parameter.get("required"):
                    request["params"][parameter["name"]] = value
            if body := operation.get("requestBody"):
                request["json"] = _example(body["content"]["application/json"]["schema"], document)
            yield f"{method.upper()} {path}", {**request, "url": url}


def _document(app: Any) -> dict[str, Any]:
    from fastapi.openapi.utils import get_openapi
    from fastapi.routing import APIRoute

    routes = [
        route for route in app.routes if isinstance(route, APIRoute) and route.path.startswith(("/api/v2", "/ui"))
    ]
    for route in routes:
        route.include_in_schema = True  # the UI's routes are not in the public document
    document: dict[str, Any] = json.loads(json.dumps(get_openapi(title="", version="", routes=routes)))
    return document


def _example(schema: Mapping[str, Any], document: Mapping[str, Any], name: str = "") -> Any:
    """The smallest value of a schema; arrays have one item."""
    if reference := schema.get("$ref"):
        return _example(document["components"]["schemas"][reference.rsplit("/", 1)[1]], document, name)
    if options := schema.get("anyOf") or schema.get("oneOf"):
        return _example(options[0], document, name)
    if "const" in schema or "enum" in schema:
        return schema.get("const", schema.get("enum", [None])[0])
    match schema.get("type"):
        case "object":
            fields = schema.get("properties", {})
            required = [*schema.get("required", ()), *_MORE_FIELDS.get(schema.get("title", ""), ())]
            return {field: _example(fields[field], document, field) for field in required}
        case "array":
            return [_example(schema["items"], document, name)]
        case "integer" | "number":
            return max(1, schema.get("minimum", 1))
        case "boolean":
            return True
        case "null":
            return None
    formats = {
        "date-time": "2026-01-01T00:00:00Z",
        "date": "2026-01-01",
        "uuid": "0190f2d6-0000-7000-8000-000000000000",
    }
    return formats.get(schema.get("format", ""), DAG_ID if name in ("dag_id", "dag_ids") else "x")
