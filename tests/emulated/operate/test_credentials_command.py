# SPDX-License-Identifier: Apache-2.0
"""`openmwaa credentials`: the exchange of a proof for keys, and the profile that runs the command."""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from openmwaa.config.environment import Environment
from openmwaa.operate import airflow_login
from openmwaa.operate.airflow_http import AirflowRefusedError
from openmwaa.operate.connection import Connection
from openmwaa.operate.errors import OperateError, UnreachableError
from openmwaa_runtime.auth.environment_arn import EnvironmentArn
from tests.support.emulator import child_environment
from tests.support.environments import LEAST, LEAST_YAML

pytestmark = pytest.mark.emulated
ISSUER = "https://11111111-2222-3333-4444-555555555555.tokens.sts.global.api.aws"
KEYS = {"Version": 1, "AccessKeyId": "OPENMWAAX", "SecretAccessKey": "s", "SessionToken": "t", "Expiration": "2027"}


class Door:
    """The door `/aws_mwaa/exchange`: answers each request with `status` and `answer`."""

    def __init__(self) -> None:
        self.status, self.answer = 200, json.dumps(KEYS)
        self.location: str | None = None
        self.received: list[tuple[str, dict[str, Any]]] = []
        door = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                door.received.append((self.path, json.loads(self.rfile.read(int(self.headers["content-length"])))))
                self.send_response(door.status)
                if door.location:
                    self.send_header("Location", door.location)
                self.end_headers()
                self.wfile.write(door.answer.encode())

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def door() -> Iterator[Door]:
    found = Door()
    thread = Thread(target=found.server.serve_forever, daemon=True)
    thread.start()
    yield found
    found.server.shutdown()
    thread.join()
    found.server.server_close()


@pytest.fixture(autouse=True)
def proven(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proof that shows its parts, and a session for it."""

    def prove(_: Connection, session: str, environment: EnvironmentArn, issuers: Any, host: str) -> str:
        return f"proof of {session} for {environment} at {host} {list(issuers)}"

    monkeypatch.setattr(airflow_login, "identity_proof", prove)
    monkeypatch.setattr(airflow_login, "web_url", lambda _: "http://airflow.internal:8080")  # the door is a tunnel's
    monkeypatch.setattr(airflow_login, "boto_session", lambda _, profile_name: profile_name)


def exchange(url: str) -> Mapping[str, Any]:
    issuer = {"issuer": ISSUER, "account_id": "123456789012"}
    access = {**LEAST["web_access"], "login": "IAM", "iam_login": {"token_issuers": [issuer]}}
    connection = Connection(Environment.model_validate({**LEAST, "web_access": access}), Path("environment.yaml"))
    caller = airflow_login.Caller(profile="jane", account="123456789012", url=url)
    return airflow_login.exchange(connection, "credentials", caller)


def test_the_proof_is_exchanged_for_keys(door: Door) -> None:
    assert exchange(f"{door.url}/") == KEYS
    ((path, body),) = door.received
    arn = "arn:aws:airflow:us-east-1:123456789012:environment/example"
    assert path == "/aws_mwaa/exchange"
    assert body == {
        "proof": f"proof of jane for {arn} at airflow.internal []",  # a token does not name the session
        "purpose": "credentials",
        "role": None,
        "principal": None,
    }


@pytest.mark.parametrize(
    ("status", "answer", "kind", "text"),
    [
        (401, '{"message": "the proof is stale"}', AirflowRefusedError, "the proof is stale"),
        (403, "not JSON", AirflowRefusedError, "with 403"),
        (503, '{"message": "STS does not answer"}', UnreachableError, "STS does not answer"),
        (200, "not JSON", UnreachableError, "does not answer"),
    ],
)
def test_a_refusal_is_one_sentence(status: int, answer: str, kind: type[OperateError], text: str, door: Door) -> None:
    door.status, door.answer = status, answer
    with pytest.raises(kind, match=text):
        exchange(door.url)


def test_a_redirect_does_not_get_the_proof(door: Door) -> None:
    door.status, door.location = 307, f"{door.url}/elsewhere"
    with pytest.raises(AirflowRefusedError, match="307"):
        exchange(door.url)
    assert {path for path, _ in door.received} == {"/aws_mwaa/exchange"}


def test_no_answer_is_one_sentence() -> None:
    with pytest.raises(UnreachableError, match="does not answer"):
        exchange("http://127.0.0.1:1")


YAML = LEAST_YAML.replace("allow_http: true", "domain: airflow.example.com, hosted_zone_id: Z0123456789ABCDEFGHIJ")
PROGRAM = """
import sys, types
module = types.ModuleType("openmwaa.operate.identity_proof")
module.identity_proof = lambda connection, session, environment, issuers, host: (
    f"{session.get_credentials().access_key}@{host}"
)
module.describe_proof = None
sys.modules[module.__name__] = module
from openmwaa.cli import main
main()
"""


def run(folder: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    (folder / "environment.yaml").write_text(YAML, encoding="utf-8")
    (folder / "config").write_text(
        "[profile me]\naws_access_key_id = AKIAME\naws_secret_access_key = x\n", encoding="utf-8"
    )
    environment = child_environment(
        AWS_CONFIG_FILE=str(folder / "config"), XDG_STATE_HOME=str(folder), HOME=str(folder), **variables
    )
    command = [sys.executable, "-c", PROGRAM, "credentials", "--aws", "--account", "123456789012", *words]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )


def test_the_command_prints_only_the_keys(door: Door, tmp_path: Path) -> None:
    done = run(tmp_path, "--url", door.url, "--profile", "me")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == KEYS
    assert door.received[0][1]["proof"] == "AKIAME@airflow.example.com"


def test_an_error_is_not_on_standard_output(door: Door, tmp_path: Path) -> None:
    door.status, door.answer = 401, '{"message": "the proof is stale"}'
    done = run(tmp_path, "--url", door.url, "--profile", "me")
    assert (done.returncode, done.stdout) == (1, "")
    assert "the proof is stale" in done.stderr


def test_an_unknown_profile_is_one_sentence(door: Door, tmp_path: Path) -> None:
    done = run(tmp_path, "--url", door.url, "--profile", "absent")
    assert (done.returncode, done.stdout) == (1, "")
    assert "absent" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_profile_that_runs_itself_ends_at_once(door: Door, tmp_path: Path) -> None:
    """Botocore passes AWS_PROFILE on to the process; without another profile the process would start itself."""
    done = run(tmp_path, "--url", door.url, OPENMWAA_CREDENTIALS_RUNNING="1")
    assert (done.returncode, door.received) == (1, [])
    assert "--profile" in done.stderr
