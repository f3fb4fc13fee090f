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
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from openmwaa.local.services.postgres import _Owner, _programs

SUPERUSER_PASSWORD = "superuser-password"
UNPRIVILEGED_UID = 65534
READY = b"ready to accept connections"


@dataclass
class Server:
    """One server; it can be stopped and started again, also as what a failover makes of it."""

    host: str
    port: int
    log: Path
    data: Path
    programs: Path
    _process: "subprocess.Popen[bytes] | None" = None

    def start(self, *settings: str) -> None:
        """Start it with more `-c` settings, and wait until it accepts connections; in recovery, until it listens."""
        before = self.log.stat().st_size if self.log.exists() else 0
        fixed = ["fsync=off", "log_statement=all", f"listen_addresses={self.host}", f"port={self.port}"]
        options = [word for setting in (*fixed, "unix_socket_directories=", *settings) for word in ("-c", setting)]
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                [self.programs / "postgres", "-D", self.data, *options], stdout=output, stderr=output, **_unprivileged()
            )
        _wait("listens", partial(_listens, self.host, self.port), self._process)
        if not (self.data / "standby.signal").exists():
            _wait("accepts connections", lambda: READY in self.log.read_bytes()[before:], self._process)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop it; SIGQUIT is a crash of which nothing is left behind."""
        if self._process is None:
            return
        self._process.send_signal(how)
        try:
            self._process.wait(120)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(120)
        self._process = None

    def standby(self, *, on: bool) -> None:
        """Let the next start be in recovery, as a replica is; or no longer."""
        mark = self.data / "standby.signal"
        if on:
            mark.touch()
        else:
            mark.unlink()


@contextlib.contextmanager
def running_postgres(host: str = "127.0.0.1", port: int | None = None) -> Iterator[Server]:
    """The server. Root runs it as user 65534, which may have no access to the checkout."""
    programs = _programs(_Owner.here())
    with tempfile.TemporaryDirectory(prefix="openmwaa-pg-", dir="/var/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        data = folder / "data"
        data.mkdir(mode=0o700)
        password = folder / "password"
        password.write_text(SUPERUSER_PASSWORD)
        if os.getuid() == 0:
            shutil.chown(data, UNPRIVILEGED_UID, UNPRIVILEGED_UID)
        options = ["-U", "postgres", "-A", "scram-sha-256", f"--pwfile={password}", "--no-sync", "--locale=C.UTF-8"]
        subprocess.run(
            [programs / "initdb", "-D", data, *options], check=True, capture_output=True, timeout=280, **_unprivileged()
        )
        server = Server(host, port or _free_port(), folder / "log", data, programs)
        try:
            server.start()
            yield server
        finally:
            server.stop()


def _unprivileged() -> dict[str, Any]:
    if os.getuid() != 0:
        return {"cwd": "/"}
    return {"cwd": "/", "user": UNPRIVILEGED_UID, "group": UNPRIVILEGED_UID, "extra_groups": []}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _listens(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), 1).close()
    except OSError:
        return False
    return True


def _wait(what: str, condition: Callable[[], bool], server: "subprocess.Popen[bytes]") -> None:
    end = time.monotonic() + 60
    while not condition():
        assert server.poll() is None, f"PostgreSQL ended before it {what}"
        assert time.monotonic() < end, f"PostgreSQL never {what}"
        time.sleep(0.05)
