# SPDX-License-Identifier: Apache-2.0
"""IAM login on real Airflow: a browser, the commands, clients of MWAA, refused tokens, revocation and a restart."""

import asyncio
import json
import os
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest
import urllib3
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from playwright.async_api import Page, expect

from openmwaa.local import login
from openmwaa.local.airflow_command import running_variables
from openmwaa.local.daemon import daemon_client
from openmwaa.local.install import venvs
from openmwaa.local.services import aws, principals
from openmwaa.presigned_identity import presigned_identity
from openmwaa_runtime.auth.environment_arn import EnvironmentArn
from tests.e2e.conftest import E2E
from tests.support.chromium import browser

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]
PICTURES = Path(__file__).parents[2] / "build" / "login"
DAGS = """
from airflow.providers.amazon.aws.operators.mwaa import MwaaTriggerDagRunOperator
from airflow.sdk import dag, task

@dag(schedule=None)
def login_greet():
    @task
    def greet():
        print("Hello")
    greet()

@dag(schedule=None)
def login_trigger():
    MwaaTriggerDagRunOperator(
        task_id="trigger", env_name="e2e", trigger_dag_id="login_greet", trigger_run_id="{{ run_id }}_greets",
        logical_date="{{ dag_run.run_after.isoformat() }}",  # the hook leaves out None, and Airflow 3 needs the field
        aws_conn_id="own_mwaa", wait_for_completion=True, waiter_delay=2,
    )

login_greet()
login_trigger()
"""
WITHIN_S = 300.0
HTTP = urllib3.PoolManager(retries=False, timeout=90)
TRIGGER = """async () => (await fetch("/api/v2/dags/login_greet/dagRuns", {method: "POST",
  headers: {"Content-Type": "application/json"}, body: JSON.stringify({logical_date: null})})).status"""


@dataclass(frozen=True)
class Login:
    """The environment under test, for its four principals."""

    e2e: E2E

    @cached_property
    def web(self) -> str:
        return str(self._status["web_address"]).rstrip("/")

    def endpoint(self, name: str) -> str:
        return str(self._status["endpoints"][name])

    def client(self, service: str) -> Any:
        """A client of the emulated account."""
        session = boto3.Session("test", "test", region_name=self.e2e.environment.region)
        url = self.endpoint("ecs" if service == "ecs" else "aws")
        return session.client(service, endpoint_url=url)  # type: ignore[call-overload] # the name is not a literal

    @cached_property
    def _status(self) -> dict[str, Any]:
        status = daemon_client.status(self.e2e.paths)
        assert status is not None, "the environment is not running"
        return dict(status)

    def run(self, principal: str, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command of openmwaa as a principal; the words of the command come first."""
        at = words.index("--") if "--" in words else len(words)
        return self.e2e.openmwaa(words[0], "--local", "--as", principal, *words[1:at], *words[at:])

    def json(self, principal: str, *words: str) -> Any:
        done = self.run(principal, *words)
        assert done.returncode == 0, f"{words}:\n{done.stdout}\n{done.stderr}"
        return json.loads(done.stdout)

    def api(self, principal: str, method: str, path: str, body: Any = None, *more: str) -> Any:
        data = () if body is None else ("--data", json.dumps(body))
        return self.json(principal, "api", method, path, "environment.yaml", *data, *more)

    def address(self, principal: str) -> str:
        done = self.run(principal, "login", "environment.yaml", "--no-browser")
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def proof(self, principal: str) -> str:
        key = principals.read(self.e2e.paths.principals)[principal]
        region = self.e2e.environment.region
        environment = EnvironmentArn("aws", region, aws.ACCOUNT, self.e2e.environment.name)
        host = urlsplit(self.web).hostname or ""
        return presigned_identity(Credentials(key.key_id, key.secret), environment, self.endpoint("aws"), host)

    def exchange(self, proof: str, purpose: str) -> tuple[int, Any]:
        answer = HTTP.request("POST", f"{self.web}/aws_mwaa/exchange", json={"proof": proof, "purpose": purpose})
        return answer.status, answer.json()

    def token(self, principal: str, purpose: str, name: str) -> str:
        status, answer = self.exchange(self.proof(principal), purpose)
        assert status == 200, answer
        return str(answer[name])

    def log_in(self, token: str) -> urllib3.BaseHTTPResponse:
        """Send a web token as the browser does."""
        return HTTP.request(
            "POST", f"{self.web}/aws_mwaa/login", fields={"token": token}, encode_multipart=False, redirect=False
        )

    def get(self, path: str, token: str) -> int:
        headers = {"Authorization": f"Bearer {token}"}
        return HTTP.request("GET", self.web + path, headers=headers, redirect=False).status

    def variables(self, profile: str) -> dict[str, str]:
        """The variables of this process, with a profile for MWAA's API of the environment."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        return {**kept, "AWS_CONFIG_FILE": str(self.e2e.paths.aws_config), "AWS_PROFILE": profile}

    def run_state(self, dag: str, run_id: str) -> str:
        return str(self.api("viewer", "GET", f"/dags/{dag}/dagRuns/{run_id}")["state"])

    def succeeds(self, dag: str, run_id: str) -> None:
        until(f"{run_id} ends", lambda: self.run_state(dag, run_id) in {"success", "failed"})
        assert self.run_state(dag, run_id) == "success"


def until(what: str, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WITHIN_S
    while not condition():
        assert time.monotonic() < deadline, f"not within {WITHIN_S:.0f} s: {what}"
        time.sleep(1)


@pytest.fixture(scope="module")
def env(e2e: E2E) -> Iterator[Login]:
    found = Login(e2e)
    s3 = found.client("s3")
    place = {"Bucket": login.outputs(e2e.paths)["source_bucket"], "Key": f"{e2e.environment.dag_s3_path}/login.py"}
    s3.put_object(**place, Body=DAGS.encode())
    names = ("login_greet", "login_trigger")
    until(
        "Airflow parses the DAGs", lambda: all(found.run("viewer", *_get(f"/dags/{n}")).returncode == 0 for n in names)
    )
    for name in names:
        found.api("user", "PATCH", f"/dags/{name}", {"is_paused": False})
    yield found
    s3.delete_object(**place)


def _get(path: str) -> tuple[str, ...]:
    return ("api", "GET", path, "environment.yaml")


@pytest.fixture
async def page() -> AsyncIterator[Page]:
    async with browser() as chromium:
        context = await chromium.new_context(viewport={"width": 1000, "height": 620}, color_scheme="light")
        opened = await context.new_page()
        opened.set_default_timeout(60_000)
        yield opened
        await context.close()


@pytest.mark.parametrize(("principal", "triggers"), [("viewer", 403), ("admin", 200)])
async def test_a_browser_logs_in_with_the_address_of_the_command(
    env: Login, page: Page, principal: str, triggers: int
) -> None:
    requested: list[str] = []
    page.on("request", lambda request: requested.append(request.url))
    address = await asyncio.to_thread(env.address, principal)
    token = urlsplit(address).fragment
    await page.goto(address)
    await page.wait_for_url(lambda url: "/aws_mwaa/" not in url)
    assert not [url for url in (page.url, *requested[1:]) if token in url], "the token stays in an address"
    (cookie,) = [cookie for cookie in await page.context.cookies() if cookie["name"] == "_token"]
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Lax")
    assert "_token" not in await page.evaluate("document.cookie")
    await page.goto(f"{env.web}/dags")
    await expect(page.get_by_role("link", name="login_greet")).to_be_visible(timeout=60_000)
    PICTURES.mkdir(parents=True, exist_ok=True)
    await page.wait_for_load_state("networkidle")
    await page.screenshot(path=PICTURES / f"login-{principal}.png")
    assert await page.evaluate(TRIGGER) == triggers
    await page.context.clear_cookies()
    await page.goto(address)
    await expect(page.get_by_text("the token was used before")).to_be_visible()
    assert not await page.context.cookies()


async def test_the_scalers_page_is_behind_the_login(env: Login, page: Page) -> None:
    url = f"{env.web}/aws_mwaa/scaler/"
    stranger = HTTP.request("GET", url, redirect=False)
    assert (stranger.status, stranger.headers["Location"]) == (303, "/aws_mwaa/login")
    token = await asyncio.to_thread(env.token, "viewer", "api", "access_token")
    headers = {"Authorization": f"Bearer {token}"}
    fleets = HTTP.request("GET", f"{url}v1/fleets", headers=headers)
    assert (fleets.status, fleets.json()["fleets"][0]["fleet"]) == (200, "default")
    assert HTTP.request("POST", f"{url}v1/fleets", headers=headers).status == 405
    assert env.get("/aws_mwaa/scaler/", f"{token[:-4]}AAAA") == 403
    faults: list[str] = []
    await page.goto(await asyncio.to_thread(env.address, "viewer"))
    await page.wait_for_url(lambda url: "/aws_mwaa/" not in url)
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    await page.goto(url)
    await expect(page.locator("#link-text")).to_contain_text("live")
    assert not faults


def test_op_and_boto3_change_the_bounds_of_the_scaler(env: Login, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"{env.web}/aws_mwaa/scaler/v1/"
    tokens = {name: env.token(name, "api", "access_token") for name in ("viewer", "user", "op")}

    def write(principal: str, **override: object) -> int:
        headers = {"Authorization": f"Bearer {tokens[principal]}"}
        return HTTP.request("POST", f"{url}overrides/default", headers=headers, json=override).status

    def bounds() -> list[int]:
        fleets = HTTP.request("GET", f"{url}fleets", headers={"Authorization": f"Bearer {tokens['viewer']}"}).json()
        return [fleets["fleets"][0][name] for name in ("min", "max")]

    for name, value in env.variables("admin").items():
        monkeypatch.setenv(name, value)
    assert [write(name, max=3) for name in tokens] == [403, 403, 200]
    try:
        until("the override of Op is in force", lambda: bounds() == [1, 3])
        boto3.Session(profile_name="admin").client("mwaa").update_environment(Name="e2e", MinWorkers=2)
        until("the override of boto3 is in force, beside that of Op", lambda: bounds() == [2, 3])
    finally:
        assert write("op") == 200
    until("the override is removed", lambda: bounds() == [1, 4])


def test_whoami_names_the_role_and_the_proof(env: Login) -> None:
    for principal, role in principals.ROLES.items():
        found = env.json(principal, "whoami", "environment.yaml", "--json")
        assert (found["iam_identity"], found["role"]) == (f"arn:aws:iam::{aws.ACCOUNT}:user/{principal}", role)
        local_issuer = f"JSON Web Token of the local issuer {env.endpoint('aws')}"
        assert found["proof"] == (local_issuer if principal in {"op", "admin"} else "presigned request to STS")


def test_the_api_has_the_role_of_the_caller(env: Login) -> None:
    assert "login_greet" in {dag["dag_id"] for dag in env.api("viewer", "GET", "/dags")["dags"]}
    start = ("POST", "/dags/login_greet/dagRuns", {"logical_date": None})
    refused = env.run("viewer", "api", *start[:2], "environment.yaml", "--data", json.dumps(start[2]))
    assert (refused.returncode, "403" in refused.stderr) == (1, True), refused
    env.succeeds("login_greet", env.api("user", *start)["dag_run_id"])
    assert env.run("user", *_get("/variables")).returncode == 1
    assert "variables" in env.api("op", "GET", "/variables")


def test_a_role_can_be_lower_and_not_higher_than_granted(env: Login) -> None:
    refused = env.run("viewer", "whoami", "environment.yaml", "--role", "Admin")
    assert refused.returncode == 1
    assert "airflow:InvokeRestApi" in refused.stderr
    assert "Admin" in refused.stderr
    lower = ("--role", "Viewer")
    assert env.json("admin", "whoami", "environment.yaml", "--json", *lower)["role"] == "Viewer"
    assert "dags" in env.api("admin", "GET", "/dags", None, *lower)
    assert env.run("admin", *_get("/variables"), *lower).returncode == 1


@pytest.mark.slow
def test_the_output_of_a_command_of_airflow_is_printed(env: Login) -> None:
    listed = env.run("viewer", "airflow", "environment.yaml", "--", "dags", "list", "-o", "json")
    assert listed.returncode == 0, listed.stderr
    assert "login_greet" in {dag["dag_id"] for dag in json.loads(listed.stdout)}


def test_commands_of_airflow_end_with_its_exit_code(env: Login) -> None:
    failed = env.run("admin", "airflow", "environment.yaml", "--", "dags", "details", "no-such-dag")
    assert failed.returncode not in {0, 2}, failed
    for words in (("dags", "trigger", "login_greet"), ("variables", "list")):
        refused = env.run("viewer", "airflow", "environment.yaml", "--", *words)
        assert refused.returncode == 1
        assert f"`{' '.join(words[:2])}` needs the role" in refused.stderr
    assert env.run("admin", "airflow", "environment.yaml", "--", "db", "reset").returncode == 2
    triggered = env.run("user", "airflow", "environment.yaml", "--", "dags", "trigger", "login_greet", "-r", "by_cli")
    assert triggered.returncode == 0, triggered.stderr
    env.succeeds("login_greet", "by_cli")


def test_boto3_with_a_profile_of_the_environment(env: Login, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in env.variables("op").items():
        monkeypatch.setenv(name, value)
    client = boto3.Session(profile_name="op").client("mwaa")
    found = client.get_environment(Name="e2e")["Environment"]
    assert (found["Status"], found["MinWorkers"], found["MaxWorkers"]) == ("AVAILABLE", 1, 4)
    assert found["AirflowVersion"] == env.e2e.environment.airflow_version
    done = client.invoke_rest_api(
        Name="e2e", Path="/dags/login_greet/dagRuns", Method="POST", Body={"logical_date": None}
    )
    assert done["RestApiStatusCode"] == 200
    env.succeeds("login_greet", done["RestApiResponse"]["dag_run_id"])
    viewer = boto3.Session(profile_name="viewer").client("mwaa")
    with pytest.raises(ClientError) as raised:
        viewer.invoke_rest_api(Name="e2e", Path="/dags/login_greet/dagRuns", Method="POST", Body={"logical_date": None})
    assert raised.value.response["Error"]["Code"] == "RestApiClientException"
    assert raised.value.response["RestApiStatusCode"] == 403  # type: ignore[typeddict-item]


@pytest.mark.slow
def test_the_aws_cli_with_a_profile_of_the_environment(env: Login) -> None:
    cli = venvs.ensure(venvs.venv_of("mwaa"), progress=print).with_name("aws")

    def call(*words: str) -> Any:
        command = [str(cli), "mwaa", *words, "--name", "e2e"]
        done = subprocess.run(
            command, env=env.variables("op"), capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    assert call("get-environment")["Environment"]["Status"] == "AVAILABLE"
    start = ("--method", "POST", "--path", "/dags/login_greet/dagRuns", "--body", '{"logical_date": null}')
    env.succeeds("login_greet", call("invoke-rest-api", *start)["RestApiResponse"]["dag_run_id"])


@pytest.mark.slow
def test_airflows_operator_triggers_a_dag_by_mwaas_api(env: Login) -> None:
    keys = env.json("op", "credentials", "environment.yaml")
    extra = {
        "aws_session_token": keys["SessionToken"],
        "region_name": env.e2e.environment.region,
        "service_config": {"mwaa": {"endpoint_url": f"{env.web}/aws_mwaa/api"}},
        "config_kwargs": {"inject_host_prefix": False},  # hosts such as env.127.0.0.1 do not exist
    }
    connection = {"login": keys["AccessKeyId"], "password": keys["SecretAccessKey"], "extra": json.dumps(extra)}
    env.api("op", "POST", "/connections", {"connection_id": "own_mwaa", "conn_type": "aws", **connection})
    try:
        run = env.api("user", "POST", "/dags/login_trigger/dagRuns", {"logical_date": None})["dag_run_id"]
        env.succeeds("login_trigger", run)
        assert env.run_state("login_greet", f"{run}_greets") == "success"
    finally:
        assert env.run("op", "api", "DELETE", "/connections/own_mwaa", "environment.yaml").returncode == 0


def test_proofs_and_tokens_are_valid_once_and_not_if_forged(env: Login) -> None:
    proof = env.proof("op")
    status, answer = env.exchange(proof, "web")
    assert status == 200, answer
    token = answer["web_token"]
    status, answer = env.exchange(proof, "web")
    assert (status, "used before" in answer["message"]) == (401, True), answer
    content, signature = token.rsplit(".", 1)
    assert env.log_in(f"{content}.{signature[::-1]}").status == 401
    assert env.log_in(env.token("admin", "cli", "cli_token")).status == 401, "a token of another purpose"
    assert env.log_in(token).status == 303
    assert env.log_in(token).status == 401
    cli = {"Authorization": f"Bearer {env.token('viewer', 'cli', 'cli_token')}"}
    answers = [HTTP.request("POST", f"{env.web}/aws_mwaa/cli", headers=cli, body=b"version") for _ in range(2)]
    assert [found.status for found in answers] == [200, 401]
    access = env.token("admin", "api", "access_token")
    assert env.get("/api/v2/dags", access) == 200
    content, signature = access.rsplit(".", 1)
    assert env.get("/api/v2/dags", f"{content}.{signature[::-1]}") in {401, 403}
    assert env.get("/api/v2/dags", token) in {401, 403}, "a web token is no session"


def test_a_revocation_ends_open_sessions_of_its_principal_only(env: Login) -> None:
    user, viewer = (env.token(name, "api", "access_token") for name in ("user", "viewer"))
    keys = env.json("user", "credentials", "environment.yaml")
    assert (env.get("/api/v2/dags", user), env.get("/api/v2/dags", viewer)) == (200, 200)
    arn = f"arn:aws:iam::{aws.ACCOUNT}:user/user"
    program = (
        "import os, time; from openmwaa_runtime.auth.login_store import PostgresLoginStore as Store;"
        f"Store.of_web_server(os.environ).revoke({arn!r}, time.time() + 1)"
    )
    python = venvs.venv_of(f"airflow-{env.e2e.environment.airflow_version}")
    variables = running_variables(env.e2e.paths)
    assert variables is not None
    command = [str(venvs.ensure(python, progress=print)), "-c", program]
    subprocess.run(command, env={**os.environ, **variables}, check=True, timeout=60)
    until("the session of the principal ends", lambda: env.get("/api/v2/dags", user) in {401, 403})
    assert env.get("/api/v2/dags", viewer) == 200
    client = boto3.client(
        "mwaa",
        endpoint_url=f"{env.web}/aws_mwaa/api",
        region_name=env.e2e.environment.region,
        aws_access_key_id=keys["AccessKeyId"],
        aws_secret_access_key=keys["SecretAccessKey"],
        aws_session_token=keys["SessionToken"],
        config=Config(inject_host_prefix=False),
    )
    with pytest.raises(ClientError, match="revoked"):
        client.get_environment(Name="e2e")
    until("the principal has a new session", lambda: env.run("user", *_get("/dags")).returncode == 0)


def test_the_log_has_each_login_and_no_token(env: Login) -> None:
    secrets = [env.proof("op")]
    status, answer = env.exchange(secrets[0], "web")
    assert status == 200, answer
    secrets += [answer["web_token"], env.token("op", "cli", "cli_token"), env.token("op", "api", "access_token")]
    secrets.append(env.log_in(answer["web_token"]).headers["Set-Cookie"].partition(";")[0].partition("=")[2])
    keys = env.json("op", "credentials", "environment.yaml")
    secrets += [keys["SecretAccessKey"], keys["SessionToken"]]
    for secret in secrets:
        env.get("/api/v2/dags", secret)
    log = "".join(file.read_text(errors="replace") for file in env.e2e.paths.logs.iterdir())
    lines = [json.loads(line[line.index("{") :]) for line in log.splitlines() if '"openmwaa_audit"' in line]
    seen = {(line["event"], line["outcome"]) for line in lines if line.get("principal", "").endswith("user/op")}
    assert seen >= {("exchange", "allowed"), ("login", "allowed")}
    # The start of a token is not secret: all have the same header.
    assert not [secret[:20] for secret in secrets if secret[-40:] in log]


@pytest.mark.slow
def test_a_session_and_used_tokens_survive_a_restart_of_the_web_server(env: Login) -> None:
    session, used = env.token("viewer", "api", "access_token"), env.token("viewer", "web", "web_token")
    assert env.log_in(used).status == 303
    ecs = env.client("ecs")
    cluster = login.outputs(env.e2e.paths)["cluster_name"]

    def tasks() -> set[str]:
        return set(ecs.list_tasks(cluster=cluster, serviceName="control-plane")["taskArns"])

    before = tasks()
    for task in before:
        ecs.stop_task(cluster=cluster, task=task)

    def answers() -> bool:
        try:
            return not tasks() & before and env.get("/api/v2/version", session) == 200
        except urllib3.exceptions.HTTPError:
            return False

    until("a new web server answers", answers)
    assert env.get("/api/v2/dags", session) == 200
    assert env.log_in(used).status == 401
    done = env.e2e.openmwaa("wait", "environment.yaml", "--timeout", "10m")
    assert done.returncode == 0, done.stderr
