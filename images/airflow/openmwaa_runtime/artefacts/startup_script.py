# SPDX-License-Identifier: Apache-2.0
"""Runs the startup script before a component of Airflow, and keeps the variables that it exports.

bash runs it as in MWAA: with `source`, so that exported variables can be read when it ends. It gets no variable of
openmwaa and none that connects the components, because some are passwords and a script may print all.
"""

import os
import shlex
import signal
import subprocess
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path

from openmwaa_runtime.errors import StartupError
from openmwaa_runtime.settings.airflow_2 import AIRFLOW_2_OWN
from openmwaa_runtime.settings.connections import CONNECTIONS

WITHIN_S = 300.0
"""MWAA's limit."""
COMPONENTS = {"worker": "worker", "web-server": "webserver", "execution-api": "webserver"}
"""MWAA's names; the others are `scheduler`."""
_HIDDEN = ("OPENMWAA_", "WORKER_AGENT_", *sorted({setting.variable for setting in (*CONNECTIONS, *AIRFLOW_2_OWN)}))
RESERVED = (*_HIDDEN, "AWS_", "ECS_", "AIRFLOW_HOME", "MWAA_AIRFLOW_COMPONENT")
"""Starts of variables that a script cannot change; it does not see the first ones."""
_OF_BASH = frozenset({"_", "SHLVL", "PWD", "OLDPWD", "BASH_ENV"})
_KEPT_LINES = 1000
# The trap writes the variables also if the script calls `exit`, the last line if the script has set a trap of its own.
# A function has the file's name, because the script may change "$1"; `env` by its path, because it may change PATH.
_SOURCE = """
_openmwaa_export() {{ /usr/bin/env -0 > {file}; }}
trap _openmwaa_export EXIT
. "$0"
set -- $? && _openmwaa_export && exit $1
"""


class StartupScriptError(StartupError):
    """The script failed; its output is in its log stream."""

    exit_status = 5


def run(
    script: Path,
    component: str,
    environ: Mapping[str, str],
    *,
    log: Callable[[str], None],
    write_log: Callable[[list[str]], None],
    within_s: float = WITHIN_S,
) -> dict[str, str]:
    """Run the script and return the variables that it has set.

    Raises:
        StartupScriptError: it ended with another status than 0, or not in time.
    """
    variables = {name: value for name, value in environ.items() if not name.startswith(_HIDDEN)}
    variables["MWAA_AIRFLOW_COMPONENT"] = COMPONENTS.get(component, "scheduler")
    lines: deque[str] = deque(maxlen=_KEPT_LINES)
    with tempfile.TemporaryDirectory(prefix="openmwaa-startup-") as folder:
        exported = Path(folder, "variables")
        source = _SOURCE.format(file=shlex.quote(str(exported)))
        problem = _run(("bash", "-c", source, str(script)), variables, lines, log, within_s)
        found = _read(exported) if problem is None else {}
    changed = {name: value for name, value in found.items() if variables.get(name) != value}
    refused = sorted(name for name in changed if name.startswith(RESERVED))
    for name in refused:
        lines.append(f"{name} is reserved: its value stays")
        log(lines[-1])
    lines.append(f"the startup script {problem or 'has succeeded'}")
    log(lines[-1])
    write_log(list(lines.copy()))  # one step, since a process in the background may still write
    if problem:
        raise StartupScriptError(f"the startup script {problem}; {component} does not start")
    return {name: value for name, value in changed.items() if name not in refused}


def _run(
    command: tuple[str, ...],
    variables: Mapping[str, str],
    lines: deque[str],
    log: Callable[[str], None],
    within_s: float,
) -> str | None:
    """Run bash; return how it failed."""
    try:
        process = subprocess.Popen(
            command,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        return f"cannot be started: {error}"

    def read() -> None:
        assert process.stdout is not None  # noqa: S101 - it is a pipe
        with process.stdout as stream:
            for line in stream:
                lines.append(line.decode(errors="backslashreplace").rstrip("\r\n"))
                log(f"startup script: {lines[-1]}")

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        status = process.wait(within_s)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return f"did not end within {within_s:g} s"
    finally:
        reader.join(1.0)  # a process in the background may keep the pipe open
    return f"ended with status {status}" if status else None


def _read(file: Path) -> dict[str, str]:
    entries = file.read_bytes().split(b"\0") if file.exists() else []
    pairs = (entry.decode(errors="surrogateescape").partition("=") for entry in entries if b"=" in entry)
    return {name: value for name, _, value in pairs if name.isidentifier() and name not in _OF_BASH}
