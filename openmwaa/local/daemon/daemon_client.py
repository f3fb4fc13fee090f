# SPDX-License-Identifier: Apache-2.0
"""Starting, asking and stopping the daemon, from a command."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from local_ecs.runtime.process_tree import ENVIRONMENT_MARK
from openmwaa.local.child_environment import child_environment
from openmwaa.local.daemon import orphans
from openmwaa.local.daemon.control_socket import call
from openmwaa.local.errors import DaemonError
from openmwaa.local.paths import LocalPaths

START_WITHIN_S = 120.0
STOP_WITHIN_S = 240.0
ANSWER_WITHIN_S = 10.0
_POLL_S = 0.1
_spawned: list[subprocess.Popen[bytes]] = []


@dataclass(frozen=True)
class DaemonOptions:
    """What a daemon is started with."""

    region: str
    airflow_python: Path
    airflow_ready: Path
    """A file that is there once the Airflow environment is complete; tasks wait for it."""
    emulator_python: Path

    @property
    def words(self) -> tuple[str, ...]:
        """The command line."""
        return (
            *("--region", self.region),
            *("--airflow-python", str(self.airflow_python), "--airflow-ready", str(self.airflow_ready)),
            *("--emulator-python", str(self.emulator_python)),
        )


def status(paths: LocalPaths) -> Mapping[str, Any] | None:
    """What the daemon says of itself; None when none lives.

    Raises:
        DaemonError: one lives and does not answer.
    """
    if not orphans.daemon_lives(paths):
        return None
    return asyncio.run(call(paths.control_socket, "GET", "/status"))


def block(paths: LocalPaths) -> int:
    """The address block of the daemon that is ready.

    Raises:
        DaemonError: it is gone, or does not answer.
    """
    if (known := status(paths)) is None:
        raise DaemonError(f"The daemon of {paths.name} ended; {paths.logs / 'daemon.log'} tells why.")
    return int(known["block"])


def order(paths: LocalPaths, what: str, *, within_s: float = 60.0) -> Mapping[str, Any]:
    """Tell the daemon `checkpoint`, `learn` or `stop`."""
    return asyncio.run(call(paths.control_socket, "POST", f"/{what}", within_s=within_s))


def ensure_running(paths: LocalPaths, options: DaemonOptions) -> bool:
    """Start a daemon unless one is ready with the same options; whether one was started.

    A daemon that hangs, or runs with an interpreter that is no longer the right one, is ended first.

    Raises:
        DaemonError: it does not start; the text is the daemon's own reason.
    """
    if orphans.daemon_lives(paths):
        with contextlib.suppress(DaemonError):
            known = _wait_ready(paths, None)
            if known.get("options") == list(options.words):
                return False
        stop(paths, spare_commands=True)
    process = _spawn(paths, options)
    _wait_ready(paths, process)
    return True


def stop(paths: LocalPaths, *, spare_commands: bool = False) -> None:
    """Stop the daemon orderly; one that does not end is killed, and what it leaves is swept.

    Who starts another at once spares what its own command runs beside it.

    Raises:
        DaemonError: processes are left.
    """
    deadline = time.monotonic() + STOP_WITHIN_S
    while orphans.daemon_lives(paths) and time.monotonic() < deadline:
        if not _hears_or_stops(paths):
            break
        time.sleep(_POLL_S)
    _kill(paths)
    _reap()
    if paths.root.is_dir():
        asyncio.run(orphans.sweep(paths, spare_commands=spare_commands))
    if left := orphans.remains(paths, spare_commands=spare_commands):
        raise DaemonError(f"Processes are left: {', '.join(f'{one.pid}' for one in left)}. End them with kill -9.")


def _spawn(paths: LocalPaths, options: DaemonOptions) -> subprocess.Popen[bytes]:
    paths.make()
    paths.daemon_error.unlink(missing_ok=True)
    package_folder = str(Path(__file__).resolve().parents[3])
    search_path = os.pathsep.join(filter(None, (package_folder, os.environ.get("PYTHONPATH"))))
    more = {ENVIRONMENT_MARK: paths.environment_id, "PYTHONPATH": search_path, "PYTHONUNBUFFERED": "1"}
    with (paths.logs / "daemon.log").open("ab") as log:
        process = subprocess.Popen(
            (sys.executable, "-m", "openmwaa.local.daemon.daemon", "--root", str(paths.root), *options.words),
            cwd=paths.root,
            env=child_environment(more),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    _spawned.append(process)
    return process


def _reap() -> None:
    """Let go of daemons of this process that have ended; the others outlive the command, as they should."""
    _spawned[:] = [process for process in _spawned if process.poll() is None]


def _wait_ready(paths: LocalPaths, process: subprocess.Popen[bytes] | None) -> Mapping[str, Any]:
    deadline = time.monotonic() + START_WITHIN_S
    while time.monotonic() < deadline:
        if process is not None and process.poll() is not None:
            _reap()
            raise DaemonError(_reason(paths, process.returncode))
        with contextlib.suppress(DaemonError):
            known = asyncio.run(call(paths.control_socket, "GET", "/status"))
            if known["phase"] == "ready":
                return known
        if process is None and not orphans.daemon_lives(paths):
            break
        time.sleep(_POLL_S)
    raise DaemonError(
        f"The daemon of {paths.name} is not ready after {START_WITHIN_S:g} s; {paths.logs / 'daemon.log'} tells why."
    )


def _reason(paths: LocalPaths, code: int) -> str:
    with contextlib.suppress(OSError):
        return paths.daemon_error.read_text().strip()
    return f"The daemon of {paths.name} ended with {code} while it started; {paths.logs / 'daemon.log'} tells why."


def _hears_or_stops(paths: LocalPaths) -> bool:
    """Tell the daemon to stop, again and again: one that has just begun does not listen yet.

    False when it listens and does not answer; True also while its door is not open, or shut to stop.
    """
    try:
        order(paths, "stop", within_s=ANSWER_WITHIN_S)
    except DaemonError:
        return not paths.control_socket.exists()
    return True


def _kill(paths: LocalPaths) -> None:
    """SIGKILL a daemon that still lives, by its noted pid."""
    if not orphans.daemon_lives(paths):
        return
    with contextlib.suppress(OSError, ValueError, KeyError, psutil.Error):
        pid = int(json.loads(paths.daemon.read_text())["pid"])
        process = psutil.Process(pid)
        # Its number may be another environment's daemon's by now.
        if {"openmwaa.local.daemon.daemon", str(paths.root)} <= set(process.cmdline()):
            process.send_signal(signal.SIGKILL)
            process.wait(timeout=10)
