# SPDX-License-Identifier: Apache-2.0
"""`openmwaa credentials`: the exchange of a proof for keys, and the profile that runs the command."""

import json
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from openmwaa.config.environment import Environment
from openmwaa.operate.connection import Connection
from openmwaa.operate.errors import CredentialsError, OperateError, UnreachableError
from openmwaa.operate.exchange import Exchange
from openmwaa_runtime.auth.environment_arn import EnvironmentArn
from tests.support.emulator import child_environment
from tests.support.environments import LEAST, LEAST_YAML

pytestmark = pytest.mark.emulated
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


def exchange(url: str) -> Exchange:
    def prove(_: Connection, session: str, environment: EnvironmentArn, issuers: Any) -> str:
        return f"proof of {session} for {environment} {list(issuers)}"

    connection = Connection(Environment.model_validate(LEAST), Path("environment.yaml"))
    return Exchange(connection, "jane", prove, url, "123456789012", ["https://issuer.example.com"])


def test_the_proof_is_exchanged_for_keys(door: Door) -> None:
    assert exchange(f"{door.url}/").request("credentials") == KEYS
    ((path, body),) = door.received
    arn = "arn:aws:airflow:us-east-1:123456789012:environment/example"
    assert path == "/aws_mwaa/exchange"
    assert (body["purpose"], body["role"]) == ("credentials", None)
    assert body["proof"].startswith(f"proof of jane for {arn}")
    assert body["proof"].endswith("['https://issuer.example.com']")


@pytest.mark.parametrize(
    ("status", "answer", "kind", "text"),
    [
        (401, '{"message": "the proof is stale"}', CredentialsError, "401: the proof is stale"),
        (403, "not JSON", CredentialsError, "403: Forbidden"),
        (503, '{"message": "STS does not answer"}', UnreachableError, "503: STS does not answer"),
        (200, "not JSON", UnreachableError, "does not answer"),
    ],
)
def test_a_refusal_is_one_sentence(status: int, answer: str, kind: type[OperateError], text: str, door: Door) -> None:
    door.status, door.answer = status, answer
    with pytest.raises(kind, match=text):
        exchange(door.url).request("credentials")


def test_a_redirect_does_not_get_the_proof(door: Door) -> None:
    door.status, door.location = 307, f"{door.url}/elsewhere"
    with pytest.raises(CredentialsError, match="307"):
        exchange(door.url).request("credentials")
    assert len(door.received) == 1


def test_no_answer_is_one_sentence() -> None:
    with pytest.raises(UnreachableError, match="does not answer"):
        exchange("http://127.0.0.1:1").request("credentials")


PROGRAM = """
import sys, types
module = types.ModuleType("openmwaa.operate.identity_proof")
module.identity_proof = lambda connection, session, environment, issuers: session.get_credentials().access_key
sys.modules[module.__name__] = module
from openmwaa.cli import main
main()
"""


def run(folder: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    (folder / "environment.yaml").write_text(LEAST_YAML, encoding="utf-8")
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
    assert door.received[0][1]["proof"] == "AKIAME"


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
