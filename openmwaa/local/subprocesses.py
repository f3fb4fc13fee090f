# SPDX-License-Identifier: Apache-2.0
"""Runs a program to its end, line by line, and ends it with all its children when the user says Ctrl-C."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from local_ecs.runtime.process_tree import CONTAINER_MARK, ENVIRONMENT_MARK
from openmwaa.local.errors import LocalError

COMMAND = "command"
"""What programs of a command are marked with, so that the next command finds what a killed one left."""


@dataclass(frozen=True)
class Program:
    """A command, where it runs and with which environment."""

    argv: tuple[str, ...]
    folder: Path
    environment: Mapping[str, str]
    environment_id: str = ""
    grace_s: float = 20.0
    """Between SIGINT and SIGKILL: Terraform, told to stop, finishes the calls under way and writes its state."""


def run(program: Program, *, within_s: float, on_line: Callable[[str], None]) -> int:
    """Run to the end and return the exit code; standard output and error arrive as one.

    Raises:
        LocalError: it cannot be started, or does not end in time.
        KeyboardInterrupt: after the program and its children have ended.
    """
    marks = {ENVIRONMENT_MARK: program.environment_id, CONTAINER_MARK: COMMAND} if program.environment_id else {}
    try:
        process = subprocess.Popen(
            program.argv,
            cwd=program.folder,
            env={**program.environment, **marks},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C reaches us alone, and we tell it once
        )
    except OSError as error:
        raise LocalError(f"{program.argv[0]} cannot be started: {error}.") from error
    with process:
        try:
            _read(process, within_s, on_line)
            return process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            raise LocalError(f"`{' '.join(program.argv[:2])}` did not end within {within_s:g} s.") from None
        finally:
            _end(process, program.grace_s)


def _read(process: subprocess.Popen[bytes], within_s: float, on_line: Callable[[str], None]) -> None:
    deadline = time.monotonic() + within_s
    rest = b""
    assert process.stdout is not None  # noqa: S101 - PIPE above
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while True:
            if (left := deadline - time.monotonic()) <= 0:
                raise subprocess.TimeoutExpired(process.args, within_s)
            if not selector.select(timeout=min(left, 1.0)):
                if process.poll() is not None:
                    return  # a grandchild keeps the pipe open
                continue
            data = os.read(process.stdout.fileno(), 64 * 1024)
            if not data:
                break
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                on_line(line.decode("utf-8", "replace"))
    if rest:
        on_line(rest.decode("utf-8", "replace"))


def _end(process: subprocess.Popen[bytes], grace_s: float) -> None:
    """SIGINT and time to finish, then SIGKILL of the whole group; nothing when it has ended."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired, KeyboardInterrupt):
            process.communicate(timeout=grace_s)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=5)
