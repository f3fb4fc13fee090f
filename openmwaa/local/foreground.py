# SPDX-License-Identifier: Apache-2.0
"""`openmwaa local up --foreground`: the main process of a container."""

import re
import signal
from collections.abc import Callable

from openmwaa.local import logs
from openmwaa.local.daemon.orphans import daemon_is_running
from openmwaa.local.down import down
from openmwaa.local.errors import DaemonError
from openmwaa.local.paths import LocalPaths
from openmwaa.progress import Progress
from openmwaa.subprocesses import termination_as_interrupt

# All lines of workers and scaler, and warnings of Airflow's other components: a DAG processor writes 2 lines a second.
_SHOWN = re.compile(
    r"(worker-[^:]+|scaler): |(?!postgresql|emulator|ecs-events)"
    r".*(\[(warning|error|critical) *\]|\} (WARNING|ERROR|CRITICAL) - |Traceback)"  # of Airflow 3, of Airflow 2
)
_DEPRECATION = re.compile(r"\[py\.warnings\]|\{warnings\.py:")
_RESTARTED_WITHIN = 100
"""Passes over the logs: another `up` may start a new daemon."""


def run_until_stopped(paths: LocalPaths, *, progress: Progress, begin: Callable[[], object] = lambda: None) -> None:
    """Print new log lines that matter to an author until Ctrl-C or SIGTERM, then stop the environment; its data stays.

    `begin` is called first, where a signal stops the environment already.

    Raises:
        DaemonError: the daemon ended for another reason.
    """
    absent = 0
    with termination_as_interrupt():
        try:
            begin()
            for line in logs.follow_all(paths.logs):
                if line is not None:
                    if _SHOWN.match(line) and not _DEPRECATION.search(line):
                        progress(line)
                    continue
                absent = 0 if daemon_is_running(paths) else absent + 1
                if absent > _RESTARTED_WITHIN:
                    raise DaemonError(f"The daemon of {paths.name} has ended; see {paths.daemon_log}.")
        except KeyboardInterrupt:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the stop takes up to a minute
            interrupted = signal.signal(signal.SIGINT, signal.SIG_IGN)
            try:
                down(paths, delete_data=False, progress=progress)
            finally:
                signal.signal(signal.SIGINT, interrupted)
            progress(f"{paths.name} is stopped. Its data is kept.")
