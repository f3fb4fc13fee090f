# SPDX-License-Identifier: Apache-2.0
"""Starts, calls and stops the daemon, from a command."""

import asyncio
import contextlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Mapping
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import psutil

from local_ecs.runtime.process_tree import CONTAINER_MARK, ENVIRONMENT_MARK
from openmwaa.local.child_environment import COMMAND, DAEMON, child_environment, python_path
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
    """What the daemon of an environment needs."""

    region: str
    airflow_python: Path
    airflow_ready: Path
    """A file that exists once Airflow is installed; tasks wait for it."""
    emulator_python: Path
    publish: int = 0
    """The port of the web server on every interface; 0: none."""

    @property
    def arguments(self) -> tuple[str, ...]:
        """The daemon's arguments after `--root FOLDER`: the fields in their order."""
        return tuple(map(str, astuple(self)))


def status(paths: LocalPaths) -> Mapping[str, Any] | None:
    """The daemon's status; None if none runs.

    Raises:
        DaemonError: a daemon runs and does not answer.
    """
    if not orphans.daemon_is_running(paths):
        return None
    return asyncio.run(call(paths.control_socket, "GET", "/status"))


def block(paths: LocalPaths) -> int:
    """The address block of the running daemon.

    Raises:
        DaemonError: it has ended, or does not answer.
    """
    if (known := status(paths)) is None:
        raise DaemonError(f"The daemon of {paths.name} has ended; see {paths.daemon_log}.")
    return int(known["block"])


def published(paths: LocalPaths) -> int:
    """The port that a running daemon publishes; 0: none."""
    with contextlib.suppress(DaemonError):  # it hangs, and will be replaced
        if known := status(paths):
            return int(known["options"][-1])
    return 0


def airflow_environment(paths: LocalPaths) -> Mapping[str, str] | None:
    """The variables of Airflow's components with their secrets; None if no daemon runs.

    Raises:
        DaemonError: they do not run.
    """
    if not orphans.daemon_is_running(paths):
        return None
    return asyncio.run(call(paths.control_socket, "GET", "/airflow_environment"))


def post(paths: LocalPaths, action: str, *, within_s: float = 60.0) -> Mapping[str, Any]:
    """Call the daemon's action `refresh_hosts` or `stop`."""
    return asyncio.run(call(paths.control_socket, "POST", f"/{action}", within_s=within_s))


def ensure_running(paths: LocalPaths, options: DaemonOptions) -> bool:
    """Start a daemon unless one is ready with the same options; return whether one was started.

    A daemon that hangs, or that has other options, is stopped first.

    Raises:
        DaemonError: it does not start; the text has the daemon's reason.
    """
    if orphans.daemon_is_running(paths):
        with contextlib.suppress(DaemonError):
            known = _wait_ready(paths, None)
            if known.get("options") == list(options.arguments):
                return False
        stop(paths, spare=(COMMAND,))
    process = _spawn(paths, options)
    _wait_ready(paths, process)
    return True


def stop(paths: LocalPaths, *, spare: Collection[str] = ()) -> None:
    """Stop the daemon; kill it if it does not end, and end the processes that it leaves.

    Processes whose `CONTAINER_MARK` is in `spare` keep running.

    Raises:
        DaemonError: processes remain.
    """
    deadline = time.monotonic() + STOP_WITHIN_S
    while orphans.daemon_is_running(paths) and time.monotonic() < deadline:
        if not _stops(paths):
            break
        time.sleep(_POLL_S)
    _kill(paths)
    _reap()
    if paths.root.is_dir():
        asyncio.run(orphans.end_orphans(paths, spare=spare))
    if left := orphans.remaining(paths, spare=spare):
        pids = ", ".join(str(process.pid) for process in left)
        raise DaemonError(f"Processes remain: {pids}. End them with kill -9.")


def _spawn(paths: LocalPaths, options: DaemonOptions) -> subprocess.Popen[bytes]:
    paths.make()
    paths.daemon_error.unlink(missing_ok=True)
    marks = {ENVIRONMENT_MARK: paths.environment_id, CONTAINER_MARK: DAEMON}
    more = {**marks, "PYTHONPATH": python_path(), "PYTHONUNBUFFERED": "1"}
    with paths.daemon_log.open("ab") as log:
        process = subprocess.Popen(
            (sys.executable, "-m", "openmwaa.local.daemon.daemon", "--root", str(paths.root), *options.arguments),
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
    """Forget the ended daemons of this process; the others keep running after the command."""
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
        if process is None and not orphans.daemon_is_running(paths):
            break
        time.sleep(_POLL_S)
    raise DaemonError(f"The daemon of {paths.name} is not ready after {START_WITHIN_S:g} s; see {paths.daemon_log}.")


def _reason(paths: LocalPaths, code: int) -> str:
    with contextlib.suppress(OSError):
        return paths.daemon_error.read_text().strip()
    return f"The daemon of {paths.name} ended with exit code {code} during its start; see {paths.daemon_log}."


def _stops(paths: LocalPaths) -> bool:
    """Request a stop; the caller repeats it, because a daemon that has just started does not listen yet.

    Returns False if the socket exists and the daemon does not answer.
    """
    try:
        post(paths, "stop", within_s=ANSWER_WITHIN_S)
    except DaemonError:
        return not paths.control_socket.exists()
    return True


def _kill(paths: LocalPaths) -> None:
    """SIGKILL a daemon that still runs, by its recorded process id."""
    if not orphans.daemon_is_running(paths):
        return
    with contextlib.suppress(OSError, ValueError, KeyError, psutil.Error):
        pid = int(json.loads(paths.daemon.read_text())["pid"])
        process = psutil.Process(pid)
        # By now the process id may belong to the daemon of another environment.
        if {"openmwaa.local.daemon.daemon", str(paths.root)} <= set(process.cmdline()):
            process.send_signal(signal.SIGKILL)
            process.wait(timeout=10)
