# SPDX-License-Identifier: Apache-2.0
"""Runs a program to its end and passes on its output line by line; on Ctrl-C it ends the program and its children."""

import contextlib
import math
import os
import selectors
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

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
    stdin: str = field(default="", repr=False)
    """Its standard input, such as a password: every user of the machine can read arguments."""
    on_interrupt: Callable[[], None] | None = None
    """Called at Ctrl-C, before the program is ended."""


def run(program: Program, *, on_line: OnLine, on_error_line: OnLine | None = None, within_s: float = math.inf) -> int:
    """Run to the end and return the exit code; without `on_error_line`, standard error goes to `on_line` too.

    Raises:
        SubprocessError: it cannot be started, or does not end in time.
        KeyboardInterrupt: after the program and its children have ended.
    """
    start = _UninterruptedStart()
    try:
        process = subprocess.Popen(
            program.argv,
            cwd=program.folder,
            env=dict(program.environment),
            stdin=subprocess.PIPE if program.stdin else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if on_error_line is None else subprocess.PIPE,
            start_new_session=True,  # Ctrl-C reaches this process only, which sends one SIGINT
        )
    except OSError as error:
        start.end()
        raise SubprocessError(f"{program.argv[0]} cannot be started: {error}.") from error
    with process:
        try:
            start.end()
            _write(process, program.stdin)
            _read(process, within_s, on_line, on_error_line or on_line)
            return process.wait(timeout=5)
        except KeyboardInterrupt:
            if program.on_interrupt:
                program.on_interrupt()
            raise
        except subprocess.TimeoutExpired:
            raise SubprocessError(f"`{' '.join(program.argv[:2])}` did not end within {within_s:g} s.") from None
        finally:
            _end(process, program.grace_s)


@contextlib.contextmanager
def termination_as_interrupt() -> Iterator[None]:
    """Treat SIGTERM, and the end of the terminal without `nohup`, like Ctrl-C."""

    def interrupt(_number: int, _frame: Any) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    taken = [n for n in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(n) is not signal.SIG_IGN]
    before = {number: signal.signal(number, interrupt) for number in taken}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _UninterruptedStart:
    """Delays Ctrl-C until the program has started: without its process id it could not be ended."""

    def __init__(self) -> None:
        self._interrupted = False
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        in_main_thread = threading.current_thread() is threading.main_thread()
        self._before = {n: handler for n in numbers if in_main_thread and callable(handler := signal.getsignal(n))}
        for number in self._before:
            signal.signal(number, self._note)

    def end(self) -> None:
        """Restore the handlers; raise KeyboardInterrupt if a signal came."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if self._interrupted:
            raise KeyboardInterrupt

    def _note(self, _number: int, _frame: Any) -> None:
        self._interrupted = True


def _write(process: subprocess.Popen[bytes], text: str) -> None:
    """Write the standard input, which is shorter than the buffer of a pipe, and close it."""
    if process.stdin is not None:
        with contextlib.suppress(BrokenPipeError), process.stdin as stream:
            stream.write(text.encode())
        process.stdin = None


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
