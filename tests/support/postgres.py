# SPDX-License-Identifier: Apache-2.0
"""A PostgreSQL 18 for tests, in a temporary folder: every login needs its password, every statement is logged."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from openmwaa.local.postgres import _Owner, _programs

SUPERUSER_PASSWORD = "superuser-password"
NOBODY = 65534


@dataclass(frozen=True)
class Server:
    host: str
    port: int
    log: Path


@contextlib.contextmanager
def running_postgres() -> Iterator[Server]:
    """The server; run as `nobody` by root, also from a checkout that `nobody` cannot reach."""
    programs = _programs(_Owner.here())
    with tempfile.TemporaryDirectory(prefix="openmwaa-pg-", dir="/var/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        data, user = folder / "data", NOBODY if os.getuid() == 0 else None
        data.mkdir(mode=0o700)
        password = folder / "password"
        password.write_text(SUPERUSER_PASSWORD)
        if user is not None:
            shutil.chown(data, user, user)
        options = ["-U", "postgres", "-A", "scram-sha-256", f"--pwfile={password}", "--no-sync", "--locale=C.UTF-8"]
        groups: list[str | int] | None = None if user is None else []
        subprocess.run(
            [programs / "initdb", "-D", data, *options],
            check=True,
            capture_output=True,
            timeout=120,
            user=user,
            group=user,
            extra_groups=groups,
            cwd="/",
        )
        port = _free_port()
        settings = ["-c", "fsync=off", "-c", "log_statement=all", "-h", "127.0.0.1", "-p", str(port), "-k", ""]
        log = folder / "log"
        with log.open("wb") as output:
            server = subprocess.Popen(
                [programs / "postgres", "-D", data, *settings],
                stdout=output,
                stderr=output,
                user=user,
                group=user,
                extra_groups=groups,
                cwd="/",
            )
        try:
            _wait(port, server)
            yield Server("127.0.0.1", port, log)
        finally:
            server.send_signal(signal.SIGINT)
            try:
                server.wait(30)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait(10)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait(port: int, server: "subprocess.Popen[bytes]") -> None:
    end = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            if time.monotonic() > end or server.poll() is not None:
                raise
            time.sleep(0.05)
        else:
            return
