# SPDX-License-Identifier: Apache-2.0
"""Finds the AWS emulator (ministack) and runs one for tests."""

import contextlib
import os
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path

from openmwaa.local import venvs

CA_VARIABLES = ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


def find_emulator() -> Path:
    """The virtual environment that holds ministack: $OPENMWAA_EMULATOR, else the product's own, installed if need be.

    Raises:
        InstallError: it could not be installed.
    """
    if chosen := os.environ.get("OPENMWAA_EMULATOR"):
        return Path(chosen)
    return venvs.ensure(venvs.emulator_venv(), say=print).parent.parent


def child_environment(**extra: str) -> dict[str, str]:
    """The environment of a child that talks to emulators: dummy credentials, no certificate bundle."""
    kept = {name: value for name, value in os.environ.items() if name not in CA_VARIABLES}
    proxies = {name for name in kept if name.lower() in {"http_proxy", "https_proxy", "all_proxy"}}
    aws = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
    return {name: value for name, value in kept.items() if name not in proxies} | aws | extra


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def running_emulator(environment: Path) -> Iterator[str]:
    """Run ministack, yield its URL, end it."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory(prefix="ministack-") as folder:
        settings: Mapping[str, str] = {
            "GATEWAY_PORT": str(port),
            "BIND_HOST": "127.0.0.1",
            "MINISTACK_ACCOUNT_ID": "123456789012",
            "SERVICES": "logs,sqs,ssm,sts",
            "TMPDIR": folder,
        }
        with (Path(folder) / "log").open("wb") as log:
            process = subprocess.Popen(
                [environment / "bin" / "ministack"],
                env=child_environment(**settings),
                cwd=folder,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            _wait_until_up(url, process)
            yield url
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)


def _wait_until_up(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"ministack ended with {process.returncode}")
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/_ministack/health", timeout=2):
            return
        time.sleep(0.05)
    raise RuntimeError("ministack was not up within 60 s")
