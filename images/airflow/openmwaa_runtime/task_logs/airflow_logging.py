# SPDX-License-Identifier: Apache-2.0
"""Airflow 3's `[logging] logging_config_class`: task logs go to `writer` and are read from their destination.

Airflow's supervisor writes each line of a task to a file below `base_log_folder` and gives it to a `RemoteLogIO`. Here
the file itself is replaced, so there is no local copy: a full disk stops no task, and nothing is left to delete.
"""

import atexit
import copy
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from airflow.config_templates.airflow_local_settings import BASE_LOG_FOLDER, DEFAULT_LOGGING_CONFIG
from airflow.configuration import conf
from airflow.sdk import log as airflow_log
from airflow.utils.log.file_task_handler import FileTaskHandler

from openmwaa_runtime.task_logs.store import TaskLogStore
from openmwaa_runtime.task_logs.stream_name import stream_name
from openmwaa_runtime.task_logs.writer import FLUSH_WITHIN_S, LogWriter


class TaskLogFile:
    """What Airflow opens as the file of a log. It has the name that the file would have."""

    def __init__(self, writer: LogWriter, path: str) -> None:
        self.name = str(Path(BASE_LOG_FOLDER, path.lstrip("/")))
        self.closed = False
        self._writer, self._stream = writer, stream_name(path)

    def open(self, *_: object, **__: object) -> "TaskLogFile":
        """Return the open file."""
        return self

    def fileno(self) -> int:
        """Return no file descriptor; Airflow compares it with that of standard output."""
        return -1

    def write(self, line: bytes) -> int:
        """Take one line."""
        self._writer.write(self._stream, line)
        if self.closed:
            self._writer.finish(self._stream, 0.0)
        return len(line)

    def flush(self) -> None:
        """Do nothing: the writer sends soon."""

    def close(self) -> None:
        """End the log without a wait."""
        self.closed = True
        self._writer.finish(self._stream, 0.0)


class TaskLogs(TaskLogStore):
    """Airflow's `RemoteLogStreamIO`, without `read`, which Airflow calls only if there is no `stream`."""

    processors: tuple[Any, ...] = ()

    def upload(self, path: os.PathLike[str] | str, ti: Any = None) -> None:
        """Send the rest of a log: a task's process waits for that, a triggerer does not."""
        within_s = 0.0 if _is("triggerer") else FLUSH_WITHIN_S
        self.writer.finish(stream_name(os.fspath(path)), within_s)

    def stream(self, relative_path: str, ti: Any) -> tuple[list[str], list[Iterator[str]]]:
        """Return where the log is, and its lines."""
        stream = stream_name(relative_path)
        return [self.place_of(stream)], [self.lines(stream, getattr(ti, "state", None))]


class TaskLogHandler(FileTaskHandler):  # type: ignore[misc] # Airflow has no types here
    """Reads from the destination only. Workers serve no logs (port 8793), and a web server has no local ones."""

    def _read_from_logs_server(self, *_: object) -> tuple[list[str], list[Any]]:
        return [], []

    def _read_from_local(self, *_: object) -> tuple[list[str], list[Any]]:
        return [], []


def _is(component: str) -> bool:
    return sys.argv[1:2] == [component]


def _init_log_file(local_relative_path: str | os.PathLike[str]) -> TaskLogFile | Path:
    if _is("dag-processor") and conf.get("logging", "dag_processor_log_target") == "stdout":
        return Path(os.devnull)  # it writes each line to a file too, which would grow for ever
    return TaskLogFile(REMOTE_TASK_LOG.writer, os.fspath(local_relative_path))


REMOTE_TASK_LOG = TaskLogs(conf.get_mandatory_value("logging", "remote_base_log_folder"))

LOGGING_CONFIG: dict[str, Any] = copy.deepcopy(DEFAULT_LOGGING_CONFIG)
LOGGING_CONFIG["handlers"]["task"]["class"] = f"{__name__}.{TaskLogHandler.__name__}"

airflow_log.init_log_file = _init_log_file
if _is("triggerer"):
    # Only here: a fork of this process that ends has copies of lines that this process sends.
    _OWNER: Final = os.getpid()
    atexit.register(lambda: REMOTE_TASK_LOG.writer.drain() if os.getpid() == _OWNER else None)
