# SPDX-License-Identifier: Apache-2.0
"""The routes of the login: proofs and tokens in, sessions and commands out, one audit line for each."""

import base64
import json
import re
from typing import Any

import pytest

from openmwaa_runtime.auth.airflow_role import AirflowRole
from openmwaa_runtime.auth.cli_door import CommandResult
from openmwaa_runtime.auth.doors import PREFIXES
from openmwaa_runtime.auth.http_message import HttpAnswer
from openmwaa_runtime.auth.tokens import Purpose
from tests.support.login_parts import ANNA, TablePolicy, World, request

PROOF = f"openmwaa-v1.{ANNA.arn}"
STRANGER = "openmwaa-v1.arn:aws:iam::123456789012:user/stranger"


@pytest.fixture
def world() -> World:
    return World(TablePolicy({ANNA.arn: [AirflowRole.VIEWER, AirflowRole.OP]}))


def exchange(world: World, **content: Any) -> HttpAnswer:
    return world.doors().handle(request("POST", "/aws_mwaa/exchange", json.dumps(content).encode()))


def web_token(world: World, role: str | None = None) -> str:
    return str(json.loads(exchange(world, proof=PROOF, purpose="web", role=role).body)["web_token"])


def login(world: World, token: str, prefix: str = PREFIXES[0]) -> HttpAnswer:
    return world.doors().handle(request("POST", f"{prefix}/login", f"token={token}".encode()))


def last_line(world: World) -> dict[str, Any]:
    return dict(json.loads(world.lines[-1]))


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize(("wanted", "role"), [(None, AirflowRole.OP), ("Viewer", AirflowRole.VIEWER)])
def test_a_web_token_opens_one_session(prefix: str, wanted: str | None, role: AirflowRole, world: World) -> None:
    token = web_token(world, wanted)
    answer = login(world, token, prefix)
    assert (answer.status, answer.headers["Location"], answer.cookies) == (303, "/", ("_token=bearer; Path=/",))
    assert world.opened == [(ANNA, role)]
    again = login(world, token, prefix)
    assert (again.status, again.cookies) == (401, ())
    assert b"used before" in again.body


def test_a_session_begins_with_its_token_so_that_a_revocation_ends_it(world: World) -> None:
    token, issued_at = web_token(world), int(world.now)
    world.now += 30
    assert login(world, token).status == 303
    assert world.starts == [issued_at]


def test_a_role_that_is_not_granted_is_denied(world: World) -> None:
    answer = exchange(world, proof=PROOF, purpose="web", role="Admin")
    assert answer.status == 403
    assert b"No Airflow role granted in IAM" in answer.body
    assert last_line(world)["outcome"] == "denied"


@pytest.mark.parametrize("purpose", ["web", "cli", "api"])
def test_a_caller_without_any_role_gets_no_token(purpose: str, world: World) -> None:
    assert exchange(world, proof=STRANGER, purpose=purpose).status == 403


@pytest.mark.parametrize("purpose", ["web", "cli", "api", "credentials"])
def test_a_forged_proof_gets_nothing(purpose: str, world: World) -> None:
    assert exchange(world, proof="openmwaa-v1.forged", purpose=purpose).status == 401
    line = last_line(world)
    assert (line["outcome"], line["source_ip"]) == ("denied", "203.0.113.7")
    assert "principal" not in line


def test_a_jwt_without_a_trusted_issuer_is_refused_so_that_the_client_sends_the_other_proof(world: World) -> None:
    answer = exchange(world, proof="a.b.c", purpose="web")
    assert answer.status == 403
    assert b"token_issuers" in answer.body


def test_an_api_session_has_a_bearer_token_and_no_cookie(world: World) -> None:
    answer = exchange(world, proof=PROOF, purpose="api")
    content = json.loads(answer.body)
    assert (content["access_token"], content["role"], answer.cookies) == ("bearer", "Op", ())
    assert content["iam_identity"] == ANNA.arn
    assert content["granted_by"] == ["table"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"proof": 1, "purpose": "web"}',
        b'{"proof": "x", "purpose": "admin"}',
        b'{"proof": "x", "purpose": "web", "role": "admin"}',
        b'{"proof": "x", "purpose": "web", "role": "../Admin"}',
        b'{"proof": "x", "purpose": "web", "role": {"a": 1}}',
        b"\xff",
        pytest.param(b"[" * 60_000, id="nested"),
    ],
)
def test_a_malformed_exchange_is_an_error_with_the_form(body: bytes, world: World) -> None:
    answer = world.doors().handle(request("POST", "/aws_mwaa/exchange", body))
    assert answer.status == 400
    assert b"`purpose` (web, cli, api, credentials, revoke)" in answer.body


def test_callers_revoke_their_own_sessions(world: World) -> None:
    answer = exchange(world, proof=PROOF, purpose="revoke")
    assert (answer.status, json.loads(answer.body)["revoked"]) == (200, ANNA.arn)
    assert world.store.revoked() == {ANNA.arn: world.now}
    assert last_line(world)["revoked"] == ANNA.arn


def test_only_admin_revokes_the_sessions_of_others(world: World) -> None:
    other = "arn:aws:iam::123456789012:user/bob"
    assert exchange(world, proof=PROOF, purpose="revoke", principal=other).status == 403
    assert world.store.revoked() == {}
    world.policy.roles[ANNA.arn] = [AirflowRole.ADMIN]
    assert exchange(world, proof=PROOF, purpose="revoke", principal=other).status == 200
    assert world.store.revoked() == {other: world.now}
    assert exchange(world, proof=PROOF, purpose="revoke", principal="bob").status == 401


@pytest.mark.parametrize("body", [b"", b"token", b"token=", b"token=a&token=b", b"token=%ff", b"\xff=1"], ids=repr)
def test_a_malformed_login_is_refused(body: bytes, world: World) -> None:
    answer = world.doors().handle(request("POST", "/aws_mwaa/login", body))
    assert (answer.status, answer.cookies) == (401, ())


@pytest.mark.parametrize("query", ["next=https://evil.example", "next=//evil.example", "login=true"])
def test_a_login_redirects_to_this_server_only(query: str, world: World) -> None:
    body = f"token={web_token(world)}".encode()
    answer = world.doors().handle(request("POST", "/aws_mwaa/login", body, query=query))
    assert (answer.status, answer.headers["Location"]) == (303, "/")


@pytest.mark.parametrize("prefix", PREFIXES)
def test_the_console_page_posts_the_fragment_to_its_own_login(prefix: str, world: World) -> None:
    answer = world.doors().handle(request("GET", f"{prefix}/aws-console-sso", query="login=true"))
    page = answer.body.decode()
    assert f'action="{prefix}/login"' in page
    assert "history.replaceState" in page, "the token leaves the address bar"
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "'unsafe-inline'" not in policy
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    assert script.count("fetch") == 0


@pytest.mark.parametrize(
    ("site", "confirm"), [("none", False), ("same-origin", False), ("same-site", True), ("cross-site", True)]
)
def test_a_page_of_another_site_logs_no_user_in_without_a_click(site: str, confirm: bool, world: World) -> None:
    headers = {"sec-fetch-site": site}
    page = world.doors().handle(request("GET", "/aws_mwaa/aws-console-sso", headers=headers)).body.decode()
    assert (" data-confirm=1" in page) is confirm


def test_no_answer_is_cached(world: World) -> None:
    answers = [
        exchange(world, proof=PROOF, purpose="web"),
        exchange(world, proof=PROOF, purpose="cli"),
        login(world, web_token(world)),
        world.doors().handle(request("GET", "/aws_mwaa/login")),
    ]
    assert {answer.headers["Cache-Control"] for answer in answers} == {"no-store"}


def test_no_audit_line_contains_a_token_or_proof(world: World) -> None:
    token = web_token(world)
    cli = json.loads(exchange(world, proof=PROOF, purpose="cli").body)["cli_token"]
    bearer = {"authorization": f"Bearer {cli}"}
    login(world, token)
    login(world, token)
    world.doors().handle(request("POST", "/aws_mwaa/cli", b"version", headers=bearer))
    exchange(world, proof="openmwaa-v1.forged", purpose="web")
    text = "\n".join(world.lines)
    assert len(world.lines) == 6
    assert not any(secret in text for secret in (token, cli, "forged", PROOF, "bearer"))


def run_cli(world: World, line: str, role: AirflowRole | None, **more: Any) -> HttpAnswer:
    token, _ = world.tokens().issue(Purpose.CLI, ANNA, role)
    headers = {"authorization": f"Bearer {token}", "content-type": "text/plain"}
    return world.doors(**more).handle(request("POST", "/aws_mwaa/cli", line.encode(), headers=headers))


def test_a_command_answers_with_base64_streams(world: World) -> None:
    answer = run_cli(world, "dags list -o json", AirflowRole.VIEWER)
    assert answer.status == 200
    streams = {"stdout": base64.b64encode(b"dags list -o json").decode(), "stderr": ""}
    assert json.loads(answer.body) == {**streams, "exit_status": 0}
    line = last_line(world)
    assert (line["event"], line["command"], line["exit_status"], line["role"]) == ("cli", "dags list", 0, "Viewer")


def test_a_failed_command_is_400_with_its_streams(world: World) -> None:
    failed = CommandResult(3, b"", b"no")
    answer = run_cli(world, "dags list", AirflowRole.VIEWER, run_command=lambda _words: failed)
    assert answer.status == 400
    assert base64.b64decode(json.loads(answer.body)["stderr"]) == b"no"


def test_a_secret_in_a_command_is_not_in_the_audit_line(world: World) -> None:
    run_cli(world, "variables set password hunter2", AirflowRole.OP)
    assert last_line(world)["command"] == "variables set"


@pytest.mark.parametrize("line", ["connections add x --conn-password -hunter2", "connections -hunter2"])
def test_a_refused_word_is_not_in_the_audit_line(line: str, world: World) -> None:
    assert run_cli(world, line, AirflowRole.OP).status == 400
    assert "hunter2" not in world.lines[-1]


def test_a_viewer_lists_no_dags_by_a_command_where_roles_differ_between_dags(world: World) -> None:
    assert run_cli(world, "dags list", AirflowRole.VIEWER, single_dags=True).status == 403
    assert run_cli(world, "version", AirflowRole.VIEWER, single_dags=True).status == 200


def test_the_role_limits_commands(world: World) -> None:
    assert run_cli(world, "dags trigger x", AirflowRole.VIEWER).status == 403
    assert run_cli(world, "dags trigger x", AirflowRole.USER).status == 200


@pytest.mark.parametrize(
    "headers", [{}, {"authorization": "Bearer "}, {"authorization": "Basic x"}, {"authorization": "Bearer x.y.z"}]
)
def test_a_command_without_a_valid_token_is_refused(headers: dict[str, str], world: World) -> None:
    assert world.doors().handle(request("POST", "/aws_mwaa/cli", b"version", headers=headers)).status == 401


def test_a_revocation_ends_the_command_tokens_of_its_principal(world: World) -> None:
    world.store.revoke(ANNA.arn, world.now + 1)
    assert run_cli(world, "version", AirflowRole.VIEWER).status == 401
    assert "were ended" in last_line(world)["reason"]
    world.now += 2
    assert run_cli(world, "version", AirflowRole.VIEWER).status == 200


def test_a_web_token_runs_no_command(world: World) -> None:
    headers = {"authorization": f"Bearer {web_token(world)}"}
    assert world.doors().handle(request("POST", "/aws_mwaa/cli", b"version", headers=headers)).status == 401


@pytest.mark.parametrize(("scoping", "role"), [(True, "Op"), (False, "Admin")])
def test_without_role_scoping_a_cli_token_is_admin_as_in_mwaa(scoping: bool, role: str, world: World) -> None:
    doors = world.doors(cli_role_scoping=scoping)
    body = json.dumps({"proof": PROOF, "purpose": "cli"}).encode()
    assert json.loads(doors.handle(request("POST", "/aws_mwaa/exchange", body)).body)["role"] == role


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/aws_mwaa"),
        ("GET", "/aws_mwaa/"),
        ("GET", "/aws_mwaa/cli"),
        ("PUT", "/aws_mwaa/login"),
        ("POST", "/aws_mwaa/login/"),
        ("POST", "/aws_mwaa/%6Cogin"),
        ("POST", "/aws_mwaa/../aws_mwaa/login"),
        ("POST", "//aws_mwaa/login"),
        ("POST", "/login"),
        ("POST", "/x/aws_mwaa/login"),
    ],
)
def test_other_routes_do_not_exist(method: str, path: str, world: World) -> None:
    assert world.doors().handle(request(method, path)).status == 404
