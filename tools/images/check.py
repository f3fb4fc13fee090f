# SPDX-License-Identifier: Apache-2.0
"""Starts what was built: by the image's own entry point, as the user that the image names."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import psutil

from tools.images.buildah import Buildah
from tools.images.errors import ImageError

_STARTS_WITHIN_S: Final = 60
_ENDS_WITHIN_S: Final = 30
_RUN: Final = ("run", "--isolation", "chroot")


def check_airflow(buildah: Buildah, image: str) -> list[str]:
    """Say the entry point's words and import Airflow; return what was seen.

    Raises:
        ImageError: something is not as a task definition expects.
    """
    with _container(buildah, image) as container:
        entry = _entry_point(buildah, image)
        code, said = buildah.ask(*_RUN, container, "--", *entry, "nothing-of-ours")
        _expect("is not a component" in said and code != 0, f"the entry point answers a wrong word with {code}: {said}")
        code, said = buildah.ask(*_RUN, container, "--", *entry, "health", "scheduler")
        told = "needs the environment variables" in said and "Traceback" not in said
        _expect(code != 0 and told, f"a scheduler without settings ends its health check with {code}: {said}")
        version = buildah.call(*_RUN, container, "--", "airflow", "version").splitlines()[-1]
        owner = buildah.call(*_RUN, container, "--", "id", "-u").splitlines()[-1]
        _expect(owner == "50000", f"tasks run as {owner}, not as 50000")
        check = "import worker_agent.bootstep, openmwaa_runtime.components, celery, asyncpg; print('imports')"
        buildah.call(*_RUN, container, "--", "python", "-c", check)
    return [f"Airflow {version} as uid {owner}", "health and wrong words are answered", "the worker agent is imported"]


def check_scaler(buildah: Buildah, image: str) -> list[str]:
    """Start the scaler with the least it takes, ask it how it is, and stop it; return what was seen.

    Raises:
        ImageError: it does not start, answer or end.
    """
    with _container(buildah, image) as container:
        entry = _entry_point(buildah, image)
        code, said = buildah.ask(*_RUN, container, "--", *entry)
        _expect(code == 2 and "SCALER_CONFIG" in said, f"without settings it ends with {code}: {said}")  # noqa: PLR2004
        port = _free_port()
        variables = {
            "SCALER_CONFIG": json.dumps(_least(port)),
            "SCALER_SIGNING_SEED": "a seed",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        }
        words = [f"--env={name}={value}" for name, value in variables.items()]
        process = subprocess.Popen(
            buildah.command(*_RUN, *words, container, "--", *entry), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        with process:
            try:
                health = _healthy(process, port)
                _end(process)
            finally:
                process.kill()
    return ["without settings it says which are missing", f"/healthz answers {health}", "SIGTERM ends it"]


def _least(port: int) -> dict[str, Any]:
    queue = "http://127.0.0.1:9/123456789012/default"
    fleet = {"name": "default", "services": ["worker-default"], "queues": {"default": queue}}
    return {
        "version": 2,
        "environment": "image",
        "region": "us-east-1",
        "cluster": "openmwaa-image",
        "http_port": port,
        "fleets": [fleet | {"slots": 5, "min": 1, "max": 5}],
    }


def _healthy(process: subprocess.Popen[bytes], port: int) -> int:
    deadline = time.monotonic() + _STARTS_WITHIN_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            said = process.stdout.read().decode("utf-8", "replace") if process.stdout else ""
            raise ImageError(f"the scaler ended with {process.returncode}: {said}")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=2) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            with error:  # it looked in vain for AWS: it answers, and says so
                return error.code
        except OSError:
            time.sleep(0.2)
    raise ImageError(f"the scaler did not answer within {_STARTS_WITHIN_S} s")


def _end(process: subprocess.Popen[bytes]) -> None:
    """Send SIGTERM to the scaler itself, the innermost process, as ECS does."""
    within = psutil.Process(process.pid).children(recursive=True)
    _expect(bool(within), "buildah runs no process")
    within[-1].send_signal(signal.SIGTERM)
    try:
        process.wait(_ENDS_WITHIN_S)
    except subprocess.TimeoutExpired as error:
        raise ImageError(f"the scaler did not end within {_ENDS_WITHIN_S} s of SIGTERM") from error
    _expect(process.returncode == 0, f"after SIGTERM the scaler ended with {process.returncode}")


@contextmanager
def _container(buildah: Buildah, image: str) -> Iterator[str]:
    container = buildah.call("from", image).splitlines()[-1]
    try:
        yield container
    finally:
        buildah.call("rm", container)


def _entry_point(buildah: Buildah, image: str) -> list[str]:
    words: list[str] = json.loads(buildah.call("inspect", "--type", "image", image))["OCIv1"]["config"]["Entrypoint"]
    return words


def _expect(condition: bool, otherwise: str) -> None:
    if not condition:
        raise ImageError(otherwise)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
