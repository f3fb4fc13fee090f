# SPDX-License-Identifier: Apache-2.0
"""Finds the AWS emulators (ministack, moto, LocalStack), and runs them for tests and for `make verify`."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from openmwaa.local.install import venvs
from openmwaa.local.services.emulator import SERVER

CA_VARIABLES = ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
LOCALSTACK_PYTHON = "3.13"
LOCALSTACK_SERVICES = ("cloudwatch", "iam", "kms", "logs", "s3", "secretsmanager", "sqs", "ssm", "sts")
UP_WITHIN_S = 240.0


def find_emulator() -> Path:
    """The virtual environment that holds ministack: $OPENMWAA_EMULATOR, else the product's own, installed if need be.

    Raises:
        InstallError: it could not be installed.
    """
    if chosen := os.environ.get("OPENMWAA_EMULATOR"):
        return Path(chosen)
    return venvs.ensure(venvs.venv_of("emulator"), progress=print).parent.parent


def child_environment(**extra: str) -> dict[str, str]:
    """The environment of a child that talks to emulators: dummy credentials, no certificate bundle."""
    kept = {name: value for name, value in os.environ.items() if name not in CA_VARIABLES}
    proxies = {name for name in kept if name.lower() in {"http_proxy", "https_proxy", "all_proxy"}}
    aws = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
    return {name: value for name, value in kept.items() if name not in proxies} | aws | extra


def free_port() -> int:
    """A TCP port of 127.0.0.1 on which no process listens now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def running_emulator(environment: Path, *, services: str = "logs,rds,s3,sqs,ssm,sts") -> Iterator[str]:
    """Run ministack with some services (all: an empty text), yield its URL, end it."""
    port = free_port()
    settings = {
        "GATEWAY_PORT": str(port),
        "BIND_HOST": "127.0.0.1",
        "MINISTACK_ACCOUNT_ID": "123456789012",
        # Where there is a Docker engine it would start databases of its own.
        "DOCKER_HOST": "unix:///nonexistent",
        **({"SERVICES": services} if services else {}),
    }
    with _running(
        [str(environment / "bin" / "python"), "-P", str(SERVER)], port, settings, health="/_ministack/health"
    ) as url:
        yield url


@contextlib.contextmanager
def running_moto() -> Iterator[str]:
    """Run moto's server out of a virtual environment of its own, yield its URL, end it."""
    environment = venvs.ensure(venvs.venv_of("moto"), progress=print).parent.parent
    port = free_port()
    command = [str(environment / "bin" / "moto_server"), "-H", "127.0.0.1", "-p", str(port)]
    with _running(command, port, {}, health="/moto-api/") as url:
        yield url


@contextlib.contextmanager
def running_localstack(python: Path, *, services: Sequence[str] = LOCALSTACK_SERVICES) -> Iterator[str]:
    """Run LocalStack's last community release out of a virtual environment of a Python 3.13, yield its URL, end it."""
    venv = replace(venvs.venv_of("localstack"), python=python, version=LOCALSTACK_PYTHON)
    environment = venvs.ensure(venv, progress=print).parent.parent
    port = free_port()
    settings = {
        "GATEWAY_LISTEN": f"127.0.0.1:{port}",
        # Both are parts of queue URLs; the default is a name, which needs DNS.
        "LOCALSTACK_HOST": f"127.0.0.1:{port}",
        "SQS_ENDPOINT_STRATEGY": "path",
        "SERVICES": ",".join(services),
        # The first call of a service would wait for its import, longer than the scaler waits for an answer.
        "EAGER_SERVICE_LOADING": "1",
        "FILESYSTEM_ROOT": "filesystem",
        "OVERRIDE_IN_DOCKER": "0",
        "DOCKER_HOST": "unix:///nonexistent",
        "DNS_ADDRESS": "0",
        "DISABLE_EVENTS": "1",
        "SKIP_SSL_CERT_DOWNLOAD": "1",
    }
    command = [str(environment / "bin" / "python"), "-m", "localstack.runtime.main"]
    # Its own end takes 5 s of CPU, and it has no state to save.
    with _running(command, port, settings, health="/_localstack/health", end=signal.SIGKILL) as url:
        yield url


@contextlib.contextmanager
def _running(
    command: Sequence[str], port: int, settings: Mapping[str, str], *, health: str, end: int = signal.SIGTERM
) -> Iterator[str]:
    url = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory(prefix="emulator-") as folder:
        own = dict.fromkeys(("HOME", "TMPDIR", "XDG_CACHE_HOME"), folder)
        with (Path(folder) / "log").open("wb") as log:
            process = subprocess.Popen(
                [*_end_with_parent(), *command],
                env=child_environment(**settings, **own),
                cwd=folder,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            _wait_until_up(url + health, process)
            yield url
        finally:
            process.send_signal(end)
            try:
                process.wait(120)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(120)


def _end_with_parent() -> tuple[str, ...]:
    """The start of a command that Linux ends when the tests' process is killed."""
    return (found, "--pdeathsig", "KILL") if (found := shutil.which("setpriv")) else ()


def _wait_until_up(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + UP_WITHIN_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args!r} ended with {process.returncode}")
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=2):
            return
        time.sleep(0.05)
    raise RuntimeError(f"nothing answered at {url} within {UP_WITHIN_S:g} s")
