# SPDX-License-Identifier: Apache-2.0
"""A Celery worker as a child process, with the HTTP client of its agent."""

import base64
import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.support.emulator import child_environment

REPOSITORY = Path(__file__).parents[2]


def wait_for(what: str, condition: Callable[[], Any], *, seconds: float = 30, log: Path | None = None) -> Any:
    """Return the first true value of `condition`, or fail with `what` and the end of the log."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.02)
    tail = log.read_text(errors="replace")[-6000:] if log else ""
    raise AssertionError(f"not within {seconds} s: {what}\n{tail}")


def sign(key: Ed25519PrivateKey, command: str, task_arn: str, /, **changes: Any) -> tuple[bytes, str]:
    """Return the body and the signature of a command, as the scaler sends them."""
    now = datetime.now(UTC)
    fields: dict[str, Any] = {
        "version": 1,
        "command": command,
        "task_arn": task_arn,
        "nonce": secrets.token_hex(16),
        "issued_at": now.isoformat(),
        "expires_at": (now + timedelta(seconds=30)).isoformat(),
    }
    if command == "drain":
        fields["lease_s"] = 60
    body = json.dumps(fields | changes).encode()
    return body, base64.b64encode(key.sign(body)).decode()


def request(url: str, *, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> tuple[int, Any]:
    """Send a request to an agent. Returns the status and the JSON answer."""
    method = "GET" if body is None else "POST"
    call = urllib.request.Request(url, data=body, method=method, headers=dict(headers or {}))
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(call, timeout=60) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


@dataclass
class Worker:
    """A worker process, with the address of its agent and its log."""

    process: subprocess.Popen[bytes]
    url: str
    key: Ed25519PrivateKey
    task_arn: str
    log: Path

    def state(self) -> dict[str, Any] | None:
        """Return the state of the agent; `None` without an answer."""
        try:
            status, state = request(f"{self.url}/v1/state")
        except OSError:
            return None
        assert status == 200, f"GET /v1/state answered {status}: {state}"
        return dict(state)

    def phase(self) -> str | None:
        state = self.state()
        return str(state["phase"]) if state else None

    def command(self, command: str, **changes: Any) -> dict[str, Any]:
        body, signature = sign(self.key, command, self.task_arn, **changes)
        status, state = request(f"{self.url}/v1/{command}", body=body, headers={"X-Openmwaa-Signature": signature})
        assert status == 200, f"{command} answered {status}: {state}"
        return dict(state)

    def wait_for_phase(self, phase: str, *, seconds: float = 30) -> None:
        wait_for(f"phase {phase}", lambda: self.phase() == phase, seconds=seconds, log=self.log)

    def kill(self) -> None:
        """Kill the whole session, as ECS kills a task."""
        for pid in _session(self.process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(120)


def start_worker(
    *,
    folder: Path,
    sqs_url: str,
    queues: Mapping[str, str],
    concurrency: int,
    task_arn: str,
    options: Sequence[str] = (),
    **environment: str,
) -> Worker:
    """Start a worker in its own session, with `options` of the command. Call `kill()` at the end."""
    key = Ed25519PrivateKey.generate()
    public = base64.b64encode(key.public_key().public_bytes_raw()).decode()
    port = environment["WORKER_AGENT_PORT"]
    log = folder / f"worker-{secrets.token_hex(3)}.log"
    names = ",".join(queues)
    command = [sys.executable, "-m", "celery", "-A", "tests.support.celery_app", "worker", "-Q", names]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "-c", str(concurrency), "-l", "INFO", "--without-gossip", "--without-mingle", *options],
            cwd=REPOSITORY,
            stdout=output,
            stderr=output,
            start_new_session=True,
            env=child_environment(
                TEST_LEDGER=str(folder / "ledger"),
                TEST_QUEUES=json.dumps(dict(queues)),
                AWS_ENDPOINT_URL_SQS=sqs_url,
                WORKER_AGENT_PUBLIC_KEY=public,
                PYTHONPATH=str(REPOSITORY),
                **environment,
            ),
        )
    return Worker(process, f"http://127.0.0.1:{port}", key, task_arn, log)


def ledger(folder: Path) -> Counter[tuple[str, int]]:
    """Return the number of lines for each (event, number)."""
    path = folder / "ledger"
    lines = path.read_text().splitlines() if path.exists() else []
    return Counter((line.split()[0], int(line.split()[1])) for line in lines)


def finished(folder: Path) -> int:
    """Return the number of different tasks that ended."""
    return sum(1 for event, _ in ledger(folder) if event == "end")


def _session(leader: int) -> list[int]:
    members = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, ProcessLookupError):
                pid = int(entry.name)
                if os.getsid(pid) == leader:
                    members.append(pid)
    return members
