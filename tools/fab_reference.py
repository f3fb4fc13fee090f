# SPDX-License-Identifier: Apache-2.0
"""Writes what FAB's auth manager grants to its five roles: the reference of `IamAuthManager`.

`python -m tools.fab_reference` installs the FAB provider beside Airflow in a throw-away environment. The image has no
FAB for Airflow 3. Two files result: the decisions, which our auth manager reads, and FAB's answers to a request to each
route, which the tests compare with ours.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

VERSION = "3.3.2"
PROVIDER = "3.10.2"  # the newest that Airflow 3.3.2 accepts
ROLES = ("Public", "Viewer", "User", "Op", "Admin")
METHODS = {"can_read": "GET", "can_create": "POST", "can_edit": "PUT", "can_delete": "DELETE"}  # FAB's names

_ROOT = Path(__file__).resolve().parents[1]
DECISIONS = _ROOT / "images" / "airflow" / "openmwaa_runtime" / "airflow_3" / "fab_decisions.json"
ANSWERS = _ROOT / "tests" / "support" / f"fab_answers-{VERSION}.json"


def main() -> None:
    """Install FAB, and run this file there."""
    uv = str(_ROOT / ".venv" / "bin" / "uv")
    with tempfile.TemporaryDirectory() as folder:
        python = f"{folder}/venv/bin/python"
        subprocess.run([uv, "venv", "-q", "--python", sys.executable, f"{folder}/venv"], check=True)
        packages = (f"apache-airflow-core=={VERSION}", f"apache-airflow-providers-fab=={PROVIDER}")
        subprocess.run([uv, "pip", "install", "-q", "--python", python, *packages], check=True)
        record(python, folder)


def record(python: str, folder: str) -> None:
    """Run this file with the Python of an environment that has FAB."""
    from tests.support.route_matrix import OPTIONS  # noqa: PLC0415

    environment = {
        **OPTIONS,
        "PATH": os.environ["PATH"],
        "AIRFLOW_HOME": folder,
        "PYTHONPATH": str(_ROOT),
        "AIRFLOW__CORE__AUTH_MANAGER": "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager",
    }
    program = "from tools.fab_reference import write; write()"
    subprocess.run([python, "-c", program], env=environment, cwd=folder, check=True)


def write() -> None:
    """Write both files. Runs with Airflow and FAB."""
    from airflow.api_fastapi.app import create_app, get_auth_manager  # noqa: PLC0415
    from airflow.utils.db import initdb  # noqa: PLC0415

    from tests.support import route_matrix  # noqa: PLC0415

    initdb()
    app = create_app(apps="core")
    manager = get_auth_manager()
    users, tokens = {}, {}
    with manager.flask_app.app_context():
        security = manager.security_manager
        security.sync_roles()
        for name in ROLES:
            role = security.find_role(name)
            # `is_authorized_*` reads this field of a user only.
            users[name] = SimpleNamespace(perms={(one.action.name, one.resource.name) for one in role.permissions})
            user = security.add_user(name, name, name, f"{name}@x", role, password="x")  # noqa: S106 - not a secret
            tokens[name] = manager.generate_jwt(user)
    decisions = {"airflow": VERSION, "fab": PROVIDER, "lowest_role": _decisions(manager, users)}
    DECISIONS.write_text(json.dumps(decisions, indent=1) + "\n", "utf-8")
    route_matrix.add_rows()
    answers = route_matrix.statuses(app, {"": "", **tokens})
    lines = ",\n".join(f"{json.dumps(route)}: {list(found.values())}" for route, found in sorted(answers.items()))
    ANSWERS.write_text(f"{{\n{lines}\n}}\n", "utf-8")


def _decisions(manager: Any, users: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Kind of resource -> method or name -> the lowest role that FAB grants it to; without a role it is left out."""
    from airflow.api_fastapi.auth.managers.models import resource_details  # noqa: PLC0415
    from airflow.api_fastapi.common.types import MenuItem  # noqa: PLC0415

    def lowest(decide: Callable[..., Any], **arguments: Any) -> str | None:
        granted = [name for name in ROLES if decide(user=users[name], **arguments)]
        if granted != list(ROLES[len(ROLES) - len(granted) :]):
            raise AssertionError(f"not every higher role has what a lower one has: {arguments} {granted}")
        return granted[0] if granted else None

    def by_method(decide: Callable[..., Any], **arguments: Any) -> dict[str, str | None]:
        return {method: lowest(decide, method=method, **arguments) for method in METHODS.values()}

    kinds = ("configuration", "connection", "asset", "asset_alias", "pool", "variable")
    found = {kind: by_method(getattr(manager, f"is_authorized_{kind}")) for kind in kinds}
    one = resource_details.DagDetails(id="x")
    for entity in (None, *resource_details.DagAccessEntity):
        rows = by_method(manager.is_authorized_dag, access_entity=entity, details=one)
        if rows != by_method(manager.is_authorized_dag, access_entity=entity):
            raise AssertionError(f"FAB decides {entity} differently for one DAG and for a list")
        found[f"dag {entity.name}" if entity else "dag"] = rows
    views, items = resource_details.AccessView, MenuItem
    found["view"] = {view.name: lowest(manager.is_authorized_view, access_view=view) for view in views}
    found["menu"] = {item.name: lowest(manager.filter_authorized_menu_items, menu_items=[item]) for item in items}
    for action, resource in sorted(users["Admin"].perms):
        arguments = {"method": METHODS.get(action, action), "resource_name": resource}
        role = lowest(manager.is_authorized_custom_view, **arguments)
        found.setdefault(f"custom {resource}", {})[arguments["method"]] = role
    return {kind: {key: role for key, role in rows.items() if role} for kind, rows in found.items()}


if __name__ == "__main__":
    main()
