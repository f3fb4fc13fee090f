# SPDX-License-Identifier: Apache-2.0
"""Airflow 3's `[logging] logging_config_class`: task logs go to `writer` and are read from their destination.

Airflow's supervisor writes each line of a task to a file below `base_log_folder` and gives it to a `RemoteLogIO`. Here
the file itself is replaced, so there is no local copy: a full disk stops no task, and nothing is left to delete.
"""

import atexit
import copy
import os
import sys
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final

from airflow.config_templates.airflow_local_settings import BASE_LOG_FOLDER, DEFAULT_LOGGING_CONFIG
from airflow.configuration import conf
from airflow.sdk import log as airflow_log
from airflow.utils.log.file_task_handler import FileTaskHandler

from openmwaa_runtime.task_logs.destination import open_destination
from openmwaa_runtime.task_logs.lines import masker, notice
from openmwaa_runtime.task_logs.stream_name import stream_name
from openmwaa_runtime.task_logs.worker_secrets import secret_values
from openmwaa_runtime.task_logs.writer import FLUSH_WITHIN_S, DestinationError, LogWriter

READ_ATTEMPTS: Final = 4
_ENDED: Final = ("success", "failed", "up_for_retry", "removed")
_NO_LINE: Final = (
    "This try has no line: it did not start on a worker, its worker was lost within seconds, or its log has expired."
)


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


class TaskLogs:
    """Airflow's `RemoteLogStreamIO`, without `read`, which Airflow calls only if there is no `stream`."""

    processors: tuple[Any, ...] = ()

    def __init__(self, url: str) -> None:
        self.writer = LogWriter(open_destination(url), mask=_mask)
        self._source = open_destination(url, attempts=READ_ATTEMPTS)

    def upload(self, path: os.PathLike[str] | str, ti: Any = None) -> None:
        """Send the rest of a log: a task's process waits for that, a triggerer does not."""
        within_s = 0.0 if _is("triggerer") else FLUSH_WITHIN_S
        self.writer.finish(stream_name(os.fspath(path)), within_s)

    def stream(self, relative_path: str, ti: Any) -> tuple[list[str], list[Iterator[str]]]:
        """Return where the log is, and its lines."""
        stream = stream_name(relative_path)
        return [f"{self._source.place}, log {stream}"], [self._lines(stream, getattr(ti, "state", None))]

    def _lines(self, stream: str, state: str | None) -> Iterator[str]:
        empty = True
        try:
            for line in self._source.read(stream):
                empty = False
                yield line
        except DestinationError as error:
            yield notice(time.time(), f"The log cannot be read: {error}").decode()
            return
        if empty and state in _ENDED:
            yield notice(time.time(), _NO_LINE).decode()


class TaskLogHandler(FileTaskHandler):  # type: ignore[misc] # Airflow has no types here
    """Reads from the destination only. Workers serve no logs (port 8793), and a web server has no local ones."""

    def _read_from_logs_server(self, *_: object) -> tuple[list[str], list[Any]]:
        return [], []

    def _read_from_local(self, *_: object) -> tuple[list[str], list[Any]]:
        return [], []


@cache
def _masker() -> Callable[[str], str]:
    return masker(secret_values(os.environ))


def _mask(text: str) -> str:
    return _masker()(text)  # made at the first line: by then a worker has collected its secrets


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
