# SPDX-License-Identifier: Apache-2.0
"""Airflow 2's web server with IAM login: FAB decides, and the sessions are those of principals."""

from pathlib import Path
from typing import Any

import pytest

from tests.support.airflow import airflow_process, result_of, run_airflow_program
from tests.support.iam_web_server_2 import OPTIONS, VERSION
from tests.support.route_matrix_2 import ROLES

pytestmark = pytest.mark.slow  # Airflow 2 has an environment of its own
PARTS = ("roles", "open_routes", "doors", "verified", "sessions")
FAB_ALONE = {name: value for name, value in OPTIONS.items() if not name.startswith("OPENMWAA_")}
FAB_ALONE["AIRFLOW__API__AUTH_BACKENDS"] = "airflow.api.auth.backend.session"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    program = f"from tests.support.iam_web_server_2 import main; main(*{PARTS!r})"
    found: dict[str, Any] = run_airflow_program(program, tmp_path_factory.mktemp("airflow"), version=VERSION, **OPTIONS)
    return found


def test_the_five_roles_have_what_fab_grants_them(server: dict[str, Any]) -> None:
    # No login, then Public, Viewer, User, Op and Admin.
    assert server["roles"] == {
        "GET /api/v1/dags": [401, 403, 200, 200, 200, 200],
        "PATCH /api/v1/dags?dag_id_pattern=~": [401, 403, 403, 200, 200, 200],
        "POST /api/v1/dags/x/dagRuns": [401, 403, 403, 404, 404, 404],
        "GET /api/v1/variables": [401, 403, 403, 403, 200, 200],
        "POST /api/v1/pools": [401, 403, 403, 403, 200, 409],
        "GET /api/v1/eventLogs": [401, 403, 403, 403, 403, 200],
        "GET /api/v1/users": [401, 403, 403, 403, 403, 200],
    }


def test_a_handler_gets_caller_and_role_of_a_valid_session_only(server: dict[str, Any]) -> None:
    ana = "arn:aws:sts::123456789012:assumed-role/analysts/ana"
    assert server["verified"] == {
        "viewer": [200, ana, "Viewer"],
        "op": [200, ana, "Op"],
        "no token": [401],
        "after 12 hours": [401],
    }


@pytest.mark.timeout(1500)
def test_every_route_answers_the_five_roles_as_with_fab_alone(tmp_path: Path) -> None:
    programs = {
        "fab": ("from tests.support.route_matrix_2 import reference; reference()", FAB_ALONE),
        "ours": ("from tests.support.iam_web_server_2 import main; main('matrix')", OPTIONS),
    }
    started = {}
    for name, (program, options) in programs.items():
        (tmp_path / name).mkdir()
        database = {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{tmp_path / name}/airflow.db"}
        started[name] = airflow_process(program, tmp_path / name, VERSION, **database, **options)
    fab, ours = result_of(started["fab"], 1200), result_of(started["ours"], 1200)["matrix"]
    assert fab.keys() == ours.keys()
    differences = {
        f"{route} as {role or 'no login'}": (expected, seen)
        for route, answers in fab.items()
        for role, expected, seen in zip(("", *ROLES), answers, ours[route], strict=True)
        if expected != seen and (role or {expected, seen} != {"401", "403"})  # both refuse; ours as Airflow 3 does
    }
    assert differences == {}
    for lower, higher in zip(range(1, 5), range(2, 6), strict=True):
        assert any(answers[lower] != answers[higher] for answers in fab.values()), "the matrix separates the roles"


def test_without_login_only_health_and_static_documents_answer(server: dict[str, Any]) -> None:
    documents = {
        f"GET {prefix}/{name}"
        for prefix in ("/api/v1", "/auth/fab/v1")
        for name in ("openapi.json", "openapi.yaml", "ui/")
    }
    health = {"GET /health", "GET /api/v1/health", "GET /api/v1/version", "GET /robots.txt", "GET /redoc"}
    names = {"GET /dagmodel/autocomplete"}  # of the DAGs that the role may read: none
    assert set(server["open_routes"]) == documents | health | names


def test_a_login_opens_a_session_with_its_own_role(server: dict[str, Any]) -> None:
    seen = server["sessions"]
    assert seen["login"] == [303, "/"]
    assert set(seen["cookie"]) >= {"Secure", "HttpOnly", "SameSite=Lax", "Path=/"}
    assert (seen["viewer"], seen["home"]) == ([200, 403], 200)
    assert (seen["admin"], seen["viewer after the admin's login"]) == (200, 403)


def test_the_token_of_a_request_counts_more_than_its_cookie(server: dict[str, Any]) -> None:
    assert server["sessions"]["a wrong token with a valid cookie"] == 401
    assert server["sessions"]["a lower token with a higher cookie"] == 403


def test_a_page_of_another_site_writes_nothing(server: dict[str, Any]) -> None:
    assert server["sessions"]["a write from another site"] == 403
    assert server["sessions"]["login from another site"] == 403


def test_a_session_ends_by_logout_revocation_and_after_12_hours(server: dict[str, Any]) -> None:
    seen = server["sessions"]
    assert (seen["logout without the form's token"], seen["after logout"]) == (400, 401)
    assert seen["old"] == [200, 401]
    assert seen["another environment"] == 401
    assert seen["revoked"] == [401, 401, 200]


def test_no_password_opens_a_session(server: dict[str, Any]) -> None:
    assert server["sessions"]["password"] == 405
    assert server["sessions"]["basic"] == 401


def test_principals_of_other_accounts_are_users_of_their_own(server: dict[str, Any]) -> None:
    assert server["sessions"]["own account"] == "role:analysts:ana:Viewer"
    assert server["sessions"]["another account"] == "210987654321:role:analysts:ana:Viewer"


def test_a_handler_calls_the_rest_api_with_the_callers_role_only(server: dict[str, Any]) -> None:
    assert server["doors"] == {
        "viewer reads": 200,
        "public reads": 403,
        "viewer reads variables": 403,
        "another path": 404,
        "up the path": 404,
    }
