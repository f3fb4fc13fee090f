# SPDX-License-Identifier: Apache-2.0
"""Airflow's web server with IAM login grants what FAB grants, and its sessions end as they should."""

import json
from pathlib import Path
from typing import Any

import pytest

from openmwaa_runtime.settings import airflow_environment
from tests.support.airflow import VERSION, run_airflow_program
from tests.support.container_env import CONTAINER
from tests.support.iam_web_server import OPTIONS

ANSWERS = Path(__file__).resolve().parents[2] / "support" / f"fab_answers-{VERSION}.json"
ANSWERS_OF_FAB = json.loads(ANSWERS.read_text("utf-8"))
ROLES = ("no login", "Public", "Viewer", "User", "Op", "Admin")
PAGES = ("matrix", "open_routes", "menus")
SESSIONS = ("sessions", "slow_database", "strangers", "verified", "foreign", "doors", "dag_access")


def run(folder: Path, *parts: str, apps: str = "core", **more: str) -> dict[str, Any]:
    program = f"from tests.support.iam_web_server import main; main(*{parts!r}, apps={apps!r})"
    found: dict[str, Any] = run_airflow_program(program, folder, **{**OPTIONS, **more})
    return found


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return run(tmp_path_factory.mktemp("airflow"), *PAGES, *SESSIONS)


def test_every_route_answers_the_five_roles_as_with_fab(server: dict[str, Any]) -> None:
    seen = server["matrix"]
    assert seen.keys() == ANSWERS_OF_FAB.keys(), "run `python -m tools.fab_reference`"
    differences = {
        f"{route} as {role}": (fab, ours)
        for route, answers in ANSWERS_OF_FAB.items()
        for role, fab, ours in zip(ROLES, answers, seen[route], strict=True)
        if fab != ours
    }
    assert differences == {}


def test_the_matrix_separates_the_roles() -> None:
    """Each role has routes that the next lower one lacks, and the reference covers them."""
    rows = ANSWERS_OF_FAB.values()
    for lower, higher in zip(range(1, 5), range(2, 6), strict=True):
        assert any(row[lower] == 403 != row[higher] for row in rows), ROLES[higher]
        assert not any(row[lower] != 403 == row[higher] for row in rows if row[lower] != 404), ROLES[higher]


# The pages are static. The documents describe the API of every Airflow of this version.
STATIC = {"GET /docs", "GET /docs/oauth2-redirect", "GET /redoc", "GET /openapi.json", "GET /static"}
LOGIN = {"GET /api/v2/auth/login", "GET /api/v2/auth/logout"}
HEALTH = {"GET /api/v2/monitor/health", "GET /api/v2/version"}
PAGE = {"GET /{rest_of_path:path}", "GET /auth"}  # the same file for each path that is no route
TASKS = {"", "/docs", "/docs/oauth2-redirect", "/redoc", "/changelog", "/health", "/health/ping"}


def test_without_login_only_health_login_and_static_files_answer(server: dict[str, Any]) -> None:
    seen = {route for route in server["open_routes"] if not route.startswith("HEAD ")}
    assert seen == STATIC | LOGIN | HEALTH | PAGE


@pytest.mark.slow
def test_without_login_the_api_of_tasks_answers_only_its_health_and_its_description(tmp_path: Path) -> None:
    seen = {route for route in run(tmp_path, "open_routes", apps="all")["open_routes"] if route.startswith("GET ")}
    assert seen == STATIC | LOGIN | HEALTH | PAGE | {f"GET /execution{path}" for path in TASKS}


def test_the_menu_has_what_the_role_may_open(server: dict[str, Any]) -> None:
    menus = {role: set(items) for role, items in server["menus"].items()}
    assert menus["Public"] == set()
    assert menus["Viewer"] == menus["User"] == {"Assets", "Dags", "Deadlines", "Docs", "Jobs"}
    assert menus["Op"] > menus["User"]
    assert menus["Admin"] - menus["Op"] == {"Audit Log"}


def test_the_cookie_opens_a_session_that_is_not_renewed(server: dict[str, Any]) -> None:
    seen = server["sessions"]
    assert set(seen["cookie"].strip().split("; ")) == {"Path=/", "Max-Age=43200", "HttpOnly", "SameSite=Lax", "Secure"}
    assert seen["me"] == {
        "id": "arn:aws:sts::123456789012:assumed-role/analysts/ana",
        "username": "role:analysts:ana",
    }
    assert seen["refreshed"] is None
    assert seen["before logout"] == [200]


def test_logout_revokes_the_cookies_token(server: dict[str, Any]) -> None:
    assert server["sessions"]["logout"] == [307, "/auth/login"]
    assert server["sessions"]["after logout"] == 403


def test_a_session_ends_after_12_hours_however_often_its_token_is_exchanged(server: dict[str, Any]) -> None:
    assert 0 < server["sessions"]["seconds left after an exchange"] <= 60
    assert server["sessions"]["after 12 hours"] == 401


def test_a_revoked_principal_has_no_session_and_may_log_in_again(server: dict[str, Any]) -> None:
    seen = server["sessions"]
    assert seen["revoked ana, bob"] == [403, 200]
    assert seen["new session of ana"] == 200
    assert seen["revocation taken back, a second later"] == 403


def test_a_request_that_waits_for_the_database_does_not_stop_the_others(server: dict[str, Any]) -> None:
    assert server["slow_database"] == {
        "an answer in the meantime": True,
        "without login": 200,
        "the first request": 200,
    }


def test_a_token_that_is_no_session_of_this_environment_is_refused(server: dict[str, Any]) -> None:
    seen = dict(server["strangers"])
    assert seen.pop("none") == 200
    assert seen.pop("an old start") == 401
    assert set(seen.values()) == {403}


def test_a_handler_gets_caller_and_role_of_a_valid_session_only(server: dict[str, Any]) -> None:
    seen = dict(server["verified"])
    ana = "arn:aws:sts::123456789012:assumed-role/analysts/ana"
    assert (seen.pop("viewer"), seen.pop("op")) == ([200, ana, "Viewer"], [200, ana, "Op"])
    assert seen.keys() == {"no token", "after 12 hours", "after logout", "another environment", "revoked"}
    assert [*seen.values()] == [[401]] * 5


def test_a_page_of_another_site_writes_nothing(server: dict[str, Any]) -> None:
    assert server["foreign"] == {
        "this site": 201,
        "this site, old browser": 201,
        "no browser": 201,
        "another site": 403,
        "another site, old browser": 403,
        "a sister site": 403,
        "a sandboxed frame": 403,
        "without encryption": 403,
        "login from another site": 403,
        "reading from another site": 200,
    }


def test_a_handler_calls_airflows_public_api_with_the_callers_role_only(server: dict[str, Any]) -> None:
    seen = server["doors"]
    assert (seen["viewer reads"], seen["viewer writes"], seen["public reads"]) == (200, 403, 403)
    assert (seen["another path"], seen["up the path"]) == (404, 404)


def test_the_login_page_leads_nowhere(server: dict[str, Any]) -> None:
    assert server["doors"]["login page"] == [200, True, False]
    assert server["doors"]["start"] == [400, None]


NONE, READ, RUN = [False, False, False], [True, True, False], [True, True, True]


@pytest.mark.parametrize(
    ("caller", "free", "sales", "both", "bundled"),
    [
        ("viewer ana", READ, RUN, RUN, NONE),
        ("public ana", NONE, RUN, RUN, NONE),
        ("op eve", RUN, NONE, NONE, NONE),
        ("admin eve", RUN, RUN, RUN, RUN),
        ("viewer fin", READ, NONE, NONE, RUN),
    ],
)
def test_a_mapped_dag_is_listed_read_and_run_by_its_principals(
    server: dict[str, Any], caller: str, free: object, sales: object, both: object, bundled: object
) -> None:
    assert server["dag_access"][caller] == {"free": free, "sales": sales, "both": both, "bundled": bundled}


def test_a_dag_is_mapped_as_soon_as_it_exists(server: dict[str, Any]) -> None:
    assert server["dag_access"]["a newer DAG"] == 403


def test_a_row_for_dags_raises_no_other_permission(server: dict[str, Any]) -> None:
    assert server["dag_access"]["an Admin row gives no list of events"] == 403


@pytest.mark.slow
def test_a_new_session_secret_ends_open_sessions_and_a_restart_does_not(tmp_path: Path) -> None:
    def seen(api_secret_key: str, session: str = "") -> dict[str, Any]:
        container = {**CONTAINER, "OPENMWAA_API_SECRET_KEY": api_secret_key}
        secret = airflow_environment("web-server", container, "0.0.0.0")["AIRFLOW__API_AUTH__JWT_SECRET"]
        variables = {"OPENMWAA_API_SECRET_KEY": api_secret_key, "AIRFLOW__API_AUTH__JWT_SECRET": secret}
        answers: dict[str, Any] = run(tmp_path, "open_sessions", **variables, OPENMWAA_TEST_SESSION=session)[
            "open_sessions"
        ]
        return answers

    first = seen("the first secret")
    assert first["new"] == 200
    restarted = seen("the first secret", first["token"])
    assert (restarted["new"], restarted["before"]) == (200, [200, 200])
    rotated = seen("the second secret", first["token"])
    assert (rotated["new"], rotated["before"]) == (200, [403, 403])
