# SPDX-License-Identifier: Apache-2.0
"""Runs a program to its end and passes on its output line by line; on Ctrl-C it ends the program and its children."""

import contextlib
import math
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from openmwaa.errors import SubprocessError

OnLine = Callable[[str], None]


@dataclass(frozen=True)
class Program:
    """A command, its working folder and its whole environment."""

    argv: tuple[str, ...]
    folder: Path
    environment: Mapping[str, str]
    grace_s: float = 20.0
    """Between SIGINT and SIGKILL: Terraform completes its running calls and writes its state."""


def run(program: Program, *, on_line: OnLine, on_error_line: OnLine | None = None, within_s: float = math.inf) -> int:
    """Run to the end and return the exit code; without `on_error_line`, standard error goes to `on_line` too.

    Raises:
        SubprocessError: it cannot be started, or does not end in time.
        KeyboardInterrupt: after the program and its children have ended.
    """
    try:
        process = subprocess.Popen(
            program.argv,
            cwd=program.folder,
            env=dict(program.environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if on_error_line is None else subprocess.PIPE,
            start_new_session=True,  # Ctrl-C reaches this process only, which sends one SIGINT
        )
    except OSError as error:
        raise SubprocessError(f"{program.argv[0]} cannot be started: {error}.") from error
    with process:
        try:
            _read(process, within_s, on_line, on_error_line or on_line)
            return process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            raise SubprocessError(f"`{' '.join(program.argv[:2])}` did not end within {within_s:g} s.") from None
        finally:
            _end(process, program.grace_s)


def _read(process: subprocess.Popen[bytes], within_s: float, on_line: OnLine, on_error_line: OnLine) -> None:
    deadline = time.monotonic() + within_s
    with selectors.DefaultSelector() as selector:
        for stream, receive in ((process.stdout, on_line), (process.stderr, on_error_line)):
            if stream is not None:
                selector.register(stream, selectors.EVENT_READ, _Lines(receive))
        while streams := selector.get_map():
            if (left := deadline - time.monotonic()) <= 0:
                raise subprocess.TimeoutExpired(process.args, within_s)
            ready = selector.select(timeout=min(left, 1.0))
            if not ready and process.poll() is not None:
                break  # a grandchild keeps the pipe open
            for key, _ in ready:
                data = os.read(key.fd, 64 * 1024)
                key.data.add(data)
                if not data:
                    selector.unregister(key.fileobj)
        for key in streams.values():
            key.data.add(b"")


class _Lines:
    """Splits the output of one stream into lines; an empty read ends the last one."""

    def __init__(self, receive: OnLine) -> None:
        self._receive = receive
        self._rest = b""

    def add(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        if not data and self._rest:
            lines, self._rest = [self._rest], b""
        for line in lines:
            self._receive(line.decode("utf-8", "replace"))


def _end(process: subprocess.Popen[bytes], grace_s: float) -> None:
    """Send SIGINT, wait, then SIGKILL the whole group; an ended process is left alone."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired, KeyboardInterrupt):
            process.communicate(timeout=grace_s)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=5)
